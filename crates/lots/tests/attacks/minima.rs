//! Methods that minimise: by hand, and what they promise.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use lots::attack::{
    Argmax, Attack, Extent, FeatureAdversary, Fgv, Goal, Lbfgs, Method, Outcome, Passes, Target,
    Units, attack,
};
use lots::{Ending, Image, NamedImage, Representation, l2, linf};
use lots_nn::{Error, LayerId, Network, Trace};
use ndarray::ArrayView4;

use super::networks::{
    Draw, Plain, Stage, class, digits, represent, run, smallest, trained, unlabelled,
};

fn pixels(name: &str, pixels: [u8; 2]) -> NamedImage {
    unlabelled(name, Image::new(2, 1, 1, pixels.to_vec()).unwrap())
}

/// The nearest image of another class is where the first pixel is 100.
#[test]
fn the_smallest_by_hand() {
    let weights = vec![vec![0.0, 0.0], vec![1.0, 0.0]];
    let network = Plain::new([1, 1, 2], vec![Stage::new(weights, vec![0.0, -99.5])]);
    let images = [pixels("a", [0, 10]), pixels("b", [0, 0]), pixels("c", [255, 3])];
    let method = Lbfgs::default();
    for (origin, wanted) in [(0, [100, 10]), (1, [100, 0]), (2, [99, 3])] {
        let attacked = run(&network, &images, &[smallest(origin, None, &method)]).remove(0);
        let Outcome::Adversarial(found) = &attacked.outcome else { panic!("{attacked:?}") };
        assert_eq!(found.image.pixels(), wanted, "{attacked:?}");
        assert!(found.missed.is_none() && found.step >= 2.0, "{found:?}");
        // One more forward than backward for each of ten minima.
        let Passes { forward, backward } = attacked.passes;
        assert!(forward == backward + 10 && forward > 40, "{forward} {backward}");
    }
    // The first pixel does nothing, the second too little: no class is to be reached, but this is not known beforehand.
    let same = Stage::new(vec![vec![0.0, 0.0], vec![0.0, 1e-6]], vec![0.0, -99.5]);
    let network = Plain::new([1, 1, 2], vec![same]);
    let attacked = run(&network, &images, &[smallest(0, None, &method)]).remove(0);
    assert_eq!(attacked.outcome, Outcome::NotFound(None));
    let flat = Plain::new([1, 1, 2], vec![Stage::new(vec![vec![0.0; 2]; 2], vec![1.0, 0.0])]);
    let attacked = run(&flat, &images, &[smallest(0, None, &method)]).remove(0);
    assert_eq!((attacked.outcome, attacked.passes.forward), (Outcome::NoDirection, 1));
}

/// Where every pixel has a number of its own, each goes towards the target's as far as the box lets it.
#[test]
fn the_nearest_in_a_box_by_hand() {
    let features = Stage::new(vec![vec![2.0, 0.0], vec![0.0, 0.5]], vec![7.0, -1.0]);
    let scores = Stage::new(vec![vec![0.0, 0.0], vec![1.0, 0.0]], vec![0.0, -107.5]);
    let network = Plain::new([1, 1, 2], vec![features, scores]);
    let images = [pixels("a", [20, 250]), pixels("b", [90, 30])];
    let stolen = Representation { name: "s".to_owned(), values: vec![600.0, 124.0] };
    // Class 1 from 50.25 on at the first pixel.
    let cases = [
        (10, Target::Image(1), [30, 240], false),
        (30, Target::Image(1), [50, 220], false),
        (31, Target::Image(1), [51, 219], true),
        (200, Target::Image(1), [90, 50], true),
        (255, Target::Image(1), [90, 30], true),
        // Beyond white.
        (255, Target::Representation(&stolen), [255, 250], true),
    ];
    for (linf, target, wanted, is_met) in cases {
        let method = FeatureAdversary::new(network.layer(1), linf);
        let one = Attack { target: Some(target), ..smallest(0, None, &method) };
        let attacked = run(&network, &images, &[one]).remove(0);
        let ending = if is_met { Ending::Adversarial } else { Ending::NotFound };
        assert_eq!(attacked.outcome.ending(), ending, "{linf} {target:?}");
        let found = attacked.outcome.image().unwrap();
        assert_eq!(found.image.pixels(), wanted, "{linf} {target:?}");
        let Passes { forward, backward } = attacked.passes;
        assert_eq!(forward, backward + 1, "{linf}");
    }
    let here = FeatureAdversary::new(network.layer(1), 10);
    let attacked = run(&network, &images, &[smallest(0, Some(0), &here)]).remove(0);
    assert_eq!(attacked.outcome, Outcome::NoDirection);
}

