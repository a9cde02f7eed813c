//! What natural images are like: smooth, and within the range of pixels.

/// Planes of an image, [channels, height, width], one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Shape {
    /// Pixels of a plane.
    pub(super) fn plane(&self) -> usize {
        self.height * self.width
    }
}

/// The exponent of [`add_alpha_slope`]'s norm.
const ALPHA: i32 = 6;
/// Mid grey, and how far black and white are from it.
const MIDDLE: f32 = 127.5;

/// Adds `weight` times the slope of the α-norm, α = 6: the mean over pixels of |c|⁶, where |c| is the length of a pixel's
/// colour from mid grey, 1 for black and white of one channel.
///
/// Source: Mahendran and Vedaldi 2015, "Understanding deep image representations by inverting them", section 3.
pub(super) fn add_alpha_slope(shape: Shape, weight: f32, image: &[f32], slope: &mut [f32]) {
    let plane = shape.plane();
    let factor = weight * ALPHA as f32 / (plane as f32 * MIDDLE);
    for at in 0..plane {
        let colour = |channel: usize| (image[channel * plane + at] - MIDDLE) / MIDDLE;
        let square: f32 = (0..shape.channels).map(|channel| colour(channel).powi(2)).sum();
        for channel in 0..shape.channels {
            slope[channel * plane + at] += factor * square.powi(ALPHA / 2 - 1) * colour(channel);
        }
    }
}

/// Adds `weight` times the slope of the total variation with β = 2: the mean over pixels of the squared differences to the
/// pixel on the right and to the one below, in halves of the range of pixels, summed over channels.
///
/// Source: as [`add_alpha_slope`].
pub(super) fn add_variation_slope(shape: Shape, weight: f32, image: &[f32], slope: &mut [f32]) {
    let (plane, width) = (shape.plane(), shape.width);
    let factor = 2.0 * weight / (plane as f32 * MIDDLE * MIDDLE);
    for (image, slope) in image.chunks_exact(plane).zip(slope.chunks_exact_mut(plane)) {
        for at in 0..plane {
            let right = (at % width + 1 < width).then_some(at + 1);
            let below = (at + width < plane).then_some(at + width);
            for next in [right, below].into_iter().flatten() {
                let pull = factor * (image[next] - image[at]);
                slope[next] += pull;
                slope[at] -= pull;
            }
        }
    }
}

/// Gaussian blur of each plane with standard deviation `radius`, in pixels; beyond an edge lies its last pixel.
///
/// Source: Yosinski et al. 2015, "Understanding neural networks through deep visualization", section 3.
pub(super) fn blur(shape: Shape, radius: f32, image: &mut [f32]) {
    let reach = (3.0 * radius).ceil() as usize;
    let taps = (0..=2 * reach).map(|i| {
        let far = (i as f64 - reach as f64) / f64::from(radius);
        (-far * far / 2.0).exp()
    });
    let taps: Vec<f64> = taps.collect();
    let total: f64 = taps.iter().sum();
    let taps: Vec<f32> = taps.iter().map(|tap| (tap / total) as f32).collect();
    let Shape { height, width, .. } = shape;
    for plane in image.chunks_exact_mut(shape.plane()) {
        along(&taps, plane, [height, width], [width, 1]);
        along(&taps, plane, [width, height], [1, width]);
    }
}

/// Each of `lines` as the weighted sum of its neighbours; `strides` lead to the next line and to the next pixel of one.
fn along(taps: &[f32], plane: &mut [f32], [lines, length]: [usize; 2], strides: [usize; 2]) {
    let reach = taps.len() / 2;
    let mut line = vec![0.0; length];
    for first in (0..lines).map(|n| n * strides[0]) {
        line.iter_mut().enumerate().for_each(|(i, x)| *x = plane[first + i * strides[1]]);
        for at in 0..length {
            let near = |tap: usize| line[(at + tap).saturating_sub(reach).min(length - 1)];
            let sum = taps.iter().enumerate().map(|(tap, weight)| weight * near(tap)).sum();
            plane[first + at * strides[1]] = sum;
        }
    }
}

/// Sets the `share` of pixels that are nearest to `centre`, one colour, to it.
///
/// Source: as [`blur`], "clipping pixels with small norm".
pub(super) fn clip_small(shape: Shape, share: f32, centre: &[f32], image: &mut [f32]) {
    let plane = shape.plane();
    let far = |at: usize| -> f32 {
        centre.iter().enumerate().map(|(c, mean)| (image[c * plane + at] - mean).powi(2)).sum()
    };
    let norms: Vec<f32> = (0..plane).map(far).collect();
    let mut sorted = norms.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let Some(&least) = sorted.get((share * plane as f32) as usize) else { return };
    for (at, _) in norms.iter().enumerate().filter(|(_, norm)| **norm < least) {
        centre.iter().enumerate().for_each(|(c, mean)| image[c * plane + at] = *mean);
    }
}

