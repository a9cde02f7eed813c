//! Structural similarity.

use multiversion::multiversion;

use super::{MeasureError, check_comparable};
use crate::Image;

/// Window of 11 × 11 pixels, σ = 1.5.
const RADIUS: usize = 5;
const TAPS: usize = 2 * RADIUS + 1;
const SIGMA: f64 = 1.5;
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// Local averages that the index needs at every pixel: x, y, x² + y² and xy.
const MAPS: usize = 4;

/// Mean structural similarity of two images without alignment; −1 to 1, and 1 for identical images.
///
/// Mean over all pixels of luminance · contrast · structure, exponents 1, K1 = .01, K2 = .03, range 255, Gaussian
/// window of 11 × 11 pixels with σ = 1.5, borders reflected with the edge pixel repeated, in f64; colour: mean over the
/// channels.
///
/// # Errors
/// When the images differ in size or channels.
///
/// Source: Wang et al. 2004, eq. 12 and 13; as part of PASS: Rozsa et al. 2016.
pub fn ssim(origin: &Image, perturbed: &Image) -> Result<f64, MeasureError> {
    check_comparable(origin, perturbed)?;
    Ok(mean_ssim(origin, perturbed.pixels()))
}

/// [`ssim`] against pixels laid out as those of `origin`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(super) fn mean_ssim(origin: &Image, perturbed: &[u8]) -> f64 {
    mean_ssim_here(origin, perturbed)
}

/// [`mean_ssim`] with the instructions of the caller.
#[inline(always)]
fn mean_ssim_here(origin: &Image, perturbed: &[u8]) -> f64 {
    let weights = weights();
    let mut sums = [0.0; STRIP];
    let (mut x, mut y) = (Plane::new(origin), Plane::new(origin));
    for channel in 0..origin.channels() {
        x.fill(origin.pixels(), channel);
        y.fill(perturbed, channel);
        for left in (0..origin.width()).step_by(STRIP) {
            let found = strip(&x, &y, left, &weights);
            let inside = STRIP.min(origin.width() - left);
            for (sum, found) in sums[..inside].iter_mut().zip(found) {
                *sum += found;
            }
        }
    }
    let values = origin.pixels().len() as f64;
    // Rounding may lift the index of two nearly equal images above its bound by the last bit.
    (sums.iter().sum::<f64>() / values).min(1.0)
}

/// Columns that are filtered together; the buffers of so many stay in the first cache.
const STRIP: usize = 32;

/// A row of a strip with its borders, in full vectors.
const LINE: usize = STRIP + 16;

/// Weights of the centre, of the neighbours at distance 1, 2, …; all 11 taps sum to 1.
fn weights() -> [f64; RADIUS + 1] {
    let raw: [f64; RADIUS + 1] =
        std::array::from_fn(|i| (-((i * i) as f64) / (2.0 * SIGMA * SIGMA)).exp());
    let total = raw[0] + 2.0 * raw[1..].iter().sum::<f64>();
    raw.map(|weight| weight / total)
}

/// One channel with reflected borders left and right, in rows that hold a line of every strip.
struct Plane {
    width: usize,
    height: usize,
    channels: usize,
    stride: usize,
    values: Vec<u8>,
}

impl Plane {
    fn new(image: &Image) -> Self {
        let stride = image.width().next_multiple_of(STRIP) + LINE - STRIP;
        Self {
            width: image.width(),
            height: image.height(),
            channels: image.channels(),
            stride,
            values: vec![0; stride * image.height()],
        }
    }

    #[inline(always)]
    fn fill(&mut self, pixels: &[u8], channel: usize) {
        let (width, step) = (self.width, self.channels);
        let rows = self.values.chunks_exact_mut(self.stride);
        for (to, from) in rows.zip(pixels.chunks_exact(width * step)) {
            if step == 1 {
                to[RADIUS..][..width].copy_from_slice(from);
            } else {
                for (to, from) in to[RADIUS..][..width].iter_mut().zip(from.chunks_exact(step)) {
                    *to = from[channel];
                }
            }
            for outside in 1..=RADIUS {
                let right = width - 1 + outside;
                to[RADIUS - outside] = to[RADIUS + reflect(-(outside as isize), width)];
                to[RADIUS + right] = to[RADIUS + reflect(right as isize, width)];
            }
        }
    }

