//! Every operator alone, its shapes, strides, pads, groups and batches drawn at random.
//!
//! Oracle: `naive`, and central differences of it.

use super::check::{check, check_drawn, check_within};
use super::compare::{TILES, cases};
use super::model::Draw;
use super::naive::{Net, Op, Parameter, Window};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Numbers of images: alone, a few, one group of sixteen lanes filled or not, several groups.
pub(super) fn batches() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 1..=4usize, 2 => 5..=15usize, 1 => Just(16), 2 => 17..=40usize]
}

/// Weights of variance 1 / fan-in.
pub(super) fn weights(draw: &mut Draw, shape: &[usize], fan_in: usize) -> Parameter {
    let bound = (3.0 / fan_in as f64).sqrt();
    let n = shape.iter().product();
    Parameter { shape: shape.to_vec(), data: draw.floats(n, -bound, bound) }
}

/// A window and an input that it fits into. Pads up to `most_pads(kernel)` on each side.
pub(super) fn window(
    kernels: std::ops::RangeInclusive<usize>,
    most_pad: impl Fn(usize) -> usize + Copy + 'static,
) -> impl Strategy<Value = (Window, [usize; 2])> {
    let axis = (kernels, 1..=3usize, prop_oneof![3 => Just(1usize), 1 => 2..=3usize], 0..=6usize)
        .prop_flat_map(move |(kernel, stride, dilation, extra)| {
            let pad = most_pad(kernel);
            (Just((kernel, stride, dilation, extra)), 0..=pad, 0..=pad)
        });
    let auto = prop_oneof![
        6 => Just("NOTSET"),
        1 => Just("SAME_UPPER"),
        1 => Just("SAME_LOWER"),
        1 => Just("VALID"),
    ];
    (axis.clone(), axis, auto).prop_map(|(y, x, auto_pad)| {
        let ((ky, sy, dy, ey), top, bottom) = y;
        let ((kx, sx, dx, ex), left, right) = x;
        let pads = if auto_pad == "NOTSET" { [top, left, bottom, right] } else { [0; 4] };
        let w = Window { kernel: [ky, kx], stride: [sy, sx], dilation: [dy, dx], pads, auto_pad };
        let least = |a: usize| match auto_pad {
            "SAME_UPPER" | "SAME_LOWER" => 1,
            _ => w.extent(a).saturating_sub(pads[a] + pads[a + 2]).max(1),
        };
        (w, [least(0) + ey, least(1) + ex])
    })
}

/// A network of one operator.
pub(super) fn single(input: &[usize], op: Op, parameters: Vec<Parameter>) -> Net {
    let mut net = Net::new(input);
    net.push(op, &[0], parameters);
    net
}

proptest! {
    #![proptest_config(cases(320))]

    // Pads larger than the kernel are allowed: they make outputs of the bias alone.
    #[test]
    fn conv(
        (window, [h, w]) in window(1..=4, |k| k + 2),
        (groups, per_group, rows) in (1..=3usize, 1..=9usize, 1..=9usize),
        bias: bool,
        batch in batches(),
        seed: u64,
    ) {
        let (channels, rows) = (groups * per_group, groups * rows);
        let mut draw = Draw::new(seed);
        let [kh, kw] = window.kernel;
        let mut parameters =
            vec![weights(&mut draw, &[rows, per_group, kh, kw], per_group * kh * kw)];
        if bias {
            parameters.push(weights(&mut draw, &[rows], 3));
        }
        let net = single(&[channels, h, w], Op::Conv { window, groups }, parameters);
        check_drawn(&net, batch, seed)?;
    }
}

