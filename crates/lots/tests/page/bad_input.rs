use std::fs;
use std::path::Path;

use lots::report::Run;
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::{page, record, some_records, write};

/// A run in a folder of its own.
fn run() -> TempDir {
    let dir = tempdir().unwrap();
    write(&dir.path().join("run"), some_records());
    dir
}

fn lines(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("records.jsonl")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn write_lines(run: &Path, lines: &[String]) {
    fs::write(run.join("records.jsonl"), lines.join("\n") + "\n").unwrap();
}

#[test]
fn records_of_other_versions() {
    let dir = run();
    let run = dir.path().join("run");
    let mut lines = lines(&run);
    // Of a newer one: more is said, and of another kind.
    lines[0] = lines[0].replacen('{', "{\"colour\":\"red\",\"depth\":{\"x\":[1]},", 1);
    lines[1] = lines[1].replace("\"adversarial\"", "\"splendid\"");
    // Of an older one: what need not be said is not.
    lines[2] = lines[2].replace("\"origin_class_name\":\"4\",", "").replace("\"own\":null,", "");
    write_lines(&run, &lines);
    let page = page(&[&run]);
    let version = env!("CARGO_PKG_VERSION");
    assert!(page.contains(&format!(
        "1 line is no record that lots {version} can read, and left out (line 2: unknown variant"
    )));
    assert!(page.contains("so another version wrote them; left out: colour, depth."), "{page}");
    assert!(page.contains("9 results from 2 origins"));

    // Nothing of it can be read.
    for line in ["{\"version\":2}", "[]", "7", "null", "\"x\"", "{\"a\":", "\u{0}\u{1}"] {
        write_lines(&run, &[line.to_owned(), line.to_owned()]);
        let error = Run::open(&run).unwrap_err().to_string();
        let wanted =
            format!("records.jsonl holds no record that lots {version} can read; line 1: ");
        assert!(error.contains(&wanted) && !error.contains('\n'), "{line}: {error}");
    }
}

#[test]
fn a_run_cut_anywhere() {
    let dir = run();
    let run = dir.path().join("run");
    let whole = fs::read(run.join("records.jsonl")).unwrap();
    let first = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
    for end in (0..first).chain([first, first + 1, whole.len() - 1]) {
        fs::write(run.join("records.jsonl"), &whole[..end]).unwrap();
        let opened = Run::open(&run).unwrap();
        let finished = whole[..end].iter().filter(|&&b| b == b'\n').count();
        let is_ended = end == 0 || whole[end - 1] == b'\n';
        // Only the end of its line is missing.
        let is_whole = !is_ended && whole[end] == b'\n';
        let wanted = (finished + usize::from(is_whole), usize::from(!is_ended && !is_whole));
        assert_eq!((opened.records.len(), opened.notes.len()), wanted, "{end}");
    }
    fs::write(run.join("records.jsonl"), &whole[..whole.len() - 2]).unwrap();
    let page = page(&[&run]);
    assert!(page.contains("The last line is cut, as where a run is stopped while it writes"));
}

#[test]
fn images_that_are_not_to_be_had() {
    let dir = run();
    let run = dir.path().join("run");
    fs::remove_file(run.join("0001-lots-conv1.png")).unwrap();
    fs::remove_file(run.join("0002-lots-conv2-perturbation.png")).unwrap();
    fs::write(run.join("0003-lots-ip1.png"), "no image").unwrap();
    let mut lines = lines(&run);
    // Out of the folder, and of another size.
    fs::copy(run.join("0004-lots-conv1.png"), dir.path().join("outside.png")).unwrap();
    lines[3] = lines[3].replace("\"0004-lots-conv1.png\"", "\"../outside.png\"");
    lots::Image::new(2, 2, 1, vec![0; 4]).unwrap().write_png(&run.join("small.png")).unwrap();
    lines[4] = lines[4].replace("\"0005-lots-conv2-perturbation.png\"", "\"small.png\"");
    write_lines(&run, &lines);
    let page = page(&[&run]);
    assert!(
        page.contains("5 images that records name are not to be had: run: there is no "),
        "{page}"
    );
    assert!(page.contains("0001-lots-conv1.png") && page.contains("; and 2 more."));
    assert_eq!(page.matches("Its image is not there.").count(), 3);
    assert!(!page.contains("outside.png\""), "nothing outside is linked");
    assert!(page.contains("10 results"));
}

#[test]
fn images_that_are_not_to_be_had_are_all_counted() {
    let dir = run();
    let run = dir.path().join("run");
    let line = lines(&run).swap_remove(0);
    let gone = line.replace("\"0001-lots-conv1.png\"", "\"gone.png\"");
    let half = line.replace("\"0001-lots-conv1-perturbation.png\"", "\"gone.png\"");
    let lines: Vec<String> = [gone, half, line].into_iter().cycle().take(3000).collect();
    write_lines(&run, &lines);
    let page = page(&[&run]);
    assert!(page.contains("2,000 images that records name are not to be had: "));
    assert!(page.matches("class=\"result\"").count() < 1500, "only some are shown");
}

#[test]
fn runs_without_results() {
    let dir = tempdir().unwrap();
    let (empty, full) = (dir.path().join("empty"), dir.path().join("full"));
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("records.jsonl"), "").unwrap();
    write(&full, some_records());
    let alone = page(&[&empty]);
    assert!(alone.contains("<h1>No results</h1>") && alone.contains("empty holds no results."));
    assert!(!alone.contains("<svg class=\"plot\"") && !alone.contains("<table class=\"rows\">"));
    let both = page(&[&empty, &full]);
    assert!(both.contains("empty holds no results.") && both.contains("10 results from"));

    // Results, but none that succeeds.
    let none = dir.path().join("none");
    let lost =
        json!({ "outcome": "not_found", "label": null, "l2": null, "linf": null, "pass": null });
    write(&none, [record(&lost)]);
    let page = page(&[&none]);
    assert!(page.contains("0 of 1 attempt reached their goal, 0.00 %."), "{page}");
}

