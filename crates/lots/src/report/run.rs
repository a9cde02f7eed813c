//! A run as a report takes it: whatever of it can be read, and what there is to say against the rest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{DataError, shown};
use crate::record::Record;
use crate::results::RECORDS;

/// No more names are told in a note.
const NAMES: usize = 5;

/// Records, and the folder that their images lie in.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it is called: as its folder, or as its file.
    pub name: String,
    /// What records call their images is relative to it.
    pub folder: PathBuf,
    /// In the order of the file.
    pub records: Vec<Record>,
    /// What there is to say against the file, a sentence each.
    pub notes: Vec<String>,
}

impl Run {
    /// Opens a folder that holds `records.jsonl`, or a file of records.
    ///
    /// Records of other versions are taken as far as they say what a record has to say. What is not read, lines that are no
    /// records and a last one that a stop has cut, is told in [`notes`](Self::notes). A last line that is whole but for its end
    /// counts.
    ///
    /// # Errors
    /// When there is no such file, or none of its lines is a record. A file without lines is a run without results.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = if path.is_dir() { path.join(RECORDS) } else { path.to_owned() };
        if path.is_dir() && !file.exists() {
            let problem = format!(
                "is no run: there is no {RECORDS} in it; give a folder that `lots attack` has written, or a file of records"
            );
            return Err(DataError::content(shown(path), problem));
        }
        let bytes = fs::read(&file).map_err(|e| DataError::read(shown(&file), e))?;
        let (records, notes) =
            read(&bytes).map_err(|problem| DataError::content(shown(&file), problem))?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { name: name(path), folder, records, notes })
    }

    /// Where a record's file lies; `None` where its name leads out of the run's folder, or to nothing.
    pub(super) fn file(&self, name: &str) -> Option<PathBuf> {
        let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        Some(self.folder.join(name)).filter(|file| inside && file.is_file())
    }
}

/// What a run is called.
fn name(path: &Path) -> String {
    let is_plain = path.file_name().is_some_and(|name| name == RECORDS);
    let path = path.parent().filter(|_| is_plain).unwrap_or(path);
    // `.` has a name once it is a whole path.
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().map_or_else(|| shown(path), |name| shown(Path::new(name)))
}

/// The records of a file, and what there is to say against it.
fn read(bytes: &[u8]) -> Result<(Vec<Record>, Vec<String>), String> {
    let version = env!("CARGO_PKG_VERSION");
    let (mut records, mut notes) = (Vec::new(), Vec::new());
    let (mut refused, mut first) = (0, None);
    let mut unknown = BTreeSet::new();
    let end = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |last| last + 1);
    for (i, line) in bytes[..end].split(|&b| b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match record(line) {
            Ok((record, others)) => {
                records.push(record);
                unknown.extend(others);
            }
            Err(problem) => {
                refused += 1;
                first.get_or_insert_with(|| format!("line {}: {problem}", i + 1));
            }
        }
    }
    let last = bytes[end..].trim_ascii();
    let whole = record(last).ok();
    let is_cut = whole.is_none() && !last.is_empty();
    if let Some((record, others)) = whole {
        records.push(record);
        unknown.extend(others);
    }
    if is_cut && end == 0 && bytes.trim_ascii_start().first() != Some(&b'{') {
        first = Some("line 1: wanted JSON".to_owned());
    }
    if let (true, Some(first)) = (records.is_empty(), &first) {
        return Err(format!("holds no record that lots {version} can read; {first}"));
    }
    if let Some(first) = first {
        let lines = if refused == 1 { "1 line is" } else { &format!("{refused} lines are") };
        notes.push(format!(
            "{lines} no record that lots {version} can read, and left out ({first})."
        ));
    }
    if is_cut {
        notes.push(
            "The last line is cut, as where a run is stopped while it writes; it is left out."
                .to_owned(),
        );
    }
    if !unknown.is_empty() {
        let names: Vec<&str> = unknown.iter().map(String::as_str).take(NAMES).collect();
        let more = if unknown.len() > NAMES { " …" } else { "" };
        notes.push(format!(
            "The records say more than lots {version} knows of, so another version wrote them; left out: {}{more}.",
            names.join(", ")
        ));
    }
    Ok((records, notes))
}

/// The record of a line, and the names of fields that no record has.
fn record(line: &[u8]) -> Result<(Record, Vec<String>), String> {
    let fields: Map<String, Value> = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let names: Vec<String> = fields.keys().cloned().collect();
    let record: Record =
        serde_json::from_value(Value::Object(fields)).map_err(|e| e.to_string())?;
    let known = serde_json::to_value(&record).map_err(|e| e.to_string())?;
    let unknown = names.into_iter().filter(|name| known.get(name).is_none());
    Ok((record, unknown.collect()))
}
