//! Relu, Softmax and LogSoftmax.

use super::columns::{by_column, dots, maxima, sums};
use super::math::exp;
use super::{Keeper, Keeps, Kept, Operator, Run};
use crate::kernels::versioned;
use crate::network::ReluRule;

/// `max(x, 0)`; its slope at zero is zero.
#[derive(Debug)]
pub(crate) struct Relu {
    pub(crate) elements: usize,
}

impl Operator for Relu {
    fn name(&self) -> &'static str {
        "Relu"
    }

    fn keeps(&self) -> Keeps {
        Keeps { bytes: self.elements, floats: 0 }
    }

    fn parts(&self) -> usize {
        self.elements
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        relu(run.isa, inputs[0], output);
        if let Some(keeper) = keeper {
            positive(run.isa, inputs[0], keeper.bytes);
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
        rectified(run, kept.bytes, cotangent, gradient);
    }
}

/// What a ReLU lets through on the way back; `mask` says where its slope is one.
pub(super) fn rectified(run: Run, mask: &[u8], cotangent: &[f32], gradient: &mut [f32]) {
    match run.relu {
        ReluRule::Slope => masked(run.isa, mask, cotangent, gradient),
        ReluRule::Deconvolution => relu(run.isa, cotangent, gradient),
        ReluRule::Guided => guided(run.isa, mask, cotangent, gradient),
    }
}

versioned! {
    fn relu(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            // Not a number stays so: a network that overflows must be seen to.
            *y = if x <= 0.0 { 0.0 } else { x };
        }
    }
}

versioned! {
    fn positive(x: &[f32], mask: &mut [u8]) {
        for (m, &x) in mask.iter_mut().zip(x) {
            *m = u8::from(x > 0.0);
        }
    }
}

versioned! {
    fn masked(mask: &[u8], g: &[f32], dx: &mut [f32]) {
        for ((dx, &g), &m) in dx.iter_mut().zip(g).zip(mask) {
            *dx = if m != 0 { g } else { 0.0 };
        }
    }
}

versioned! {
    fn guided(mask: &[u8], g: &[f32], dx: &mut [f32]) {
        for ((dx, &g), &m) in dx.iter_mut().zip(g).zip(mask) {
            *dx = if m == 0 || g <= 0.0 { 0.0 } else { g };
        }
    }
}

/// `e^x / Σ e^x` along the middle of `[outer, axis, inner]`, or its logarithm.
#[derive(Debug)]
pub(crate) struct Softmax {
    pub(crate) log: bool,
    pub(crate) outer: usize,
    pub(crate) axis: usize,
    pub(crate) inner: usize,
}

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "LogSoftmax" } else { "Softmax" }
    }

    /// Its output.
    fn keeps(&self) -> Keeps {
        Keeps { bytes: 0, floats: self.outer * self.axis * self.inner }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let width = self.inner * run.lanes;
        let (mut tops, mut totals) = (vec![0.0; width], vec![0.0; width]);
        let size = self.axis * width;
        for (x, y) in inputs[0].chunks_exact(size).zip(output.chunks_exact_mut(size)) {
            maxima(run.isa, x, &mut tops);
            exponentials(run.isa, &tops, x, y);
            sums(run.isa, y, &mut totals);
            let terms: Vec<Terms> = tops
                .iter()
                .zip(&totals)
                .map(|(&top, &total)| Terms { top, total: total as f32, log: total.ln() as f32 })
                .collect();
            if self.log {
                logarithms(run.isa, &terms, x, y);
            } else {
                parts(run.isa, &terms, x, y);
            }
        }
        if let Some(keeper) = keeper {
            keeper.floats.copy_from_slice(output);
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
        let width = self.inner * run.lanes;
        let mut totals = vec![0.0; width];
        let size = self.axis * width;
        let blocks = cotangent.chunks_exact(size).zip(gradient.chunks_exact_mut(size));
        for ((g, dx), y) in blocks.zip(kept.floats.chunks_exact(size)) {
            dx.copy_from_slice(g);
            if self.log {
                sums(run.isa, g, &mut totals);
                back_logarithms(run.isa, &totals, y, dx);
            } else {
                dots(run.isa, g, y, &mut totals);
                back_parts(run.isa, &totals, y, dx);
            }
        }
    }
}

/// Of one column: the largest x, Σ e^(x - top), and its logarithm.
#[derive(Clone, Copy, Debug)]
struct Terms {
    top: f32,
    total: f32,
    log: f32,
}

versioned! {
    fn exponentials(tops: &[f32], x: &[f32], y: &mut [f32]) {
        by_column(y, x, tops, |_, x, top| exp(x - top));
    }
}

versioned! {
    fn parts(terms: &[Terms], x: &[f32], y: &mut [f32]) {
        by_column(y, x, terms, |y, _, t: Terms| y / t.total);
    }
}

versioned! {
    fn logarithms(terms: &[Terms], x: &[f32], y: &mut [f32]) {
        by_column(y, x, terms, |_, x, t: Terms| (x - t.top) - t.log);
    }
}

versioned! {
    fn back_parts(means: &[f64], y: &[f32], dx: &mut [f32]) {
        by_column(dx, y, means, |g, y, mean| y * (f64::from(g) - mean) as f32);
    }
}

versioned! {
    fn back_logarithms(sums: &[f64], y: &[f32], dx: &mut [f32]) {
        by_column(dx, y, sums, |g, y, sum| g - exp(y) * sum as f32);
    }
}
