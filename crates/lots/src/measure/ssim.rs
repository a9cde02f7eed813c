//! Structural similarity.

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
pub(super) fn mean_ssim(origin: &Image, perturbed: &[u8]) -> f64 {
    let mut filter = Filter::new(origin.width(), origin.height());
    let channels = origin.channels();
    let sum: f64 = (0..channels)
        .map(|channel| filter.channel(&origin.pixels()[channel..], &perturbed[channel..], channels))
        .sum();
    // Rounding may lift the index of two nearly equal images above its bound by the last bit.
    (sum / channels as f64).min(1.0)
}

/// Buffers of the separable window, reused from channel to channel.
struct Filter {
    width: usize,
    height: usize,
    /// Weights of the centre, of the neighbours at distance 1, 2, …; all 11 taps sum to 1.
    weights: [f64; RADIUS + 1],
    /// One row with its reflected borders, a buffer for each map.
    line: [Vec<f64>; MAPS],
    /// The last `TAPS` rows after the horizontal pass: row `r` of every map lies in slot `r % TAPS`.
    ring: [Vec<f64>; MAPS],
    /// One row after both passes.
    local: [Vec<f64>; MAPS],
}

impl Filter {
    fn new(width: usize, height: usize) -> Self {
        let raw: [f64; RADIUS + 1] =
            std::array::from_fn(|i| (-((i * i) as f64) / (2.0 * SIGMA * SIGMA)).exp());
        let total = raw[0] + 2.0 * raw[1..].iter().sum::<f64>();
        let buffer = |length: usize| std::array::from_fn(|_| vec![0.0; length]);
        Self {
            width,
            height,
            weights: raw.map(|weight| weight / total),
            line: buffer(width + 2 * RADIUS),
            ring: buffer(width * TAPS),
            local: buffer(width),
        }
    }

    /// Mean index of one channel; `x` and `y` start at its first value and step by `step`.
    fn channel(&mut self, x: &[u8], y: &[u8], step: usize) -> f64 {
        let (width, height) = (self.width, self.height);
        let mut sum = 0.0;
        let mut ready = 0;
        for row in 0..height {
            while ready < height.min(row + RADIUS + 1) {
                self.horizontal(
                    ready,
                    &x[ready * width * step..],
                    &y[ready * width * step..],
                    step,
                );
                ready += 1;
            }
            self.vertical(row);
            sum += self.index_of_row();
        }
        sum / (width * height) as f64
    }

    fn horizontal(&mut self, row: usize, x: &[u8], y: &[u8], step: usize) {
        let width = self.width;
        let [line_x, line_y, line_squares, line_product] = &mut self.line;
        let (values_x, values_y) = (x.iter().step_by(step), y.iter().step_by(step));
        let inner = line_x[RADIUS..][..width].iter_mut().zip(&mut line_y[RADIUS..][..width]);
        for ((to_x, to_y), (&x, &y)) in inner.zip(values_x.zip(values_y)) {
            *to_x = f64::from(x);
            *to_y = f64::from(y);
        }
        for outside in 1..=RADIUS {
            let right = width - 1 + outside;
            let (from_left, from_right) =
                (reflect(-(outside as isize), width), reflect(right as isize, width));
            for line in [&mut *line_x, &mut *line_y] {
                line[RADIUS - outside] = line[RADIUS + from_left];
                line[RADIUS + right] = line[RADIUS + from_right];
            }
        }
        let squares = line_squares.iter_mut().zip(line_product);
        for ((square, product), (&x, &y)) in squares.zip(line_x.iter().zip(&*line_y)) {
            *square = x * x + y * y;
            *product = x * y;
        }
        let slot = (row % TAPS) * width;
        for (line, ring) in self.line.iter().zip(&mut self.ring) {
            let taps = std::array::from_fn(|tap| &line[tap..tap + width]);
            weigh(&self.weights, taps, &mut ring[slot..slot + width]);
        }
    }

    fn vertical(&mut self, row: usize) {
        let (width, height) = (self.width, self.height);
        let slots: [usize; TAPS] = std::array::from_fn(|tap| {
            reflect((row + tap) as isize - RADIUS as isize, height) % TAPS * width
        });
        for (ring, local) in self.ring.iter().zip(&mut self.local) {
            weigh(&self.weights, slots.map(|slot| &ring[slot..slot + width]), local);
        }
    }

    /// Sum of L·C·S over one row.
    fn index_of_row(&self) -> f64 {
        /// Terms side by side: one chain of additions would take longer than the terms.
        const LANES: usize = 4;
        let maps = self.local.each_ref().map(|local| local.as_chunks::<LANES>());
        let [(mean_x, rest_x), (mean_y, rest_y), (squares, rest_squares), (product, rest_product)] =
            maps;
        let mut sums = [0.0; LANES];
        let chunks = mean_x.iter().zip(mean_y).zip(squares.iter().zip(product));
        for ((mean_x, mean_y), (squares, product)) in chunks {
            for i in 0..LANES {
                sums[i] += index(mean_x[i], mean_y[i], squares[i], product[i]);
            }
        }
        for i in 0..rest_x.len() {
            sums[i] += index(rest_x[i], rest_y[i], rest_squares[i], rest_product[i]);
        }
        sums.iter().sum()
    }
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

/// The weighted sum of eleven rows; all slices have the length of `out`.
///
/// Written out, because the compiler vectorises it only with a pointer for each row.
fn weigh(weights: &[f64; RADIUS + 1], taps: [&[f64]; TAPS], out: &mut [f64]) {
    let [a, b, c, d, e, f, g, h, i, j, k] = taps.map(|tap| &tap[..out.len()]);
    let [w0, w1, w2, w3, w4, w5] = *weights;
    for (x, out) in out.iter_mut().enumerate() {
        let near = w0 * f[x] + w1 * (e[x] + g[x]) + w2 * (d[x] + h[x]);
        *out = near + w3 * (c[x] + i[x]) + w4 * (b[x] + j[x]) + w5 * (a[x] + k[x]);
    }
}

/// The place inside `0..length` that stands for `at` when the line is mirrored with its edge repeated.
fn reflect(at: isize, length: usize) -> usize {
    if (0..length as isize).contains(&at) {
        return at as usize;
    }
    let folded = at.rem_euclid(2 * length as isize) as usize;
    folded.min(2 * length - 1 - folded)
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

    #[test]
    fn agrees_with_the_definition() {
        let sizes =
            [(1, 1, 1), (1, 2, 3), (3, 1, 1), (4, 3, 1), (5, 6, 3), (13, 4, 1), (12, 14, 3)];
        for (width, height, channels) in sizes {
            let image = |seed: usize| {
                let pixel = |i: usize| ((i * i * 31 + i * seed * 7 + seed * 91) % 256) as u8;
                Image::new(
                    width,
                    height,
                    channels,
                    (0..width * height * channels).map(pixel).collect(),
                )
                .unwrap()
            };
            let (x, y) = (image(1), image(2));
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
