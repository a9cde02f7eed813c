//! Sums, means, extremes, norms and products over axes, and the poolings of whole planes that are the same.

use super::{Keeper, Keeps, Kept, Operator, Run};
use crate::kernels::{LANES, versioned};
use crate::parallel::{for_each_chunk, worth};

/// What is made of the elements that fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    Sum,
    Mean,
    /// Of equal ones the first in row order has the slope.
    Max,
    /// Of equal ones the first in row order has the slope.
    Min,
    /// `Σ|x|`; its slope at zero is zero.
    L1,
    /// `√Σx²`; its slope where all are zero is zero.
    L2,
    SumSquare,
    Product,
}

/// One number of the elements that differ in some axes only.
#[derive(Debug)]
pub(crate) struct Reduce {
    name: &'static str,
    fold: Fold,
    places: Places,
}

/// Which elements fall together.
#[derive(Debug)]
struct Places {
    /// Where the first element of each block of `inner` outputs lies.
    bases: Vec<u32>,
    /// Where the runs of the elements behind one output begin, as seen from its first element.
    offsets: Vec<u32>,
    /// Elements of a run, `inner` apart.
    run: usize,
    /// Neighbouring outputs whose elements are neighbours.
    inner: usize,
}

impl Places {
    fn new(shape: &[usize], reduced: &[bool]) -> Self {
        // Neighbouring axes of one kind are one axis.
        let mut axes: Vec<(usize, bool)> = Vec::new();
        for (&size, &reduced) in shape.iter().zip(reduced).filter(|(size, _)| **size != 1) {
            match axes.last_mut() {
                Some(last) if last.1 == reduced => last.0 *= size,
                _ => axes.push((size, reduced)),
            }
        }
        let inner = axes.pop_if(|a| !a.1).map_or(1, |a| a.0);
        let run = axes.pop_if(|a| a.1).map_or(1, |a| a.0);
        let (mut bases, mut offsets) = (vec![0], vec![0]);
        let mut stride = inner * run;
        for (size, reduced) in axes.into_iter().rev() {
            let list = if reduced { &mut offsets } else { &mut bases };
            let steps = (0..size).map(|i| (i * stride) as u32);
            *list = steps.flat_map(|step| list.iter().map(move |at| at + step)).collect();
            stride *= size;
        }
        Self { bases, offsets, run, inner }
    }

    fn outputs(&self) -> usize {
        self.bases.len() * self.inner
    }

    /// Elements behind one output.
    fn count(&self) -> usize {
        self.offsets.len() * self.run
    }

    /// Element number `k` behind the output whose first element is `first`.
    fn element(&self, first: usize, k: usize) -> usize {
        first + self.offsets[k / self.run] as usize + k % self.run * self.inner
    }

    /// The first element behind `output`.
    fn first(&self, output: usize) -> usize {
        self.bases[output / self.inner] as usize + output % self.inner
    }
}

impl Reduce {
    /// The operator `name` over the axes of `shape` that are `reduced`.
    pub(crate) fn new(name: &'static str, fold: Fold, shape: &[usize], reduced: &[bool]) -> Self {
        Self { name, fold, places: Places::new(shape, reduced) }
    }

    fn elements(&self) -> usize {
        self.places.outputs() * self.places.count()
    }

    /// Bytes that number one of the elements behind an output.
    fn digits(&self) -> usize {
        let bits = usize::BITS - (self.places.count() - 1).leading_zeros();
        bits.div_ceil(8) as usize
    }

    /// Which element each extreme `y` is: the first one, or the first that is not a number.
    fn keep_winners(&self, lanes: usize, x: &[f32], y: &[f32], kept: &mut [u8]) {
        let all = y.len();
        for (at, &y) in y.iter().enumerate() {
            let (output, lane) = (at / lanes, at % lanes);
            let first = self.places.first(output);
            let wins = |k: &usize| {
                let x = x[self.places.element(first, *k) * lanes + lane];
                x.is_nan() || if self.fold == Fold::Max { x >= y } else { x <= y }
            };
            let winner = (0..self.places.count()).find(wins).unwrap_or(0);
            for digit in 0..self.digits() {
                kept[digit * all + at] = (winner >> (8 * digit)) as u8;
            }
        }
    }

