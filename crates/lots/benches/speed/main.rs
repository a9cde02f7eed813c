//! How much work Lots does for what the processor could do at most, against the stored baselines: `bench/baselines.json`.
//!
//!     cargo bench -p lots --bench speed                compares; exit code 1 if a job lost more than 10 %
//!     cargo bench -p lots --bench speed -- --save      writes new baselines
//!
//! A job's rate is divided by the multiply-add peak measured right beside it, as a machine's speed drifts. Shares of different
//! instruction sets do not compare, so each has baselines of its own.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../digits/mod.rs"]
mod digits;
#[path = "../../../lots-nn/benches/jobs/mod.rs"]
mod jobs;
#[path = "../../../../bench/peers/peak.rs"]
mod peak;
#[path = "../../../../bench/peers/peer.rs"]
mod peer;
mod vgg;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use jobs::Job;
use lots::attack::{Argmax, attack};
use lots::{Image, images_batch, pass};
use lots_faces::{DESCRIPTOR, PORTRAITS};
use lots_nn::{Cotangent, Graph, Network};
use ndarray::Array4;
use peer::median;
use rayon::prelude::*;

const THREADS: usize = 2;
/// Rounds in which each job takes its turn, and the least seconds of a turn.
const ROUNDS: usize = 21;
const TURN: f64 = 0.1;
/// The share of a baseline that a job may lose, and the spread from which on that tells little.
const LOSS: f64 = 0.1;
const NOISE: f64 = 0.04;
/// Of training: a network that is worth attacking.
const ITERATIONS: u64 = 1_000;
/// Test digits that are attacked.
const ORIGINS: usize = 20;
/// Pairs of images that PASS compares.
const GREY: usize = 400;
const COLOUR: usize = 8;

const BASELINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/baselines.json");

/// Work per 10¹² operations of the peak, by job, by instruction set.
type Baselines = BTreeMap<String, BTreeMap<String, f64>>;

/// One job, and what was measured of it.
struct Measured {
    name: &'static str,
    /// What is counted, and how much of it a run does.
    unit: &'static str,
    units: f64,
    run: Box<dyn FnMut()>,
    /// Runs of a turn.
    runs: usize,
    /// Of each round: units a second, and units per 10¹² operations of the peak.
    rates: Vec<f64>,
    works: Vec<f64>,
}

impl Measured {
    /// Warms the job up and finds out how many runs a turn takes.
    fn new(
        name: &'static str,
        unit: &'static str,
        units: usize,
        mut run: Box<dyn FnMut()>,
    ) -> Self {
        run();
        let runs = (TURN / seconds(&mut run)).ceil().max(1.0) as usize;
        let (rates, works) = (Vec::new(), Vec::new());
        Self { name, unit, units: units as f64, run, runs, rates, works }
    }

    fn turn(&mut self) {
        let before = peak::peak(THREADS);
        let taken = median((0..self.runs).map(|_| seconds(&mut self.run)).collect());
        let peak = (before + peak::peak(THREADS)) / 2.0;
        self.rates.push(self.units / taken);
        self.works.push(self.units / taken / peak * 1e12);
    }

    fn work(&self) -> f64 {
        median(self.works.clone())
    }

    /// How far the rounds lie apart: half of the middle half, relative.
    fn spread(&self) -> f64 {
        let mut sorted = self.works.clone();
        sorted.sort_by(f64::total_cmp);
        (sorted[ROUNDS * 3 / 4] - sorted[ROUNDS / 4]) / 2.0 / self.work()
    }
}

