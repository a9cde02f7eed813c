//! The same work here and in PyTorch, in turn, with the ratio. `bench/peers/run.sh` calls it with its Python.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

mod jobs;
#[path = "../../../bench/peers/peer.rs"]
mod peer;

use jobs::{JOBS, Job};
use peer::{Peer, median};
use std::time::Instant;

/// Rounds in which each side takes its turn, and runs of one turn.
const ROUNDS: usize = 7;
const RUNS: [(&str, usize); 3] = [("forward", 9), ("vjp", 5), ("train", 40)];
const VARIANTS: [&str; 2] = ["nchw", "channels_last"];
const THREADS: usize = 2;

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let Some(mut peer) = Peer::start("lenet.py", &[]) else { return };
    println!("medians of {ROUNDS} interleaved rounds\n");
    println!(
        "{:<8} {:>10} {:>12} {:>14} {:>8}",
        "job", "Lots", "PyTorch NCHW", "channels_last", "ratio"
    );
    for (name, runs) in RUNS {
        assert!(JOBS.contains(&name));
        let mut job = Job::new(name);
        for _ in 0..5 {
            job.run();
        }
        let mut ours = Vec::new();
        let mut theirs = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for _ in 0..runs {
                let start = Instant::now();
                job.run();
                ours.push(start.elapsed().as_secs_f64());
            }
            for (seconds, variant) in theirs.iter_mut().zip(VARIANTS) {
                let answer = peer.ask(&format!("{name} {variant} {runs}"));
                let taken = answer["seconds"].as_array().unwrap();
                seconds.extend(taken.iter().map(|s| s.as_f64().unwrap()));
            }
        }
        let ours = median(ours);
        let [nchw, last] = theirs.map(median);
        println!(
            "{name:<8} {:>7.2} ms {:>9.2} ms {:>11.2} ms {:>7.2}×",
            ours * 1e3,
            nchw * 1e3,
            last * 1e3,
            nchw.min(last) / ours
        );
    }
    peer.quit();
}
