//! Reductions, and the poolings of whole planes.

use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader, axis, check_table, possible};
use crate::graph::Action;
use crate::ops::reduce::{Fold, Reduce};
use crate::tensor::show_shape;

/// The name and the arithmetic of reduction `op`, if it is one.
pub(super) fn fold_of(op: &str) -> Option<(&'static str, Fold)> {
    Some(match op {
        "ReduceSum" => ("ReduceSum", Fold::Sum),
        "ReduceMean" => ("ReduceMean", Fold::Mean),
        "ReduceMax" => ("ReduceMax", Fold::Max),
        "ReduceMin" => ("ReduceMin", Fold::Min),
        "ReduceL1" => ("ReduceL1", Fold::L1),
        "ReduceL2" => ("ReduceL2", Fold::L2),
        "ReduceSumSquare" => ("ReduceSumSquare", Fold::SumSquare),
        "ReduceProd" => ("ReduceProd", Fold::Product),
        _ => return None,
    })
}

pub(super) fn reduce(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
    (name, fold): (&'static str, Fold),
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    // An attribute up to operator set 17 (of ReduceSum up to 12), an input since.
    let axes = match (a.ints("axes")?, reader.ints(node, 1)?) {
        (Some(_), Some(_)) => return Err("its axes are given twice, as attribute and input".into()),
        (attribute, input) => attribute.or(input.map(|axes| axes.data)).unwrap_or_default(),
    };
    let none_is_none = a.int("noop_with_empty_axes", 0)? != 0;
    let keep = a.int("keepdims", 1)? != 0;
    let mut reduced = vec![axes.is_empty() && !none_is_none; shape.len()];
    for &wanted in &axes {
        if std::mem::replace(&mut reduced[axis(wanted, shape.len())?], true) {
            return Err(format!("axis {wanted} is there twice in {axes:?}"));
        }
    }
    let output = shape
        .iter()
        .zip(&reduced)
        .filter_map(|(&size, &reduced)| if reduced { keep.then_some(1) } else { Some(size) });
    let output = output.collect();
    let action = action(name, fold, &shape, &reduced)?;
    Ok(Made { inputs: vec![v], shape: output, action })
}

/// GlobalAveragePool and GlobalMaxPool: over all axes behind the channels.
pub(super) fn global_pool(
    reader: &Reader<'_>,
    node: &NodeProto,
    name: &'static str,
    fold: Fold,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    if shape.len() < 3 {
        return Err(format!(
            "wanted [N, channels, …] with at least one more axis, found {}",
            show_shape(&shape)
        ));
    }
    let reduced: Vec<bool> = (0..shape.len()).map(|a| a >= 2).collect();
    let output = shape.iter().zip(&reduced).map(|(&d, &r)| if r { 1 } else { d }).collect();
    let action = action(name, fold, &shape, &reduced)?;
    Ok(Made { inputs: vec![v], shape: output, action })
}

fn action(
    name: &'static str,
    fold: Fold,
    shape: &[usize],
    reduced: &[bool],
) -> Result<Action, String> {
    possible(shape)?;
    for part in [false, true] {
        let sizes: Vec<usize> =
            shape.iter().zip(reduced).filter(|(_, r)| **r == part).map(|(d, _)| *d).collect();
        check_table(if part { "its reduced axes" } else { "its other axes" }, &sizes)?;
    }
    Ok(Action::run(Reduce::new(name, fold, shape, reduced)))
}