#[test]
fn runs_of_different_networks() {
    let dir = tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    write(&first, some_records());
    write(&second, [record(&json!({ "model": "other.onnx", "layer": "fc7", "layer_index": 15 }))]);
    let page = page(&[&first, &second]);
    assert!(page.contains("<h1>What it takes to mislead lenet.onnx and other.onnx</h1>"));
    assert!(page.contains("<th scope=\"row\">network</th><td>lenet.onnx</td><td>other.onnx</td>"));
    assert!(page.contains(">first: LOTS<") && page.contains(">second: LOTS<"));
    assert!(page.contains(
        "<td class=\"word\">second</td><td class=\"word\">LOTS</td><td class=\"word\">fc7 (15)</td>"
    ));
}

#[test]
fn numbers_beyond_reason() {
    let dir = tempdir().unwrap();
    let run = dir.path().join("run");
    let changes = [
        json!({ "l2": 1e300, "pass": -1e300, "step": 1e308, "layer_index": u64::MAX }),
        json!({ "l2": -5, "pass": 1e-300, "linf": 0 }),
        json!({ "l2": 0, "pass": 1, "label": null }),
    ];
    write(&run, changes.iter().map(record));
    let mut lines = lines(&run);
    lines[0] =
        lines[0].replacen("\"perturbation_scale\":", "\"perturbation_scale\":1e300,\"x\":", 1);
    write_lines(&run, &lines);
    assert!(page(&[&run]).contains("3 of 3 attempts"));

    // No axis has room for these.
    let beyond = [
        vec![json!({ "l2": 5e-324 })],
        vec![json!({ "l2": -1e308 }), json!({ "l2": 1e308 })],
        vec![json!({ "pass": 1.7e308 }), json!({ "pass": -1.7e308 })],
    ];
    for (i, changes) in beyond.iter().enumerate() {
        let run = dir.path().join(format!("beyond {i}"));
        write(&run, changes.iter().map(record));
        assert_eq!(page(&[&run]).matches("class=\"plot\"").count(), 3, "{changes:?}");
    }
}

#[test]
fn what_is_no_run() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("a.png");
    fs::write(&file, b"\x89PNG\r\n\x1a\n binary").unwrap();
    let text = dir.path().join("notes.txt");
    fs::write(&text, "no run").unwrap();
    let cases = [
        (dir.path().to_owned(), "is no run: there is no records.jsonl in it; give a folder that"),
        (dir.path().join("none"), "cannot read "),
        (file, "holds no record that lots "),
        (text, "holds no record that lots "),
    ];
    for (path, wanted) in cases {
        let error = Run::open(&path).unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains('\n'), "{error}");
    }
}
