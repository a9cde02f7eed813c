//! `lots robustness`: what it writes, how it goes on, what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::attack::workplace;
use crate::{done, lots, not_the_error, write_idx};

/// Fifteen digits, two layers, 2 methods without a target and 9 targets: 330 attacks.
const RUN: &str =
    "robustness lenet.onnx --data mnist:test:0..200 --limit 15 --layer conv2 --layer ip2";
const ATTACKS: usize = 15 * 2 * (2 + 9);

/// The files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn records(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("records.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn its_numbers_are_those_of_its_records() {
    let dir = workplace();
    let text = done(&dir, &format!("{RUN} --out r"));
    let folder = dir.path().join("r");
    let all = files(&folder);
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "ranking.svg",
            "records.jsonl",
            "robustness.csv",
            "robustness.json",
            "run.json",
            "success-l2.svg",
            "success-linf.svg"
        ]
    );
    let (records, found) = (records(&folder), json(&folder.join("robustness.json")));
    assert_eq!(records.len(), ATTACKS);
    let misread = |record: &Value| record["outcome"] == "origin_misclassified";
    let origins = |wanted: bool| {
        let those = records.iter().filter(|record| misread(record) == wanted);
        let mut names: Vec<&str> = those.map(|record| record["origin"].as_str().unwrap()).collect();
        names.dedup();
        names
    };
    assert_eq!(found["images"], origins(false).len());
    assert_eq!(found["misclassified"], origins(true).len());
    assert_eq!(found["images"].as_u64().unwrap() + found["misclassified"].as_u64().unwrap(), 15);

    for layer in found["layers"].as_array().unwrap() {
        for strength in layer["methods"].as_array().unwrap() {
            let tried = |record: &&Value| {
                record["layer"] == layer["name"]
                    && record["method"] == strength["method"]
                    && !misread(record)
            };
            let tried: Vec<&Value> = records.iter().filter(tried).collect();
            let mut sizes: Vec<f64> =
                tried.iter().filter_map(|record| record["l2"].as_f64()).collect();
            sizes.sort_by(f64::total_cmp);
            assert_eq!(strength["all"]["attempts"], tried.len());
            assert_eq!(strength["all"]["found"], sizes.len());
            let classes = strength["classes"].as_array().unwrap().iter();
            assert_eq!(
                classes.map(|class| class["attempts"].as_u64().unwrap()).sum::<u64>(),
                tried.len() as u64
            );
            if let Some(last) = sizes.len().checked_sub(1) {
                let median = (sizes[last / 2] + sizes[last.div_ceil(2)]) / 2.0;
                let found = strength["all"]["l2"]["p50"].as_f64().unwrap();
                assert!((found - median).abs() < 1e-9, "{found}, {median} up to rounding");
                let end = &strength["success_by_l2"].as_array().unwrap().last().unwrap();
                assert_eq!(end[0], *sizes.last().unwrap());
                assert_eq!(end[1], sizes.len() as f64 / tried.len() as f64);
            } else {
                assert!(strength["all"]["l2"].is_null());
            }
        }
    }
    // The targets are the first training digits.
    let targets = |record: &Value| {
        record["target"].as_str().is_none_or(|name| name.starts_with("mnist:train:"))
    };
    assert!(records.iter().all(targets));

    let first = &found["ranking"][0];
    let sentence =
        format!("{} ({}) gives way first", first["layer"].as_str().unwrap(), first["index"]);
    assert!(text.contains(&sentence), "{sentence} in {text}");
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    for name in ["ranking.svg", "success-l2.svg", "success-linf.svg"] {
        let svg = String::from_utf8(all[name].clone()).unwrap();
        assert!(
            svg.starts_with("<svg") && svg.contains("conv2 (2)") && svg.contains("ip2 (4)"),
            "{svg}"
        );
    }
    let printed = done(&dir, &format!("{RUN} --out r --json"));
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), found);
}

