//! Layerwise origin-target synthesis (LOTS).

pub mod attack;
mod batch;
pub mod data;
mod error;
mod evaluation;
pub mod experiment;
mod file;
mod image;
mod measure;
mod parallel;
mod record;
pub mod report;
mod results;
mod training;

pub use batch::{batch, images_batch};
pub use data::{Dataset, NamedImage, Split, open_dataset, open_image};
pub use error::{DataError, Error};
pub use evaluation::{Evaluation, classes, evaluate};
pub use file::write_file;
pub use image::{Image, perturbation};
pub use measure::{
    Alignment, L2, Linf, MeasureError, Measures, Pass, l2, linf, measure, pass, ssim,
};
pub use record::{Ending, Record};
pub use results::{Results, read_records};
pub use training::{Batches, Training};
