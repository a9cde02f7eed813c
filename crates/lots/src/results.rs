//! A folder of results: images, and a line for each in `records.jsonl`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{DataError, shown};
use crate::file::file_stem;
use crate::image::{Image, perturbation};
use crate::record::Record;

/// The file of the records.
pub(crate) const RECORDS: &str = "records.jsonl";

/// A folder that results are written to, each as soon as it is there: whatever stops the program, what is finished stays
/// readable.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    /// Opened with the first result, so that a run that comes to nothing leaves nothing.
    records: Option<File>,
    count: usize,
}

impl Results {
    /// Makes `folder` and those above it, or takes it if it is empty. With `replace`, a folder with anything in it is taken
    /// too: its records go, and images are replaced where their names come again.
    ///
    /// # Errors
    /// When the folder cannot be made or written to, or is not empty and `replace` is off.
    pub fn create(folder: &Path, replace: bool) -> Result<Self, DataError> {
        let refuse = |e: io::Error| DataError::write(shown(folder), e);
        fs::create_dir_all(folder).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => DataError::content(
                shown(folder),
                "is a file, wanted a folder for the results; give another",
            ),
            _ => refuse(e),
        })?;
        if !replace && fs::read_dir(folder).map_err(refuse)?.next().is_some() {
            let problem =
                "is not empty; give another folder, or --force to replace what has the same name";
            return Err(DataError::content(shown(folder), problem));
        }
        Ok(Self { folder: folder.to_owned(), records: None, count: 0 })
    }

    /// Goes on in a folder that a stopped program has left: what is added comes behind the whole lines of its
    /// `records.jsonl`, and what a stop left behind them goes. Without that file it begins.
    ///
    /// # Errors
    /// When the file cannot be read or written to.
    pub fn resume(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(RECORDS);
        let refuse = |e: io::Error| DataError::write(shown(&path), e);
        let mut lines = match open_lines(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Ok(Self { folder: folder.to_owned(), records: None, count: 0 });
            }
            lines => lines.map_err(refuse)?,
        };
        let (mut count, mut length) = (0, 0);
        while let Some(line) = lines.next_line().map_err(refuse)? {
            (count, length) = (count + 1, length + line.len() as u64);
        }
        let file = File::options().append(true).open(&path).map_err(refuse)?;
        file.set_len(length).map_err(refuse)?;
        Ok(Self { folder: folder.to_owned(), records: Some(file), count })
    }

    /// Adds a result: writes its images, if it has any, names them in `record`, and writes that.
    ///
    /// # Errors
    /// When a file cannot be written. What was added before stays.
    pub fn add(
        &mut self,
        record: &mut Record,
        origin: &Image,
        perturbed: Option<&Image>,
    ) -> Result<(), DataError> {
        self.count += 1;
        if let Some(perturbed) = perturbed {
            let name = format!("{:04}-{}", self.count, stem(record));
            let (image, difference) = (format!("{name}.png"), format!("{name}-perturbation.png"));
            let (picture, scale) = perturbation(origin, perturbed);
            perturbed.write_png(&self.folder.join(&image))?;
            picture.write_png(&self.folder.join(&difference))?;
            record.image = Some(image);
            record.perturbation = Some(difference);
            record.perturbation_scale = Some(scale);
        }
        let path = self.folder.join(RECORDS);
        let refuse = |e: io::Error| DataError::write(shown(&path), e);
        let mut line = serde_json::to_vec(record).map_err(|e| refuse(e.into()))?;
        line.push(b'\n');
        let file = match &mut self.records {
            Some(file) => file,
            none => none.insert(File::create(&path).map_err(refuse)?),
        };
        // One call, so that no stop leaves half a line if the system can help it.
        file.write_all(&line).map_err(refuse)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Reads the records of a folder. A last line without its end is what a stop left behind, and is passed over.
///
/// # Errors
/// When there is no `records.jsonl`, or a whole line of it is no record.
pub fn read_records(folder: &Path) -> Result<Vec<Record>, DataError> {
    records(folder)?.collect()
}

/// As [`read_records`], one record after the other, so that memory holds one at a time.
///
/// # Errors
/// When there is no `records.jsonl`. Those of a line come with it.
pub fn records(
    folder: &Path,
) -> Result<impl Iterator<Item = Result<Record, DataError>> + use<>, DataError> {
    let path = folder.join(RECORDS);
    let mut lines = open_lines(&path).map_err(|e| DataError::read(shown(&path), e))?;
    let mut number = 0;
    Ok(std::iter::from_fn(move || {
        number += 1;
        let line = lines.next_line().map_err(|e| DataError::read(shown(&path), e)).transpose()?;
        Some(line.and_then(|line| {
            serde_json::from_slice(line).map_err(|e| {
                DataError::content(shown(&path), format!("holds no record in line {number}: {e}"))
            })
        }))
    }))
}

/// The whole lines of a file. Bytes, not text: a stop may have cut the last one within a character.
struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
}

fn open_lines(path: &Path) -> io::Result<Lines> {
    Ok(Lines { file: BufReader::new(File::open(path)?), line: Vec::new() })
}

impl Lines {
    /// The next one, with its end.
    fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        self.file.read_until(b'\n', &mut self.line)?;
        Ok(self.line.ends_with(b"\n").then_some(&self.line))
    }
}

/// What the files of a result are called, behind their number.
fn stem(record: &Record) -> String {
    let mut name = format!("{}-{}", record.method, record.layer);
    if let Some(hot) = record.hot {
        name += &format!("-{hot}");
    }
    file_stem(&name)
}
