//! Folders of IDX files, named as MNIST's are, or of Parquet files.

use std::collections::BTreeMap;
use std::path::Path;

use super::dataset::Dataset;
use super::idx::{Idx, read_idx};
use super::reference::Split;
use crate::error::{DataError, shown};

/// What follows `<prefix>-` in the names of IDX files, before a possible `.gz`.
const IMAGES: [&str; 4] =
    ["images-idx3-ubyte", "images.idx3-ubyte", "images-idx4-ubyte", "images.idx4-ubyte"];
const LABELS: [&str; 2] = ["labels-idx1-ubyte", "labels.idx1-ubyte"];

/// The files of one prefix, by name.
#[derive(Default)]
struct Files {
    images: Vec<String>,
    labels: Vec<String>,
}

/// The data set in the folder `dir`: the one of `split` if that is given, else the only one there is, else the one of
/// `prefer`. Also tells which split it is, where the name of the files says so.
pub(super) fn open_folder(
    dir: &Path,
    split: Option<Split>,
    prefer: Split,
    classes: usize,
) -> Result<(Dataset, Option<Split>), DataError> {
    let folder = shown(dir);
    #[cfg(feature = "sets")]
    if !super::parquet::parquet_files(dir)?.is_empty() {
        if let Some(split) = split {
            let problem =
                format!("holds Parquet files without splits, found :{split}; leave it away");
            return Err(DataError::content(folder, problem));
        }
        return Ok((super::parquet::open_parquet(dir, &folder, classes, None)?, None));
    }
    let mut sets = scan(dir)?;
    let orphans: Vec<String> =
        sets.values().filter(|f| f.images.is_empty()).flat_map(|f| f.labels.clone()).collect();
    sets.retain(|_, files| !files.images.is_empty());
    if sets.is_empty() {
        let problem = "holds no IDX images; wanted files named \
                       <prefix>-images-idx3-ubyte[.gz] and <prefix>-labels-idx1-ubyte[.gz], or *.parquet";
        return Err(DataError::content(folder, problem));
    }

    let held = sets.keys().cloned().collect::<Vec<_>>().join(", ");
    let wanted = if sets.len() == 1 { split } else { Some(split.unwrap_or(prefer)) };
    sets.retain(|prefix, _| wanted.is_none() || split_of(prefix) == wanted);
    let Some((prefix, files)) = sets.pop_first() else {
        let split = wanted.unwrap_or(prefer);
        return Err(DataError::content(
            folder,
            format!("holds no {split} images; it holds: {held}"),
        ));
    };
    if !sets.is_empty() {
        let problem =
            format!("holds several sets of images ({held}), wanted one; give each its own folder");
        return Err(DataError::content(folder, problem));
    }
    if files.labels.is_empty() && !orphans.is_empty() {
        let problem = format!(
            "holds no labels for {prefix}, but labels without images ({}); name them after {prefix}",
            orphans.join(", ")
        );
        return Err(DataError::content(folder, problem));
    }

    let images =
        read_one(dir, files.images)?.ok_or_else(|| DataError::read(&folder, "no images"))?;
    let labels = read_one(dir, files.labels)?;
    let split = split_of(&prefix);
    let name = split.map_or(folder.clone(), |split| format!("{folder}:{split}"));
    Ok((Dataset::from_idx(name, images, labels, classes)?, split))
}

/// The IDX files of the folder by prefix, in the order of their names.
fn scan(dir: &Path) -> Result<BTreeMap<String, Files>, DataError> {
    let mut sets: BTreeMap<String, Files> = BTreeMap::new();
    for entry in dir.read_dir().map_err(|e| DataError::read(shown(dir), e))? {
        let entry = entry.map_err(|e| DataError::read(shown(dir), e))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let bare = name.strip_suffix(".gz").unwrap_or(&name);
        let prefix = |ends: &[&str]| {
            let stem = ends.iter().find_map(|end| bare.strip_suffix(end)?.strip_suffix('-'))?;
            Some(stem.to_owned())
        };
        if let Some(prefix) = prefix(&IMAGES) {
            sets.entry(prefix).or_default().images.push(name);
        } else if let Some(prefix) = prefix(&LABELS) {
            sets.entry(prefix).or_default().labels.push(name);
        }
    }
    Ok(sets)
}

/// The split that the last word of a prefix tells: `train`, `t10k`, `test`, `emnist-letters-train`, …
fn split_of(prefix: &str) -> Option<Split> {
    match prefix.rsplit('-').next() {
        Some("train") => Some(Split::Train),
        Some("t10k" | "test") => Some(Split::Test),
        _ => None,
    }
}

/// Reads the one file among `names`; a file next to its own gzipped form counts once, and is read unpacked.
fn read_one(dir: &Path, names: Vec<String>) -> Result<Option<Idx>, DataError> {
    let is_copy = |name: &String| {
        name.strip_suffix(".gz").is_some_and(|bare| names.iter().any(|other| other == bare))
    };
    let mut kept: Vec<&String> = names.iter().filter(|name| !is_copy(name)).collect();
    kept.sort();
    match kept[..] {
        [] => Ok(None),
        [name] => read_idx(&dir.join(name)).map(Some),
        [first, second, ..] => {
            let problem = format!("holds both {first} and {second}, wanted one; remove the other");
            Err(DataError::content(shown(dir), problem))
        }
    }
}
