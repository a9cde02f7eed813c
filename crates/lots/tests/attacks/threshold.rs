//! Networks whose smallest flipping step is known, with the image that it leads to.
//!
//! All logits grow along (1, slope). The first pixel starts at 255 and is saturated, the second goes from 0 to
//! round(slope · step), ties to even, and the class changes where it reaches a grey level.

use lots::attack::{Attack, Attacked, Extent, Fgs, Fgv, Goal, HotCold, Lots, Outcome};
use lots::{Image, NamedImage};

use super::networks::{Plain, Stage, run, smallest, unlabelled};

/// A network whose class is the number of `levels` that the second pixel has reached, up to the largest, for rising levels
/// and the first pixel at 255. Class k + 1 overtakes class k halfway below its level.
fn network(slope: f64, levels: &[u32]) -> Plain {
    let steepness = 1.0 / 64.0;
    let (mut weights, mut bias) = (vec![vec![0.0, 0.0]], vec![0.0]);
    for (k, &level) in levels.iter().enumerate() {
        let rise = steepness * (k + 1) as f64;
        weights.push(vec![rise, rise * slope]);
        // Logits k and k + 1 are equal where 255 + slope · x is this.
        let equal = 255.0 + slope * (f64::from(level) - 0.5);
        bias.push(bias[k] - steepness * equal);
    }
    Plain::new([1, 1, 2], vec![Stage::new(weights, bias)])
}

fn origin(pixels: [u8; 2]) -> NamedImage {
    unlabelled("origin", Image::new(2, 1, 1, pixels.to_vec()).unwrap())
}

/// Step, miss, pixels and class of a success.
type Found = Option<(f32, f32, [u8; 2], usize)>;

fn found(attacked: &Attacked) -> Found {
    match &attacked.outcome {
        Outcome::Adversarial(found) => {
            let pixels = found.image.pixels().try_into().unwrap();
            Some((found.step, found.missed.unwrap(), pixels, found.class))
        }
        Outcome::NotFound(None) => None,
        other => panic!("{other:?}"),
    }
}

const GRID: f32 = 1.0 / 64.0;

/// `step` with the miss just below.
fn at(step: f32, pixels: [u8; 2], class: usize) -> Found {
    Some((step, step - GRID, pixels, class))
}

