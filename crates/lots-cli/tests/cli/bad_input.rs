use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use lots_nn::lenet;

use crate::{idx, lots, not_the_error, workplace, write_idx};

/// A folder `name` of one digit whose image or label file `make` has changed.
fn folder(dir: &Path, name: &str, images: &[u8], labels: &[u8]) {
    let folder = dir.join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a-images-idx3-ubyte"), images).unwrap();
    fs::write(folder.join("a-labels-idx1-ubyte"), labels).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn damaged_data_are_errors_of_one_line() {
    let dir = workplace();
    let images = idx(&[2, 28, 28], &[7; 2 * 784]);
    let labels = idx(&[2], &[0, 9]);
    let bomb = gzip(&idx(&[2, 28, 28], &vec![0; 100_000_000]));
    let cut = |bytes: &[u8], by: usize| bytes[..bytes.len() - by].to_vec();
    let cases = [
        (
            "truncated",
            cut(&images, 1),
            labels.clone(),
            "is truncated: its header declares 1568 bytes, found 1567; download",
        ),
        ("header", images[..9].to_vec(), labels.clone(), "ends within its IDX header; download"),
        ("empty", vec![], labels.clone(), "is empty; wanted an IDX file"),
        (
            "oversized",
            [&images[..], &[0]].concat(),
            labels.clone(),
            "is too long: bytes follow the 1568",
        ),
        (
            "magic",
            [&[1], &images[1..]].concat(),
            labels.clone(),
            "is not an IDX file: it starts with 01 00 08 03",
        ),
        (
            "bomb",
            bomb,
            labels.clone(),
            "is too long: bytes follow the 1568 that its header declares",
        ),
        ("huge", idx(&[u32::MAX; 3], &[]), labels.clone(), "wanted at most 4294967296"),
        ("gzip", cut(&gzip(&images), 5), labels.clone(), "ends within its gzip data; download"),
        ("swapped", labels.clone(), images.clone(), "holds labels (1 dimension), wanted images"),
        (
            "label",
            images.clone(),
            idx(&[2], &[9, 10]),
            "label 10 at position 1 of label/a-labels-idx1-ubyte; labels must be 0–9",
        ),
        (
            "labels",
            images.clone(),
            idx(&[1], &[0]),
            "has 1 labels, but labels/a-images-idx3-ubyte has 2 images",
        ),
        (
            "shape",
            idx(&[2, 28, 27], &[0; 2 * 756]),
            labels.clone(),
            "shape has 28×27×1 (height × width × channels), the network takes 28×28×1; give",
        ),
    ];
    let mut failures = Vec::new();
    for (name, images, labels, wanted) in cases {
        folder(dir.path(), name, &images, &labels);
        for line in [
            format!("evaluate lenet.onnx --data {name}"),
            format!("train lenet --out out.onnx --data {name}"),
        ] {
            failures
                .extend(not_the_error(&lots(&dir, &line), wanted).map(|f| format!("{line}: {f}")));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(!dir.path().join("out.onnx.checkpoint").exists());
}

#[test]
fn what_does_not_exist_is_told_with_a_remedy() {
    let dir = workplace();
    fs::write(dir.path().join("file"), "no network").unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    fs::create_dir(dir.path().join("bare")).unwrap();
    write_idx(&dir.path().join("bare/a-images-idx3-ubyte"), &[1, 28, 28], &[0; 784]);
    let known = "known: mnist:test, mnist:train, infimnist:70000..80000, a folder of IDX files";
    let cases = [
        ("layers none.onnx", "cannot read none.onnx: "),
        ("layers digits", "cannot read digits: "),
        ("layers file", "file: not an ONNX file, or cut short"),
        ("layers empty", "empty: the file is empty; wanted an ONNX network"),
        (
            "layers lenet.onnx --layer conv3",
            "no layer \"conv3\" in lenet.onnx; layers: conv1, conv2, ip1, ip2",
        ),
        ("layers lenet.onnx --layer conv1 --layer 9", "no layer \"9\" in lenet.onnx; layers: "),
        ("layers lenet.onnx --layer x*", "no layer \"x*\" in lenet.onnx; layers: "),
        ("evaluate none.onnx --data digits", "cannot read none.onnx: "),
        ("evaluate lenet.onnx --data none", known),
        ("evaluate lenet.onnx --data mnist:validation", known),
        ("evaluate lenet.onnx --data file", "file is a file, wanted a data set: "),
        ("evaluate lenet.onnx --data bare", "bare has no labels, wanted one an image"),
        ("evaluate lenet.onnx --data digits:test:60", "digits has 60 test images, 0–59; found 60"),
        ("evaluate lenet.onnx --data digits --logits none/logits", "cannot write none/logits: "),
        (
            "evaluate lenet.onnx --data digits --logits lenet.onnx",
            "lenet.onnx exists; give another",
        ),
        ("train lenet --out out.onnx --data none", known),
        ("train lenet --out out.onnx --data bare", "bare has no labels, wanted one an image"),
        ("train lenet --out out.onnx --data digits --init none.onnx", "cannot read none.onnx: "),
        ("train lenet --out out.onnx --data digits --init file", "file: not an ONNX file"),
        (
            "train lenet --out none/out.onnx --data digits",
            "cannot write none/out.onnx.checkpoint: ",
        ),
        (
            "train lenet --out file/out.onnx --data digits",
            "cannot write file/out.onnx.checkpoint: ",
        ),
        (
            "train lenet --out digits --data digits",
            "cannot write digits: it is a folder, wanted a file",
        ),
    ];
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|(line, wanted)| {
            Some(format!("{line}: {}", not_the_error(&lots(&dir, line), wanted)?))
        })
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(!dir.path().join("out.onnx.checkpoint").exists());
}

#[test]
fn a_network_cut_anywhere_is_an_error_of_one_line() {
    let dir = workplace();
    let whole = lenet(0).to_onnx();
    let length = whole.len();
    let spread = (0..40).map(|i| i * length / 40);
    let cuts = (0..12).chain(spread).chain(length - 12..length);
    let failures: Vec<String> = cuts
        .filter_map(|cut| {
            fs::write(dir.path().join("cut.onnx"), &whole[..cut]).unwrap();
            let ran = lots(&dir, "layers cut.onnx");
            Some(format!("{cut} of {length}: {}", not_the_error(&ran, "cut.onnx: ")?))
        })
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Where the weights of ip2 begin in the file: behind their name, one byte of tag and three of length.
fn numbers_of_ip2(bytes: &[u8]) -> usize {
    let name = b"ip2.weight";
    (0..bytes.len()).rfind(|&i| bytes[i..].starts_with(name)).unwrap() + name.len() + 4
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let dir = workplace();
    let mut bytes = lenet(0).to_onnx();
    let at = numbers_of_ip2(&bytes);
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(dir.path().join("nan.onnx"), bytes).unwrap();
    let wanted = "nan.onnx: node \"ip2\" (Gemm): constant \"ip2.weight\" holds NaN at position 0; weights must be finite";
    for line in [
        "layers nan.onnx",
        "evaluate nan.onnx --data digits",
        "train lenet --out out.onnx --data digits --init nan.onnx",
    ] {
        assert_eq!(not_the_error(&lots(&dir, line), wanted), None, "{line}");
    }
}

#[test]
fn numbers_that_overflow_are_refused() {
    let dir = workplace();
    let mut bytes = lenet(0).to_onnx();
    let at = numbers_of_ip2(&bytes);
    for number in bytes[at..at + 4 * 500].chunks_mut(4) {
        number.copy_from_slice(&f32::MAX.to_le_bytes());
    }
    fs::write(dir.path().join("hot.onnx"), bytes).unwrap();
    let cases = [
        (
            "evaluate hot.onnx --data digits",
            "output for image 0 of digits:test is not finite; train",
        ),
        (
            "train lenet --out out.onnx --data digits --init hot.onnx",
            "training diverges: the loss of iteration 0 is NaN; check images and labels of digits:train",
        ),
    ];
    for (line, wanted) in cases {
        assert_eq!(not_the_error(&lots(&dir, line), wanted), None, "{line}");
    }
}