#[test]
fn a_run_that_was_cut_goes_on_to_the_same_bytes() {
    let dir = workplace();
    done(&dir, &format!("{RUN} --out whole --images --threads 1"));
    let whole = files(&dir.path().join("whole"));
    let images = whole.keys().filter(|name| name.ends_with(".png")).count();
    let adversarial = records(&dir.path().join("whole"));
    let adversarial =
        adversarial.iter().filter(|record| record["outcome"] == "adversarial").count();
    assert_eq!(images, 2 * adversarial);
    let text = &whole["records.jsonl"];
    let ends: Vec<usize> =
        text.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    let cut = dir.path().join("cut");
    fs::create_dir(&cut).unwrap();
    // Before the first record, within it, between two, within one of the middle, before the last ends, after all.
    for length in [0, 10, ends[0], ends[100] + 700, ends[170], text.len() - 1, text.len()] {
        fs::remove_dir_all(&cut).unwrap();
        fs::create_dir(&cut).unwrap();
        let count = ends.iter().filter(|&&end| end <= length).count();
        for (name, bytes) in &whole {
            let is_made = name.split('-').next().and_then(|number| number.parse::<usize>().ok());
            if name == "run.json" || is_made.is_some_and(|number| number <= count) {
                fs::write(cut.join(name), bytes).unwrap();
            }
        }
        fs::write(cut.join("records.jsonl"), &text[..length]).unwrap();
        let ran = lots(&dir, &format!("{RUN} --out cut --images --threads 2"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let told = format!("going on in cut after {count} of {ATTACKS} attacks");
        assert_eq!(ran.stderr.contains(&told), count > 0, "{}", ran.stderr);
        assert!(files(&cut) == whole, "cut at byte {length}");
    }
    // Without the file of records, too.
    fs::remove_file(cut.join("records.jsonl")).unwrap();
    done(&dir, &format!("{RUN} --out cut --images"));
    assert!(files(&cut) == whole, "without records");
}

#[test]
fn a_signal_leaves_what_the_same_command_goes_on_with() {
    let dir = workplace();
    let run = "robustness lenet.onnx --data mnist:test --limit 500 --method reduce --method magnify --out r";
    let mut child = Command::new(env!("CARGO_BIN_EXE_lots"))
        .current_dir(&dir)
        .args(run.split_whitespace())
        .args(["--threads", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let path = dir.path().join("r/records.jsonl");
    while !path.exists() && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let before = records(&dir.path().join("r")).len();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let wanted = format!("stopped after {before} of 4000 attacks; the same command goes on in r\n");
    assert_eq!(told, wanted);
    assert!(!dir.path().join("r/robustness.json").exists());
    done(&dir, run);
    done(&dir, &run.replace("--out r", "--out whole"));
    assert!(files(&dir.path().join("r")) == files(&dir.path().join("whole")));
}

#[test]
fn another_run_is_refused_and_force_starts_anew() {
    let dir = workplace();
    let base =
        "robustness lenet.onnx --data mnist:test:0..50 --limit 3 --layer ip2 --method reduce";
    done(&dir, &format!("{base} --out r"));
    fs::copy(dir.path().join("lenet.onnx"), dir.path().join("other.onnx")).unwrap();
    let remedy = "give the same, give another --out, or --force to start anew";
    let cases = [
        (base.replace("--limit 3", "--limit 4"), "limit 3, found limit 4"),
        (base.replace(" --limit 3", ""), "limit 3, found limit null"),
        (format!("{base} --seed 1"), "seed 0, found seed 1"),
        (
            format!("{base} --method magnify"),
            "method [\"reduce\"], found method [\"reduce\",\"magnify\"]",
        ),
        (base.replace("ip2", "ip1"), "layer [\"ip2\"], found layer [\"ip1\"]"),
        (
            base.replace("0..50", "0..51"),
            "data \"mnist:test:0..50\", found data \"mnist:test:0..51\"",
        ),
        (
            base.replace("lenet.onnx", "other.onnx"),
            "model \"lenet.onnx\", found model \"other.onnx\"",
        ),
        (format!("{base} --images"), "images false, found images true"),
        (format!("{base} --preset mnist"), "preprocessing "),
    ];
    let before = files(&dir.path().join("r"));
    for (line, wanted) in &cases {
        let ran = lots(&dir, &format!("{line} --out r"));
        assert!(
            ran.code == 2 && ran.stderr.contains(wanted) && ran.stderr.contains(remedy),
            "{line}: {}",
            ran.stderr
        );
    }
    // The same name, another network.
    let mut network = fs::read(dir.path().join("lenet.onnx")).unwrap();
    let weight = network.len() / 2;
    network[weight] ^= 1;
    fs::write(dir.path().join("lenet.onnx"), network).unwrap();
    let ran = lots(&dir, &format!("{base} --out r"));
    assert_eq!(not_the_error(&ran, "model_md5 "), None);
    assert!(files(&dir.path().join("r")) == before, "what was there is touched");
    fs::copy(dir.path().join("other.onnx"), dir.path().join("lenet.onnx")).unwrap();

    done(&dir, &format!("{base} --seed 1 --out r --force"));
    done(&dir, &format!("{base} --seed 1 --out fresh"));
    assert!(files(&dir.path().join("r")) == files(&dir.path().join("fresh")));
    assert!(files(&dir.path().join("r")) != before, "another seed takes other digits");
}

#[test]
fn what_cannot_be_gone_on_with_is_an_error_of_one_line() {
    let dir = workplace();
    let base =
        "robustness lenet.onnx --data mnist:test:0..50 --limit 2 --layer ip2 --method reduce --out";
    done(&dir, &format!("{base} r"));
    let good = files(&dir.path().join("r"));
    let lines: Vec<String> = String::from_utf8(good["records.jsonl"].clone())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let run = String::from_utf8(good["run.json"].clone()).unwrap();
    let place = |name: &str, run: Option<&str>, records: &str| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        if let Some(run) = run {
            fs::write(folder.join("run.json"), run).unwrap();
        }
        fs::write(folder.join("records.jsonl"), records).unwrap();
    };
    let line = &lines[0];
    place("foreign", None, &format!("{line}\n"));
    place("text", Some("# mine\n"), "");
    place("later", Some(&run.replace("\"version\": 1", "\"version\": 2")), "");
    place("missing", Some("{}"), "");
    place("unknown", Some(&run), "{\"kind\":\"attack\",\"version\":9}\n");
    place("swapped", Some(&run), &format!("{}\n{}\n", lines[1], lines[0]));
    place("long", Some(&run), &format!("{0}\n{1}\n{1}\n", lines[0], lines[1]));
    fs::write(dir.path().join("file"), "").unwrap();
    let cases = [
        ("foreign", "is not empty; give another folder, or --force"),
        ("text", "holds a run.json that is no run of lots robustness; give another --out"),
        ("later", "holds a run with version 2, found version 1"),
        ("missing", "found version 1"),
        ("unknown", "records.jsonl holds no record in line 1: missing field"),
        ("swapped", "records.jsonl has reduce of mnist:test:"),
        ("long", "in line 3, wanted no more; it is of another run: give another --out, or --force"),
        ("file", "is a file, wanted a folder"),
    ];
    for (folder, wanted) in cases {
        let ran = lots(&dir, &format!("{base} {folder}"));
        assert_eq!(not_the_error(&ran, wanted), None, "{folder}");
        if folder != "file" {
            done(&dir, &format!("{base} {folder} --force"));
            assert!(files(&dir.path().join(folder)) == good, "{folder} by force");
        }
    }
}

#[test]
fn wrong_requests_are_told_in_one_line() {
    let dir = workplace();
    fs::create_dir_all(dir.path().join("people/somebody")).unwrap();
    fs::copy(dir.path().join("four.png"), dir.path().join("people/somebody/four.png")).unwrap();
    let cases = [
        ("lenet.onnx --limit 0", "invalid value '0' for '--limit <N>'"),
        (
            "lenet.onnx --method fgs",
            "invalid value 'fgs' for '--method <METHOD>' [possible values: reduce, magnify, lots]",
        ),
        ("lenet.onnx --layer conv9", "no layer \"conv9\" in lenet.onnx"),
        ("nothing.onnx", "nothing.onnx"),
        ("lenet.onnx --data nowhere", "no data set \"nowhere\""),
        ("lenet.onnx --data people", "is in a folder whose name is no class of lenet.onnx"),
        (
            "lenet.onnx --data people --gallery people --threshold 3",
            "found one class in people; give more --data",
        ),
        ("lenet.onnx --data mnist:test:0..3 --gallery people --threshold 3", "label"),
    ];
    for (line, wanted) in cases {
        let ran = lots(&dir, &format!("robustness {line} --out r"));
        assert_eq!(not_the_error(&ran, wanted), None, "{line}");
        assert!(!dir.path().join("r").exists(), "{line}");
    }
}

/// Labels of other digits: all are misclassified.
#[test]
fn zero_results_are_a_result() {
    let dir = workplace();
    let digits = dir.path().join("wrong");
    fs::create_dir(&digits).unwrap();
    let set = lots::open_dataset("mnist:test:4..5", lots::Split::Test).unwrap();
    write_idx(
        &digits.join("a-images-idx3-ubyte"),
        &[2, 28, 28],
        &[set.images(), set.images()].concat(),
    );
    write_idx(&digits.join("a-labels-idx1-ubyte"), &[2], &[1, 2]);
    let text = done(&dir, "robustness lenet.onnx --data wrong --out r");
    assert!(text.contains("0 images attacked, 2 others are misclassified"), "{text}");
    assert!(text.contains("The network misclassifies all 2 images"), "{text}");
    let found = json(&dir.path().join("r/robustness.json"));
    assert_eq!((&found["images"], &found["misclassified"]), (&0.into(), &2.into()));
}

/// Identities are the classes, of all images of a folder, at a layer of a network that serves for features.
#[test]
fn galleries_are_surveyed_likewise() {
    let dir = workplace();
    for (path, digit) in
        [("four/a.png", 4), ("four/b.png", 6), ("nine/a.png", 9), ("zero/z.png", 3)]
    {
        let path = dir.path().join("people").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        lots::open_image(&format!("mnist:test:{digit}")).unwrap().image.write_png(&path).unwrap();
    }
    let run = "robustness lenet.onnx --data people --gallery people --gallery-layer ip1 --layer conv2 --out r";
    let text = done(&dir, run);
    assert!(text.contains("conv2 (2)"), "{text}");
    let all = records(&dir.path().join("r"));
    assert_eq!(all.len(), 4 * (2 + 2));
    let towards = all.iter().filter_map(|record| record["target"].as_str());
    let wanted = ["people/nine/a.png", "people/zero/z.png"];
    assert_eq!(towards.take(2).collect::<Vec<_>>(), wanted);
    let ran = lots(&dir, &format!("{run} --threshold 3"));
    assert_eq!(not_the_error(&ran, "gallery "), None);
}
