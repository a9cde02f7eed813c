//! Large networks here and in PyTorch, in turn: VGG-16 and ResNet-50 at 224×224, a face recogniser at 150×150. `bench/peers/run.sh`
//! calls it with its Python. Words behind `--` choose jobs by their titles.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../../../bench/peers/goals.rs"]
mod goals;
#[path = "../../../bench/peers/peak.rs"]
mod peak;
#[path = "../../../bench/peers/peer.rs"]
mod peer;

use goals::Goal;
use lots_nn::{Cotangent, Graph, LayerId, Network};
use ndarray::Array4;
use peer::{Peer, median, memory};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Rounds in which each side takes its turn.
const ROUNDS: usize = 5;
/// Runs of one turn: as many as take this many seconds here, but at least so many. Threads that have slept can be a tick of the
/// system's scheduler away from the processors they should have.
const TURN: f64 = 0.5;
const RUNS: usize = 5;
const THREADS: usize = 2;
const SCRIPT: &str = "networks.py";
const LAYOUTS: [&str; 2] = ["nchw", "channels_last"];
const FACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../lots-faces/data/face_descriptor.onnx");

/// What is measured, and against what.
struct Work {
    title: &'static str,
    /// As `networks.py` calls it.
    network: &'static str,
    images: usize,
    /// Where a cotangent starts, if it is not the output; forward passes end at the output.
    layer: Option<&'static str>,
    back: bool,
    /// Times as fast as PyTorch.
    wanted: f64,
}

const WORK: [Work; 5] = [
    Work {
        title: "VGG-16 forward, 1 image",
        network: "vgg16",
        images: 1,
        layer: None,
        back: false,
        wanted: 1.4,
    },
    Work {
        title: "VGG-16 there and back from fc7",
        network: "vgg16",
        images: 1,
        layer: Some("15"),
        back: true,
        wanted: 1.4,
    },
    Work {
        title: "ResNet-50 there and back",
        network: "resnet50",
        images: 1,
        layer: None,
        back: true,
        wanted: 1.0,
    },
    Work {
        title: "faces there and back, 1 image",
        network: "face",
        images: 1,
        layer: None,
        back: true,
        wanted: 1.5,
    },
    Work {
        title: "faces there and back, 16 images",
        network: "face",
        images: 16,
        layer: None,
        back: true,
        wanted: 1.5,
    },
];

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--memory") {
        return our_memory(arguments[at + 1].parse().unwrap(), Path::new(&arguments[at + 2]));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let Some(mut peer) = Peer::start(SCRIPT, &[path]) else { return };
    std::fs::copy(FACE, folder.path().join("face.onnx")).unwrap();
    println!("medians of {ROUNDS} interleaved rounds");
    let chosen: Vec<usize> =
        (0..WORK.len()).filter(|&at| goals::is_chosen(WORK[at].title)).collect();
    let mut networks: Vec<&str> = chosen.iter().map(|&at| WORK[at].network).collect();
    networks.dedup();
    for name in &networks {
        peer.ask(&format!("export {name}"));
    }
    if networks.contains(&"face") {
        check_face(folder.path(), &mut peer);
    }
    let goals: Vec<Goal<'_>> =
        chosen.iter().map(|&at| measure(at, folder.path(), &mut peer)).collect();
    peer.quit();
    println!(
        "\nmemory is what a process of its own needs above what it has before the job, loading included"
    );
    goals::report(&goals);
}

/// PyTorch's face recogniser is written by hand: it must be the same network.
fn check_face(folder: &Path, peer: &mut Peer) {
    let work = WORK.iter().find(|work| work.network == "face").unwrap();
    let job = Job::new(work, folder);
    let bytes: Vec<u8> = job.images.iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(folder.join("face_image.f32"), bytes).unwrap();
    let ours = job.network.represent(job.images.view(), job.layer).unwrap();
    let answer = peer.ask("check");
    let theirs = answer["output"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32);
    let largest = ours.iter().fold(0f32, |m, x| m.max(x.abs()));
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= 1e-4 * largest, "faces: {ours} here, {theirs} in PyTorch");
    }
}

/// A network with images, and what to do with them.
struct Job {
    network: Graph,
    layer: LayerId,
    images: Array4<f32>,
    cotangent: Option<Vec<f32>>,
}

