//! Smooth functions of each number: activations such as Sigmoid and Gelu, and `Exp`, `Log`, `Sqrt` and their like.

use super::math::{erf, exp, exp_m1_below_zero, sigmoid, sigmoid_slope, tanh, tanh_slope};
use super::{Keeper, Keeps, Kept, Operator, Run};
use crate::kernels::versioned;
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// A function of one number. Where it has no slope, its slope is PyTorch's, which the functions say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Curve {
    /// `x` above zero, `α (e^(x/α) - 1)` elsewhere.
    Celu {
        alpha: f32,
    },
    Cos,
    /// `x` above zero, `α (e^x - 1)` elsewhere. Slope at zero: α.
    Elu {
        alpha: f32,
    },
    Erf,
    Exp,
    /// `x Φ(x)`, Φ the normal distribution.
    Gelu,
    /// Gelu with Φ(x) approximated as `(1 + tanh √(2/π) (x + 0.044715 x³)) / 2`.
    GeluTanh,
    /// `x · min(max(x / 6 + 1/2, 0), 1)`. Slopes at -3 and 3: 0 and 1.
    HardSwish,
    /// The natural logarithm. Slope at zero: infinite.
    Log,
    /// `x · tanh(ln(1 + e^x))`.
    Mish,
    /// `1 / x`. Slope at zero: infinite.
    Reciprocal,
    /// `γ x` above zero, `γ α (e^x - 1)` elsewhere. Slope at zero: γ α.
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Sigmoid,
    Sin,
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// Slope at zero: infinite.
    Sqrt,
    /// `x · sigmoid(α x)`.
    Swish {
        alpha: f32,
    },
    Tanh,
}

/// [`Curve`] of each number.
#[derive(Debug)]
pub(crate) struct Unary {
    pub(crate) curve: Curve,
    pub(crate) elements: usize,
}

impl Operator for Unary {
    fn name(&self) -> &'static str {
        match self.curve {
            Curve::Celu { .. } => "Celu",
            Curve::Cos => "Cos",
            Curve::Elu { .. } => "Elu",
            Curve::Erf => "Erf",
            Curve::Exp => "Exp",
            Curve::Gelu | Curve::GeluTanh => "Gelu",
            Curve::HardSwish => "HardSwish",
            Curve::Log => "Log",
            Curve::Mish => "Mish",
            Curve::Reciprocal => "Reciprocal",
            Curve::Selu { .. } => "Selu",
            Curve::Sigmoid => "Sigmoid",
            Curve::Sin => "Sin",
            Curve::Softplus => "Softplus",
            Curve::Softsign => "Softsign",
            Curve::Sqrt => "Sqrt",
            Curve::Swish { .. } => "Swish",
            Curve::Tanh => "Tanh",
        }
    }

    fn keeps(&self) -> Keeps {
        Keeps { bytes: 0, floats: self.elements }
    }

    fn has_slope_only(&self) -> bool {
        // The others compute: roots of variances, say.
        !matches!(
            self.curve,
            Curve::Cos | Curve::Exp | Curve::Log | Curve::Reciprocal | Curve::Sin | Curve::Sqrt
        )
    }

    fn parts(&self) -> usize {
        self.elements
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        values(run.isa, self.curve, inputs[0], output);
        if let Some(keeper) = keeper {
            slopes(run.isa, self.curve, inputs[0], keeper.floats);
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
        multiply(run.isa, kept.floats, cotangent, gradient);
    }
}

versioned! {
    fn multiply(a: &[f32], b: &[f32], y: &mut [f32]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = a * b;
        }
    }
}

/// `y = value` for each x. No closure: what is written here is compiled for the instruction set around it.
macro_rules! each {
    ($x:ident, $y:ident, $value:expr) => {
        for (y, &$x) in $y.iter_mut().zip($x) {
            *y = $value;
        }
    };
}

