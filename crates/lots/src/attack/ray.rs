//! The ray from an origin along a direction, and the one place where numbers become 8-bit pixels.

use lots_nn::InputSpec;

use super::method::Method;
use crate::image::Image;

/// Adding and subtracting it rounds an f32 in 0–255 to a whole number, ties to even.
pub(super) const ROUNDER: f32 = 12_582_912.0;

/// Pixels that are compared or added up at a time.
const PART: usize = 32;

/// An origin and a direction, both as the network takes images: [channels, height, width].
pub(super) struct Ray {
    /// 0–255, whole numbers.
    pub(super) origin: Vec<f32>,
    /// Grey levels a step; the largest is 1.
    pub(super) direction: Vec<f32>,
}

impl Ray {
    /// A ray along `direction`, which may have any length, as `method` wants it; `None` if it is zero or not finite.
    pub(super) fn new(
        origin: Vec<f32>,
        mut direction: Vec<f32>,
        method: &dyn Method,
    ) -> Option<Self> {
        scale(&mut direction, method).then_some(Self { origin, direction })
    }

    /// Writes the image at `step` to `out`: whole numbers, 0–255, ties rounded to even.
    ///
    /// Paper: section 4, discrete pixel values.
    pub(super) fn render(&self, step: f32, out: &mut [f32]) {
        for (out, pixel) in out.iter_mut().zip(self.pixels(step)) {
            *out = pixel;
        }
    }

    /// Whether two steps lead to the same image.
    pub(super) fn is_same(&self, a: f32, b: f32) -> bool {
        // Part by part, so that the first difference ends it and a part is compared with vector instructions.
        let mut parts = self.origin.chunks(PART).zip(self.direction.chunks(PART));
        parts.all(|(origin, direction)| {
            let pixels = origin.iter().zip(direction);
            let differ =
                |(o, d): (&f32, &f32)| pixel(*o, *d, a).to_bits() ^ pixel(*o, *d, b).to_bits();
            pixels.map(differ).fold(0, |any, bits| any | bits) == 0
        })
    }

    /// The sum of the image's pixels at `step`, each with its weight.
    pub(super) fn weighted(&self, step: f32, weights: &[f32]) -> f32 {
        let mut sums = [0.0; PART];
        let parts = self.origin.chunks(PART).zip(self.direction.chunks(PART));
        for ((origin, direction), weights) in parts.zip(weights.chunks(PART)) {
            let pixels = origin.iter().zip(direction);
            for ((sum, (o, d)), w) in sums.iter_mut().zip(pixels).zip(weights) {
                *sum += w * pixel(*o, *d, step);
            }
        }
        sums.iter().sum()
    }

    fn pixels(&self, step: f32) -> impl Iterator<Item = f32> {
        let pixels = self.origin.iter().zip(&self.direction);
        pixels.map(move |(origin, direction)| pixel(*origin, *direction, step))
    }

    /// The image at `step`.
    pub(super) fn image(&self, step: f32, input: &InputSpec) -> Image {
        image_of(self.pixels(step), input)
    }
}

/// Makes `direction`, which may have any length, what `method` wants, with a largest change of one; `false` if it is zero or
/// not finite.
pub(super) fn scale(direction: &mut [f32], method: &dyn Method) -> bool {
    let is_finite = |direction: &[f32]| direction.iter().all(|x| x.is_finite());
    if !is_finite(direction) {
        return false;
    }
    method.finish(direction);
    let largest = direction.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    if !is_finite(direction) || largest == 0.0 {
        return false;
    }
    direction.iter_mut().for_each(|x| *x /= largest);
    true
}

/// The image of whole numbers 0–255 that lie as the network takes them.
pub(super) fn image_of(mut values: impl Iterator<Item = f32>, input: &InputSpec) -> Image {
    let InputSpec { channels, height, width, .. } = *input;
    let mut pixels = vec![0; channels * height * width];
    for channel in 0..channels {
        let places = pixels.iter_mut().skip(channel).step_by(channels);
        places.zip(&mut values).for_each(|(pixel, value)| *pixel = value as u8);
    }
    Image::of_checked([height, width, channels], pixels)
}

/// A pixel at a step along its direction: a whole number, 0–255, ties rounded to even.
fn pixel(origin: f32, direction: f32, step: f32) -> f32 {
    // As `round_ties_even`, which is a call on processors without SSE4.1.
    (origin + step * direction).clamp(0.0, 255.0) + ROUNDER - ROUNDER
}

#[cfg(test)]
mod tests {
    use lots_nn::LayerId;
    use proptest::prelude::*;

    use super::*;
    use crate::attack::{Fgs, Fgv, Seen};
    use crate::error::Error;

    /// Divides by what cancels out.
    #[derive(Debug)]
    struct Careless;

    impl Method for Careless {
        fn name(&self) -> &'static str {
            "careless"
        }

        fn layer(&self) -> Option<LayerId> {
            None
        }

        fn cotangent(&self, seen: &Seen<'_>) -> Result<Vec<f32>, Error> {
            Ok(seen.origin.to_vec())
        }

