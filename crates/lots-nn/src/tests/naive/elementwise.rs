//! Operators that take their operands element by element, with broadcasting as numpy does it.

use super::Array;

/// What each place of a common shape takes of `x`. A constant with one more axis than the images have a 1 for them.
fn expanded(x: &Array, shape: &[usize]) -> Vec<f64> {
    let own = if x.shape.len() > shape.len() { &x.shape[1..] } else { &x.shape };
    let mut full = vec![1; shape.len() - own.len()];
    full.extend_from_slice(own);
    let place = |flat: usize| {
        let (mut rest, mut at, mut step) = (flat, 0, 1);
        for axis in (0..shape.len()).rev() {
            let index = rest % shape[axis];
            rest /= shape[axis];
            at += step * if full[axis] == 1 { 0 } else { index };
            step *= full[axis];
        }
        at
    };
    (0..shape.iter().product()).map(|flat| x.data[place(flat)]).collect()
}

/// Folds the numbers that `operands` have at each place; `rank` is that of an image. The margin is how near a kink is.
pub(super) fn elementwise(kind: &str, operands: &[&Array], rank: usize) -> (Array, f64) {
    let mut shape = vec![1; rank];
    for x in operands {
        let rank = x.shape.len().min(rank);
        let axes = shape.iter_mut().rev().zip(x.shape.iter().rev().take(rank));
        axes.for_each(|(all, &own)| *all = (*all).max(own));
    }
    let columns: Vec<Vec<f64>> = operands.iter().map(|x| expanded(x, &shape)).collect();
    let mut margin = f64::INFINITY;
    let mut data = Vec::new();
    for at in 0..shape.iter().product() {
        let x: Vec<f64> = columns.iter().map(|c| c[at]).collect();
        let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = x.iter().copied().fold(f64::INFINITY, f64::min);
        // Exact ties are the same number twice, and move together.
        let lead = |from: f64| {
            let others = x.iter().map(|x| (x - from).abs()).filter(|&d| d > 0.0);
            others.fold(f64::INFINITY, f64::min)
        };
        let (value, near) = match kind {
            "Add" => (x[0] + x[1], f64::INFINITY),
            "Sub" => (x[0] - x[1], f64::INFINITY),
            "Mul" => (x[0] * x[1], f64::INFINITY),
            "Div" => (x[0] / x[1], f64::INFINITY),
            "Pow" => (x[0].powf(x[1]), f64::INFINITY),
            "PRelu" => (if x[0] < 0.0 { x[1] * x[0] } else { x[0] }, x[0].abs()),
            "Min" => (smallest, lead(smallest)),
            "Max" => (largest, lead(largest)),
            "Sum" => (x.iter().sum(), f64::INFINITY),
            "Mean" => (x.iter().sum::<f64>() / x.len() as f64, f64::INFINITY),
            other => panic!("no operator {other}"),
        };
        data.push(value);
        margin = margin.min(near);
    }
    (Array { shape, data }, margin)
}
