use std::fs;
use std::path::PathBuf;

use crate::{lots, not_the_error, workplace};

/// VGG Face at small width, by references/make_vgg_face.py.
fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../lots-nn/tests/data/convert", name].iter().collect()
}

#[test]
fn what_is_not_vgg_face_is_refused() {
    let dir = workplace();
    for name in ["v1.caffemodel", "legacy.pth", "zip.pth", "conv2d.h5"] {
        // Content tells what a file is.
        fs::copy(file(name), dir.path().join(name.replace('.', "_"))).unwrap();
    }
    fs::write(dir.path().join("vgg_face.mat"), "MATLAB 5.0 MAT-file").unwrap();
    fs::write(dir.path().join("out.onnx"), "").unwrap();
    let shape =
        "conv1_1.weight: wanted [64, 3, 3, 3], found [4, 3, 3, 3]; another network: download";
    let cases = [
        ("v1_caffemodel --out a.onnx", shape),
        ("legacy_pth --out a.onnx", shape),
        ("zip_pth --out a.onnx --json", shape),
        (
            "conv2d_h5 --out a.onnx",
            "conv1_1.weight: wanted [3, 3, 3, 64], found [3, 3, 3, 4]; another",
        ),
        (
            "lenet.onnx --out a.onnx",
            "lenet.onnx: wanted a Caffe, PyTorch or Keras file of VGG Face",
        ),
        (
            "vgg_face.mat --out a.onnx",
            "vgg_face.mat: a MATLAB file, which Lots does not read; wanted",
        ),
        ("none --out a.onnx", "cannot read none: "),
        ("digits --out a.onnx", "cannot read digits: "),
        ("v1_caffemodel --out out.onnx", "out.onnx exists; give another --out, or --force"),
        ("v1_caffemodel --out digits", "cannot write digits: it is a folder"),
        ("v1_caffemodel", "--out <FILE>"),
    ];
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|(line, wanted)| {
            Some(format!(
                "{line}: {}",
                not_the_error(&lots(&dir, &format!("convert {line}")), wanted)?
            ))
        })
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(!dir.path().join("a.onnx").exists());
}
