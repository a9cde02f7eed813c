//! DeepFool: again and again to the nearest boundary, as if all were planes.

use lots_nn::LayerId;

use super::aim::Arrival;
use super::method::{Method, Seen};
use super::walk::{Pace, Walk};
use crate::error::Error;

/// From each image on, the smallest perturbation in L2 that brings the score of some other class up to that of the origin's, if
/// scores change as their slopes say; the whole way from the origin is made a fiftieth longer. Images are rounded to 8 bits, so a step that
/// would not change a pixel is doubled until it does.
///
/// Source: Moosavi-Dezfooli et al. 2016.
#[derive(Clone, Debug, PartialEq)]
pub struct DeepFool {
    walk: Walk,
}

impl DeepFool {
    /// With at most so many steps, each with a back-projection for every other class; the source needs 3 on average.
    pub fn new(steps: u32) -> Self {
        let (size, pace, arrival) = (1.02, Pace::Boundary, Arrival::Goal);
        Self { walk: Walk { steps, size, pace, arrival, budget: None, back: 0, also: Vec::new() } }
    }
}

impl Default for DeepFool {
    /// As many steps as the source allows.
    fn default() -> Self {
        Self::new(50)
    }
}

impl Method for DeepFool {
    fn name(&self) -> &'static str {
        "deepfool"
    }

    fn layer(&self) -> Option<LayerId> {
        None
    }

    /// Towards the boundary to the next best class.
    fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
        let others = (0..seen.origin.len()).filter(|&k| k != seen.class);
        let next = others.max_by(|&a, &b| seen.origin[a].total_cmp(&seen.origin[b]));
        let next = next.ok_or_else(|| Error::Attack("one class has no boundary".to_owned()))?;
        Ok(towards(next, seen.class, seen.origin.len()))
    }

    fn walk(&self) -> Option<&Walk> {
        Some(&self.walk)
    }
}

/// The slope of the score of `class` less that of `origin`'s, at `count` scores.
pub(super) fn towards(class: usize, origin: usize, count: usize) -> Vec<f32> {
    let mut slope = vec![0.0; count];
    (slope[class], slope[origin]) = (1.0, -1.0);
    slope
}
