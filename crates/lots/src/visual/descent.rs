//! Images that climb or descend step by step, from noise.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::image::Image;

/// How far the noise goes from its centre, in grey levels.
const NOISE: f32 = 16.0;

/// The mean of each channel of `image`, 0–255.
pub(super) fn mean_colour(image: &Image) -> Vec<f32> {
    let (channels, pixels) = (image.channels(), image.pixels());
    let mean = |channel: usize| {
        let values = pixels.iter().skip(channel).step_by(channels).map(|&x| u64::from(x));
        (values.sum::<u64>() as f64 / (pixels.len() / channels) as f64) as f32
    };
    (0..channels).map(mean).collect()
}

/// Planes of `plane` pixels around a colour, `centre`, all within 0–255: the same noise for all of one seed.
pub(super) fn noise(seed: u64, centre: &[f32], plane: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut around = |mean: &f32| {
        let values = (0..plane).map(|_| mean + NOISE * (2.0 * random.random::<f32>() - 1.0));
        values.map(|x| x.clamp(0.0, 255.0)).collect::<Vec<_>>()
    };
    centre.iter().flat_map(&mut around).collect()
}

/// Means of slopes and of their squares, by which each pixel gets a step of its own.
///
/// Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1.
#[derive(Clone, Debug)]
pub(super) struct Adam {
    means: Vec<f32>,
    squares: Vec<f32>,
    /// The weights that the means lack so far.
    lacks: [f32; 2],
}

/// How much of the means each step keeps.
const KEEPS: [f32; 2] = [0.9, 0.999];
/// Keeps pixels without a slope where they are. Slopes are far larger.
const TINY: f32 = 1e-12;

impl Adam {
    pub(super) fn new(pixels: usize) -> Self {
        Self { means: vec![0.0; pixels], squares: vec![0.0; pixels], lacks: [1.0; 2] }
    }

    /// One step of about `rate` grey levels down the `slope`, within 0–255.
    pub(super) fn descend(&mut self, rate: f32, slope: &[f32], pixels: &mut [f32]) {
        let [mean_keeps, square_keeps] = KEEPS;
        self.lacks = [self.lacks[0] * mean_keeps, self.lacks[1] * square_keeps];
        let [mean_weight, square_weight] = self.lacks.map(|lack| 1.0 / (1.0 - lack));
        let state = self.means.iter_mut().zip(&mut self.squares);
        for ((pixel, &slope), (mean, square)) in pixels.iter_mut().zip(slope).zip(state) {
            *mean = mean_keeps * *mean + (1.0 - mean_keeps) * slope;
            *square = square_keeps * *square + (1.0 - square_keeps) * slope * slope;
            let size = (*square * square_weight).sqrt() + TINY;
            *pixel = (*pixel - rate * *mean * mean_weight / size).clamp(0.0, 255.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_by_hand() {
        let grey = Image::new(3, 1, 1, vec![0, 10, 20]).unwrap();
        assert_eq!(mean_colour(&grey), [10.0]);
        let colour = Image::new(2, 1, 3, vec![0, 255, 7, 1, 255, 8]).unwrap();
        assert_eq!(mean_colour(&colour), [0.5, 255.0, 7.5]);
    }

    #[test]
    fn noise_lies_around_its_centre_and_depends_on_the_seed_alone() {
        let found = noise(5, &[128.0, 4.0], 1000);
        assert_eq!(found, noise(5, &[128.0, 4.0], 1000));
        assert_ne!(found, noise(6, &[128.0, 4.0], 1000));
        let (high, low) = found.split_at(1000);
        assert!(high.iter().all(|x| (x - 128.0).abs() <= NOISE));
        assert!(low.iter().all(|x| (0.0..=20.0).contains(x)) && low.contains(&0.0));
        let mean = high.iter().sum::<f32>() / 1000.0;
        // Three times the standard error of a mean of 1000.
        assert!((mean - 128.0).abs() < 3.0 * NOISE / 3.0_f32.sqrt() / 1000.0_f32.sqrt(), "{mean}");
    }

    /// Oracle: the algorithm as it is published, in f64.
    #[test]
    fn steps_are_the_published_ones() {
        let mut adam = Adam::new(3);
        let mut pixels = [100.0, 3.0, 250.0];
        let mut wanted = pixels.map(f64::from);
        let (mut m, mut v) = ([0.0_f64; 3], [0.0_f64; 3]);
        for t in 1..=20 {
            let slope = [(f64::from(t) * 0.7).sin() * 1e-4, 1e-3, -2e-5];
            adam.descend(2.0, &slope.map(|x| x as f32), &mut pixels);
            for i in 0..3 {
                m[i] = 0.9 * m[i] + 0.1 * slope[i];
                v[i] = 0.999 * v[i] + 0.001 * slope[i].powi(2);
                let (m, v) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
                wanted[i] = (wanted[i] - 2.0 * m / (v.sqrt() + 1e-12)).clamp(0.0, 255.0);
            }
        }
        for (found, wanted) in pixels.iter().zip(wanted) {
            // 20 steps whose size f32 knows to about 1e-5: 1 − 0.999ᵗ is a difference of near numbers.
            assert!((f64::from(*found) - wanted).abs() < 4e-3, "{found}, wanted {wanted}");
        }
        assert_eq!((pixels[1], pixels[2]), (0.0, 255.0));
    }
}
