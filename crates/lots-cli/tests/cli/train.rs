use std::fs;
use std::path::Path;

use lots_nn::{Graph, lenet};
use serde_json::Value;
use tempfile::TempDir;

use crate::{done, lots, not_the_error, workplace};

const TRAIN: &str = "train lenet --data digits";

fn read(dir: &TempDir, name: &str) -> Vec<u8> {
    fs::read(dir.path().join(name)).unwrap()
}

fn text_in(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// The names of the files in `dir` that a training into out.onnx made.
fn made(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|n| n != "digits" && n != "lenet.onnx").collect();
    names.sort();
    names
}

#[test]
fn the_same_bytes_whatever_the_threads_and_the_folder() {
    let dir = workplace();
    done(&dir, &format!("{TRAIN} --out out.onnx --iterations 6 --threads 1"));
    fs::rename(dir.path().join("digits"), dir.path().join("renamed")).unwrap();
    done(&dir, "train lenet --data renamed --out 2.onnx --iterations 6 --threads 2");
    done(&dir, "train lenet --data renamed --out 3.onnx --iterations 6 --seed 1");
    let bytes = read(&dir, "out.onnx");
    assert!(bytes == read(&dir, "2.onnx"), "1 and 2 threads");
    assert!(bytes != read(&dir, "3.onnx"), "seeds 0 and 1");
    assert!(!text_in(&bytes, "digits") && !text_in(&bytes, "momentum"));
    assert_eq!(made(&dir), ["2.onnx", "3.onnx", "out.onnx", "renamed"]);
}

#[test]
fn the_result_is_told_with_its_test_error() {
    let dir = workplace();
    let text = done(&dir, &format!("{TRAIN} --out out.onnx --iterations 40"));
    assert!(text.starts_with("out.onnx: 40 iterations in "), "{text}");
    let tested = done(&dir, "evaluate out.onnx --data digits --json");
    let tested: Value = serde_json::from_str(&tested).unwrap();
    let rate = tested["error_rate"].as_f64().unwrap();
    assert!(rate < 0.6, "nothing was learnt: {rate}");
    assert!(text.ends_with(&format!(" s; test error {:.2} %\n", 100.0 * rate)), "{text}");

    let line = format!("{TRAIN}:train:0..90 --out out.onnx --force --iterations 1 --json");
    let report: Value = serde_json::from_str(&done(&dir, &line)).unwrap();
    assert_eq!((&report["model"], &report["finished"]), (&"out.onnx".into(), &true.into()));
    assert_eq!((&report["iterations"], &report["test"]["images"]), (&1.into(), &60.into()));
    let line = format!("{TRAIN}:test --out out.onnx --force --iterations 1 --json");
    let report: Value = serde_json::from_str(&done(&dir, &line)).unwrap();
    assert_eq!(report["test"], Value::Null, "trained on the test images");
}

#[test]
fn other_weights_to_start_from() {
    let dir = workplace();
    done(&dir, &format!("{TRAIN} --out fresh.onnx --iterations 3"));
    // lenet.onnx is lenet(0), which --seed 0 starts from anyway.
    done(&dir, &format!("{TRAIN} --out same.onnx --iterations 3 --init lenet.onnx"));
    assert!(read(&dir, "fresh.onnx") == read(&dir, "same.onnx"));
    fs::write(dir.path().join("one.onnx"), lenet(1).to_onnx()).unwrap();
    done(&dir, &format!("{TRAIN} --out other.onnx --iterations 3 --init one.onnx"));
    assert!(read(&dir, "fresh.onnx") != read(&dir, "other.onnx"));
    done(&dir, &format!("{TRAIN} --out none.onnx --iterations 0 --init fresh.onnx"));
    assert!(read(&dir, "none.onnx").len() == read(&dir, "fresh.onnx").len());
}

