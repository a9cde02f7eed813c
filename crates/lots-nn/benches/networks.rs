//! ResNet-50 and VGG-16 here and in PyTorch: loading, memory, one image 224×224 there and back. `bench/peers/run.sh` calls
//! it with its Python. Each network gets a process of its own on either side, because of its memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../../../bench/peers/peer.rs"]
mod peer;

use lots_nn::{Cotangent, Graph, Network};
use ndarray::Array4;
use peer::{Peer, median, memory};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const NETWORKS: [&str; 2] = ["resnet50", "vgg16"];
const LAYOUTS: [&str; 2] = ["nchw", "channels_last"];
/// Rounds in which each side takes its turn, and runs of one turn.
const ROUNDS: usize = 5;
const RUNS: usize = 3;
const THREADS: usize = 2;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--network") {
        return measure(&arguments[at + 1], Path::new(&arguments[at + 2]));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let Some(mut peer) = Peer::start("networks.py", &[path]) else { return };
    for name in NETWORKS {
        peer.ask(&format!("export {name}"));
    }
    peer.quit();
    for name in NETWORKS {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--network", name, path])
            .status()
            .unwrap();
        assert!(status.success(), "{name}: {status}");
    }
}

fn measure(name: &str, folder: &Path) {
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global().unwrap();
    let clock = Instant::now();
    let network = Graph::open(folder.join(format!("{name}.onnx"))).unwrap();
    let load = clock.elapsed().as_secs_f64();
    let loaded = memory();
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5
    };
    let image = Array4::from_shape_simple_fn((1, 3, 224, 224), &mut random);
    let layer = network.output();
    let values: Vec<f32> = (0..1000).map(|_| random()).collect();
    let run = || {
        let clock = Instant::now();
        let trace = network.trace(image.view(), &[layer]).unwrap();
        let rows = [Cotangent { image: 0, layer, values: &values }];
        std::hint::black_box(trace.back_project(&rows).unwrap());
        clock.elapsed().as_secs_f64()
    };
    run();
    let used = memory();

    let Some(mut peer) = Peer::start("networks.py", &[folder.to_str().unwrap()]) else { return };
    println!("medians of {ROUNDS} interleaved rounds; memory is the most that the process had\n");
    println!(
        "{:<9} {:<14} {:>8} {:>10} {:>14} {:>16}",
        "network", "", "load", "loaded", "and one image", "there and back"
    );
    let number = |answer: &serde_json::Value, key: &str| answer[key].as_f64().unwrap();
    let their_load = number(&peer.ask(&format!("load {name}")), "seconds");
    let their_loaded = peer.ask("memory");
    peer.ask("run nchw 1");
    let their_used = peer.ask("memory");
    let mut ours = Vec::new();
    let mut theirs = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        ours.extend((0..RUNS).map(|_| run()));
        for (seconds, layout) in theirs.iter_mut().zip(LAYOUTS) {
            // The first one after a change of layout is a warm-up.
            let answer = peer.ask(&format!("run {layout} {}", RUNS + 1));
            let taken = answer["seconds"].as_array().unwrap();
            seconds.extend(taken[1..].iter().map(|s| s.as_f64().unwrap()));
        }
    }
    let row = |who: &str, load: f64, loaded: f64, used: f64, there_and_back: f64| {
        println!(
            "{name:<9} {who:<14} {load:>6.2} s {:>7.0} MB {:>11.0} MB {:>13.0} ms",
            loaded / 1e6,
            used / 1e6,
            there_and_back * 1e3
        );
    };
    row("Lots", load, loaded, used, median(ours));
    for (seconds, layout) in theirs.into_iter().zip(LAYOUTS) {
        let [loaded, used] = [&their_loaded, &their_used].map(|a| number(a, "peak"));
        row(layout, their_load, loaded, used, median(seconds));
    }
    println!(
        "{:<9} {:<14} {:>8} {:>7.0} MB before loading\n",
        "",
        "PyTorch",
        "",
        number(&their_loaded, "before") / 1e6
    );
    peer.quit();
}
