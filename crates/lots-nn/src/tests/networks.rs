//! Small networks drawn at random: chains like LeNet, residual branches, gates, branches that cross matrix products.
//!
//! Oracle: `naive`, and central differences of it. A convolution in front of a max pool is sent back winner by winner
//! when its kernel's width times its channels is at least 32 and it does not go by tiles, else densely; the plans draw both.

use super::check::{check, check_drawn};
use super::compare::cases;
use super::model::Draw;
use super::naive::{Net, Op, Parameter, Window};
use super::operators::{batches, weights};
use proptest::prelude::*;

/// Adds a convolution.
pub(super) fn conv(
    net: &mut Net,
    draw: &mut Draw,
    from: usize,
    rows: usize,
    window: Window,
) -> usize {
    let channels = net.shape(from)[0];
    let [kh, kw] = window.kernel;
    let weight = weights(draw, &[rows, channels, kh, kw], channels * kh * kw);
    let bias = weights(draw, &[rows], 3);
    net.push(Op::Conv { window, groups: 1 }, &[from], vec![weight, bias])
}

/// Adds a fully connected layer.
pub(super) fn gemm(net: &mut Net, draw: &mut Draw, from: usize, outputs: usize) -> usize {
    let inputs: usize = net.shape(from).iter().product();
    let weight = weights(draw, &[outputs, inputs], inputs);
    let bias = weights(draw, &[outputs], 3);
    let op = Op::Gemm { alpha: 1.0, beta: 1.0, transposed: true };
    net.push(op, &[from], vec![weight, bias])
}

pub(super) fn max_pool(
    net: &mut Net,
    from: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
) -> usize {
    let window = Window { stride: [stride; 2], pads: [pad; 4], ..Window::new([kernel; 2]) };
    net.push(Op::MaxPool { window, ceil: false }, &[from], vec![])
}

pub(super) fn relu(net: &mut Net, from: usize) -> usize {
    net.push(Op::unary("Relu"), &[from], vec![])
}

pub(super) fn flatten(net: &mut Net, from: usize) -> usize {
    net.push(Op::Flatten, &[from], vec![])
}

pub(super) fn binary(net: &mut Net, kind: &'static str, a: usize, b: usize) -> usize {
    net.push(Op::Binary { kind, constant: None }, &[a, b], vec![])
}

/// Multiplies by one number, as preprocessing does.
pub(super) fn scale(net: &mut Net, from: usize, by: f32) -> usize {
    let factor = Parameter { shape: vec![], data: vec![by] };
    net.push(Op::Binary { kind: "Mul", constant: Some(1) }, &[from], vec![factor])
}

/// One convolution with a max pool.
#[derive(Clone, Debug)]
struct Stage {
    kernel: [usize; 2],
    stride: usize,
    dilation: usize,
    pads: [usize; 4],
    /// Kernel, stride, pad of the pooling.
    pool: (usize, usize, usize),
    /// No ReLU, one before or one behind the pooling.
    relu: usize,
}

fn stage() -> impl Strategy<Value = Stage> {
    let pool = prop_oneof![
        4 => Just((2, 2, 0)),
        1 => Just((3, 2, 0)),
        1 => Just((3, 2, 1)),
        1 => Just((2, 1, 0)),
        1 => Just((1, 2, 0)),
    ];
    let kernel = (1..=4usize, 1..=4usize);
    let steps = || prop_oneof![4 => Just(1usize), 1 => Just(2usize)];
    (kernel, (steps(), steps()), [0..=2usize, 0..=2usize, 0..=2usize, 0..=2usize], pool, 0..=2usize)
        .prop_map(|(kernel, (stride, dilation), pads, pool, relu)| Stage {
            kernel: [kernel.0, kernel.1],
            stride,
            dilation,
            pads,
            pool,
            relu,
        })
}

impl Stage {
    fn add(&self, net: &mut Net, draw: &mut Draw, from: usize, rows: usize) -> usize {
        let Self { kernel, stride, dilation, pads, pool: (size, step, pad), relu: place } = *self;
        let window =
            Window { stride: [stride; 2], dilation: [dilation; 2], pads, ..Window::new(kernel) };
        let mut v = conv(net, draw, from, rows, window);
        if place == 1 {
            v = relu(net, v);
        }
        v = max_pool(net, v, size, step, pad);
        if place == 2 {
            v = relu(net, v);
        }
        v
    }
}

