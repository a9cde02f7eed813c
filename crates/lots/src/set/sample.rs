//! A perturbed image in a set.

use crate::image::Image;

/// One perturbed image with what is known of it: a row of a shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The image, as it was judged.
    pub image: Image,
    /// All else.
    pub facts: Facts,
}

/// What is known of a perturbed image.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The origin's class: what the image is to be learned as.
    pub label: usize,
    /// What the network says of the image.
    pub adversarial_label: usize,
    /// The origin's position in its data set.
    pub origin: usize,
    /// The target's position in its data set, or the row of the set that it was taken from; `None` for methods without one.
    pub target: Option<usize>,
    /// The class that led the way: the target's, or the hot one.
    pub target_label: Option<usize>,
    /// The layer at which the cotangent lay.
    pub layer: String,
    /// The method, as users call it.
    pub method: String,
    /// How far along the direction, in grey levels of the pixel that changes most.
    pub step: f64,
    /// Of the smallest step found, in percent: 100, or more where the perturbation was scaled beyond.
    pub percent: usize,
    /// Euclidean norm of the perturbation, in grey levels.
    pub l2: f64,
    /// Largest change of one value, in grey levels.
    pub linf: usize,
    /// Similarity to the origin, −1 to 1; `None` where it was not measured.
    pub pass: Option<f64>,
    /// Whether the origin's single-precision loss is zero (see [`has_zero_loss`](crate::attack::has_zero_loss)).
    pub zero_loss: bool,
}

/// What is known of a whole shard beside its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Origins.
    pub origins: usize,
    /// Those that the network misclassifies; they are not attacked.
    pub misclassified: usize,
    /// Origins among the others whose single-precision loss is zero.
    pub zero_loss: usize,
    /// Attacks.
    pub attempts: usize,
    /// Those that changed the class: the rows.
    pub found: usize,
}

impl Counts {
    /// With another shard's.
    pub fn add(&mut self, other: &Self) {
        let Self { origins, misclassified, zero_loss, attempts, found } = other;
        self.origins += origins;
        self.misclassified += misclassified;
        self.zero_loss += zero_loss;
        self.attempts += attempts;
        self.found += found;
    }
}
