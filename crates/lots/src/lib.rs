//! Layerwise origin-target synthesis (LOTS).

pub mod data;
mod error;
mod image;

pub use error::DataError;
pub use image::Image;
