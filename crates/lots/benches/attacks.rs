//! LOTS on MNIST, 36 attacks a digit with the line search, here and in PyTorch, in turn, with the ratio.
//! `bench/peers/run.sh` calls it with its Python; it can also be run without.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../../../bench/peers/peer.rs"]
mod peer;

use std::time::Instant;

use lots::attack::{Argmax, Attack, Extent, Goal, Lots, Outcome, Target, attack};
use lots::experiment::first_of_each_class;
use lots::{NamedImage, Split, Training, l2, linf, open_dataset};
use lots_nn::{Graph, lenet};
use peer::{Peer, median};

/// Test digits, evenly spread, and rounds in which each side takes its turn.
const ORIGINS: usize = 200;
const ROUNDS: usize = 5;
const THREADS: usize = 2;
/// Of PyTorch; `bench/peers/lots.py` says what they are.
const VARIANTS: [&str; 3] = ["nchw", "channels_last", "tuned"];
/// The whole of Caffe's recipe.
const ITERATIONS: u64 = 10_000;

/// What one turn came to.
struct Turn {
    seconds: f64,
    attacks: usize,
    found: usize,
    step: f64,
    l2: f64,
    linf: f64,
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let train = open_dataset("mnist:train", Split::Train).unwrap();
    println!("training LeNet");
    let mut training = Training::start(lenet(0), &train, 0).unwrap();
    while training.iteration() < ITERATIONS {
        training.step().unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lenet.onnx");
    std::fs::write(&path, training.finished()).unwrap();
    let network = Graph::open(&path).unwrap();

    let test = open_dataset("mnist:test", Split::Test).unwrap().limit(ORIGINS).unwrap();
    let mut images = first_of_each_class(&train, 10).unwrap();
    images.extend((0..test.len()).map(|i| NamedImage {
        image: test.image(i),
        name: i.to_string(),
        label: test.label(i),
    }));

    let origins = ORIGINS.to_string();
    let mut peer = Peer::start("lots.py", &[path.to_str().unwrap(), "--origins", origins.as_str()]);
    let mut sides: Vec<(&str, Vec<Turn>)> = vec![("Lots", Vec::new())];
    sides.extend(peer.iter().flat_map(|_| VARIANTS.map(|variant| (variant, Vec::new()))));
    for round in 0..=ROUNDS {
        for (name, turns) in &mut sides {
            let turn = match &mut peer {
                Some(peer) if *name != "Lots" => theirs(&peer.ask(name)),
                _ => ours(&network, &images),
            };
            // The first round warms up.
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    println!("{ORIGINS} digits, medians of {ROUNDS} interleaved rounds\n");
    println!(
        "{:<14} {:>9} {:>8} {:>9} {:>7} {:>7} {:>6}",
        "", "attacks/s", "found", "step", "L2", "L∞", "ratio"
    );
    let rate = |turns: &[Turn]| {
        median(turns.iter().map(|turn| turn.attacks as f64 / turn.seconds).collect())
    };
    let ours = rate(&sides[0].1);
    for (name, turns) in &sides {
        let Turn { attacks, found, step, l2, linf, .. } = turns[0];
        let found = 100.0 * found as f64 / attacks as f64;
        let theirs = rate(turns);
        println!(
            "{name:<14} {theirs:>9.0} {found:>6.2} % {step:>9.3} {l2:>7.1} {linf:>7.1} {:>5.2}×",
            ours / theirs
        );
    }
    if let Some(peer) = peer {
        peer.quit();
    }
}

/// 36 attacks on each image but the first ten, which are their targets.
fn ours(network: &Graph, images: &[NamedImage]) -> Turn {
    let decision = Argmax::of(network).unwrap();
    let layers: Vec<Lots> = network.find_layers("all").unwrap().into_iter().map(Lots).collect();
    let mut attacks = Vec::new();
    for (origin, image) in images.iter().enumerate().skip(10) {
        for method in &layers {
            for target in (0..10).filter(|&class| image.label != Some(class)) {
                attacks.push(Attack {
                    origin,
                    target: Some(Target::Image(target)),
                    method,
                    goal: Goal::Any,
                    extent: Extent::Smallest,
                    units: None,
                });
            }
        }
    }
    let clock = Instant::now();
    let results: Vec<Outcome> =
        attack(network, &decision, images, &attacks).map(|r| r.unwrap().outcome).collect();
    let seconds = clock.elapsed().as_secs_f64();
    let tried = results.iter().filter(|r| !matches!(r, Outcome::OriginMisclassified)).count();
    let found: Vec<_> = attacks
        .iter()
        .zip(&results)
        .filter_map(|(attack, result)| match result {
            Outcome::Adversarial(found) => Some((&images[attack.origin].image, found)),
            _ => None,
        })
        .collect();
    let mean = |x: &dyn Fn(usize) -> f64| (0..found.len()).map(x).sum::<f64>() / found.len() as f64;
    Turn {
        seconds,
        attacks: tried,
        found: found.len(),
        step: mean(&|i| f64::from(found[i].1.step)),
        l2: mean(&|i| l2(found[i].0, &found[i].1.image).unwrap().0),
        linf: mean(&|i| f64::from(linf(found[i].0, &found[i].1.image).unwrap().0)),
    }
}

fn theirs(answer: &serde_json::Value) -> Turn {
    let number = |key: &str| answer[key].as_f64().unwrap();
    Turn {
        seconds: number("seconds"),
        attacks: number("attacks") as usize,
        found: number("found") as usize,
        step: number("mean_step"),
        l2: number("mean_l2"),
        linf: number("mean_linf"),
    }
}
