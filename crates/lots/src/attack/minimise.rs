//! What methods minimise with L-BFGS-B, and how far they go.

use std::fmt;

use lots_nn::LayerId;

use super::decision::{Decision, Wanted};
use super::walk::square_of_difference;
use super::{Attack, Extent};
use crate::error::Error;

/// A method that hands a function of the image to a general optimiser, L-BFGS-B: the direction is its business. The image may have
/// fractions of grey levels until it is there; what is judged is the image rounded to 8 bits.
///
/// Source: Byrd et al. 1995, and Morales & Nocedal 2011.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimise {
    /// At most so many iterations for each minimum, 1 or more.
    pub iterations: u32,
    /// What is to be small.
    pub objective: Objective,
}

/// What is to be small. Every minimisation starts at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// `c · ‖r‖² + loss(origin + r)`, with r in 255 grey levels and pixels within 0–255. The loss is the cross-entropy at the class
    /// that is the goal, or `−ln (1 − softmax)` at the origin's where any other will do. So many minima are looked for, 1 or more,
    /// each with another c: they close in on the largest c that reaches the goal.
    LossAndSize {
        /// How many minima.
        searches: u32,
    },
    /// The squared Euclidean distance between the representation, at the method's layer, and the target's. No value changes by more
    /// than `linf` grey levels, 1–255.
    Distance {
        /// The box.
        linf: u8,
    },
}

impl Minimise {
    /// What can be said against it before anything is computed.
    pub(super) fn check(&self, attack: &Attack<'_>) -> Result<(), Error> {
        let name = attack.method.name();
        let problem = if self.iterations == 0 {
            format!("{name} takes at least 1 iteration, found 0")
        } else if self.objective == (Objective::LossAndSize { searches: 0 }) {
            format!("{name} looks for at least 1 minimum, found 0")
        } else if self.objective == (Objective::Distance { linf: 0 }) {
            format!("the box of {name} has to be 1–255 grey levels, found 0")
        } else if attack.units.is_some() {
            format!("{name} works with all units of a layer, found some; leave them away")
        } else if let Extent::Beyond(_) = attack.extent {
            format!("{name} ends at a minimum, found a multiple of it; leave that away")
        } else if attack.extent != Extent::Smallest {
            format!("{name} has no fixed L∞ norm, found one; leave it away")
        } else {
            return Ok(());
        };
        Err(Error::Attack(problem))
    }
}

impl fmt::Display for Minimise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, objective } = self;
        match objective {
            Objective::LossAndSize { searches } => {
                write!(f, "{searches} minima, each at most {iterations} iterations")
            }
            Objective::Distance { linf } => {
                write!(f, "at most {iterations} iterations, L∞ at most {linf}")
            }
        }
    }
}

/// What is to be small, with all that it takes to tell: the part that depends on the network.
#[derive(Clone, Copy)]
pub(super) enum Cost<'a> {
    Loss(Wanted),
    Distance { layer: LayerId, target: &'a [f32], unit: f64 },
}

impl<'a> Cost<'a> {
    /// The distance to `target`, in that of `origin` to it.
    pub(super) fn distance(layer: LayerId, origin: &[f32], target: &'a [f32]) -> Self {
        let square = square_of_difference(origin, target);
        Self::Distance { layer, target, unit: if square > 0.0 { square } else { 1.0 } }
    }

    /// Where the representation lies that tells.
    pub(super) fn layer(&self, decision: &dyn Decision) -> LayerId {
        match self {
            Self::Loss(_) => decision.layer(),
            Self::Distance { layer, .. } => *layer,
        }
    }

    /// How large it is.
    pub(super) fn value(&self, decision: &dyn Decision, representation: &[f32]) -> f64 {
        match *self {
            Self::Loss(wanted) => loss(&decision.scores(representation), wanted).0,
            Self::Distance { target, unit, .. } => {
                square_of_difference(representation, target) / unit
            }
        }
    }

    /// Its slope: a cotangent at the representation.
    pub(super) fn slope(&self, decision: &dyn Decision, representation: &[f32]) -> Vec<f32> {
        match *self {
            Self::Loss(wanted) => {
                let slope = loss(&decision.scores(representation), wanted).1;
                decision.scores_vjp(representation, slope)
            }
            Self::Distance { target, unit, .. } => {
                let slope = |(x, t): (&f32, &f32)| (2.0 * f64::from(x - t) / unit) as f32;
                representation.iter().zip(target).map(slope).collect()
            }
        }
    }
}

