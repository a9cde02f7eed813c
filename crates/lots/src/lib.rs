//! Layerwise origin-target synthesis (LOTS).

pub mod data;
mod error;
mod image;
mod measure;

pub use data::{Dataset, NamedImage, Split, open_dataset, open_image};
pub use error::DataError;
pub use image::Image;
pub use measure::{
    Alignment, L2, Linf, MeasureError, Measures, Pass, l2, linf, measure, pass, ssim,
};
