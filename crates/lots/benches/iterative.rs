//! Iterative LOTS on MNIST, towards the next class at every layer, here and as the paper's authors do it in PyTorch, one image at
//! a time and batched: rates, success as saved 8-bit images, and L2. `bench/peers/run.sh iterative` calls it.
//! A name that ends in `.onnx` takes that LeNet instead of training one.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

mod digits;
#[path = "../../../bench/peers/goals.rs"]
mod goals;
#[path = "../../../bench/peers/peer.rs"]
mod peer;

use std::path::PathBuf;
use std::time::Instant;

use goals::Goal as Wanted;
use lots::attack::{Argmax, Attack, Goal, IterativeLots, Outcome, Target, attack};
use lots::{NamedImage, l2, pass};
use lots_nn::{Graph, Network};
use peer::{Peer, median};

/// Test digits, evenly spread; the first few of them are enough for the rate of one at a time.
const ORIGINS: usize = 1000;
const ALONE: usize = 20;
/// Turns of ours, of which the median counts.
const ROUNDS: usize = 3;
const THREADS: usize = 2;
const CLASSES: usize = 10;
/// The whole of Caffe's recipe.
const ITERATIONS: u64 = 10_000;
/// Times as fast as the authors' loop, one at a time and batched.
const FASTER: [f64; 2] = [50.0, 5.0];

/// What came of the digits, in their order: whether the 8-bit image has the class, and its L2.
struct Turn {
    rate: f64,
    saved: Vec<bool>,
    l2: Vec<f64>,
    pass: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only asks whether it starts.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let given = arguments.iter().find(|argument| argument.ends_with(".onnx"));
    let path = given.map_or_else(
        || {
            println!("training LeNet");
            let path = folder.path().join("lenet.onnx");
            std::fs::write(&path, digits::trained(ITERATIONS)).unwrap();
            path
        },
        PathBuf::from,
    );
    let network = Graph::open(&path).unwrap();
    // Misclassified digits are attacked as any others, from the class that the network sees.
    let images: Vec<NamedImage> = digits::images(ORIGINS);
    let goals: Vec<usize> =
        images[CLASSES..].iter().map(|image| (image.label.unwrap() + 1) % CLASSES).collect();
    let images: Vec<NamedImage> =
        images.into_iter().map(|image| NamedImage { label: None, ..image }).collect();
    let mut peer =
        Peer::start("iterative.py", &[path.to_str().unwrap(), "--origins", &ORIGINS.to_string()]);
    println!(
        "{ORIGINS} digits, each towards the first training image of the next class; of the authors' loop one at a \
         time, {ALONE}\n"
    );
    println!(
        "{:<6} {:>9} {:>7} {:>7} {:>6} | {:>9} {:>9} {:>7} {:>7} {:>7} | {:>6} {:>6} {:>6}",
        "layer",
        "Lots",
        "8-bit",
        "L2",
        "PASS",
        "alone",
        "batched",
        "float",
        "8-bit",
        "L2",
        "alone",
        "batch",
        "L2"
    );
    let mut rows = Vec::new();
    for layer in network.find_layers("all").unwrap() {
        let name = network.layers().iter().find(|info| info.id == layer).unwrap().name.clone();
        let method = IterativeLots::new(layer);
        let turns: Vec<Turn> =
            (0..=ROUNDS).map(|_| ours(&network, &images, &goals, &method)).collect();
        let rate = median(turns[1..].iter().map(|turn| turn.rate).collect());
        let Turn { saved, l2: lengths, pass, .. } = &turns[0];
        let mean = |of: &[f64], keep: &dyn Fn(usize) -> bool| {
            let kept: Vec<f64> = (0..of.len()).filter(|&i| keep(i)).map(|i| of[i]).collect();
            kept.iter().sum::<f64>() / kept.len() as f64
        };
        let share = |saved: &[bool]| {
            let count = saved.iter().filter(|saved| **saved).count();
            format!("{:.1} %", 100.0 * count as f64 / saved.len() as f64)
        };
        let own = format!(
            "{name:<6} {:>7.0}/s {:>7} {:>7.1} {pass:>6.3}",
            rate,
            share(saved),
            mean(lengths, &|i| saved[i])
        );
        let Some(peer) = &mut peer else {
            println!("{own}");
            continue;
        };
        let ask = |way: &str, count: usize| peer.ask(&format!("{name} {way} {count}"));
        let [alone, batched] = [("alone", ALONE), ("batched", ORIGINS)].map({
            let mut ask = ask;
            move |(way, count)| (ask(way, count), count)
        });
        let their_rate = |(answer, count): &(serde_json::Value, usize)| {
            *count as f64 / answer["seconds"].as_f64().unwrap()
        };
        let rates = [their_rate(&alone), their_rate(&batched)];
        let list = |key: &str| batched.0[key].as_array().unwrap();
        let their_saved: Vec<bool> = list("saved").iter().map(|x| x.as_bool().unwrap()).collect();
        let their_l2: Vec<f64> = list("l2").iter().map(|x| x.as_f64().unwrap()).collect();
        let both = |i: usize| saved[i] && their_saved[i];
        let smaller = mean(lengths, &both) / mean(&their_l2, &both);
        println!(
            "{own} | {:>7.1}/s {:>7.1}/s {:>5.1} % {:>7} {:>7.1} | {:>5.0}× {:>5.1}× {smaller:>6.3}",
            rates[0],
            rates[1],
            100.0 * batched.0["arrived"].as_f64().unwrap() / ORIGINS as f64,
            share(&their_saved),
            mean(&their_l2, &|i| their_saved[i]),
            rate / rates[0],
            rate / rates[1]
        );
        for ((way, wanted), their) in ["one at a time", "batched"].iter().zip(FASTER).zip(rates) {
            rows.push((format!("iterative, {name}, {way}"), rate / their, wanted));
        }
    }
    println!("\nL2: ours by theirs, mean over the digits where both are saved with the class");
    let Some(peer) = peer else { return };
    peer.quit();
    let goals: Vec<Wanted<'_>> = rows
        .iter()
        .map(|(job, ratio, wanted)| Wanted {
            job,
            ratio: *ratio,
            wanted: *wanted,
            share: None,
            threads: None,
            memory: None,
        })
        .collect();
    goals::report(&goals);
}

fn ours(network: &Graph, images: &[NamedImage], goals: &[usize], method: &IterativeLots) -> Turn {
    let decision = Argmax::of(network).unwrap();
    let attacks: Vec<Attack<'_>> = goals
        .iter()
        .enumerate()
        .map(|(i, &class)| Attack {
            goal: Goal::Class(class),
            ..Attack::smallest(CLASSES + i, Some(Target::Image(class)), method)
        })
        .collect();
    let clock = Instant::now();
    let results: Vec<Outcome> =
        attack(network, &decision, images, &attacks).map(|r| r.unwrap().outcome).collect();
    let rate = attacks.len() as f64 / clock.elapsed().as_secs_f64();
    let found = |i: usize| match &results[i] {
        Outcome::Adversarial(found) => Some((&images[CLASSES + i].image, &found.image)),
        _ => None,
    };
    let lengths = |i| found(i).map_or(f64::NAN, |(origin, image)| l2(origin, image).unwrap().0);
    let scores: Vec<f64> = (0..results.len())
        .filter_map(found)
        .map(|(origin, image)| pass(origin, image).unwrap().score)
        .collect();
    Turn {
        rate,
        saved: (0..results.len()).map(|i| found(i).is_some()).collect(),
        l2: (0..results.len()).map(lengths).collect(),
        pass: scores.iter().sum::<f64>() / scores.len() as f64,
    }
}
