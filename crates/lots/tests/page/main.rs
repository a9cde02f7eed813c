//! The page of `lots report`: what stands in it, and how it behaves in a browser.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod bad_input;
mod browser;
mod content;
mod usage;

use std::fs;
use std::path::Path;

use lots::report::{ReportPage, Run};
use lots::{Image, Record, Results};
use serde_json::{Value, json};

/// A record; what `changes` names is different.
fn record(changes: &Value) -> Record {
    let mut all = json!({
        "model": "lenet.onnx", "origin": "mnist:test:4", "origin_label": 4, "origin_name": "4",
        "origin_class": 4, "origin_class_name": "4", "method": "lots", "layer": "conv1", "layer_index": 1,
        "units": null, "target": "mnist:test:9", "target_label": 9, "target_name": "9", "hot": null,
        "goal": "any", "fixed_linf": null, "outcome": "adversarial", "label": 9, "label_name": "9",
        "step": 59.0, "missed": 58.99, "l2": 283.4, "linf": 59, "pass": 0.951_44, "alignment": null,
        "image": null, "perturbation": null, "perturbation_scale": null,
    });
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    serde_json::from_value(all).unwrap()
}

/// A grey image of 12 × 10, different for each `seed`.
fn image(seed: usize) -> Image {
    let pixel = |i: usize| ((i * 29 + seed * 41 + i * i * (seed % 7)) % 256) as u8;
    Image::new(12, 10, 1, (0..120).map(pixel).collect()).unwrap()
}

/// Writes `records` as a run, with an image for each that has a label.
fn write(folder: &Path, records: impl IntoIterator<Item = Record>) {
    let mut results = Results::create(folder, false).unwrap();
    for (i, mut record) in records.into_iter().enumerate() {
        let perturbed = record.label.map(|_| image(i + 1));
        let origin = record.origin.len() + record.origin_label;
        results.add(&mut record, &image(origin), perturbed.as_ref()).unwrap();
    }
}

/// A run with all kinds of results: LOTS on two digits at three layers, FGS, and three that left nothing.
fn some_records() -> Vec<Record> {
    let mut records = Vec::new();
    for origin in [4, 7] {
        for (index, layer) in ["conv1", "conv2", "ip1"].into_iter().enumerate() {
            records.push(record(&json!({
                "origin": format!("mnist:test:{origin}"), "origin_label": origin, "origin_class": origin,
                "origin_name": origin.to_string(), "layer": layer, "layer_index": index + 1,
                "l2": 900.5 - 50.25 * (index * origin) as f64, "linf": 40 + 3 * origin + index,
                "pass": 0.5 + 0.1 * index as f64,
            })));
        }
    }
    let none = json!({ "outcome": "not_found", "label": null, "label_name": null, "step": null, "l2": null, "linf": null, "pass": null });
    let more = |changes: Value| {
        let mut all = none.clone();
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        record(&all)
    };
    records.push(more(json!({ "layer": "ip2", "layer_index": 4 })));
    records.push(record(&json!({ "method": "fgs", "layer": "ip2", "layer_index": 4, "target": null, "target_label": null, "l2": 1234.5 })));
    records.push(more(json!({ "method": "fgs", "outcome": "origin_misclassified", "origin_class": 1, "target": null, "target_label": null })));
    records.push(more(
        json!({ "method": "fgs", "outcome": "no_direction", "target": null, "target_label": null }),
    ));
    records
}

/// The page of some runs, written beside the first one.
fn page(runs: &[&Path]) -> String {
    let folder = runs[0].parent().unwrap();
    let runs: Vec<Run> = runs.iter().map(|path| Run::open(path).unwrap()).collect();
    let html = ReportPage { title: None, runs: &runs, folder }.html().unwrap();
    fs::write(folder.join("report.html"), &html).unwrap();
    html
}
