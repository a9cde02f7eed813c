//! The same work on LeNet here and in PyTorch, in turn, with the ratio to the fastest way that PyTorch does it.
//! `bench/peers/run.sh` calls it with its Python. Words behind `--` choose jobs by their titles.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../../../bench/peers/goals.rs"]
mod goals;
mod jobs;
#[path = "../../../bench/peers/peak.rs"]
mod peak;
#[path = "../../../bench/peers/peer.rs"]
mod peer;

use goals::Goal;
use jobs::{Cotangents, Job, LAYERS};
use peer::{Peer, median, memory};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Rounds in which each side takes its turn.
const ROUNDS: usize = 7;
const THREADS: usize = 2;
/// Runs of one turn: as many as take this many seconds here, but at least so many; see `networks.rs`.
const TURN: f64 = 0.5;
const RUNS: usize = 3;
/// Runs before any is measured.
const WARM_UP: usize = 5;

/// What is measured, and against what.
struct Work {
    name: &'static str,
    title: &'static str,
    new: fn() -> Job,
    /// Times as fast as PyTorch.
    wanted: f64,
    script: &'static str,
    /// What to call PyTorch's ways, and how to ask for them.
    ways: &'static [(&'static str, &'static str)],
}

const WORK: [Work; 4] = [
    Work {
        name: "forward",
        title: "LeNet forward, 1000 images",
        new: Job::forward,
        wanted: 2.2,
        script: "lenet.py",
        ways: &[("nchw", "forward nchw"), ("channels_last", "forward channels_last")],
    },
    Work {
        name: "vjp",
        title: "LeNet there and back, 1000",
        new: Job::vjp,
        wanted: 3.5,
        script: "lenet.py",
        ways: &[("nchw", "vjp nchw"), ("channels_last", "vjp channels_last")],
    },
    Work {
        name: "cotangents",
        title: "LeNet 36 cotangents, 100 images",
        new: Job::cotangents,
        wanted: 5.0,
        script: "cotangents.py",
        ways: &[
            ("retained, nchw", "run retained nchw"),
            ("retained, channels_last", "run retained channels_last"),
            ("expanded, nchw", "run expanded nchw"),
            ("expanded, channels_last", "run expanded channels_last"),
        ],
    },
    Work {
        name: "train",
        title: "LeNet training step, 64 images",
        new: Job::train,
        wanted: 3.0,
        script: "lenet.py",
        ways: &[("nchw", "train nchw"), ("channels_last", "train channels_last")],
    },
];

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--memory") {
        return our_memory(&arguments[at + 1]);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let arguments = |script| if script == "cotangents.py" { vec![path] } else { vec![] };
    let Some(mut lenet) = Peer::start("lenet.py", &[]) else { return };
    write_cotangents(folder.path());
    let Some(mut cotangents) = Peer::start("cotangents.py", &[path]) else { return };
    println!("medians of {ROUNDS} interleaved rounds");
    check_cotangents(&mut cotangents);
    let mut goals = Vec::new();
    for work in WORK.iter().filter(|work| goals::is_chosen(work.title)) {
        let peer = if work.script == "lenet.py" { &mut lenet } else { &mut cotangents };
        goals.push(measure(work, peer, &arguments(work.script)));
    }
    for peer in [lenet, cotangents] {
        peer.quit();
    }
    println!("\nmemory is what a process of its own needs above what it has before the job");
    goals::report(&goals);
}