proptest! {
    #![proptest_config(cases(64))]

    // Shapes that go by Winograd's filtering: tiles that are cut, planes smaller than one, pads larger than the kernel.
    #[test]
    fn conv_in_tiles(
        (taps, pads) in prop_oneof![Just(3usize), Just(5)]
            .prop_flat_map(|taps| (Just(taps), proptest::array::uniform4(0..=taps + 1))),
        (extra_height, extra_width) in (0..=12usize, 0..=21usize),
        (channels, rows) in (16..=21usize, 16..=37usize),
        bias: bool,
        batch in prop_oneof![Just(1usize), Just(2), Just(6), Just(17)],
        seed: u64,
    ) {
        let least = |axis: usize| taps.saturating_sub(pads[axis] + pads[axis + 2]).max(1);
        let input = [channels, least(0) + extra_height, least(1) + extra_width];
        let mut draw = Draw::new(seed);
        let fan_in = channels * taps * taps;
        let mut parameters = vec![weights(&mut draw, &[rows, channels, taps, taps], fan_in)];
        if bias {
            parameters.push(weights(&mut draw, &[rows], 3));
        }
        let window = Window { pads, ..Window::new([taps; 2]) };
        let net = single(&input, Op::Conv { window, groups: 1 }, parameters);
        check_within(&net, batch, seed, [TILES; 2]).map_err(TestCaseError::fail)?;
    }
}

proptest! {
    #![proptest_config(cases(160))]

    #[test]
    fn max_pool(
        (window, [h, w]) in window(1..=5, |k| k - 1),
        ceil: bool,
        channels in 1..=3usize,
        batch in batches(),
        seed: u64,
    ) {
        prop_assume!(!window.misses([h, w], ceil));
        check_drawn(&single(&[channels, h, w], Op::MaxPool { window, ceil }, vec![]), batch, seed)?;
    }

    #[test]
    fn average_pool(
        (window, [h, w]) in window(1..=5, |k| k - 1),
        (ceil, count_padding) in any::<(bool, bool)>(),
        channels in 1..=3usize,
        batch in batches(),
        seed: u64,
    ) {
        prop_assume!(count_padding || !window.misses([h, w], ceil));
        let op = Op::AveragePool { window, ceil, count_padding };
        check_drawn(&single(&[channels, h, w], op, vec![]), batch, seed)?;
    }

    #[test]
    fn gemm(
        (inputs, outputs) in (1..=70usize, 1..=40usize),
        scales in prop_oneof![Just((1.0f32, 1.0f32)), (-2.0..2.0f32, -2.0..2.0f32)],
        transposed: bool,
        bias in 0..=5usize,
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let shape = if transposed { [outputs, inputs] } else { [inputs, outputs] };
        let mut parameters = vec![weights(&mut draw, &shape, inputs)];
        let shapes: [&[usize]; 5] = [&[], &[1], &[1, 1], &[outputs], &[1, outputs]];
        if let Some(shape) = shapes.get(bias) {
            parameters.push(weights(&mut draw, shape, 3));
        }
        let op = Op::Gemm { alpha: scales.0, beta: scales.1, transposed };
        check_drawn(&single(&[inputs], op, parameters), batch, seed)?;
    }

    #[test]
    fn mat_mul(
        rows in prop_oneof![
            Just(vec![]),
            (1..=5usize).prop_map(|a| vec![a]),
            (1..=3usize, 1..=3usize).prop_map(|(a, b)| vec![a, b]),
        ],
        (inputs, outputs) in (1..=40usize, 1..=40usize),
        batch in batches(),
        seed: u64,
    ) {
        let weight = weights(&mut Draw::new(seed), &[inputs, outputs], inputs);
        let mut shape = rows;
        shape.push(inputs);
        check_drawn(&single(&shape, Op::MatMul, vec![weight]), batch, seed)?;
    }

    #[test]
    fn relu_softmax_means_and_views(
        input in proptest::collection::vec(1..=6usize, 1..=3),
        (which, axis) in (0..=9usize, 0..=2usize),
        batch in batches(),
        seed: u64,
    ) {
        let rank = input.len() as i64;
        let axis = axis as i64 % rank;
        let reshape = |shape: Vec<i64>| Op::Reshape { shape };
        let all: usize = input.iter().product();
        let op = match which {
            0 | 1 => Op::unary("Relu"),
            2 => Op::Softmax { axis: axis + 1 },
            3 => Op::Softmax { axis: axis - rank },
            4 => Op::Flatten,
            5 => reshape(vec![-1, all as i64]),
            6 => reshape(vec![0, 1, -1, input[0] as i64]),
            7 => reshape([vec![0, 0, -1], vec![1]].concat()),
            8 => if seed % 2 == 0 { Op::Dropout } else { Op::Identity },
            _ => Op::GlobalAveragePool,
        };
        let input = if which == 9 { [vec![2; 3 - input.len()], input].concat() } else { input };
        let mut net = single(&input, op, vec![]);
        // Behind it something that is no view, so that its cotangent has a way to go.
        let shape = net.shape(1);
        let mut draw = Draw::new(seed);
        let n = shape.iter().product();
        let scale = Parameter { shape, data: draw.divisors(n) };
        net.push(Op::Binary { kind: "Mul", constant: Some(0) }, &[1], vec![scale]);
        check_drawn(&net, batch, seed)?;
    }
}

