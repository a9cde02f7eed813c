//! A convolution's dense back-projection: the cotangent convolved with the flipped weights.
//!
//! With a stride, rows and columns of the gradient that lie a stride apart see the same taps, and no others: each such part
//! is a convolution of stride 1 of its own.

use super::padded::Plane;
use super::{Run, Window};
use crate::kernels::{ConvShape, Packed, conv_of_adjoint, conv_valid, takes_adjoint};
use crate::parallel::{TASKS, for_each, share, worth};
use crate::scratch::Buffer;
use crate::shared::Shared;
use std::sync::OnceLock;

/// One part of the gradient on one axis.
#[derive(Clone, Debug)]
struct Axis {
    /// Its first place in the gradient; the others lie a stride apart.
    first: usize,
    places: usize,
    /// The taps that it sees, from the last one back, so that their outputs follow one another.
    taps: Vec<usize>,
    /// The output that the first of them belongs to at the first place; it may lie outside.
    output: isize,
    /// Outputs from one tap to the next.
    step: usize,
}

/// The parts of `axis` of the gradient.
fn parts(w: &Window, axis: usize) -> Vec<Axis> {
    let (stride, dilation) = (w.stride[axis] as isize, w.dilation[axis] as isize);
    let part = |first: usize| {
        let above = |tap: usize| (first + w.pad[axis]) as isize - tap as isize * dilation;
        let seen = |tap: &usize| above(*tap).rem_euclid(stride) == 0;
        let taps: Vec<usize> = (0..w.kernel[axis]).rev().filter(seen).collect();
        let output = |at: usize| taps.get(at).map_or(0, |&tap| above(tap).div_euclid(stride));
        let step = if taps.len() > 1 { (output(1) - output(0)) as usize } else { 1 };
        let places = (w.input[axis] - first).div_ceil(w.stride[axis]);
        Axis { first, places, output: output(0), step, taps }
    };
    (0..w.stride[axis].min(w.input[axis])).map(part).collect()
}

/// One part of the gradient, with its share of the weights.
#[derive(Debug)]
struct Part {
    axes: [Axis; 2],
    /// The taps that it sees.
    taps: Vec<usize>,
    /// [channels, taps × rows] of each convolution group; made when first asked for.
    weights: OnceLock<Vec<Packed>>,
}

/// The back-projection of a convolution by its parts.
#[derive(Debug)]
pub(super) struct Flipped {
    groups: usize,
    /// Channels and rows of one convolution group.
    channels: usize,
    rows: usize,
    parts: Vec<Part>,
}

impl Flipped {
    /// Of `groups` groups with so many rows and channels each.
    pub(super) fn new(window: &Window, [groups, rows, channels]: [usize; 3]) -> Self {
        let mut all = Vec::new();
        for y in parts(window, 0) {
            for x in parts(window, 1) {
                let row = |ky: &usize| {
                    let first = ky * window.kernel[1];
                    x.taps.iter().map(move |kx| first + kx)
                };
                let taps = y.taps.iter().flat_map(row).collect();
                all.push(Part { axes: [y.clone(), x.clone()], taps, weights: OnceLock::new() });
            }
        }
        Self { groups, channels, rows, parts: all }
    }

    /// `gradient` [groups × channels, input, lanes] of `cotangent` [groups × rows, output, lanes]; `forward` are the convolution's own
    /// weights, [rows, taps × channels] of each group, the same at each call.
    pub(super) fn back(
        &self,
        run: Run,
        w: &Window,
        forward: &[Packed],
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        for part in &self.parts {
            let places = part.axes.each_ref().map(|axis| axis.places);
            if places == w.input && !part.taps.is_empty() {
                return self.part(run, w, part, forward, cotangent, gradient);
            }
            let size = self.groups * self.channels * places[0] * places[1] * run.lanes;
            let mut own =
                if part.taps.is_empty() { Buffer::zeroed(size) } else { Buffer::dirty(size) };
            if !part.taps.is_empty() {
                self.part(run, w, part, forward, cotangent, &mut own);
            }
            part.spread(run, w, &own, gradient);
        }
    }

