//! LeNet: forward, back-projection, training step. `cargo bench -p lots-nn --bench lenet`
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

mod jobs;

use criterion::{Criterion, criterion_group, criterion_main};
use jobs::{JOBS, Job};

fn lenet(c: &mut Criterion) {
    for name in JOBS {
        let mut job = Job::new(name);
        c.bench_function(&format!("lenet/{name}"), |b| b.iter(|| job.run()));
    }
}

criterion_group!(benches, lenet);
criterion_main!(benches);
