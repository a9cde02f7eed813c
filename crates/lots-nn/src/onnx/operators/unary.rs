//! Functions of each number.

use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader};
use crate::graph::Action;
use crate::ops::activation::Relu;
use crate::ops::piecewise::{Line, Piecewise};
use crate::ops::unary::{Curve, Unary};

/// The operator of `node`, or `None` if it is no function of each number.
pub(super) fn unary(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Option<Made>, String> {
    let op = node.op_type.as_str();
    let (curve, line) = (curve(op, a)?, line(reader, node, a)?);
    if curve.is_none() && line.is_none() && op != "Relu" {
        return Ok(None);
    }
    let (v, shape) = reader.activation(node, 0)?;
    let elements = shape.iter().product();
    let action = match (curve, line) {
        (Some(curve), _) => Action::run(Unary { curve, elements }),
        (None, Some(line)) => Action::run(Piecewise { line, elements }),
        (None, None) => Action::run(Relu { elements }),
    };
    Ok(Some(Made { inputs: vec![v], shape, action }))
}

fn curve(op: &str, a: &Attributes<'_>) -> Result<Option<Curve>, String> {
    Ok(Some(match op {
        "Celu" => {
            let alpha = a.float("alpha", 1.0)?;
            if alpha <= 0.0 {
                return Err(format!("attribute alpha is {alpha}; wanted a positive number"));
            }
            Curve::Celu { alpha }
        }
        "Cos" => Curve::Cos,
        "Elu" => Curve::Elu { alpha: a.float("alpha", 1.0)? },
        "Erf" => Curve::Erf,
        "Exp" => Curve::Exp,
        "Gelu" => match a.text("approximate")?.as_str() {
            "" | "none" => Curve::Gelu,
            "tanh" => Curve::GeluTanh,
            other => {
                return Err(format!(
                    "attribute approximate is \"{other}\"; wanted \"none\" or \"tanh\""
                ));
            }
        },
        "HardSwish" => Curve::HardSwish,
        "Log" => Curve::Log,
        "Mish" => Curve::Mish,
        "Reciprocal" => Curve::Reciprocal,
        "Selu" => {
            let (alpha, gamma) = (a.float("alpha", 1.673_263_2)?, a.float("gamma", 1.050_701)?);
            Curve::Selu { alpha, gamma }
        }
        "Sigmoid" => Curve::Sigmoid,
        "Sin" => Curve::Sin,
        "Softplus" => Curve::Softplus,
        "Softsign" => Curve::Softsign,
        "Sqrt" => Curve::Sqrt,
        "Swish" => Curve::Swish { alpha: a.float("alpha", 1.0)? },
        "Tanh" => Curve::Tanh,
        _ => return Ok(None),
    }))
}

fn line(reader: &Reader<'_>, node: &NodeProto, a: &Attributes<'_>) -> Result<Option<Line>, String> {
    Ok(Some(match node.op_type.as_str() {
        "Abs" => Line::Abs,
        "Ceil" => Line::Ceil,
        "Clip" => Line::Clip {
            low: bound(reader, node, 1, f32::NEG_INFINITY)?,
            high: bound(reader, node, 2, f32::INFINITY)?,
        },
        "Floor" => Line::Floor,
        "HardSigmoid" => {
            Line::HardSigmoid { alpha: a.float("alpha", 0.2)?, beta: a.float("beta", 0.5)? }
        }
        "LeakyRelu" => Line::LeakyRelu { alpha: a.float("alpha", 0.01)? },
        "Neg" => Line::Neg,
        "Round" => Line::Round,
        "ThresholdedRelu" => Line::ThresholdedRelu { alpha: a.float("alpha", 1.0)? },
        _ => return Ok(None),
    }))
}

/// Bound `at` of Clip, a constant number.
fn bound(reader: &Reader<'_>, node: &NodeProto, at: usize, none: f32) -> Result<f32, String> {
    match reader.floats(node, at)? {
        None => Ok(none),
        Some(t) => match t.data() {
            &[bound] => Ok(bound),
            several => {
                Err(format!("its bound (input {at}) holds {} numbers; wanted one", several.len()))
            }
        },
    }
}
