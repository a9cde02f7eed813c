//! Constant arrays of an ONNX file.

use super::proto::{TensorProto, data_type};
use crate::tensor::Tensor;

/// What a constant holds.
#[derive(Clone, Debug)]
pub(crate) enum Constant {
    Floats(Tensor),
    Ints(Vec<i64>),
    /// Of a type that Lots does not compute with; what to say when something wants it.
    Other(String),
}

/// A constant array of floats as ONNX stores it.
pub(crate) fn float_tensor(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        data_type: data_type::FLOAT,
        name: name.to_owned(),
        raw_data: tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// A constant list of integers as ONNX stores it.
pub(crate) fn int_tensor(name: &str, data: &[i64]) -> TensorProto {
    TensorProto {
        dims: vec![data.len() as i64],
        data_type: data_type::INT64,
        name: name.to_owned(),
        raw_data: data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// Reads a constant; the error says what is wrong with it.
pub(super) fn constant(t: &TensorProto) -> Result<Constant, String> {
    let what = format!("constant \"{}\"", t.name);
    if t.data_location != 0 || !t.external_data.is_empty() {
        return Err(format!(
            "{what} lies in another file; save the network as one file (no external data)"
        ));
    }
    let shape: Option<Vec<usize>> = t.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let elements = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |n, &d| n.checked_mul(d)));
    let (Some(shape), Some(elements)) = (shape, elements) else {
        return Err(format!("{what} has the impossible shape {:?}", t.dims));
    };
    let check = |found: usize| {
        if found == elements {
            return Ok(());
        }
        Err(format!(
            "{what} of shape {:?} wants {elements} numbers, found {found}; the file is damaged",
            t.dims
        ))
    };
    match t.data_type {
        data_type::FLOAT => {
            let data: Vec<f32> = if t.raw_data.is_empty() {
                t.float_data.clone()
            } else {
                whole(&what, &t.raw_data, 4)?;
                t.raw_data
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect()
            };
            check(data.len())?;
            if let Some(at) = data.iter().position(|x| !x.is_finite()) {
                return Err(format!(
                    "{what} holds {} at position {at}; weights must be finite numbers: train or export again",
                    data[at]
                ));
            }
            Tensor::new(shape, data)
                .map(Constant::Floats)
                .ok_or_else(|| format!("{what} is damaged"))
        }
        data_type::INT64 => {
            let data: Vec<i64> = if t.raw_data.is_empty() {
                t.int64_data.clone()
            } else {
                whole(&what, &t.raw_data, 8)?;
                t.raw_data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect()
            };
            check(data.len())?;
            Ok(Constant::Ints(data))
        }
        data_type::BOOL => {
            let raw = t.raw_data.iter().map(|&b| i64::from(b != 0));
            let listed = t.int32_data.iter().map(|&b| i64::from(b != 0));
            let data: Vec<i64> =
                if t.raw_data.is_empty() { listed.collect() } else { raw.collect() };
            check(data.len())?;
            Ok(Constant::Ints(data))
        }
        other => Ok(Constant::Other(format!(
            "{what} holds {}; Lots computes with float32: export in float32",
            data_type::name(other)
        ))),
    }
}

fn whole(what: &str, bytes: &[u8], size: usize) -> Result<(), String> {
    if bytes.len().is_multiple_of(size) {
        return Ok(());
    }
    Err(format!(
        "{what} holds {} bytes, which is no multiple of {size}; the file is damaged",
        bytes.len()
    ))
}
