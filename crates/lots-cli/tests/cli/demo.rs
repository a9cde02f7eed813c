use std::collections::BTreeSet;
use std::fs;

use lots::experiment::Row;
use lots::{Ending, read_records};
use tempfile::TempDir;

use crate::attack::workplace;
use crate::{done, lots, not_the_error};

fn files(dir: &TempDir, folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(dir.path().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_page_of_what_is_beside_it() {
    let dir = workplace();
    let text = done(&dir, "demo --limit 5 --out deep/demo");
    assert!(text.ends_with("; look at deep/demo/index.html\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    // The network that lies here was taken, and is not copied.
    let wanted =
        ["face_descriptor.onnx", "faces", "index.html", "people", "results", "table1.json"]
            .map(str::to_owned);
    assert_eq!(files(&dir, "deep/demo"), wanted.into());
    let page = fs::read_to_string(dir.path().join("deep/demo/index.html")).unwrap();
    assert!(!page.contains("http:") && !page.contains("https:"), "requests from the page");
    assert!(page.contains("taken as it was in lenet.onnx"));

    // A face is taken for another, from every layer, with little to be seen.
    let faces = read_records(&dir.path().join("deep/demo/faces")).unwrap();
    assert_eq!(faces.len(), 4);
    for record in &faces {
        let (own, other) = (record.own.as_ref().unwrap(), record.other.as_ref().unwrap());
        assert_eq!((own.identity.as_str(), other.identity.as_str()), ("biden", "obama"));
        assert_eq!(record.target.as_deref(), Some("people/obama/obama.png"));
        assert!(other.before > 0.6 && other.after.unwrap() < 0.6 && other.after < own.after);
        let least = if record.layer == "descriptor" { 0.95 } else { 0.85 };
        assert!(record.pass.unwrap() > least, "{} {:?}", record.layer, record.pass);
    }
    assert!(page.contains("Taken for obama") && text.contains("faces: biden towards obama\n"));
    let line =
        "represent deep/demo/face_descriptor.onnx deep/demo/people --layer descriptor --out f.npy";
    assert!(done(&dir, line).starts_with("f.npy: 4×128 float32, descriptor of "));

    let records = read_records(&dir.path().join("deep/demo/results")).unwrap();
    let of = |method: &str| records.iter().filter(|r| r.method == method).count();
    assert_eq!(["magnify", "reduce", "lots", "fgv", "fgs", "hot-cold"].map(of), [2, 2, 4, 1, 1, 1]);
    assert!(records.iter().all(|r| (r.origin_label, r.origin_class) == (4, 4)));
    for record in records {
        let Some(image) = record.image else {
            assert_ne!(record.outcome, Ending::Adversarial, "{}", record.method);
            continue;
        };
        assert!(files(&dir, "deep/demo/results").contains(&image), "{image}");
    }
    let row = fs::read(dir.path().join("deep/demo/table1.json")).unwrap();
    let row: Row = serde_json::from_slice(&row).unwrap();
    assert_eq!((row.images, row.columns.len()), (5, 6));
    let attacked = row.images - row.misclassified;
    let attempts: Vec<usize> =
        row.columns.iter().map(|column| column.attempts / attacked).collect();
    assert_eq!(attempts, [1, 1, 1, 1, 9, 36]);

    // Again, into the same folder: the same but for the time it took.
    let again = done(&dir, "demo --limit 5 --out deep/demo");
    let table = |text: &str| text.split("done in").next().unwrap().to_owned();
    assert_eq!(table(&again), table(&text));
    assert_eq!(fs::read_to_string(dir.path().join("deep/demo/index.html")).unwrap(), page);
}

#[test]
fn what_no_demo_has_written_is_left_alone() {
    let dir = workplace();
    fs::create_dir(dir.path().join("mine")).unwrap();
    fs::write(dir.path().join("mine/index.txt"), "mine").unwrap();
    let refused = "mine holds index.txt, which no demo has written; give another --out";
    assert_eq!(not_the_error(&lots(&dir, "demo --out mine"), refused), None);
    let refused = "cannot write four.png/demo: ";
    assert_eq!(not_the_error(&lots(&dir, "demo --out four.png/demo"), refused), None);
    assert_eq!(files(&dir, "mine"), ["index.txt".to_owned()].into());

    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/../lots-nn/tests/data/max_pool.onnx");
    fs::copy(other, dir.path().join("lenet.onnx")).unwrap();
    let refused = "lenet.onnx takes no digits of MNIST (28×28, grey, 10 classes); move it";
    let ran = lots(&dir, "demo --out new");
    assert_eq!((ran.code, ran.stderr.contains(refused)), (2, true), "{}", ran.stderr);
    fs::write(dir.path().join("lenet.onnx"), "no network").unwrap();
    let ran = lots(&dir, "demo --out new");
    assert_eq!(not_the_error(&ran, "lenet.onnx: not an ONNX file, or cut short"), None);
}
