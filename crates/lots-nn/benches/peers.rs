//! The same work here and in PyTorch, in turn, with the ratio. `bench/peers/run.sh` calls it with its Python.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

mod jobs;

use jobs::{JOBS, Job};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Rounds in which each side takes its turn, and runs of one turn.
const ROUNDS: usize = 7;
const RUNS: [(&str, usize); 3] = [("forward", 9), ("vjp", 5), ("train", 40)];
const VARIANTS: [&str; 2] = ["nchw", "channels_last"];
const THREADS: usize = 2;

struct Peer {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Peer {
    fn start(python: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/peers/lenet.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {python}: {e}; call bench/peers/run.sh"));
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, answers };
        println!(
            "PyTorch {}, {THREADS} threads; Lots on {THREADS} threads",
            peer.answer()["torch"]
        );
        peer
    }

    fn answer(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: serde_json::Value =
            serde_json::from_str(&line).expect("a line of JSON from the peer");
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }

    fn seconds(&mut self, job: &str, variant: &str, runs: usize) -> Vec<f64> {
        writeln!(self.child.stdin.as_mut().unwrap(), "{job} {variant} {runs}").unwrap();
        let answer = self.answer();
        answer["seconds"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect()
    }
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    x[x.len() / 2]
}

fn main() {
    // `cargo test --benches` only asks whether it starts.
    let Ok(python) = std::env::var("LOTS_PEERS_PYTHON") else {
        println!("peers: skipped, LOTS_PEERS_PYTHON is not set; bench/peers/run.sh sets it");
        return;
    };
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let mut peer = Peer::start(&python);
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
                seconds.extend(peer.seconds(name, variant, runs));
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
    writeln!(peer.child.stdin.as_mut().unwrap(), "quit").unwrap();
    peer.child.wait().unwrap();
}
