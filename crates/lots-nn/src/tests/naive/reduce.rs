//! Reductions, element by element.

use super::{Array, of_one_image};

/// Reduction `name` over the axes of [1, shape] that are `reduced`, and how near a kink is.
pub(super) fn reduce(name: &str, x: &Array, reduced: &[bool], keep: bool) -> (Array, f64) {
    let full = [vec![1], x.shape.clone()].concat();
    let kept: Vec<usize> =
        full.iter().zip(reduced).map(|(&d, &reduced)| if reduced { 1 } else { d }).collect();
    // The elements behind each output, in row order.
    let mut behind: Vec<Vec<f64>> = vec![Vec::new(); kept.iter().product()];
    for (flat, &value) in x.data.iter().enumerate() {
        let (mut rest, mut at, mut step) = (flat, 0, 1);
        for (axis, &size) in full.iter().enumerate().rev() {
            if !reduced[axis] {
                at += rest % size * step;
                step *= size;
            }
            rest /= size;
        }
        behind[at].push(value);
    }
    let mut margin = f64::INFINITY;
    let mut one = |values: &Vec<f64>| {
        let sum = |f: &dyn Fn(f64) -> f64| values.iter().map(|&x| f(x)).sum::<f64>();
        let top = |sign: f64| {
            let mut sorted: Vec<f64> = values.iter().map(|x| sign * x).collect();
            sorted.sort_by(f64::total_cmp);
            let lead =
                sorted.iter().rev().nth(1).map_or(f64::INFINITY, |s| sorted[sorted.len() - 1] - s);
            (sign * sorted[sorted.len() - 1], lead)
        };
        let least = values.iter().fold(f64::INFINITY, |m, x| m.min(x.abs()));
        let (value, kink) = match name {
            "ReduceSum" => (sum(&|x| x), f64::INFINITY),
            "ReduceMean" | "GlobalAveragePool" => {
                (sum(&|x| x) / values.len() as f64, f64::INFINITY)
            }
            "ReduceMax" | "GlobalMaxPool" => top(1.0),
            "ReduceMin" => top(-1.0),
            "ReduceL1" => (sum(&f64::abs), least),
            "ReduceL2" => (sum(&|x| x * x).sqrt(), sum(&|x| x * x).sqrt()),
            "ReduceSumSquare" => (sum(&|x| x * x), f64::INFINITY),
            "ReduceProd" => (values.iter().product(), f64::INFINITY),
            other => panic!("no operator {other}"),
        };
        margin = margin.min(kink);
        value
    };
    let data = behind.iter().map(&mut one).collect();
    let shape: Vec<usize> = if keep {
        kept
    } else {
        full.iter().zip(reduced).filter(|(_, reduced)| !**reduced).map(|(&d, _)| d).collect()
    };
    (Array { shape: of_one_image(&shape), data }, margin)
}
