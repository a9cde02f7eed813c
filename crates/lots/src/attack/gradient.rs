//! FGS and FGV: along the gradient of the loss.

use lots_nn::LayerId;

use super::decision::Decision;
use super::method::{Method, Seen};
use crate::error::Error;

/// Fast gradient value: the slope of the cross-entropy at the origin's class, `softmax(z) − onehot(class)` at the logits z.
///
/// Paper: FGV, section 5.1. Source: Rozsa et al. 2016.
#[derive(Clone, Copy, Debug)]
pub struct Fgv;

impl Method for Fgv {
    fn name(&self) -> &'static str {
        "fgv"
    }

    fn layer(&self, decision: &dyn Decision) -> LayerId {
        decision.layer()
    }

    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        Ok(slope_of_loss(seen.origin, seen.class))
    }
}

/// Fast gradient sign: as [`Fgv`], with the same step for every pixel.
///
/// Paper: FGS, section 5.1. Source: Goodfellow et al. 2015.
#[derive(Clone, Copy, Debug)]
pub struct Fgs;

impl Method for Fgs {
    fn name(&self) -> &'static str {
        "fgs"
    }

    fn layer(&self, decision: &dyn Decision) -> LayerId {
        decision.layer()
    }

    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        Ok(slope_of_loss(seen.origin, seen.class))
    }

    fn finish(&self, direction: &mut [f32]) {
        for x in direction {
            // `signum` of zero would be one.
            *x = if *x == 0.0 { 0.0 } else { x.signum() };
        }
    }
}

/// Whether the cross-entropy of `logits` at `class` is zero in single precision, because the softmax of the class is
/// exactly 1. Where the loss itself is differentiated in single precision, such an origin has no gradient; Table 1 of the
/// paper seems to count it as a failure. [`Fgs`] and [`Fgv`] have no such hole: they start from the logits.
pub fn has_zero_loss(logits: &[f32], class: usize) -> bool {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|z| (z - largest).exp()).sum();
    let softmax = (logits[class] - largest).exp() / sum;
    #[expect(clippy::float_cmp, reason = "exactly one is what is asked")]
    let is_one = softmax == 1.0;
    is_one
}

/// `softmax(z) − onehot(class)`. In f64, and for the class itself as −Σ of the others, so that it is not zero where the
/// class is nearly sure.
fn slope_of_loss(logits: &[f32], class: usize) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|z| f64::from(z - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    let others: f64 = powers.iter().enumerate().filter(|&(i, _)| i != class).map(|(_, p)| p).sum();
    let slope = |(i, p): (usize, &f64)| if i == class { -others / sum } else { p / sum };
    let slopes: Vec<f64> = powers.iter().enumerate().map(slope).collect();
    // Only the direction counts, and very small numbers would lose their last bits on the way back.
    let scale = slopes.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let scale = if scale > 0.0 { scale } else { 1.0 };
    slopes.iter().map(|x| (x / scale) as f32).collect()
}
