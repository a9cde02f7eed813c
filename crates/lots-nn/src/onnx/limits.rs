//! Files made to exhaust memory: an empty message takes two bytes of a file and a hundred times as many once it is read.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Messages, names and lists of a file, at most: far more than the largest networks have, and at most some hundred MB.
const MOST: usize = 1 << 20;

/// A kind of message by the kinds of the messages in it: (field, kind). Kinds are positions in [`KINDS`].
type Kind = &'static [(u32, usize)];

const GRAPH: usize = 1;
const NODE: usize = 2;
const ATTRIBUTE: usize = 3;
const TENSOR: usize = 4;
const VALUE: usize = 5;
const TYPE: usize = 6;
const TENSOR_TYPE: usize = 7;
const SHAPE: usize = 8;
/// Messages without messages, and lists of them that are counted where they lie.
const LEAF: usize = 9;

/// What `proto.rs` reads, from the model down.
const KINDS: [Kind; 10] = [
    &[(7, GRAPH), (8, LEAF), (14, LEAF)],
    &[(1, NODE), (5, TENSOR), (11, VALUE), (12, VALUE), (13, VALUE)],
    &[(5, ATTRIBUTE)],
    &[(5, TENSOR)],
    &[(13, LEAF)],
    &[(2, TYPE)],
    &[(1, TENSOR_TYPE)],
    &[(2, SHAPE)],
    &[(1, LEAF)],
    &[],
];

/// Refuses the bytes of a model of more than [`MOST`] pieces, before anything is made of them. Damage is left to the
/// decoder, which goes no further than this.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut left = MOST;
    count(bytes, 0, &mut left);
    if left > 0 {
        return Ok(());
    }
    Err(format!(
        "it has more than {MOST} nodes, constants, attributes and names; no network has: export it again"
    ))
}

/// Takes the pieces of a message of `kind` off `left`, and stops at zero, or at damage; `None` then.
fn count(mut bytes: &[u8], kind: usize, left: &mut usize) -> Option<()> {
    while !bytes.is_empty() {
        let (field, wire) = decode_key(&mut bytes).ok()?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, field, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        }
        *left = left.checked_sub(1)?;
        let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
        let (inside, behind) = bytes.split_at_checked(length)?;
        if let Some((_, kind)) = KINDS[kind].iter().find(|(at, _)| *at == field) {
            count(inside, *kind, left)?;
        }
        bytes = behind;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::onnx::{AttributeProto, Dim, ShapeProto, StringEntry, ValueInfo};
    use crate::onnx::{GraphProto, ModelProto, NodeProto, TensorProto, TensorType, TypeProto};
    use prost::Message;

    fn model(graph: GraphProto) -> ModelProto {
        ModelProto { graph: Some(graph), ..ModelProto::default() }
    }

    /// `inside` as field `field` of a message.
    fn wrapped(field: u32, inside: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::bytes::encode(field, &inside.to_vec(), &mut bytes);
        bytes
    }

    /// A file of `count` empty pieces at the end of a path of fields.
    fn bomb(path: &[u32], count: usize) -> Vec<u8> {
        let (last, path) = path.split_last().unwrap();
        let bytes = wrapped(*last, &[]).repeat(count);
        path.iter().rev().fold(bytes, |bytes, &field| wrapped(field, &bytes))
    }

    /// Every list of messages or names that the reader keeps, in files of 2 to 3 MB.
    #[test]
    fn too_many_pieces_are_refused_unread() {
        let paths: [&[u32]; 21] = [
            &[8],
            &[14],
            &[7, 1],
            &[7, 5],
            &[7, 11],
            &[7, 12],
            &[7, 13],
            &[7, 1, 1],
            &[7, 1, 2],
            &[7, 1, 5],
            &[7, 1, 5, 9],
            &[7, 1, 5, 5, 13],
            &[7, 5, 13],
            &[7, 11, 2, 1, 2, 1],
            &[7, 12, 2, 1, 2, 1],
            &[7, 13, 2, 1, 2, 1],
            &[7],
            &[7, 1, 5, 5],
            &[7, 11, 2],
            &[7, 11, 2, 1],
            &[7, 11, 2, 1, 2],
        ];
        for path in paths {
            assert!(check(&bomb(path, MOST)).is_err(), "{path:?}");
            assert!(check(&bomb(path, MOST - 100)).is_ok(), "{path:?}");
        }
        let refused = Graph::from_onnx(&bomb(&[7, 1], MOST), "bomb.onnx").unwrap_err().to_string();
        assert!(refused.starts_with("bomb.onnx: it has more than 1048576 nodes"), "{refused}");
    }

    /// Oracle: the decoder, which counts what it finds. Should a message get a field that is not in [`KINDS`], this fails.
    #[test]
    fn every_piece_that_is_kept_is_counted() {
        let text = || "x".to_owned();
        let tensor = || TensorProto {
            name: text(),
            raw_data: vec![1],
            external_data: vec![StringEntry { key: text(), value: text() }],
            ..TensorProto::default()
        };
        let value = || {
            let dim = vec![Dim { value: None, param: Some(text()) }];
            let tensor = Some(TensorType { elem_type: 1, shape: Some(ShapeProto { dim }) });
            ValueInfo { name: text(), kind: Some(TypeProto { tensor }) }
        };
        let attribute = AttributeProto {
            name: text(),
            s: vec![1],
            t: Some(tensor()),
            strings: vec![vec![1]],
            ..AttributeProto::default()
        };
        let node = NodeProto {
            input: vec![text()],
            output: vec![text()],
            name: text(),
            op_type: text(),
            attribute: vec![attribute],
            ..NodeProto::default()
        };
        let whole = model(GraphProto {
            node: vec![node],
            initializer: vec![tensor()],
            input: vec![value()],
            output: vec![value()],
            value_info: vec![value()],
            ..GraphProto::default()
        });
        // A tensor: itself, name, data, entry, key, value. A value: itself, name, type, tensor, shape, dim, its name.
        let (tensor, value) = (6, 7);
        let attribute = 4 + tensor;
        let wanted = 1 + (5 + attribute) + tensor + 3 * value;
        let mut left = MOST;
        assert_eq!(count(&whole.encode_to_vec(), 0, &mut left), Some(()));
        assert_eq!(MOST - left, wanted);
    }

    /// Groups within groups, and messages within messages, deeper than any stack.
    #[test]
    fn deep_nesting_is_refused() {
        let groups: Vec<u8> = [0x5b_u8].repeat(1 << 20);
        let messages = (0..200).fold(Vec::new(), |bytes, _| wrapped(6, &bytes));
        let subgraphs = wrapped(7, &wrapped(1, &wrapped(5, &messages)));
        for (bytes, what) in [(groups, "groups"), (subgraphs, "subgraphs")] {
            assert!(Graph::from_onnx(&bytes, what).is_err(), "{what}");
        }
    }
}
