//! What counts as the class.

use lots_nn::{LayerId, Network};

use crate::error::Error;
use crate::evaluation::classes;

/// How a representation becomes a class. Attacks and searches know networks by their decisions only.
pub trait Decision: Send + Sync {
    /// The layer that decides; what the methods that start from logits start from.
    fn layer(&self) -> LayerId;

    /// The class of a representation at [`layer`](Self::layer), if it has one.
    fn decide(&self, representation: &[f32]) -> Option<usize>;

    /// Whether the class would stay the same if the network's sums were rounded otherwise, as other programs do. Only where
    /// it would, the search has found something: what is saved is to have its class in every runtime.
    fn is_clear(&self, representation: &[f32]) -> bool;

    /// How far the representation is from what is wanted: above 0 where it misses, 0 or below where it is reached, and
    /// the smaller the nearer. It guides the search; whether the goal is reached is [`decide`](Self::decide)'s.
    fn distance(&self, representation: &[f32], wanted: Wanted) -> f32;
}

/// The class that an attack has to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Any class but this one.
    Not(usize),
    /// This class.
    Class(usize),
}

impl Wanted {
    /// Whether `class` is what is wanted. No class never is.
    pub fn is_met(self, class: Option<usize>) -> bool {
        match self {
            Self::Not(origin) => class.is_some_and(|class| class != origin),
            Self::Class(wanted) => class == Some(wanted),
        }
    }
}

/// The largest logit is clear of the next one if they differ by more than this share of the largest of all. Other runtimes
/// round otherwise by less: at most 7.6e-7 of the largest logit of all digits on LeNet (`references/check_lenet.py`).
const CLEAR: f32 = 2e-6;

/// The largest logit decides; of equal ones, the first. Logits that are not finite are no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argmax {
    layer: LayerId,
}

impl Argmax {
    /// By the output of `network`.
    ///
    /// # Errors
    /// When the output is not one row of at least two numbers an image.
    pub fn of(network: &dyn Network) -> Result<Self, Error> {
        if classes(network)? < 2 {
            let problem =
                "the network tells no classes apart: its output is one number; wanted at least two";
            return Err(Error::Attack(problem.to_owned()));
        }
        Ok(Self { layer: network.output() })
    }
}

impl Decision for Argmax {
    fn layer(&self) -> LayerId {
        self.layer
    }

    fn decide(&self, logits: &[f32]) -> Option<usize> {
        logits.iter().all(|z| z.is_finite()).then(|| first_largest(logits))
    }

    fn is_clear(&self, logits: &[f32]) -> bool {
        let best = first_largest(logits);
        let others = logits.iter().enumerate().filter(|&(i, _)| i != best);
        let (next, size) = others
            .fold((f32::NEG_INFINITY, logits[best].abs()), |(next, size), (_, &z)| {
                (next.max(z), size.max(z.abs()))
            });
        logits[best] - next > CLEAR * size
    }

    fn distance(&self, logits: &[f32], wanted: Wanted) -> f32 {
        let (Wanted::Not(class) | Wanted::Class(class)) = wanted;
        let others = logits.iter().enumerate().filter(|&(i, _)| i != class);
        let rival = others.fold(f32::NEG_INFINITY, |most, (_, &z)| most.max(z));
        match wanted {
            Wanted::Not(_) => logits[class] - rival,
            Wanted::Class(_) => rival - logits[class],
        }
    }
}

/// Where the first of the largest numbers stands.
pub(crate) fn first_largest<'a>(row: impl IntoIterator<Item = &'a f32>) -> usize {
    let larger =
        |best: (usize, f32), (i, &x): (usize, &f32)| if x > best.1 { (i, x) } else { best };
    row.into_iter().enumerate().fold((0, f32::NEG_INFINITY), larger).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_counts() {
        let cases = [(&[1.0f32, 3.0, 3.0][..], 1), (&[2.0, 2.0], 0), (&[-5.0, -6.0], 0)];
        for (row, wanted) in cases {
            assert_eq!(first_largest(row), wanted, "{row:?}");
        }
    }

    #[test]
    fn distances_change_sign_where_the_class_is_met() {
        let network = lots_nn::lenet(0);
        let argmax = Argmax::of(&network).unwrap();
        let rows = [[3.0, 1.0, 2.0], [1.0, 3.0, 2.5], [0.0, -1.0, -2.0]];
        for row in rows {
            for class in 0..3 {
                for wanted in [Wanted::Not(class), Wanted::Class(class)] {
                    let met = wanted.is_met(argmax.decide(&row));
                    assert_eq!(met, argmax.distance(&row, wanted) < 0.0, "{row:?} {wanted:?}");
                }
            }
        }
        assert!((argmax.distance(&rows[0], Wanted::Not(0)) - 1.0).abs() < 1e-6);
        assert!((argmax.distance(&rows[0], Wanted::Class(1)) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn a_class_is_clear_beyond_what_rounding_changes() {
        let argmax = Argmax::of(&lots_nn::lenet(0)).unwrap();
        let cases = [
            (&[1.0, 1.0][..], false),
            (&[1.0, 1.000_001], false),
            (&[1.000_1, 1.0], true),
            (&[-1.0, -1.000_1], true),
            (&[1.000_1, 1.0, -100.0], false),
            (&[0.0, 0.0], false),
            (&[3.0], true),
        ];
        for (logits, wanted) in cases {
            assert_eq!(argmax.is_clear(logits), wanted, "{logits:?}");
        }
    }

    #[test]
    fn what_is_not_finite_is_no_class() {
        let argmax = Argmax::of(&lots_nn::lenet(0)).unwrap();
        for row in [[f32::NAN, 0.0], [0.0, f32::INFINITY], [f32::NEG_INFINITY, 1.0]] {
            assert_eq!(argmax.decide(&row), None, "{row:?}");
            assert!(!Wanted::Not(0).is_met(argmax.decide(&row)));
        }
    }
}
