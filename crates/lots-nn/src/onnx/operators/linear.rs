//! Gemm and MatMul.

use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader, Side, check_table, possible};
use super::super::tensors::Constant;
use crate::graph::Action;
use crate::ops::broadcast::broadcast;
use crate::ops::linear::{GemmScales, Linear};
use crate::ops::product::Product;
use crate::tensor::show_shape;

pub(super) fn gemm(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let weight = reader.weights(node, 1)?;
    let bias = reader.floats(node, 2)?;
    if a.int("transA", 0)? != 0 {
        return Err("transA = 1 would mix images; Lots wants transA = 0".into());
    }
    let transposed = a.int("transB", 0)? != 0;
    let scales =
        GemmScales { alpha: a.float("alpha", 1.0)?, beta: a.float("beta", 1.0)?, transposed };
    let &[rows, columns] = weight.shape() else {
        return Err(format!("wanted a matrix of weights, found {}", show_shape(weight.shape())));
    };
    let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
    let &[rows, found] = shape.as_slice() else {
        return Err(format!("wanted [N, {inputs}] as its weights, found {}", show_shape(&shape)));
    };
    if found != inputs {
        return Err(format!("wanted [N, {inputs}] as its weights, found [N, {found}]"));
    }
    if let Some(b) = &bias {
        let fits = b.data().len() == 1 || b.shape() == [outputs] || b.shape() == [1, outputs];
        if !fits || b.shape().len() > 2 {
            return Err(format!("bias {} does not fit {outputs} outputs", show_shape(b.shape())));
        }
    }
    let action = Action::run(Linear::gemm(weight, bias, scales));
    Ok(Made { inputs: vec![v], shape: vec![rows, outputs], action })
}

pub(super) fn matmul(reader: &Reader<'_>, node: &NodeProto) -> Result<Made, String> {
    let [a, b] = node.input.as_slice() else { return Err("wanted two inputs".into()) };
    let sides = [reader.side(a)?, reader.side(b)?];
    let shapes = [sides[0].shape()?, sides[1].shape()?];
    let refuse = || {
        let [a, b] = [&shapes[0], &shapes[1]].map(|s| show_shape(s));
        format!("its inputs {a} and {b} (of one image) do not fit for a product")
    };
    let (Some(&last), false) = (shapes[0].last(), shapes[1].is_empty()) else {
        return Err(refuse());
    };
    // A list is one row on the left, one column on the right; the output does without that axis.
    let columns = if shapes[1].len() == 1 { None } else { shapes[1].last().copied() };
    let rows = shapes[0].iter().rev().nth(1).copied();
    let depth = shapes[1][shapes[1].len().saturating_sub(2)];
    if depth != last {
        return Err(refuse());
    }
    let batches = [&shapes[0], &shapes[1]].map(|s| &s[..s.len().saturating_sub(2)]);
    let Some(products) = broadcast(batches[0], batches[1]) else { return Err(refuse()) };
    let mut output = products.clone();
    output.extend(rows);
    output.extend(columns);
    possible(&output)?;
    possible(&[depth])?;
    let mut inputs = Vec::new();
    let mut constants = [None, None];
    for (side, constant) in sides.into_iter().zip(&mut constants) {
        match side {
            Side::Value(v, _) => inputs.push(v),
            Side::Constant(Constant::Floats(t)) => *constant = Some(t),
            Side::Constant(Constant::Other(why)) => return Err(why),
            Side::Constant(Constant::Ints(_)) => {
                return Err("one side holds integers; wanted floats".into());
            }
        }
    }
    let action = match constants {
        [None, Some(weight)] if weight.shape().len() == 2 => Action::run(Linear::matmul(weight)),
        constants => {
            check_table("its products", &products)?;
            let sizes = [rows.unwrap_or(1), depth, columns.unwrap_or(1)];
            Action::run(Product::new(constants, sizes, batches, &products))
        }
    };
    Ok(Made { inputs, shape: output, action })
}
