//! Normalisations: by numbers of the file (BatchNormalization), by mean and variance of the image itself, by a norm.

use super::columns::{by_column, by_row, dots, sums};
use super::{Keeper, Keeps, Kept, Operator, Run};
use crate::kernels::versioned;
use std::ops::Range;

/// `scale · x + shift`, a pair for each channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine {
    pub(crate) scale: f32,
    pub(crate) shift: f32,
}

/// BatchNormalization of inference: an [`Affine`] for each channel.
#[derive(Debug)]
pub(crate) struct BatchNorm {
    pub(crate) channels: Vec<Affine>,
    /// Elements of a channel.
    pub(crate) plane: usize,
}

impl Operator for BatchNorm {
    fn name(&self) -> &'static str {
        "BatchNormalization"
    }

    fn parts(&self) -> usize {
        self.channels.len() * self.plane
    }

    fn forward(
        &self,
        run: Run,
        inputs: &[&[f32]],
        output: &mut [f32],
        _keeper: Option<Keeper<'_>>,
    ) {
        self.rows(run, output.len(), |width, channels, range| {
            affine(run.isa, width, channels, &inputs[0][range.clone()], &mut output[range]);
        });
    }

    fn vjp(
        &self,
        run: Run,
        _input: usize,
        _kept: Kept<'_>,
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        self.rows(run, gradient.len(), |width, channels, range| {
            scale(run.isa, width, channels, &cotangent[range.clone()], &mut gradient[range]);
        });
    }
}

impl BatchNorm {
    /// Calls `f(floats of a row, its channels, their floats)` for `floats` from `run.first` on: whole channels at once, and what
    /// is cut off in front of them and behind.
    fn rows(&self, run: Run, floats: usize, mut f: impl FnMut(usize, &[Affine], Range<usize>)) {
        let plane = self.plane * run.lanes;
        let (mut channel, cut) = (run.first / self.plane, run.first % self.plane * run.lanes);
        let front = if cut == 0 { 0 } else { (plane - cut).min(floats) };
        if front > 0 {
            f(front, &self.channels[channel..=channel], 0..front);
            channel += 1;
        }
        let whole = (floats - front) / plane;
        let back = front + whole * plane;
        if whole > 0 {
            f(plane, &self.channels[channel..channel + whole], front..back);
        }
        if back < floats {
            let channel = channel + whole;
            f(floats - back, &self.channels[channel..=channel], back..floats);
        }
    }
}

versioned! {
    fn affine(width: usize, channels: &[Affine], x: &[f32], y: &mut [f32]) {
        by_row(width, y, x, channels, |_, x, c: Affine| x * c.scale + c.shift);
    }
}

versioned! {
    fn scale(width: usize, channels: &[Affine], x: &[f32], y: &mut [f32]) {
        by_row(width, y, x, channels, |_, x, c: Affine| x * c.scale);
    }
}

/// `(x - mean) / √(variance + ε)` of neighbouring elements, then an [`Affine`]: InstanceNormalization,
/// GroupNormalization, LayerNormalization; without the mean RMSNormalization.
#[derive(Debug)]
pub(crate) struct Standardize {
    pub(crate) name: &'static str,
    /// Parts of an image that are normalised each on its own.
    pub(crate) parts: usize,
    /// Elements of a part.
    pub(crate) size: usize,
    pub(crate) epsilon: f32,
    /// Whether the mean is taken off.
    pub(crate) centred: bool,
    /// For each channel of a part, or of the whole image.
    pub(crate) channels: Vec<Affine>,
    /// Elements of a channel.
    pub(crate) plane: usize,
}

impl Standardize {
    /// Elements of all channels.
    fn stretch(&self) -> usize {
        self.channels.len() * self.plane
    }
}

impl Operator for Standardize {
    fn name(&self) -> &'static str {
        self.name
    }

    /// Its output without the affine, and the factor of each part.
    fn keeps(&self) -> Keeps {
        Keeps { bytes: 0, floats: self.parts * (self.size + 1) }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let l = run.lanes;
        let (mut factors, mut sum) = (vec![0.0f32; self.parts * l], vec![0.0f64; l]);
        let mut terms = vec![(0.0, 0.0); l];
        let n = self.size as f64;
        let parts =
            inputs[0].chunks_exact(self.size * l).zip(output.chunks_exact_mut(self.size * l));
        for ((x, y), factors) in parts.zip(factors.chunks_exact_mut(l)) {
            if self.centred {
                sums(run.isa, x, &mut sum);
                terms.iter_mut().zip(&sum).for_each(|(term, sum)| *term = (sum / n, 1.0));
            } else {
                terms.fill((0.0, 1.0));
            }
            standardize(run.isa, &terms, x, y);
            dots(run.isa, y, y, &mut sum);
            for ((factor, term), sum) in factors.iter_mut().zip(&mut terms).zip(&sum) {
                term.1 = 1.0 / (sum / n + f64::from(self.epsilon)).sqrt();
                *factor = term.1 as f32;
            }
            standardize(run.isa, &terms, x, y);
        }
        if let Some(keeper) = keeper {
            let (normal, kept_factors) = keeper.floats.split_at_mut(output.len());
            normal.copy_from_slice(output);
            kept_factors.copy_from_slice(&factors);
        }
        let stretch = self.stretch() * l;
        for (x, y) in inputs[0].chunks_exact(stretch).zip(output.chunks_exact_mut(stretch)) {
            affine_in_place(run.isa, self.plane * l, &self.channels, x, y);
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
        let l = run.lanes;
        let n = self.size as f64;
        let (normal, factors) = kept.floats.split_at(gradient.len());
        let stretch = self.stretch() * l;
        for (g, dx) in cotangent.chunks_exact(stretch).zip(gradient.chunks_exact_mut(stretch)) {
            scale(run.isa, self.plane * l, &self.channels, g, dx);
        }
        let (mut mean, mut along) = (vec![0.0f64; l], vec![0.0f64; l]);
        let mut terms = vec![Terms::default(); l];
        let parts =
            gradient.chunks_exact_mut(self.size * l).zip(normal.chunks_exact(self.size * l));
        for ((dx, normal), factors) in parts.zip(factors.chunks_exact(l)) {
            if self.centred {
                sums(run.isa, dx, &mut mean);
            }
            dots(run.isa, dx, normal, &mut along);
            for (lane, term) in terms.iter_mut().enumerate() {
                *term =
                    Terms { factor: factors[lane], mean: mean[lane] / n, along: along[lane] / n };
            }
            project(run.isa, &terms, normal, dx);
        }
    }
}

