//! Projected gradient descent: up the loss, inside a ball around the origin.

use lots_nn::LayerId;

use super::aim::Arrival;
use super::gradient::{sign, slope_of_loss};
use super::method::{Method, Seen};
use super::walk::{Budget, Pace, Walk};
use crate::error::Error;

/// Projected gradient descent from the origin (without a random start): steps along the slope of the cross-entropy that
/// [`Fgv`](super::Fgv) starts with, or its signs inside an L∞ ball, to the end of the walk. Whether the image there has another
/// class is asked only then.
///
/// Source: Madry et al. 2018; without a random start it is the basic iterative method of Kurakin et al. 2017.
#[derive(Clone, Debug, PartialEq)]
pub struct Pgd {
    walk: Walk,
}

impl Pgd {
    /// Inside `budget`, with as many steps as Foolbox takes by default, and as long: 40 of a thirtieth of an L∞ budget, or
    /// 50 of a fortieth of an L2 budget.
    pub fn new(budget: Budget) -> Self {
        let (steps, size, pace) = match budget {
            Budget::Linf(most) => (40, f32::from(most) / 30.0, Pace::Linf),
            Budget::L2(most) => (50, most / 40.0, Pace::L2),
        };
        let (arrival, budget) = (Arrival::End, Some(budget));
        Self { walk: Walk { steps, size, pace, arrival, budget, back: 0, also: Vec::new() } }
    }

    /// With other steps: how many, and how long, in grey levels of the budget's norm.
    pub fn with_steps(mut self, steps: u32, size: f32) -> Self {
        (self.walk.steps, self.walk.size) = (steps, size);
        self
    }
}

impl Method for Pgd {
    fn name(&self) -> &'static str {
        "pgd"
    }

    fn layer(&self) -> Option<LayerId> {
        None
    }

    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        Ok(slope_of_loss(seen.origin, seen.class))
    }

    fn walk(&self) -> Option<&Walk> {
        Some(&self.walk)
    }

    fn finish(&self, direction: &mut [f32]) {
        if self.walk.pace == Pace::Linf {
            sign(direction);
        }
    }
}
