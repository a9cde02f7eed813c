//! Operators that only move numbers, against the coordinates that ONNX's operator definitions give.

use super::check::{check, check_drawn};
use super::compare::cases;
use super::model::{Draw, float_input, int, ints, text};
use super::naive::{Net, Op, Parameter, of_one_image};
use super::operators::batches;
use crate::onnx::{AttributeProto, TensorProto, int_tensor};
use proptest::prelude::*;

/// The place of each element of an array of `shape`, less its first axis (of one image), in an input of `from`:
/// `coordinate` turns the output's coordinates into the input's. Both shapes have the axis of images.
fn places(
    shape: &[usize],
    from: &[usize],
    coordinate: impl Fn(&[i64]) -> Result<Vec<i64>, f32>,
) -> Vec<Result<usize, f32>> {
    let n: usize = shape.iter().product();
    (0..n)
        .map(|flat| {
            let mut rest = flat;
            let mut at = vec![0i64; shape.len()];
            for axis in (0..shape.len()).rev() {
                at[axis] = (rest % shape[axis]) as i64;
                rest /= shape[axis];
            }
            coordinate(&at).map(|c| c.iter().zip(from).fold(0, |p, (&i, &d)| p * d + i as usize))
        })
        .collect()
}

/// One operator, as the file says it and as coordinates.
struct Case {
    name: &'static str,
    attributes: Vec<AttributeProto>,
    integers: Vec<TensorProto>,
    /// With the axis of images.
    shape: Vec<usize>,
    from: Vec<Result<usize, f32>>,
}

/// An input that is left out.
fn left_out() -> TensorProto {
    TensorProto::default()
}

