//! L2 and L∞ norms of a perturbation.

use serde::{Deserialize, Serialize};

use super::{MeasureError, check_comparable};
use crate::Image;

/// Euclidean norm of a perturbation in grey levels, over all pixels and channels; 0 and up.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct L2(pub f64);

/// Maximum norm of a perturbation: the largest change of one value, in grey levels, 0–255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Linf(pub u8);

/// √Σd², d running over the differences of all pixels and channels, in grey levels 0–255.
///
/// # Errors
/// When the images differ in size or channels.
///
/// Paper: Table 1, column L2.
pub fn l2(origin: &Image, perturbed: &Image) -> Result<L2, MeasureError> {
    check_comparable(origin, perturbed)?;
    let pairs = origin.pixels().iter().zip(perturbed.pixels());
    let sum: u64 = pairs.map(|(&o, &p)| u64::from(o.abs_diff(p)).pow(2)).sum();
    Ok(L2((sum as f64).sqrt()))
}

/// max|d|, d running over the differences of all pixels and channels, in grey levels 0–255.
///
/// # Errors
/// When the images differ in size or channels.
///
/// Paper: Table 1, column L∞.
pub fn linf(origin: &Image, perturbed: &Image) -> Result<Linf, MeasureError> {
    check_comparable(origin, perturbed)?;
    let pairs = origin.pixels().iter().zip(perturbed.pixels());
    Ok(Linf(pairs.map(|(&o, &p)| o.abs_diff(p)).max().unwrap_or(0)))
}
