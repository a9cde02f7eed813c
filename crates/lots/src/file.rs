//! Writing files so that nobody ever sees half of one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{DataError, shown};

/// Writes `bytes` to `path`. What lies there is replaced at once, when all is written.
///
/// # Errors
/// When the folder does not exist or cannot be written to, `path` is a folder, or the disk is full.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let fail = |e| DataError::write(shown(path), e);
    write_file_with(path, |file| file.write_all(bytes).map_err(fail))
}

/// `text` as a part of a file's name: characters that not every system takes are replaced, and what is long is cut.
pub fn file_stem(text: &str) -> String {
    // Layers may be called anything.
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    text.chars().map(plain).take(80).collect()
}

/// As [`write_file`], with what `write` writes. If it fails, nothing is replaced.
///
/// # Errors
/// As [`write_file`], and those of `write`.
pub fn write_file_with<E: From<DataError>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let fail = |e| E::from(DataError::write(shown(path), e));
    if path.file_name().is_none() {
        let e = io::Error::new(ErrorKind::IsADirectory, "is a folder, wanted a file name");
        return Err(fail(e));
    }
    let (mut file, temporary) = new_file_beside(path).map_err(fail)?;
    let written = write(&mut file).and_then(|()| file.sync_all().map_err(fail));
    drop(file);
    written.and_then(|()| fs::rename(&temporary, path).map_err(fail)).inspect_err(|_| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    })
}

/// A file that did not exist before: other threads and processes may be writing to the same folder.
fn new_file_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut number = 0_u32;
    loop {
        // Its own short name: one made of `path`'s could be too long.
        let temporary = path.with_file_name(format!(".lots-{number}.tmp"));
        match File::create_new(&temporary) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && number < 10_000 => number += 1,
            file => return Ok((file?, temporary)),
        }
    }
}
