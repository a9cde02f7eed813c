//! From a node to the operator that computes it: shapes and attributes are checked here, one file a family.

mod conv;
mod elementwise;
mod linear;
mod pool;
mod shape;

pub(super) use shape::{Output, arrange, arranges, floats};

use super::attributes::Attributes;
use super::proto::NodeProto;
use super::read::{Made, Reader};

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
    match node.op_type.as_str() {
        "Conv" => conv::conv(reader, node, a),
        "MaxPool" | "AveragePool" => pool::pool(reader, node, a),
        "GlobalAveragePool" => pool::global_average(reader, node),
        "Gemm" => linear::gemm(reader, node, a),
        "MatMul" => linear::matmul(reader, node),
        "Add" | "Sub" | "Mul" | "Div" => elementwise::binary(reader, node),
        "Relu" => elementwise::relu(reader, node),
        "Softmax" => elementwise::softmax(reader, node, a),
        "Cast" => elementwise::cast(reader, node, a),
        _ => Err("this operator is not supported".into()),
    }
}
