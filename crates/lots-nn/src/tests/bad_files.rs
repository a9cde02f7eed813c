//! Files that are no networks: one line that says what is wrong, never a panic. And files that are, there and back.

use super::bad_nodes::{Case, refused, right};
use super::compare::{report, same_bits};
use super::model::{Draw, Model, to_model, value};
use super::naive::{Net, Window};
use super::networks::{conv, flatten, gemm, max_pool, relu, scale};
use crate::graph::Graph;
use crate::network::Network;
use crate::onnx::{Dim, OperatorSetId, StringEntry, TensorProto, int_tensor};
use crate::train::{Recipe, Trainer};
use ndarray::Array4;

fn with_weight(change: impl FnOnce(&mut TensorProto)) -> Model {
    right().change(|m| change(&mut m.graph.as_mut().unwrap().initializer[0]))
}

fn with_input_dims(dims: &[(Option<i64>, Option<&str>)]) -> Model {
    let dim = dims
        .iter()
        .map(|(value, param)| Dim { value: *value, param: param.map(Into::into) })
        .collect();
    right().change(|m| {
        let kind = m.graph.as_mut().unwrap().input[0].kind.as_mut().unwrap();
        kind.tensor.as_mut().unwrap().shape.as_mut().unwrap().dim = dim;
    })
}

/// What is wrong with the file as a whole.
fn files() -> Vec<Case> {
    let opset = |version| right().change(|m| m.opset_import[0].version = version);
    let free = Some("N");
    vec![
        ("opset 12", opset(12), vec!["operator set 12", "13 to"]),
        ("opset 99", opset(99), vec!["operator set 99"]),
        ("opset below zero", opset(-1), vec!["operator set -1"]),
        (
            "no opset",
            right().change(|m| m.opset_import.clear()),
            vec!["no version of the ONNX operators"],
        ),
        (
            "another domain's opset",
            right().change(|m| {
                m.opset_import = vec![OperatorSetId { domain: "com.microsoft".into(), version: 20 }]
            }),
            vec!["no version of the ONNX operators"],
        ),
        ("no graph", right().change(|m| m.graph = None), vec!["no graph inside"]),
        (
            "two inputs",
            right().change(|m| m.graph.as_mut().unwrap().input.push(value("more", 1, &[3]))),
            vec!["one input of images, found 2 (image, more)"],
        ),
        (
            "no input",
            right().change(|m| m.graph.as_mut().unwrap().input.clear()),
            vec!["one input of images, found 0"],
        ),
        ("two outputs", right().output("c"), vec!["one output, found 2 (y, c)"]),
        (
            "no output",
            right().change(|m| m.graph.as_mut().unwrap().output.clear()),
            vec!["one output, found 0"],
        ),
        (
            "output that nothing makes",
            right().change(|m| m.graph.as_mut().unwrap().output[0].name = "z".into()),
            vec!["no node makes the output \"z\""],
        ),
        (
            "output that is a constant",
            right().change(|m| m.graph.as_mut().unwrap().output[0].name = "w".into()),
            vec!["no node makes the output \"w\""],
        ),
        (
            "output that is the input",
            right().change(|m| m.graph.as_mut().unwrap().output[0].name = "image".into()),
            vec!["no node makes the output \"image\""],
        ),
        ("a constant twice", right().floats("w", &[3, 2, 3, 3]), vec!["constant \"w\"", "twice"]),
        (
            "integers in",
            right().change(|m| m.graph.as_mut().unwrap().input[0] = value("image", 7, &[2, 6, 6])),
            vec!["\"image\" takes int64", "float32"],
        ),
        (
            "half floats in",
            right().change(|m| m.graph.as_mut().unwrap().input[0] = value("image", 10, &[2, 6, 6])),
            vec!["\"image\" takes float16"],
        ),
        (
            "no type",
            right().change(|m| m.graph.as_mut().unwrap().input[0].kind = None),
            vec!["\"image\" takes undefined"],
        ),
        (
            "symbolic height",
            with_input_dims(&[(None, free), (Some(2), None), (None, Some("H")), (Some(6), None)]),
            vec!["[N, 2, H, 6]", "fixed image size"],
        ),
        (
            "unknown width",
            with_input_dims(&[(None, free), (Some(2), None), (Some(6), None), (None, None)]),
            vec!["[N, 2, 6, ?]"],
        ),
        (
            "a fixed batch",
            with_input_dims(&[(Some(8), None), (Some(2), None), (Some(6), None), (Some(6), None)]),
            vec!["[8, 2, 6, 6]", "a fixed batch of 8 images", "a batch of 1"],
        ),
        (
            "a size of zero",
            with_input_dims(&[(None, free), (Some(2), None), (Some(0), None), (Some(6), None)]),
            vec!["[N, 2, 0, 6]"],
        ),
        (
            "a size below zero",
            with_input_dims(&[(None, free), (Some(-2), None), (Some(6), None), (Some(6), None)]),
            vec!["[N, -2, 6, 6]"],
        ),
        (
            "huge sizes",
            with_input_dims(&[
                (None, free),
                (Some(1 << 40), None),
                (Some(1 << 40), None),
                (Some(6), None),
            ]),
            vec!["impossible shape"],
        ),
        ("a flat image", with_input_dims(&[(None, free)]), vec!["[N]"]),
        (
            "volumes",
            with_input_dims(&[
                (None, free),
                (Some(1), None),
                (Some(2), None),
                (Some(6), None),
                (Some(6), None),
            ]),
            vec!["[N, 1, 2, 6, 6]"],
        ),
        (
            "NaN",
            with_weight(|t| t.raw_data[20..24].copy_from_slice(&f32::NAN.to_le_bytes())),
            vec!["constant \"w\" holds NaN at position 5"],
        ),
        (
            "inf",
            with_weight(|t| t.raw_data[0..4].copy_from_slice(&f32::INFINITY.to_le_bytes())),
            vec!["constant \"w\" holds inf at position 0"],
        ),
        (
            "NaN, listed",
            with_weight(|t| {
                t.raw_data.clear();
                t.float_data = vec![f32::NAN; 54];
            }),
            vec!["constant \"w\" holds NaN"],
        ),
        (
            "external data",
            with_weight(|t| t.data_location = 1),
            vec!["constant \"w\" lies in another file"],
        ),
        (
            "external data's place",
            with_weight(|t| {
                t.external_data.push(StringEntry { key: "location".into(), value: "w.bin".into() })
            }),
            vec!["constant \"w\" lies in another file"],
        ),
        (
            "too few numbers",
            with_weight(|t| t.raw_data.truncate(100)),
            vec!["constant \"w\"", "wants 54 numbers, found 25"],
        ),
        (
            "half a number",
            with_weight(|t| t.raw_data.truncate(99)),
            vec!["constant \"w\"", "no multiple of 4"],
        ),
        ("no numbers", with_weight(|t| t.raw_data.clear()), vec!["wants 54 numbers, found 0"]),
        (
            "wrong dims",
            with_weight(|t| t.dims[0] = 4),
            vec!["constant \"w\"", "wants 72 numbers, found 54"],
        ),
        (
            "dims below zero",
            with_weight(|t| t.dims[0] = -3),
            vec!["constant \"w\" has the impossible shape"],
        ),
        (
            "dims that overflow",
            with_weight(|t| t.dims = vec![i64::MAX, i64::MAX]),
            vec!["impossible shape"],
        ),
        (
            "integers of the wrong size",
            Model::new(&[2, 6, 6])
                .constant(TensorProto { raw_data: vec![0; 9], ..int_tensor("i", &[1]) })
                .node("r", "Reshape", &["image", "i"], "y", vec![])
                .output("y"),
            vec!["constant \"i\"", "no multiple of 8"],
        ),
        (
            "doubles as weights",
            with_weight(|t| t.data_type = 11),
            vec!["node \"c\" (Conv)", "holds double"],
        ),
    ]
}

