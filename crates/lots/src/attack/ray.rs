//! The ray from an origin along a direction, and the one place where numbers become 8-bit pixels.

use lots_nn::InputSpec;

use super::method::Method;
use crate::image::Image;

/// Adding and subtracting it rounds an f32 in 0–255 to a whole number, ties to even.
const ROUNDER: f32 = 12_582_912.0;

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
        let is_finite = |direction: &[f32]| direction.iter().all(|x| x.is_finite());
        if !is_finite(&direction) {
            return None;
        }
        method.finish(&mut direction);
        if !is_finite(&direction) {
            return None;
        }
        let largest = direction.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        if largest == 0.0 {
            return None;
        }
        for x in &mut direction {
            *x /= largest;
        }
        Some(Self { origin, direction })
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
        self.pixels(a).eq(self.pixels(b))
    }

    fn pixels(&self, step: f32) -> impl Iterator<Item = f32> {
        let pixels = self.origin.iter().zip(&self.direction);
        pixels.map(move |(origin, direction)| {
            // As `round_ties_even`, which is a call on processors without SSE4.1.
            (origin + step * direction).clamp(0.0, 255.0) + ROUNDER - ROUNDER
        })
    }

    /// The image at `step`.
    pub(super) fn image(&self, step: f32, input: &InputSpec) -> Image {
        let InputSpec { channels, height, width, .. } = *input;
        let size = height * width;
        let mut pixels = vec![0; channels * size];
        for (i, value) in self.pixels(step).enumerate() {
            pixels[i % size * channels + i / size] = value as u8;
        }
        Image::of_checked([height, width, channels], pixels)
    }
}