        fn finish(&self, direction: &mut [f32]) {
            let sum: f32 = direction.iter().sum();
            direction.iter_mut().for_each(|x| *x /= sum);
        }
    }

    fn direction(values: &[f32], method: &dyn Method) -> Option<Vec<f32>> {
        Ray::new(vec![0.0; values.len()], values.to_vec(), method).map(|ray| ray.direction)
    }

    #[test]
    fn directions_by_hand() {
        type Case<'c> = (&'c [f32], &'c dyn Method, Option<&'c [f32]>);
        let cases: [Case<'_>; 12] = [
            (&[2.0, -4.0, 0.0], &Fgv, Some(&[0.5, -1.0, 0.0])),
            (&[2.0, -4.0, 0.0], &Fgs, Some(&[1.0, -1.0, 0.0])),
            (&[1e-45, -1e-45, 0.0], &Fgv, Some(&[1.0, -1.0, 0.0])),
            (&[f32::MAX, -f32::MAX], &Fgv, Some(&[1.0, -1.0])),
            (&[-0.0, 1e-30], &Fgs, Some(&[0.0, 1.0])),
            (&[0.0, -0.0], &Fgv, None),
            (&[0.0, -0.0], &Fgs, None),
            (&[1.0, f32::NAN], &Fgs, None),
            (&[1.0, f32::INFINITY], &Fgs, None),
            (&[f32::NEG_INFINITY, 1.0], &Fgv, None),
            (&[1.0, 3.0], &Careless, Some(&[1.0 / 3.0, 1.0])),
            (&[1.0, -1.0, 0.0], &Careless, None),
        ];
        for (values, method, wanted) in cases {
            assert_eq!(direction(values, method).as_deref(), wanted, "{values:?} {method:?}");
        }
    }

    /// Oracle: IEEE 754's rounding to even, through the standard library.
    #[test]
    fn pixels_by_hand() {
        let ray =
            Ray { origin: vec![0.0, 1.0, 250.0, 255.0], direction: vec![1.0, 0.5, -1.0, 1.0] };
        let cases = [
            (0.0, [0, 1, 250, 255]),
            (0.5, [0, 1, 250, 255]),
            (0.515_625, [1, 1, 249, 255]),
            (1.0, [1, 2, 249, 255]),
            (1.5, [2, 2, 248, 255]),
            (2.5, [2, 2, 248, 255]),
            (3.0, [3, 2, 247, 255]),
            (5.0, [5, 4, 245, 255]),
            (254.5, [254, 128, 0, 255]),
            (4096.0, [255, 255, 0, 255]),
        ];
        let input = InputSpec { name: String::new(), channels: 1, height: 2, width: 2 };
        for (step, wanted) in cases {
            assert_eq!(ray.image(step, &input).pixels(), wanted, "{step}");
        }
    }

    #[test]
    fn channels_come_together() {
        let ray = Ray { origin: (0..12).map(|i| i as f32).collect(), direction: vec![1.0; 12] };
        let input = InputSpec { name: String::new(), channels: 3, height: 1, width: 4 };
        let image = ray.image(100.0, &input);
        assert_eq!((image.width(), image.height(), image.channels()), (4, 1, 3));
        assert_eq!(image.pixels(), [100, 104, 108, 101, 105, 109, 102, 106, 110, 103, 107, 111]);
    }

    proptest! {
        #[test]
        fn rounding_is_to_even(
            pixels in prop::collection::vec((any::<u8>(), -1.0_f32..=1.0), 1..80), steps in 0_u32..=4096 * 64,
        ) {
            let step = steps as f32 / 64.0;
            let ray = Ray {
                origin: pixels.iter().map(|&(x, _)| x.into()).collect(),
                direction: pixels.iter().map(|&(_, d)| d).collect(),
            };
            let moved = pixels.iter().map(|&(x, d)| f32::from(x) + step * d);
            let wanted: Vec<f32> = moved.map(|x| x.clamp(0.0, 255.0).round_ties_even()).collect();
            let mut found = vec![f32::NAN; pixels.len()];
            ray.render(step, &mut found);
            prop_assert_eq!(&found, &wanted);
            let next = step + 1.0 / 64.0;
            let mut beyond = vec![f32::NAN; pixels.len()];
            ray.render(next, &mut beyond);
            prop_assert_eq!(ray.is_same(step, next), found == beyond);
            let weights: Vec<f32> = (0..pixels.len()).map(|i| i as f32 - 3.0).collect();
            let sum: f32 = wanted.iter().zip(&weights).map(|(x, w)| x * w).sum();
            // Whole numbers below 2^24: exact.
            prop_assert!((ray.weighted(step, &weights) - sum).abs() <= 0.0);
        }

        #[test]
        fn the_largest_change_is_one_grey_level_a_step(
            values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL, 1..9),
        ) {
            let direction = direction(&values, &Fgv).unwrap();
            let largest = direction.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            prop_assert_eq!(largest.to_bits(), 1.0_f32.to_bits());
            let signs = direction.iter().zip(&values).all(|(d, v)| d.is_sign_positive() == v.is_sign_positive());
            prop_assert!(signs, "{:?} of {:?}", direction, values);
        }
    }
}
