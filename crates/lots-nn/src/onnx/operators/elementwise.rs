//! Operators that go element by element, and Softmax.

use super::super::attributes::Attributes;
use super::super::proto::{NodeProto, data_type};
use super::super::read::{Made, Reader, Side, axis, check_table, possible};
use super::super::tensors::Constant;
use crate::graph::Action;
use crate::ops::activation::{Relu, Softmax};
use crate::ops::binary::{Binary, Kind, broadcast};
use crate::tensor::show_shape;

pub(super) fn relu(reader: &Reader<'_>, node: &NodeProto) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let elements = shape.iter().product();
    Ok(Made { inputs: vec![v], shape, action: Action::run(Relu { elements }) })
}

pub(super) fn softmax(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let axis = axis(a.int("axis", -1)?, shape.len())?;
    let op = Softmax {
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
    if to != data_type::FLOAT {
        return Err(format!(
            "it makes {} of an activation; Lots computes with float32: export in float32",
            data_type::name(to)
        ));
    }
    Ok(Made { inputs: vec![v], shape, action: Action::View })
}

pub(super) fn binary(reader: &Reader<'_>, node: &NodeProto) -> Result<Made, String> {
    let [a, b] = node.input.as_slice() else { return Err("wanted two inputs".into()) };
    let kind = match node.op_type.as_str() {
        "Add" => Kind::Add,
        "Sub" => Kind::Sub,
        "Mul" => Kind::Mul,
        _ => Kind::Div,
    };
    let mut inputs = Vec::new();
    let mut shapes = [Vec::new(), Vec::new()];
    let mut constants = [None, None];
    for (at, side) in [reader.side(a)?, reader.side(b)?].into_iter().enumerate() {
        shapes[at] = side.shape()?;
        match side {
            Side::Value(v, _) => inputs.push(v),
            Side::Constant(Constant::Floats(t)) => constants[at] = Some(t),
            Side::Constant(Constant::Other(why)) => return Err(why),
            Side::Constant(Constant::Ints(_)) => {
                return Err("one side holds integers; wanted floats".into());
            }
        }
    }
    let Some(output) = broadcast(&shapes[0], &shapes[1]) else {
        let [a, b] = shapes.map(|s| show_shape(&s));
        return Err(format!("its inputs {a} and {b} (of one image) do not broadcast"));
    };
    if kind == Kind::Div && constants[1].as_ref().is_some_and(|c| c.data().contains(&0.0)) {
        return Err("it divides by a constant zero".into());
    }
    let shapes = [shapes[0].as_slice(), shapes[1].as_slice()];
    let elements = possible(&output)?;
    if shapes.iter().any(|s| s.iter().product::<usize>() != elements) {
        check_table("broadcast elements", &output)?;
    }
    let op = Binary::new(kind, shapes, &output, constants);
    Ok(Made { inputs, shape: output, action: Action::run(op) })
}
