//! One operator's work on one group of images, split over threads.

use crate::kernels::add;
use crate::ops::{Keeper, Kept, Operator, Run};
use crate::parallel::{TASKS, for_each_chunk, map, share, worth};
use crate::scratch::Buffer;

/// How many parts each task takes, where splitting is possible and worth it.
fn deal(op: &dyn Operator, run: Run, work: usize) -> Option<Vec<usize>> {
    let parts = op.parts();
    let tasks = TASKS.min(parts);
    let worth = run.parallel && tasks > 1 && worth(work);
    worth.then(|| (0..tasks).map(|t| share(parts, t, tasks).len()).collect())
}

/// `data` as the tasks take it.
fn dealt<'a, T>(mut data: &'a [T], deal: &[usize]) -> impl Iterator<Item = &'a [T]> {
    let one = data.len() / deal.iter().sum::<usize>();
    deal.iter().map(move |parts| {
        let (now, later) = data.split_at(parts * one);
        data = later;
        now
    })
}

/// The first part that each task takes.
fn firsts(deal: &[usize]) -> impl Iterator<Item = usize> {
    deal.iter().scan(0, |next, parts| {
        let first = *next;
        *next += parts;
        Some(first)
    })
}

fn dealt_mut<'a, T>(mut data: &'a mut [T], deal: &[usize]) -> impl Iterator<Item = &'a mut [T]> {
    let one = data.len() / deal.iter().sum::<usize>();
    deal.iter().map(move |parts| {
        let (now, later) = std::mem::take(&mut data).split_at_mut(parts * one);
        data = later;
        now
    })
}

/// [`Operator::forward`], its parts on all threads.
pub(super) fn forward(
    op: &dyn Operator,
    run: Run,
    inputs: &[&[f32]],
    output: &mut [f32],
    keeper: Option<Keeper<'_>>,
) {
    let Some(deal) = deal(op, run, output.len()) else {
        return op.forward(run, inputs, output, keeper);
    };
    let keeps = keeper.is_some();
    let Keeper { bytes, floats } = keeper.unwrap_or_default();
    let mut parts: Vec<Vec<&[f32]>> = vec![Vec::new(); deal.len()];
    for input in inputs {
        parts.iter_mut().zip(dealt(input, &deal)).for_each(|(parts, part)| parts.push(part));
    }
    let kept = dealt_mut(bytes, &deal).zip(dealt_mut(floats, &deal));
    let work = firsts(&deal).zip(parts).zip(dealt_mut(output, &deal)).zip(kept).collect();
    map(true, work, |(((first, inputs), output), (bytes, floats)): (((_, Vec<_>), _), _)| {
        let keeper = keeps.then_some(Keeper { bytes, floats });
        op.forward(Run { parallel: false, first, ..run }, &inputs, output, keeper);
    });
}

/// [`Operator::vjp`], its parts on all threads.
pub(super) fn vjp(
    op: &dyn Operator,
    run: Run,
    input: usize,
    kept: Kept<'_>,
    cotangent: &[f32],
    gradient: &mut [f32],
) {
    let Some(deal) = deal(op, run, cotangent.len().max(gradient.len())) else {
        return op.vjp(run, input, kept, cotangent, gradient);
    };
    let kept = dealt(kept.bytes, &deal).zip(dealt(kept.floats, &deal));
    let both = dealt_mut(gradient, &deal).zip(dealt(cotangent, &deal));
    let work: Vec<_> = firsts(&deal).zip(both).zip(kept).collect();
    map(true, work, |((first, (gradient, cotangent)), (bytes, floats))| {
        let run = Run { parallel: false, first, ..run };
        op.vjp(run, input, Kept { bytes, floats }, cotangent, gradient);
    });
}

/// Adds `more` to a cotangent.
pub(super) fn add_to(run: Run, sum: &mut [f32], more: &Buffer) {
    const CHUNK: usize = 1 << 15;
    for_each_chunk(run.parallel && worth(sum.len()), sum, CHUNK, |i, sum| {
        add(run.isa, &more[i * CHUNK..], sum);
    });
}