    /// The row of the strip that begins at column `left`.
    #[inline(always)]
    fn line(&self, row: usize, left: usize) -> [f32; LINE] {
        let mut line = [0.0; LINE];
        for (to, &from) in line.iter_mut().zip(&self.values[row * self.stride + left..][..LINE]) {
            *to = f32::from(from);
        }
        line
    }
}

/// The index summed down each column of a strip.
#[inline(always)]
fn strip(x: &Plane, y: &Plane, left: usize, weights: &[f64; RADIUS + 1]) -> [f64; STRIP] {
    let height = x.height;
    // The last `TAPS` rows after the horizontal pass: row `r` of every map lies in slot `r % TAPS`.
    let mut ring = [[[0.0; STRIP]; TAPS]; MAPS];
    let mut sums = [0.0; STRIP];
    let mut ready = 0;
    for row in 0..height {
        while ready < height.min(row + RADIUS + 1) {
            let (x, y) = (x.line(ready, left), y.line(ready, left));
            let (mut squares, mut product) = ([0.0; LINE], [0.0; LINE]);
            // Whole numbers below 2^17: exact in f32.
            for i in 0..LINE {
                squares[i] = x[i] * x[i] + y[i] * y[i];
                product[i] = x[i] * y[i];
            }
            for (ring, line) in ring.iter_mut().zip([&x, &y, &squares, &product]) {
                across(weights, line, &mut ring[ready % TAPS]);
            }
            ready += 1;
        }
        let slots: [usize; TAPS] = std::array::from_fn(|tap| {
            reflect((row + tap) as isize - RADIUS as isize, height) % TAPS
        });
        let [mut mean_x, mut mean_y, mut squares, mut product] = [[0.0; STRIP]; MAPS];
        let to = [&mut mean_x, &mut mean_y, &mut squares, &mut product];
        for (to, ring) in to.into_iter().zip(&ring) {
            down(weights, ring, &slots, to);
        }
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += index(mean_x[i], mean_y[i], squares[i], product[i]);
        }
    }
    sums
}

/// L·C·S from the local averages of x, y, x² + y² and xy.
///
/// With C3 = C2/2 the product of contrast and structure is (2σxy + C2)/(σx² + σy² + C2), which needs no root.
#[inline(always)]
fn index(mean_x: f64, mean_y: f64, squares: f64, product: f64) -> f64 {
    let mean_product = mean_x * mean_y;
    let mean_squares = mean_x * mean_x + mean_y * mean_y;
    let above = (2.0 * mean_product + C1) * (2.0 * (product - mean_product) + C2);
    above / ((mean_squares + C1) * (squares - mean_squares + C2))
}

/// The weighted sum of eleven neighbours in a row. The values are whole numbers below 2^23, so that sums of two are exact.
#[inline(always)]
fn across(weights: &[f64; RADIUS + 1], line: &[f32; LINE], out: &mut [f64; STRIP]) {
    let [w0, w1, w2, w3, w4, w5] = *weights;
    let tap = |tap: usize| &line[tap..tap + STRIP];
    let (a, b, c, d, e) = (tap(0), tap(1), tap(2), tap(3), tap(4));
    let (f, g, h, i, j, k) = (tap(5), tap(6), tap(7), tap(8), tap(9), tap(10));
    let wide = f64::from;
    for (x, out) in out.iter_mut().enumerate() {
        let near = w0 * wide(f[x]) + w1 * wide(e[x] + g[x]) + w2 * wide(d[x] + h[x]);
        let far = w3 * wide(c[x] + i[x]) + w4 * wide(b[x] + j[x]) + w5 * wide(a[x] + k[x]);
        *out = near + far;
    }
}

/// The weighted sum of the rows in eleven slots.
#[inline(always)]
fn down(
    weights: &[f64; RADIUS + 1],
    ring: &[[f64; STRIP]; TAPS],
    slots: &[usize; TAPS],
    out: &mut [f64; STRIP],
) {
    let [w0, w1, w2, w3, w4, w5] = *weights;
    let tap = |tap: usize| &ring[slots[tap]];
    let (a, b, c, d, e) = (tap(0), tap(1), tap(2), tap(3), tap(4));
    let (f, g, h, i, j, k) = (tap(5), tap(6), tap(7), tap(8), tap(9), tap(10));
    for (x, out) in out.iter_mut().enumerate() {
        let near = w0 * f[x] + w1 * (e[x] + g[x]) + w2 * (d[x] + h[x]);
        *out = near + (w3 * (c[x] + i[x]) + w4 * (b[x] + j[x]) + w5 * (a[x] + k[x]));
    }
}

