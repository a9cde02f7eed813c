//! PASS of perturbed digits and portraits, here and in OpenCV, in turn, with the ratio. `bench/peers/run.sh` calls it with
//! its Python; it can also be run without.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

mod digits;
#[path = "../../../bench/peers/goals.rs"]
mod goals;
#[path = "../../../bench/peers/peer.rs"]
mod peer;

use std::path::Path;
use std::time::Instant;

use goals::report;
use lots::attack::{Argmax, Attack, Extent, Fgs, Fgv, Goal, Method, Target, attack};
use lots::{Image, pass};
use lots_nn::Graph;
use peer::{Peer, median, memory};
use rayon::prelude::*;

/// Test digits, evenly spread, and rounds in which each side takes its turn.
const ORIGINS: usize = 200;
const ROUNDS: usize = 7;
/// How many times a turn goes over the pairs: a fifth of a second or more. Threads that have slept can be a tick of the system's
/// scheduler away from the processors they should have.
const TIMES: usize = 15;
const THREADS: usize = 2;
/// Of OpenCV; `bench/peers/pass.py` says what they are.
const VARIANTS: [&str; 3] = ["opencv", "threads", "processes"];
/// Of training: a network that is worth attacking.
const ITERATIONS: u64 = 1_000;
/// Two scores agree within this much, as in the tests.
const AGREEING: f64 = 0.005;

/// An origin and a perturbed image.
type Pair = (Image, Image);

/// What one turn came to.
struct Turn {
    seconds: f64,
    scores: Vec<f64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only asks whether it starts.
    if !arguments.iter().any(|argument| argument == "--bench" || argument == "--memory") {
        return;
    }
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    if let Some(at) = arguments.iter().position(|argument| argument == "--memory") {
        return print_memory(Path::new(&arguments[at + 1]));
    }
    // What is wanted: pairs a second, as multiples of the fastest way of OpenCV.
    let sets = [("grey", 8.0, perturbed_digits()), ("colour", 2.0, portraits())];
    for (name, wanted, pairs) in &sets {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name).with_extension("pairs");
        write_pairs(&path, pairs);
        let arguments = [folder.path().to_str().unwrap()];
        let Some(mut peer) = Peer::start("pass.py", &arguments) else {
            compare(name, pairs, None);
            continue;
        };
        let [ratio, threads] = compare(name, pairs, Some(&mut peer));
        peer.quit();
        // Of the ways of OpenCV with two threads in Python, none needs less.
        let theirs = Peer::memory("pass.py", &arguments, &format!("{name} threads 1"));
        let (origin, _) = &pairs[0];
        report(&[goals::Goal {
            job: &format!("PASS {name}, {}×{}", origin.width(), origin.height()),
            ratio,
            wanted: *wanted,
            share: None,
            threads: Some(threads),
            memory: theirs.map(|theirs| [memory_alone(&path), theirs]),
        }]);
    }
}

