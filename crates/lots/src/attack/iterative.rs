//! Iterative LOTS: the direction to the target's representation, computed anew after every step.

use lots_nn::LayerId;

use super::method::{Method, Seen};
use super::representation::Lots;
use super::walk::Walk;
use crate::error::Error;

/// "Step-and-adjust": [`Lots`] at the image that each step has come to.
///
/// Paper: iterative LOTS, section 5.2.
#[derive(Clone, Debug)]
pub struct IterativeLots {
    /// The layer whose representation is to become the target's.
    pub layer: LayerId,
    /// How far a step goes, and where it ends.
    pub walk: Walk,
}

impl IterativeLots {
    /// With steps that do well on digits and faces.
    pub fn new(layer: LayerId) -> Self {
        Self { layer, walk: Walk::default() }
    }
}

impl Method for IterativeLots {
    fn name(&self) -> &'static str {
        "iterative-lots"
    }

    fn layer(&self) -> Option<LayerId> {
        Some(self.layer)
    }

    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        Lots(self.layer).cotangent(seen)
    }

    fn walk(&self) -> Option<&Walk> {
        Some(&self.walk)
    }
}
