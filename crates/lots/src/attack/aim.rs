//! What a walk has to reach: a class, or a place near a target's representation.

use lots_nn::LayerId;

use super::decision::{Decision, Wanted};
use super::gallery::Distance;

/// When a walk has arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// At the goal of the attack, a class.
    Goal,
    /// Where the representation, at the method's layer, is no further than this from the target's, whatever the class.
    Near {
        /// How it is measured.
        distance: Distance,
        /// How far at most; above 0.
        within: f32,
    },
    /// At the end of all steps, wherever that is. What counts is the last image that was at the goal of the attack.
    End,
}

/// An arrival, with all that it takes to tell.
#[derive(Clone, Copy)]
pub(super) enum Aim<'a> {
    Class(Wanted),
    Near { layer: LayerId, target: &'a [f32], distance: Distance, within: f32 },
}

impl<'a> Aim<'a> {
    /// Where the representation lies that tells.
    pub(super) fn layer(&self, decision: &dyn Decision) -> LayerId {
        match self {
            Self::Class(_) => decision.layer(),
            Self::Near { layer, .. } => *layer,
        }
    }

    /// How far a representation is from what is wanted: above 0 where it misses.
    pub(super) fn distance(&self, decision: &dyn Decision, representation: &[f32]) -> f32 {
        match *self {
            Self::Class(wanted) => decision.distance(representation, wanted),
            Self::Near { target, distance, within, .. } => {
                distance.between(target, representation) as f32 - within
            }
        }
    }

    /// The slope of that distance: a cotangent at the representation.
    pub(super) fn slope(&self, decision: &dyn Decision, representation: &[f32]) -> Vec<f32> {
        match *self {
            Self::Class(wanted) => decision.slope(representation, wanted),
            Self::Near { target, distance, .. } => {
                let mut slope = vec![0.0; representation.len()];
                distance.add_slope(target, representation, 1.0, &mut slope);
                slope.into_iter().map(|x| x as f32).collect()
            }
        }
    }

    /// Whether a representation is what is wanted.
    pub(super) fn is_met(&self, decision: &dyn Decision, representation: &[f32]) -> bool {
        match *self {
            Self::Class(wanted) => wanted.is_met(decision.decide(representation)),
            Self::Near { .. } => self.distance(decision, representation) <= 0.0,
        }
    }

    /// Whether other programs, that round otherwise, would say the same.
    pub(super) fn is_clear(&self, decision: &dyn Decision, representation: &[f32]) -> bool {
        match *self {
            Self::Class(_) => decision.is_clear(representation),
            Self::Near { target, distance, .. } => {
                let rounding = distance.rounding_between(target, representation) as f32;
                self.distance(decision, representation).abs() > rounding
            }
        }
    }
}
