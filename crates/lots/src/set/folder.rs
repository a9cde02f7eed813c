//! The folder of a set: what was asked for, and the shards that are there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::plan::Plan;
use super::sample::{Counts, Facts};
use super::shard::{self, Common};
use crate::data::parquet::parquet_files;
use crate::error::{DataError, Error, shown};
use crate::file::write_file;
use crate::image::Image;

/// What was asked for. Readers of Parquet folders pass over what begins with an underscore.
const SETTINGS: &str = "_set.json";
const REMEDY: &str = "give another --out, or --force to start anew";

/// Whether `folder` holds a set, or a part of one.
pub fn is_set(folder: &Path) -> bool {
    folder.join(SETTINGS).exists()
}

/// What the set in `folder` was asked for, as JSON; `None` where there is none.
///
/// # Errors
/// When it cannot be read.
pub fn set_settings(folder: &Path) -> Result<Option<String>, DataError> {
    let path = folder.join(SETTINGS);
    if !path.exists() {
        return Ok(None);
    }
    fs::read_to_string(&path).map(Some).map_err(|e| DataError::read(shown(&path), e))
}

/// A folder that a set is written to, shard by shard.
#[derive(Debug)]
pub struct SetFolder {
    folder: PathBuf,
    common: Common,
    /// Shards of the whole set.
    shards: usize,
}

impl SetFolder {
    /// Makes `folder` for a set of `shards` shards, or takes it if it is empty, or, with `resume`, if it holds a part of the same
    /// set. With `replace`, what it holds of another set goes. `common.settings` is a JSON object with all that the set depends
    /// on.
    ///
    /// # Errors
    /// When the folder cannot be made or written to, or holds something else.
    pub fn open(
        folder: &Path,
        common: Common,
        shards: usize,
        resume: bool,
        replace: bool,
    ) -> Result<Self, DataError> {
        let refuse = |e: std::io::Error| DataError::write(shown(folder), e);
        fs::create_dir_all(folder).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => DataError::content(
                shown(folder),
                "is a file, wanted a folder for the set; give another",
            ),
            _ => refuse(e),
        })?;
        let path = folder.join(SETTINGS);
        match set_settings(folder)? {
            Some(_) if replace => {
                for old in parquet_files(folder)? {
                    fs::remove_file(&old).map_err(|e| DataError::write(shown(&old), e))?;
                }
            }
            Some(begun) => {
                check(folder, &begun, &common.settings)?;
                if !resume {
                    let problem =
                        "holds a part of this set; go on with --resume, or start anew with --force";
                    return Err(DataError::content(shown(folder), problem));
                }
            }
            None if holds_anything(folder).map_err(refuse)? => {
                let problem = format!("is not empty and holds no set; {REMEDY}");
                return Err(DataError::content(shown(folder), problem));
            }
            None => {}
        }
        write_file(&path, common.settings.as_bytes())?;
        Ok(Self { folder: folder.to_owned(), common, shards })
    }

    /// The file of a shard, named as Hugging Face's `datasets` wants it.
    pub fn path(&self, shard: usize) -> PathBuf {
        self.folder.join(format!("train-{shard:05}-of-{:05}.parquet", self.shards))
    }

    /// The counts of a shard, if it is there.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn counts(&self, shard: usize) -> Result<Option<Counts>, DataError> {
        let path = self.path(shard);
        if path.exists() { shard::read_counts(&path).map(Some) } else { Ok(None) }
    }

    /// Makes a shard of `plan` and writes it, all or nothing.
    ///
    /// # Errors
    /// As [`Plan::make`], and when the file cannot be written.
    pub fn make(&self, plan: &Plan<'_>, shard: usize) -> Result<Counts, Error> {
        let (samples, counts) = plan.make(shard)?;
        shard::write(&self.path(shard), &samples, &counts, &self.common)?;
        Ok(counts)
    }

    /// Bytes of the shards that are there.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn bytes(&self) -> Result<u64, DataError> {
        let files = parquet_files(&self.folder)?;
        Ok(files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum())
    }
}

/// Whether there is more in a folder than what a kill may have left of a file in work.
fn holds_anything(folder: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if !entry?.file_name().to_string_lossy().starts_with(".lots-") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses to go on with a set in `folder` that was not asked for what is `wanted` now.
fn check(folder: &Path, begun: &str, wanted: &str) -> Result<(), DataError> {
    let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    let (Some(begun), Some(wanted)) = (parse(begun), parse(wanted)) else {
        let problem = format!("holds a {SETTINGS} that is of no set; {REMEDY}");
        return Err(DataError::content(shown(folder), problem));
    };
    let of = |entries: &Map<String, Value>, name: &str| {
        entries.get(name).unwrap_or(&Value::Null).to_string()
    };
    let mut names: Vec<&String> = wanted.keys().chain(begun.keys()).collect();
    // What a user understands comes first.
    names.sort_by_key(|name| (*name != "version", name.ends_with("_md5")));
    let differs = names.into_iter().find(|name| of(&begun, name) != of(&wanted, name));
    differs.map_or(Ok(()), |name| {
        let (made, found) = (of(&begun, name), of(&wanted, name));
        let problem = format!(
            "holds a set with {name} {made}, found {name} {found}; give the same, {REMEDY}"
        );
        Err(DataError::content(shown(folder), problem))
    })
}

/// What is known of each image of a set, shard by shard, without the images.
///
/// # Errors
/// When the folder cannot be read. Those of a shard come with it.
pub fn read_set_facts(
    folder: &Path,
) -> Result<impl Iterator<Item = Result<Vec<Facts>, DataError>>, DataError> {
    Ok(parquet_files(folder)?.into_iter().map(|file| shard::read_facts(&file)))
}

/// The images of a set, shard by shard, in the order of [`read_set_facts`].
///
/// # Errors
/// When the folder cannot be read. Those of a shard come with it.
pub fn read_set_images(
    folder: &Path,
) -> Result<impl Iterator<Item = Result<Vec<Image>, DataError>>, DataError> {
    Ok(parquet_files(folder)?.into_iter().map(|file| shard::read_images(&file)))
}
