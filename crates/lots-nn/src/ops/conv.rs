//! Conv.

use super::pool::MaxPool;
use super::{Keeper, Kept, Operator, Parameter, Run, Window};
use crate::kernels::{
    ConvShape, Packed, Winners, conv_columns_back, conv_valid, conv_weight_gradient,
    scatter_winners,
};
use crate::scratch::Buffer;
use crate::tensor::Tensor;
use std::sync::OnceLock;

/// A two-dimensional convolution with its weights [rows, channels / groups, kernel height, kernel width].
#[derive(Debug)]
pub(crate) struct Conv {
    window: Window,
    groups: usize,
    channels: usize,
    weight: Tensor,
    bias: Option<Tensor>,
    forward: Vec<Packed>,
    backward: OnceLock<Vec<Packed>>,
    /// `[kernel row][row][(column, channel) padded to 16]`, for sparse cotangents.
    lines: OnceLock<Vec<f32>>,
}

impl Conv {
    /// A convolution over [`channels`, `window.input`]; shapes were checked by the reader of the graph.
    pub(crate) fn new(
        window: Window,
        groups: usize,
        channels: usize,
        weight: Tensor,
        bias: Option<Tensor>,
    ) -> Self {
        let mut conv = Self {
            window,
            groups,
            channels,
            weight,
            bias,
            forward: Vec::new(),
            backward: OnceLock::new(),
            lines: OnceLock::new(),
        };
        let s = conv.shape();
        conv.forward = (0..groups)
            .map(|g| {
                Packed::new(false, s.rows, s.depth(), |row, k| {
                    conv.at(g * s.rows + row, k % s.channels, k / s.channels)
                })
            })
            .collect();
        conv
    }

    /// Weight of output `row`, input `channel` of its group, `tap`.
    fn at(&self, row: usize, channel: usize, tap: usize) -> f32 {
        let (channels, taps) =
            (self.channels / self.groups, self.window.kernel[0] * self.window.kernel[1]);
        self.weight.data()[(row * channels + channel) * taps + tap]
    }

    fn rows(&self) -> usize {
        self.weight.shape()[0]
    }

    /// The convolution over the padded input.
    fn shape(&self) -> ConvShape {
        let w = &self.window;
        // As much as the last window reaches; rows behind it play no part.
        let reach = |a: usize| (w.output[a] - 1) * w.stride[a] + w.extent(a);
        ConvShape {
            groups: self.groups,
            channels: self.channels / self.groups,
            rows: self.rows() / self.groups,
            kernel: w.kernel,
            stride: w.stride,
            dilation: w.dilation,
            input: [reach(0), reach(1)],
            output: w.output,
        }
    }

    /// The convolution that sends cotangents back: flipped weights over the spread cotangent.
    fn back_shape(&self) -> ConvShape {
        let w = &self.window;
        ConvShape {
            groups: self.groups,
            channels: self.rows() / self.groups,
            rows: self.channels / self.groups,
            kernel: w.kernel,
            stride: [1, 1],
            dilation: w.dilation,
            input: [w.input[0] + w.extent(0) - 1, w.input[1] + w.extent(1) - 1],
            output: w.input,
        }
    }

    /// Whether the dense back-projection adds up the products of all taps: pays with few input channels.
    fn by_columns(&self) -> bool {
        self.channels / self.groups <= 4
    }

    /// Weights as the dense back-projection wants them: [taps × channels, rows] of each group by columns, else flipped.
    fn backward(&self) -> &[Packed] {
        self.backward.get_or_init(|| {
            if self.by_columns() {
                let s = self.shape();
                let packed = |g| {
                    Packed::new(false, s.depth(), s.rows, |k, row| {
                        self.at(g * s.rows + row, k % s.channels, k / s.channels)
                    })
                };
                return (0..self.groups).map(packed).collect();
            }
            let s = self.back_shape();
            (0..self.groups)
                .map(|g| {
                    Packed::new(false, s.rows, s.depth(), |channel, k| {
                        self.at(
                            g * s.channels + k % s.channels,
                            channel,
                            s.taps() - 1 - k / s.channels,
                        )
                    })
                })
                .collect()
        })
    }