/// What happens between the second stage and the fully connected layers.
#[derive(Clone, Copy, Debug)]
enum Middle {
    Nothing,
    /// x + conv(relu(x)).
    Residual,
    /// x · its mean, channel by channel.
    Gate,
    /// (x + x) · x.
    Thrice,
    /// Both a max pool and something else read one convolution.
    PoolAndConv,
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn chains_and_branches(
        (channels, height, width) in (1..=3usize, 9..=13usize, 9..=13usize),
        (first, second) in (stage(), stage()),
        // Below 8 rows the second convolution is mostly dense, from 32 on all of its winners are sent alone.
        rows in (prop_oneof![1..=7usize, 8..=20usize, Just(33usize)], 1..=18usize),
        middle in prop_oneof![
            2 => Just(Middle::Nothing),
            1 => Just(Middle::Residual),
            1 => Just(Middle::Gate),
            1 => Just(Middle::Thrice),
            1 => Just(Middle::PoolAndConv),
        ],
        (hidden, outputs) in (1..=40usize, 1..=12usize),
        softmax: bool,
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let mut net = Net::new(&[channels, height, width]);
        let mut v = scale(&mut net, 0, 0.5);
        v = first.add(&mut net, &mut draw, v, rows.0);
        // The second window must fit into what the first stage leaves.
        let room = net.shape(v);
        let mut second = second;
        for (axis, kernel) in second.kernel.iter_mut().enumerate() {
            *kernel = (*kernel).min((room[axis + 1] - 1) / second.dilation + 1);
        }
        if second.pool.0 > 1 {
            second.pads = second.pads.map(|p| p.max(1));
            second.stride = 1;
        }
        v = second.add(&mut net, &mut draw, v, rows.1);
        let same = Window { auto_pad: "SAME_UPPER", ..Window::new([3, 3]) };
        v = match middle {
            Middle::Nothing => v,
            Middle::Residual => {
                let r = relu(&mut net, v);
                let c = conv(&mut net, &mut draw, r, rows.1, same);
                binary(&mut net, "Add", v, c)
            }
            Middle::Gate => {
                let mean = net.push(Op::GlobalAveragePool, &[v], vec![]);
                binary(&mut net, "Mul", mean, v)
            }
            Middle::Thrice => {
                let twice = binary(&mut net, "Add", v, v);
                binary(&mut net, "Mul", twice, v)
            }
            Middle::PoolAndConv => {
                let c = conv(&mut net, &mut draw, v, 16, same);
                let other = relu(&mut net, c);
                let pooled = max_pool(&mut net, c, 3, 1, 1);
                binary(&mut net, "Sub", pooled, other)
            }
        };
        v = flatten(&mut net, v);
        v = gemm(&mut net, &mut draw, v, hidden);
        v = relu(&mut net, v);
        v = gemm(&mut net, &mut draw, v, outputs);
        if softmax {
            net.push(Op::Softmax { axis: -1 }, &[v], vec![]);
        }
        check_drawn(&net, batch, seed)?;
    }
}

/// Nodes in an order in which a matrix product of another branch stands between a convolution and its max pool, or
/// between the max pool and what reads it.
#[test]
fn matrix_products_of_another_branch_in_between() {
    let mut wrong = Vec::new();
    for (place, batch) in [(0, 3), (0, 20), (1, 3), (1, 20), (2, 20)] {
        let mut draw = Draw::new(3);
        let mut net = Net::new(&[12, 8, 8]);
        let mut side = 0;
        let mut branch = |net: &mut Net, now: usize| {
            if now == place {
                let flat = flatten(net, 0);
                side = gemm(net, &mut Draw::new(4), flat, 7);
            }
        };
        branch(&mut net, 0);
        let c = conv(&mut net, &mut draw, 0, 6, Window::new([3, 3]));
        branch(&mut net, 1);
        let p = max_pool(&mut net, c, 2, 2, 0);
        branch(&mut net, 2);
        let r = relu(&mut net, p);
        let f = flatten(&mut net, r);
        let g = gemm(&mut net, &mut draw, f, 7);
        binary(&mut net, "Add", g, side);
        if let Err(e) = check(&net, batch, 5) {
            wrong.push(format!("place {place}, {batch} images: {e}"));
        }
    }
    super::compare::report(&wrong);
}

