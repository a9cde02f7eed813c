//! The L-BFGS attack: the loss and the size of the perturbation, both small.

use lots_nn::LayerId;

use super::gradient::slope_of_loss;
use super::method::{Method, Seen};
use super::minimise::{Minimise, Objective};
use crate::error::Error;

/// Minimises the loss of the goal and the size of the perturbation together, and looks for how much the size may count.
///
/// Paper: section 2.2. Source: Szegedy et al. 2014, where the goal is always a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Lbfgs {
    minimise: Minimise,
}

impl Lbfgs {
    /// With at most so many iterations for each of so many minima.
    pub fn new(iterations: u32, searches: u32) -> Self {
        Self { minimise: Minimise { iterations, objective: Objective::LossAndSize { searches } } }
    }

    /// With at most so many iterations for each minimum.
    pub fn with_iterations(mut self, iterations: u32) -> Self {
        self.minimise.iterations = iterations;
        self
    }
}

impl Default for Lbfgs {
    /// 10 minima of at most 100 iterations. Of these, one to three find out about how much the size may count, and the others halve
    /// the ratio between what is known to be too much and what is not.
    fn default() -> Self {
        Self::new(100, 10)
    }
}

impl Method for Lbfgs {
    fn name(&self) -> &'static str {
        "lbfgs"
    }

    fn layer(&self) -> Option<LayerId> {
        None
    }

    /// The loss's, where it starts.
    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        Ok(slope_of_loss(seen.origin, seen.class))
    }

    fn minimise(&self) -> Option<&Minimise> {
        Some(&self.minimise)
    }
}
