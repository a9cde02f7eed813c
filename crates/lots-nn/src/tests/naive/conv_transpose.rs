//! ConvTranspose: every input goes to all its outputs.

use super::{Array, Window};

/// Output size and padding before along one axis, by the formulas of the ONNX operator.
pub(super) fn along(
    w: &Window,
    axis: usize,
    input: usize,
    more: usize,
    wanted: Option<usize>,
) -> (usize, usize) {
    let whole = w.stride[axis] * (input - 1) + more + w.extent(axis);
    let same = matches!(w.auto_pad, "SAME_UPPER" | "SAME_LOWER");
    let wanted = wanted.or(same.then_some(input * w.stride[axis]));
    match (wanted, w.auto_pad) {
        // Less than nothing to take away: zeros behind.
        (Some(wanted), _) if wanted >= whole => (wanted, 0),
        (Some(wanted), "SAME_UPPER") => (wanted, (whole - wanted) / 2),
        (Some(wanted), _) => (wanted, (whole - wanted) - (whole - wanted) / 2),
        (None, "VALID") => (whole, 0),
        (None, _) => (whole - w.pads[axis] - w.pads[axis + 2], w.pads[axis]),
    }
}

pub(super) fn conv_transpose(
    x: &Array,
    w: &Window,
    groups: usize,
    [(height, top), (width, left)]: [(usize, usize); 2],
    weight: &[usize],
    p: &[Vec<f64>],
) -> Array {
    let (channels, per_group) = (weight[0], weight[1]);
    let rows = per_group * groups;
    let mut data = vec![0.0; rows * height * width];
    for (row, plane) in data.chunks_mut(height * width).enumerate() {
        plane.fill(p.get(1).map_or(0.0, |b| b[row]));
    }
    let [_, input_height, input_width] = x.shape[..] else { panic!("{:?}", x.shape) };
    for c in 0..channels {
        for k in 0..per_group {
            let row = c / (channels / groups) * per_group + k;
            for ky in 0..w.kernel[0] {
                for kx in 0..w.kernel[1] {
                    let tap = ((c * per_group + k) * w.kernel[0] + ky) * w.kernel[1] + kx;
                    for y in 0..input_height {
                        for column in 0..input_width {
                            let to_y = (y * w.stride[0] + ky * w.dilation[0]).wrapping_sub(top);
                            let to_x =
                                (column * w.stride[1] + kx * w.dilation[1]).wrapping_sub(left);
                            if to_y < height && to_x < width {
                                data[(row * height + to_y) * width + to_x] += p[0][tap]
                                    * x.data[(c * input_height + y) * input_width + column];
                            }
                        }
                    }
                }
            }
        }
    }
    Array { shape: vec![rows, height, width], data }
}
