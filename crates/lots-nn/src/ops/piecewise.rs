//! Functions of each number that are straight lines between kinks: Clip, LeakyRelu and their like.

use super::activation::rectified;
use super::{Keeper, Keeps, Kept, Operator, Run};
use crate::kernels::versioned;
use crate::network::ReluRule;

/// A function of one number. Slopes at kinks are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Line {
    /// `|x|`. Slope at zero: 0.
    Abs,
    Ceil,
    /// `min(max(x, low), high)`. Slope at the bounds: 0.
    Clip {
        low: f32,
        high: f32,
    },
    Floor,
    /// `min(max(α x + β, 0), 1)`. Slope at both kinks: 0.
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x` above zero, `α x` elsewhere. Slope at zero: α.
    LeakyRelu {
        alpha: f32,
    },
    Neg,
    /// To the nearest whole number, halves to the even one.
    Round,
    /// `x` above α, 0 elsewhere. Slope at α: 0.
    ThresholdedRelu {
        alpha: f32,
    },
}

impl Line {
    /// The slopes of its pieces, as many as differ.
    fn slopes(self) -> [f32; 3] {
        match self {
            Self::Abs => [-1.0, 0.0, 1.0],
            Self::Ceil | Self::Floor | Self::Round => [0.0; 3],
            Self::Clip { .. } | Self::ThresholdedRelu { .. } => [0.0, 1.0, 1.0],
            Self::HardSigmoid { alpha, .. } => [0.0, alpha, alpha],
            Self::LeakyRelu { alpha } => [alpha, 1.0, 1.0],
            Self::Neg => [-1.0; 3],
        }
    }

    /// Whether it is a ReLU, such as ReLU6.
    fn is_relu(self) -> bool {
        matches!(self, Self::Clip { low: 0.0, high } if high > 0.0)
    }
}

/// [`Line`] of each number.
#[derive(Debug)]
pub(crate) struct Piecewise {
    pub(crate) line: Line,
    pub(crate) elements: usize,
}

impl Operator for Piecewise {
    fn name(&self) -> &'static str {
        match self.line {
            Line::Abs => "Abs",
            Line::Ceil => "Ceil",
            Line::Clip { .. } => "Clip",
            Line::Floor => "Floor",
            Line::HardSigmoid { .. } => "HardSigmoid",
            Line::LeakyRelu { .. } => "LeakyRelu",
            Line::Neg => "Neg",
            Line::Round => "Round",
            Line::ThresholdedRelu { .. } => "ThresholdedRelu",
        }
    }

    fn keeps(&self) -> Keeps {
        let one_slope = matches!(self.line, Line::Ceil | Line::Floor | Line::Neg | Line::Round);
        Keeps { bytes: if one_slope { 0 } else { self.elements }, floats: 0 }
    }

    fn has_slope_only(&self) -> bool {
        let bends = matches!(
            self.line,
            Line::Clip { .. }
                | Line::HardSigmoid { .. }
                | Line::LeakyRelu { .. }
                | Line::ThresholdedRelu { .. }
        );
        bends && !self.line.is_relu()
    }

    fn parts(&self) -> usize {
        self.elements
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        values(run.isa, self.line, inputs[0], output);
        if let Some(keeper) = keeper {
            pieces(run.isa, self.line, inputs[0], keeper.bytes);
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
        if self.line.is_relu() && run.relu != ReluRule::Slope {
            return rectified(run, kept.bytes, cotangent, gradient);
        }
        let slopes = self.line.slopes();
        if kept.bytes.is_empty() {
            scale(run.isa, slopes[0], cotangent, gradient);
        } else {
            scale_pieces(run.isa, slopes, kept.bytes, cotangent, gradient);
        }
    }
}

versioned! {
    fn values(line: Line, x: &[f32], y: &mut [f32]) {
        let all = y.iter_mut().zip(x);
        // Not a number stays so: a network that overflows must be seen to.
        match line {
            Line::Abs => all.for_each(|(y, x)| *y = x.abs()),
            Line::Ceil => all.for_each(|(y, x)| *y = x.ceil()),
            Line::Clip { low, high } => all.for_each(|(y, &x)| *y = clip(x, low, high)),
            Line::Floor => all.for_each(|(y, x)| *y = x.floor()),
            Line::HardSigmoid { alpha, beta } => {
                all.for_each(|(y, &x)| *y = clip(alpha * x + beta, 0.0, 1.0));
            }
            Line::LeakyRelu { alpha } => {
                all.for_each(|(y, &x)| *y = if x > 0.0 { x } else { alpha * x });
            }
            Line::Neg => all.for_each(|(y, x)| *y = -x),
            Line::Round => all.for_each(|(y, x)| *y = x.round_ties_even()),
            Line::ThresholdedRelu { alpha } => {
                all.for_each(|(y, &x)| *y = if x <= alpha { 0.0 } else { x });
            }
        }
    }
}

/// `high` where `low` is above it, as ONNX has it.
#[inline(always)]
fn clip(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

versioned! {
    /// On which piece each number lies: which of [`Line::slopes`] is its own.
    fn pieces(line: Line, x: &[f32], y: &mut [u8]) {
        let all = y.iter_mut().zip(x);
        match line {
            Line::Abs => all.for_each(|(y, &x)| *y = u8::from(x >= 0.0) + u8::from(x > 0.0)),
            Line::Clip { low, high } => all.for_each(|(y, &x)| *y = inside(x, low, high)),
            Line::HardSigmoid { alpha, beta } => {
                all.for_each(|(y, &x)| *y = inside(alpha * x + beta, 0.0, 1.0));
            }
            Line::LeakyRelu { .. } => all.for_each(|(y, &x)| *y = u8::from(x > 0.0)),
            Line::ThresholdedRelu { alpha } => all.for_each(|(y, &x)| *y = u8::from(x > alpha)),
            Line::Ceil | Line::Floor | Line::Neg | Line::Round => {}
        }
    }
}

#[inline(always)]
fn inside(x: f32, low: f32, high: f32) -> u8 {
    u8::from(x > low && x < high)
}

versioned! {
    fn scale(slope: f32, g: &[f32], dx: &mut [f32]) {
        dx.iter_mut().zip(g).for_each(|(dx, &g)| *dx = slope * g);
    }
}

versioned! {
    fn scale_pieces(slopes: [f32; 3], pieces: &[u8], g: &[f32], dx: &mut [f32]) {
        let [first, second, third] = slopes;
        for ((dx, &g), &piece) in dx.iter_mut().zip(g).zip(pieces) {
            let low = if piece == 0 { first } else { second };
            *dx = g * if piece == 2 { third } else { low };
        }
    }
}