/// The case `which` for an input of `input`, which has the axis of images in front.
fn case(which: usize, input: &[usize], draw: &mut Draw) -> Case {
    let rank = input.len();
    // Any axis, or any but that of images.
    let axis = draw.below(rank);
    let inner = 1 + draw.below(rank - 1);
    let negative = |axis: usize, coin: bool| axis as i64 - if coin { rank as i64 } else { 0 };
    let with = |axis: usize, size: usize| {
        let mut shape = input.to_vec();
        shape[axis] = size;
        shape
    };
    let along = |axis: usize, shape: &[usize], f: &dyn Fn(i64) -> Result<i64, f32>| {
        places(shape, input, |at| {
            let mut at = at.to_vec();
            at[axis] = f(at[axis])?;
            Ok(at)
        })
    };
    match which {
        0 => {
            let mut order: Vec<usize> = (0..rank).collect();
            draw.shuffle(&mut order);
            let given = draw.coin();
            if !given {
                order = (0..rank).rev().collect();
            }
            let shape: Vec<usize> = order.iter().map(|&a| input[a]).collect();
            let from = places(&shape, input, |at| {
                let mut back = vec![0; rank];
                for (i, &a) in order.iter().enumerate() {
                    back[a] = at[i];
                }
                Ok(back)
            });
            let perm: Vec<i64> = order.iter().map(|&a| a as i64).collect();
            let attributes = if given { vec![ints("perm", &perm)] } else { vec![] };
            Case { name: "Transpose", attributes, integers: vec![], shape, from }
        }
        1 => {
            let size = input[inner] as i64;
            let step = [1, 2, -1, -2][draw.below(4)];
            let first = draw.below(input[inner]) as i64;
            let count = 1 + draw.below(input[inner]) as i64;
            let kept: Vec<i64> = (0..count)
                .map(|i| first + i * step)
                .take_while(|&p| (0..size).contains(&p))
                .collect();
            let last = first + kept.len() as i64 * step;
            // Ends that are beyond the axis, or counted from its end.
            let end = match (draw.below(3), last) {
                (_, last) if last < 0 => i64::MIN + 1,
                (0, last) if last >= size => i64::MAX,
                (1, last) if last < size => last - size,
                _ => last,
            };
            let start = if draw.coin() { first - size } else { first };
            let shape = with(inner, kept.len());
            let from = along(inner, &shape, &|i| Ok(first + i * step));
            let axes = negative(inner, draw.coin());
            let lists = [start, end, axes, step].map(|x| int_tensor("", &[x]));
            Case { name: "Slice", attributes: vec![], integers: lists.to_vec(), shape, from }
        }
        2 => {
            let size = input[inner];
            let indices: Vec<i64> =
                (0..1 + draw.below(4)).map(|_| draw.below(2 * size) as i64 - size as i64).collect();
            let of = |i: i64| (indices[i as usize] + size as i64) % size as i64;
            let mut shape = with(inner, indices.len());
            let from = along(inner, &shape, &|i| Ok(of(i)));
            let mut list = int_tensor("", &indices);
            match (indices.len(), draw.below(3)) {
                // One number: the axis goes.
                (1, 0) => {
                    list.dims = vec![];
                    shape.remove(inner);
                }
                // A matrix: one axis more.
                (_, 1) => {
                    list.dims.push(1);
                    shape.insert(inner + 1, 1);
                }
                _ => {}
            }
            let attributes = vec![int("axis", negative(inner, draw.coin()))];
            Case { name: "Gather", attributes, integers: vec![list], shape, from }
        }
        3 => {
            let (begin, end) = (draw.below(3) as i64, draw.below(4) as i64);
            let size = input[inner] as i64;
            let mode = ["constant", "reflect", "edge", "wrap"][draw.below(4)];
            // Reflecting needs another element, and goes no further than the last.
            let most = if mode == "reflect" { size - 1 } else { 3 };
            let begin = if mode == "constant" && size > 1 && draw.below(4) == 0 {
                -1
            } else {
                begin.min(most)
            };
            let end = end.min(most);
            let value = if draw.coin() { draw.float(-2.0, 2.0) } else { 0.0 };
            let shape = with(inner, (size + begin + end) as usize);
            let from = along(inner, &shape, &|i| {
                let at = i - begin;
                Ok(match mode {
                    _ if (0..size).contains(&at) => at,
                    "constant" => return Err(value),
                    "edge" => {
                        if at < 0 {
                            0
                        } else {
                            size - 1
                        }
                    }
                    "wrap" => (at + 3 * size) % size,
                    _ => {
                        if at < 0 {
                            -at
                        } else {
                            2 * (size - 1) - at
                        }
                    }
                })
            });
            let number = match value.to_bits() {
                0 => left_out(),
                _ => float_input(value),
            };
            let (pads, axes) = if draw.coin() {
                (int_tensor("", &[begin, end]), int_tensor("", &[negative(inner, draw.coin())]))
            } else {
                let mut all = vec![0; 2 * rank];
                (all[inner], all[rank + inner]) = (begin, end);
                (int_tensor("", &all), left_out())
            };
            let attributes =
                if mode == "constant" && draw.coin() { vec![] } else { vec![text("mode", mode)] };
            Case { name: "Pad", attributes, integers: vec![pads, number, axes], shape, from }
        }
        4 => {
            let repeats: Vec<usize> = input.iter().map(|_| 1 + draw.below(3)).collect();
            let shape: Vec<usize> = input.iter().zip(&repeats).map(|(d, r)| d * r).collect();
            let from = places(&shape, input, |at| {
                Ok(at.iter().zip(input).map(|(i, &d)| i % d as i64).collect())
            });
            let list: Vec<i64> = repeats.iter().map(|&r| r as i64).collect();
            let integers = vec![int_tensor("", &list)];
            Case { name: "Tile", attributes: vec![], integers, shape, from }
        }
        5 => {
            // Ones grow, and there may be more axes in front; what does not grow may be said as 1.
            let more = draw.below(2);
            let grown: Vec<usize> =
                input.iter().map(|&d| if d == 1 { 1 + draw.below(3) } else { d }).collect();
            let shape = [vec![2; more], grown].concat();
            let from = places(&shape, input, |at| {
                Ok(at[more..]
                    .iter()
                    .zip(input)
                    .map(|(&i, &d)| if d == 1 { 0 } else { i })
                    .collect())
            });
            let said: Vec<i64> =
                shape
                    .iter()
                    .enumerate()
                    .map(|(i, &d)| {
                        if i >= more && input[i - more] == d && draw.coin() { 1 } else { d as i64 }
                    })
                    .collect();
            let integers = vec![int_tensor("", &said)];
            Case { name: "Expand", attributes: vec![], integers, shape, from }
        }
        6 => {
            // Joined with itself: input 0 is there twice.
            let size = input[axis];
            let shape = with(axis, 2 * size);
            let n: usize = input.iter().product();
            let own = along(axis, &shape, &|i| Ok(i % size as i64));
            let second = along(axis, &shape, &|i| Err(if (i as usize) < size { 0.0 } else { 1.0 }));
            let from = own
                .into_iter()
                .zip(second)
                .map(|(p, s)| p.map(|p| p + if s == Err(1.0) { n } else { 0 }));
            let from = from.collect();
            let attributes = vec![int("axis", negative(axis, draw.coin()))];
            Case { name: "Concat", attributes, integers: vec![], shape, from }
        }
        _ => {
            // Without the axis of images first: a view in other words.
            let mut shape = input.to_vec();
            shape.insert(axis, 1);
            let from = (0..input.iter().product()).map(Ok).collect();
            let list =
                int_tensor("", &[axis as i64 - if draw.coin() { rank as i64 + 1 } else { 0 }]);
            Case { name: "Unsqueeze", attributes: vec![], integers: vec![list], shape, from }
        }
    }
}

proptest! {
    #![proptest_config(cases(240))]

    #[test]
    fn numbers_are_moved(
        input in proptest::collection::vec(1..=4usize, 1..=3),
        which in 0..=7usize,
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let full = [vec![1], input.clone()].concat();
        let Case { name, attributes, integers, shape, from } = case(which, &full, &mut draw);
        let mut net = Net::new(&input);
        // Something to go through on the way back.
        let scale = Parameter { shape: input.clone(), data: draw.divisors(input.iter().product()) };
        let x = net.push(Op::Binary { kind: "Mul", constant: Some(1) }, &[0], vec![scale]);
        let shape = of_one_image(&shape);
        let inputs = if name == "Concat" { vec![x, x] } else { vec![x] };
        net.push(Op::Moves { name, attributes, integers, shape, from }, &inputs, vec![]);
        check_drawn(&net, batch, seed)?;
    }
}

/// Activations and a constant side by side, as a vision transformer joins its class token.
#[test]
fn constants_are_joined_to_activations() {
    let mut draw = Draw::new(3);
    for batch in [1, 20] {
        let mut net = Net::new(&[3, 4]);
        let token = Parameter { shape: vec![1, 1, 4], data: draw.divisors(4) };
        // The activation comes first in the file's inputs, then the constant.
        let from = (0..16).map(Ok).collect();
        let op = Op::Moves {
            name: "Concat",
            attributes: vec![int("axis", 1)],
            integers: vec![],
            shape: vec![4, 4],
            from,
        };
        net.push(op, &[0], vec![token]);
        check(&net, batch, 4).unwrap();
    }
}
