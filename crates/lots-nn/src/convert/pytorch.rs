//! vgg_face_dag.pth: the state dict of a PyTorch module, as `torch.save` writes it since 1.6 (a zip archive) or wrote it before
//! (pickles followed by arrays). Nothing of a pickle is executed: the reader knows tensors and dictionaries.

use std::path::Path;

use pytorch_reader::{DType, PytorchReader, Tensor};

use super::vgg_face::Parameter;
use super::write::Take;
use super::{REMEDY, Source, check_shape, missing, unknown};
use crate::error::{Error, Result};

/// The number that begins a file from before 1.6, as pickle's protocol 2 writes it.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const ZIP: &[u8] = b"PK\x03\x04";

/// Numbers handed over at a time.
const PIECE: usize = 1 << 14;

/// Whether a file begins as one of the two formats does. The reader would take a file that is a tar archive besides for that.
pub(super) fn recognises(head: &[u8]) -> bool {
    let tar = head.get(257..262) == Some(b"ustar");
    (head.starts_with(ZIP) || head.starts_with(MAGIC)) && !tar
}

/// The tensors of a file, in the order of the parameters.
pub(super) struct PyTorch {
    name: String,
    tensors: Vec<Tensor>,
}

impl PyTorch {
    pub(super) fn open(path: &Path, name: &str, parameters: &[Parameter]) -> Result<Self> {
        let fail = |what: String| Error::Model { network: name.to_owned(), what };
        let reader = PytorchReader::new(path)
            .map_err(|e| fail(format!("wanted weights saved by PyTorch, but {e}: {REMEDY}")))?;
        let mut found = reader.into_tensors();
        let tensors = parameters.iter().map(|parameter| {
            let tensor = found.remove(&parameter.to_string()).ok_or_else(|| missing(parameter))?;
            check_shape(parameter, &parameter.shape, tensor.shape())?;
            if tensor.dtype() != DType::F32 {
                let dtype = tensor.dtype();
                return Err(format!(
                    "{parameter}: wanted numbers of type F32, found {dtype:?}; save it as float32"
                ));
            }
            Ok(tensor)
        });
        let tensors = tensors.collect::<Result<_, String>>().map_err(fail)?;
        match found.into_keys().min() {
            Some(other) => Err(fail(unknown(&format!("tensor \"{other}\"")))),
            None => Ok(Self { name: name.to_owned(), tensors }),
        }
    }
}

impl Source for PyTorch {
    fn read(&mut self, at: usize, take: Take<'_>) -> Result<()> {
        let bytes = self.tensors[at].read().map_err(|e| Error::Model {
            network: self.name.clone(),
            what: format!("{e}; the file is damaged: {REMEDY}"),
        })?;
        for piece in bytes.as_chunks::<4>().0.chunks(PIECE) {
            let numbers: Vec<f32> = piece.iter().map(|b| f32::from_ne_bytes(*b)).collect();
            take(&numbers)?;
        }
        Ok(())
    }
}
