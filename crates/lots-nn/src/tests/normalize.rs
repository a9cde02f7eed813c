//! Normalisations, Softmax and LogSoftmax, alone; attributes, shapes and batches drawn at random.
//!
//! Oracle: `naive`, and central differences of it.

use super::check::{check, check_drawn};
use super::compare::cases;
use super::model::Draw;
use super::naive::{Net, Op, Parameter};
use super::operators::{batches, single};
use proptest::prelude::*;

fn shapes(ranks: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![4 => 1..=6usize, 1 => 7..=20usize], ranks)
}

fn epsilons() -> impl Strategy<Value = f32> {
    prop_oneof![Just(1e-5f32), Just(0.0), 1e-4..0.5f32]
}

/// Factors with a sign, away from zero, and terms.
fn scale_and_bias(draw: &mut Draw, n: usize) -> Vec<Parameter> {
    let scale = draw.divisors(n);
    let bias = draw.floats(n, -1.0, 1.0);
    [scale, bias].map(|data| Parameter { shape: vec![n], data }).into()
}

proptest! {
    #![proptest_config(cases(160))]

    #[test]
    fn batch_normalization(
        shape in shapes(1..=3),
        epsilon in epsilons(),
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let mut parameters = scale_and_bias(&mut draw, shape[0]);
        parameters.push(Parameter { shape: vec![shape[0]], data: draw.floats(shape[0], -1.0, 1.0) });
        parameters.push(Parameter { shape: vec![shape[0]], data: draw.floats(shape[0], 0.3, 2.0) });
        check_drawn(&single(&shape, Op::BatchNormalization { epsilon }, parameters), batch, seed)?;
    }

    #[test]
    fn instance_and_group_normalization(
        (groups, each) in (1..=4usize, 1..=4usize),
        plane in shapes(1..=2),
        epsilon in epsilons(),
        (instance, by_group) in any::<(bool, bool)>(),
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let channels = groups * each;
        let shape = [vec![channels], plane].concat();
        let (op, n) = if instance {
            (Op::InstanceNormalization { epsilon }, channels)
        } else {
            (Op::GroupNormalization { groups, epsilon }, if by_group { groups } else { channels })
        };
        // A part of one number is zero over zero without an epsilon.
        let size = shape.iter().product::<usize>() / if instance { channels } else { groups };
        prop_assume!(size > 1 || epsilon > 0.0);
        check_drawn(&single(&shape, op, scale_and_bias(&mut draw, n)), batch, seed)?;
    }

    #[test]
    fn layer_and_rms_normalization(
        shape in shapes(1..=3),
        at in 0..=2usize,
        from_end: bool,
        epsilon in epsilons(),
        // Bias, none, or no mean either; scale of all normalised axes, of the last one, of one number.
        (what, scales) in (0..=2usize, 0..=2usize),
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let rank = shape.len();
        let at = at % rank;
        let inner = &shape[at..];
        let axis = if from_end { at as i64 - rank as i64 } else { at as i64 + 1 };
        prop_assume!(what == 2 || epsilon > 0.0 || inner.iter().product::<usize>() > 1);
        let own: &[usize] = [inner, &shape[rank - 1..], &[1]][scales];
        let n = own.iter().product();
        let mut parameters = scale_and_bias(&mut draw, n);
        parameters.iter_mut().for_each(|p| p.shape = own.to_vec());
        parameters.truncate(if what == 0 { 2 } else { 1 });
        let op = if what == 2 {
            Op::RmsNormalization { axis, epsilon }
        } else {
            Op::LayerNormalization { axis, epsilon }
        };
        check_drawn(&single(&shape, op, parameters), batch, seed)?;
    }

    #[test]
    fn along_an_axis(
        shape in shapes(1..=3),
        (which, at, from_end) in (0..=3usize, 0..=2usize, any::<bool>()),
        wide: bool,
        batch in batches(),
        seed: u64,
    ) {
        let at = at % shape.len();
        let axis = if from_end { at as i64 - shape.len() as i64 } else { at as i64 + 1 };
        let op = match which {
            0 => Op::Softmax { axis },
            1 => Op::LogSoftmax { axis },
            p => Op::LpNormalization { axis, p: p as i64 - 1 },
        };
        let mut net = Net::new(&shape);
        let mut from = 0;
        if wide && which < 2 {
            // Where e^x would be infinite, or all of them zero.
            let mut draw = Draw::new(seed);
            let far = [[100.0, 100.0], [-110.0, -110.0], [100.0, 97.0], [-100.0, 100.0]][draw.below(4)];
            let data = (0..shape.iter().product()).map(|_| far[draw.below(2)]).collect();
            let far = Parameter { shape: shape.clone(), data };
            from = net.push(Op::Binary { kind: "Add", constant: Some(1) }, &[0], vec![far]);
        }
        net.push(op, &[from], vec![]);
        check_drawn(&net, batch, seed)?;
    }

    #[test]
    fn local_response_normalization(
        shape in shapes(1..=3),
        size in 1..=9usize,
        numbers in prop_oneof![
            Just([1e-4f32, 0.75, 1.0]),
            (0.01..2.0f32, prop_oneof![Just(0.75f32), 0.3..1.5f32], 0.5..2.0f32)
                .prop_map(|(a, b, c)| [a, b, c]),
        ],
        batch in batches(),
        seed: u64,
    ) {
        check_drawn(&single(&shape, Op::Lrn { size, numbers }, vec![]), batch, seed)?;
    }
}

/// Long sums: thousands of numbers in a part, and on an axis between others.
#[test]
fn large_parts() {
    let mut draw = Draw::new(1);
    for batch in [1, 17] {
        let op = Op::InstanceNormalization { epsilon: 1e-5 };
        check(&single(&[2, 70, 61], op, scale_and_bias(&mut draw, 2)), batch, 2).unwrap();
        let op = Op::LayerNormalization { axis: -1, epsilon: 1e-5 };
        check(&single(&[3, 1023], op, scale_and_bias(&mut draw, 1023)), batch, 3).unwrap();
        for inner in [1, 2, 17, 33] {
            check(&single(&[501, inner], Op::Softmax { axis: 1 }, vec![]), batch, 4).unwrap();
        }
    }
}

/// Numbers that are all zero have no norm: zero, with no slope.
#[test]
fn nothing_has_no_norm() {
    use crate::graph::Graph;
    use crate::network::{Cotangent, Network};
    for p in [1, 2] {
        let net = single(&[3], Op::LpNormalization { axis: -1, p }, vec![]);
        let bytes = super::model::to_model(&net, &mut Draw::new(1)).bytes();
        let graph = Graph::from_onnx(&bytes, "test").unwrap();
        let layer = graph.layers()[0].id;
        let trace = graph.trace(ndarray::Array4::zeros((1, 1, 1, 3)).view(), &[layer]).unwrap();
        let values = [1.0, 2.0, 3.0];
        let back = trace.back_project(&[Cotangent { image: 0, layer, values: &values }]).unwrap();
        let zeros = vec![0f32; 3];
        assert_eq!(trace.representation(layer).unwrap().into_raw_vec_and_offset().0, zeros);
        assert_eq!(back.into_raw_vec_and_offset().0, zeros);
    }
}
