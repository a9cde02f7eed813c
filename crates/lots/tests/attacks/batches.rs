//! No result depends on its neighbours, on their order, on where a batch ends, or on the number of threads.

use std::collections::BTreeSet;
use std::sync::Mutex;

use lots::NamedImage;
use lots::attack::{
    Argmax, Attack, Attacked, Budget, DeepFool, Extent, FeatureAdversary, Fgs, Fgv, Goal, HotCold,
    IterativeLots, Lbfgs, Lots, Magnify, Method, Pgd, Reduce, attack,
};
use lots_nn::{Cotangent, Error, LayerId, Network, Trace};
use ndarray::{Array2, Array4, ArrayView3, ArrayView4};

use super::networks::{Draw, Plain, Stage, digits, planes, run, smallest, trained, unlabelled};

/// Attacks of all kinds on digits, with others between those of one origin.
fn mixed(methods: &[Box<dyn Method>], images: usize) -> Vec<Attack<'_>> {
    let kth = |k: usize| {
        let (origin, method) = (k * 5 % images, &*methods[k % methods.len()]);
        let goals = [Goal::Any, Goal::Any, Goal::Target];
        let extents = [Extent::Smallest, Extent::Smallest, Extent::Smallest, Extent::Linf(40)];
        let target = (origin + 1 + k % 3) % images;
        Attack {
            goal: goals[k % 3],
            extent: extents[k % 4],
            ..smallest(origin, Some(target), method)
        }
    };
    (0..60).map(kth).collect()
}

/// The first results that differ.
fn check(what: &str, wanted: &[Attacked], found: &[Attacked]) {
    assert_eq!(wanted.len(), found.len(), "{what}");
    let differ: Vec<usize> = (0..wanted.len()).filter(|&i| wanted[i] != found[i]).collect();
    let first = differ.first().map(|&i| (&wanted[i], &found[i]));
    assert!(
        differ.is_empty(),
        "{what}: {} of {} differ, at {differ:?}; {first:?}",
        differ.len(),
        wanted.len()
    );
}

#[test]
fn alone_and_among_others_the_same_comes_out() {
    let network = trained();
    // Different digits one after the other, so that any is a goal for its neighbours.
    let images: Vec<NamedImage> =
        digits(10).into_iter().map(|image| unlabelled(&image.name, image.image)).collect();
    let mut methods: Vec<Box<dyn Method>> =
        vec![Box::new(Fgs), Box::new(Fgv), Box::new(HotCold { hot: 8 })];
    methods.push(Box::new(Pgd::new(Budget::Linf(80))));
    methods.push(Box::new(Pgd::new(Budget::L2(900.0))));
    methods.push(Box::new(DeepFool::default()));
    methods.push(Box::new(Lbfgs::new(20, 4)));
    for layer in network.find_layers("all").unwrap() {
        methods.push(Box::new(Lots(layer)));
        methods.push(Box::new(IterativeLots::new(layer)));
        methods.push(Box::new(FeatureAdversary::new(layer, 60).with_iterations(20)));
        methods.push(Box::new(Magnify(layer)));
        methods.push(Box::new(Reduce(layer)));
    }
    let decision = Argmax::of(network).unwrap();
    let attacks = mixed(&methods, images.len());
    // Those that head for where the origin is already make no sense.
    let makes_sense = |one: &&Attack<'_>| {
        attack(network, &decision, &images, std::slice::from_ref(*one)).all(|r| r.is_ok())
    };
    let attacks: Vec<Attack<'_>> = attacks.iter().filter(makes_sense).copied().collect();
    assert!(attacks.len() > 40, "{}", attacks.len());
    let together = run(network, &images, &attacks);
    let kinds: BTreeSet<usize> = together.iter().map(|a| a.outcome.ending() as usize).collect();
    assert!(kinds.len() >= 2, "{kinds:?}");

    let alone: Vec<Attacked> = attacks
        .iter()
        .flat_map(|attack| run(network, &images, std::slice::from_ref(attack)))
        .collect();
    check("alone", &together, &alone);
    let turned: Vec<Attack<'_>> = attacks.iter().rev().copied().collect();
    let mut results = run(network, &images, &turned);
    results.reverse();
    check("in reverse", &together, &results);
    let by_three: Vec<Attacked> =
        attacks.chunks(3).flat_map(|some| run(network, &images, some)).collect();
    check("by three", &together, &by_three);
    let twice = run(network, &images, &[&attacks[..], &attacks[..]].concat());
    check("twice", &[&together[..], &together[..]].concat(), &twice);
    #[cfg(feature = "parallel")]
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| run(network, &images, &attacks));
        check(&format!("{threads} threads"), &together, &found);
    }
}

