//! Conv.

use super::flipped::Flipped;
use super::linear::add_row_sums;
use super::padded::Plane;
use super::pool::MaxPool;
use super::{Keeper, Kept, Operator, Parameter, Run, Window, weight_and_bias};
use crate::kernels::{
    ConvShape, Field, Isa, Packed, Winners, Winograd, conv_columns_back, conv_valid,
    conv_weight_gradient, line_length, winners_back, winners_weights,
};
use crate::scratch::Buffer;
use crate::tensor::Tensor;
use std::borrow::Cow;
use std::sync::OnceLock;

/// A two-dimensional convolution with its weights [rows, channels / groups, kernel height, kernel width].
#[derive(Debug)]
pub(crate) struct Conv {
    window: Window,
    groups: usize,
    channels: usize,
    /// [rows, channels / groups, kernel height, kernel width], of the weights.
    shape_of_weights: [usize; 4],
    /// The weights in the file's order, while they are trained.
    weight: Option<Vec<f32>>,
    bias: Option<Tensor>,
    forward: Vec<Packed>,
    /// How `forward` is used, and instead of `backward`, where it pays.
    winograd: Option<Winograd>,
    backward: OnceLock<Backward>,
    /// `[kernel row][row][(column, channel) padded to 16]`, for sparse cotangents.
    lines: OnceLock<Vec<f32>>,
}