/// What is taken off a cotangent, and the factor behind it.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    factor: f32,
    mean: f64,
    along: f64,
}

versioned! {
    /// `(x - mean) · factor`, of each column.
    fn standardize(terms: &[(f64, f64)], x: &[f32], y: &mut [f32]) {
        by_column(y, x, terms, |_, x, (mean, factor)| ((f64::from(x) - mean) * factor) as f32);
    }
}

versioned! {
    /// `y · scale + shift` in place of y; x is not read.
    fn affine_in_place(width: usize, channels: &[Affine], x: &[f32], y: &mut [f32]) {
        by_row(width, y, x, channels, |y, _, c: Affine| y * c.scale + c.shift);
    }
}

versioned! {
    fn project(terms: &[Terms], normal: &[f32], dx: &mut [f32]) {
        by_column(dx, normal, terms, |g, x, t: Terms| {
            t.factor * (f64::from(g) - t.mean - f64::from(x) * t.along) as f32
        });
    }
}

/// `x / (Σ|x|^p)^(1/p)` along the middle of `[outer, axis, inner]`, for p of 1 or 2. Where all x are zero, so is the
/// result, and its slope.
#[derive(Debug)]
pub(crate) struct LpNorm {
    pub(crate) p: Power,
    pub(crate) outer: usize,
    pub(crate) axis: usize,
    pub(crate) inner: usize,
}

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    One,
    Two,
}

impl Operator for LpNorm {
    fn name(&self) -> &'static str {
        "LpNormalization"
    }

    /// Its output, and one over each norm.
    fn keeps(&self) -> Keeps {
        Keeps { bytes: 0, floats: self.outer * (self.axis + 1) * self.inner }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let width = self.inner * run.lanes;
        let (mut factors, mut sum) = (vec![0.0f32; self.outer * width], vec![0.0f64; width]);
        let size = self.axis * width;
        let parts = inputs[0].chunks_exact(size).zip(output.chunks_exact_mut(size));
        for ((x, y), factors) in parts.zip(factors.chunks_exact_mut(width)) {
            if self.p == Power::One {
                absolute(run.isa, x, y);
                sums(run.isa, y, &mut sum);
            } else {
                dots(run.isa, x, x, &mut sum);
                sum.iter_mut().for_each(|s| *s = s.sqrt());
            }
            for (factor, &sum) in factors.iter_mut().zip(&sum) {
                *factor = if sum == 0.0 { 0.0 } else { (1.0 / sum) as f32 };
            }
            scale_columns(run.isa, factors, x, y);
        }
        if let Some(keeper) = keeper {
            let (values, kept_factors) = keeper.floats.split_at_mut(output.len());
            values.copy_from_slice(output);
            kept_factors.copy_from_slice(&factors);
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
        let (y, factors) = kept.floats.split_at(gradient.len());
        let mut along = vec![0.0f64; width];
        let mut terms = vec![Terms::default(); width];
        let size = self.axis * width;
        let parts = cotangent.chunks_exact(size).zip(gradient.chunks_exact_mut(size));
        for (((g, dx), y), factors) in
            parts.zip(y.chunks_exact(size)).zip(factors.chunks_exact(width))
        {
            dots(run.isa, g, y, &mut along);
            for (term, (&factor, &along)) in terms.iter_mut().zip(factors.iter().zip(&along)) {
                *term = Terms { factor, mean: 0.0, along };
            }
            dx.copy_from_slice(g);
            match self.p {
                Power::One => project_signs(run.isa, &terms, y, dx),
                Power::Two => project(run.isa, &terms, y, dx),
            }
        }
    }
}

versioned! {
    fn scale_columns(factors: &[f32], x: &[f32], y: &mut [f32]) {
        by_column(y, x, factors, |_, x, factor| x * factor);
    }
}

versioned! {
    fn absolute(x: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x.abs());
    }
}

versioned! {
    fn project_signs(terms: &[Terms], y: &[f32], dx: &mut [f32]) {
        let sign = |y: f32| if y > 0.0 { 1.0 } else if y < 0.0 { -1.0 } else { 0.0 };
        by_column(dx, y, terms, |g, y, t: Terms| {
            t.factor * (f64::from(g) - sign(y) * t.along) as f32
        });
    }
}
