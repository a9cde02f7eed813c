//! What counts as the class.

use std::borrow::Cow;

use lots_nn::{LayerId, Network};

use super::gallery::Distance;
use crate::error::Error;
use crate::evaluation::classes;

/// How a representation becomes a class: one score for each class, of which the largest decides; of equal ones, the first.
/// Attacks and searches know networks by their decisions only.
pub trait Decision: Send + Sync {
    /// The layer whose representation decides.
    fn layer(&self) -> LayerId;

    /// What the classes are called; a class is a position in this list.
    fn names(&self) -> &[String];

    /// One score for each class, of a representation at [`layer`](Self::layer).
    fn scores<'r>(&self, representation: &'r [f32]) -> Cow<'r, [f32]>;

    /// A cotangent at the scores, pulled back to the representation.
    fn scores_vjp(&self, representation: &[f32], cotangent: Vec<f32>) -> Vec<f32>;

    /// By how much the difference of two scores may change where the network's sums are rounded otherwise, as other programs
    /// do.
    fn rounding(&self, representation: &[f32]) -> f32;

    /// The distance that scores are below zero by, for decisions that compare distances; `None` for logits.
    fn measured(&self) -> Option<Distance> {
        None
    }

    /// The class of a representation; scores that are not finite are no class.
    fn decide(&self, representation: &[f32]) -> Option<usize> {
        let scores = self.scores(representation);
        scores.iter().all(|z| z.is_finite()).then(|| first_largest(&*scores))
    }

    /// Whether the class would stay the same in other programs. Only where it would, the search has found something: what is
    /// saved is to have its class in every runtime.
    fn is_clear(&self, representation: &[f32]) -> bool {
        let scores = self.scores(representation);
        let best = first_largest(&*scores);
        scores[best] - rival(&scores, best).1 > self.rounding(representation)
    }

    /// How far the representation is from what is wanted: above 0 where it misses, 0 or below where it is reached, and
    /// the smaller the nearer. It guides the search; whether the goal is reached is [`decide`](Self::decide)'s.
    fn distance(&self, representation: &[f32], wanted: Wanted) -> f32 {
        let scores = self.scores(representation);
        match wanted {
            Wanted::Not(class) => scores[class] - rival(&scores, class).1,
            Wanted::Class(class) => rival(&scores, class).1 - scores[class],
        }
    }

    /// The slope of [`distance`](Self::distance): a cotangent at the representation.
    fn slope(&self, representation: &[f32], wanted: Wanted) -> Vec<f32> {
        let scores = self.scores(representation);
        let (class, sign) = match wanted {
            Wanted::Not(class) => (class, 1.0),
            Wanted::Class(class) => (class, -1.0),
        };
        let mut cotangent = vec![0.0; scores.len()];
        cotangent[class] += sign;
        cotangent[rival(&scores, class).0] -= sign;
        self.scores_vjp(representation, cotangent)
    }
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

/// The largest logit decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argmax {
    layer: LayerId,
    names: Vec<String>,
}

impl Argmax {
    /// By the output of `network`. The classes are called by their numbers.
    ///
    /// # Errors
    /// When the output is not one row of at least two numbers an image.
    pub fn of(network: &dyn Network) -> Result<Self, Error> {
        let classes = classes(network)?;
        if classes < 2 {
            let problem =
                "the network tells no classes apart: its output is one number; wanted at least two";
            return Err(Error::Attack(problem.to_owned()));
        }
        let names = (0..classes).map(|class| class.to_string()).collect();
        Ok(Self { layer: network.output(), names })
    }

    /// By a layer before the output that has a number for each class too, such as the logits before a Softmax.
    pub fn at(self, layer: LayerId) -> Self {
        Self { layer, ..self }
    }

    /// With `names` for the classes.
    ///
    /// # Errors
    /// When there are more of them than classes, or fewer.
    pub fn named(self, names: Vec<String>) -> Result<Self, Error> {
        let (classes, found) = (self.names.len(), names.len());
        if found != classes {
            let problem = format!(
                "the network has {classes} classes, found {found} names; give one name a class"
            );
            return Err(Error::Attack(problem));
        }
        Ok(Self { names, ..self })
    }
}

impl Decision for Argmax {
    fn layer(&self) -> LayerId {
        self.layer
    }

    fn names(&self) -> &[String] {
        &self.names
    }

    fn scores<'r>(&self, logits: &'r [f32]) -> Cow<'r, [f32]> {
        logits.into()
    }

    fn scores_vjp(&self, _: &[f32], cotangent: Vec<f32>) -> Vec<f32> {
        cotangent
    }

    fn rounding(&self, logits: &[f32]) -> f32 {
        CLEAR * logits.iter().fold(0.0, |size: f32, z| size.max(z.abs()))
    }
}

/// The largest of the scores but that of `class`, and where it stands.
fn rival(scores: &[f32], class: usize) -> (usize, f32) {
    let others = scores.iter().enumerate().filter(|&(i, _)| i != class);
    let larger =
        |best: (usize, f32), (i, &z): (usize, &f32)| if z > best.1 { (i, z) } else { best };
    others.fold((class, f32::NEG_INFINITY), larger)
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
    fn classes_are_called_by_numbers_unless_named() {
        let argmax = Argmax::of(&lots_nn::lenet(0)).unwrap();
        assert_eq!(argmax.names()[9], "9");
        let names = |count: usize| (0..count).map(|i| format!("class {i}")).collect::<Vec<_>>();
        let refused = argmax.clone().named(names(9)).unwrap_err().to_string();
        assert_eq!(refused, "the network has 10 classes, found 9 names; give one name a class");
        assert_eq!(argmax.named(names(10)).unwrap().names()[9], "class 9");
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
    fn slopes_of_distances_by_hand() {
        let argmax = Argmax::of(&lots_nn::lenet(0)).unwrap();
        let cases = [
            ([3.0, 1.0, 2.0], Wanted::Not(0), [1.0, 0.0, -1.0]),
            ([3.0, 1.0, 2.0], Wanted::Not(1), [-1.0, 1.0, 0.0]),
            ([3.0, 1.0, 2.0], Wanted::Class(0), [-1.0, 0.0, 1.0]),
            ([3.0, 1.0, 2.0], Wanted::Class(2), [1.0, 0.0, -1.0]),
        ];
        for (row, wanted, slope) in cases {
            assert_eq!(argmax.slope(&row, wanted), slope, "{row:?} {wanted:?}");
        }
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
