//! Constants that lie in files beside the network's (ONNX: docs/ExternalData.md).

use super::proto::{ModelProto, StringEntry, TensorProto};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// What to do about a file that is not there.
const REMEDY: &str = "put it beside the network, or export with external_data=False";

/// Bytes that are read at a time.
const PIECE: usize = 1 << 18;

/// Whether the numbers of `tensor` lie in another file.
pub(super) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location != 0 || !tensor.external_data.is_empty()
}

/// The files beside a network, and where in them its constants lie. What they hold is read when it is wanted.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// By location.
    open: HashMap<String, Open>,
    /// By the constant's name.
    places: HashMap<String, Place>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    /// How many of its bytes no constant has had.
    left: u64,
}

/// Some bytes of a file.
#[derive(Clone, Debug)]
struct Place {
    location: String,
    offset: u64,
    length: usize,
}

impl Files {
    /// Finds the constants of `model` that lie in other files; `folder` is the network's. Those of nodes are fetched.
    pub(super) fn find(model: &mut ModelProto, folder: &Path) -> Result<Self, String> {
        let mut files = Self::default();
        let Some(graph) = &mut model.graph else { return Ok(files) };
        for tensor in graph.initializer.iter().filter(|t| is_external(t)) {
            let place = files.place(tensor, folder)?;
            files.places.insert(tensor.name.clone(), place);
        }
        let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
        for tensor in attributes.filter_map(|a| a.t.as_mut()).filter(|t| is_external(t)) {
            let place = files.place(tensor, folder)?;
            files.fetch(tensor, &place)?;
        }
        Ok(files)
    }

    /// Where the bytes of `tensor` lie; its file is there, and long enough.
    fn place(&mut self, tensor: &TensorProto, folder: &Path) -> Result<Place, String> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key);
        let refuse = |what: String| format!("constant \"{}\" {what}", tensor.name);
        let number = |key: &str| {
            let parse = |e: &StringEntry| {
                let wrong = || {
                    format!("has {key} \"{}\", wanted a number of bytes; export it again", e.value)
                };
                e.value.parse::<u64>().map_err(|_| refuse(wrong()))
            };
            entry(key).map(parse).transpose()
        };
        let Some(StringEntry { value: location, .. }) = entry("location") else {
            let what = "lies in another file, but does not say in which; export it again";
            return Err(refuse(what.to_owned()));
        };
        let refuse = |what: String| refuse(format!("lies in \"{location}\", {what}"));
        let open = match self.open.get_mut(location) {
            Some(open) => open,
            None => {
                let open = open(folder, location).map_err(refuse)?;
                self.open.entry(location.clone()).or_insert(open)
            }
        };
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(open.length.saturating_sub(offset));
        if offset.checked_add(length).is_none_or(|end| end > open.length) {
            return Err(refuse(format!(
                "{length} bytes from byte {offset} on, but that file has {} bytes; copy it again",
                open.length
            )));
        }
        // Each byte once, so that no small file asks for much memory.
        open.left = open.left.checked_sub(length).ok_or_else(|| {
            refuse(
                "where the constants together take more bytes than it has; export it again".into(),
            )
        })?;
        let length =
            usize::try_from(length).map_err(|_| refuse("too large for this machine".into()))?;
        Ok(Place { location: location.clone(), offset, length })
    }

    /// Bytes of all constants in other files.
    pub(super) fn bytes(&self) -> usize {
        self.places.values().fold(0, |sum, place| sum.saturating_add(place.length))
    }

    /// The bytes of constant `name`, to be read; `None` if it lies in no other file.
    pub(super) fn bytes_of<'a>(&'a self, name: &str) -> Option<Bytes<'a>> {
        let place = self.places.get(name)?;
        self.bytes_at(place)
    }

    fn bytes_at<'a>(&'a self, place: &'a Place) -> Option<Bytes<'a>> {
        let open = self.open.get(&place.location)?;
        Some(Bytes { file: &open.file, place })
    }

    /// Puts the bytes at `place` into `tensor`.
    fn fetch(&self, tensor: &mut TensorProto, place: &Place) -> Result<(), String> {
        let refuse = |what: String| format!("constant \"{}\" {what}", tensor.name);
        if let Some(bytes) = self.bytes_at(place) {
            tensor.raw_data = bytes.all().map_err(refuse)?;
        }
        tensor.data_location = 0;
        tensor.external_data.clear();
        Ok(())
    }

    /// Fetches the constants of `model` that no operator has as its parameters, which `kept` says.
    pub(super) fn fetch_others(
        &self,
        model: &mut ModelProto,
        kept: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let Some(graph) = &mut model.graph else { return Ok(()) };
        for tensor in &mut graph.initializer {
            let Some(place) = self.places.get(&tensor.name) else { continue };
            if kept(&tensor.name) {
                tensor.data_location = 0;
                tensor.external_data.clear();
            } else {
                self.fetch(tensor, place)?;
            }
        }
        Ok(())
    }
}

/// A constant's bytes in a file.
pub(super) struct Bytes<'a> {
    file: &'a File,
    place: &'a Place,
}

impl Bytes<'_> {
    pub(super) fn length(&self) -> usize {
        self.place.length
    }

    pub(super) fn all(&self) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; self.length()];
        self.start().and_then(|mut file| file.read_exact(&mut bytes)).map_err(|e| self.fail(&e))?;
        Ok(bytes)
    }

    /// As many floats as there are, without the bytes beside them in memory.
    pub(super) fn floats(&self) -> Result<Vec<f32>, String> {
        let mut floats = Vec::with_capacity(self.length() / 4);
        let mut piece = vec![0; PIECE.min(self.length())];
        let mut read = || {
            let mut file = self.start()?;
            while floats.len() < self.length() / 4 {
                let bytes = piece.len().min(self.length() - 4 * floats.len());
                file.read_exact(&mut piece[..bytes])?;
                floats.extend(piece[..bytes].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)));
            }
            Ok(())
        };
        read().map_err(|e| self.fail(&e))?;
        Ok(floats)
    }

    fn start(&self) -> io::Result<&File> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(self.place.offset))?;
        Ok(file)
    }

    fn fail(&self, e: &io::Error) -> String {
        format!("lies in \"{}\", which cannot be read: {e}; {REMEDY}", self.place.location)
    }
}

/// Opens a file of the network's folder, and no other.
fn open(folder: &Path, location: &str) -> Result<Open, String> {
    let outside = || {
        "which is no place within the network's folder; copy that file beside the network and export with its \
         name as location"
            .to_owned()
    };
    let path = Path::new(location);
    let plain = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if location.is_empty() || !plain {
        return Err(outside());
    }
    let missing = |e: std::io::Error| format!("which cannot be read: {e}; {REMEDY}");
    // Links are followed before the comparison.
    let (folder, path): (PathBuf, PathBuf) = folder
        .canonicalize()
        .and_then(|folder| Ok((folder.clone(), folder.join(path).canonicalize()?)))
        .map_err(missing)?;
    if !path.starts_with(&folder) {
        return Err(outside());
    }
    let file = File::open(&path).map_err(missing)?;
    let about = file.metadata().map_err(missing)?;
    if !about.is_file() {
        return Err(format!("which is no file; {REMEDY}"));
    }
    Ok(Open { file, length: about.len(), left: about.len() })
}
