//! FGS and FGV: along the gradient of the loss.

use lots_nn::LayerId;

use super::method::{Method, Seen};
use crate::error::Error;

/// Fast gradient value: the slope of the cross-entropy at the origin's class, `softmax(z) − onehot(class)` at the logits z,
/// or a gallery's scores.
///
/// Paper: FGV, section 5.1. Source: Rozsa et al. 2016.
#[derive(Clone, Copy, Debug)]
pub struct Fgv;

impl Method for Fgv {
    fn name(&self) -> &'static str {
        "fgv"
    }

    fn layer(&self) -> Option<LayerId> {
        None
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

    fn layer(&self) -> Option<LayerId> {
        None
    }

    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        Ok(slope_of_loss(seen.origin, seen.class))
    }

    fn finish(&self, direction: &mut [f32]) {
        sign(direction);
    }
}

/// −1, 0 or 1 for each number.
pub(super) fn sign(direction: &mut [f32]) {
    for x in direction {
        // `signum` of zero would be one.
        *x = if *x == 0.0 { 0.0 } else { x.signum() };
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
pub(super) fn slope_of_loss(logits: &[f32], class: usize) -> Vec<f32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(logits: &[f64], class: usize) -> f64 {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
        sum.ln() - (logits[class] - largest)
    }

    /// Oracle: central differences of the cross-entropy in f64, scaled to −1 at the class.
    #[test]
    fn the_slope_is_that_of_the_cross_entropy() {
        let cases: [(&[f32], usize); 6] = [
            (&[1.0, 2.0, 0.5], 1),
            (&[1.0, 2.0, 0.5], 0),
            (&[-3.0, -1.0, -2.0, -1.5], 1),
            (&[0.0, 0.0], 0),
            (&[9.0, -4.0, 2.0], 0),
            (&[100.0, 103.0, 101.0], 1),
        ];
        for (logits, class) in cases {
            let at = |i: usize, h: f64| {
                let mut moved: Vec<f64> = logits.iter().map(|&z| z.into()).collect();
                moved[i] += h;
                loss(&moved, class)
            };
            let step = 1e-4;
            let slopes: Vec<f64> =
                (0..logits.len()).map(|i| (at(i, step) - at(i, -step)) / (2.0 * step)).collect();
            for (found, wanted) in slope_of_loss(logits, class).iter().zip(&slopes) {
                let wanted = wanted / -slopes[class];
                assert!(
                    (f64::from(*found) - wanted).abs() < 1e-6,
                    "{logits:?}: {found} for {wanted}"
                );
            }
        }
    }

    /// Where the softmax is 1 in f32, in f64 and beyond, and where logits are as large as they get.
    #[test]
    fn a_sure_class_has_a_slope_all_the_same() {
        let third = 1.0 / (1.0 + 1.0_f32.exp());
        for margin in [10.0, 20.0, 50.0, 800.0, 1e6] {
            let found = slope_of_loss(&[0.0, margin, 1.0], 1);
            let near =
                [third, -1.0, 1.0 - third].iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near, "{margin}: {found:?}");
        }
        let found = slope_of_loss(&[f32::MAX, -f32::MAX, -f32::MAX], 0);
        assert_eq!(found, [-1.0, 0.5, 0.5]);
        assert_eq!(slope_of_loss(&[3.0], 0), [0.0]);
    }

    /// Oracle: with one rival, 1 + e^−m is 1 in f32 from m = 24 ln 2 = 16.64 on.
    #[test]
    fn zero_loss_begins_where_f32_ends() {
        let cases: [(&[f32], usize, bool); 9] = [
            (&[16.6, 0.0], 0, false),
            (&[16.7, 0.0], 0, true),
            (&[0.0, 16.6], 1, false),
            (&[0.0, 16.7], 1, true),
            (&[-100.0, -83.0], 1, true),
            (&[40.0, 20.0, 23.5], 0, false),
            (&[40.0, 20.0, 23.0], 0, true),
            (&[0.0, 100.0], 0, false),
            (&[f32::NAN, 0.0], 1, false),
        ];
        for (logits, class, wanted) in cases {
            assert_eq!(has_zero_loss(logits, class), wanted, "{logits:?} at {class}");
        }
    }
}