/// The negative logarithm of the softmax that is wanted, and its slope at the scores.
fn loss(scores: &[f32], wanted: Wanted) -> (f64, Vec<f32>) {
    let is_wanted = |class: usize| wanted.is_met(Some(class));
    let all = softmax(scores, |_| true);
    let some = softmax(scores, is_wanted);
    let slope = all.1.iter().zip(&some.1).map(|(all, some)| (all - some) as f32).collect();
    (all.0 - some.0, slope)
}

/// Over the classes that count: the logarithm of the sum of the exponentials of `scores`, and each one's share of that sum.
fn softmax(scores: &[f32], counts: impl Fn(usize) -> bool) -> (f64, Vec<f64>) {
    let score =
        |(class, &z): (usize, &f32)| if counts(class) { z.into() } else { f64::NEG_INFINITY };
    let scores: Vec<f64> = scores.iter().enumerate().map(score).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    (largest + sum.ln(), powers.into_iter().map(|power| power / sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Argmax;

    /// Oracle: central differences in f64 of the formulas themselves.
    #[test]
    fn slopes_are_those_of_the_losses() {
        let plain = |z: &[f64], wanted: Wanted| {
            let sum = |keep: &dyn Fn(usize) -> bool| -> f64 {
                (0..z.len()).filter(|&i| keep(i)).map(|i| z[i].exp()).sum()
            };
            match wanted {
                Wanted::Class(class) => -(z[class].exp() / sum(&|_| true)).ln(),
                Wanted::Not(class) => -(sum(&|i| i != class) / sum(&|_| true)).ln(),
            }
        };
        for scores in [[1.0_f32, 2.0, 0.5], [-3.0, 4.0, 3.5], [9.0, -4.0, 2.0]] {
            for class in 0..3 {
                for wanted in [Wanted::Class(class), Wanted::Not(class)] {
                    let exact: Vec<f64> = scores.iter().map(|&z| z.into()).collect();
                    let (found, slope) = loss(&scores, wanted);
                    assert!((found - plain(&exact, wanted)).abs() < 1e-9, "{scores:?} {wanted:?}");
                    for (i, slope) in slope.iter().enumerate() {
                        let at = |h: f64| {
                            let mut moved = exact.clone();
                            moved[i] += h;
                            plain(&moved, wanted)
                        };
                        let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                        assert!(
                            (f64::from(*slope) - difference).abs() < 1e-7,
                            "{scores:?} {wanted:?}"
                        );
                    }
                }
            }
        }
    }

    /// Where softmax is 0 or 1 in f64: the loss is as the margin, or nothing.
    #[test]
    fn losses_of_sure_classes() {
        let scores = [2000.0, 0.0, -10.0];
        for (wanted, value, slope) in [
            (Wanted::Not(0), 2000.0, [1.0, -1.0, 0.0]),
            (Wanted::Class(2), 2010.0, [1.0, 0.0, -1.0]),
            (Wanted::Class(0), 0.0, [0.0, 0.0, 0.0]),
            (Wanted::Not(1), 0.0, [0.0, 0.0, 0.0]),
        ] {
            let (found, found_slope) = loss(&scores, wanted);
            assert!((found - value).abs() < 1e-3, "{wanted:?}: {found}");
            for (found, slope) in found_slope.iter().zip(slope) {
                assert!((found - slope).abs() < 1e-3, "{wanted:?}: {found_slope:?}");
            }
        }
    }

    #[test]
    fn distances_are_in_that_of_the_origin() {
        let network = lots_nn::lenet(0);
        let decision = Argmax::of(&network).unwrap();
        let target = [3.0, 4.0];
        let cost = Cost::distance(network.output(), &[0.0, 0.0], &target);
        for (seen, value, slope) in [
            ([0.0, 0.0], 1.0, [-0.24, -0.32]),
            ([3.0, 4.0], 0.0, [0.0, 0.0]),
            ([3.0, 9.0], 1.0, [0.0, 0.4]),
        ] {
            assert!((cost.value(&decision, &seen) - value).abs() < 1e-9, "{seen:?}");
            assert_eq!(cost.slope(&decision, &seen), slope, "{seen:?}");
        }
        let here = Cost::distance(network.output(), &target, &target);
        assert!(here.value(&decision, &target).abs() < 1e-9);
    }
}
