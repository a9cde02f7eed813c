//! Figures as the paper has them: images in rows and columns with captions, as SVG and as PNG.
//!
//! A [`Grid`] says what is shown. Where everything stands is worked out here, the template `figure.svg` writes it down, and
//! [`rasterize`] turns it, or any other SVG, into pixels. Text is drawn with the font that lies inside the library, so
//! that a figure has the same pixels on all machines.

mod grid;
mod layout;
mod raster;

pub use grid::{Cell, Grid, Theme};
pub use raster::rasterize;
