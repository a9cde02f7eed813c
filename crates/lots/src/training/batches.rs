//! Which images each iteration of training takes.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// An endless stream of batches: epoch after epoch, each a fresh permutation of all images.
///
/// A permutation follows from the seed and its epoch, so any iteration's batch follows from the seed and the iteration.
/// Where the images are not a whole number of batches, a batch reaches into the next epoch.
#[derive(Clone, Debug)]
pub struct Batches {
    size: usize,
    seed: u64,
    /// Which of the data sets of a mixture the images are.
    part: u64,
    /// The epoch that `permutation` is of.
    epoch: u64,
    permutation: Vec<u32>,
}

impl Batches {
    /// Batches of `size` of `images` images, at least one image and at most 2³².
    pub fn new(images: usize, size: usize, seed: u64) -> Self {
        let images = u32::try_from(images).unwrap_or(u32::MAX).max(1);
        Self { size, seed, part: 0, epoch: 0, permutation: permutation(images, seed, 0, 0) }
    }

    /// The same for data set `part` of a mixture, whose permutations are others than those of the first.
    pub(super) fn of_part(self, part: u64) -> Self {
        if part == 0 {
            return self;
        }
        let permutation = permutation(self.permutation.len() as u32, self.seed, part, 0);
        Self { part, epoch: 0, permutation, ..self }
    }

    /// The positions of the images of iteration `iteration`, counted from 0.
    pub fn at(&mut self, iteration: u64) -> Vec<usize> {
        let images = self.permutation.len() as u128;
        let first = u128::from(iteration) * self.size as u128;
        (first..first + self.size as u128)
            .map(|i| {
                let epoch = (i / images) as u64;
                if epoch != self.epoch {
                    self.permutation = permutation(images as u32, self.seed, self.part, epoch);
                    self.epoch = epoch;
                }
                self.permutation[(i % images) as usize] as usize
            })
            .collect()
    }
}

fn permutation(images: u32, seed: u64, part: u64, epoch: u64) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Stream 0 of the seed makes the initial weights.
    random.set_stream((part << 48).wrapping_add(epoch).wrapping_add(1));
    let mut permutation: Vec<u32> = (0..images).collect();
    permutation.shuffle(&mut random);
    permutation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_another_permutation() {
        for images in [1, 3, 7, 64, 100] {
            let mut batches = Batches::new(images, 8, 5);
            let stream: Vec<usize> = (0..images as u64).flat_map(|t| batches.at(t)).collect();
            assert_eq!(stream.len(), 8 * images);
            for epoch in stream.chunks(images) {
                let mut sorted = epoch.to_vec();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..images).collect::<Vec<_>>());
            }
            assert!(images < 7 || stream[..images] != stream[images..2 * images], "{images}");
        }
    }

    #[test]
    fn a_batch_does_not_depend_on_those_before() {
        let mut in_order = Batches::new(100, 64, 1);
        let wanted: Vec<_> = (0..20).map(|t| in_order.at(t)).collect();
        for t in (0..20).rev() {
            assert_eq!(Batches::new(100, 64, 1).at(t), wanted[t as usize], "fresh, {t}");
            assert_eq!(in_order.at(t), wanted[t as usize], "backwards, {t}");
        }
        assert_ne!(Batches::new(100, 64, 2).at(0), wanted[0], "another seed");
        assert_eq!(in_order.at(u64::MAX).len(), 64);
    }

    /// The order decides the bytes of trained networks: a change of it belongs in the CHANGELOG.
    #[test]
    fn the_order_is_the_same_everywhere() {
        assert_eq!(
            Batches::new(60_000, 64, 0).at(0)[..6],
            [36540, 49192, 3629, 34018, 20506, 9754]
        );
        assert_eq!(
            Batches::new(60_000, 64, 0).at(937)[30..36],
            [32405, 18174, 37415, 32438, 46519, 13341]
        );
    }
}
