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

/// `softmax(z) − onehot(class)`, divided by its largest entry, which is that of the class: only the direction counts. What
/// remains is the softmax over the other classes, and −1; it never vanishes, however sure the class is.
fn slope_of_loss(logits: &[f32], class: usize) -> Vec<f32> {
    let others = || logits.iter().enumerate().filter(|&(i, _)| i != class);
    let largest = others().fold(f32::NEG_INFINITY, |most, (_, &z)| most.max(z));
    let power = |z: f32| (f64::from(z) - f64::from(largest)).exp();
    let sum: f64 = others().map(|(_, &z)| power(z)).sum();
    let slope = |(i, &z): (usize, &f32)| match i {
        _ if i != class => (power(z) / sum) as f32,
        // The only class there is has no loss.
        _ if logits.len() == 1 => 0.0,
        _ => -1.0,
    };
    logits.iter().enumerate().map(slope).collect()
}
