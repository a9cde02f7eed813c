//! Local response normalisation.

use super::{Keeper, Keeps, Kept, Operator, Run};
use crate::kernels::versioned;
use crate::scratch::Buffer;

/// `x · d^-β` with `d = bias + α/size · Σ x²`, the sum over `size` channels around each.
#[derive(Debug)]
pub(crate) struct Lrn {
    pub(crate) channels: usize,
    /// Elements of a channel.
    pub(crate) plane: usize,
    pub(crate) size: usize,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) bias: f32,
}

impl Lrn {
    /// The channels whose squares count for channel `c`.
    fn window(&self, c: usize) -> std::ops::Range<usize> {
        let before = (self.size - 1) / 2;
        c.saturating_sub(before)..(c + self.size - before).min(self.channels)
    }

    /// The channels for which the square of channel `c` counts.
    fn readers(&self, c: usize) -> std::ops::Range<usize> {
        let before = (self.size - 1) / 2;
        (c + before + 1).saturating_sub(self.size)..(c + before + 1).min(self.channels)
    }

    fn scale(&self) -> f32 {
        self.alpha / self.size as f32
    }
}

impl Operator for Lrn {
    fn name(&self) -> &'static str {
        "LRN"
    }

    /// Its input, and d.
    fn keeps(&self) -> Keeps {
        Keeps { bytes: 0, floats: 2 * self.channels * self.plane }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let (x, row) = (inputs[0], self.plane * run.lanes);
        let mut bases = Buffer::dirty(x.len());
        bases.fill(self.bias);
        for (c, base) in bases.chunks_exact_mut(row).enumerate() {
            for other in self.window(c) {
                add_squares(run.isa, self.scale(), &x[other * row..][..row], base);
            }
        }
        powers(run.isa, self.beta, &bases, output);
        multiply(run.isa, x, output);
        if let Some(keeper) = keeper {
            let (inputs, kept_bases) = keeper.floats.split_at_mut(x.len());
            inputs.copy_from_slice(x);
            kept_bases.copy_from_slice(&bases);
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
        let row = self.plane * run.lanes;
        let (x, bases) = kept.floats.split_at(gradient.len());
        // The slope along its own channel, g · d^-β; then what comes through the sums.
        powers(run.isa, self.beta, bases, gradient);
        multiply(run.isa, cotangent, gradient);
        let mut through = Buffer::dirty(gradient.len());
        through.copy_from_slice(gradient);
        let scale = -2.0 * self.scale() * self.beta;
        weigh(run.isa, scale, x, bases, &mut through);
        for (c, dx) in gradient.chunks_exact_mut(row).enumerate() {
            for other in self.readers(c) {
                let through = &through[other * row..][..row];
                add_products(run.isa, &x[c * row..][..row], through, dx);
            }
        }
    }
}

versioned! {
    fn add_squares(scale: f32, x: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += scale * (x * x));
    }
}

versioned! {
    /// `y = x^-β`; the usual β without a power function.
    fn powers(beta: f32, x: &[f32], y: &mut [f32]) {
        if beta.to_bits() == 0.75f32.to_bits() {
            y.iter_mut().zip(x).for_each(|(y, x)| {
                let root = x.sqrt();
                *y = 1.0 / (root * root.sqrt());
            });
        } else {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x.powf(-beta));
        }
    }
}

versioned! {
    fn multiply(x: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y *= x);
    }
}

versioned! {
    /// `y · scale · x / d` in place of y.
    fn weigh(scale: f32, x: &[f32], d: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x.iter().zip(d)).for_each(|(y, (x, d))| *y *= scale * x / d);
    }
}

versioned! {
    fn add_products(a: &[f32], b: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y += a * b);
    }
}
