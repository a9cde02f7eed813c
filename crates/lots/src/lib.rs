//! Layerwise origin-target synthesis (LOTS).

mod image;

pub use image::Image;
