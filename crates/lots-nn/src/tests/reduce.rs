//! Reductions over any axes.
//!
//! Oracle: `naive`, and central differences of it; where a slope is a choice, PyTorch's.

use super::check::{check, check_drawn};
use super::compare::{cases, report};
use super::model::{Draw, int, ints};
use super::naive::{Net, Op, Parameter, Written};
use super::operators::{batches, single};
use crate::kernels::{Isa, LANES};
use crate::network::ReluRule;
use crate::onnx::int_tensor;
use crate::ops::reduce::{Fold, Reduce};
use crate::ops::{Keeper, Kept, Operator, Run};
use proptest::prelude::*;

const NAMES: [&str; 8] = [
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceProd",
];

/// Reduction `name` over `axes` of [1, input], written in one of the ways that mean this.
pub(super) fn reduction(
    name: &'static str,
    rank: usize,
    axes: &[usize],
    keep: bool,
    draw: &mut Draw,
) -> Op {
    let mut written = Written::default();
    let all = axes.len() == rank;
    let list: Vec<i64> =
        axes.iter().map(|&a| a as i64 - if draw.coin() { rank as i64 } else { 0 }).collect();
    if axes.is_empty() {
        written.attributes.push(int("noop_with_empty_axes", 1));
    }
    match (axes.is_empty() || all && draw.coin(), draw.below(3)) {
        // No axes: all of them, or none.
        (true, 0) => written.inputs.push(int_tensor("", &[])),
        (true, _) => {}
        (false, 0) => written.attributes.push(ints("axes", &list)),
        (false, _) => written.inputs.push(int_tensor("", &list)),
    }
    if !keep || draw.coin() {
        written.attributes.push(int("keepdims", i64::from(keep)));
    }
    let reduced = (0..rank).map(|a| axes.contains(&a)).collect();
    Op::Reduce { name, written, reduced, keep }
}

proptest! {
    #![proptest_config(cases(320))]

    #[test]
    fn reductions(
        name in proptest::sample::select(&NAMES[..]),
        // Sizes, and whether an axis is reduced; that of images is one more.
        axes in proptest::collection::vec((prop_oneof![3 => 1..=5usize, 1 => 6..=40usize], any::<bool>()), 1..=3),
        (images, keep) in any::<(bool, bool)>(),
        batch in batches(),
        seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let input: Vec<usize> = axes.iter().map(|a| a.0).collect();
        prop_assume!(input.iter().product::<usize>() <= 2000);
        // A product of many numbers is zero or larger than any.
        prop_assume!(name != "ReduceProd" || input.iter().product::<usize>() <= 60);
        let reduced: Vec<usize> = std::iter::once(images)
            .chain(axes.iter().map(|a| a.1))
            .enumerate()
            .filter_map(|(axis, reduced)| reduced.then_some(axis))
            .collect();
        let mut net = Net::new(&input);
        let scale = Parameter { shape: input.clone(), data: draw.divisors(input.iter().product()) };
        let x = net.push(Op::Binary { kind: "Mul", constant: Some(1) }, &[0], vec![scale]);
        net.push(reduction(name, input.len() + 1, &reduced, keep, &mut draw), &[x], vec![]);
        check_drawn(&net, batch, seed)?;
    }

    #[test]
    fn whole_planes(
        max: bool,
        input in proptest::collection::vec(1..=6usize, 2..=3),
        batch in batches(),
        seed: u64,
    ) {
        let name = if max { "GlobalMaxPool" } else { "GlobalAveragePool" };
        let reduced = (0..=input.len()).map(|a| a >= 2).collect();
        let op = Op::Reduce { name, written: Written::default(), reduced, keep: true };
        check_drawn(&single(&input, op, vec![]), batch, seed)?;
    }
}

/// More than 256 elements behind one output: their numbers take two bytes.
#[test]
fn extremes_of_many_elements() {
    for batch in [2, 18] {
        let op = |name| {
            let written = Written {
                attributes: vec![ints("axes", &[1, 3]), int("keepdims", 0)],
                inputs: vec![],
            };
            Op::Reduce { name, written, reduced: vec![false, true, false, true], keep: false }
        };
        for name in ["ReduceMax", "ReduceMin"] {
            check(&single(&[20, 3, 17], op(name), vec![]), batch, 5).unwrap();
        }
    }
}

