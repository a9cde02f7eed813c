//! Layerwise origin-target synthesis (LOTS).

pub mod data;
mod error;
mod image;

pub use data::{Dataset, Split, open_dataset};
pub use error::DataError;
pub use image::Image;
