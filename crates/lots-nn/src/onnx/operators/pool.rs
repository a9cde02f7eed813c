//! MaxPool and AveragePool, over planes or rows.

use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader, check_table};
use super::conv::{plane_shape, planes};
use crate::graph::Action;
use crate::ops::pool::{AveragePool, MaxPool};

pub(super) fn pool(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let (channels, input, axes) = planes(&shape)?;
    let kernel = a.kernel(axes)?;
    let ceil = a.int("ceil_mode", 0)? != 0;
    let window = a.window(kernel, input, axes, ceil)?;
    check_table(
        "windows [rows, columns, taps]",
        &[window.output[0], window.output[1], kernel[0], kernel[1]],
    )?;
    let shape = plane_shape(channels, window.output, axes);
    let max = node.op_type == "MaxPool";
    let count_padding = if max {
        // Only says how a second output counts, which is refused.
        a.int("storage_order", 0)?;
        false
    } else {
        a.int("count_include_pad", 0)? != 0
    };
    let covers = |a: usize, at: usize| {
        let mut taps = (0..kernel[a]).map(|k| at * window.stride[a] + k * window.dilation[a]);
        taps.any(|p| p >= window.pad[a] && p < window.pad[a] + window.input[a])
    };
    if !count_padding && (0..2).any(|a| !(0..window.output[a]).all(|at| covers(a, at))) {
        return Err("some of its windows lie wholly in the padding".into());
    }
    let action = if max {
        Action::run(MaxPool::new(channels, window))
    } else {
        Action::run(AveragePool::new(window, count_padding))
    };
    Ok(Made { inputs: vec![v], shape, action })
}
