//! ONNX files in and out.

mod array;
mod attributes;
pub(crate) mod build;
mod external;
mod fold;
mod limits;
mod operators;
mod preprocess;
mod proto;
mod read;
mod tensors;

#[cfg(feature = "convert")]
pub(crate) use proto::data_type;
#[cfg(test)]
pub(crate) use proto::{
    AttributeProto, Dim, NodeProto, OperatorSetId, ShapeProto, TensorType, TypeProto, ValueInfo,
};
pub(crate) use proto::{GraphProto, ModelProto, StringEntry, TensorProto};
pub(crate) use read::{decode, read};
pub(crate) use tensors::{float_tensor, floats, int_tensor};

/// Operator sets that Lots reads. Within them the operators that it has keep their meaning.
pub(crate) const OPSETS: std::ops::RangeInclusive<i64> = 13..=28;

/// Who writes our files.
pub(crate) const PRODUCER: &str = "lots";
/// The key of the last piece of our files: without it one is cut short.
pub(crate) const LAST_KEY: &str = "lots.complete";
/// The key of the layers that have an index, one name a line, from 1; without it they are the nodes with weights.
pub(crate) const LAYERS_KEY: &str = "lots.layers";