#[cfg(test)]
#[expect(clippy::type_complexity, reason = "a table of cases")]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { channels: 3, height: 5, width: 7 };

    fn image() -> Vec<f32> {
        (0..105).map(|i| (i * 89 % 256) as f32).collect()
    }

    fn pixel(image: &[f64], channel: usize, y: usize, x: usize) -> f64 {
        image[(channel * 5 + y) * 7 + x] / 127.5 - 1.0
    }

    /// Oracle: the norms' own formulas in f64, and their central differences.
    #[test]
    fn slopes_are_those_of_the_formulas() {
        let alpha = |image: &[f64]| {
            let mut sum = 0.0;
            for y in 0..5 {
                for x in 0..7 {
                    let square: f64 = (0..3).map(|c| pixel(image, c, y, x).powi(2)).sum();
                    sum += square.sqrt().powi(6) / 35.0;
                }
            }
            sum
        };
        let variation = |image: &[f64]| {
            let mut sum = 0.0;
            for (c, y, x) in (0..105).map(|i| (i / 35, i / 7 % 5, i % 7)) {
                let here = pixel(image, c, y, x);
                let right = if x < 6 { pixel(image, c, y, x + 1) - here } else { 0.0 };
                let below = if y < 4 { pixel(image, c, y + 1, x) - here } else { 0.0 };
                sum += (right * right + below * below) / 35.0;
            }
            sum
        };
        type Adds = fn(Shape, f32, &[f32], &mut [f32]);
        let cases: [(&dyn Fn(&[f64]) -> f64, Adds); 2] =
            [(&alpha, add_alpha_slope), (&variation, add_variation_slope)];
        for (value, add) in cases {
            let mut slope = vec![1.0; 105];
            add(SHAPE, 0.5, &image(), &mut slope);
            for at in 0..105 {
                let side = |by: f64| {
                    let mut moved: Vec<f64> = image().iter().map(|&x| f64::from(x)).collect();
                    moved[at] += by;
                    value(&moved)
                };
                let wanted = 1.0 + 0.5 * (side(1e-3) - side(-1e-3)) / 2e-3;
                // Of f32, about numbers around one.
                assert!(
                    (f64::from(slope[at]) - wanted).abs() < 1e-6,
                    "{at}: {}, {wanted}",
                    slope[at]
                );
            }
        }
    }

    /// Oracle: the double sum over all neighbours, in f64.
    #[test]
    fn blur_is_the_double_sum() {
        let mut found = image();
        blur(SHAPE, 0.8, &mut found);
        let tap = |by: i64| (-(by as f64 / f64::from(0.8_f32)).powi(2) / 2.0).exp();
        let total: f64 = (-3..=3).map(tap).sum();
        for (c, y, x) in (0..105_i64).map(|i| (i / 35, i / 7 % 5, i % 7)) {
            let mut wanted = 0.0;
            for (dy, dx) in (0..49).map(|i| (i / 7 - 3, i % 7 - 3)) {
                let (row, column) = ((y + dy).clamp(0, 4), (x + dx).clamp(0, 6));
                let near = image()[((c * 5 + row) * 7 + column) as usize];
                wanted += f64::from(near) * tap(dy) * tap(dx) / total.powi(2);
            }
            let got = f64::from(found[((c * 5 + y) * 7 + x) as usize]);
            // A few roundings of f32 at 255.
            assert!((got - wanted).abs() < 1e-4, "{c} {y} {x}: {got}, wanted {wanted}");
        }
    }

    #[test]
    fn small_pixels_become_the_centre() {
        let shape = Shape { channels: 2, height: 1, width: 5 };
        let centre = [10.0, 20.0];
        let start = vec![10.0, 11.0, 50.0, 12.0, 10.0, 21.0, 20.0, 20.0, 25.0, 99.0];
        for (share, small) in [(0.0, &[][..]), (0.4, &[0, 1]), (0.6, &[0, 1, 3])] {
            let mut found = start.clone();
            clip_small(shape, share, &centre, &mut found);
            let mut wanted = start.clone();
            for at in small {
                (wanted[*at], wanted[5 + at]) = (10.0, 20.0);
            }
            assert_eq!(found, wanted, "{share}");
        }
    }
}