/// Oracle: level n is reached where slope · step exceeds n − 1/2, or equals it for even n.
#[test]
fn the_smallest_step_is_found_in_every_region() {
    let slow = 1.0 / 32.0;
    let last = 127.5 / 4096.0;
    let cases: [(f64, u32, Found); 18] = [
        // Below the first step of doubling.
        (1.0, 1, at(0.5 + GRID, [255, 1], 1)),
        (0.75, 1, at(0.671_875, [255, 1], 1)),
        (1.0, 2, at(1.5, [255, 2], 1)),
        (1.0, 3, at(2.5 + GRID, [255, 3], 1)),
        (0.5, 1, at(1.0 + GRID, [255, 1], 1)),
        (0.25, 1, at(2.0 + GRID, [255, 1], 1)),
        (slow, 1, at(16.0 + GRID, [255, 1], 1)),
        (slow, 2, at(48.0, [255, 2], 1)),
        (1.0, 64, at(63.5, [255, 64], 1)),
        // Between 64 and 128, and at the step where the search begins.
        (slow, 3, at(80.0 + GRID, [255, 3], 1)),
        (slow, 4, at(112.0, [255, 4], 1)),
        (1.0, 128, at(127.5, [255, 128], 1)),
        (1.0, 129, at(128.5 + GRID, [255, 129], 1)),
        (slow, 5, at(144.0 + GRID, [255, 5], 1)),
        // Up to the last step, and beyond it.
        (slow, 127, at(4048.0 + GRID, [255, 127], 1)),
        (slow, 128, at(4080.0, [255, 128], 1)),
        (last, 128, at(4096.0, [255, 128], 1)),
        (slow, 129, None),
    ];
    let mut wrong = Vec::new();
    for (slope, level, wanted) in cases {
        let network = network(slope, &[level]);
        let attacked = run(&network, &[origin([255, 0])], &[smallest(0, None, &Fgv)]);
        assert_eq!(attacked[0].origin_class, 0);
        if found(&attacked[0]) != wanted {
            wrong.push(format!("{slope} to {level}: wanted {wanted:?}, found {attacked:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All searches of one batch, in which each takes another path.
#[test]
fn searches_of_a_batch_do_not_mix() {
    let network = network(1.0 / 32.0, &[100]);
    let starts = [0, 99, 50, 101, 98, 0, 60, 250, 97];
    let images: Vec<NamedImage> = starts.map(|x| origin([255, x])).into();
    let attacks: Vec<Attack<'_>> = (0..images.len()).map(|i| smallest(i, None, &Fgv)).collect();
    for ((start, attacked), i) in starts.iter().zip(run(&network, &images, &attacks)).zip(0..) {
        // From 101 and 250 the way leads down to 99, and the first pixel stays saturated no longer.
        let Some((step, _, pixels, class)) = found(&attacked) else { panic!("{i}: {attacked:?}") };
        if *start < 100 {
            let level = f32::from(100 - start);
            let tie = 32.0 * (level - 0.5);
            // 100 is even: the tie is rounded up.
            assert_eq!((step.to_bits(), pixels, class), (tie.to_bits(), [255, 100], 1), "{i}");
        } else {
            assert_eq!((attacked.origin_class, class), (1, 0), "{i}");
        }
    }
}

#[test]
fn a_saturating_pixel_is_reached_at_its_last_grey_level() {
    let network = network(1.0, &[255]);
    let attacked = run(&network, &[origin([255, 0])], &[smallest(0, None, &Fgv)]);
    // 254.5 is rounded to 254.
    assert_eq!(found(&attacked[0]), at(254.5 + GRID, [255, 255], 1));
}

/// Steps of FGS are the same for all pixels, whatever the slope: 1/32 of FGV's here.
#[test]
fn signs_take_the_shortest_way() {
    let network = network(1.0 / 32.0, &[3]);
    let images = [origin([255, 0])];
    let hot_cold = HotCold { hot: 1 };
    let attacked = run(&network, &images, &[smallest(0, None, &Fgs), smallest(0, None, &hot_cold)]);
    assert_eq!(found(&attacked[0]), at(2.5 + GRID, [255, 3], 1));
    assert_eq!(found(&attacked[1]), at(80.0 + GRID, [255, 3], 1));
}

/// Classes 1, 2, 3 at levels 2, 4, 40: class 1 lies wholly below step 128, where the search begins, and class 2 holds there.
#[test]
fn each_goal_has_its_own_smallest_step() {
    let network = network(1.0 / 32.0, &[2, 4, 40]);
    let images = [origin([255, 0]), origin([255, 3]), origin([255, 40])];
    let to_target = |target| Attack { goal: Goal::Target, ..smallest(0, Some(target), &Fgv) };
    let to_class = |class| Attack { goal: Goal::Class(class), ..smallest(0, None, &Fgv) };
    let any = smallest(0, None, &Fgv);
    let attacks = [any, to_class(1), to_class(2), to_class(3), to_target(1), to_target(2)];
    let found: Vec<Found> = run(&network, &images, &attacks).iter().map(found).collect();
    let [first, second, third] =
        [at(48.0, [255, 2], 1), at(112.0, [255, 4], 2), at(1264.0, [255, 40], 3)];
    assert_eq!(found, [first, first, second, third, first, third]);
}

/// Doubling steps over a class that lies between two of its steps, here between 80 and 112; the distance shows where.
#[test]
fn what_doubling_steps_over_can_be_found() {
    let network = network(1.0 / 32.0, &[3, 4]);
    let attack = Attack { goal: Goal::Class(1), ..smallest(0, None, &Fgv) };
    let attacked = run(&network, &[origin([255, 0])], &[attack]);
    assert_eq!(found(&attacked[0]), at(80.0 + GRID, [255, 3], 1));
}

/// The target's label says where to go; without one, what the network says of it.
#[test]
fn a_label_of_the_target_is_the_goal() {
    let network = network(1.0 / 32.0, &[3, 4, 40]);
    let labelled = NamedImage { label: Some(2), ..origin([255, 3]) };
    let attack = Attack { goal: Goal::Target, ..smallest(0, Some(1), &Fgv) };
    let attacked = run(&network, &[origin([255, 0]), labelled], &[attack]);
    assert_eq!(found(&attacked[0]), at(112.0, [255, 4], 2));
}

#[test]
fn what_is_no_success_says_why() {
    let network = network(1.0 / 32.0, &[3]);
    let wrong = NamedImage { label: Some(1), ..origin([255, 0]) };
    let right = NamedImage { label: Some(0), ..origin([255, 0]) };
    let images = [origin([255, 0]), wrong, right];
    let lots = Lots(network.layer(1));
    let fixed = Attack { extent: Extent::Linf(80), ..smallest(0, None, &Fgv) };
    let fixed_beyond = Attack { extent: Extent::Linf(81), ..smallest(2, None, &Fgv) };
    let attacks = [
        smallest(1, None, &Fgv),
        smallest(0, Some(0), &lots),
        smallest(0, Some(1), &lots),
        fixed,
        fixed_beyond,
    ];
    let attacked = run(&network, &images, &attacks);
    assert!(attacked.iter().all(|a| a.origin_class == 0), "{attacked:?}");
    assert_eq!(attacked[0].outcome, Outcome::OriginMisclassified);
    // Towards an image that looks the same there is no way.
    assert_eq!(attacked[1].outcome, Outcome::NoDirection);
    assert_eq!(attacked[2].outcome, Outcome::NoDirection);
    let Outcome::NotFound(Some(image)) = &attacked[3].outcome else { panic!("{attacked:?}") };
    assert_eq!((image.image.pixels(), image.class, image.missed), (&[255, 2][..], 0, None));
    let Outcome::Adversarial(image) = &attacked[4].outcome else { panic!("{attacked:?}") };
    assert_eq!((image.image.pixels(), image.class, image.missed), (&[255, 3][..], 1, None));
}

/// Slopes too large for f32, and zeros.
#[test]
fn what_is_not_finite_or_zero_is_no_direction() {
    let huge = Plain::new(
        [1, 1, 2],
        vec![
            Stage::linear(vec![vec![1e30, 0.0], vec![0.0, 1e25]]),
            Stage::new(vec![vec![1e-30, 0.0], vec![0.0, 1e-25]], vec![0.0, 0.0]),
        ],
    );
    let dead = Plain::new(
        [1, 1, 2],
        vec![
            Stage {
                relu: true,
                ..Stage::new(vec![vec![-1.0, -1.0], vec![-1.0, 0.0]], vec![0.0, 0.0])
            },
            Stage::new(vec![vec![1.0, 0.0], vec![0.0, 1.0]], vec![1.0, 0.0]),
        ],
    );
    for network in [huge, dead] {
        let images = [origin([200, 100]), origin([10, 90])];
        let lots = Lots(network.layer(1));
        let fixed = Attack { extent: Extent::Linf(5), ..smallest(0, Some(1), &lots) };
        for attacked in run(&network, &images, &[smallest(0, Some(1), &lots), fixed]) {
            assert_eq!(attacked.outcome, Outcome::NoDirection);
        }
    }
}
