//! Deconvolution and guided back-propagation.

use lots_nn::ReluRule;

use super::picture::around_grey;
use super::unit::Driven;
use crate::error::Error;
use crate::image::Image;

/// What each unit responds to, sent back through the network's layers turned round, where ReLUs pass what is above zero; an
/// image a layer, mid grey where nothing arrives.
///
/// Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 2.1.
///
/// # Errors
/// When an activation function that is no ReLU lies in front of a layer, since this is defined for ReLUs.
pub fn deconvolution(driven: &Driven<'_>) -> Result<Vec<Image>, Error> {
    shown(driven, ReluRule::Deconvolution)
}

/// As [`deconvolution`], where ReLUs pass only what their own slope passes, too: what of the image drives each unit.
///
/// Source: Springenberg et al. 2015, "Striving for simplicity: the all convolutional net", section 3.4.
///
/// # Errors
/// As [`deconvolution`].
pub fn guided(driven: &Driven<'_>) -> Result<Vec<Image>, Error> {
    shown(driven, ReluRule::Guided)
}

fn shown(driven: &Driven<'_>, rule: ReluRule) -> Result<Vec<Image>, Error> {
    Ok(driven.sent_back(rule)?.outer_iter().map(around_grey).collect())
}
