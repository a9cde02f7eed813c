//! Constant arrays of an ONNX file.

use super::array::Array;
use super::proto::{TensorProto, data_type};
use crate::tensor::Tensor;

/// What a constant holds.
#[derive(Clone, Debug)]
pub(crate) enum Constant {
    Floats(Tensor),
    /// Integers of any width, or booleans as 0 and 1.
    Ints(Array<i64>),
    /// Of a type that Lots does not compute with; what to say when something wants it.
    Other(String),
}

impl Constant {
    pub(crate) fn elements(&self) -> usize {
        match self {
            Self::Floats(t) => t.data().len(),
            Self::Ints(a) => a.data.len(),
            Self::Other(_) => 0,
        }
    }
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
    if super::external::is_external(t) {
        return Err(format!(
            "{what} lies in another file; open the network by its path, or save it as one file (no external data)"
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
        data_type::INT64 if t.raw_data.is_empty() => {
            check(t.int64_data.len())?;
            Ok(Constant::Ints(Array { shape, data: t.int64_data.clone() }))
        }
        kind => {
            let Some(size) = integer_size(kind) else {
                return Ok(Constant::Other(format!(
                    "{what} holds {}; Lots computes with float32: export in float32",
                    data_type::name(kind)
                )));
            };
            let number = |bytes: &[u8]| integer(kind, bytes);
            let data: Vec<i64> = if t.raw_data.is_empty() {
                t.int32_data.iter().map(|x| number(&x.to_le_bytes()[..size])).collect()
            } else {
                whole(&what, &t.raw_data, size)?;
                t.raw_data.chunks_exact(size).map(number).collect()
            };
            check(data.len())?;
            Ok(Constant::Ints(Array { shape, data }))
        }
    }
}

/// Bytes of one integer of a data type.
fn integer_size(kind: i32) -> Option<usize> {
    match kind {
        data_type::BOOL | data_type::UINT8 | data_type::INT8 => Some(1),
        data_type::INT32 => Some(4),
        data_type::INT64 => Some(8),
        _ => None,
    }
}

/// One integer of a data type.
fn integer(kind: i32, bytes: &[u8]) -> i64 {
    match (kind, bytes) {
        (data_type::BOOL, &[b]) => i64::from(b != 0),
        (data_type::INT8, &[b]) => i64::from(i8::from_le_bytes([b])),
        (_, &[a, b, c, d]) => i64::from(i32::from_le_bytes([a, b, c, d])),
        (_, &[a, b, c, d, e, f, g, h]) => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        (_, bytes) => i64::from(bytes[0]),
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