/// A network that writes down how many cotangents come back at a time from images that it was told beforehand: those that
/// attacks start from.
struct Watched {
    network: Plain,
    images: Vec<Vec<f32>>,
    rows: Mutex<Vec<usize>>,
}

struct WatchedTrace<'w> {
    trace: Box<dyn Trace + 'w>,
    /// None where images were perturbed.
    rows: Option<&'w Mutex<Vec<usize>>>,
}

impl Network for Watched {
    described_by!(network);

    represented_by!(network);

    fn trace<'n>(
        &'n self,
        images: ArrayView4<'_, f32>,
        layers: &[LayerId],
    ) -> Result<Box<dyn Trace + 'n>, Error> {
        let is_known = |image: ArrayView3<'_, f32>| {
            self.images.iter().any(|known| known.iter().eq(image.iter()))
        };
        let rows = images.outer_iter().all(is_known).then_some(&self.rows);
        Ok(Box::new(WatchedTrace { trace: self.network.trace(images, layers)?, rows }))
    }
}

impl Trace for WatchedTrace<'_> {
    fn representation(&self, layer: LayerId) -> Result<Array2<f32>, Error> {
        self.trace.representation(layer)
    }

    fn back_project(&self, rows: &[Cotangent<'_>]) -> Result<Array4<f32>, Error> {
        if let Some(counts) = self.rows {
            counts.lock().unwrap().push(rows.len());
        }
        self.trace.back_project(rows)
    }
}

/// Oracle: 2,097,152 pixel values are perturbed at a time: 32 images of 65,536.
#[test]
fn batches_end_between_origins_and_within_one_when_they_must() {
    const SIDE: usize = 256;
    let mut draw = Draw::new(5);
    let network = Plain::new([1, SIDE, SIDE], vec![Stage::linear(draw.matrix(3, SIDE * SIDE, 2))]);
    let images: Vec<NamedImage> =
        (0..8).map(|i| unlabelled(&format!("image {i}"), draw.image([1, SIDE, SIDE]))).collect();
    let pixels = |image: &NamedImage| planes(&image.image).iter().map(|&x| x as f32).collect();
    let known = images.iter().map(pixels).collect();
    let network = Watched { network, images: known, rows: Mutex::new(Vec::new()) };
    let lots = Lots(network.output());
    let methods: [&dyn Method; 3] = [&Fgv, &lots, &Fgs];
    // All that one origin can have; any of them is the same wherever it stands.
    let kinds = |origin: usize| -> Vec<Attack<'_>> {
        let targets = (0..8).filter(|&target| target != origin);
        targets
            .flat_map(|target| methods.map(|method| smallest(origin, Some(target), method)))
            .collect()
    };
    let alone: Vec<Vec<Attacked>> = (0..8)
        .map(|origin| {
            kinds(origin)
                .iter()
                .flat_map(|attack| run(&network, &images, std::slice::from_ref(attack)))
                .collect()
        })
        .collect();
    /// Origins and how many attacks each has, and how many attacks are run together.
    type Case<'c> = (&'c [(usize, usize)], &'c [usize]);
    let cases: [Case<'_>; 5] = [
        (&[(0, 80)], &[32, 32, 16]),
        (&[(0, 32)], &[32]),
        (&[(0, 10), (1, 10), (2, 10), (3, 10), (0, 10), (5, 3)], &[30, 23]),
        (&[(0, 1), (1, 40), (2, 3)], &[1, 32, 11]),
        (&[(4, 31), (5, 1), (6, 1)], &[32, 1]),
    ];
    for (origins, wanted) in cases {
        network.rows.lock().unwrap().clear();
        let places =
            origins.iter().flat_map(|&(origin, count)| (0..count).map(move |k| (origin, k % 21)));
        let (attacks, expected): (Vec<_>, Vec<_>) =
            places.map(|(origin, kind)| (kinds(origin)[kind], alone[origin][kind].clone())).unzip();
        let found = run(&network, &images, &attacks);
        check(&format!("{origins:?}"), &expected, &found);
        assert_eq!(*network.rows.lock().unwrap(), wanted, "{origins:?}");
    }
    // Results come one after the other: the second batch has not begun before they are asked for.
    network.rows.lock().unwrap().clear();
    let attacks: Vec<Attack<'_>> = (0..3).flat_map(|_| kinds(0)).collect();
    let decision = Argmax::of(&network).unwrap();
    let mut results = attack(&network, &decision, &images, &attacks);
    assert!(results.by_ref().take(32).all(|result| result.is_ok()));
    assert_eq!(*network.rows.lock().unwrap(), [32]);
    assert_eq!(results.count(), 31);
}