/// Both sides in turn, with the peak right behind our turn.
fn measure(work: &Work, peer: &mut Peer, arguments: &[&str]) -> Goal<'static> {
    let mut job = (work.new)();
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for _ in 0..WARM_UP {
        (job.run)();
        alone.install(|| (job.run)());
    }
    let runs = RUNS.max((TURN / seconds(&mut job)) as usize);
    let (mut two, mut one) = (Vec::new(), Vec::new());
    let (mut rates, mut shares) = (Vec::new(), Vec::new());
    let (mut gains, mut handovers) = (Vec::new(), Vec::new());
    let mut theirs = vec![Vec::new(); work.ways.len()];
    for _ in 0..ROUNDS {
        let turn: Vec<f64> = (0..runs).map(|_| seconds(&mut job)).collect();
        let rate = job.operations / median(turn.clone());
        rates.push(rate);
        shares.push(rate / peak::peak(THREADS));
        let turn_of_one: Vec<f64> =
            (0..runs).map(|_| alone.install(|| seconds(&mut job))).collect();
        gains.push(median(turn_of_one.clone()) / median(turn.clone()));
        handovers.push(peak::handover());
        two.extend(turn);
        one.extend(turn_of_one);
        for (taken, (_, line)) in theirs.iter_mut().zip(work.ways) {
            let answer = peer.ask(&format!("{line} {}", runs));
            taken.extend(answer["seconds"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()));
        }
    }
    let (two, one, share) = (median(two), median(one), median(shares));
    println!("\n{}, {runs} runs a turn", work.title);
    let row =
        |who: &str, taken: f64, more: &str| println!("  {who:<32} {:>8.2} ms{more}", taken * 1e3);
    let more = format!("  {:.0} GFLOP/s, {:.1} % of peak", median(rates) / 1e9, 100.0 * share);
    row("Lots", two, &more);
    row("Lots, one thread", one, "");
    goals::print_gains(&gains, &handovers);
    let theirs: Vec<f64> = theirs.into_iter().map(median).collect();
    for (&taken, (way, _)) in theirs.iter().zip(work.ways) {
        row(&format!("PyTorch {way}"), taken, &format!("  {:.2}×", taken / two));
    }
    // Its smallest: whichever way, and with memory that goes back to the system as soon as it is free.
    let smallest = work.ways.iter().map(|(_, line)| {
        let arguments = [arguments, &["--default-malloc"]].concat();
        Peer::memory(work.script, &arguments, &format!("{line} 1")).unwrap()
    });
    Goal {
        job: work.title,
        ratio: theirs.iter().copied().fold(f64::INFINITY, f64::min) / two,
        wanted: work.wanted,
        share: Some(share),
        threads: Some(median(gains)),
        memory: Some([memory_of(work.name), smallest.fold(f64::INFINITY, f64::min)]),
    }
}

fn seconds(job: &mut Job) -> f64 {
    let clock = Instant::now();
    (job.run)();
    clock.elapsed().as_secs_f64()
}

/// What our side of the work called `name` needs in a process of its own, in bytes.
fn memory_of(name: &str) -> f64 {
    let answer =
        Command::new(std::env::current_exe().unwrap()).args(["--memory", name]).output().unwrap();
    String::from_utf8(answer.stdout).unwrap().trim().parse().unwrap()
}

/// That process.
fn our_memory(name: &str) {
    let before = memory();
    let mut job = (WORK.iter().find(|work| work.name == name).unwrap().new)();
    for _ in 0..=WARM_UP {
        (job.run)();
    }
    println!("{}", memory() - before);
}

/// The network, images, cotangents and rows of [`Cotangents`], as `bench/peers/cotangents.py` wants them.
fn write_cotangents(folder: &Path) {
    let work = Cotangents::new();
    std::fs::write(folder.join("lenet.onnx"), work.network.to_onnx()).unwrap();
    let write = |name: &str, numbers: &[f32]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(folder.join(format!("{name}.f32")), bytes).unwrap();
    };
    write("images", work.images.as_slice().unwrap());
    for (name, values) in LAYERS.iter().zip(&work.values) {
        write(name, values);
    }
    write("rows", work.run().as_slice().unwrap());
}

/// In single precision about one image in a thousand decides a near-tie of max pooling or a ReLU otherwise, and then all
/// rows that pass it differ: one in the hundred may.
fn check_cotangents(peer: &mut Peer) {
    for (who, differ) in peer.ask("check").as_object().unwrap() {
        println!("36 cotangents: {who}: {} of 100 images differ from float64", differ["images"]);
        assert!(differ["images"].as_u64().unwrap() <= 1, "{who}: {differ}");
    }
}