    /// The weights of a part.
    fn weights<'p>(&self, part: &'p Part, forward: &[Packed]) -> &'p [Packed] {
        let (rows, channels, taps) = (self.rows, self.channels, &part.taps);
        part.weights.get_or_init(|| {
            let flipped = |w: &Packed| {
                Packed::new(false, channels, taps.len() * rows, |channel, k| {
                    w.at(k % rows, taps[k / rows] * channels + channel)
                })
            };
            forward.iter().map(flipped).collect()
        })
    }

    /// The numbers of one part, without gaps.
    fn part(
        &self,
        run: Run,
        w: &Window,
        part: &Part,
        forward: &[Packed],
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        let origin = part.axes.each_ref().map(|axis| axis.output);
        let input =
            part.axes.each_ref().map(|axis| (axis.taps.len() - 1) * axis.step + axis.places);
        // The outputs that the part sees, with zeros where there are none.
        let seen = |a: usize| {
            let first = origin[a].clamp(0, w.output[a] as isize);
            let end = (origin[a] + input[a] as isize).clamp(first, w.output[a] as isize);
            // A part may see nothing but outputs that are not there.
            let before = ((first - origin[a]).max(0) as usize).min(input[a]);
            (first as usize, (end - first) as usize, before)
        };
        let ((top, rows, down), (left, columns, right)) = (seen(0), seen(1));
        let s = ConvShape {
            groups: self.groups,
            channels: self.rows,
            rows: self.channels,
            kernel: part.axes.each_ref().map(|axis| axis.taps.len()),
            stride: [1, 1],
            dilation: part.axes.each_ref().map(|axis| axis.step),
            input,
            inside: [[down, down + rows], [right, right + columns]],
            output: part.axes.each_ref().map(|axis| axis.places),
        };
        let Run { isa, parallel, lanes, .. } = run;
        let convolve = |g: &[f32], gradient: &mut [f32]| {
            if takes_adjoint(&s, lanes) {
                return conv_of_adjoint(isa, parallel, &s, (forward, &part.taps), g, gradient);
            }
            let weights = self.weights(part, forward);
            conv_valid(isa, parallel, &s, weights, None, lanes, g, gradient);
        };
        if origin == [0, 0] && s.input == w.output {
            return convolve(cotangent, gradient);
        }
        let planes = self.groups * self.rows;
        let mut padded = Buffer::dirty(planes * s.plane() * run.lanes);
        let to = Plane { size: s.input, first: [down, right] };
        let from = Plane { size: w.output, first: [top, left] };
        to.place(run, planes, &mut padded, cotangent, from);
        convolve(&padded, gradient);
    }
}

impl Part {
    /// Puts `own`, the part without gaps, into its places of the gradient.
    fn spread(&self, run: Run, w: &Window, own: &[f32], gradient: &mut [f32]) {
        let ([y, x], lanes) = (&self.axes, run.lanes);
        let (plane, line) = (w.input[0] * w.input[1], x.places * lanes);
        let planes = gradient.len() / (plane * lanes);
        let parallel = run.parallel && worth(own.len());
        let tasks = if parallel { TASKS.min(y.places) } else { 1 };
        let gradient = Shared::new(gradient);
        // Each thread has rows of its own of all planes.
        for_each(parallel, tasks, |task| {
            for n in 0..planes {
                for row in share(y.places, task, tasks) {
                    let from = &own[(n * y.places + row) * line..][..line];
                    let at = n * plane + (y.first + row * w.stride[0]) * w.input[1] + x.first;
                    let length = ((x.places - 1) * w.stride[1] + 1) * lanes;
                    // SAFETY: this row's places are written by this call alone.
                    let to = unsafe { gradient.slice(at * lanes, length) };
                    if lanes == 1 {
                        to.iter_mut().step_by(w.stride[1]).zip(from).for_each(|(to, x)| *to = *x);
                        continue;
                    }
                    let from = from.chunks_exact(lanes);
                    for (to, from) in to.chunks_mut(w.stride[1] * lanes).zip(from) {
                        to[..lanes].copy_from_slice(from);
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;

    /// Oracle: the same convolution with flipped weights of its own, bit by bit, on sizes of all kinds.
    #[test]
    fn few_pixels_need_no_weights_of_their_own() {
        let number =
            |seed: usize, at: usize| ((at * 7919 + seed * 101) % 1009) as f32 / 500.0 - 1.0;
        for [groups, rows, channels, side, kernel] in
            [[1, 16, 16, 4, 3], [1, 144, 70, 5, 3], [2, 32, 5, 8, 5], [1, 16, 256, 3, 1]]
        {
            let (taps, pixels) = (kernel * kernel, side * side);
            let s = ConvShape {
                groups,
                channels: rows,
                rows: channels,
                kernel: [kernel; 2],
                stride: [1, 1],
                dilation: [1, 1],
                input: [side + kernel - 1; 2],
                inside: [[0, side + kernel - 1]; 2],
                output: [side; 2],
            };
            assert!(takes_adjoint(&s, 1) && !takes_adjoint(&s, 16));
            let forward = |group: usize| {
                Packed::new(false, rows, taps * channels, |row, k| {
                    number(group, row * taps * channels + k)
                })
            };
            let forward: Vec<Packed> = (0..groups).map(forward).collect();
            let order: Vec<usize> = (0..taps).rev().collect();
            let flipped = |w: &Packed| {
                Packed::new(false, channels, taps * rows, |channel, k| {
                    w.at(k % rows, order[k / rows] * channels + channel)
                })
            };
            let flipped: Vec<Packed> = forward.iter().map(flipped).collect();
            let x: Vec<f32> = (0..groups * rows * s.plane()).map(|at| number(7, at)).collect();
            for isa in Isa::available() {
                for parallel in [false, true] {
                    let mut got = vec![f32::NAN; groups * channels * pixels];
                    let mut wanted = got.clone();
                    conv_of_adjoint(isa, parallel, &s, (&forward, &order), &x, &mut got);
                    conv_valid(isa, parallel, &s, &flipped, None, 1, &x, &mut wanted);
                    let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&got), bits(&wanted), "{rows} {channels} {side} {kernel}");
                }
            }
        }
    }
}
