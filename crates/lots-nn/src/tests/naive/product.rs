//! MatMul as numpy.matmul is described.

use super::{Array, of_one_image};

/// The product of arrays of `shapes`: a list is one row on the left and one column on the right, and the axes before the
/// last two broadcast.
pub(super) fn product(sides: [&Vec<f64>; 2], shapes: &[Vec<usize>; 2]) -> Array {
    let mut full = shapes.clone();
    let lists = [full[0].len() == 1, full[1].len() == 1];
    if lists[0] {
        full[0].insert(0, 1);
    }
    if lists[1] {
        full[1].push(1);
    }
    let rank = full[0].len().max(full[1].len());
    for shape in &mut full {
        while shape.len() < rank {
            shape.insert(0, 1);
        }
    }
    let (rows, depth, columns) = (full[0][rank - 2], full[0][rank - 1], full[1][rank - 1]);
    let batch: Vec<usize> = (0..rank - 2).map(|a| full[0][a].max(full[1][a])).collect();
    let mut data = Vec::new();
    for p in 0..batch.iter().product() {
        // Which matrix of a side product `p` takes.
        let matrix = |side: usize| {
            let (mut rest, mut at, mut step) = (p, 0, 1);
            for (axis, &size) in batch.iter().enumerate().rev() {
                let own = full[side][axis];
                at += if own == 1 { 0 } else { rest % size } * step;
                step *= own;
                rest /= size;
            }
            at
        };
        let a = &sides[0][matrix(0) * rows * depth..][..rows * depth];
        let b = &sides[1][matrix(1) * depth * columns..][..depth * columns];
        for row in 0..rows {
            for column in 0..columns {
                data.push((0..depth).map(|k| a[row * depth + k] * b[k * columns + column]).sum());
            }
        }
    }
    let mut shape = batch;
    if !lists[0] {
        shape.push(rows);
    }
    if !lists[1] {
        shape.push(columns);
    }
    Array { shape: of_one_image(&shape), data }
}