/// Oracle: of a quadratic function in a box, where the slope is zero or points out of the box, is the minimum.
#[test]
fn the_nearest_in_a_box_has_no_way_down() {
    let mut draw = Draw::new(3);
    let shape = [1, 3, 4];
    let features = Stage::linear(draw.matrix(20, 12, 5));
    let network = Plain::new(shape, vec![features, Stage::linear(draw.matrix(3, 20, 5))]);
    let images: Vec<NamedImage> =
        (0..12).map(|i| unlabelled(&format!("{i}"), draw.image(shape))).collect();
    let matrix: Vec<f64> = (0..12)
        .flat_map(|i| {
            let mut one = vec![0; 12];
            one[i] = 1;
            let black = Image::new(4, 3, 1, vec![0; 12]).unwrap();
            let seen = |image: &Image| represent(&network, image, network.layer(1));
            let (one, black) = (seen(&Image::new(4, 3, 1, one).unwrap()), seen(&black));
            one.iter().zip(&black).map(|(a, b)| f64::from(a - b)).collect::<Vec<_>>()
        })
        .collect();
    for (origin, linf) in [(0, 5_u8), (2, 40), (4, 120), (6, 255)] {
        let method = FeatureAdversary::new(network.layer(1), linf);
        let attacked = run(&network, &images, &[smallest(origin, Some(origin + 1), &method)]);
        let Some(found) = attacked[0].outcome.image() else { panic!("{attacked:?}") };
        let seen = |image: &Image| represent(&network, image, network.layer(1));
        let goal = seen(&images[origin + 1].image);
        let off: Vec<f64> =
            seen(&found.image).iter().zip(&goal).map(|(a, b)| f64::from(a - b)).collect();
        for i in 0..12 {
            let column = &matrix[20 * i..][..20];
            let slope: f64 = column.iter().zip(&off).map(|(m, o)| m * o).sum();
            let curvature: f64 = column.iter().map(|m| m * m).sum();
            let (x, o) = (found.image.pixels()[i], images[origin].image.pixels()[i]);
            let low = x <= o.saturating_sub(linf);
            let high = x >= o.saturating_add(linf);
            // In grey levels, to where the slope is zero; rounding moves every pixel by half a level.
            let way = -slope / curvature;
            let is_settled = way.abs() < 6.0 || (low && way < 0.0) || (high && way > 0.0);
            assert!(is_settled, "{linf}: pixel {i} at {x}, origin {o}, would go {way}");
        }
    }
}

/// Smaller than FGV's on the mean, in the class that is told; and feature adversaries inside their boxes, nearer in larger ones.
#[test]
fn minima_keep_their_promises() {
    let network = trained();
    let images: Vec<NamedImage> =
        digits(8).into_iter().map(|image| unlabelled(&image.name, image.image)).collect();
    let (lbfgs, fgv) = (Lbfgs::default(), Fgv);
    let sizes = |method: &dyn Method| -> Vec<f64> {
        let attacks: Vec<Attack<'_>> =
            (0..images.len()).map(|origin| smallest(origin, None, method)).collect();
        let size = |(origin, attacked): (&NamedImage, &lots::attack::Attacked)| {
            let found = attacked.outcome.image().unwrap();
            assert_eq!(found.class, class(network, &found.image));
            assert_ne!(found.class, class(network, &origin.image));
            l2(&origin.image, &found.image).unwrap().0
        };
        images.iter().zip(&run(network, &images, &attacks)).map(size).collect()
    };
    let (ours, theirs) = (sizes(&lbfgs), sizes(&fgv));
    let smaller = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours < theirs).count();
    assert!(smaller > 6, "{ours:?} {theirs:?}");

    // To a class.
    let attacks = (0..images.len()).map(|origin| {
        let wanted = (class(network, &images[origin].image) + 1) % 10;
        Attack { goal: Goal::Class(wanted), ..smallest(origin, None, &lbfgs) }
    });
    let attacks: Vec<Attack<'_>> = attacks.collect();
    for (attack, attacked) in attacks.iter().zip(run(network, &images, &attacks)) {
        let Outcome::Adversarial(found) = attacked.outcome else { panic!("{attacked:?}") };
        assert_eq!(Goal::Class(found.class), attack.goal);
    }

    let layer = network.find_layers("ip1").unwrap()[0];
    let distance = |a: &Image, b: &Image| -> f64 {
        let seen = represent(network, a, layer).into_iter().zip(represent(network, b, layer));
        seen.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    for origin in 0..4 {
        let mut last = distance(&images[origin].image, &images[origin + 1].image);
        for most in [5, 20, 60, 255] {
            let method = FeatureAdversary::new(layer, most);
            let one = [smallest(origin, Some(origin + 1), &method)];
            let attacked = run(network, &images, &one).remove(0);
            let found = &attacked.outcome.image().unwrap().image;
            assert!(linf(&images[origin].image, found).unwrap().0 <= most);
            let found = distance(found, &images[origin + 1].image);
            assert!(found < last, "{most}: {found} after {last}");
            last = found;
        }
    }
}

