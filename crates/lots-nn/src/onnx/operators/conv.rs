//! Conv, over planes or rows.

use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader, possible};
use crate::graph::Action;
use crate::ops::conv::Conv;
use crate::tensor::{Tensor, show_shape};

/// Channels, height and width of [1, channels, height, width] or [1, channels, width], and how many of the two there are.
pub(super) fn planes(shape: &[usize]) -> Result<(usize, [usize; 2], usize), String> {
    match *shape {
        [1, channels, height, width] => Ok((channels, [height, width], 2)),
        [1, channels, width] => Ok((channels, [1, width], 1)),
        _ => Err(format!(
            "wanted [N, channels, height, width] (2-D) or [N, channels, width] (1-D), found {} (of one image)",
            show_shape(shape)
        )),
    }
}

/// The shape of `channels` planes of `size`, with as many axes as [`planes`] found.
pub(super) fn plane_shape(channels: usize, size: [usize; 2], axes: usize) -> Vec<usize> {
    [&[1, channels], &size[2 - axes..]].concat()
}

/// Weights [rows, channels, kernel…] with a kernel of two axes.
pub(super) fn kernels(weight: Tensor, axes: usize) -> Result<Tensor, String> {
    let mut shape = weight.shape().to_vec();
    if shape.len() != axes + 2 {
        return Err(format!("weights {} do not fit a {axes}-D input", show_shape(weight.shape())));
    }
    if axes == 1 {
        shape.insert(2, 1);
    }
    Tensor::new(shape, weight.into_data()).ok_or_else(|| "its weights are damaged".to_owned())
}

pub(super) fn conv(
    reader: &Reader<'_>,
    node: &NodeProto,
    a: &Attributes<'_>,
) -> Result<Made, String> {
    let (v, shape) = reader.activation(node, 0)?;
    let (channels, input, axes) = planes(&shape)?;
    let weight = kernels(reader.weights(node, 1)?, axes)?;
    let bias = reader.floats(node, 2)?;
    let &[rows, per_group, kh, kw] = weight.shape() else {
        return Err("its weights are damaged".into());
    };
    let groups = a.positive("group", 1)?;
    if per_group.checked_mul(groups) != Some(channels) || rows == 0 || !rows.is_multiple_of(groups)
    {
        return Err(format!(
            "weights {} with {groups} group(s) do not fit an input of {channels} channels",
            show_shape(weight.shape())
        ));
    }
    if let Some(bias) = bias.as_ref().filter(|b| b.shape() != [rows]) {
        return Err(format!(
            "bias {} does not fit {rows} output channels",
            show_shape(bias.shape())
        ));
    }
    a.kernel_shape([kh, kw], axes)?;
    let window = a.window([kh, kw], input, axes, false)?;
    let padded = [0, 1].map(|a| window.pad[a] + window.input[a] + window.pad_end[a]);
    if possible(&[channels, padded[0], padded[1]]).is_err() {
        return Err(format!(
            "its padded input {} is too large",
            show_shape(&[channels, padded[0], padded[1]])
        ));
    }
    let shape = plane_shape(rows, window.output, axes);
    let action = Action::run(Conv::new(window, groups, channels, weight, bias));
    Ok(Made { inputs: vec![v], shape, action })
}
