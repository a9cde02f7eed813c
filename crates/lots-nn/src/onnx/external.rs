//! Constants that lie in files beside the network's (ONNX: docs/ExternalData.md).

use super::proto::{ModelProto, StringEntry, TensorProto};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// What to do about a file that is not there.
const REMEDY: &str = "put it beside the network, or export with external_data=False";

/// Fetches all constants of `model` that lie in other files; `folder` is the network's.
pub(super) fn fetch(model: &mut ModelProto, folder: &Path) -> Result<(), String> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    let tensors = graph.initializer.iter_mut().chain(attributes.filter_map(|a| a.t.as_mut()));
    let mut files = Files { folder, open: HashMap::new() };
    for tensor in tensors.filter(|t| is_external(t)) {
        let name = format!("constant \"{}\"", tensor.name);
        tensor.raw_data = files.read(tensor).map_err(|what| format!("{name} {what}"))?;
        tensor.data_location = 0;
        tensor.external_data.clear();
    }
    Ok(())
}

/// Whether the numbers of `tensor` lie in another file.
pub(super) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location != 0 || !tensor.external_data.is_empty()
}

/// The files beside a network.
struct Files<'a> {
    folder: &'a Path,
    /// By location: the file, its length, and how many of its bytes no constant has had.
    open: HashMap<String, Open>,
}

struct Open {
    file: File,
    length: u64,
    left: u64,
}

impl Files<'_> {
    fn read(&mut self, tensor: &TensorProto) -> Result<Vec<u8>, String> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key);
        let number = |key: &str| {
            let parse = |e: &StringEntry| {
                let wrong = || {
                    format!("has {key} \"{}\", wanted a number of bytes; export it again", e.value)
                };
                e.value.parse::<u64>().map_err(|_| wrong())
            };
            entry(key).map(parse).transpose()
        };
        let Some(StringEntry { value: location, .. }) = entry("location") else {
            return Err("lies in another file, but does not say in which; export it again".into());
        };
        let refuse = |what: String| format!("lies in \"{location}\", {what}");
        let open = match self.open.get_mut(location) {
            Some(open) => open,
            None => {
                let open = open(self.folder, location).map_err(refuse)?;
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
        let mut bytes = vec![0; length];
        let read =
            open.file.seek(SeekFrom::Start(offset)).and_then(|_| open.file.read_exact(&mut bytes));
        read.map_err(|e| refuse(format!("which cannot be read: {e}; {REMEDY}")))?;
        Ok(bytes)
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
