use std::fs;

use serde_json::Value;

use crate::{done, lots, workplace};

#[test]
fn text_for_people() {
    let dir = workplace();
    insta::assert_snapshot!(done(&dir, "evaluate lenet.onnx --data digits"), @r"
    lenet.onnx on digits:test
    error rate 88.33 % (53 of 60 images)

    images by label (row) and class given (column)
    label  0  1  2  3  4  5  6  7  8  9
        0  .  .  .  .  .  .  .  5  .  .
        1  .  .  .  .  .  .  1  5  .  .
        2  .  .  .  .  .  .  1  3  .  .
        3  .  .  .  .  .  .  1  2  .  .
        4  .  .  .  .  .  .  1  7  .  .
        5  .  .  .  .  .  .  .  8  .  .
        6  .  .  .  .  .  .  .  7  .  .
        7  .  .  .  .  .  .  .  7  .  .
        8  .  .  .  .  .  .  1  3  .  .
        9  .  .  .  .  .  .  .  8  .  .
    ");
}

#[test]
fn json_is_one_object_and_agrees_with_the_logits() {
    let dir = workplace();
    let json = done(&dir, "evaluate lenet.onnx --data digits --json --logits logits.f32");
    assert_eq!(json.lines().count(), 1);
    let report: Value = serde_json::from_str(&json).unwrap();
    let mut keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["confusion", "data", "error_rate", "errors", "images", "model"]);
    assert_eq!((&report["images"], &report["data"]), (&60.into(), &"digits:test".into()));

    let bytes = fs::read(dir.path().join("logits.f32")).unwrap();
    let logits: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let labels = fs::read(dir.path().join("digits/t10k-labels-idx1-ubyte")).unwrap();
    let mut confusion = vec![vec![0u64; 10]; 10];
    for (row, &label) in logits.chunks(10).zip(&labels[8..]) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let class = row.iter().position(|&x| x == top).unwrap();
        confusion[usize::from(label)][class] += 1;
    }
    let errors = 60 - (0..10).map(|c| confusion[c][c]).sum::<u64>();
    assert_eq!(logits.len(), 600);
    assert_eq!(report["confusion"], serde_json::json!(confusion));
    assert_eq!(report["errors"], errors);
    assert_eq!(report["error_rate"], errors as f64 / 60.0);
}

#[test]
fn parts_of_the_data_and_any_number_of_threads() {
    let dir = workplace();
    let images = |options: &str| {
        let json = done(&dir, &format!("evaluate lenet.onnx --json {options}"));
        serde_json::from_str::<Value>(&json).unwrap()["images"].clone()
    };
    assert_eq!(images("--data digits:train"), 100);
    assert_eq!(images("--data digits:test:10..30"), 20);
    assert_eq!(images("--data digits --limit 7"), 7);
    let ran = |threads| {
        let line = format!(
            "evaluate lenet.onnx --data digits:train --threads {threads} --logits {threads}"
        );
        let text = done(&dir, &line);
        (text, fs::read(dir.path().join(threads)).unwrap())
    };
    assert!(ran("1") == ran("2"));
    assert_eq!(lots(&dir, "evaluate lenet.onnx --data digits").stderr, "");
}
