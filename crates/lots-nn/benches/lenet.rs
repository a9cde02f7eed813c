//! LeNet: forward, back-projection, training step. `cargo bench -p lots-nn --bench lenet`
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

mod jobs;
#[path = "../../../bench/peers/peak.rs"]
mod peak;

use criterion::{Criterion, criterion_group, criterion_main};
use jobs::Job;

fn lenet(c: &mut Criterion) {
    for (name, mut job) in
        [("forward", Job::forward()), ("vjp", Job::vjp()), ("train", Job::train())]
    {
        c.bench_function(&format!("lenet/{name}"), |b| b.iter(|| (job.run)()));
    }
}

criterion_group!(benches, lenet);
criterion_main!(benches);