#[test]
fn requests_without_sense_are_told_so() {
    let network = trained();
    let images = digits(2);
    let layer = network.find_layers("ip1").unwrap()[0];
    let plain = FeatureAdversary::new(layer, 10);
    let (none, flat) = (plain.clone().with_iterations(0), FeatureAdversary::new(layer, 0));
    let (still, few) = (Lbfgs::new(5, 0), Lbfgs::default());
    let units: Units = "0,3".parse().unwrap();
    let cases = [
        (smallest(0, Some(1), &none), "feature-adversary takes at least 1 iteration, found 0"),
        (
            smallest(0, Some(1), &flat),
            "the box of feature-adversary has to be 1–255 grey levels, found 0",
        ),
        (smallest(0, None, &still), "lbfgs looks for at least 1 minimum, found 0"),
        (
            Attack { extent: Extent::Linf(3), ..smallest(0, None, &few) },
            "lbfgs has no fixed L∞ norm, found one; leave it away",
        ),
        (
            Attack { extent: Extent::Beyond(150), ..smallest(0, None, &few) },
            "lbfgs ends at a minimum, found a multiple of it; leave that away",
        ),
        (
            Attack { units: Some(&units), ..smallest(0, Some(1), &plain) },
            "feature-adversary works with all units of a layer, found some; leave them away",
        ),
        (
            smallest(0, None, &plain),
            "lots goes from an origin to a target, found no target; give one, or use magnify or reduce",
        ),
    ];
    let decision = Argmax::of(network).unwrap();
    for (one, wanted) in cases {
        let attacks = [one];
        let told = attack(network, &decision, &images, &attacks).next().unwrap();
        assert_eq!(told.unwrap_err().to_string(), wanted);
    }
}

/// A network that does not do any more after some traces.
struct Failing {
    network: Plain,
    left: AtomicUsize,
    panics: bool,
}

impl Network for Failing {
    described_by!(network);

    represented_by!(network);

    fn trace<'n>(
        &'n self,
        images: ArrayView4<'_, f32>,
        layers: &[LayerId],
    ) -> Result<Box<dyn Trace + 'n>, Error> {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            assert!(!self.panics, "no more");
            let (network, what) = ("failing".to_owned(), "no more".to_owned());
            return Err(Error::Model { network, what });
        }
        self.network.trace(images, layers)
    }
}

/// More minimisations than run together, of all kinds and lengths, are those that run one after the other. Where the network fails amid
/// them, so does the call, and does not wait for ever.
#[test]
fn many_at_once_and_one_after_the_other() {
    let mut draw = Draw::new(5);
    let shape = [1, 4, 5];
    let first = Stage { relu: true, ..Stage::linear(draw.matrix(12, 20, 5)) };
    let matrix = draw.matrix(4, 12, 5);
    let network = || Plain::new(shape, vec![first.clone(), Stage::linear(matrix.clone())]);
    let images: Vec<NamedImage> =
        (0..90).map(|i| unlabelled(&format!("{i}"), draw.image(shape))).collect();
    let plain = network();
    let (lbfgs, feature) = (Lbfgs::new(30, 6), FeatureAdversary::new(plain.layer(1), 90));
    let attacks: Vec<Attack<'_>> = (0..180)
        .map(|i| match i % 2 {
            0 => smallest(i / 2, None, &lbfgs),
            _ => smallest(i / 2, Some((i / 2 + 1) % 90), &feature),
        })
        .collect();
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let wanted = pool(1).install(|| run(&plain, &images, &attacks));
    let found = pool(3).install(|| run(&plain, &images, &attacks));
    assert!(wanted == found);
    assert!(wanted.iter().any(|one| one.passes.backward > 100));

    for panics in [false, true] {
        let failing = Failing { network: network(), left: AtomicUsize::new(40), panics };
        let decision = Argmax::of(&failing).unwrap();
        let all = || attack(&failing, &decision, &images, &attacks).collect::<Vec<_>>();
        let ended = catch_unwind(AssertUnwindSafe(|| pool(3).install(all)));
        match ended {
            Ok(results) => {
                assert!(!panics);
                let (last, others) = results.split_last().unwrap();
                assert_eq!(last.as_ref().unwrap_err().to_string(), "failing: no more");
                assert!(others.iter().all(Result::is_ok));
            }
            Err(_) => assert!(panics),
        }
    }
}
