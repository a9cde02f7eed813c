//! Operators that go element by element over several operands, with broadcasting.
//!
//! Oracle: `naive`, and central differences of it.

use super::check::{check, check_drawn};
use super::compare::cases;
use super::model::Draw;
use super::naive::{Net, Op, Parameter};
use super::operators::{batches, single};
use proptest::prelude::*;

fn binary() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["Add", "Sub", "Mul", "Div", "Pow", "PRelu"])
}

/// Numbers that are positive and away from zero, out of value `from`: x² + 0.5.
fn positive(net: &mut Net, from: usize) -> usize {
    let square = net.push(Op::Binary { kind: "Mul", constant: None }, &[from, from], vec![]);
    let half = Parameter { shape: vec![1], data: vec![0.5] };
    net.push(Op::Binary { kind: "Add", constant: Some(0) }, &[square], vec![half])
}

/// A value of another shape: the image's channels, rows or columns, or one number.
fn mean_of(net: &mut Net, which: usize) -> usize {
    let mean = net.push(Op::GlobalAveragePool, &[0], vec![]);
    let shapes: [&[i64]; 4] = [&[0, -1, 1, 1], &[0, 1, -1, 1], &[0, 1, 1, -1], &[0, -1]];
    net.push(Op::Reshape { shape: shapes[which].to_vec() }, &[mean], vec![])
}

proptest! {
    #![proptest_config(cases(320))]

    #[test]
    fn with_a_constant(
        kind in binary(),
        side in 0..=1usize,
        // By axis: the size, and who has it: both, the constant, the activation.
        axes in proptest::collection::vec((1..=5usize, 0..=2usize), 1..=3),
        // Leading axes that the constant does without, or one more for the images.
        fewer in 0..=4usize,
        batch in batches(),
        seed: u64,
    ) {
        // The slope of PRelu is on the right, and no larger than what it scales.
        let side = if kind == "PRelu" { 1 } else { side };
        let has = |axis: &(usize, usize), who: usize| axis.1 != who || (kind == "PRelu" && who == 1);
        let size = |axis: &(usize, usize), who: usize| if has(axis, who) { axis.0 } else { 1 };
        let input: Vec<usize> = axes.iter().map(|a| size(a, 1)).collect();
        let own: Vec<usize> = axes.iter().map(|a| size(a, 2)).collect();
        let shape = match fewer {
            4 => [&[1], own.as_slice()].concat(),
            n => own[n.min(own.len())..].to_vec(),
        };
        let mut draw = Draw::new(seed);
        let mut data = draw.divisors(shape.iter().product());
        let mut net = Net::new(&input);
        let mut from = 0;
        if kind == "Div" && side == 0 || kind == "Pow" && side == 1 {
            from = positive(&mut net, 0);
        }
        if kind == "Pow" {
            // Bases are positive; of exponents the usual ones are tried too.
            let usual = [0.0, 0.5, 1.0, 2.0, 3.0, -1.0];
            for x in &mut data {
                *x = if side == 0 { x.abs() } else if draw.coin() { usual[draw.below(6)] } else { *x };
            }
        }
        let op = Op::Binary { kind, constant: Some(side) };
        net.push(op, &[from], vec![Parameter { shape, data }]);
        check_drawn(&net, batch, seed)?;
    }

    #[test]
    fn of_two_activations(
        kind in binary(),
        (c, h, w) in (1..=4usize, 1..=5usize, 1..=5usize),
        // Shapes of the operands: the image's, its channels as an axis or as the only one.
        shapes in (0..=4usize, 0..=4usize),
        same: bool,
        batch in batches(),
        seed: u64,
    ) {
        let mut net = Net::new(&[c, h, w]);
        let scale = Parameter { shape: vec![c, 1, 1], data: Draw::new(seed).divisors(c) };
        let scaled = net.push(Op::Binary { kind: "Mul", constant: Some(1) }, &[0], vec![scale]);
        let mut operand = |which: usize, image: usize| match which {
            0 => image,
            which => mean_of(&mut net, which - 1),
        };
        let mut a = operand(if kind == "PRelu" { 0 } else { shapes.0 }, scaled);
        let mut b = operand(shapes.1, if same { a } else { 0 });
        // What does not broadcast is made alike.
        let fits = |a: &[usize], b: &[usize]| {
            a.iter().rev().zip(b.iter().rev()).all(|(&a, &b)| a == b || a == 1 || b == 1)
        };
        if !fits(&net.shape(a), &net.shape(b)) || (kind == "PRelu" && shapes.1 != 1) {
            b = mean_of(&mut net, 0);
            if !fits(&net.shape(a), &net.shape(b)) {
                a = b;
            }
        }
        if kind == "Div" {
            b = positive(&mut net, b);
        } else if kind == "Pow" {
            // From 0.5 to 1.5: no power is large.
            a = net.push(Op::unary("Sigmoid"), &[a], vec![]);
            let half = Parameter { shape: vec![], data: vec![0.5] };
            a = net.push(Op::Binary { kind: "Add", constant: Some(1) }, &[a], vec![half]);
        }
        net.push(Op::Binary { kind, constant: None }, &[a, b], vec![]);
        check_drawn(&net, batch, seed)?;
    }

    #[test]
    fn of_any_number(
        kind in proptest::sample::select(vec!["Min", "Max", "Sum", "Mean"]),
        // Operands: the image, the image scaled, its channels, numbers of channels, of rows, one.
        which in proptest::collection::vec(0..=5usize, 1..=11),
        (c, h, w) in (1..=4usize, 1..=5usize, 1..=5usize),
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let mut net = Net::new(&[c, h, w]);
        let mut which = which;
        // Operands of their own: an equal one would be a tie.
        let (mut inputs, mut parameters) = (Vec::new(), Vec::new());
        if which.iter().all(|&w| w > 2) {
            which[0] = 0;
        }
        for &which in &which {
            let scale = Parameter { shape: vec![], data: draw.divisors(1) };
            let mut constant = |shape: &[usize]| {
                let data = draw.floats(shape.iter().product(), -1.0, 1.0);
                parameters.push(Parameter { shape: shape.to_vec(), data });
            };
            let mut scaled = |net: &mut Net, from: usize| {
                let op = Op::Binary { kind: "Mul", constant: Some(1) };
                inputs.push(net.push(op, &[from], vec![scale.clone()]));
            };
            match which {
                0 | 1 => scaled(&mut net, 0),
                2 => {
                    let mean = mean_of(&mut net, 0);
                    scaled(&mut net, mean);
                }
                3 => constant(&[c, 1, 1]),
                4 => constant(&[h, 1]),
                _ => constant(&[]),
            }
        }
        let constants = which.iter().map(|&w| w > 2).collect();
        net.push(Op::Variadic { kind, constants }, &inputs, parameters);
        check_drawn(&net, batch, seed)?;
    }
}