    /// Calls `f(place in the input, place in the padded input, length)` for each row of the input that is used.
    fn each_row(&self, mut f: impl FnMut(usize, usize, usize)) {
        let (s, w) = (self.shape(), &self.window);
        let used = |a: usize| w.input[a].min(s.input[a].saturating_sub(w.pad[a]));
        for c in 0..self.channels {
            for y in 0..used(0) {
                let to = (c * s.input[0] + y + w.pad[0]) * s.input[1] + w.pad[1];
                f((c * w.input[0] + y) * w.input[1], to, used(1));
            }
        }
    }

    /// Calls `f` with the input padded as [`Conv::shape`] wants it.
    fn with_padded(&self, x: &[f32], lanes: usize, f: impl FnOnce(&[f32])) {
        let (s, w) = (self.shape(), &self.window);
        if s.input == w.input && w.pad == [0, 0] {
            return f(x);
        }
        let mut padded = Buffer::zeroed(self.channels * s.input[0] * s.input[1] * lanes);
        self.each_row(|inside, in_padded, length| {
            let (from, to) = (inside * lanes, in_padded * lanes);
            padded[to..to + length * lanes].copy_from_slice(&x[from..from + length * lanes]);
        });
        f(&padded);
    }

    /// Back-projection as a convolution of the spread cotangent with the flipped weights.
    fn vjp_flipped(&self, run: Run, cotangent: &[f32], gradient: &mut [f32]) {
        let (s, w, lanes) = (self.back_shape(), &self.window, run.lanes);
        let mut spread = Buffer::zeroed(self.rows() * s.input[0] * s.input[1] * lanes);
        // Output row y lies where its last tap row would lie over the first row of the input.
        let place = |a: usize, at: usize| {
            (at * w.stride[a] + w.extent(a) - 1).checked_sub(w.pad[a]).filter(|&p| p < s.input[a])
        };
        for row in 0..self.rows() {
            for y in 0..w.output[0] {
                let Some(py) = place(0, y) else { continue };
                for x in 0..w.output[1] {
                    let Some(px) = place(1, x) else { continue };
                    let from = ((row * w.output[0] + y) * w.output[1] + x) * lanes;
                    let to = ((row * s.input[0] + py) * s.input[1] + px) * lanes;
                    spread[to..to + lanes].copy_from_slice(&cotangent[from..from + lanes]);
                }
            }
        }
        conv_valid(run.isa, run.parallel, &s, self.backward(), None, lanes, &spread, gradient);
    }

    /// Back-projection by the products of all taps, added where they lie.
    fn vjp_columns(&self, run: Run, cotangent: &[f32], gradient: &mut [f32]) {
        let (s, w, lanes) = (self.shape(), &self.window, run.lanes);
        if s.input == w.input && w.pad == [0, 0] {
            return conv_columns_back(run.isa, &s, self.backward(), lanes, cotangent, gradient);
        }
        let mut padded = Buffer::dirty(self.channels * s.input[0] * s.input[1] * lanes);
        conv_columns_back(run.isa, &s, self.backward(), lanes, cotangent, &mut padded);
        gradient.fill(0.0);
        self.each_row(|inside, in_padded, length| {
            let (to, from) = (inside * lanes, in_padded * lanes);
            gradient[to..to + length * lanes].copy_from_slice(&padded[from..from + length * lanes]);
        });
    }

    /// Whether cotangents that come out of a max pooling are better sent back winner by winner.
    ///
    /// It must not depend on the images or on how many there are: results would.
    pub(crate) fn takes_winners(&self) -> bool {
        self.groups == 1
            && self.window.dilation == [1, 1]
            && self.window.kernel[1] * self.channels >= 32
    }

