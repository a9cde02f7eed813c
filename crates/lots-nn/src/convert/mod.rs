//! Weights of VGG Face in the formats in which it is published, written as ONNX.
//!
//! One file for each format, which finds and checks the parameters and hands their numbers over in the order of ONNX.

mod caffe;
mod keras;
mod protobuf;
mod pytorch;
#[cfg(test)]
mod tests;
mod vgg_face;
mod write;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::tensor::show_shape;
use vgg_face::{Channels, PUBLISHED, Parameter, Widths};
use write::{Take, write_model};

/// What to do about a file that is not as it should be.
const REMEDY: &str = "download VGG Face again";

/// Bytes at the start of a file that tell its format.
const HEAD: u64 = 512;

/// A file of weights of VGG Face, found to be complete, ready to be written as ONNX.
///
/// Read are Caffe's `VGG_FACE.caffemodel`, PyTorch's `vgg_face_dag.pth` (as PyTorch saves it, before 1.6 and since), and Keras'
/// `vgg_face_weights.h5`. Weights stay in the file until they are written, one parameter at a time.
pub struct VggFace {
    /// The file, for messages.
    name: String,
    widths: Widths,
    format: Format,
    parameters: Vec<Parameter>,
    source: Box<dyn Source>,
    class_names: Option<Vec<String>>,
}

/// Weights in a file.
trait Source {
    /// Hands the numbers of the parameter at position `at` over to `take`, in the order of ONNX.
    fn read(&mut self, at: usize, take: Take<'_>) -> Result<()>;
}

/// What a file of weights may be.
#[derive(Clone, Copy)]
enum Format {
    Caffe,
    PyTorch,
    Keras,
}

impl VggFace {
    /// Opens a file of weights; what it is shows from its content. Names, shapes and types of all parameters are checked.
    ///
    /// # Errors
    /// When the file cannot be read, is none of the formats, or is not VGG Face.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_of(path.as_ref(), PUBLISHED)
    }

    fn open_of(path: &Path, widths: Widths) -> Result<Self> {
        let name = path.display().to_string();
        let format = Format::of(path, &name)?;
        let parameters = widths.parameters();
        let source: Box<dyn Source> = match format {
            Format::Caffe => Box::new(caffe::Caffe::open(path, &name, &parameters)?),
            Format::PyTorch => Box::new(pytorch::PyTorch::open(path, &name, &parameters)?),
            Format::Keras => Box::new(keras::Keras::open(path, &name, &parameters)?),
        };
        Ok(Self { name, widths, format, parameters, source, class_names: None })
    }

    /// Who writes files of this format: "Caffe", "PyTorch" or "Keras".
    pub fn format(&self) -> &'static str {
        match self.format {
            Format::Caffe => "Caffe",
            Format::PyTorch => "PyTorch",
            Format::Keras => "Keras",
        }
    }

    /// Weights and biases of all layers.
    pub fn parameters(&self) -> usize {
        self.parameters.iter().map(Parameter::elements).sum()
    }

    /// Classes that the network tells apart.
    pub fn classes(&self) -> usize {
        self.widths.classes
    }

    /// Gives the classes names, which go into the metadata of the network that is written.
    ///
    /// # Errors
    /// When there are not as many names as classes.
    pub fn name_classes(&mut self, names: Vec<String>) -> Result<()> {
        let (wanted, found) = (self.widths.classes, names.len());
        if found != wanted {
            let what =
                format!("wanted {wanted} class names, one a class of VGG Face, found {found}");
            return Err(Error::Request(what));
        }
        self.class_names = Some(names);
        Ok(())
    }

    /// Writes the network as ONNX to `to`, which messages call `name`. It takes images [N, 3, 224, 224], red, green and blue of
    /// 0–255, and gives the logits [N, 2622]. `progress` is told how many parameters are written.
    ///
    /// # Errors
    /// When the file turns out to be damaged or to hold numbers that are not finite, or `to` fails. What was written by then
    /// is no network.
    pub fn write_onnx(
        &mut self,
        to: &mut dyn Write,
        name: &str,
        progress: &mut dyn FnMut(usize),
    ) -> Result<()> {
        let channels = match self.format {
            Format::Caffe => Channels::Bgr,
            Format::PyTorch | Format::Keras => Channels::Rgb,
        };
        let Self { name: file, parameters, source, widths, class_names, .. } = self;
        let failed = |e: std::io::Error| Error::File {
            action: "write",
            path: name.to_owned(),
            reason: e.to_string(),
        };
        let mut written = 0;
        let model = widths.model(channels, class_names.as_deref());
        write_model(model, parameters, to, &failed, &mut |at, take| {
            let parameter = &parameters[at];
            let mut position = 0;
            source.read(at, &mut |piece: &[f32]| {
                if let Some(i) = piece.iter().position(|x| !x.is_finite()) {
                    let (value, position) = (piece[i], position + i);
                    let what = format!(
                        "{parameter} holds {value} at position {position}; weights must be finite numbers: {REMEDY}"
                    );
                    return Err(Error::Model { network: file.clone(), what });
                }
                position += piece.len();
                take(piece)?;
                written += piece.len();
                progress(written);
                Ok(())
            })?;
            if position != parameter.elements() {
                let wanted = parameter.elements();
                let what = format!(
                    "{parameter}: wanted {wanted} numbers, found {position}; the file is damaged: {REMEDY}"
                );
                return Err(Error::Model { network: file.clone(), what });
            }
            Ok(())
        })
    }
}

impl Format {
    /// The format of a file, by its first bytes.
    fn of(path: &Path, name: &str) -> Result<Self> {
        let mut head = Vec::new();
        File::open(path)
            .and_then(|file| file.take(HEAD).read_to_end(&mut head))
            .map_err(|e| cannot_read(name, &e))?;
        let known = "a Caffe, PyTorch or Keras file of VGG Face";
        let fail = |what: String| Err(Error::Model { network: name.to_owned(), what });
        if head.is_empty() {
            fail(format!("the file is empty; wanted {known}: {REMEDY}"))
        } else if head.starts_with(b"MATLAB") {
            fail(format!(
                "a MATLAB file, which Lots does not read; wanted {known}: download one of those"
            ))
        } else if head.starts_with(keras::SIGNATURE) {
            Ok(Self::Keras)
        } else if pytorch::recognises(&head) {
            Ok(Self::PyTorch)
        } else if caffe::recognises(&head) {
            Ok(Self::Caffe)
        } else {
            fail(format!(
                "wanted {known} (VGG_FACE.caffemodel, vgg_face_dag.pth, vgg_face_weights.h5), found something else: {REMEDY}"
            ))
        }
    }
}

fn cannot_read(name: &str, error: &std::io::Error) -> Error {
    Error::File { action: "read", path: name.to_owned(), reason: error.to_string() }
}

/// What to say of a file that misses a parameter.
fn missing(parameter: &Parameter) -> String {
    format!("no {parameter}, which VGG Face has; found another network or a damaged file: {REMEDY}")
}

/// What to say of a parameter that VGG Face does not have.
fn unknown(what: &str) -> String {
    format!("{what} is not part of VGG Face; found another network: {REMEDY}")
}

/// Refuses a parameter of another shape.
fn check_shape(parameter: &Parameter, wanted: &[usize], found: &[usize]) -> Result<(), String> {
    if wanted == found {
        return Ok(());
    }
    let (wanted, found) = (show_shape(wanted), show_shape(found));
    Err(format!("{parameter}: wanted {wanted}, found {found}; another network: {REMEDY}"))
}