    fn winners_back(&self, lanes: usize, kept: &[u8], cotangent: &[f32], gradient: &mut [f32]) {
        let all = cotangent.len();
        gradient.fill(0.0);
        for (at, &g) in cotangent.iter().enumerate() {
            let digits = (0..self.digits()).map(|d| usize::from(kept[d * all + at]) << (8 * d));
            let element = self.places.element(self.places.first(at / lanes), digits.sum());
            gradient[element * lanes + at % lanes] = g;
        }
    }

    /// Each cotangent times the product of the other elements, without a division: elements may be zero.
    fn product_back(&self, lanes: usize, x: &[f32], cotangent: &[f32], gradient: &mut [f32]) {
        for (at, &g) in cotangent.iter().enumerate() {
            let first = self.places.first(at / lanes);
            let place = |k| self.places.element(first, k) * lanes + at % lanes;
            let mut before = g;
            for k in 0..self.places.count() {
                gradient[place(k)] = before;
                before *= x[place(k)];
            }
            let mut behind = 1.0;
            for k in (0..self.places.count()).rev() {
                gradient[place(k)] *= behind;
                behind *= x[place(k)];
            }
        }
    }
}

impl Operator for Reduce {
    fn name(&self) -> &'static str {
        self.name
    }

    fn keeps(&self) -> Keeps {
        let outputs = self.places.outputs();
        match self.fold {
            Fold::Sum | Fold::Mean => Keeps::default(),
            Fold::Max | Fold::Min => Keeps { bytes: outputs * self.digits(), floats: 0 },
            Fold::L1 => Keeps { bytes: self.elements(), floats: 0 },
            Fold::SumSquare | Fold::Product => Keeps { bytes: 0, floats: self.elements() },
            Fold::L2 => Keeps { bytes: 0, floats: self.elements() + outputs },
        }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let (x, lanes) = (inputs[0], run.lanes);
        let columns = self.places.inner * lanes;
        // Some blocks of outputs to a task.
        let blocks = self.places.bases.len().div_ceil(64);
        for_each_chunk(run.parallel && worth(x.len()), output, blocks * columns, |task, y| {
            let bases = &self.places.bases[task * blocks..];
            fold(run.isa, self.fold, &self.places, bases, lanes, x, y);
        });
        if self.fold == Fold::Mean {
            let count = self.places.count() as f32;
            output.iter_mut().for_each(|y| *y /= count);
        }
        let Some(keeper) = keeper else { return };
        match self.fold {
            Fold::Sum | Fold::Mean => {}
            Fold::Max | Fold::Min => self.keep_winners(lanes, x, output, keeper.bytes),
            Fold::L1 => signs(run.isa, x, keeper.bytes),
            Fold::SumSquare | Fold::Product => keeper.floats.copy_from_slice(x),
            Fold::L2 => {
                let (kept_x, kept_y) = keeper.floats.split_at_mut(x.len());
                kept_x.copy_from_slice(x);
                kept_y.copy_from_slice(output);
            }
        }
    }

    fn vjp(
        &self,
        run: Run,
        _input: usize,
        kept: Kept<'_>,
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        let (lanes, g) = (run.lanes, cotangent);
        let spread = |factor: f32, y: &[f32], gradient: &mut [f32]| {
            spread(run.isa, self.fold, &self.places, lanes, factor, y, g, gradient);
        };
        match self.fold {
            Fold::Sum => spread(1.0, g, gradient),
            Fold::Mean => spread(1.0 / self.places.count() as f32, g, gradient),
            Fold::Max | Fold::Min => self.winners_back(lanes, kept.bytes, g, gradient),
            Fold::L1 => {
                for (x, &sign) in gradient.iter_mut().zip(kept.bytes) {
                    *x = f32::from(sign.cast_signed());
                }
                spread(1.0, g, gradient);
            }
            Fold::SumSquare => {
                gradient.copy_from_slice(kept.floats);
                spread(2.0, g, gradient);
            }
            Fold::L2 => {
                let (x, y) = kept.floats.split_at(gradient.len());
                gradient.copy_from_slice(x);
                spread(1.0, y, gradient);
            }
            Fold::Product => self.product_back(lanes, kept.floats, g, gradient),
        }
    }
}