fn seconds(run: &mut impl FnMut()) -> f64 {
    let clock = Instant::now();
    run();
    clock.elapsed().as_secs_f64()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only asks whether it starts.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let mut jobs = prepare();
    for _ in 0..ROUNDS {
        jobs.iter_mut().for_each(Measured::turn);
    }
    let instructions = peak::best().0;
    let mut all: Baselines = match std::fs::read_to_string(BASELINES) {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Baselines::new(),
        Err(e) => panic!("{BASELINES}: {e}"),
    };
    let baselines = all.entry(instructions.to_owned()).or_default();
    println!(
        "{instructions}, {THREADS} threads, medians of {ROUNDS} rounds; work per 10¹² operations of the peak\n"
    );
    println!("{:<27} {:>16} {:>16} {:>8} {:>8}", "job", "a second", "work", "baseline", "change");
    let mut lost = Vec::new();
    for job in &jobs {
        let (rate, unit) = (median(job.rates.clone()), job.unit);
        let baseline = baselines.get(job.name).copied();
        let change = baseline.map(|baseline| job.work() / baseline - 1.0);
        println!(
            "{:<27} {rate:>8.0} {unit:<7} {:>7} ± {:>4.1} % {:>8} {:>8}",
            job.name,
            shown(job.work()),
            100.0 * job.spread(),
            baseline.map_or("none".to_owned(), shown),
            change.map_or(String::new(), |change| format!("{:+.1} %", 100.0 * change)),
        );
        if change.is_some_and(|change| change < -LOSS) {
            lost.push(job.name);
        }
    }
    // Jobs that are new or gone: baselines and jobs belong together.
    let named = |name: &String| jobs.iter().any(|job| job.name == name);
    let gone = baselines.keys().filter(|name| !named(name));
    let new = jobs.iter().map(|job| job.name).filter(|name| !baselines.contains_key(*name));
    let unmatched: Vec<String> = gone.cloned().chain(new.map(str::to_owned)).collect();
    println!();
    if jobs.iter().any(|job| job.spread() > NOISE) {
        println!(
            "rounds lie apart by more than {:.0} %: this machine is too busy to tell",
            100.0 * NOISE
        );
    }
    if arguments.iter().any(|argument| argument == "--save") {
        let rounded = |job: &Measured| (job.name.to_owned(), shown(job.work()).parse().unwrap());
        *baselines = jobs.iter().map(rounded).collect();
        std::fs::write(BASELINES, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
        println!("saved as baselines");
    } else if !lost.is_empty() {
        println!("lost more than {:.0} %: {}", 100.0 * LOSS, lost.join(", "));
        return ExitCode::FAILURE;
    } else if baselines.is_empty() {
        println!("no baselines of {instructions}: save some with --save, without your change");
    } else if !unmatched.is_empty() {
        println!(
            "no such job, or no baseline: {}; save new ones with --save",
            unmatched.join(", ")
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Four digits, or all before the point.
fn shown(work: f64) -> String {
    let behind = (3.0 - work.log10().floor()).max(0.0) as usize;
    format!("{work:.behind$}")
}

/// All jobs, warmed up.
fn prepare() -> Vec<Measured> {
    let lenet = |job: Job| -> Box<dyn FnMut()> { job.run };
    let digits = digits::images(GREY);
    let digits: Vec<Image> = digits.into_iter().map(|named| named.image).skip(10).collect();
    let faces: Vec<Image> =
        PORTRAITS.iter().map(|p| Image::from_png(p.png, p.file).unwrap()).collect();
    let large: Vec<Image> = (0..COLOUR).map(|i| enlarged(&faces[i % faces.len()])).collect();
    let face = || Graph::from_onnx(DESCRIPTOR, "face_descriptor.onnx").unwrap();
    let chips = |count: usize| {
        let chips: Vec<Image> = faces.iter().cycle().take(count).cloned().collect();
        images_batch(face().input(), &chips).unwrap()
    };
    let side = vgg::SIDE;
    let vgg = Graph::from_onnx(&vgg::vgg(), "vgg.onnx").unwrap();
    let image = Array4::from_shape_fn((1, 3, side, side), |(_, c, y, x)| {
        ((7 * c + 5 * y + 3 * x) % 17) as f32 / 8.0 - 1.0
    });
    vec![
        Measured::new("LeNet forward", "images", 1000, lenet(Job::forward())),
        Measured::new("LeNet there and back", "images", 1000, lenet(Job::vjp())),
        Measured::new("LeNet 36 cotangents", "images", 100, lenet(Job::cotangents())),
        Measured::new("LeNet training step", "images", 64, lenet(Job::train())),
        attacks(),
        Measured::new("PASS 28×28 grey", "pairs", GREY, similarity(digits)),
        Measured::new("PASS 224×224 colour", "pairs", COLOUR, similarity(large)),
        Measured::new("face there and back", "images", 1, there_and_back(face(), chips(1))),
        Measured::new("16 faces there and back", "images", 16, there_and_back(face(), chips(16))),
        Measured::new("VGG-16-like there and back", "images", 1, there_and_back(vgg, image)),
    ]
}

/// 36 LOTS attacks a digit, each to its smallest step.
fn attacks() -> Measured {
    let network = Graph::from_onnx(&digits::trained(ITERATIONS), "lenet.onnx").unwrap();
    let decision = Argmax::of(&network).unwrap();
    let images = digits::images(ORIGINS);
    let layers = digits::layers(&network);
    let count = digits::attacks(&images, &layers).len();
    let run = move || {
        let attacks = digits::attacks(&images, &layers);
        attack(&network, &decision, &images, &attacks).for_each(|result| {
            black_box(result.unwrap());
        });
    };
    Measured::new("LOTS to the smallest step", "attacks", count, Box::new(run))
}

/// PASS of each image and the same with noise.
fn similarity(origins: Vec<Image>) -> Box<dyn FnMut()> {
    let pairs: Vec<(Image, Image)> =
        origins.into_iter().map(|origin| (noisy(&origin), origin)).collect();
    Box::new(move || {
        pairs.par_iter().for_each(|(noisy, origin)| {
            black_box(pass(origin, noisy).unwrap());
        });
    })
}

/// The image ± at most 10 grey levels.
fn noisy(image: &Image) -> Image {
    let noise = |i: usize| ((i as u32).wrapping_mul(0x9E37_79B9) >> 16) as i32 % 21 - 10;
    let pixels = image.pixels().iter().enumerate();
    let pixels = pixels.map(|(i, &x)| (i32::from(x) + noise(i)).clamp(0, 255) as u8).collect();
    Image::new(image.width(), image.height(), image.channels(), pixels).unwrap()
}

/// The image at 224×224 pixels.
fn enlarged(image: &Image) -> Image {
    let side = 224;
    let from = |at: usize| at * image.width() / side;
    let pixels = (0..side * side).flat_map(|i| {
        let at = from(i / side) * image.width() + from(i % side);
        image.pixels()[3 * at..3 * at + 3].to_vec()
    });
    Image::new(side, side, 3, pixels.collect()).unwrap()
}

/// The output of each image, and one cotangent each from there back to the pixels.
fn there_and_back(network: Graph, images: Array4<f32>) -> Box<dyn FnMut()> {
    Box::new(move || {
        let layer = network.output();
        let trace = network.trace(images.view(), &[layer]).unwrap();
        let outputs = trace.representation(layer).unwrap();
        let rows: Vec<Cotangent<'_>> = (0..)
            .zip(outputs.rows())
            .map(|(image, row)| Cotangent { image, layer, values: row.to_slice().unwrap() })
            .collect();
        black_box(trace.back_project(&rows).unwrap());
    })
}
