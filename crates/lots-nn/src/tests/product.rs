//! MatMul of two activations, or of one and a constant anywhere.
//!
//! Oracle: `naive`, and central differences of it.

use super::check::{check, check_drawn};
use super::compare::{FORWARD, cases};
use super::model::{Draw, Model};
use super::naive::{Net, Op, Parameter, of_one_image};
use super::operators::batches;
use crate::graph::Graph;
use crate::network::Network;
use crate::onnx::int_tensor;
use ndarray::Array4;
use proptest::prelude::*;

/// A network that multiplies arrays of `shapes`, cut out of its input; where `constant` says so, one is a parameter.
fn product(shapes: [Vec<usize>; 2], constant: Option<usize>, draw: &mut Draw) -> Net {
    let sizes = [0, 1].map(|side| shapes[side].iter().product::<usize>());
    let all: usize = (0..2).filter(|s| constant != Some(*s)).map(|s| sizes[s]).sum();
    let mut net = Net::new(&[all]);
    let mut from = 0;
    let mut inputs = Vec::new();
    for side in (0..2).filter(|s| constant != Some(*s)) {
        let (first, last) = (from, from + sizes[side]);
        let lists = [[first as i64], [last as i64], [1]].map(|l| int_tensor("", &l));
        let part = Op::Moves {
            name: "Slice",
            attributes: vec![],
            integers: lists.to_vec(),
            shape: vec![sizes[side]],
            from: (first..last).map(Ok).collect(),
        };
        let part = net.push(part, &[0], vec![]);
        let shape: Vec<i64> = shapes[side].iter().map(|&d| d as i64).collect();
        let shaped = Op::Moves {
            name: "Reshape",
            attributes: vec![],
            integers: vec![int_tensor("", &shape)],
            shape: of_one_image(&shapes[side]),
            from: (0..sizes[side]).map(Ok).collect(),
        };
        inputs.push(net.push(shaped, &[part], vec![]));
        from = last;
    }
    let parameters = constant.map(|side| Parameter {
        shape: shapes[side].clone(),
        data: draw.floats(sizes[side], -1.0, 1.0),
    });
    net.push(Op::Product { constant, shapes }, &inputs, parameters.into_iter().collect());
    net
}

proptest! {
    #![proptest_config(cases(320))]

    #[test]
    fn products(
        (rows, depth, columns) in (1..=7usize, 1..=7usize, 1..=20usize),
        // By axis before the last two: the size, and who has it: both, left, right.
        axes in proptest::collection::vec((1..=3usize, 0..=2usize), 0..=3),
        // How many of the leading axes each side does without, if they are 1 there.
        fewer in [0..=3usize, 0..=3usize],
        // Lists instead of matrices.
        lists in prop_oneof![6 => Just([false, false]), 1 => any::<[bool; 2]>()],
        constant in prop_oneof![3 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(1))],
        batch in batches(),
        seed: u64,
    ) {
        let shape = |side: usize| {
            let batch: Vec<usize> =
                axes.iter().map(|&(d, who)| if who == 2 - side { 1 } else { d }).collect();
            let ones = batch.iter().take_while(|d| **d == 1).count().min(fewer[side]);
            match (lists[side], side) {
                (true, _) => vec![depth],
                (_, 0) => [&batch[ones..], &[rows, depth]].concat(),
                _ => [&batch[ones..], &[depth, columns]].concat(),
            }
        };
        // A constant matrix on the right is another operator's.
        let shapes = [shape(0), shape(1)];
        prop_assume!(constant != Some(1) || shapes[1].len() != 2);
        check_drawn(&product(shapes, constant, &mut Draw::new(seed)), batch, seed)?;
    }
}

/// As the heads of a vision transformer multiply: long rows, few of them, and depths longer than one tile.
#[test]
fn heads() {
    let mut draw = Draw::new(1);
    for batch in [1, 17] {
        let shapes = [vec![1, 2, 37, 16], vec![1, 2, 16, 37]];
        check(&product(shapes, None, &mut draw), batch, 2).unwrap();
        let shapes = [vec![1, 2, 9, 70], vec![1, 1, 70, 3]];
        check(&product(shapes, None, &mut draw), batch, 3).unwrap();
    }
}

/// A value times itself.
#[test]
fn squares() {
    for batch in [2, 16] {
        let mut net = Net::new(&[3, 5, 5]);
        let shapes = [vec![1, 3, 5, 5], vec![1, 3, 5, 5]];
        net.push(Op::Product { constant: None, shapes }, &[0, 0], vec![]);
        check(&net, batch, 4).unwrap();
    }
}

/// Constants are multiplied when the file is read.
#[test]
fn products_of_constants() {
    // By hand, from 0.1, 0.2, …: a·b is [[[0.22, 0.28], [0.49, 0.64]], [[0.76, 1], [1.03, 1.36]]].
    let model = Model::new(&[1, 1, 4])
        .floats("a", &[2, 2, 3])
        .floats("b", &[3, 2])
        .floats("c", &[2])
        .ints("shape", &[2, 4])
        .node("ab", "MatMul", &["a", "b"], "ab", vec![])
        .node("rows", "Reshape", &["ab", "shape"], "rows", vec![])
        .node("cab", "MatMul", &["c", "rows"], "cab", vec![])
        .node("y", "Add", &["image", "cab"], "y", vec![])
        .output("y");
    let graph = Graph::from_onnx(&model.bytes(), "test").unwrap();
    let zeros = Array4::zeros((1, 1, 1, 4));
    let y = graph.represent(zeros.view(), graph.output()).unwrap().into_raw_vec_and_offset().0;
    FORWARD.check("c · a · b", &y, &[0.174, 0.228, 0.255, 0.336]).unwrap();
}