/// Weights as the dense back-projection wants them.
#[derive(Debug)]
enum Backward {
    /// [kernel columns × channels, kernel rows × rows] of each group: the products of the columns are added up. Pays with few
    /// input channels.
    Columns(Vec<Packed>),
    Flipped(Flipped),
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
            shape_of_weights: std::array::from_fn(|axis| weight.shape()[axis]),
            weight: Some(weight.into_data()),
            bias,
            forward: Vec::new(),
            winograd: None,
            backward: OnceLock::new(),
            lines: OnceLock::new(),
        };
        conv.pack(false);
        conv.weight = None;
        conv
    }

    /// Weight of output `row`, input `channel` of its group, `tap`.
    fn at(&self, row: usize, channel: usize, tap: usize) -> f32 {
        let (channels, taps) =
            (self.channels / self.groups, self.window.kernel[0] * self.window.kernel[1]);
        match &self.weight {
            Some(weight) => weight[(row * channels + channel) * taps + tap],
            None => {
                let rows = self.rows() / self.groups;
                self.forward[row / rows].at(row % rows, tap * channels + channel)
            }
        }
    }

    /// The weights in the file's order.
    fn weight(&self) -> Cow<'_, [f32]> {
        if let Some(weight) = &self.weight {
            return weight.into();
        }
        let [rows, channels, height, width] = self.shape_of_weights;
        let taps = height * width;
        let mut weight = Vec::with_capacity(rows * channels * taps);
        for row in 0..rows {
            for channel in 0..channels {
                weight.extend((0..taps).map(|tap| self.at(row, channel, tap)));
            }
        }
        weight.into()
    }

    /// Packs the weights for the forward pass.
    fn pack(&mut self, parallel: bool) {
        let s = self.shape();
        // Chains go tap by tap; the file's weights go channel by channel.
        let order: Vec<usize> = (0..s.taps())
            .flat_map(|tap| (0..s.channels).map(move |c| c * s.taps() + tap))
            .collect();
        let Some(weight) = &self.weight else { return };
        self.forward.resize_with(self.groups, Packed::default);
        for (g, packed) in self.forward.iter_mut().enumerate() {
            (packed.rows, packed.depth) = (s.rows, s.depth());
            packed.fill(parallel, |row, k| weight[(g * s.rows + row) * order.len() + order[k]]);
        }
        self.winograd = self
            .takes_winograd()
            .then(|| Winograd::new(Isa::best(), parallel, s.kernel[0], &self.forward[0]));
    }

    /// Whether Winograd's minimal filtering pays: what it saves in multiplications it costs in transforms and weights.
    ///
    /// It must not depend on the images or on how many there are: results would.
    fn takes_winograd(&self) -> bool {
        let (w, rows) = (&self.window, self.rows());
        let points = w.kernel[0] + 3;
        let weights = points * points * rows * self.channels;
        self.groups == 1
            && w.stride == [1, 1]
            && w.dilation == [1, 1]
            && (w.kernel == [3, 3] || w.kernel == [5, 5])
            && self.channels.min(rows) >= 16
            && (w.output[0] * w.output[1] >= 64 || weights <= 1 << 17)
    }

    /// Where the windows lie, for Winograd's filtering.
    fn field(&self) -> Field {
        let w = &self.window;
        Field { input: w.input, output: w.output, pad: w.pad }
    }

    fn rows(&self) -> usize {
        self.shape_of_weights[0]
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
            inside: [0, 1].map(|a| [w.pad[a], w.pad[a] + w.input[a]].map(|at| at.min(reach(a)))),
            output: w.output,
        }
    }

    fn backward(&self) -> &Backward {
        self.backward.get_or_init(|| {
            let s = self.shape();
            if s.channels <= 4 {
                let packed = |g| {
                    let (outputs, depth) = (s.kernel[1] * s.channels, s.kernel[0] * s.rows);
                    Packed::new(false, outputs, depth, |k, at| {
                        let tap = at / s.rows * s.kernel[1] + k / s.channels;
                        self.at(g * s.rows + at % s.rows, k % s.channels, tap)
                    })
                };
                return Backward::Columns((0..self.groups).map(packed).collect());
            }
            let shape = [s.groups, s.rows, s.channels];
            Backward::Flipped(Flipped::new(&self.window, shape))
        })
    }

    /// Calls `f(place in the input, place in the padded input, length)` for each row of the input that is used.
    fn each_row(&self, mut f: impl FnMut(usize, usize, usize)) {
        let (s, w) = (self.shape(), &self.window);
        let used = |a: usize| w.input[a].min(s.input[a].saturating_sub(w.pad[a]));
        if used(1) == 0 {
            // Windows that end before the input begins see nothing of it.
            return;
        }
        for c in 0..self.channels {
            for y in 0..used(0) {
                let to = (c * s.input[0] + y + w.pad[0]) * s.input[1] + w.pad[1];
                f((c * w.input[0] + y) * w.input[1], to, used(1));
            }
        }
    }

    /// Calls `f` with the input padded as [`Conv::shape`] wants it.
    fn with_padded(&self, run: Run, x: &[f32], f: impl FnOnce(&[f32])) {
        let (s, w) = (self.shape(), &self.window);
        if s.input == w.input && w.pad == [0, 0] {
            return f(x);
        }
        let mut padded = Buffer::dirty(self.channels * s.input[0] * s.input[1] * run.lanes);
        let to = Plane { size: s.input, first: w.pad };
        to.place(run, self.channels, &mut padded, x, Plane { size: w.input, first: [0, 0] });
        f(&padded);
    }

    /// Back-projection by the products of all taps, added where they lie.
    fn vjp_columns(&self, run: Run, weights: &[Packed], cotangent: &[f32], gradient: &mut [f32]) {
        let (s, w, lanes) = (self.shape(), &self.window, run.lanes);
        if s.input == w.input && w.pad == [0, 0] {
            return conv_columns_back(
                run.isa,
                run.parallel,
                &s,
                weights,
                lanes,
                cotangent,
                gradient,
            );
        }
        let mut padded = Buffer::dirty(self.channels * s.input[0] * s.input[1] * lanes);
        conv_columns_back(run.isa, run.parallel, &s, weights, lanes, cotangent, &mut padded);
        let from = Plane { size: s.input, first: w.pad };
        let to = Plane { size: w.input, first: [0, 0] };
        to.place(run, self.channels, gradient, &padded, from);
    }

    /// Whether cotangents that come out of a max pooling are better sent back winner by winner.
    ///
    /// It must not depend on the images or on how many there are: results would.
    pub(crate) fn takes_winners(&self) -> bool {
        self.groups == 1
            && self.window.dilation == [1, 1]
            && self.window.kernel[1] * self.channels >= 32
            && self.winograd.is_none()
    }

    /// Weights by kernel row, as sparse cotangents want them.
    fn lines(&self) -> &[f32] {
        self.lines.get_or_init(|| {
            let s = self.shape();
            let mut lines = vec![0.0; s.kernel[0] * s.rows * line_length(&s)];
            let weight = self.weight();
            self.each_weight(&s, |at, place| lines[place] = weight[at]);
            lines
        })
    }

    /// Calls `f(place of a weight in the file's order, place by kernel row)` for each weight.
    fn each_weight(&self, s: &ConvShape, mut f: impl FnMut(usize, usize)) {
        let line = line_length(s);
        let mut at = 0;
        for row in 0..s.rows {
            for c in 0..s.channels {
                for ky in 0..s.kernel[0] {
                    for kx in 0..s.kernel[1] {
                        f(at, (ky * s.rows + row) * line + kx * s.channels + c);
                        at += 1;
                    }
                }
            }
        }
    }

    /// Calls `f(place in a lane-blocked input, place in one padded image [height][width][channels])` for each element.
    fn each_pixel(&self, s: &ConvShape, lanes: usize, mut f: impl FnMut(usize, usize)) {
        self.each_row(|inside, in_padded, length| {
            let plane = s.input[0] * s.input[1];
            let (c, place) = (in_padded / plane, in_padded % plane);
            for x in 0..length {
                f((inside + x) * lanes, (place + x) * s.channels + c);
            }
        });
    }

    /// Back-projection of cotangents that lie behind `pool`: only the winners of its windows count.
    ///
    /// `kept` are the bytes that the pooling kept, `cotangent` is at its output.
    pub(crate) fn vjp_winners(
        &self,
        run: Run,
        pool: &MaxPool,
        kept: &[u8],
        cotangent: &[f32],
        dx: &mut [f32],
    ) {
        let s = self.shape();
        let mut image = Buffer::dirty(s.input[0] * s.input[1] * s.channels + line_length(&s));
        let mut winners = Winners::new(&s);
        if s.input != self.window.input || self.window.pad != [0, 0] {
            // Rows and columns that no window reaches.
            dx.fill(0.0);
        }
        for lane in 0..run.lanes {
            winners.clear();
            pool.winners(kept, cotangent, run.lanes, lane, |row, pixel, g| {
                winners.push(row, pixel, g)
            });
            image.fill(0.0);
            winners_back(run.isa, &s, self.lines(), &mut winners, &mut image);
            self.each_pixel(&s, run.lanes, |to, from| dx[to + lane] = image[from]);
        }
    }

    /// The gradients of weights and bias for cotangents that lie behind `pool`, of one group of images.
    ///
    /// `kept` and `cotangent` as in [`Conv::vjp_winners`].
    pub(crate) fn winner_weight_gradients(
        &self,
        run: Run,
        pool: &MaxPool,
        x: &[f32],
        kept: &[u8],
        cotangent: &[f32],
        gradients: &mut [Vec<f32>],
    ) {
        let s = self.shape();
        let mut image = Buffer::zeroed(s.input[0] * s.input[1] * s.channels + line_length(&s));
        let mut sums = Buffer::zeroed(s.kernel[0] * s.rows * line_length(&s));
        let mut winners = Winners::new(&s);
        for lane in 0..run.lanes {
            winners.clear();
            pool.winners(kept, cotangent, run.lanes, lane, |row, pixel, g| {
                winners.push(row, pixel, g)
            });
            self.each_pixel(&s, run.lanes, |from, to| image[to] = x[from + lane]);
            winners_weights(run.isa, &s, &image, &mut winners, &mut sums);
        }
        let dw = &mut gradients[0];
        self.each_weight(&s, |at, place| dw[at] = sums[place]);
        if self.bias.is_some() {
            let length = cotangent.len() / self.rows();
            add_row_sums(run, cotangent, self.rows(), length, &mut gradients[1]);
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
        if let Some(winograd) = &self.winograd {
            let (x, field) = (inputs[0], self.field());
            let w = &self.forward[0];
            return winograd.forward(run.isa, run.parallel, &field, w, bias, run.lanes, x, output);
        }
        self.with_padded(run, inputs[0], |x| {
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
        if let Some(winograd) = &self.winograd {
            let field = self.field();
            let w = &self.forward[0];
            winograd.back(run.isa, run.parallel, &field, w, run.lanes, cotangent, gradient);
            return;
        }
        match self.backward() {
            Backward::Columns(weights) => self.vjp_columns(run, weights, cotangent, gradient),
            Backward::Flipped(flipped) => {
                flipped.back(run, &self.window, &self.forward, cotangent, gradient);
            }
        }
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        weight_and_bias(&self.shape_of_weights, self.bias.as_ref())
    }

    fn parameter(&self, at: usize) -> Cow<'_, [f32]> {
        match (at, &self.bias) {
            (1, Some(bias)) => bias.data().into(),
            _ => self.weight(),
        }
    }

    fn parameter_mut(&mut self, at: usize) -> &mut [f32] {
        if at == 0 && self.weight.is_none() {
            self.weight = Some(self.weight().into_owned());
        }
        match (at, &mut self.bias) {
            (1, Some(bias)) => bias.data_mut(),
            _ => self.weight.as_deref_mut().unwrap_or_default(),
        }
    }

    fn refresh(&mut self, parallel: bool) {
        self.pack(parallel);
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
        if let Some(winograd) = &self.winograd {
            let g = self.rows() * w.output[0] * w.output[1] * run.lanes;
            for (x, g) in inputs[0].chunks_exact(image).zip(cotangent.chunks_exact(g)) {
                winograd.weight_gradient(run.isa, &self.field(), x, g, &mut gradients[0]);
            }
        } else if s.input == w.input && w.pad == [0, 0] {
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
                self.with_padded(run, group, |x| all.extend_from_slice(x));
            }
            conv_weight_gradient(run.isa, run.parallel, &s, &all, cotangent, &mut gradients[0]);
        }
        if self.bias.is_some() {
            let pixels = w.output[0] * w.output[1] * run.lanes;
            add_row_sums(run, cotangent, self.rows(), pixels, &mut gradients[1]);
        }
    }

    fn as_conv(&self) -> Option<&Conv> {
        Some(self)
    }
}
