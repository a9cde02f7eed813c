//! Layerwise origin-target synthesis (LOTS).

mod batch;
pub mod data;
mod error;
mod evaluation;
mod file;
mod image;
mod measure;
mod training;

pub use batch::{batch, images_batch};
pub use data::{Dataset, NamedImage, Split, open_dataset, open_image};
pub use error::{DataError, Error};
pub use evaluation::{Evaluation, classes, evaluate};
pub use file::write_file;
pub use image::Image;
pub use measure::{
    Alignment, L2, Linf, MeasureError, Measures, Pass, l2, linf, measure, pass, ssim,
};
pub use training::{Batches, Training};