impl Job {
    fn new(work: &Work, folder: &Path) -> Self {
        let network = Graph::open(folder.join(format!("{}.onnx", work.network))).unwrap();
        let named = work.layer.map(|name| network.find_layers(name).unwrap()[0]);
        let layer = named.unwrap_or(network.output());
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5
        };
        // Pixels of faces are 0 to 255.
        let (middle, range) = if work.network == "face" { (128.0, 200.0) } else { (0.0, 2.0) };
        let input = network.input();
        let shape = (work.images, input.channels, input.height, input.width);
        let images = Array4::from_shape_simple_fn(shape, || middle + range * random());
        let elements: usize =
            network.layers().iter().find(|l| l.id == layer).unwrap().shape.iter().product();
        let cotangent = work.back.then(|| (0..elements).map(|_| random()).collect());
        Self { network, layer, images, cotangent }
    }

    /// Seconds of one run.
    fn run(&self) -> f64 {
        let clock = Instant::now();
        match &self.cotangent {
            None => {
                let logits = self.network.represent(self.images.view(), self.layer).unwrap();
                std::hint::black_box(logits);
            }
            Some(values) => {
                let trace = self.network.trace(self.images.view(), &[self.layer]).unwrap();
                let row = |image| Cotangent { image, layer: self.layer, values };
                let rows: Vec<_> = (0..self.images.shape()[0]).map(row).collect();
                std::hint::black_box(trace.back_project(&rows).unwrap());
            }
        }
        clock.elapsed().as_secs_f64()
    }
}

/// How `networks.py` is asked for `work`.
fn line(work: &Work, layout: &str, count: usize) -> String {
    let what = if work.back { "back" } else { "forward" };
    format!("run {} {what} {} {layout} {count}", work.network, work.images)
}

/// Both sides in turn, with the peak right behind our turn.
fn measure(at: usize, folder: &Path, peer: &mut Peer) -> Goal<'static> {
    let work = &WORK[at];
    let clock = Instant::now();
    let job = Job::new(work, folder);
    let load = clock.elapsed().as_secs_f64();
    let their_load = peer.ask(&format!("load {}", work.network))["seconds"].as_f64().unwrap();
    let directions = if work.back { 2.0 } else { 1.0 };
    let operations = directions * work.images as f64 * peak::operations(&job.network, job.layer);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    job.run();
    alone.install(|| job.run());
    let runs = RUNS.max((TURN / job.run()) as usize);
    let (mut two, mut one, mut rates, mut shares) = (vec![], vec![], vec![], vec![]);
    let (mut gains, mut handovers) = (vec![], vec![]);
    let mut theirs = LAYOUTS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        // The first one after the other side's turn is a warm-up, here and there.
        let turn: Vec<f64> = (0..=runs).map(|_| job.run()).skip(1).collect();
        let rate = operations / median(turn.clone());
        rates.push(rate);
        shares.push(rate / peak::peak(THREADS));
        let turn_of_one: Vec<f64> =
            (0..=runs).map(|_| alone.install(|| job.run())).skip(1).collect();
        gains.push(median(turn_of_one.clone()) / median(turn.clone()));
        handovers.push(peak::handover());
        two.extend(turn);
        one.extend(turn_of_one);
        for (taken, layout) in theirs.iter_mut().zip(LAYOUTS) {
            let answer = peer.ask(&line(work, layout, runs + 1));
            let seconds = answer["seconds"].as_array().unwrap();
            taken.extend(seconds[1..].iter().map(|s| s.as_f64().unwrap()));
        }
    }
    let (two, one, share) = (median(two), median(one), median(shares));
    println!(
        "\n{}, {runs} runs a turn; loaded in {load:.2} s, PyTorch {their_load:.2} s",
        work.title
    );
    let row =
        |who: &str, taken: f64, more: &str| println!("  {who:<32} {:>8.1} ms{more}", taken * 1e3);
    let more = format!("  {:.0} GFLOP/s, {:.1} % of peak", median(rates) / 1e9, 100.0 * share);
    row("Lots", two, &more);
    row("Lots, one thread", one, "");
    goals::print_gains(&gains, &handovers);
    let theirs = theirs.map(median);
    for (taken, layout) in theirs.into_iter().zip(LAYOUTS) {
        row(&format!("PyTorch {layout}"), taken, &format!("  {:.2}×", taken / two));
    }
    let path = folder.to_str().unwrap();
    let smallest = LAYOUTS.map(|layout| {
        Peer::memory(SCRIPT, &[path, "--default-malloc"], &line(work, layout, 1)).unwrap()
    });
    Goal {
        job: work.title,
        ratio: theirs.into_iter().fold(f64::INFINITY, f64::min) / two,
        wanted: work.wanted,
        share: Some(share),
        threads: Some(median(gains)),
        memory: Some([memory_of(at, path), smallest.into_iter().fold(f64::INFINITY, f64::min)]),
    }
}

/// What our side of a job needs in a process of its own, in bytes.
fn memory_of(at: usize, folder: &str) -> f64 {
    let arguments = ["--memory", &at.to_string(), folder];
    let answer = Command::new(std::env::current_exe().unwrap()).args(arguments).output().unwrap();
    String::from_utf8(answer.stdout).unwrap().trim().parse().unwrap()
}

/// That process.
fn our_memory(at: usize, folder: &Path) {
    let before = memory();
    let job = Job::new(&WORK[at], folder);
    job.run();
    job.run();
    println!("{}", memory() - before);
}
