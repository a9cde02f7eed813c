//! From a node to the operator that computes it: shapes and attributes are checked here, one file a family.

mod conv;
mod conv_transpose;
mod elementwise;
mod linear;
mod normalize;
mod pool;
mod reduce;
mod resize;
mod shape;
mod unary;

pub(super) use shape::{Output, arrange, arranges, floats};

use super::attributes::Attributes;
use super::proto::NodeProto;
use super::read::{Made, Reader};
use crate::ops::reduce::Fold;

/// What `node` computes; constants only out of constants.
pub(super) fn build(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Vec<Output>, String> {
    if arranges(&node.op_type) {
        return arrange(reader, node, a);
    }
    compute(reader, node, a).map(|made| vec![Output::Value(made)])
}

/// An operator that does arithmetic.
fn compute(reader: &Reader<'_>, node: &NodeProto, a: &Attributes<'_>) -> Result<Made, String> {
    if let Some(made) = unary::unary(reader, node, a)? {
        return Ok(made);
    }
    match node.op_type.as_str() {
        "Conv" => conv::conv(reader, node, a),
        "ConvTranspose" => conv_transpose::conv_transpose(reader, node, a),
        "MaxPool" | "AveragePool" => pool::pool(reader, node, a),
        "GlobalAveragePool" => reduce::global_pool(reader, node, "GlobalAveragePool", Fold::Mean),
        "GlobalMaxPool" => reduce::global_pool(reader, node, "GlobalMaxPool", Fold::Max),
        "Gemm" => linear::gemm(reader, node, a),
        "MatMul" => linear::matmul(reader, node),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "PRelu" => elementwise::binary(reader, node),
        "Min" | "Max" | "Sum" | "Mean" => elementwise::variadic(reader, node),
        "Softmax" | "LogSoftmax" => elementwise::softmax(reader, node, a),
        "BatchNormalization" => normalize::batch(reader, node, a),
        "InstanceNormalization" | "GroupNormalization" => normalize::groups(reader, node, a),
        "LayerNormalization" | "RMSNormalization" => normalize::layer(reader, node, a),
        "LpNormalization" => normalize::lp(reader, node, a),
        "LRN" => normalize::lrn(reader, node, a),
        "Cast" => elementwise::cast(reader, node, a),
        "Resize" => resize::resize(reader, node, a),
        op => match reduce::fold_of(op) {
            Some(fold) => reduce::reduce(reader, node, a, fold),
            None => Err(unsupported(op)),
        },
    }
}

/// Why there is nothing for an operator.
fn unsupported(operator: &str) -> String {
    let draws = ["RandomNormal", "RandomUniform", "Bernoulli", "Multinomial"];
    if draws.iter().any(|name| operator.starts_with(name)) {
        return "it draws random numbers, so that every call gives another result; export for inference (model.eval())"
            .into();
    }
    "this operator is not supported".into()
}
