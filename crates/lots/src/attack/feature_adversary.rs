//! Feature adversaries: as near to a target's representation as a box around the origin allows.

use lots_nn::LayerId;

use super::method::{Method, Seen};
use super::minimise::{Minimise, Objective};
use super::representation::Lots;
use crate::error::Error;

/// The image in an L∞ box around the origin whose representation is the nearest to the target's that L-BFGS-B finds. There is an image
/// even where its class is not the goal.
///
/// Paper: section 2.2. Source: Sabour et al. 2016.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureAdversary {
    layer: LayerId,
    minimise: Minimise,
}

impl FeatureAdversary {
    /// The box of the source, in grey levels.
    pub const LINF: u8 = 10;

    /// At a layer, with values that change by at most `linf` grey levels, and at most 100 iterations.
    pub fn new(layer: LayerId, linf: u8) -> Self {
        let objective = Objective::Distance { linf };
        Self { layer, minimise: Minimise { iterations: 100, objective } }
    }

    /// With at most so many iterations.
    pub fn with_iterations(mut self, iterations: u32) -> Self {
        self.minimise.iterations = iterations;
        self
    }
}

impl Method for FeatureAdversary {
    fn name(&self) -> &'static str {
        "feature-adversary"
    }

    fn layer(&self) -> Option<LayerId> {
        Some(self.layer)
    }

    /// Where it starts: towards the target's.
    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        Lots(self.layer).cotangent(seen)
    }

    fn minimise(&self) -> Option<&Minimise> {
        Some(&self.minimise)
    }
}
