//! vgg_face_weights.h5: weights that Keras 2 saved in HDF5. `layer_names` of the file and `weight_names` of each layer list them
//! in the order of the network; layers may have any names.

use std::path::Path;
use std::sync::Arc;

use hdf5_reader::{Attribute, Dataset, Datatype, FileStorage, Hdf5File, OpenOptions, SliceInfo};
use hdf5_reader::{SliceInfoElem, error::Error as Hdf5Error};

use super::vgg_face::Parameter;
use super::write::Take;
use super::{REMEDY, Source, check_shape, missing, unknown};
use crate::error::{Error, Result};

/// The bytes that begin an HDF5 file.
pub(super) const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

/// Limits of what a damaged file can make the reader ask for: layers are listed in a few kilobytes, and nothing is larger than fc6.
const MAX_HEADER: usize = 1 << 20;
const MAX_READ: usize = 1 << 29;
const MAX_NAMES: u64 = 1000;

/// Outputs whose weights are gathered at a time.
const OUTPUTS: usize = 16;

/// The arrays of a file, in the order of the parameters.
pub(super) struct Keras {
    name: String,
    arrays: Vec<(Dataset, Parameter)>,
}

impl Keras {
    pub(super) fn open(path: &Path, name: &str, parameters: &[Parameter]) -> Result<Self> {
        let fail = |what: String| Error::Model { network: name.to_owned(), what };
        let file = open(path).map_err(|e| fail(damaged(&e)))?;
        let mut found = arrays(&file, parameters.len()).map_err(fail)?.into_iter();
        let arrays = parameters.iter().map(|parameter| {
            let array = found.next().ok_or_else(|| missing(parameter))?;
            check(&array, parameter, parameters)?;
            Ok((array.data, parameter.clone()))
        });
        let arrays = arrays.collect::<Result<_, String>>().map_err(fail)?;
        match found.next() {
            Some(Array { name, .. }) => Err(fail(unknown(&format!("array \"{name}\"")))),
            None => Ok(Self { name: name.to_owned(), arrays }),
        }
    }
}

impl Source for Keras {
    fn read(&mut self, at: usize, take: Take<'_>) -> Result<()> {
        let (data, parameter) = &self.arrays[at];
        let kept = numbers(data).map_err(|e| Error::Model {
            network: self.name.clone(),
            what: format!("{parameter}: {}", damaged(&e)),
        })?;
        let &[height, width, inputs, outputs] = parameter.keras_shape.as_slice() else {
            return take(&kept);
        };
        // [height, width, inputs, outputs] becomes [outputs, inputs, height, width].
        let pixels = height * width;
        let size = pixels * inputs;
        let mut gathered = vec![0.0; size * OUTPUTS.min(outputs)];
        for first in (0..outputs).step_by(OUTPUTS) {
            let count = OUTPUTS.min(outputs - first);
            for (at, row) in kept.chunks_exact(outputs).enumerate() {
                let (pixel, input) = (at / inputs, at % inputs);
                for (output, &x) in row[first..first + count].iter().enumerate() {
                    gathered[output * size + input * pixels + pixel] = x;
                }
            }
            take(&gathered[..count * size])?;
        }
        Ok(())
    }
}

fn damaged(error: &Hdf5Error) -> String {
    format!("wanted weights saved by Keras, but {error}: {REMEDY}")
}

fn open(path: &Path) -> Result<Hdf5File, Hdf5Error> {
    let options = OpenOptions::default()
        .with_chunk_cache_bytes(0)
        .with_max_object_header_bytes(MAX_HEADER)
        .with_max_read_bytes(MAX_READ);
    Hdf5File::from_storage_with_options(Arc::new(FileStorage::open(path)?), options)
}

/// An array of the file, and the layer that it is listed under.
struct Array {
    layer: String,
    name: String,
    data: Dataset,
}

/// The arrays of the file in the order in which Keras loads them, up to one more than `wanted`.
fn arrays(file: &Hdf5File, wanted: usize) -> Result<Vec<Array>, String> {
    let root = file.root_group().map_err(|e| damaged(&e))?;
    // A model that was saved as a whole has its weights in a group of their own.
    let root = root.group("model_weights").unwrap_or(root);
    let mut all = Vec::new();
    for layer in names(root.attribute("layer_names")).map_err(|e| damaged(&e))? {
        let group = root.group(&layer).map_err(|e| damaged(&e))?;
        for name in names(group.attribute("weight_names")).map_err(|e| damaged(&e))? {
            if all.len() > wanted {
                return Ok(all);
            }
            // A name is a path within the group of its layer.
            let (folder, last) = match name.rsplit_once('/') {
                Some((folder, last)) => (group.group(folder), last),
                None => (Ok(group.clone()), name.as_str()),
            };
            let data = folder.and_then(|folder| folder.dataset(last)).map_err(|e| damaged(&e))?;
            all.push(Array { layer: layer.clone(), name, data });
        }
    }
    Ok(all)
}

/// The names that an attribute lists.
fn names(attribute: Result<Attribute, Hdf5Error>) -> Result<Vec<String>, Hdf5Error> {
    let attribute = attribute?;
    match attribute.num_elements()? {
        // An empty list is not one of texts.
        0 => Ok(Vec::new()),
        n if n > MAX_NAMES => Err(Hdf5Error::ResourceLimit(format!("a list has {n} names"))),
        _ => attribute.read_strings(),
    }
}

/// Refuses an array that is not `parameter`.
fn check(array: &Array, parameter: &Parameter, parameters: &[Parameter]) -> Result<(), String> {
    let Array { layer, name, data } = array;
    // Layers may have any names, but those of VGG Face only in their places.
    if *layer != parameter.layer && parameters.iter().any(|p| p.layer == *layer) {
        return Err(format!(
            "wanted {parameter}, found \"{name}\" in its place; another network: {REMEDY}"
        ));
    }
    let shape: Vec<usize> =
        data.shape().iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
    check_shape(parameter, &parameter.keras_shape, &shape)?;
    if !matches!(data.dtype(), Datatype::FloatingPoint { size: 4, .. }) {
        return Err(format!(
            "{parameter}: wanted numbers of type float32, found another type; save it as float32"
        ));
    }
    Ok(())
}

/// The numbers of an array as the file has them. Weights are read by their first axis, because the reader holds twice what it
/// reads at a time.
fn numbers(data: &Dataset) -> Result<Vec<f32>, Hdf5Error> {
    let rows = match data.shape() {
        &[rows, _, _, _] => rows,
        _ => return Ok(data.read_array::<f32>()?.into_raw_vec_and_offset().0),
    };
    let mut numbers = Vec::with_capacity(usize::try_from(data.num_elements()?).unwrap_or(0));
    for row in 0..rows {
        let mut part = SliceInfo::all(data.ndim());
        part.selections[0] = SliceInfoElem::Slice { start: row, end: row + 1, step: 1 };
        numbers.extend_from_slice(&data.read_slice::<f32>(&part)?.into_raw_vec_and_offset().0);
    }
    Ok(numbers)
}
