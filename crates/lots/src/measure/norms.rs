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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_by_hand() {
        let cases = [
            (vec![7], vec![7], 1, 0.0, 0),
            (vec![0], vec![255], 1, 255.0, 255),
            (vec![10, 20], vec![13, 16], 1, 5.0, 4),
            (vec![1, 2, 3], vec![3, 1, 1], 3, 3.0, 2),
            (vec![0; 12], vec![255; 12], 3, 255.0 * 12.0_f64.sqrt(), 255),
        ];
        for (origin, perturbed, channels, wanted_l2, wanted_linf) in cases {
            let width = origin.len() / channels;
            let [origin, perturbed] =
                [origin, perturbed].map(|pixels| Image::new(width, 1, channels, pixels).unwrap());
            for (a, b) in [(&origin, &perturbed), (&perturbed, &origin)] {
                let L2(found) = l2(a, b).unwrap();
                assert!((found - wanted_l2).abs() < 1e-12, "L2 {found}, wanted {wanted_l2}");
                assert_eq!(linf(a, b).unwrap(), Linf(wanted_linf));
            }
        }
    }
}
