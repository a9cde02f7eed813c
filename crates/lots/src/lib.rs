//! Layerwise origin-target synthesis (LOTS).

pub mod data;
mod error;
mod image;

pub use data::{Dataset, NamedImage, Split, open_dataset, open_image};
pub use error::DataError;
pub use image::Image;
