//! Files of all formats at small width, written by other tools.
//!
//! Oracle: `references/make_vgg_face.py`, which states what wrote them; logits by PyTorch in float64.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array, ArrayD, Ix2, Ix4};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::vgg_face::{PUBLISHED, Parameter, Widths};
use super::{Source, VggFace, caffe, keras, pytorch};
use crate::error::Result;
use crate::onnx::ModelProto;
use crate::{Graph, Network};

/// The widths of the files.
const SMALL: Widths = Widths { image: 64, blocks: [4, 6, 8, 8, 10], hidden: [20, 16], classes: 7 };

const CAFFE: [&str; 2] = ["v1.caffemodel", "v2.caffemodel"];
const RGB: [&str; 4] = ["legacy.pth", "zip.pth", "conv2d.h5", "named.h5"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/convert")
}

fn all() -> impl Iterator<Item = &'static str> {
    CAFFE.into_iter().chain(RGB)
}

fn convert(path: &Path, widths: Widths) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = VggFace::open_of(path, widths)?;
    let (all, mut last) = (file.parameters(), 0);
    file.write_onnx(&mut bytes, "out.onnx", &mut |done| last = done)?;
    assert_eq!(last, all, "progress");
    Ok(bytes)
}

/// What is said of `bytes`, as a file in `dir`; nothing if they are converted.
fn refusal(dir: &TempDir, bytes: &[u8], widths: Widths) -> Option<String> {
    let path = dir.path().join("changed");
    fs::write(&path, bytes).unwrap();
    convert(&path, widths).err().map(|e| e.to_string())
}

/// Images, logits of networks that take RGB, and of those that take BGR.
fn reference() -> [ArrayD<f32>; 3] {
    let bytes = fs::read(folder().join("logits.bin")).unwrap();
    let mut words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    let mut word = || words.next().unwrap();
    assert_eq!(word(), 3);
    [(); 3].map(|()| {
        let shape: Vec<usize> = (0..word()).map(|_| word() as usize).collect();
        let data = (0..shape.iter().product()).map(|_| f32::from_bits(word())).collect();
        Array::from_shape_vec(shape, data).unwrap()
    })
}

