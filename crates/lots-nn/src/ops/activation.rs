//! Relu and Softmax.

use super::{Keeper, Keeps, Kept, Operator, Run};
use crate::kernels::versioned;

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
        masked(run.isa, kept.bytes, cotangent, gradient);
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

/// `exp(x) / Σ exp(x)` along the middle of `[outer, axis, inner]`.
#[derive(Debug)]
pub(crate) struct Softmax {
    pub(crate) outer: usize,
    pub(crate) axis: usize,
    pub(crate) inner: usize,
}

impl Softmax {
    /// Calls `f` with the places of each run along the axis: (first, step).
    fn runs(&self, lanes: usize, mut f: impl FnMut(usize, usize)) {
        let step = self.inner * lanes;
        for o in 0..self.outer {
            for i in 0..step {
                f(o * self.axis * step + i, step);
            }
        }
    }
}

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        "Softmax"
    }

    fn keeps(&self) -> Keeps {
        Keeps { bytes: 0, floats: self.outer * self.axis * self.inner }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let x = inputs[0];
        self.runs(run.lanes, |first, step| {
            let places = || (0..self.axis).map(|k| first + k * step);
            let top = places().map(|p| x[p]).fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for p in places() {
                output[p] = (x[p] - top).exp();
                sum += output[p];
            }
            for p in places() {
                output[p] /= sum;
            }
        });
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
        let y = kept.floats;
        self.runs(run.lanes, |first, step| {
            let places = || (0..self.axis).map(|k| first + k * step);
            let mean: f32 = places().map(|p| y[p] * cotangent[p]).sum();
            for p in places() {
                gradient[p] = y[p] * (cotangent[p] - mean);
            }
        });
    }
}
