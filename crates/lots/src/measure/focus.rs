//! Where a perturbation lies: on what the image shows, or anywhere; on few pixels, or on many.

use serde::{Deserialize, Serialize};

use super::{MeasureError, check_comparable};
use crate::Image;

/// How much a perturbation keeps to what there is to see in the origin, 0–1; see [`focus`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Focus(pub f64);

/// The share of the pixels that hold half of a perturbation's energy, 0 to about 1/2; see [`breadth`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Breadth(pub f64);

/// Pixels around a pixel to each side, among which its contrast is found.
const REACH: usize = 2;
/// Contrasts of a pixel of three channels are 0 … 765.
const CONTRASTS: usize = 3 * 255 + 1;

/// Σ e·r / Σ e over the pixels of the origin. A pixel's energy e is Σd² over its channels. Its rank r, 0–1, is the share of
/// all pixels whose contrast is lower than its own, those of equal contrast counted half. Contrast is the largest value less
/// the smallest within two pixels to each side, summed over the channels: large at lines and edges, 0 where nothing is to be
/// seen.
///
/// So it is the probability that a piece of the perturbation lies where there is more to see in the origin than at a pixel
/// chosen at random. 1/2: it lies anywhere, or there is none. Near 1: on the edges only. Below 1/2: rather on plain areas.
/// Ranks make it independent of brightness and contrast as such, and of the perturbation's length.
///
/// Ours: section 4 of the paper says without a measure that perturbations of upper layers lose spatial focus.
///
/// # Errors
/// When the images differ in size or channels.
pub fn focus(origin: &Image, perturbed: &Image) -> Result<Focus, MeasureError> {
    let energies = energies(origin, perturbed)?;
    let contrasts = contrasts(origin);
    let mut counts = [0_u64; CONTRASTS];
    contrasts.iter().for_each(|&contrast| counts[contrast] += 1);
    let mut below = 0;
    // Twice the rank, in pixels.
    let ranks = counts.map(|count| {
        let rank = 2 * below + count;
        below += count;
        rank
    });
    let total: u64 = energies.iter().sum();
    if total == 0 {
        return Ok(Focus(0.5));
    }
    let weighted = energies
        .iter()
        .zip(&contrasts)
        .map(|(&energy, &contrast)| u128::from(energy) * u128::from(ranks[contrast]));
    let weighted: u128 = weighted.sum();
    Ok(Focus(weighted as f64 / (2.0 * energies.len() as f64 * total as f64)))
}

/// k/N, k being the smallest number of the N pixels that together hold at least half of the energy Σd² of all pixels and
/// channels; 0 where nothing is perturbed. It does not ask where they lie.
///
/// # Errors
/// When the images differ in size or channels.
pub fn breadth(origin: &Image, perturbed: &Image) -> Result<Breadth, MeasureError> {
    let mut energies = energies(origin, perturbed)?;
    energies.sort_unstable_by(|a, b| b.cmp(a));
    let total: u64 = energies.iter().sum();
    let mut held = 0;
    let few = energies.iter().take_while(|&&energy| {
        let is_missing = 2 * held < total;
        held += energy;
        is_missing
    });
    Ok(Breadth(few.count() as f64 / energies.len() as f64))
}

/// Σd² of each pixel, over its channels.
fn energies(origin: &Image, perturbed: &Image) -> Result<Vec<u64>, MeasureError> {
    check_comparable(origin, perturbed)?;
    let channels = origin.channels();
    let pixels = origin.pixels().chunks(channels).zip(perturbed.pixels().chunks(channels));
    Ok(pixels
        .map(|(o, p)| o.iter().zip(p).map(|(o, p)| u64::from(o.abs_diff(*p)).pow(2)).sum())
        .collect())
}

/// What the values within reach of each pixel differ by at most, summed over the channels.
fn contrasts(image: &Image) -> Vec<usize> {
    let (height, width, channels) = (image.height(), image.width(), image.channels());
    let near = |at: usize, length: usize| at.saturating_sub(REACH)..(at + REACH + 1).min(length);
    let mut contrasts = vec![0; height * width];
    for channel in 0..channels {
        let value = |y: usize, x: usize| image.pixels()[(y * width + x) * channels + channel];
        for y in 0..height {
            // Lowest and highest of each column, then of the columns.
            let columns: Vec<(u8, u8)> = (0..width)
                .map(|x| ends(near(y, height).map(|y| (value(y, x), value(y, x)))))
                .collect();
            for x in 0..width {
                let (low, high) = ends(columns[near(x, width)].iter().copied());
                contrasts[y * width + x] += usize::from(high - low);
            }
        }
    }
    contrasts
}