    /// Back-projection of cotangents that lie behind `pool`: only the winners of its windows count.
    ///
    /// `winners` are the bytes that the pooling kept, `cotangent` is at its output.
    pub(crate) fn vjp_winners(
        &self,
        run: Run,
        pool: &MaxPool,
        winners: &[u8],
        cotangent: &[f32],
        dx: &mut [f32],
    ) {
        let (s, w, lanes) = (self.shape(), &self.window, run.lanes);
        let line = (s.kernel[1] * s.channels).next_multiple_of(16);
        let lines = self.lines.get_or_init(|| {
            let mut lines = vec![0.0; s.rows * s.kernel[0] * line];
            for (at, line) in lines.chunks_exact_mut(line).enumerate() {
                let (ky, row) = (at / s.rows, at % s.rows);
                for (i, x) in line[..s.kernel[1] * s.channels].iter_mut().enumerate() {
                    *x = self.at(row, i % s.channels, ky * s.kernel[1] + i / s.channels);
                }
            }
            lines
        });
        // One image: [height][width][channels], with room for the zeros behind a line.
        let mut image = Buffer::zeroed(s.input[0] * s.input[1] * s.channels + line);
        let mut sorted = Winners::default();
        let mut list = Vec::new();
        for lane in 0..lanes {
            image.fill(0.0);
            list.clear();
            pool.winners(winners, cotangent, lanes, lane, |row, pixel, value| {
                list.push((row, pixel, value))
            });
            sorted.sort(s.output[0] * s.output[1], &list);
            scatter_winners(run.isa, &s, lines, line, &sorted, &mut image);
            for y in 0..w.input[0] {
                for x in 0..w.input[1] {
                    let (py, px) = (y + w.pad[0], x + w.pad[1]);
                    let inside = py < s.input[0] && px < s.input[1];
                    for c in 0..s.channels {
                        dx[((c * w.input[0] + y) * w.input[1] + x) * lanes + lane] = if inside {
                            image[(py * s.input[1] + px) * s.channels + c]
                        } else {
                            0.0
                        };
                    }
                }
            }
        }
    }
}

impl Operator for Conv {
    fn name(&self) -> &'static str {
        "Conv"
    }

    fn forward(
        &self,
        run: Run,
        inputs: &[&[f32]],
        output: &mut [f32],
        _keeper: Option<Keeper<'_>>,
    ) {
        let bias = self.bias.as_ref().map(Tensor::data);
        self.with_padded(inputs[0], run.lanes, |x| {
            conv_valid(
                run.isa,
                run.parallel,
                &self.shape(),
                &self.forward,
                bias,
                run.lanes,
                x,
                output,
            );
        });
    }

    fn vjp(
        &self,
        run: Run,
        _input: usize,
        _kept: Kept<'_>,
        cotangent: &[f32],
        gradient: &mut [f32],
    ) {
        if self.by_columns() {
            self.vjp_columns(run, cotangent, gradient);
        } else {
            self.vjp_flipped(run, cotangent, gradient);
        }
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let mut all = vec![Parameter { role: "weight", value: &self.weight }];
        all.extend(self.bias.as_ref().map(|value| Parameter { role: "bias", value }));
        all
    }

    fn parameter_mut(&mut self, at: usize) -> &mut [f32] {
        match (at, &mut self.bias) {
            (1, Some(bias)) => bias.data_mut(),
            _ => self.weight.data_mut(),
        }
    }

    fn refresh(&mut self, parallel: bool) {
        let s = self.shape();
        let taps = s.taps();
        let weight = self.weight.data();
        for (g, packed) in self.forward.iter_mut().enumerate() {
            packed.fill(parallel, |row, k| {
                weight[((g * s.rows + row) * s.channels + k % s.channels) * taps + k / s.channels]
            });
        }
        self.backward = OnceLock::new();
        self.lines = OnceLock::new();
    }

    fn weight_gradients(
        &self,
        run: Run,
        inputs: &[&[f32]],
        cotangent: &[f32],
        gradients: &mut [Vec<f32>],
    ) {
        let (s, w) = (self.shape(), &self.window);
        let image = self.channels * w.input[0] * w.input[1] * run.lanes;
        if s.input == w.input && w.pad == [0, 0] {
            conv_weight_gradient(
                run.isa,
                run.parallel,
                &s,
                inputs[0],
                cotangent,
                &mut gradients[0],
            );
        } else {
            let mut all = Vec::new();
            for group in inputs[0].chunks_exact(image) {
                self.with_padded(group, run.lanes, |x| all.extend_from_slice(x));
            }
            conv_weight_gradient(run.isa, run.parallel, &s, &all, cotangent, &mut gradients[0]);
        }
        if self.bias.is_some() {
            let pixels = w.output[0] * w.output[1] * run.lanes;
            super::linear::add_row_sums(run, cotangent, self.rows(), pixels, &mut gradients[1]);
        }
    }

    fn as_conv(&self) -> Option<&Conv> {
        Some(self)
    }
}
