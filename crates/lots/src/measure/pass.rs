//! PASS: the psychometric adversarial similarity score.

use multiversion::multiversion;
use serde::{Deserialize, Serialize};

use super::ecc::{self, GreyImage};
use super::lanes::TILE;
use super::ssim::mean_ssim;
use super::warp::{Homography, Ringed};
use super::{MeasureError, check_comparable};
use crate::Image;

/// How similar a perturbed image looks to its origin, once both are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// Structural similarity after alignment; −1 to 1, and 1 for identical images.
    pub score: f64,
    /// What became of the alignment.
    pub alignment: Alignment,
}

/// What became of the search for the homography.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// The correlation settled.
    Aligned,
    /// The correlation still moved after the last iteration; the homography reached by then was used.
    IterationLimit,
    /// No homography could be found (a constant image, for instance), and the images were compared as they lie.
    Identity,
}

/// PASS of a perturbed image with respect to its origin: SSIM after a homography has laid it onto the origin.
///
/// The homography maximises the enhanced correlation coefficient of the two grey images, starting from the identity.
/// Every channel is warped bilinearly, 0 outside, and rounded to 8 bit; [`ssim`](super::ssim()) compares the result with
/// the origin. The search follows OpenCV 5.0.0: `findTransformECC` with the origin as template, `MOTION_HOMOGRAPHY`,
/// 50 iterations or a change below 1e-3, no mask, Gaussian filter of 5 pixels. Only where OpenCV reports an error is the
/// identity used, and [`Pass::alignment`] says so. An image compared with itself scores exactly 1.
///
/// # Errors
/// When the images differ in size or channels. An alignment that fails is a result.
///
/// Paper: PASS, section 4. Source: Rozsa et al. 2016.
pub fn pass(origin: &Image, perturbed: &Image) -> Result<Pass, MeasureError> {
    check_comparable(origin, perturbed)?;
    let (homography, alignment) = match ecc::align(&grey(origin), &grey(perturbed)) {
        Ok(found) if found.settled => (found.homography, Alignment::Aligned),
        Ok(found) => (found.homography, Alignment::IterationLimit),
        Err(_) => (Homography::IDENTITY, Alignment::Identity),
    };
    // Between an image and itself the identity is exactly best; where the Hessian is nearly singular, rounding alone
    // would lead the search away from it (and does in OpenCV).
    let score = if homography == Homography::IDENTITY || origin == perturbed {
        mean_ssim(origin, perturbed.pixels())
    } else {
        mean_ssim(origin, &warped(perturbed, &homography))
    };
    Ok(Pass { score, alignment })
}

/// 8-bit grey values: .299 R + .587 G + .114 B, rounded.
///
/// The weights are rounded to 15 bits, as OpenCV's conversion has them; one value in 800 differs by one grey level from
/// the unrounded weights.
fn grey(image: &Image) -> GreyImage {
    let pixels = image.pixels();
    let values = if image.channels() == 1 {
        pixels.iter().map(|&value| f32::from(value)).collect()
    } else {
        let (rgb, _) = pixels.as_chunks::<3>();
        let grey = |&[r, g, b]: &[u8; 3]| {
            (9798 * u32::from(r) + 19235 * u32::from(g) + 3735 * u32::from(b) + (1 << 14)) >> 15
        };
        rgb.iter().map(|pixel| grey(pixel) as f32).collect()
    };
    GreyImage { width: image.width(), height: image.height(), values }
}

/// The image as the origin sees it through `homography`: bilinear, 0 outside, rounded to 8 bit, ties to even.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn warped(image: &Image, homography: &Homography) -> Vec<u8> {
    if image.channels() == 1 {
        warped_channels::<1>(image, homography)
    } else {
        warped_channels::<3>(image, homography)
    }
}

/// [`warped`] with a known number of channels, so that no pixel needs a loop.
#[inline(always)]
fn warped_channels<const CHANNELS: usize>(image: &Image, homography: &Homography) -> Vec<u8> {
    /// Adding and subtracting it rounds a small f32 to a whole number.
    const ROUNDER: f32 = 12_582_912.0;
    let (width, height) = (image.width(), image.height());
    let (pixels, _) = image.pixels().as_chunks::<CHANNELS>();
    let mut source = Ringed::new(width, height);
    for (row, pixels) in source.rows_mut().zip(pixels.chunks_exact(width)) {
        for (to, pixel) in row.iter_mut().zip(pixels) {
            for (to, &value) in to.iter_mut().zip(pixel) {
                *to = f32::from(value);
            }
        }
    }
    let mut out = vec![0; pixels.len() * CHANNELS];
    let mut samples = [[0.0; 4]; TILE];
    let (to, _) = out.as_chunks_mut::<CHANNELS>();
    for (y, to) in to.chunks_exact_mut(width).enumerate() {
        for (tile, to) in to.chunks_mut(TILE).enumerate() {
            let places = homography.map(tile * TILE, to.len(), y);
            source.sample(&places, to.len(), &mut samples);
            for (to, values) in to.iter_mut().zip(&samples) {
                for (to, value) in to.iter_mut().zip(values) {
                    *to = (value + ROUNDER - ROUNDER) as u8;
                }
            }
        }
    }
    out
}
