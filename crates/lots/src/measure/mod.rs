//! How far a perturbed image lies from its origin: L2, L∞ and PASS.
//!
//! Measures know images only; what made the perturbation does not matter here.

mod ecc;
mod focus;
mod lanes;
mod norms;
mod pass;
mod scene;
mod smooth;
mod ssim;
mod warp;

use serde::{Deserialize, Serialize};

use crate::Image;

pub use focus::{Breadth, Focus, breadth, focus};
pub use norms::{L2, Linf, l2, linf};
pub use pass::{Alignment, Pass, pass};
pub use ssim::ssim;

/// Every measure of the paper for one pair of images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Euclidean length of the perturbation, in grey levels.
    pub l2: L2,
    /// Largest change of one value, in grey levels.
    pub linf: Linf,
    /// Psychometric similarity, with what became of the alignment.
    pub pass: Pass,
}

/// Why two images cannot be compared.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum MeasureError {
    /// The two images differ in size.
    #[error(
        "measures need two images of one size: the origin has {origin_width}×{origin_height} pixels, \
         the perturbed image {perturbed_width}×{perturbed_height}"
    )]
    Size {
        /// Width of the origin in pixels.
        origin_width: usize,
        /// Height of the origin in pixels.
        origin_height: usize,
        /// Width of the perturbed image in pixels.
        perturbed_width: usize,
        /// Height of the perturbed image in pixels.
        perturbed_height: usize,
    },
    /// One image is grey, the other is in colour.
    #[error(
        "measures need two grey or two RGB images: the origin has {origin} channel(s), \
         the perturbed image {perturbed}"
    )]
    Channels {
        /// Channels of the origin.
        origin: usize,
        /// Channels of the perturbed image.
        perturbed: usize,
    },
}

/// L2, L∞ and PASS of a perturbed image with respect to its origin.
///
/// Both images have the same size and number of channels; units and ranges stand at [`L2`], [`Linf`] and [`Pass`].
///
/// # Errors
/// When size or channels differ.
pub fn measure(origin: &Image, perturbed: &Image) -> Result<Measures, MeasureError> {
    Ok(Measures {
        l2: l2(origin, perturbed)?,
        linf: linf(origin, perturbed)?,
        pass: pass(origin, perturbed)?,
    })
}

fn check_comparable(origin: &Image, perturbed: &Image) -> Result<(), MeasureError> {
    if (origin.width(), origin.height()) != (perturbed.width(), perturbed.height()) {
        return Err(MeasureError::Size {
            origin_width: origin.width(),
            origin_height: origin.height(),
            perturbed_width: perturbed.width(),
            perturbed_height: perturbed.height(),
        });
    }
    if origin.channels() != perturbed.channels() {
        return Err(MeasureError::Channels {
            origin: origin.channels(),
            perturbed: perturbed.channels(),
        });
    }
    Ok(())
}