/// The lowest and the highest of all; there is at least one.
fn ends(values: impl Iterator<Item = (u8, u8)>) -> (u8, u8) {
    values.fold((u8::MAX, 0), |all, one| (all.0.min(one.0), all.1.max(one.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pixels: &[u8]) -> Image {
        Image::new(pixels.len(), 1, 1, pixels.to_vec()).unwrap()
    }

    #[test]
    fn contrast_by_hand() {
        assert_eq!(contrasts(&row(&[0, 0, 0, 9, 0, 0, 0, 0])), [0, 9, 9, 9, 9, 9, 0, 0]);
        let column = Image::new(1, 4, 1, vec![5, 5, 5, 1]).unwrap();
        assert_eq!(contrasts(&column), [0, 4, 4, 4]);
        let color = Image::new(2, 1, 3, vec![0, 255, 0, 255, 0, 255]).unwrap();
        assert_eq!(contrasts(&color), [765, 765]);
    }

    #[test]
    fn focus_by_hand() {
        // Contrast 0 at three pixels, 9 at five: ranks 3/16 and (3 + 5/2)/8.
        let origin = [0, 0, 0, 9, 0, 0, 0, 0];
        let cases: [(&[u8], f64); 5] = [
            (&origin, 0.5),
            (&[0, 0, 0, 8, 0, 0, 0, 0], 11.0 / 16.0),
            (&[7, 0, 0, 9, 0, 0, 0, 0], 3.0 / 16.0),
            (&[1, 0, 0, 10, 0, 0, 0, 0], (3.0 + 11.0) / 32.0),
            // Energies 4 and 1.
            (&[2, 0, 0, 10, 0, 0, 0, 0], (4.0 * 3.0 + 11.0) / 80.0),
        ];
        for (perturbed, wanted) in cases {
            let Focus(found) = focus(&row(&origin), &row(perturbed)).unwrap();
            assert!((found - wanted).abs() < 1e-15, "{perturbed:?}: {found}, {wanted}");
        }
        // Nothing to see: anywhere is anywhere.
        assert_eq!(focus(&row(&[7; 9]), &row(&[7, 7, 7, 7, 7, 7, 7, 7, 0])).unwrap(), Focus(0.5));
    }

    #[test]
    fn the_same_change_everywhere_lies_anywhere() {
        let origin = row(&[0, 10, 20, 200, 3, 90, 7, 0, 0, 0, 0, 1]);
        let all = row(&origin.pixels().iter().map(|x| x + 5).collect::<Vec<_>>());
        let Focus(found) = focus(&origin, &all).unwrap();
        assert!((found - 0.5).abs() < 1e-15, "{found}");
    }

    #[test]
    fn breadth_by_hand() {
        let cases: [(&[u8], f64); 5] = [
            (&[0, 0, 0, 0], 0.0),
            (&[0, 9, 0, 0], 0.25),
            (&[1, 1, 1, 1], 0.5),
            // Energies 4, 1, 1, 1: 4 of 7 is more than half; 2, 1, 1, 1 as 4, 4, 1, 0: one is less than half of 9.
            (&[2, 1, 1, 1], 0.25),
            (&[2, 2, 1, 0], 0.5),
        ];
        for (perturbed, wanted) in cases {
            assert_eq!(
                breadth(&row(&[0; 4]), &row(perturbed)).unwrap(),
                Breadth(wanted),
                "{perturbed:?}"
            );
        }
        // The channels of a pixel count together.
        let color = |pixels: [u8; 6]| Image::new(2, 1, 3, pixels.to_vec()).unwrap();
        let found = breadth(&color([0; 6]), &color([3, 3, 3, 5, 0, 0])).unwrap();
        assert_eq!(found, Breadth(0.5));
    }

    #[test]
    fn images_of_other_shapes_are_refused() {
        let (a, b) = (row(&[0; 4]), row(&[0; 5]));
        assert_eq!(focus(&a, &b).unwrap_err(), breadth(&a, &b).unwrap_err());
    }
}
