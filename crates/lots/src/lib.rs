//! Layerwise origin-target synthesis (LOTS): from origins, targets and a network to the smallest 8-bit images that change
//! the class, with measures, records and reports.
//!
//! [`attack::attack()`] is where to begin.

/// The README's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub mod attack;
mod batch;
mod comparison;
pub mod data;
mod error;
mod evaluation;
pub mod experiment;
#[cfg(feature = "figures")]
pub mod figure;
mod file;
mod hex;
mod image;
mod measure;
mod names;
mod parallel;
#[cfg(feature = "plot")]
pub mod plot;
mod record;
pub mod report;
mod represent;
mod results;
pub mod robustness;
#[cfg(feature = "sets")]
pub mod set;
mod soundness;
mod training;
pub mod visual;

pub use batch::{batch, images_batch};
pub use comparison::{Comparison, Contender, Means};
pub use data::{Dataset, Identity, NamedImage, Split, open_dataset, open_identities, open_image};
pub use error::{DataError, Error};
pub use evaluation::{Evaluation, classes, evaluate};
pub use file::{file_stem, write_file, write_file_with};
pub use hex::hex;
pub use image::{Fit, Image, perturbation};
pub use measure::{
    Alignment, Breadth, Focus, L2, Linf, MeasureError, Measures, Pass, breadth, focus, l2, linf,
    measure, pass, ssim,
};
pub use names::{class_names, find_class, method_title, read_class_names};
pub use record::{Approach, Ending, Record};
pub use represent::{Representation, npy, read_representations, represent};
pub use results::{Results, read_records, records};
pub use soundness::{Doubt, doubts};
pub use training::{Batches, Training};
