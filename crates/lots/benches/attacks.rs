//! LOTS on MNIST, 36 attacks a digit with the line search, here and in PyTorch, in turn, with the ratio.
//! `bench/peers/run.sh` calls it with its Python; it can also be run without.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

mod digits;
#[path = "../../../bench/peers/goals.rs"]
mod goals;
#[path = "../../../bench/peers/peer.rs"]
mod peer;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use goals::Goal;

use lots::attack::{Argmax, Outcome, attack};
use lots::{NamedImage, l2, linf};
use lots_nn::Graph;
use peer::{Peer, median, memory};

/// Test digits, evenly spread, and rounds in which each side takes its turn.
const ORIGINS: usize = 500;
const ROUNDS: usize = 3;
const THREADS: usize = 2;
/// Of PyTorch; `bench/peers/lots.py` says what they are.
const VARIANTS: [&str; 3] = ["nchw", "channels_last", "tuned"];
/// The whole of Caffe's recipe.
const ITERATIONS: u64 = 10_000;

const ALONE: &str = "Lots, 1 thread";
/// Times as fast as the fastest variant of PyTorch.
const WANTED: f64 = 6.0;

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
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only asks whether it starts.
    if !arguments.iter().any(|argument| argument == "--bench" || argument == "--memory") {
        return;
    }
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let images = digits::images(ORIGINS);
    if let Some(at) = arguments.iter().position(|argument| argument == "--memory") {
        return our_memory(Path::new(&arguments[at + 1]), &images);
    }
    println!("training LeNet");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lenet.onnx");
    std::fs::write(&path, digits::trained(ITERATIONS)).unwrap();
    let network = Graph::open(&path).unwrap();
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();

    let (path, origins) = (path.to_str().unwrap(), ORIGINS.to_string());
    let mut peer = Peer::start("lots.py", &[path, "--origins", &origins]);
    let mut sides: Vec<(&str, Vec<Turn>)> = vec![("Lots", Vec::new()), (ALONE, Vec::new())];
    sides.extend(peer.iter().flat_map(|_| VARIANTS.map(|variant| (variant, Vec::new()))));
    for round in 0..=ROUNDS {
        for (name, turns) in &mut sides {
            let turn = match &mut peer {
                _ if *name == ALONE => alone.install(|| ours(&network, &images)),
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
    let rates: Vec<f64> = sides.iter().map(|(_, turns)| rate(turns)).collect();
    for ((name, turns), rate) in sides.iter().zip(&rates) {
        let Turn { attacks, found, step, l2, linf, .. } = turns[0];
        let found = 100.0 * found as f64 / attacks as f64;
        println!(
            "{name:<14} {rate:>9.0} {found:>6.2} % {step:>9.3} {l2:>7.1} {linf:>7.1} {:>5.2}×",
            rates[0] / rate
        );
    }
    let Some(peer) = peer else { return };
    peer.quit();
    let their_memory = |variant| {
        Peer::memory("lots.py", &[path, "--origins", &origins, "--default-malloc"], variant)
            .unwrap()
    };
    let own = Command::new(std::env::current_exe().unwrap()).args(["--memory", path]).output();
    let own = String::from_utf8(own.unwrap().stdout).unwrap().trim().parse().unwrap();
    goals::report(&[Goal {
        job: &format!("LOTS, 36 attacks on {ORIGINS} digits"),
        // As it is in its two layouts; the variant tuned by hand is more than any user would write.
        ratio: rates[0] / rates[2..4].iter().copied().fold(0.0, f64::max),
        wanted: WANTED,
        share: None,
        threads: Some(rates[0] / rates[1]),
        memory: Some([own, VARIANTS.map(their_memory).into_iter().fold(f64::INFINITY, f64::min)]),
    }]);
}

/// Attacks a second.
fn rate(turns: &[Turn]) -> f64 {
    median(turns.iter().map(|turn| turn.attacks as f64 / turn.seconds).collect())
}

/// Prints what the attacks need in this process above the digits.
fn our_memory(network: &Path, images: &[NamedImage]) {
    let before = memory();
    ours(&Graph::open(network).unwrap(), images);
    println!("{}", memory() - before);
}

/// 36 attacks on each image but the first ten, which are their targets.
fn ours(network: &Graph, images: &[NamedImage]) -> Turn {
    let decision = Argmax::of(network).unwrap();
    let layers = digits::layers(network);
    let attacks = digits::attacks(images, &layers);
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
