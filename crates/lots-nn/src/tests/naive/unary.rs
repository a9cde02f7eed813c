//! Functions of each number.

use super::Array;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Every function of each number, and its attributes that are floats, with their defaults. Gelu's approximation has a
/// name of its own, and Clip's numbers are its inputs.
pub(in crate::tests) const UNARY: [(&str, &[(&str, f32)]); 29] = [
    ("Abs", &[]),
    ("Ceil", &[]),
    ("Celu", &[("alpha", 1.0)]),
    ("Clip", &[("min", f32::NEG_INFINITY), ("max", f32::INFINITY)]),
    ("Cos", &[]),
    ("Elu", &[("alpha", 1.0)]),
    ("Erf", &[]),
    ("Exp", &[]),
    ("Floor", &[]),
    ("Gelu", &[]),
    ("GeluTanh", &[]),
    ("HardSigmoid", &[("alpha", 0.2), ("beta", 0.5)]),
    ("HardSwish", &[]),
    ("LeakyRelu", &[("alpha", 0.01)]),
    ("Log", &[]),
    ("Mish", &[]),
    ("Neg", &[]),
    ("Reciprocal", &[]),
    ("Relu", &[]),
    ("Round", &[]),
    ("Selu", &[("alpha", 1.673_263_2), ("gamma", 1.050_701)]),
    ("Sigmoid", &[]),
    ("Sin", &[]),
    ("Softplus", &[]),
    ("Softsign", &[]),
    ("Sqrt", &[]),
    ("Swish", &[("alpha", 1.0)]),
    ("Tanh", &[]),
    ("ThresholdedRelu", &[("alpha", 1.0)]),
];

/// `name` of each number, `n` being its attributes; and how near the nearest kink or jump is.
pub(super) fn unary(name: &str, n: &[f32], x: &Array) -> (Array, f64) {
    let n: Vec<f64> = n.iter().map(|&n| f64::from(n)).collect();
    let data = x.data.iter().map(|&x| value(name, &n, x)).collect();
    let margin = x.data.iter().map(|&x| margin(name, &n, x)).fold(f64::INFINITY, f64::min);
    (Array { shape: x.shape.clone(), data }, margin)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    // The same for x above 40, where e^x + 1 rounds to e^x.
    if x > 40.0 { x } else { x.exp().ln_1p() }
}

fn value(name: &str, n: &[f64], x: f64) -> f64 {
    match name {
        "Abs" => x.abs(),
        "Ceil" => x.ceil(),
        "Celu" => x.max(0.0) + (n[0] * (x / n[0]).exp_m1()).min(0.0),
        "Clip" => x.max(n[0]).min(n[1]),
        "Cos" => x.cos(),
        "Elu" => {
            if x < 0.0 {
                n[0] * x.exp_m1()
            } else {
                x
            }
        }
        "Erf" => libm::erf(x),
        "Exp" => x.exp(),
        "Floor" => x.floor(),
        "Gelu" => 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
        "GeluTanh" => 0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
        "HardSigmoid" => (n[0] * x + n[1]).clamp(0.0, 1.0),
        "HardSwish" => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        "LeakyRelu" => {
            if x < 0.0 {
                n[0] * x
            } else {
                x
            }
        }
        "Log" => x.ln(),
        "Mish" => x * softplus(x).tanh(),
        "Neg" => -x,
        "Reciprocal" => 1.0 / x,
        "Relu" => x.max(0.0),
        "Round" => x.round_ties_even(),
        "Selu" => n[1] * if x <= 0.0 { n[0] * x.exp_m1() } else { x },
        "Sigmoid" => sigmoid(x),
        "Sin" => x.sin(),
        "Softplus" => softplus(x),
        "Softsign" => x / (1.0 + x.abs()),
        "Sqrt" => x.sqrt(),
        "Swish" => x * sigmoid(n[0] * x),
        "Tanh" => x.tanh(),
        "ThresholdedRelu" => {
            if x > n[0] {
                x
            } else {
                0.0
            }
        }
        other => panic!("no operator {other}"),
    }
}

fn margin(name: &str, n: &[f64], x: f64) -> f64 {
    match name {
        "Abs" | "Celu" | "Elu" | "LeakyRelu" | "Relu" | "Selu" => x.abs(),
        "Ceil" | "Floor" => (x - x.round()).abs(),
        "Round" => (x - x.floor() - 0.5).abs(),
        "Clip" => (x - n[0]).abs().min((x - n[1]).abs()),
        "HardSigmoid" => (n[0] * x + n[1]).abs().min((n[0] * x + n[1] - 1.0).abs()),
        "HardSwish" => (x + 3.0).abs().min((x - 3.0).abs()),
        "ThresholdedRelu" => (x - n[0]).abs(),
        _ => f64::INFINITY,
    }
}