#[test]
fn damaged_files_are_refused() {
    // The network that the cases change is right itself.
    Graph::from_onnx(&right().bytes(), "right").unwrap();
    let mut wrong = Vec::new();
    for (what, model, says) in files() {
        wrong.extend(refused(&model.bytes(), &says).err().map(|e| format!("{what}: {e}")));
    }
    let images: [&[u8]; 4] =
        [b"", b"\x89PNG\r\n\x1a\n0000", b"\x00\x00\x08\x03\x00\x00\x00\x01", b"{\"a\": 1}"];
    for bytes in images {
        wrong.extend(refused(bytes, &[]).err().map(|e| format!("{bytes:?}: {e}")));
    }
    report(&wrong);
}

/// A network small enough to cut everywhere, in training.
fn small() -> Trainer {
    let mut draw = Draw::new(1);
    let mut net = Net::new(&[1, 6, 6]);
    let v = scale(&mut net, 0, 0.5);
    let v = conv(&mut net, &mut draw, v, 2, Window::new([3, 3]));
    let v = max_pool(&mut net, v, 2, 2, 0);
    let v = flatten(&mut net, v);
    let v = gemm(&mut net, &mut draw, v, 3);
    let v = relu(&mut net, v);
    gemm(&mut net, &mut draw, v, 2);
    let model = to_model(&net, &mut draw).change(|m| {
        m.producer_name = crate::onnx::PRODUCER.into();
        m.metadata_props =
            vec![StringEntry { key: crate::onnx::LAST_KEY.into(), value: "yes".into() }];
    });
    let mut trainer =
        Trainer::new(Graph::from_onnx(&model.bytes(), "small").unwrap(), Recipe::default())
            .unwrap();
    trainer.step(Array4::from_elem((3, 1, 6, 6), 0.5).view(), &[0, 1, 0]).unwrap();
    trainer
}

