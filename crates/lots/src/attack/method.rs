//! What a method has to say.

use std::fmt::Debug;

use lots_nn::LayerId;

use super::decision::Decision;
use super::gallery::Distance;
use super::minimise::Minimise;
use super::walk::Walk;
use crate::error::Error;

/// A way to find a direction: a layer, and a cotangent to send back from it. The driver does the rest, so that no
/// method can forget bounds, rounding, or to judge the image that is saved.
pub trait Method: Debug + Send + Sync {
    /// What users call it.
    fn name(&self) -> &'static str;

    /// The layer at which the cotangent lies; `None` for a cotangent at the scores of the decision, which are a classifier's
    /// logits and a gallery's distances.
    fn layer(&self) -> Option<LayerId>;

    /// The cotangent, as long as the representation, or one number for each score.
    ///
    /// # Errors
    /// When the method cannot work with what it is given, such as no target.
    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error>;

    /// The class that it heads for by itself, whatever the goal.
    fn hot(&self) -> Option<usize> {
        None
    }

    /// How it walks, if its direction is computed anew at every image that it comes to. Without, there is one direction, and
    /// the search along it.
    fn walk(&self) -> Option<&Walk> {
        None
    }

    /// What it minimises, if it leaves the way to an optimiser. Its cotangent leads nowhere then.
    fn minimise(&self) -> Option<&Minimise> {
        None
    }

    /// What is done to the direction before it is scaled to a largest change of one grey level a step.
    fn finish(&self, _direction: &mut [f32]) {}
}

/// What a method starts from: representations at its layer, or scores.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The representation, or the scores, of the origin; of a walk, of the image that it has come to.
    pub origin: &'a [f32],
    /// The same of the target, if the attack has one.
    pub target: Option<&'a [f32]>,
    /// The class of the origin.
    pub class: usize,
    /// The distance that scores are below zero by; `None` for logits.
    pub measured: Option<Distance>,
}

/// The cotangent of `method` at a representation, of its own layer or of the decision's.
pub(super) fn cotangent(
    method: &dyn Method,
    decision: &dyn Decision,
    origin: &[f32],
    target: Option<&[f32]>,
    class: usize,
) -> Result<Vec<f32>, Error> {
    if method.layer().is_some() {
        return method.cotangent(&Seen { origin, target, class, measured: None });
    }
    let scores = decision.scores(origin);
    let target = target.map(|target| decision.scores(target));
    let measured = decision.measured();
    let seen = Seen { origin: &scores, target: target.as_deref(), class, measured };
    Ok(decision.scores_vjp(origin, method.cotangent(&seen)?))
}
