//! The binary `lots` as its users meet it. Every test has a folder of its own.

#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(clippy::float_cmp, reason = "what is compared has to be the same number")]

mod attack;
mod bad_input;
mod compare;
mod convert;
mod demo;
mod evaluate;
mod figures;
mod gallery;
mod generate;
mod help;
mod layers;
mod measure;
mod report;
mod robustness;
mod table1;
mod train;
mod views;
mod wishes;

use std::fs;
use std::path::Path;

use assert_cmd::cargo::cargo_bin_cmd;
use lots::{Split, open_dataset};
use lots_nn::lenet;
use tempfile::TempDir;

/// What came of a command.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs `lots` with the words of `line` as arguments, inside `dir`.
fn lots(dir: &TempDir, line: &str) -> Ran {
    let output =
        cargo_bin_cmd!("lots").current_dir(dir).args(line.split_whitespace()).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// As [`lots`], which has to succeed; gives stdout.
fn done(dir: &TempDir, line: &str) -> String {
    let ran = lots(dir, line);
    assert_eq!(ran.code, 0, "lots {line}: {}", ran.stderr);
    ran.stdout
}

/// Why `ran` is not an error as it has to be: one line that holds `wanted`, exit code 2, nothing on stdout.
fn not_the_error(ran: &Ran, wanted: &str) -> Option<String> {
    let Ran { code, stdout, stderr } = ran;
    let one_line = stderr.ends_with('\n') && stderr.lines().count() == 1;
    let good = *code == 2
        && stdout.is_empty()
        && one_line
        && stderr.starts_with("error: ")
        && !stderr.contains("panicked")
        && stderr.contains(wanted);
    (!good).then(|| format!("wanted {wanted:?}, found exit code {code}, {stdout:?}, {stderr:?}"))
}

/// A folder with `digits`, IDX files of 100 training and 60 test digits, and `lenet.onnx`, untrained.
fn workplace() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let digits = dir.path().join("digits");
    fs::create_dir(&digits).unwrap();
    for (prefix, reference) in [("train", "mnist:test:0..100"), ("t10k", "mnist:test:100..160")] {
        let set = open_dataset(reference, Split::Test).unwrap();
        let count = set.len() as u32;
        write_idx(
            &digits.join(format!("{prefix}-images-idx3-ubyte")),
            &[count, 28, 28],
            set.images(),
        );
        write_idx(
            &digits.join(format!("{prefix}-labels-idx1-ubyte")),
            &[count],
            set.labels().unwrap(),
        );
    }
    fs::write(dir.path().join("lenet.onnx"), lenet(0).to_onnx()).unwrap();
    dir
}

/// The bytes of an IDX file of unsigned bytes.
fn idx(sizes: &[u32], content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(content);
    bytes
}

fn write_idx(path: &Path, sizes: &[u32], content: &[u8]) {
    fs::write(path, idx(sizes, content)).unwrap();
}