versioned! {
    fn signs(x: &[f32], kept: &mut [u8]) {
        for (kept, &x) in kept.iter_mut().zip(x) {
            *kept = (i8::from(x > 0.0) - i8::from(x < 0.0)).cast_unsigned();
        }
    }
}

/// Sums that run side by side where one output is made after the other: one alone would wait for itself.
const PARTS: usize = 8;

/// Neighbouring outputs that are made at once, and elements of each that are summed before the sums are: long sums of
/// short sums err less.
const COLUMNS: usize = 512;
const SHORT: usize = 64;

/// From `start`, joins what `term` makes of each element.
#[derive(Clone, Copy)]
struct Sum<T, J> {
    start: f32,
    term: T,
    join: J,
}

versioned! {
    /// The outputs of the blocks that begin at `bases`, as many as `y` holds.
    fn fold(fold: Fold, places: &Places, bases: &[u32], lanes: usize, x: &[f32], y: &mut [f32]) {
        let add = |a: f32, b: f32| a + b;
        let same = |x: f32| x;
        let square = |x: f32| x * x;
        // Not a number stays so.
        let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
        let smaller = |a: f32, b: f32| if a <= b || a.is_nan() { a } else { b };
        match fold {
            Fold::Sum | Fold::Mean => {
                fold_blocks(places, bases, lanes, x, y, Sum { start: 0.0, term: same, join: add })
            }
            Fold::Max => {
                let start = f32::NEG_INFINITY;
                fold_blocks(places, bases, lanes, x, y, Sum { start, term: same, join: larger })
            }
            Fold::Min => {
                let start = f32::INFINITY;
                fold_blocks(places, bases, lanes, x, y, Sum { start, term: same, join: smaller })
            }
            Fold::L1 => {
                let sum = Sum { start: 0.0, term: f32::abs, join: add };
                fold_blocks(places, bases, lanes, x, y, sum)
            }
            Fold::SumSquare => {
                fold_blocks(places, bases, lanes, x, y, Sum { start: 0.0, term: square, join: add })
            }
            Fold::L2 => {
                fold_blocks(places, bases, lanes, x, y, Sum { start: 0.0, term: square, join: add });
                y.iter_mut().for_each(|y| *y = y.sqrt());
            }
            Fold::Product => {
                let sum = Sum { start: 1.0, term: same, join: |a, b| a * b };
                fold_blocks(places, bases, lanes, x, y, sum)
            }
        }
    }
}

#[inline(always)]
fn fold_blocks<T: Fn(f32) -> f32 + Copy, J: Fn(f32, f32) -> f32 + Copy>(
    places: &Places,
    bases: &[u32],
    lanes: usize,
    x: &[f32],
    y: &mut [f32],
    sum: Sum<T, J>,
) {
    let columns = places.inner * lanes;
    for (&base, y) in bases.iter().zip(y.chunks_exact_mut(columns)) {
        let x = &x[base as usize * lanes..];
        match (places.inner, lanes) {
            (1, 1) => fold_run::<PARTS, _, _>(places, x, y, sum),
            (1, _) => fold_run::<{ PARTS * LANES }, _, _>(places, x, y, sum),
            _ => fold_columns(places, lanes, x, y, sum),
        }
    }
}