/// A convolution whose only window ends before the input begins.
#[test]
fn conv_that_sees_only_padding() {
    for batch in [1, 20] {
        let window = Window { stride: [3, 3], pads: [0, 2, 0, 0], ..Window::new([1, 1]) };
        let weight = weights(&mut Draw::new(1), &[2, 2, 1, 1], 2);
        let net = single(&[2, 4, 1], Op::Conv { window, groups: 1 }, vec![weight]);
        check(&net, batch, 1).unwrap();
    }
}

/// Parts of the gradient that see only outputs which are not there: far dilated taps of large strides.
#[test]
fn conv_whose_parts_see_no_output() {
    for (kernel, stride, dilation, pads, input) in [
        ([1, 2], [1, 2], [1, 5], [0, 1, 0, 4], [1, 5]),
        ([1, 5], [1, 5], [1, 4], [0, 0, 0, 15], [3, 2]),
        ([5, 2], [5, 2], [4, 5], [0, 1, 15, 4], [2, 5]),
    ] {
        for batch in [1, 20] {
            let window = Window { kernel, stride, dilation, pads, auto_pad: "NOTSET" };
            let [height, width] = kernel;
            let weight = weights(&mut Draw::new(1), &[3, 5, height, width], 5 * height * width);
            let op = Op::Conv { window, groups: 1 };
            check(&single(&[5, input[0], input[1]], op, vec![weight]), batch, 1).unwrap();
        }
    }
}

/// Windows of more than 256 taps name their winners with two bytes.
#[test]
fn max_pool_of_large_windows() {
    for (kernel, stride, pads, batch) in [
        ([17, 16], [3, 2], [0; 4], 3),
        ([20, 20], [5, 7], [9, 3, 2, 8], 18),
        ([1, 300], [1, 40], [0; 4], 1),
    ] {
        let window = Window { stride, pads, ..Window::new(kernel) };
        let input = [1, kernel[0] + 4, kernel[1] + 9];
        let net = single(&input, Op::MaxPool { window, ceil: true }, vec![]);
        check(&net, batch, 7).unwrap();
    }
}

/// Long chains: the kernels cut depths of 512 (lanes) and 128 (single images) into passes.
#[test]
fn products_and_convolutions_deeper_than_one_pass() {
    let mut draw = Draw::new(1);
    for batch in [1, 3, 20] {
        let weight = weights(&mut draw, &[33, 1100], 1100);
        let op = Op::Gemm { alpha: 1.0, beta: 1.0, transposed: true };
        check(&single(&[1100], op, vec![weight]), batch, 2).unwrap();
        let weight = weights(&mut draw, &[18, 70, 3, 3], 630);
        let window = Window { pads: [1; 4], ..Window::new([3, 3]) };
        let op = Op::Conv { window, groups: 1 };
        check(&single(&[70, 5, 6], op, vec![weight]), batch, 3).unwrap();
    }
}
