//! Writing an ONNX file whose parameters pass by piece by piece.

use std::io::{self, Write};

use prost::Message;

use super::vgg_face::Parameter;
use crate::onnx::{GraphProto, ModelProto, TensorProto, data_type};

/// Keys of length-delimited protobuf fields: number × 8 + 2.
const GRAPH: u8 = 7 << 3 | 2;
const INITIALIZER: u8 = 5 << 3 | 2;
const RAW_DATA: u8 = 9 << 3 | 2;

/// Numbers that go to the file at a time.
const PIECE: usize = 1 << 14;

/// Where the numbers of one parameter go: in order, in pieces of any length.
pub(super) type Take<'t> = &'t mut dyn FnMut(&[f32]) -> crate::Result<()>;

/// Writes `model` with `parameters` behind its own constants. `numbers` is asked for those of each parameter in turn, by its
/// position; `failed` makes the error of a write.
///
/// The bytes are those of the model encoded as a whole.
///
/// # Errors
/// Those of `numbers`, and of writes.
pub(super) fn write_model(
    mut model: ModelProto,
    parameters: &[Parameter],
    to: &mut dyn Write,
    failed: &dyn Fn(io::Error) -> crate::Error,
    numbers: &mut dyn FnMut(usize, Take<'_>) -> crate::Result<()>,
) -> crate::Result<()> {
    let mut graph = model.graph.take().unwrap_or_default();
    let ends = GraphProto {
        input: std::mem::take(&mut graph.input),
        output: std::mem::take(&mut graph.output),
        ..GraphProto::default()
    };
    let about = ModelProto {
        opset_import: std::mem::take(&mut model.opset_import),
        metadata_props: std::mem::take(&mut model.metadata_props),
        ..ModelProto::default()
    };
    let heads: Vec<Vec<u8>> = parameters.iter().map(head).collect();
    let initializers: usize = heads.iter().zip(parameters).map(|(h, p)| h.len() + bytes(p)).sum();

    let mut start = model.encode_to_vec();
    delimited(&mut start, GRAPH, graph.encoded_len() + initializers + ends.encoded_len());
    start.extend(graph.encode_to_vec());
    to.write_all(&start).map_err(failed)?;
    for (at, head) in heads.iter().enumerate() {
        to.write_all(head).map_err(failed)?;
        numbers(at, &mut |piece| {
            for part in piece.chunks(PIECE) {
                let bytes: Vec<u8> = part.iter().flat_map(|x| x.to_le_bytes()).collect();
                to.write_all(&bytes).map_err(failed)?;
            }
            Ok(())
        })?;
    }
    let mut end = ends.encode_to_vec();
    end.extend(about.encode_to_vec());
    to.write_all(&end).map_err(failed)
}

/// Bytes of the numbers of a parameter.
fn bytes(parameter: &Parameter) -> usize {
    parameter.elements() * size_of::<f32>()
}

/// All that stands in front of the numbers of a parameter, from the key of its field.
fn head(parameter: &Parameter) -> Vec<u8> {
    let tensor = TensorProto {
        dims: parameter.shape.iter().map(|&d| d as i64).collect(),
        data_type: data_type::FLOAT,
        name: parameter.to_string(),
        ..TensorProto::default()
    };
    let mut inside = tensor.encode_to_vec();
    delimited(&mut inside, RAW_DATA, bytes(parameter));
    let mut head = Vec::new();
    delimited(&mut head, INITIALIZER, inside.len() + bytes(parameter));
    head.extend(inside);
    head
}

/// The key and the length of a field.
fn delimited(to: &mut Vec<u8>, key: u8, length: usize) {
    to.push(key);
    // A vector takes any number of bytes.
    let _ = prost::encode_length_delimiter(length, to);
}