/// Windows that reach exactly as far as the input is wide, padding included: its last rows and columns see none.
#[test]
fn winners_where_padding_hides_the_end_of_the_input() {
    for batch in [2, 20] {
        let mut draw = Draw::new(2);
        let mut net = Net::new(&[12, 12, 12]);
        let before = relu(&mut net, 0);
        let before = conv(&mut net, &mut draw, before, 12, Window::new([1, 1]));
        let window = Window { stride: [3; 2], pads: [1, 1, 1, 1], ..Window::new([3, 3]) };
        let c = conv(&mut net, &mut draw, before, 8, window);
        let p = max_pool(&mut net, c, 2, 2, 0);
        let f = flatten(&mut net, p);
        gemm(&mut net, &mut draw, f, 5);
        check(&net, batch, 3).unwrap();
    }
}

/// A view between a convolution and a max pool: another geometry (maxout over channels), or the same.
#[test]
fn views_between_a_convolution_and_a_max_pool() {
    for batch in [2, 20] {
        let mut draw = Draw::new(6);
        let mut net = Net::new(&[12, 6, 6]);
        let c = conv(&mut net, &mut draw, 0, 8, Window::new([3, 3]));
        let wide = net.push(Op::Reshape { shape: vec![0, 2, 16, 4] }, &[c], vec![]);
        let p = max_pool(&mut net, wide, 2, 2, 0);
        let f = flatten(&mut net, p);
        gemm(&mut net, &mut draw, f, 5);
        check(&net, batch, 3).unwrap();

        let mut net = Net::new(&[12, 6, 6]);
        let c = conv(&mut net, &mut draw, 0, 8, Window::new([3, 3]));
        let same = net.push(Op::Identity, &[c], vec![]);
        let p = max_pool(&mut net, same, 2, 2, 0);
        let f = flatten(&mut net, p);
        gemm(&mut net, &mut draw, f, 5);
        check(&net, batch, 4).unwrap();
    }
}

/// A wide convolution with groups in front of a max pool: its winners cannot be sent back over all channels.
#[test]
fn grouped_convolution_in_front_of_a_max_pool() {
    for batch in [2, 20] {
        let mut net = Net::new(&[24, 6, 7]);
        let weight = weights(&mut Draw::new(1), &[10, 12, 3, 3], 108);
        let op = Op::Conv { window: Window::new([3, 3]), groups: 2 };
        let c = net.push(op, &[0], vec![weight]);
        max_pool(&mut net, c, 2, 2, 0);
        check(&net, batch, 1).unwrap();
    }
}

/// A layer that is the input itself, and layers behind nothing but views.
#[test]
fn views_of_the_input_are_layers() {
    let mut net = Net::new(&[2, 3, 4]);
    let i = net.push(Op::Identity, &[0], vec![]);
    let f = flatten(&mut net, i);
    net.push(Op::Reshape { shape: vec![0, 4, 3, 2] }, &[f], vec![]);
    for batch in [1, 17] {
        check(&net, batch, 1).unwrap();
    }
}

/// Images so large that fewer of them, or only one, make a block.
#[test]
fn large_images() {
    let mut wrong = Vec::new();
    for (size, batch) in [([260, 260], 18), ([520, 510], 2)] {
        let mut net = Net::new(&[1, size[0], size[1]]);
        let mut draw = Draw::new(1);
        let window =
            Window { stride: [7, 9], dilation: [2, 3], pads: [3, 0, 1, 5], ..Window::new([3, 2]) };
        let c = conv(&mut net, &mut draw, 0, 2, window);
        let window = Window { stride: [5, 5], ..Window::new([6, 6]) };
        net.push(Op::AveragePool { window, ceil: true, count_padding: false }, &[c], vec![]);
        if let Err(e) = check(&net, batch, 2) {
            wrong.push(format!("{size:?}: {e}"));
        }
    }
    super::compare::report(&wrong);
}
