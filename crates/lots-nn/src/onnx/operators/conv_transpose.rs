//! ConvTranspose, over planes or rows.

use super::super::attributes::Attributes;
use super::super::proto::NodeProto;
use super::super::read::{Made, Reader, possible};
use super::conv::{kernels, plane_shape, planes};
use crate::graph::Action;
use crate::ops::Window;
use crate::ops::conv::Conv;
use crate::ops::conv_transpose::ConvTranspose;
use crate::tensor::show_shape;

pub(super) fn conv_transpose(
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
    let outputs = per_group.checked_mul(groups).filter(|&n| n > 0);
    let Some(outputs) = outputs.filter(|_| rows == channels && rows.is_multiple_of(groups)) else {
        return Err(format!(
            "weights {} with {groups} group(s) do not fit an input of {channels} channels",
            show_shape(weight.shape())
        ));
    };
    if let Some(bias) = bias.as_ref().filter(|b| b.shape() != [outputs]) {
        return Err(format!(
            "bias {} does not fit {outputs} output channels",
            show_shape(bias.shape())
        ));
    }
    a.kernel_shape([kh, kw], axes)?;
    let window = window(a, [kh, kw], input, axes)?;
    let output = window.input;
    let around = [0, 1].map(|a| output[a] + window.extent(a));
    for channels in [channels, outputs] {
        if possible(&[channels, around[0], around[1]]).is_err() {
            return Err(format!(
                "its padded output {} is too large",
                show_shape(&[channels, around[0], around[1]])
            ));
        }
    }
    let conv = Conv::new(window, groups, outputs, weight, None);
    let action = Action::run(ConvTranspose::new(conv, bias, output[0] * output[1]));
    Ok(Made { inputs: vec![v], shape: plane_shape(outputs, output, axes), action })
}

/// The window of the convolution that takes the output to the `input` of `axes` axes (of one, the height is 1).
fn window(
    a: &Attributes<'_>,
    kernel: [usize; 2],
    input: [usize; 2],
    axes: usize,
) -> Result<Window, String> {
    let (stride, dilation) = (a.pair("strides", axes)?, a.pair("dilations", axes)?);
    let auto = a.text("auto_pad")?;
    let pads = a.pads(axes)?;
    let wanted = match a.ints("output_shape")? {
        Some(_) => Some(a.pair("output_shape", axes)?),
        None if matches!(auto.as_str(), "SAME_UPPER" | "SAME_LOWER") => {
            Some([0, 1].map(|a| input[a] * stride[a]))
        }
        None => None,
    };
    let more = a.output_padding(axes)?;
    let mut window = Window {
        kernel,
        stride,
        dilation,
        pad: [0, 0],
        pad_end: [0, 0],
        input: [0, 0],
        output: input,
    };
    for axis in 0..2 {
        let most = stride[axis].max(dilation[axis]) - 1;
        if more[axis] > most {
            return Err(format!(
                "output_padding {} is too large for stride {} and dilation {}; wanted {most} at most",
                more[axis], stride[axis], dilation[axis]
            ));
        }
        if kernel[axis] == 0 {
            return Err("its kernel is empty".into());
        }
        let whole = stride[axis] * (input[axis] - 1) + window.extent(axis) + more[axis];
        let (begin, end, output) = match (wanted, auto.as_str()) {
            (Some(wanted), "" | "NOTSET" | "VALID" | "SAME_UPPER" | "SAME_LOWER") => {
                let total = whole.saturating_sub(wanted[axis]);
                let missing = wanted[axis].saturating_sub(whole);
                // Where SAME would put zeros, runtimes disagree.
                if missing > if auto.starts_with("SAME") { 0 } else { most } {
                    return Err(format!(
                        "its output of {whole} cannot be padded to {}; give pads and output_padding",
                        wanted[axis]
                    ));
                }
                let small = total / 2;
                let begin = if auto == "SAME_UPPER" { small } else { total - small };
                (begin, total - begin, wanted[axis])
            }
            (None, "" | "NOTSET") => {
                let (begin, end) = (pads[axis], pads[axis + 2]);
                let output = whole.checked_sub(begin + end).filter(|&n| n > 0);
                let output = output.ok_or_else(|| {
                    format!("pads {begin} and {end} leave nothing of its output of {whole}")
                })?;
                (begin, end, output)
            }
            (None, "VALID") => (0, 0, whole),
            (_, other) => return Err(format!("attribute auto_pad is \"{other}\"")),
        };
        window.pad[axis] = begin;
        window.pad_end[axis] = end;
        window.input[axis] = output;
    }
    Ok(window)
}