versioned! {
    fn values(curve: Curve, x: &[f32], y: &mut [f32]) {
        match curve {
            Curve::Celu { alpha } => {
                each!(x, y, if x > 0.0 { x } else { alpha * exp_m1_below_zero(x / alpha) })
            }
            Curve::Cos => each!(x, y, x.cos()),
            Curve::Elu { alpha } => {
                each!(x, y, if x > 0.0 { x } else { alpha * exp_m1_below_zero(x) })
            }
            Curve::Erf => each!(x, y, erf(x)),
            Curve::Exp => each!(x, y, exp(x)),
            Curve::Gelu => each!(x, y, x * normal(x)),
            Curve::GeluTanh => each!(x, y, gelu_by_tanh(x).0),
            Curve::HardSwish => each!(x, y, x * clamp(x / 6.0 + 0.5, 0.0, 1.0)),
            Curve::Log => each!(x, y, x.ln()),
            Curve::Mish => each!(x, y, mish(x).0),
            Curve::Reciprocal => each!(x, y, 1.0 / x),
            Curve::Selu { alpha, gamma } => {
                let below = gamma * alpha;
                each!(x, y, if x > 0.0 { gamma * x } else { below * exp_m1_below_zero(x) })
            }
            Curve::Sigmoid => each!(x, y, sigmoid(x)),
            Curve::Sin => each!(x, y, x.sin()),
            Curve::Softplus => each!(x, y, x.max(0.0) + exp(-x.abs()).ln_1p()),
            Curve::Softsign => each!(x, y, x / (1.0 + x.abs())),
            Curve::Sqrt => each!(x, y, x.sqrt()),
            Curve::Swish { alpha } => each!(x, y, x * sigmoid(alpha * x)),
            Curve::Tanh => each!(x, y, tanh(x)),
        }
    }
}

versioned! {
    fn slopes(curve: Curve, x: &[f32], y: &mut [f32]) {
        match curve {
            Curve::Celu { alpha } => each!(x, y, if x > 0.0 { 1.0 } else { exp(x / alpha) }),
            Curve::Cos => each!(x, y, -x.sin()),
            Curve::Elu { alpha } => each!(x, y, if x > 0.0 { 1.0 } else { alpha * exp(x) }),
            Curve::Erf => each!(x, y, FRAC_2_SQRT_PI * exp(-x * x)),
            Curve::Exp => each!(x, y, exp(x)),
            Curve::Gelu => each!(x, y, normal(x) + x * (NORMAL_TOP * exp(-0.5 * x * x))),
            Curve::GeluTanh => each!(x, y, gelu_by_tanh(x).1),
            Curve::HardSwish => each!(x, y, if x <= -3.0 {
                0.0
            } else if x >= 3.0 {
                1.0
            } else {
                x / 3.0 + 0.5
            }),
            Curve::Log => each!(x, y, 1.0 / x),
            Curve::Mish => each!(x, y, mish(x).1),
            Curve::Reciprocal => each!(x, y, -1.0 / (x * x)),
            Curve::Selu { alpha, gamma } => {
                let below = gamma * alpha;
                each!(x, y, if x > 0.0 { gamma } else { below * exp(x) })
            }
            Curve::Sigmoid => each!(x, y, sigmoid_slope(x)),
            Curve::Sin => each!(x, y, x.cos()),
            Curve::Softplus => each!(x, y, sigmoid(x)),
            Curve::Softsign => each!(x, y, {
                let d = 1.0 + x.abs();
                1.0 / (d * d)
            }),
            Curve::Sqrt => each!(x, y, 0.5 / x.sqrt()),
            Curve::Swish { alpha } => {
                each!(x, y, sigmoid(alpha * x) + alpha * x * sigmoid_slope(alpha * x))
            }
            Curve::Tanh => each!(x, y, tanh_slope(x)),
        }
    }
}

/// As `f32::clamp`, for any bounds: `high` where `low` is above it.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// The density of the normal distribution at zero, 1 / √(2π).
const NORMAL_TOP: f32 = 0.5 * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI;

/// Φ(x), the normal distribution.
#[inline(always)]
fn normal(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// Gelu with the approximation of Φ, and its slope.
#[inline(always)]
fn gelu_by_tanh(x: f32) -> (f32, f32) {
    // √(2/π), and that times 0.044715.
    const FIRST: f32 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    const THIRD: f32 = FIRST * 0.044_715;
    // Beyond 12 Φ is 0 or 1 as f32 has it, and no cube becomes infinite.
    let near = clamp(x, -12.0, 12.0);
    let square = near * near;
    let inner = near * (FIRST + THIRD * square);
    let normal = 0.5 * (1.0 + tanh(inner));
    let slope = 0.5 * tanh_slope(inner) * (FIRST + 3.0 * THIRD * square);
    (x * normal, normal + near * slope)
}

/// Mish, and its slope.
#[inline(always)]
fn mish(x: f32) -> (f32, f32) {
    // Beyond 20 the factor of x is 1 as f32 has it, beyond -110 it is 0.
    let near = clamp(x, -110.0, 20.0);
    let e = exp(near);
    // tanh(ln u) = (u² - 1) / (u² + 1).
    let w = e * (e + 2.0);
    let d = 1.0 / (w + 2.0);
    (x * (w * d), w * d + near * (4.0 * e * (e + 1.0) * d * d))
}