#[test]
fn files_are_never_lost_silently() {
    let dir = workplace();
    fs::write(dir.path().join("out.onnx"), "precious").unwrap();
    let train = format!("{TRAIN} --iterations 2 --out out.onnx");
    let refused = |line: &str, wanted: &str| {
        assert_eq!(not_the_error(&lots(&dir, line), wanted), None, "{line}");
    };
    refused(&train, "out.onnx exists; give another --out, or --force to replace it");
    assert_eq!(read(&dir, "out.onnx"), b"precious");
    fs::remove_file(dir.path().join("out.onnx")).unwrap();
    refused(&format!("{train} --resume"), "no out.onnx.checkpoint to resume from; start without");
    fs::write(dir.path().join("out.onnx.checkpoint"), "precious").unwrap();
    refused(
        &train,
        "out.onnx.checkpoint exists; continue it with --resume, or start anew with --force",
    );
    refused(&format!("{train} --resume"), "out.onnx.checkpoint: not an ONNX file, or cut short");
    assert_eq!(read(&dir, "out.onnx.checkpoint"), b"precious");
    assert_eq!(made(&dir), ["out.onnx.checkpoint"]);
    done(&dir, &format!("{train} --force"));
    assert_eq!(made(&dir), ["out.onnx"]);
}

#[cfg(unix)]
mod interrupted {
    use super::*;
    use std::process::{Child, Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    fn spawn(dir: &TempDir) -> Child {
        let line = format!("{TRAIN} --out out.onnx --iterations 1000000 --json");
        Command::new(env!("CARGO_BIN_EXE_lots"))
            .current_dir(dir)
            .args(line.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn wait_for(file: &Path) {
        let clock = Instant::now();
        while !file.exists() {
            assert!(clock.elapsed() < Duration::from_secs(60), "no {}", file.display());
            sleep(Duration::from_millis(2));
        }
    }

    /// Starts a training in `dir`, sends it `signal` after some iterations, and tells how many it has done.
    fn interrupt(dir: &TempDir, signal: &str) -> u64 {
        let child = spawn(dir);
        wait_for(&dir.path().join("out.onnx.checkpoint"));
        sleep(Duration::from_millis(100));
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let done = report["iterations"].as_u64().unwrap();
        assert_eq!(report["model"], "out.onnx.checkpoint");
        assert_eq!(
            stderr,
            format!(
                "stopped after {done} of 1000000 iterations; --resume continues from out.onnx.checkpoint\n"
            )
        );
        done
    }

    #[test]
    fn and_resumed_is_uninterrupted_byte_for_byte() {
        let dir = workplace();
        let done_before = interrupt(&dir, "-INT");
        assert_eq!(made(&dir), ["out.onnx.checkpoint"]);
        let report = done(&dir, "evaluate out.onnx.checkpoint --data digits");
        assert!(report.starts_with("out.onnx.checkpoint on digits:test\n"), "{report}");

        let train = format!("{TRAIN} --iterations {}", done_before + 5);
        let text = done(&dir, &format!("{train} --out out.onnx --resume"));
        let start =
            format!("out.onnx: {} iterations (resumed at {done_before}) in ", done_before + 5);
        assert!(done_before == 0 || text.starts_with(&start), "{text}");
        assert_eq!(made(&dir), ["out.onnx"]);
        done(&dir, &format!("{train} --out whole.onnx"));
        assert!(read(&dir, "out.onnx") == read(&dir, "whole.onnx"), "stopped at {done_before}");
    }

    #[test]
    fn resumes_with_the_same_settings_only() {
        let dir = workplace();
        interrupt(&dir, "-TERM");
        fs::write(dir.path().join("one.onnx"), lenet(1).to_onnx()).unwrap();
        let train = "train lenet --out out.onnx --resume";
        let remedy = "; give the same, or start anew with --force and without --resume";
        let cases = [
            ("--data digits --seed 1", "out.onnx.checkpoint was made with seed 0, found seed 1;"),
            ("--data digits --seed 1", remedy),
            ("--data digits:train:0..64", "was made with data digits:train (md5 "),
            ("--data digits --init one.onnx", "was made with initial weights of md5 "),
            ("--data digits --iterations 0", "iterations, found --iterations 0; give more"),
        ];
        let before = read(&dir, "out.onnx.checkpoint");
        for (options, wanted) in cases {
            let ran = lots(&dir, &format!("{train} {options}"));
            assert_eq!(not_the_error(&ran, wanted), None, "{options}");
        }
        assert!(before == read(&dir, "out.onnx.checkpoint"));
        // A network as any other.
        assert!(Graph::open(dir.path().join("out.onnx.checkpoint")).is_ok());
    }
}
