//! Gemm and MatMul.

use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader};
use crate::graph::Action;
use crate::ops::linear::{GemmScales, Linear};
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
    let (v, shape) = reader.activation(node, 0)?;
    let weight = reader.weights(node, 1)?;
    let &[inputs, outputs] = weight.shape() else {
        return Err(format!("wanted a matrix of weights, found {}", show_shape(weight.shape())));
    };
    if shape.last() != Some(&inputs) {
        return Err(format!(
            "wanted {inputs} numbers on its last axis as its weights, found {}",
            show_shape(&shape)
        ));
    }
    let mut output = shape;
    output.pop();
    output.push(outputs);
    Ok(Made { inputs: vec![v], shape: output, action: Action::run(Linear::matmul(weight)) })
}
