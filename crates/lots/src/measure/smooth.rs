//! Binomial smoothing.

use super::lanes::{TILE, TileRow};

/// Borders of a row: two taps left, and right as many as fill a vector.
const BORDERS: usize = 16;

/// Binomial smoothing of an image in rows of `width`, 1 4 6 4 1 over 16 along both axes, borders mirrored without
/// repeating the edge. The rows found are padded to full tiles; what lies in the padding means nothing.
///
/// These are the weights of OpenCV's Gaussian of 5 pixels; on 8-bit values the result is exact in f32.
#[inline(always)]
pub(super) fn smoothed(values: &[f32], width: usize) -> Vec<TileRow> {
    let height = values.len() / width;
    let tiles = width.div_ceil(TILE);
    let mut line = vec![0.0; tiles * TILE + BORDERS];
    let mut along_x = vec![[0.0; TILE]; tiles * height];
    for (to, from) in along_x.chunks_exact_mut(tiles).zip(values.chunks_exact(width)) {
        line[2..width + 2].copy_from_slice(from);
        for (at, by) in [(0, -2), (1, -1)] {
            line[at] = from[mirror(0, by, width)];
            line[width + 3 - at] = from[mirror(width - 1, -by, width)];
        }
        for (tile, to) in to.iter_mut().enumerate() {
            let line = &line[tile * TILE..][..TILE + BORDERS];
            weigh(std::array::from_fn(|tap| &line[tap..tap + TILE]), to);
        }
    }
    let mut both = vec![[0.0; TILE]; tiles * height];
    for (y, to) in both.chunks_exact_mut(tiles).enumerate() {
        let rows: [usize; 5] =
            std::array::from_fn(|tap| mirror(y, tap as isize - 2, height) * tiles);
        for (tile, to) in to.iter_mut().enumerate() {
            weigh(std::array::from_fn(|tap| along_x[rows[tap] + tile].as_slice()), to);
        }
    }
    both
}

/// The weighted sum of five rows.
#[inline(always)]
fn weigh(rows: [&[f32]; 5], out: &mut TileRow) {
    let [a, b, c, d, e] = rows.map(|row| &row[..TILE]);
    let mut sums = [0.0; TILE];
    for (x, sum) in sums.iter_mut().enumerate() {
        *sum = 0.375 * c[x] + 0.25 * (b[x] + d[x]) + 0.0625 * (a[x] + e[x]);
    }
    *out = sums;
}

/// The place inside `0..length` that stands for `at + by` when the line is mirrored without repeating its edge.
#[inline(always)]
pub(super) fn mirror(at: usize, by: isize, length: usize) -> usize {
    let last = length as isize - 1;
    let mut place = at as isize + by;
    while last > 0 && !(0..=last).contains(&place) {
        place = if place < 0 { -place } else { 2 * last - place };
    }
    place.clamp(0, last) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 4 6 4 1 over 16 by its definition, in f64.
    fn plainly(values: &[f32], width: usize, x: usize, y: usize) -> f64 {
        let height = values.len() / width;
        let taps = [1.0, 4.0, 6.0, 4.0, 1.0].into_iter().zip(-2_isize..).collect::<Vec<_>>();
        let mut sum = 0.0;
        for &(down, by_y) in &taps {
            for &(across, by_x) in &taps {
                let from = mirror(y, by_y, height) * width + mirror(x, by_x, width);
                sum += down * across * f64::from(values[from]);
            }
        }
        sum / 256.0
    }

    #[test]
    fn agrees_with_the_definition() {
        for (width, height) in [(1, 1), (2, 1), (1, 3), (5, 4), (31, 3), (32, 2), (33, 7), (70, 5)]
        {
            let values: Vec<f32> = (0..width * height).map(|i| (i * i * 31 % 256) as f32).collect();
            let tiles = usize::div_ceil(width, TILE);
            let found = smoothed(&values, width);
            assert_eq!(found.len(), tiles * height);
            for (y, row) in found.chunks_exact(tiles).enumerate() {
                for (x, &found) in row.as_flattened()[..width].iter().enumerate() {
                    let wanted = plainly(&values, width, x, y);
                    assert!(
                        (f64::from(found) - wanted).abs() < 1e-9,
                        "{width}×{height}, ({x}, {y})"
                    );
                }
            }
        }
    }

    #[test]
    fn mirrors_do_not_repeat_the_edge() {
        for (length, wanted) in [(1, [0; 6]), (2, [0, 1, 0, 1, 0, 1]), (4, [2, 1, 0, 1, 2, 3])] {
            let found = std::array::from_fn(|i| mirror(0, i as isize - 2, length));
            assert_eq!(found, wanted, "length {length}");
        }
        assert_eq!([mirror(3, 1, 4), mirror(3, 2, 4)], [2, 1]);
    }
}