/// Exact ties share the slope: two equal operands, each half of it.
#[test]
fn ties_share_the_slope() {
    for kind in ["Min", "Max"] {
        for n in [2, 3, 9, 17] {
            let mut net = Net::new(&[3]);
            net.push(Op::Variadic { kind, constants: vec![false; n] }, &vec![0; n], vec![]);
            check(&net, 3, 5).unwrap();
        }
    }
}

/// Sums over more elements than one piece: a number, and a channel, against a large plane.
#[test]
fn repeated_over_many_pieces() {
    for batch in [1, 17] {
        for which in [0, 3] {
            let mut net = Net::new(&[2, 25, 23]);
            let mut b = mean_of(&mut net, 0);
            if which == 3 {
                b = net.push(Op::GlobalAveragePool, &[0], vec![]);
                b = net.push(Op::Reshape { shape: vec![0, 1, 1, -1] }, &[b], vec![]);
                let sum = Parameter { shape: vec![2, 1], data: vec![0.5, -0.25] };
                b = net.push(Op::MatMul, &[b], vec![sum]);
            }
            net.push(Op::Binary { kind: "Mul", constant: None }, &[0, b], vec![]);
            check(&net, batch, 5).unwrap();
        }
    }
}

/// Squares and cubes of numbers of either sign.
#[test]
fn whole_powers_of_any_number() {
    for exponent in [2.0, 3.0] {
        let two = Parameter { shape: vec![], data: vec![exponent] };
        let op = Op::Binary { kind: "Pow", constant: Some(1) };
        check(&single(&[4, 5], op, vec![two]), 6, 3).unwrap();
    }
}