/// What we write, cut at every byte: the last entry of the metadata tells where a file ends.
#[test]
fn our_files_cut_at_any_byte_are_refused() {
    let trainer = small();
    let about = [("z".to_owned(), "last?".to_owned()), ("a".to_owned(), String::new())];
    let resumed = {
        let graph = Graph::from_onnx(&trainer.checkpoint(&about), "checkpoint").unwrap();
        Trainer::resume(graph, Recipe::default()).unwrap()
    };
    let files = [
        ("network", trainer.network().to_onnx()),
        ("checkpoint", trainer.checkpoint(&about)),
        ("finished", trainer.finished(&about)),
        ("checkpoint of a resumed training", resumed.checkpoint(&[])),
    ];
    let mut wrong = Vec::new();
    for (what, bytes) in files {
        assert!(Graph::from_onnx(&bytes, what).is_ok(), "{what}");
        for end in 0..bytes.len() {
            let cut = format!("{what} of {} bytes cut at {end}", bytes.len());
            wrong.extend(refused(&bytes[..end], &[]).err().map(|e| format!("{cut}: {e}")));
        }
    }
    // LeNet: near its end and at the border of each of its pieces is enough.
    let bytes = crate::lenet(0).to_onnx();
    let coarse = (0..bytes.len()).step_by(4999);
    for end in coarse.chain(0..2000).chain(bytes.len() - 2000..bytes.len()) {
        wrong.extend(refused(&bytes[..end], &[]).err().map(|e| format!("LeNet cut at {end}: {e}")));
    }
    report(&wrong);
}

/// There and back: the same bytes, the same logits.
#[test]
fn written_networks_read_back_alike() {
    let trainer = small();
    let mut wrong = Vec::new();
    for graph in [crate::lenet(7), trainer.into_network()] {
        let s = graph.input().clone();
        let n = 9 * s.channels * s.height * s.width;
        let images = Draw::new(2).floats(n, 0.0, 255.0);
        let images = Array4::from_shape_vec((9, s.channels, s.height, s.width), images).unwrap();
        let bytes = graph.to_onnx();
        let again = Graph::from_onnx(&bytes, "again").unwrap();
        if again.to_onnx() != bytes {
            wrong.push(format!("{}: other bytes", graph.name()));
        }
        if again.layers() != graph.layers() || again.input() != graph.input() {
            wrong.push(format!("{}: other layers", graph.name()));
        }
        let [a, b] = [&again, &graph]
            .map(|g| g.represent(images.view(), g.output()).unwrap().into_raw_vec_and_offset().0);
        wrong.extend(same_bits(graph.name(), &a, &b).err());
    }
    report(&wrong);
}

/// Weights that reach their operator through Identity, as exporters share them, are trained and written too.
#[test]
fn weights_behind_an_identity_are_written_as_trained() {
    let model = Model::new(&[4])
        .floats("w", &[4, 3])
        .node("alias", "Identity", &["w"], "v", vec![])
        .node("g", "Gemm", &["image", "v"], "y", vec![])
        .output("y");
    let mut trainer =
        Trainer::new(Graph::from_onnx(&model.bytes(), "alias").unwrap(), Recipe::default())
            .unwrap();
    let images = Array4::from_elem((2, 1, 1, 4), 1.5);
    trainer.step(images.view(), &[0, 2]).unwrap();
    let written = Graph::from_onnx(&trainer.finished(&[]), "written").unwrap();
    let [a, b] = [&written, trainer.network()]
        .map(|g| g.represent(images.view(), g.output()).unwrap().into_raw_vec_and_offset().0);
    same_bits("logits", &a, &b).unwrap();
    // Two layers that share weights through it cannot be trained.
    let model = Model::new(&[4])
        .floats("w", &[4, 4])
        .node("alias", "Identity", &["w"], "v", vec![])
        .node("g", "Gemm", &["image", "v"], "x", vec![])
        .node("h", "Gemm", &["x", "w"], "y", vec![])
        .output("y");
    let graph = Graph::from_onnx(&model.bytes(), "shared").unwrap();
    let e = Trainer::new(graph, Recipe::default()).unwrap_err().to_string();
    assert!(e.contains("share weights"), "{e}");
}