/// One output of each lane, whose elements lie in runs without gaps. `W` is [`PARTS`] times the lanes.
#[inline(always)]
fn fold_run<const W: usize, T: Fn(f32) -> f32 + Copy, J: Fn(f32, f32) -> f32 + Copy>(
    places: &Places,
    x: &[f32],
    y: &mut [f32],
    sum: Sum<T, J>,
) {
    let lanes = y.len();
    let mut parts = [sum.start; W];
    for &offset in &places.offsets {
        let run = &x[offset as usize * lanes..][..places.run * lanes];
        let (whole, rest) = run.as_chunks::<W>();
        parts = fold_rows(parts, whole, sum);
        for (part, &x) in parts.iter_mut().zip(rest) {
            *part = (sum.join)(*part, (sum.term)(x));
        }
    }
    let mut half = W / 2;
    while half >= lanes {
        let (low, high) = parts.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low = (sum.join)(*low, *high);
        }
        half /= 2;
    }
    y.copy_from_slice(&parts[..lanes]);
}

/// On its own: sums that are only counted with numbers known to the compiler stay in registers.
#[inline(always)]
fn fold_rows<const W: usize, T: Fn(f32) -> f32, J: Fn(f32, f32) -> f32>(
    mut parts: [f32; W],
    rows: &[[f32; W]],
    sum: Sum<T, J>,
) -> [f32; W] {
    for x in rows {
        for i in 0..W {
            parts[i] = (sum.join)(parts[i], (sum.term)(x[i]));
        }
    }
    parts
}

/// The outputs of a block of neighbours.
#[inline(always)]
fn fold_columns<T: Fn(f32) -> f32, J: Fn(f32, f32) -> f32>(
    places: &Places,
    lanes: usize,
    x: &[f32],
    y: &mut [f32],
    sum: Sum<T, J>,
) {
    let step = y.len();
    for (chunk, y) in y.chunks_mut(COLUMNS).enumerate() {
        y.fill(sum.start);
        for &offset in &places.offsets {
            for first in (0..places.run).step_by(SHORT) {
                let mut short = [sum.start; COLUMNS];
                let short = &mut short[..y.len()];
                for k in first..places.run.min(first + SHORT) {
                    let at = offset as usize * lanes + k * step + chunk * COLUMNS;
                    for (short, &x) in short.iter_mut().zip(&x[at..][..y.len()]) {
                        *short = (sum.join)(*short, (sum.term)(x));
                    }
                }
                for (y, &short) in y.iter_mut().zip(short.iter()) {
                    *y = (sum.join)(*y, short);
                }
            }
        }
    }
}

versioned! {
    /// From the elements (where they count) in `dx`, the outputs `y` (where they count) and the cotangents `g` to the
    /// gradient.
    fn spread(
        fold: Fold, places: &Places, lanes: usize, factor: f32, y: &[f32], g: &[f32], dx: &mut [f32],
    ) {
        match fold {
            Fold::Sum | Fold::Mean => spread_blocks(places, lanes, y, g, dx, |_, _, g| factor * g),
            Fold::L2 => {
                let slope = |x: f32, y: f32, g: f32| if y == 0.0 { 0.0 } else { x / y * g };
                spread_blocks(places, lanes, y, g, dx, slope)
            }
            _ => spread_blocks(places, lanes, y, g, dx, |x, _, g| factor * x * g),
        }
    }
}

#[inline(always)]
fn spread_blocks(
    places: &Places,
    lanes: usize,
    y: &[f32],
    g: &[f32],
    dx: &mut [f32],
    slope: impl Fn(f32, f32, f32) -> f32,
) {
    let columns = places.inner * lanes;
    let blocks = y.chunks_exact(columns).zip(g.chunks_exact(columns));
    for (&base, (y, g)) in places.bases.iter().zip(blocks) {
        for &offset in &places.offsets {
            let run = &mut dx[(base + offset) as usize * lanes..][..places.run * columns];
            if let ([y], [g]) = (y, g) {
                run.iter_mut().for_each(|x| *x = slope(*x, *y, *g));
                continue;
            }
            for dx in run.chunks_exact_mut(columns) {
                for ((x, y), g) in dx.iter_mut().zip(y).zip(g) {
                    *x = slope(*x, *y, *g);
                }
            }
        }
    }
}