/// Output and gradient of a reduction of `x` to one number, by one lane and by sixteen.
fn reduced(fold: Fold, x: &[f32], cotangent: f32) -> Vec<(f32, Vec<f32>)> {
    let op = Reduce::new("Reduce", fold, &[x.len()], &[true]);
    let mut all = Vec::new();
    for (isa, lanes) in Isa::available().into_iter().flat_map(|isa| [(isa, 1), (isa, LANES)]) {
        let run = Run { isa, parallel: false, lanes, relu: ReluRule::Slope, first: 0 };
        let spread: Vec<f32> = x.iter().flat_map(|&x| vec![x; lanes]).collect();
        let mut bytes = vec![0; op.keeps().bytes * lanes];
        let mut floats = vec![0.0; op.keeps().floats * lanes];
        let mut y = vec![f32::NAN; lanes];
        let keeper = Keeper { bytes: &mut bytes, floats: &mut floats };
        op.forward(run, &[&spread], &mut y, Some(keeper));
        let mut dx = vec![f32::NAN; spread.len()];
        let kept = Kept { bytes: &bytes, floats: &floats };
        op.vjp(run, 0, kept, &vec![cotangent; lanes], &mut dx);
        for (lane, &y) in y.iter().enumerate() {
            all.push((y, dx.iter().skip(lane).step_by(lanes).copied().collect()));
        }
    }
    all
}

/// Where derivatives do not exist or divisions would fail. Slopes are those of PyTorch's sum(abs), norm and prod;
/// for equal extremes it is the first one's, as in max pooling.
#[test]
fn slopes_at_kinks_are_choices() {
    let cases: [(Fold, &[f32], f32, &[f32]); 9] = [
        (Fold::L1, &[0.0, -2.0, 3.0], 5.0, &[0.0, -1.0, 1.0]),
        (Fold::L2, &[0.0, 0.0, 0.0], 0.0, &[0.0, 0.0, 0.0]),
        (Fold::L2, &[3.0, 0.0, -4.0], 5.0, &[0.6, 0.0, -0.8]),
        (Fold::Max, &[1.0, 7.0, 7.0, 2.0], 7.0, &[0.0, 1.0, 0.0, 0.0]),
        (Fold::Min, &[3.0, -7.0, 1.0, -7.0], -7.0, &[0.0, 1.0, 0.0, 0.0]),
        (Fold::Product, &[2.0, 0.0, 5.0], 0.0, &[0.0, 10.0, 0.0]),
        (Fold::Product, &[0.0, 3.0, 0.0], 0.0, &[0.0, 0.0, 0.0]),
        (Fold::Product, &[2.0, 3.0, 4.0], 24.0, &[12.0, 8.0, 6.0]),
        (Fold::Max, &[f32::NEG_INFINITY, f32::NEG_INFINITY], f32::NEG_INFINITY, &[1.0, 0.0]),
    ];
    let mut wrong = Vec::new();
    for (fold, x, y, slopes) in cases {
        let wanted: Vec<f32> = slopes.iter().map(|s| 2.0 * s).collect();
        let bad = |got: &(f32, Vec<f32>)| got.0.to_bits() != y.to_bits() || got.1 != wanted;
        if let Some(got) = reduced(fold, x, 2.0).into_iter().find(bad) {
            wrong.push(format!("{fold:?} of {x:?}: {got:?}; wanted {y} and {wanted:?}"));
        }
    }
    report(&wrong);
}

/// A network that overflows must be seen to.
#[test]
fn what_is_not_a_number_stays_so() {
    let folds = [
        Fold::Sum,
        Fold::Mean,
        Fold::Max,
        Fold::Min,
        Fold::L1,
        Fold::L2,
        Fold::SumSquare,
        Fold::Product,
    ];
    for at in 0..20 {
        let mut x = [1.0; 20];
        x[at] = f32::NAN;
        for fold in folds {
            assert!(reduced(fold, &x, 1.0).iter().all(|got| got.0.is_nan()), "{fold:?}, {at}");
        }
    }
}
