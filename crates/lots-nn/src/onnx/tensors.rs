//! Constant arrays of an ONNX file.

use super::array::Array;
use super::external::{Bytes, is_external};
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
    floats(name, tensor.shape().iter().map(|&d| d as i64).collect(), tensor.data())
}

/// A constant array of floats of the shape `dims`.
pub(crate) fn floats(name: &str, dims: Vec<i64>, data: &[f32]) -> TensorProto {
    TensorProto {
        dims,
        data_type: data_type::FLOAT,
        name: name.to_owned(),
        raw_data: data.iter().flat_map(|x| x.to_le_bytes()).collect(),
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

/// Reads a constant, whose bytes are perhaps `elsewhere`; the error says what is wrong with it.
pub(super) fn constant(t: &TensorProto, elsewhere: Option<Bytes<'_>>) -> Result<Constant, String> {
    let what = format!("constant \"{}\"", t.name);
    if is_external(t) && elsewhere.is_none() {
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
            let data: Vec<f32> = match elsewhere {
                Some(bytes) => {
                    whole(&what, bytes.length(), 4)?;
                    check(bytes.length() / 4)?;
                    bytes.floats().map_err(|e| format!("{what} {e}"))?
                }
                None if t.raw_data.is_empty() => t.float_data.clone(),
                None => {
                    whole(&what, t.raw_data.len(), 4)?;
                    t.raw_data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
                }
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
        data_type::INT64 if t.raw_data.is_empty() && elsewhere.is_none() => {
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
            let fetched = elsewhere.map(|bytes| bytes.all()).transpose();
            let fetched = fetched.map_err(|e| format!("{what} {e}"))?;
            let bytes = fetched.as_ref().unwrap_or(&t.raw_data);
            let data: Vec<i64> = if bytes.is_empty() {
                t.int32_data.iter().map(|x| number(&x.to_le_bytes()[..size])).collect()
            } else {
                whole(&what, bytes.len(), size)?;
                bytes.chunks_exact(size).map(number).collect()
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

fn whole(what: &str, bytes: usize, size: usize) -> Result<(), String> {
    if bytes.is_multiple_of(size) {
        return Ok(());
    }
    Err(format!("{what} holds {bytes} bytes, which is no multiple of {size}; the file is damaged"))
}
