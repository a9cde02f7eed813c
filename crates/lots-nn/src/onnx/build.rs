//! Pieces of the ONNX files that we make ourselves.

use super::proto::{
    AttributeProto, Dim, GraphProto, ModelProto, NodeProto, OperatorSetId, ShapeProto, StringEntry,
    TensorType, TypeProto, ValueInfo, data_type,
};
use super::{LAST_KEY, PRODUCER};

/// Operator set of files that we write: every current runtime and loader reads it.
const OPSET: i64 = 18;

/// An attribute that is one integer.
pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, kind: 2, ..AttributeProto::default() }
}

/// An attribute that is a list of integers.
pub(crate) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.to_vec(), kind: 7, ..AttributeProto::default() }
}

/// A node with one output.
pub(crate) fn node(
    name: &str,
    operator: &str,
    inputs: &[&str],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.to_owned()],
        name: name.to_owned(),
        op_type: operator.to_owned(),
        attribute,
        ..NodeProto::default()
    }
}

/// A node that takes the constants `parameters`.weight and `parameters`.bias.
pub(crate) fn weighted(
    name: &str,
    operator: &str,
    input: &str,
    parameters: &str,
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    let (weight, bias) = (format!("{parameters}.weight"), format!("{parameters}.bias"));
    node(name, operator, &[input, &weight, &bias], output, attribute)
}

/// A maximum over windows of 2×2 pixels, side by side.
pub(crate) fn halve(name: &str, input: &str, output: &str) -> NodeProto {
    let window = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    node(name, "MaxPool", &[input], output, window)
}

/// A value of floats [N, shape], N free.
pub(crate) fn value(name: &str, shape: &[usize]) -> ValueInfo {
    let free = Dim { value: None, param: Some("N".into()) };
    let sizes = shape.iter().map(|&d| Dim { value: Some(d as i64), param: None });
    let shape = ShapeProto { dim: std::iter::once(free).chain(sizes).collect() };
    let tensor = TensorType { elem_type: data_type::FLOAT, shape: Some(shape) };
    ValueInfo { name: name.to_owned(), kind: Some(TypeProto { tensor: Some(tensor) }) }
}

/// A file of ours around `graph`, which takes pixels 0–255 of the ONNX pixel format `pixels`; `metadata` is (key, value).
pub(crate) fn model(graph: GraphProto, pixels: &str, metadata: &[(&str, String)]) -> ModelProto {
    let entry = |key: &str, value: &str| StringEntry { key: key.into(), value: value.into() };
    let mut metadata_props = vec![
        entry("Image.BitmapPixelFormat", pixels),
        entry("Image.NominalPixelRange", "NominalRange_0_255"),
    ];
    metadata_props.extend(metadata.iter().map(|(key, value)| entry(key, value)));
    metadata_props.push(entry(LAST_KEY, "yes"));
    ModelProto {
        ir_version: 8,
        producer_name: PRODUCER.into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![OperatorSetId { domain: String::new(), version: OPSET }],
        metadata_props,
        ..ModelProto::default()
    }
}
