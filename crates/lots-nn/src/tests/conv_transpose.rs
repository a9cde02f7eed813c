//! ConvTranspose with every attribute.
//!
//! Oracle: `naive`, and central differences of it.

use super::check::{check, check_drawn};
use super::compare::{cases, same_bits};
use super::model::{Draw, Model, ints};
use super::naive::{Op, Window};
use super::operators::{batches, single, weights};
use crate::graph::Graph;
use crate::network::Network;
use ndarray::Array4;
use proptest::prelude::*;

/// Along one axis: kernel, stride, dilation, pads, output_padding, what output_shape takes away from the whole, and the
/// input's size.
#[derive(Clone, Copy, Debug)]
struct Axis {
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: [usize; 2],
    more: usize,
    less: usize,
    input: usize,
}

impl Axis {
    fn whole(&self) -> usize {
        self.stride * (self.input - 1) + (self.kernel - 1) * self.dilation + 1 + self.more
    }
}

fn axis() -> impl Strategy<Value = Axis> {
    let dilation = prop_oneof![3 => Just(1usize), 1 => 2..=3usize];
    (1..=4usize, 1..=3usize, dilation, 1..=6usize).prop_flat_map(
        |(kernel, stride, dilation, input)| {
            let more = 0..=stride.max(dilation) - 1;
            (more, 0..=3usize, 0..=3usize, 0..=3usize).prop_map(move |(more, begin, end, less)| {
                Axis { kernel, stride, dilation, pads: [begin, end], more, less, input }
            })
        },
    )
}

proptest! {
    #![proptest_config(cases(320))]

    #[test]
    fn conv_transpose(
        (y, x) in (axis(), axis()),
        auto_pad in prop_oneof![
            3 => Just("NOTSET"), 1 => Just("SAME_UPPER"), 1 => Just("SAME_LOWER"), 1 => Just("VALID"),
        ],
        shaped: bool,
        (groups, per_group, rows) in (1..=3usize, 1..=6usize, 1..=6usize),
        bias: bool,
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let same = auto_pad.starts_with("SAME");
        // Something must be left, and where SAME puts zeros nobody knows.
        for a in [y, x] {
            let pads = a.pads[0] + a.pads[1];
            prop_assume!(if shaped { a.whole() > a.less } else { same || a.whole() > pads });
            prop_assume!(shaped || !same || a.whole() >= a.input * a.stride);
        }
        let window = Window {
            kernel: [y.kernel, x.kernel],
            stride: [y.stride, x.stride],
            dilation: [y.dilation, x.dilation],
            pads: [y.pads[0], x.pads[0], y.pads[1], x.pads[1]],
            auto_pad,
        };
        let channels = groups * per_group;
        let shape = [channels, rows, y.kernel, x.kernel];
        let mut parameters = vec![weights(&mut draw, &shape, per_group * y.kernel * x.kernel)];
        if bias {
            parameters.push(weights(&mut draw, &[groups * rows], 3));
        }
        let op = Op::ConvTranspose {
            window,
            groups,
            output_padding: [y.more, x.more],
            output_shape: shaped.then(|| [y.whole() - y.less, x.whole() - x.less]),
        };
        check_drawn(&single(&[channels, y.input, x.input], op, parameters), batch, seed)?;
    }
}

/// An output longer than the inputs reach: zeros behind, and the bias.
#[test]
fn output_shapes_beyond_the_whole() {
    let window = Window { stride: [3, 4], ..Window::new([2, 1]) };
    for batch in [1, 20] {
        let mut draw = Draw::new(1);
        let parameters = vec![weights(&mut draw, &[2, 3, 2, 1], 4), weights(&mut draw, &[3], 3)];
        let op = Op::ConvTranspose {
            window,
            groups: 1,
            output_padding: [0, 0],
            output_shape: Some([9, 8]),
        };
        check(&single(&[2, 3, 2], op, parameters), batch, 2).unwrap();
    }
}

/// Rows instead of planes: one axis less everywhere.
#[test]
fn rows_are_planes_of_one_row() {
    let outputs = [1, 2].map(|axes| {
        let of = |sizes: [i64; 2]| sizes[2 - axes..].to_vec();
        let pads: Vec<i64> = [&of([0, 1])[..], &of([0, 2])].concat();
        let model = Model::new(&[&[3], &of([1, 5])[..]].concat())
            .floats("w", &[&[3, 2], &[1, 4][2 - axes..]].concat())
            .floats("b", &[2])
            .node(
                "t",
                "ConvTranspose",
                &["image", "w", "b"],
                "y",
                vec![
                    ints("strides", &of([1, 3])),
                    ints("dilations", &of([1, 2])),
                    ints("pads", &pads),
                    ints("output_padding", &of([0, 1])),
                ],
            )
            .output("y");
        let graph = Graph::from_onnx(&model.bytes(), "test").unwrap();
        let shape = if axes == 1 { (2, 1, 3, 5) } else { (2, 3, 1, 5) };
        let images = Draw::new(1).floats(30, -1.0, 1.0);
        let images = Array4::from_shape_vec(shape, images).unwrap();
        let y = graph.represent(images.view(), graph.output()).unwrap();
        (graph.layers()[0].shape.clone(), y.into_raw_vec_and_offset().0)
    });
    // By the operator's formula: 3 · 4 + 3 · 2 + 1 + 1 - 1 - 2.
    assert_eq!([&outputs[0].0[..], &outputs[1].0], [&[2, 17][..], &[2, 1, 17]]);
    same_bits("rows and planes", &outputs[0].1, &outputs[1].1).unwrap();
}
