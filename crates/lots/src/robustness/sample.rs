//! Some images of a data set, from all classes alike.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Positions of at most `count` of the images with these `classes`, ascending. Classes take turns, from the lowest, each with
/// images that follow from `seed`, until there are enough; a class that has no more is passed over. So all classes have the
/// same number, or one less, as far as they have images, and with a larger `count` come those of a smaller one and others.
pub fn sample(classes: &[usize], count: usize, seed: u64) -> Vec<usize> {
    let mut turns: Vec<(usize, usize, usize)> = Vec::new();
    let last = classes.iter().copied().max().unwrap_or(0);
    let mut of_class = vec![Vec::new(); last + 1];
    for (position, &class) in classes.iter().enumerate() {
        of_class[class].push(position);
    }
    for (class, mut positions) in of_class.into_iter().enumerate() {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(class as u64);
        positions.shuffle(&mut random);
        let of_turn = |(turn, position)| (turn, class, position);
        turns.extend(positions.into_iter().enumerate().map(of_turn));
    }
    turns.sort_unstable();
    let mut chosen: Vec<usize> =
        turns.into_iter().take(count).map(|(.., position)| position).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_take_turns() {
        // Six of class 0, three of class 2, one of class 5.
        let classes = [0, 0, 2, 0, 5, 0, 2, 0, 0, 2];
        let counts = |count, seed| {
            let chosen = sample(&classes, count, seed);
            assert!(chosen.is_sorted_by(|a, b| a < b), "{chosen:?}");
            [0, 2, 5].map(|class| chosen.iter().filter(|&&i| classes[i] == class).count())
        };
        let wanted = [
            (0, [0, 0, 0]),
            (1, [1, 0, 0]),
            (2, [1, 1, 0]),
            (3, [1, 1, 1]),
            (4, [2, 1, 1]),
            (5, [2, 2, 1]),
            (8, [4, 3, 1]),
            (10, [6, 3, 1]),
            (usize::MAX, [6, 3, 1]),
        ];
        for (count, wanted) in wanted {
            for seed in 0..20 {
                assert_eq!(counts(count, seed), wanted, "{count} {seed}");
            }
        }
        assert_eq!(sample(&[], 3, 0), [0; 0]);
    }

    #[test]
    fn the_seed_decides_and_more_contain_fewer() {
        let classes: Vec<usize> = (0..1000).map(|i| i * 7 % 10).collect();
        let few = sample(&classes, 35, 4);
        assert_eq!(few, sample(&classes, 35, 4));
        assert_ne!(few, sample(&classes, 35, 5));
        let more = sample(&classes, 60, 4);
        assert!(few.iter().all(|position| more.contains(position)));
    }

    /// A change of it changes which images runs take: it belongs in the CHANGELOG.
    #[test]
    fn the_choice_is_the_same_everywhere() {
        let classes: Vec<usize> = (0..100).map(|i| i % 3).collect();
        assert_eq!(sample(&classes, 7, 0), [1, 18, 19, 24, 35, 81, 89]);
    }
}