/// The ratio to the fastest way of OpenCV, if there is any, and to one thread.
fn compare(name: &str, pairs: &[Pair], mut peer: Option<&mut Peer>) -> [f64; 2] {
    let mut sides: Vec<(&str, Vec<Turn>)> =
        vec![("Lots", Vec::new()), ("Lots, 1 thread", Vec::new())];
    sides.extend(peer.iter().flat_map(|_| VARIANTS.map(|variant| (variant, Vec::new()))));
    for round in 0..=ROUNDS {
        for (side, turns) in &mut sides {
            let turn = match (&mut peer, &**side) {
                (_, "Lots") => ours(pairs, THREADS, TIMES),
                (Some(peer), variant) if VARIANTS.contains(&variant) => {
                    theirs(&peer.ask(&format!("{name} {variant} {TIMES}")))
                }
                _ => ours(pairs, 1, TIMES),
            };
            // The first round warms up.
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    let (origin, _) = &pairs[0];
    println!(
        "\n{} {name} pairs of {}×{} pixels, {TIMES} times a turn, medians of {ROUNDS} interleaved rounds\n",
        pairs.len(),
        origin.width(),
        origin.height()
    );
    println!("{:<14} {:>9} {:>10} {:>9} {:>6}", "", "pairs/s", "mean PASS", "within", "ratio");
    let count = pairs.len() as f64;
    let measured = TIMES as f64 * count;
    let rate = |turns: &[Turn]| median(turns.iter().map(|turn| measured / turn.seconds).collect());
    let ours = &sides[0].1;
    let fastest = sides[2..].iter().map(|(_, turns)| rate(turns)).fold(0.0, f64::max);
    for (side, turns) in &sides {
        let both = turns[0].scores.iter().zip(&ours[0].scores);
        let agreeing = both.filter(|(a, b)| (*a - *b).abs() <= AGREEING).count();
        // As in `tests/pass_reference.rs`.
        assert!(agreeing as f64 >= 0.99 * count, "{side}: {agreeing} of {count} agree");
        println!(
            "{side:<14} {:>9.0} {:>10.5} {:>7.2} % {:>5.2}×",
            rate(turns),
            turns[0].scores.iter().sum::<f64>() / count,
            100.0 * agreeing as f64 / count,
            rate(ours) / rate(turns),
        );
    }
    [rate(ours) / fastest, rate(ours) / rate(&sides[1].1)]
}

/// All pairs, `times` times.
fn ours(pairs: &[Pair], threads: usize, times: usize) -> Turn {
    let score = |(origin, perturbed): &Pair| pass(origin, perturbed).unwrap().score;
    let clock = Instant::now();
    let mut scores = Vec::new();
    for _ in 0..times {
        scores = if threads == 1 {
            pairs.iter().map(score).collect()
        } else {
            pairs.par_iter().map(score).collect()
        };
    }
    Turn { seconds: clock.elapsed().as_secs_f64(), scores }
}

fn theirs(answer: &serde_json::Value) -> Turn {
    Turn {
        seconds: answer["seconds"].as_f64().unwrap(),
        scores: answer["scores"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect(),
    }
}

/// What a process that only measures the pairs of a file, on all threads, needs in bytes above what it had before.
fn memory_alone(pairs: &Path) -> f64 {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.arg("--memory").arg(pairs).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// The other end of [`memory_alone`].
fn print_memory(pairs: &Path) {
    let before = memory();
    ours(&read_pairs(pairs), THREADS, 1);
    println!("{}", memory() - before);
}

/// Digits and what FGS, FGV and LOTS at all layers found for them.
fn perturbed_digits() -> Vec<Pair> {
    println!("training LeNet");
    let network = Graph::from_onnx(&digits::trained(ITERATIONS), "LeNet").unwrap();
    let decision = Argmax::of(&network).unwrap();
    let images = digits::images(ORIGINS);
    let layers = digits::layers(&network);
    let mut methods: Vec<&dyn Method> = vec![&Fgs, &Fgv];
    methods.extend(layers.iter().map(|layer| layer as &dyn Method));
    let mut attacks = Vec::new();
    for (origin, image) in images.iter().enumerate().skip(10) {
        for (i, &method) in methods.iter().enumerate() {
            attacks.push(Attack {
                origin,
                target: (i >= 2).then(|| Target::Image((image.label.unwrap() + 1) % 10)),
                method,
                goal: Goal::Any,
                extent: Extent::Smallest,
                units: None,
            });
        }
    }
    let attacked = attack(&network, &decision, &images, &attacks);
    let pairs = attacks.iter().zip(attacked).filter_map(|(attack, attacked)| {
        let found = attacked.unwrap().outcome.image()?.image.clone();
        Some((images[attack.origin].image.clone(), found))
    });
    pairs.collect()
}

/// Portraits with noise of one size and with waves, of three amplitudes each.
fn portraits() -> Vec<Pair> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/faces");
    let mut pairs = Vec::new();
    for name in ["biden", "obama", "obama2", "obama3"] {
        let origin = Image::read_png(&folder.join(format!("{name}_224.png"))).unwrap();
        for amplitude in [2, 6, 15] {
            let noise = |i: usize| {
                let bits = (i as u32).wrapping_mul(0x9E37_79B9) ^ 0x1656_67B1;
                let bits = (bits ^ (bits >> 15)).wrapping_mul(0x2C1B_3C6D);
                if bits >> 31 == 1 { amplitude } else { -amplitude }
            };
            let waves = |i: usize| {
                let (x, y) = ((i / 3 % 224) as f64, (i / 3 / 224) as f64);
                let wave = (x / 9.0 + i as f64 % 3.0).sin() + (y / 13.0).cos();
                (f64::from(amplitude) * wave).round() as i32
            };
            pairs.push((origin.clone(), perturbed(&origin, noise)));
            pairs.push((origin.clone(), perturbed(&origin, waves)));
        }
    }
    pairs
}

fn perturbed(origin: &Image, delta: impl Fn(usize) -> i32) -> Image {
    let pixels = origin.pixels().iter().enumerate();
    let pixels = pixels.map(|(i, &old)| (i32::from(old) + delta(i)).clamp(0, 255) as u8).collect();
    Image::new(origin.width(), origin.height(), origin.channels(), pixels).unwrap()
}

/// The file that `bench/peers/pass.py` reads.
fn write_pairs(path: &Path, pairs: &[Pair]) {
    let (first, _) = &pairs[0];
    let shape = [pairs.len(), first.height(), first.width(), first.channels()];
    let mut bytes: Vec<u8> = shape.iter().flat_map(|&n| (n as u32).to_le_bytes()).collect();
    for (origin, _) in pairs {
        bytes.extend_from_slice(origin.pixels());
    }
    for (_, perturbed) in pairs {
        bytes.extend_from_slice(perturbed.pixels());
    }
    std::fs::write(path, bytes).unwrap();
}

/// What [`write_pairs`] wrote.
fn read_pairs(path: &Path) -> Vec<Pair> {
    let bytes = std::fs::read(path).unwrap();
    let (shape, pixels) = bytes.split_at(16);
    let shape: Vec<usize> =
        shape.as_chunks().0.iter().map(|&n| u32::from_le_bytes(n) as usize).collect();
    let [count, height, width, channels] = shape[..] else { panic!("four numbers") };
    let image = |pixels: &[u8]| Image::new(width, height, channels, pixels.to_vec()).unwrap();
    let mut images: Vec<Image> =
        pixels.chunks_exact(height * width * channels).map(image).collect();
    let perturbed = images.split_off(count);
    images.into_iter().zip(perturbed).collect()
}
