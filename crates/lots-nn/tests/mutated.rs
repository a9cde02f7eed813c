//! Damaged bytes: a network file with bytes flipped, put in, taken out or cut off never makes the reader panic, nor ask
//! for much more memory than the file holds.
//!
//! The files are those of `references/make_operators.py`, which use every operator.

#![allow(clippy::unwrap_used, reason = "a test")]

use lots_nn::{Cotangent, Graph, Network};
use ndarray::Array4;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::OnceLock;

thread_local! {
    /// Largest piece of memory that this thread asked for.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's memory, with a note of what was asked for.
struct Noting;

fn note(size: usize) {
    // A thread that ends notes nothing.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: every call goes on to the system's allocator as it is.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static MEMORY: Noting = Noting;

/// The largest single table of an operator is 2^27 numbers of four bytes; a list that grows to it may ask for twice.
const MOST: usize = 2 << 29;

fn files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
        let mut paths: Vec<_> =
            entries.filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
        paths.sort();
        assert!(paths.len() >= 17);
        paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
    })
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(u8),
    Set(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Cut,
}

fn damage() -> impl Strategy<Value = (f64, Damage)> {
    let what = prop_oneof![
        4 => (0..8u8).prop_map(Damage::Flip),
        4 => any::<u8>().prop_map(Damage::Set),
        2 => proptest::collection::vec(any::<u8>(), 1..10).prop_map(Damage::Insert),
        2 => (1..9usize).prop_map(Damage::Remove),
        1 => Just(Damage::Cut),
    ];
    (0.0..1.0, what)
}

fn apply(bytes: &mut Vec<u8>, place: f64, damage: &Damage) {
    let at = (place * bytes.len() as f64) as usize;
    if at >= bytes.len() {
        return;
    }
    match damage {
        Damage::Flip(bit) => bytes[at] ^= 1 << bit,
        Damage::Set(value) => bytes[at] = *value,
        Damage::Insert(more) => drop(bytes.splice(at..at, more.iter().copied())),
        Damage::Remove(n) => drop(bytes.drain(at..(at + n).min(bytes.len()))),
        Damage::Cut => bytes.truncate(at),
    }
}

/// Runs what was accepted, if it is small: forward and back. Returns whether it did.
fn runs(graph: &Graph) -> bool {
    let input = graph.input();
    let elements = |shape: &[usize]| shape.iter().product::<usize>();
    let largest = graph.layers().iter().map(|l| elements(&l.shape)).max().unwrap_or(0);
    let pixels = input.channels.saturating_mul(input.height).saturating_mul(input.width);
    if pixels.max(largest) > 20_000 {
        return false;
    }
    let images = Array4::from_elem((2, input.channels, input.height, input.width), 0.5);
    let layer = graph.output();
    let trace = graph.trace(images.view(), &[layer]).unwrap();
    let outputs = trace.representation(layer).unwrap();
    let values = vec![1.0; outputs.ncols()];
    trace.back_project(&[Cotangent { image: 1, layer, values: &values }]).unwrap();
    // What was accepted is written and read again.
    Graph::from_onnx(&graph.to_onnx(), "again").unwrap();
    true
}

fn config() -> Config {
    let seeds = FileFailurePersistence::WithSource("proptest-regressions");
    let mut config = Config { failure_persistence: Some(Box::new(seeds)), ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 60_000;
    }
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(0);
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn damaged_files_neither_panic_nor_ask_for_much(
        file in 0..1000usize,
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let mut bytes = files()[file % files().len()].clone();
        for (place, damage) in &damages {
            apply(&mut bytes, *place, damage);
        }
        LARGEST.with(|largest| largest.set(0));
        let read = Graph::from_onnx(&bytes, "damaged");
        let largest = LARGEST.with(Cell::get);
        prop_assert!(largest <= MOST, "the reader asked for {largest} bytes at once");
        match read {
            Ok(graph) => {
                runs(&graph);
            }
            Err(e) => prop_assert!(!e.to_string().contains('\n'), "more than one line: {e}"),
        }
    }
}
