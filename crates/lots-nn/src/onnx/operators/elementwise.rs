//! Operators that go element by element over one or more operands, Softmax and LogSoftmax.

use super::super::attributes::Attributes;
use super::super::proto::{NodeProto, data_type};
use super::super::read::{Made, Reader, Side, axis, possible};
use super::super::tensors::Constant;
use crate::graph::Action;
use crate::ops::activation::Softmax;
use crate::ops::binary::{Binary, Kind};
use crate::ops::broadcast::{Operand, broadcast};
use crate::ops::variadic::{Fold, Variadic};
use crate::tensor::{Tensor, show_shape};

pub(super) fn softmax(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let axis = axis(a.int("axis", -1)?, shape.len())?;
    let op = Softmax {
        log: node.op_type == "LogSoftmax",
        outer: shape[..axis].iter().product(),
        axis: shape[axis],
        inner: shape[axis + 1..].iter().product(),
    };
    Ok(Made { inputs: vec![v], shape, action: Action::run(op) })
}

/// Cast of an activation: activations are floats already.
pub(super) fn cast(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let to = i32::try_from(a.int("to", 0)?).unwrap_or_default();
    // Of 8-bit floats only, which are refused.
    a.int("saturate", 1)?;
    if to != data_type::FLOAT {
        return Err(format!(
            "it makes {} of an activation; Lots computes with float32: export in float32",
            data_type::name(to)
        ));
    }
    Ok(Made { inputs: vec![v], shape, action: Action::View })
}

/// The inputs of a node that goes element by element.
struct Operands {
    all: Vec<(Operand, Vec<usize>)>,
    /// The values among them.
    inputs: Vec<usize>,
    output: Vec<usize>,
}

fn operands(reader: &Reader<'_>, node: &NodeProto) -> Result<Operands, String> {
    let (mut all, mut inputs, mut output) = (Vec::new(), Vec::new(), Vec::new());
    for (at, name) in node.input.iter().enumerate() {
        let side = reader.side(name)?;
        let shape = side.shape()?;
        output = broadcast(&output, &shape).ok_or_else(|| {
            let shapes = [&output, &shape].map(|s| show_shape(s));
            format!("its inputs {} and {} (of one image) do not broadcast", shapes[0], shapes[1])
        })?;
        let operand = match side {
            Side::Value(v, _) => {
                inputs.push(v);
                Operand::Activation(shape.iter().product())
            }
            Side::Constant(Constant::Floats(t)) => Operand::Constant(t),
            // Exporters write exponents so.
            Side::Constant(Constant::Ints(x)) if node.op_type == "Pow" && at == 1 => {
                let data = x.data.iter().map(|&x| x as f32).collect();
                Operand::Constant(Tensor::new(x.shape, data).ok_or("its exponent is damaged")?)
            }
            Side::Constant(Constant::Ints(_)) => {
                return Err("one side holds integers; wanted floats".into());
            }
            Side::Constant(Constant::Other(why)) => return Err(why),
        };
        all.push((operand, shape));
    }
    possible(&output)?;
    Ok(Operands { all, inputs, output })
}

pub(super) fn binary(reader: &Reader<'_>, node: &NodeProto) -> Result<Made, String> {
    if node.input.len() != 2 {
        return Err("wanted two inputs".into());
    }
    let kind = match node.op_type.as_str() {
        "Add" => Kind::Add,
        "Sub" => Kind::Sub,
        "Mul" => Kind::Mul,
        "Div" => Kind::Div,
        "Pow" => Kind::Pow,
        _ => Kind::PRelu,
    };
    let Operands { all, inputs, output } = operands(reader, node)?;
    let [(a, a_shape), (b, b_shape)] = <[_; 2]>::try_from(all).map_err(|_| "wanted two inputs")?;
    match &b {
        Operand::Constant(c) if kind == Kind::Div && c.data().contains(&0.0) => {
            return Err("it divides by a constant zero".into());
        }
        _ => {}
    }
    if kind == Kind::PRelu && output != a_shape {
        return Err(format!(
            "its slope {} does not broadcast to its input {} (of one image)",
            show_shape(&b_shape),
            show_shape(&a_shape)
        ));
    }
    let op = Binary::new(kind, [a, b], [&a_shape, &b_shape], &output);
    Ok(Made { inputs, shape: output, action: Action::run(op) })
}

pub(super) fn variadic(reader: &Reader<'_>, node: &NodeProto) -> Result<Made, String> {
    if node.input.is_empty() {
        return Err("its inputs are missing".into());
    }
    let fold = match node.op_type.as_str() {
        "Min" => Fold::Min,
        "Max" => Fold::Max,
        "Sum" => Fold::Sum,
        _ => Fold::Mean,
    };
    let Operands { all, inputs, output } = operands(reader, node)?;
    let op = Variadic::new(fold, all, &output);
    Ok(Made { inputs, shape: output, action: Action::run(op) })
}