/// The place inside `0..length` that stands for `at` when the line is mirrored with its edge repeated.
#[inline(always)]
fn reflect(mut at: isize, length: usize) -> usize {
    let length = length as isize;
    while !(0..length).contains(&at) {
        at = if at < 0 { -1 - at } else { 2 * length - 1 - at };
    }
    at as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SSIM word by word from its definition: L·C·S with the full two-dimensional window at every pixel.
    fn slow_ssim(x: &Image, y: &Image) -> f64 {
        let (width, height, channels) = (x.width(), x.height(), x.channels());
        let radius = RADIUS as isize;
        let weight = |d: isize| (-((d * d) as f64) / (2.0 * SIGMA * SIGMA)).exp();
        let total: f64 = (-radius..=radius).map(weight).sum::<f64>().powi(2);
        let mut sum = 0.0;
        for at in 0..width * height * channels {
            let (column, row, channel) =
                (at / channels % width, at / channels / width, at % channels);
            let average = |value: &dyn Fn(f64, f64) -> f64| {
                let mut sum = 0.0;
                for down in -radius..=radius {
                    for right in -radius..=radius {
                        let from_row = reflect(row as isize + down, height);
                        let from_column = reflect(column as isize + right, width);
                        let from = (from_row * width + from_column) * channels + channel;
                        let (x, y) = (f64::from(x.pixels()[from]), f64::from(y.pixels()[from]));
                        sum += weight(down) * weight(right) * value(x, y);
                    }
                }
                sum / total
            };
            let (mean_x, mean_y) = (average(&|x, _| x), average(&|_, y| y));
            let spread_x = average(&|x, _| (x - mean_x).powi(2)).sqrt();
            let spread_y = average(&|_, y| (y - mean_y).powi(2)).sqrt();
            let joint = average(&|x, y| (x - mean_x) * (y - mean_y));
            let l = (2.0 * mean_x * mean_y + C1) / (mean_x.powi(2) + mean_y.powi(2) + C1);
            let c = (2.0 * spread_x * spread_y + C2) / (spread_x.powi(2) + spread_y.powi(2) + C2);
            let s = (joint + C2 / 2.0) / (spread_x * spread_y + C2 / 2.0);
            sum += l * c * s;
        }
        sum / (width * height * channels) as f64
    }

    /// Below, at and above the width of a strip.
    const SIZES: [(usize, usize, usize); 10] = [
        (1, 1, 1),
        (1, 2, 3),
        (3, 1, 1),
        (4, 3, 1),
        (5, 6, 3),
        (13, 4, 1),
        (12, 14, 3),
        (32, 3, 1),
        (33, 12, 3),
        (65, 7, 1),
    ];

    fn image(width: usize, height: usize, channels: usize, seed: usize) -> Image {
        let pixel = |i: usize| ((i * i * 31 + i * seed * 7 + seed * 91) % 256) as u8;
        let pixels = (0..width * height * channels).map(pixel).collect();
        Image::new(width, height, channels, pixels).unwrap()
    }

    /// Compiled for the vectors of this machine and for none, a strip has the same bits.
    #[test]
    fn bits_do_not_depend_on_the_instruction_set() {
        for (width, height, channels) in SIZES {
            let [x, y] = [1, 2].map(|seed| image(width, height, channels, seed));
            let dispatched = mean_ssim(&x, y.pixels());
            let plain = mean_ssim_here(&x, y.pixels());
            assert_eq!(dispatched.to_bits(), plain.to_bits(), "{width}×{height}×{channels}");
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        for (width, height, channels) in SIZES {
            let [x, y] = [1, 2].map(|seed| image(width, height, channels, seed));
            let (found, wanted) = (ssim(&x, &y).unwrap(), slow_ssim(&x, &y));
            assert!((found - wanted).abs() < 1e-10, "{x:?}: {found}, wanted {wanted}");
        }
    }

    #[test]
    fn borders_repeat_the_edge() {
        let cases = [
            (3, vec![2, 1, 0, 0, 1, 2, 2, 1, 0]),
            (1, vec![0; 9]),
            (2, vec![1, 1, 0, 0, 1, 1, 0, 0, 1]),
        ];
        for (length, wanted) in cases {
            let found: Vec<_> = (-3..6).map(|at| reflect(at, length)).collect();
            assert_eq!(found, wanted, "length {length}");
        }
    }
}