/// `bytes` with the first `from` replaced by `to`, as long.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|part| part == from).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn logits_are_pytorchs() {
    let [images, rgb, bgr] = reference();
    let images = images.into_dimensionality::<Ix4>().unwrap();
    let largest_of = |a: &ArrayD<f32>| a.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let mut wrong = Vec::new();
    for (names, logits) in [(&CAFFE[..], bgr), (&RGB[..], rgb)] {
        let mut first = None;
        for name in names {
            let bytes = convert(&folder().join(name), SMALL).unwrap();
            let network = Graph::from_onnx(&bytes, name).unwrap();
            let ours = network.represent(images.view(), network.output()).unwrap();
            let wanted = logits.view().into_dimensionality::<Ix2>().unwrap();
            let off = largest_of(&(&ours - &wanted).into_dyn()) / largest_of(&logits);
            // Chains of f32 against f64, through sixteen layers.
            if off.is_nan() || off > 1e-5 {
                wrong.push(format!("{name}: {off:e}"));
            }
            assert!(*first.get_or_insert_with(|| bytes.clone()) == bytes, "{name}: other bytes");
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The paper counts CONV1_1 (1) … CONV5_3 (13), FC6 (14), FC7 (15).
#[test]
fn indices_are_the_papers_and_lie_behind_the_relu() {
    let bytes = convert(&folder().join("v1.caffemodel"), SMALL).unwrap();
    let network = Graph::from_onnx(&bytes, "vgg_face").unwrap();
    let mut indexed: Vec<_> = network.layers().iter().filter(|l| l.index.is_some()).collect();
    indexed.sort_by_key(|l| l.index);
    let names: Vec<&str> = indexed.iter().map(|l| l.name.as_str()).collect();
    let wanted = "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3 conv4_1 conv4_2 conv4_3 conv5_1 conv5_2 conv5_3 fc6 fc7 fc8";
    assert_eq!(names.join(" "), wanted);
    assert!(indexed.iter().map(|l| l.index).eq((1..=16).map(Some)));
    let operators: Vec<&str> = indexed.iter().map(|l| l.operator.as_str()).collect();
    assert_eq!(operators.join(" "), "Relu ".repeat(15) + "Gemm");
    for asked in ["fc7", "15"] {
        assert_eq!(network.find_layers(asked).unwrap(), [indexed[14].id], "{asked}");
    }
}

#[test]
fn a_list_of_layers_that_does_not_fit_is_refused() {
    let bytes = convert(&folder().join("zip.pth"), SMALL).unwrap();
    for (to, told) in [(b"\nfc9\n", "fc9"), (b"\nfc6\n", "fc6")] {
        let error = Graph::from_onnx(&replaced(&bytes, b"\nfc7\n", to), "a.onnx").unwrap_err();
        let wanted = format!("a.onnx: its metadata lots.layers lists \"{told}\", wanted each");
        assert!(error.to_string().starts_with(&wanted), "{error}");
    }
}

#[test]
fn the_bytes_are_those_of_the_whole_model() {
    for name in ["v1.caffemodel", "zip.pth"] {
        let bytes = convert(&folder().join(name), SMALL).unwrap();
        let model = ModelProto::decode(bytes.as_slice()).unwrap();
        assert!(model.encode_to_vec() == bytes, "{name}");
    }
}

#[test]
fn class_names_go_into_the_file() {
    let path = folder().join("v1.caffemodel");
    let text = fs::read_to_string(folder().join("names.txt")).unwrap();
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    let write = |names: Vec<String>| {
        let mut bytes = Vec::new();
        let mut file = VggFace::open_of(&path, SMALL).unwrap();
        file.name_classes(names)?;
        file.write_onnx(&mut bytes, "out.onnx", &mut |_| ()).map(|()| bytes)
    };
    let network = Graph::from_onnx(&write(names.clone()).unwrap(), "named").unwrap();
    let found = network.metadata().find(|(key, _)| *key == "lots.class_names").unwrap();
    assert_eq!(found.1, text.trim_end());
    names.pop();
    let error = write(names).unwrap_err().to_string();
    assert_eq!(error, "wanted 7 class names, one a class of VGG Face, found 6");
}

/// The published network, by its authors' counts.
#[test]
fn the_published_network_is_the_papers() {
    let parameters = PUBLISHED.parameters();
    let elements: usize = parameters.iter().map(Parameter::elements).sum();
    assert_eq!(elements, 145_002_878);
    let shape = |at: usize| (parameters[at].to_string(), parameters[at].shape.clone());
    assert_eq!(shape(0), ("conv1_1.weight".into(), vec![64, 3, 3, 3]));
    assert_eq!(shape(26), ("fc6.weight".into(), vec![4096, 25_088]));
    assert_eq!(shape(31), ("fc8.bias".into(), vec![2622]));
}

#[test]
fn other_widths_are_refused_by_parameter() {
    let mut wider = SMALL;
    wider.blocks[4] = 11;
    let classes = Widths { classes: 8, ..SMALL };
    let fc7 = Widths { hidden: [20, 17], ..SMALL };
    let image = Widths { image: 96, ..SMALL };
    // In Keras the same shapes have another order.
    let cases = [
        (PUBLISHED, "conv1_1.weight", [[64, 3, 3, 3], [4, 3, 3, 3]], [[3, 3, 3, 64], [3, 3, 3, 4]]),
        (wider, "conv5_1.weight", [[11, 8, 3, 3], [10, 8, 3, 3]], [[3, 3, 8, 11], [3, 3, 8, 10]]),
        (image, "fc6.weight", [[20, 90, 0, 0], [20, 40, 0, 0]], [[3, 3, 10, 20], [2, 2, 10, 20]]),
        (fc7, "fc7.weight", [[17, 20, 0, 0], [16, 20, 0, 0]], [[1, 1, 20, 17], [1, 1, 20, 16]]),
        (classes, "fc8.weight", [[8, 16, 0, 0], [7, 16, 0, 0]], [[1, 1, 16, 8], [1, 1, 16, 7]]),
    ];
    let mut wrong = Vec::new();
    for (widths, parameter, onnx, kerases) in cases {
        for name in all() {
            let error = convert(&folder().join(name), widths).unwrap_err().to_string();
            let [wanted, mut found] = if name.ends_with("h5") { kerases } else { onnx }
                .map(|shape| shape.into_iter().filter(|&d| d > 0).collect::<Vec<usize>>());
            if name == "v1.caffemodel" && found.len() == 2 {
                found = [&[1, 1], found.as_slice()].concat();
            }
            let told = format!(
                "{name}: {parameter}: wanted {wanted:?}, found {found:?}; another network: "
            );
            if !error.contains(&told) {
                wrong.push(format!("{error}; wanted {told}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `name` read as a network of `parameters`; what is said of it.
fn refused_of(name: &str, parameters: &[Parameter]) -> String {
    let path = folder().join(name);
    let source: Result<Box<dyn Source>> = match name.rsplit_once('.').unwrap().1 {
        "pth" => pytorch::PyTorch::open(&path, name, parameters).map(|s| Box::new(s) as _),
        "h5" => keras::Keras::open(&path, name, parameters).map(|s| Box::new(s) as _),
        _ => caffe::Caffe::open(&path, name, parameters).map(|s| Box::new(s) as _),
    };
    source.err().map(|e| e.to_string()).unwrap_or_default()
}

#[test]
fn missing_and_unknown_parameters_are_refused_by_name() {
    let parameters = SMALL.parameters();
    let mut more = parameters.clone();
    more.push(Parameter { layer: "fc9".into(), ..parameters[30].clone() });
    let mut swapped = parameters.clone();
    swapped.rotate_left(2);
    let mut wrong = Vec::new();
    for name in all() {
        let unknown = match name {
            "conv2d.h5" => "array \"conv2d_16/kernel:0\" is not part of VGG Face",
            "named.h5" => "array \"fc8/kernel:0\" is not part of VGG Face",
            "legacy.pth" | "zip.pth" => "tensor \"fc8.bias\" is not part of VGG Face",
            _ => "layer \"fc8\", which has weights, is not part of VGG Face",
        };
        let missing = "no fc9.weight, which VGG Face has; found another network or a damaged file";
        for (parameters, told) in [(&parameters[..30], unknown), (&more, missing)] {
            let error = refused_of(name, parameters);
            if !error.starts_with(&format!("{name}: {told}")) {
                wrong.push(format!("{error:?}; wanted {name}: {told}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What has the names of VGG Face has them in its order.
    let error = refused_of("named.h5", &swapped);
    let told = "named.h5: wanted conv1_2.weight, found \"conv1_1/kernel:0\" in its place; another";
    assert!(error.starts_with(told), "{error}");
}

#[test]
fn other_files_are_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str| fs::read(folder().join(name)).unwrap();
    let v1 = read("v1.caffemodel");
    // The numbers of conv1_1 lie behind their key and length, 4·3·3·3 floats.
    let mut nan = replaced(&v1, &[0x2a, 0xb0, 0x03], &[0x2a, 0xb0, 0x03]);
    let at = nan.windows(3).position(|part| part == [0x2a, 0xb0, 0x03]).unwrap() + 3 + 8;
    nan[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "the file is empty; wanted a Caffe, PyTorch or Keras file"),
        (
            "text",
            b"name: \"VGG_FACE_16_layers\"".to_vec(),
            "wanted a Caffe, PyTorch or Keras file of VGG Face (VGG_FACE.caffemodel, vgg_face_dag.pth, vgg_face_weights.h5), found something else",
        ),
        (
            "MATLAB",
            b"MATLAB 5.0 MAT-file, Platform: MACI64".to_vec(),
            "a MATLAB file, which Lots does not read; wanted a Caffe",
        ),
        (
            "ONNX",
            crate::lenet(0).to_onnx(),
            "wanted a Caffe, PyTorch or Keras file of VGG Face (VGG",
        ),
        ("half", read("half.pth"), "conv1_1.weight: wanted numbers of type F32, found F16; save"),
        (
            "double",
            read("double.h5"),
            "conv1_1.weight: wanted numbers of type float32, found another type; save",
        ),
        (
            "no list",
            read("bare.h5"),
            "wanted weights saved by Keras, but attribute not found: layer_names",
        ),
        ("no pickle", read("other.zip"), "wanted weights saved by PyTorch, but "),
        (
            "name",
            replaced(&v1, b"\"\x07conv1_2", b"\"\x07conv9_2"),
            "layer \"conv9_2\", which has weights, is not part of VGG Face",
        ),
        (
            "twice",
            replaced(&v1, b"\"\x07conv1_2", b"\"\x07conv1_1"),
            "conv1_1.weight: wanted [4, 3, 3, 3], found [4, 4, 3, 3]",
        ),
        (
            "key",
            replaced(&read("legacy.pth"), b"conv1_2.weight", b"conv9_2.weight"),
            "no conv1_2.weight, which VGG Face has",
        ),
        (
            "not finite",
            nan,
            "conv1_1.weight holds NaN at position 2; weights must be finite numbers: ",
        ),
        // A layer with three arrays; one with an array of numbers in another form; a length of 2^62.
        (
            "arrays",
            [&v1[..], b"\x12\x0b\x22\x03fc8\x32\x00\x32\x00\x32\x00"].concat(),
            "layer \"fc8\": wanted weights and biases, found 3 arrays",
        ),
        (
            "double_data",
            [&v1[..], b"\x12\x0b\x22\x03fc8\x32\x02\x42\x00\x32\x00"].concat(),
            "fc8.weight: wanted one array of float32, found numbers in another form",
        ),
        (
            "long",
            [&v1[..], b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x40"].concat(),
            "wanted a network of Caffe, but it is cut short or damaged: ",
        ),
    ];
    let mut wrong = Vec::new();
    for (case, bytes, told) in cases {
        match refusal(&dir, &bytes, SMALL) {
            Some(error) if error.contains(&format!("changed: {told}")) && !error.contains('\n') => {
            }
            other => wrong.push(format!("{case}: {other:?}; wanted {told}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let error = VggFace::open(dir.path().join("none")).err().unwrap().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("none: "), "{error}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for name in all() {
        let whole = fs::read(folder().join(name)).unwrap();
        let length = whole.len();
        // The last 60 bytes of Caffe's files hold some biases of fc8, and what has no weights.
        let end = if CAFFE.contains(&name) { length - 60 } else { length };
        let spread = (0..60).map(|i| i * end / 60);
        for cut in (0..40).chain(spread).chain(end - 40..end) {
            match refusal(&dir, &whole[..cut], SMALL) {
                Some(error) if !error.contains('\n') => {}
                other => wrong.push(format!("{name}: {cut} of {length}: {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Nothing panics; what is accepted is a network.
#[test]
fn damaged_bytes_are_refused_or_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut refused = 0;
    for name in all() {
        let whole = fs::read(folder().join(name)).unwrap();
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            let path = dir.path().join("damaged");
            fs::write(&path, &bytes).unwrap();
            match convert(&path, SMALL) {
                Ok(bytes) => drop(Graph::from_onnx(&bytes, "damaged").unwrap()),
                Err(e) => {
                    refused += 1;
                    assert!(!e.to_string().contains('\n'), "more than one line: {e}");
                }
            }
        }
    }
    assert!(refused > 100, "only {refused}");
}
