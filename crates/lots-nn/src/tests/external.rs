//! Constants in files beside the network's, as PyTorch exports them.

use super::bad_nodes::right;
use super::model::Model;
use crate::graph::Graph;
use crate::network::Network;
use crate::onnx::StringEntry;
use std::fs;
use tempfile::TempDir;

/// A folder of its own, with a folder "inside".
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("inside")).unwrap();
    folder
}

/// [`right`] with its weights elsewhere, by these entries, and the bytes that they are.
fn elsewhere(entries: &[(&str, &str)]) -> (Model, Vec<u8>) {
    let mut weights = Vec::new();
    let model = right().change(|m| {
        let t = &mut m.graph.as_mut().unwrap().initializer[0];
        weights = std::mem::take(&mut t.raw_data);
        t.data_location = 1;
        t.external_data = entries
            .iter()
            .map(|(k, v)| StringEntry { key: (*k).into(), value: (*v).into() })
            .collect();
    });
    (model, weights)
}

#[test]
fn weights_are_read_from_where_they_lie() {
    let folder = folder();
    let wanted = Graph::from_onnx(&right().bytes(), "right").unwrap();
    let cases: [&[(&str, &str)]; 4] = [
        &[("location", "w.bin"), ("offset", "16"), ("length", "216"), ("checksum", "unread")],
        &[("location", "w.bin"), ("offset", "16")],
        &[("location", "inside/w.bin"), ("length", "216")],
        &[("location", "./inside/w.bin")],
    ];
    for entries in cases {
        let (model, weights) = elsewhere(entries);
        fs::write(folder.path().join("w.bin"), [&[7; 16], &weights[..]].concat()).unwrap();
        fs::write(folder.path().join("inside/w.bin"), &weights).unwrap();
        let path = folder.path().join("model.onnx");
        fs::write(&path, model.bytes()).unwrap();
        let network = Graph::open(&path).unwrap();
        assert_eq!(network.layers(), wanted.layers(), "{entries:?}");
        // Written as one file, which is that with its weights inside.
        assert_eq!(network.to_onnx(), wanted.to_onnx(), "{entries:?}");
    }
}

#[test]
fn a_constant_of_a_node_may_lie_elsewhere_too() {
    let folder = folder();
    let (model, weights) = elsewhere(&[("location", "w.bin")]);
    let model = model.change(|m| {
        let graph = m.graph.as_mut().unwrap();
        let constant = graph.initializer.remove(0);
        let mut node = graph.node[0].clone();
        (node.op_type, node.name, node.input) = ("Constant".into(), "k".into(), vec![]);
        node.output = vec!["w".into()];
        node.attribute = vec![crate::onnx::AttributeProto {
            name: "value".into(),
            t: Some(constant),
            kind: 4,
            ..Default::default()
        }];
        graph.node.insert(0, node);
    });
    fs::write(folder.path().join("w.bin"), weights).unwrap();
    fs::write(folder.path().join("model.onnx"), model.bytes()).unwrap();
    assert_eq!(Graph::open(folder.path().join("model.onnx")).unwrap().layers()[0].parameters, 54);
}

/// What no operator holds must not get lost: it is fetched for the file that is written.
#[test]
fn constants_that_nothing_computes_with_are_written_too() {
    let folder = folder();
    let spare = crate::onnx::int_tensor("spare", &[7, -8]);
    let wanted = Graph::from_onnx(&right().constant(spare.clone()).bytes(), "right").unwrap();
    let (model, weights) = elsewhere(&[("location", "w.bin"), ("length", "216")]);
    let entries = [("location", "w.bin"), ("offset", "216")];
    let model = model.constant(crate::onnx::TensorProto {
        raw_data: Vec::new(),
        data_location: 1,
        external_data: entries.map(|(k, v)| StringEntry { key: k.into(), value: v.into() }).into(),
        ..spare.clone()
    });
    fs::write(folder.path().join("w.bin"), [weights, spare.raw_data].concat()).unwrap();
    fs::write(folder.path().join("model.onnx"), model.bytes()).unwrap();
    let network = Graph::open(folder.path().join("model.onnx")).unwrap();
    assert_eq!(network.to_onnx(), wanted.to_onnx());
}

#[test]
fn what_is_not_there_or_elsewhere_is_refused() {
    let folder = folder();
    let (_, weights) = elsewhere(&[]);
    fs::write(folder.path().join("w.bin"), &weights).unwrap();
    fs::write(folder.path().join("short.bin"), &weights[1..]).unwrap();
    let (outer, inner) = (folder.path(), folder.path().join("inside"));
    let absolute = outer.join("w.bin").display().to_string();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outer.join("w.bin"), inner.join("link.bin")).unwrap();
    fs::write(inner.join("w.bin"), &weights).unwrap();
    let cases: [(&[(&str, &str)], &str); 15] = [
        (&[("offset", "0")], "does not say in which; export it again"),
        (&[("location", "")], "no place within the network's folder; copy that file beside"),
        (&[("location", "../w.bin")], "no place within the network's folder"),
        (&[("location", "x/../../w.bin")], "no place within the network's folder"),
        (&[("location", &absolute)], "no place within the network's folder"),
        (&[("location", "link.bin")], "no place within the network's folder"),
        (&[("location", "none.bin")], "lies in \"none.bin\", which cannot be read: "),
        (
            &[("location", "none.bin")],
            "put it beside the network, or export with external_data=False",
        ),
        (&[("location", ".")], "which is no file; put it"),
        (&[("location", "w.bin"), ("offset", "-1")], "has offset \"-1\", wanted a number of bytes"),
        (&[("location", "w.bin"), ("length", "many")], "has length \"many\", wanted"),
        (
            &[("location", "w.bin"), ("length", "217")],
            "217 bytes from byte 0 on, but that file has 216",
        ),
        (
            &[("location", "w.bin"), ("offset", "18446744073709551615"), ("length", "216")],
            "216 bytes from byte 18446744073709551615 on, but that file has 216 bytes",
        ),
        (&[("location", "w.bin"), ("offset", "4")], "wants 54 numbers, found 53"),
        (&[("location", "w.bin"), ("offset", "1")], "no multiple of 4"),
    ];
    let path = inner.join("model.onnx");
    for (entries, wanted) in cases {
        fs::write(&path, elsewhere(entries).0.bytes()).unwrap();
        let refused = Graph::open(&path).unwrap_err().to_string();
        let whole = refused.starts_with(&format!("{}: ", path.display()))
            && refused.contains("constant \"w\" ");
        assert!(whole && refused.contains(wanted), "{entries:?}: {refused}");
    }
}

/// Constants without end that all name the same bytes of one file.
#[test]
fn bytes_are_fetched_once() {
    let folder = folder();
    let (model, weights) = elsewhere(&[("location", "w.bin")]);
    let model = model.change(|m| {
        let constants = &mut m.graph.as_mut().unwrap().initializer;
        let again = crate::onnx::TensorProto { name: "again".into(), ..constants[0].clone() };
        constants.push(again);
    });
    fs::write(folder.path().join("w.bin"), weights).unwrap();
    fs::write(folder.path().join("model.onnx"), model.bytes()).unwrap();
    let refused = Graph::open(folder.path().join("model.onnx")).unwrap_err().to_string();
    assert!(
        refused.contains("constant \"again\" lies in \"w.bin\", where the constants together"),
        "{refused}"
    );
}
