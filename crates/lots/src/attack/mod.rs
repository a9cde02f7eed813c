//! From origins, targets and a network to the smallest 8-bit images that change the class.
//!
//! A [`Method`] says which layer and which cotangent; everything else is the same for all of them and lies here: the
//! direction `η = Jᵀ · cotangent`, and the line search along it on 8-bit images, or a [`Walk`] on which it is computed anew.
//! Methods that [`Minimise`] something leave the direction to an optimiser.

mod aim;
mod decision;
mod deepfool;
mod descent;
mod driver;
mod feature_adversary;
mod follow;
mod gallery;
mod gradient;
mod hot_cold;
mod iterative;
mod lanes;
mod lbfgs;
mod method;
mod minimise;
mod pgd;
mod pursuit;
mod ray;
mod representation;
mod search;
mod units;
mod walk;

use serde::{Deserialize, Serialize};

use crate::image::Image;
use crate::represent::Representation;

pub use aim::Arrival;
pub(crate) use decision::first_largest;
pub use decision::{Argmax, Decision, Wanted};
pub use deepfool::DeepFool;
pub use driver::{Attacks, attack};
pub use feature_adversary::FeatureAdversary;
pub use gallery::{Distance, Gallery, UNKNOWN};
pub use gradient::{Fgs, Fgv, has_zero_loss};
pub use hot_cold::HotCold;
pub use iterative::IterativeLots;
pub use lbfgs::Lbfgs;
pub use method::{Method, Seen};
pub use minimise::{Minimise, Objective};
pub use pgd::Pgd;
pub use representation::{Lots, Magnify, Reduce};
pub use units::Units;
pub use walk::{Budget, Pace, Walk};

/// One attack: a method on one origin. Images are positions in the list that [`attack()`] is given.
#[derive(Clone, Copy, Debug)]
pub struct Attack<'a> {
    /// The image to perturb.
    pub origin: usize,
    /// What leads the way, for methods that want a target.
    pub target: Option<Target<'a>>,
    /// Which layer, which cotangent.
    pub method: &'a dyn Method,
    /// What counts as a success.
    pub goal: Goal,
    /// How far to go.
    pub extent: Extent,
    /// The only units of the layer that the cotangent keeps; `None` for all.
    pub units: Option<&'a Units>,
}

impl<'a> Attack<'a> {
    /// To the smallest step found that changes the class, with all units of the layer.
    pub fn smallest(origin: usize, target: Option<Target<'a>>, method: &'a dyn Method) -> Self {
        Self { origin, target, method, goal: Goal::Any, extent: Extent::Smallest, units: None }
    }
}

/// What leads the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target<'a> {
    /// The image at this position.
    Image(usize),
    /// What the method's layer sees in an image that nobody needs to have. Paper: section 5.2, the adversary who has stolen
    /// a representation.
    Representation(&'a Representation),
}

impl Target<'_> {
    /// The position of the image, if it is one.
    pub fn image(&self) -> Option<usize> {
        match *self {
            Self::Image(position) => Some(position),
            Self::Representation(_) => None,
        }
    }
}

/// What counts as a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Goal {
    /// Any class but the origin's.
    #[default]
    Any,
    /// The class of the attack's target, an image: its label, or what the network says where it has none.
    Target,
    /// This class.
    Class(usize),
}

/// How far to go along the direction; for walks and minimisations, always `Smallest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extent {
    /// To the smallest step found that reaches the goal.
    #[default]
    Smallest,
    /// To the perturbation with this L∞ norm, 1–255 grey levels, whatever the class is then; where pixels saturate, less
    /// of it is left. Paper: figures 1 and 2.
    Linf(u8),
    /// To the smallest step found that reaches the goal, and on to this percentage of it, more than 100: an image well beyond the
    /// border between classes.
    Beyond(u16),
}

impl Extent {
    /// Whether the smallest step is searched for.
    pub(crate) fn searches(self) -> bool {
        !matches!(self, Self::Linf(_))
    }
}

/// What came of an attack.
#[derive(Clone, Debug, PartialEq)]
pub struct Attacked {
    /// What it cost.
    pub passes: Passes,
    /// What the network says of the origin.
    pub origin_class: usize,
    /// The decision's scores of the origin.
    pub origin_scores: Vec<f32>,
    /// The result.
    pub outcome: Outcome,
}

/// Passes of single images through the network that an attack took; those of its origin are its own, those of its target not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passes {
    /// Forward passes.
    pub forward: u32,
    /// Back-projections, of one cotangent each.
    pub backward: u32,
}

/// The result of an attack. None of them is an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// An image that reaches the goal; of a walk, that has come to its [`Arrival`].
    Adversarial(Perturbed),
    /// No image along the ray, on the walk or at a minimum reaches the goal. At a fixed L∞ norm, and nearest to a target in a box, there is
    /// an image all the same, to look at, unless it has no class because the network's output is not finite.
    NotFound(Option<Perturbed>),
    /// The network takes the origin for another class than its label, so there is nothing to change.
    OriginMisclassified,
    /// What comes back at the input is zero, or not finite: there is no direction to go.
    NoDirection,
}

/// An image on the ray, of the walk, or at a minimum.
#[derive(Clone, Debug, PartialEq)]
pub struct Perturbed {
    /// The image, as it was judged.
    pub image: Image,
    /// What the network says of it.
    pub class: usize,
    /// The decision's scores of it.
    pub scores: Vec<f32>,
    /// How far along the direction, in grey levels of the pixel that changes most; of a walk, the steps that it took before it
    /// arrived; of a minimisation, how often the optimiser had looked.
    pub step: f32,
    /// The largest step below that is known to miss the goal, at most 1/64 away; `None` at a fixed L∞ norm, of a walk
    /// and of a minimisation. What lies further below was not all looked at: success along a ray is not monotone.
    pub missed: Option<f32>,
}
