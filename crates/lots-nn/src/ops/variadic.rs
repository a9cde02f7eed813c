//! Min, Max, Sum and Mean of any number of operands, with broadcasting.

use super::broadcast::{Operand, PIECE, Plan, Tiles, Values};
use super::{Keeper, Keeps, Kept, Operator, Run};
use crate::kernels::{LANES, versioned};

/// A function of any number of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// The slope of the smallest operand is one; of several that are equal, each has its part of it.
    Min,
    /// As [`Fold::Min`].
    Max,
    Sum,
    Mean,
}

/// A [`Fold`] over its operands, element by element.
#[derive(Debug)]
pub(crate) struct Variadic {
    fold: Fold,
    operands: Vec<(Operand, Plan<1>)>,
    /// Elements of the output.
    output: usize,
}

impl Variadic {
    /// The operator over operands and their shapes, which broadcast to `output`.
    pub(crate) fn new(fold: Fold, operands: Vec<(Operand, Vec<usize>)>, output: &[usize]) -> Self {
        let with_plan = |(operand, shape): (Operand, Vec<usize>)| {
            (operand, Plan::new([shape.as_slice()], output))
        };
        let operands = operands.into_iter().map(with_plan).collect();
        Self { fold, operands, output: output.iter().product() }
    }

    fn selects(&self) -> bool {
        matches!(self.fold, Fold::Min | Fold::Max)
    }

    /// Calls `f(operand, where its pieces lie in the output, their numbers)`.
    fn each(
        &self,
        run: Run,
        inputs: &[&[f32]],
        mut f: impl FnMut(usize, std::ops::Range<usize>, &[f32]),
    ) {
        let mut activations = inputs.iter();
        let mut tiles = Tiles::default();
        let [tile, ..] = tiles.all();
        for (n, (operand, plan)) in self.operands.iter().enumerate() {
            let values = match operand {
                Operand::Constant(c) => Values::Constant(c.data()),
                Operand::Activation(_) => {
                    Values::Activation(activations.next().unwrap_or(&&[][..]))
                }
            };
            plan.pieces(PIECE * LANES / run.lanes, |piece| {
                f(n, piece.range(run.lanes), piece.take(run, 0, values, tile));
            });
        }
    }
}

impl Operator for Variadic {
    fn name(&self) -> &'static str {
        match self.fold {
            Fold::Min => "Min",
            Fold::Max => "Max",
            Fold::Sum => "Sum",
            Fold::Mean => "Mean",
        }
    }

    /// Of Min and Max: a bit for each operand that is the smallest or largest, eight of them to a byte
    /// `[eight][output]`.
    fn keeps(&self) -> Keeps {
        let bytes = if self.selects() { self.operands.len().div_ceil(8) } else { 0 };
        Keeps { bytes: bytes * self.output, floats: 0 }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let fold = self.fold;
        self.each(run, inputs, |n, at, x| {
            let y = &mut output[at];
            if n == 0 { y.copy_from_slice(x) } else { combine(run.isa, fold, x, y) }
        });
        if fold == Fold::Mean {
            divide(run.isa, self.operands.len() as f32, output);
        }
        if let (Some(keeper), true) = (keeper, self.selects()) {
            keeper.bytes.fill(0);
            let all = output.len();
            self.each(run, inputs, |n, at, x| {
                let bits = &mut keeper.bytes[n / 8 * all..][at.clone()];
                mark(run.isa, 1 << (n % 8), x, &output[at], bits);
            });
        }
    }

    fn vjp(&self, run: Run, input: usize, kept: Kept<'_>, cotangent: &[f32], gradient: &mut [f32]) {
        let active = self.operands.iter().enumerate().filter(|(_, (o, _))| o.is_activation());
        let Some((n, (_, plan))) = active.clone().nth(input) else { return };
        gradient.fill(0.0);
        let mut tiles = Tiles::default();
        let [tile, ..] = tiles.all();
        plan.pieces(PIECE, |piece| {
            let at = piece.range(run.lanes);
            let dx = &mut tile[..at.len()];
            dx.copy_from_slice(&cotangent[at.clone()]);
            match self.fold {
                Fold::Sum => {}
                Fold::Mean => divide(run.isa, self.operands.len() as f32, dx),
                Fold::Min | Fold::Max => {
                    share(run.isa, n, kept.bytes, cotangent.len(), at.start, dx);
                }
            }
            piece.give(run, 0, dx, gradient);
        });
    }
}

versioned! {
    fn combine(fold: Fold, x: &[f32], y: &mut [f32]) {
        let all = y.iter_mut().zip(x);
        // Not a number stays so: a network that overflows must be seen to.
        match fold {
            Fold::Min => all.for_each(|(y, &x)| *y = if x < *y || x.is_nan() { x } else { *y }),
            Fold::Max => all.for_each(|(y, &x)| *y = if x > *y || x.is_nan() { x } else { *y }),
            Fold::Sum | Fold::Mean => all.for_each(|(y, x)| *y += x),
        }
    }
}

versioned! {
    fn divide(by: f32, y: &mut [f32]) {
        y.iter_mut().for_each(|y| *y /= by);
    }
}

versioned! {
    /// Sets `bit` where the operand x is the result y.
    #[allow(clippy::float_cmp, reason = "the result is one of the operands, to the bit")]
    fn mark(bit: u8, x: &[f32], y: &[f32], bits: &mut [u8]) {
        for ((bits, &x), &y) in bits.iter_mut().zip(x).zip(y) {
            *bits |= if x == y { bit } else { 0 };
        }
    }
}

versioned! {
    /// Leaves operand `n` its part of the cotangents `g`, which begin at `first` of `all`.
    fn share(n: usize, bits: &[u8], all: usize, first: usize, g: &mut [f32]) {
        let own = &bits[n / 8 * all + first..];
        if bits.len() == all {
            for (g, &bits) in g.iter_mut().zip(own) {
                let part = *g / bits.count_ones() as f32;
                *g = if bits >> n & 1 == 1 { part } else { 0.0 };
            }
            return;
        }
        for (at, (g, own)) in g.iter_mut().zip(own).enumerate() {
            let sets = bits.chunks_exact(all).map(|bits| bits[first + at].count_ones());
            let part = *g / sets.sum::<u32>() as f32;
            *g = if own >> (n % 8) & 1 == 1 { part } else { 0.0 };
        }
    }
}
