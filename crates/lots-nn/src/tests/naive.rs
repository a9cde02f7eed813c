//! The oracle: every operator in f64, as plain loops straight from the ONNX operator definitions.

mod conv_transpose;
mod elementwise;
mod normalize;
mod product;
mod reduce;
mod unary;

pub(super) use unary::UNARY;

use crate::onnx::{AttributeProto, TensorProto};

/// A constant of an operator.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f32>,
}

/// A sliding window as its attributes say it: kernel_shape, strides, dilations, pads, auto_pad.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub(super) pads: [usize; 4],
    pub(super) auto_pad: &'static str,
}

impl Window {
    pub(super) fn new(kernel: [usize; 2]) -> Self {
        let one = [1, 1];
        Self { kernel, stride: one, dilation: one, pads: [0; 4], auto_pad: "NOTSET" }
    }

    /// Rows or columns from the first to behind the last tap.
    pub(super) fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }

    /// Whether some window lies wholly in the padding.
    pub(super) fn misses(&self, input: [usize; 2], ceil: bool) -> bool {
        windows(self, &input, ceil).0.iter().any(|(taps, _)| taps.is_empty())
    }

    /// Output size, padding before and padding behind along one axis, by the formulas of the ONNX operators.
    pub(super) fn along(&self, axis: usize, input: usize, ceil: bool) -> (usize, usize, usize) {
        let (stride, extent) = (self.stride[axis], self.extent(axis));
        match self.auto_pad {
            // ONNX's text lets VALID go without ceil_mode; its shape inference and ONNX Runtime do not.
            "NOTSET" | "VALID" => {
                let pads = if self.auto_pad == "VALID" { [0; 4] } else { self.pads };
                let (begin, end) = (pads[axis], pads[axis + 2]);
                let steps = (input + begin + end - extent) as f64 / stride as f64;
                let mut output = if ceil { steps.ceil() } else { steps.floor() } as usize + 1;
                // "Sliding windows that would start in the right padded region are ignored."
                if ceil && (output - 1) * stride >= input + begin {
                    output -= 1;
                }
                (output, begin, end)
            }
            same => {
                let output = (input as f64 / stride as f64).ceil() as usize;
                let wanted = (output - 1) * stride + extent;
                let total = wanted.max(input) - input;
                // An odd row of padding goes to the end for SAME_UPPER, to the beginning for SAME_LOWER.
                let begin = if same == "SAME_UPPER" { total / 2 } else { total - total / 2 };
                (output, begin, total - begin)
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Parameters: weight [rows, channels / groups, kernel], maybe bias [rows].
    Conv {
        window: Window,
        groups: usize,
    },
    MaxPool {
        window: Window,
        ceil: bool,
    },
    AveragePool {
        window: Window,
        ceil: bool,
        count_padding: bool,
    },
    GlobalAveragePool,
    /// Parameters: matrix, maybe bias.
    Gemm {
        alpha: f32,
        beta: f32,
        transposed: bool,
    },
    /// Parameter: matrix [inputs, outputs].
    MatMul,
    /// A function of each number, with its attributes as [`UNARY`] lists them.
    Unary {
        name: &'static str,
        numbers: Vec<f32>,
    },
    /// Of two activations, or of one and a parameter on side `constant`.
    Binary {
        kind: &'static str,
        constant: Option<usize>,
    },
    Flatten,
    /// As the file says it, with the axis of images.
    Reshape {
        shape: Vec<i64>,
    },
    Dropout,
    Identity,
    /// An operator that only moves numbers: each output is one of the inputs', one behind the other, then the
    /// parameters', or a number. The file's attributes and its inputs of integers come with it.
    Moves {
        name: &'static str,
        attributes: Vec<AttributeProto>,
        integers: Vec<TensorProto>,
        shape: Vec<usize>,
        from: Vec<Result<usize, f32>>,
    },
    /// The axis as the file says it, that of images being 0.
    Softmax {
        axis: i64,
    },
    /// As `Softmax`.
    LogSoftmax {
        axis: i64,
    },
    /// Min, Max, Sum or Mean of activations and parameters; which of the operands are parameters.
    Variadic {
        kind: &'static str,
        constants: Vec<bool>,
    },
    /// Parameters: scale, bias, mean, variance.
    BatchNormalization {
        epsilon: f32,
    },
    /// Parameters: scale, bias.
    InstanceNormalization {
        epsilon: f32,
    },
    /// Parameters: scale, bias, of channels or of groups.
    GroupNormalization {
        groups: usize,
        epsilon: f32,
    },
    /// Parameters: scale, maybe bias. The axis as in `Softmax`.
    LayerNormalization {
        axis: i64,
        epsilon: f32,
    },
    /// Parameter: scale. The axis as in `Softmax`.
    RmsNormalization {
        axis: i64,
        epsilon: f32,
    },
    /// The axis as in `Softmax`.
    LpNormalization {
        axis: i64,
        p: i64,
    },
    /// `numbers` are alpha, beta and bias.
    Lrn {
        size: usize,
        numbers: [f32; 3],
    },
    /// Which axes of the input with that of images go, or stay as axes of one element.
    Reduce {
        name: &'static str,
        written: Written,
        reduced: Vec<bool>,
        keep: bool,
    },
    /// MatMul of two activations, or of one and a parameter on side `constant`; shapes as the file has them for one image.
    Product {
        constant: Option<usize>,
        shapes: [Vec<usize>; 2],
    },
    /// Parameters: weight [channels, rows / groups, kernel], maybe bias [rows].
    ConvTranspose {
        window: Window,
        groups: usize,
        output_padding: [usize; 2],
        output_shape: Option<[usize; 2]>,
    },
    /// An operator whose outputs are weighted sums of the input's elements.
    Sums {
        name: &'static str,
        written: Written,
        shape: Vec<usize>,
        terms: Vec<Vec<(usize, f64)>>,
    },
}

/// The attributes of a node, and its inputs behind the activations: those without a type are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) attributes: Vec<AttributeProto>,
    pub(super) inputs: Vec<TensorProto>,
}

impl Op {
    /// The function `name` of each number, its attributes at their defaults.
    pub(super) fn unary(name: &'static str) -> Self {
        let found = UNARY.iter().find(|(n, _)| *n == name).unwrap();
        Self::Unary { name, numbers: found.1.iter().map(|a| a.1).collect() }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Conv { .. } => "Conv",
            Self::MaxPool { .. } => "MaxPool",
            Self::AveragePool { .. } => "AveragePool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::Gemm { .. } => "Gemm",
            Self::MatMul => "MatMul",
            Self::Unary { name: "GeluTanh", .. } => "Gelu",
            Self::Unary { name, .. } => name,
            Self::Binary { kind, .. } => kind,
            Self::Flatten => "Flatten",
            Self::Reshape { .. } => "Reshape",
            Self::Dropout => "Dropout",
            Self::Identity => "Identity",
            Self::Softmax { .. } => "Softmax",
            Self::LogSoftmax { .. } => "LogSoftmax",
            Self::Variadic { kind, .. } => kind,
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::InstanceNormalization { .. } => "InstanceNormalization",
            Self::GroupNormalization { .. } => "GroupNormalization",
            Self::LayerNormalization { .. } => "LayerNormalization",
            Self::RmsNormalization { .. } => "RMSNormalization",
            Self::LpNormalization { .. } => "LpNormalization",
            Self::Lrn { .. } => "LRN",
            Self::Reduce { name, .. } | Self::Sums { name, .. } => name,
            Self::Product { .. } => "MatMul",
            Self::ConvTranspose { .. } => "ConvTranspose",
            Self::Moves { name, .. } => name,
        }
    }

    /// What the test writes into the file's node itself.
    pub(super) fn written(&self) -> Option<&Written> {
        match self {
            Self::Reduce { written, .. } | Self::Sums { written, .. } => Some(written),
            _ => None,
        }
    }

    /// Whether the engine makes gradients of its parameters.
    pub(super) fn trains(&self) -> bool {
        matches!(
            self,
            Self::Conv { .. }
                | Self::ConvTranspose { .. }
                | Self::Gemm { .. }
                | Self::MatMul
                | Self::Binary { kind: "Add" | "Mul" | "PRelu", constant: Some(_) }
        )
    }
}

/// A shape as the engine's layers say it.
pub(super) fn of_one_image(shape: &[usize]) -> Vec<usize> {
    match shape {
        [1, rest @ ..] if !rest.is_empty() => rest.to_vec(),
        _ => shape.to_vec(),
    }
}

/// One node; its output is value number (its position + 1), the image is value 0.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) inputs: Vec<usize>,
    pub(super) parameters: Vec<Parameter>,
}

/// A network; shapes are those of one image.
#[derive(Clone, Debug)]
pub(super) struct Net {
    pub(super) input: Vec<usize>,
    pub(super) steps: Vec<Step>,
}

/// The numbers of one image, row by row.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f64>,
}

/// All parameters of a network, by step and position.
pub(super) type Parameters = Vec<Vec<Vec<f64>>>;

/// One image's way through a network.
pub(super) struct Pass {
    /// Value 0 is the image.
    pub(super) values: Vec<Array>,
    /// How near the nearest kink is: the least of |x| over ReLUs, of the lead of winners in max pools, and so on.
    pub(super) margin: f64,
}

impl Net {
    pub(super) fn new(input: &[usize]) -> Self {
        Self { input: input.to_vec(), steps: Vec::new() }
    }

    /// Adds a step, and says which value it makes.
    pub(super) fn push(&mut self, op: Op, inputs: &[usize], parameters: Vec<Parameter>) -> usize {
        self.steps.push(Step { op, inputs: inputs.to_vec(), parameters });
        self.steps.len()
    }

    pub(super) fn parameters(&self) -> Parameters {
        let wide = |p: &Parameter| p.data.iter().map(|&x| f64::from(x)).collect();
        self.steps.iter().map(|s| s.parameters.iter().map(wide).collect()).collect()
    }

    /// Shape of value `v`.
    pub(super) fn shape(&self, v: usize) -> Vec<usize> {
        let zeros = vec![0.0; self.input.iter().product()];
        self.run(&self.parameters(), &zeros, v).values[v].shape.clone()
    }

    /// Runs one image up to value `last`.
    pub(super) fn run(&self, parameters: &Parameters, image: &[f64], last: usize) -> Pass {
        let image = Array { shape: self.input.clone(), data: image.to_vec() };
        self.go_on(parameters, vec![image], last)
    }

    /// Runs the steps behind the values that are known, up to value `last`.
    pub(super) fn go_on(&self, parameters: &Parameters, known: Vec<Array>, last: usize) -> Pass {
        let first = known.len() - 1;
        let mut pass = Pass { values: known, margin: f64::INFINITY };
        for (step, parameters) in self.steps[..last].iter().zip(parameters).skip(first) {
            let inputs: Vec<&Array> = step.inputs.iter().map(|&v| &pass.values[v]).collect();
            let shapes: Vec<&[usize]> =
                step.parameters.iter().map(|p| p.shape.as_slice()).collect();
            let (value, margin) = apply(&step.op, &inputs, &shapes, parameters);
            pass.values.push(value);
            pass.margin = pass.margin.min(margin);
        }
        pass
    }
}

/// One operator: its output and its margin.
fn apply(op: &Op, inputs: &[&Array], shapes: &[&[usize]], p: &[Vec<f64>]) -> (Array, f64) {
    let x = inputs[0];
    let never = f64::INFINITY;
    let reshaped = |shape: Vec<usize>| (Array { shape, data: x.data.clone() }, never);
    match op {
        Op::Conv { window, groups } => (conv(x, window, *groups, shapes[0], p), never),
        Op::MaxPool { window, ceil } => max_pool(x, window, *ceil),
        Op::AveragePool { window, ceil, count_padding } => {
            (average_pool(x, window, *ceil, *count_padding), never)
        }
        Op::GlobalAveragePool => {
            let plane = x.shape[1] * x.shape[2];
            let means = x.data.chunks(plane).map(|c| c.iter().sum::<f64>() / plane as f64);
            (Array { shape: vec![x.shape[0], 1, 1], data: means.collect() }, never)
        }
        Op::Gemm { alpha, beta, transposed } => {
            let (rows, columns) = (shapes[0][0], shapes[0][1]);
            let outputs = if *transposed { rows } else { columns };
            let data = (0..outputs).map(|o| {
                let w =
                    |i: usize| p[0][if *transposed { o * columns + i } else { i * columns + o }];
                let product: f64 = x.data.iter().enumerate().map(|(i, x)| x * w(i)).sum();
                let bias = p.get(1).map_or(0.0, |b| b[if b.len() == 1 { 0 } else { o }]);
                f64::from(*alpha) * product + f64::from(*beta) * bias
            });
            (Array { shape: vec![outputs], data: data.collect() }, never)
        }
        Op::MatMul => {
            let (inputs, outputs) = (shapes[0][0], shapes[0][1]);
            let mut shape = x.shape.clone();
            *shape.last_mut().unwrap() = outputs;
            let mut data = Vec::new();
            for row in x.data.chunks(inputs) {
                for o in 0..outputs {
                    data.push(row.iter().enumerate().map(|(i, x)| x * p[0][i * outputs + o]).sum());
                }
            }
            (Array { shape, data }, never)
        }
        Op::Unary { name, numbers } => unary::unary(name, numbers, x),
        Op::Binary { kind, constant } => {
            let c = constant.map(|_| Array { shape: shapes[0].to_vec(), data: p[0].clone() });
            let (a, b) = match (constant, &c) {
                (Some(0), Some(c)) => (c, x),
                (_, Some(c)) => (x, c),
                _ => (x, inputs[1]),
            };
            let rank = inputs.iter().map(|x| x.shape.len()).max().unwrap();
            elementwise::elementwise(kind, &[a, b], rank)
        }
        Op::Variadic { kind, constants } => {
            let (mut values, mut parameters) = (inputs.iter().copied(), shapes.iter().zip(p));
            let constant = |(shape, data): (&&[usize], &Vec<f64>)| Array {
                shape: shape.to_vec(),
                data: data.clone(),
            };
            let own: Vec<Array> = constants
                .iter()
                .map(|&c| match c {
                    true => constant(parameters.next().unwrap()),
                    false => values.next().unwrap().clone(),
                })
                .collect();
            let rank = inputs.iter().map(|x| x.shape.len()).max().unwrap();
            elementwise::elementwise(kind, &own.iter().collect::<Vec<_>>(), rank)
        }
        Op::Flatten => reshaped(vec![x.data.len()]),
        Op::Reshape { shape } => {
            // With the axis of images: 0 copies, -1 is what is left.
            let copied: Vec<Option<usize>> = shape[1..]
                .iter()
                .enumerate()
                .map(|(i, &d)| match d {
                    -1 => None,
                    0 => Some(x.shape[i]),
                    d => Some(d as usize),
                })
                .collect();
            let known: usize = copied.iter().flatten().product();
            reshaped(copied.iter().map(|d| d.unwrap_or(x.data.len() / known)).collect())
        }
        Op::Dropout | Op::Identity => reshaped(x.shape.clone()),
        Op::Moves { shape, from, .. } => {
            let inputs = inputs.iter().map(|x| x.data.as_slice());
            let all: Vec<f64> =
                inputs.chain(p.iter().map(Vec::as_slice)).flatten().copied().collect();
            let number = |f: &Result<usize, f32>| f.map_or_else(f64::from, |at| all[at]);
            (Array { shape: shape.clone(), data: from.iter().map(number).collect() }, never)
        }
        Op::Softmax { axis } => (softmax(x, *axis), never),
        Op::LogSoftmax { axis } => {
            let y = softmax(x, *axis);
            (Array { shape: y.shape, data: y.data.iter().map(|y| y.ln()).collect() }, never)
        }
        Op::BatchNormalization { epsilon } => (normalize::batch(x, *epsilon, p), never),
        Op::InstanceNormalization { epsilon } => normalize::groups(x, x.shape[0], *epsilon, p),
        Op::GroupNormalization { groups, epsilon } => normalize::groups(x, *groups, *epsilon, p),
        Op::LayerNormalization { axis, epsilon } => normalize::layer(x, *axis, *epsilon, true, p),
        Op::RmsNormalization { axis, epsilon } => normalize::layer(x, *axis, *epsilon, false, p),
        Op::LpNormalization { axis, p } => normalize::lp(x, *axis, *p),
        Op::Lrn { size, numbers } => (normalize::lrn(x, *size, *numbers), never),
        Op::Reduce { name, reduced, keep, .. } => reduce::reduce(name, x, reduced, *keep),
        Op::Product { constant, shapes } => {
            let (a, b) = match constant {
                Some(0) => (&p[0], &x.data),
                Some(_) => (&x.data, &p[0]),
                None => (&x.data, &inputs[1].data),
            };
            (product::product([a, b], shapes), never)
        }
        Op::ConvTranspose { window, groups, output_padding, output_shape } => {
            let sizes = [0, 1].map(|axis| {
                let wanted = output_shape.map(|s| s[axis]);
                conv_transpose::along(window, axis, x.shape[axis + 1], output_padding[axis], wanted)
            });
            (conv_transpose::conv_transpose(x, window, *groups, sizes, shapes[0], p), never)
        }
        Op::Sums { shape, terms, .. } => {
            let sum = |terms: &Vec<(usize, f64)>| terms.iter().map(|t| t.1 * x.data[t.0]).sum();
            (Array { shape: shape.clone(), data: terms.iter().map(sum).collect() }, never)
        }
    }
}

/// One window: its taps that lie in the input (number of the tap, place in the plane), and how many of its taps the
/// input with its declared padding covers.
type Taps = (Vec<(usize, usize)>, usize);

/// All windows, row by row, and how many rows and columns of them there are.
fn windows(w: &Window, input: &[usize], ceil: bool) -> (Vec<Taps>, [usize; 2]) {
    let [(oh, top, bottom), (ow, left, right)] =
        [w.along(0, input[0], ceil), w.along(1, input[1], ceil)];
    let mut all = Vec::new();
    for oy in 0..oh {
        for ox in 0..ow {
            let (mut taps, mut covered) = (Vec::new(), 0);
            for ky in 0..w.kernel[0] {
                for kx in 0..w.kernel[1] {
                    // Rows and columns of the padded input.
                    let y = oy * w.stride[0] + ky * w.dilation[0];
                    let x = ox * w.stride[1] + kx * w.dilation[1];
                    if y >= top && y < top + input[0] && x >= left && x < left + input[1] {
                        taps.push((ky * w.kernel[1] + kx, (y - top) * input[1] + x - left));
                    }
                    let padded = y < top + input[0] + bottom && x < left + input[1] + right;
                    covered += usize::from(padded);
                }
            }
            all.push((taps, covered));
        }
    }
    (all, [oh, ow])
}

fn conv(x: &Array, w: &Window, groups: usize, shape: &[usize], p: &[Vec<f64>]) -> Array {
    let (rows, per_group, size) = (shape[0], shape[1], shape[2] * shape[3]);
    let plane = x.shape[1] * x.shape[2];
    let (windows, output) = windows(w, &x.shape[1..], false);
    let mut data = Vec::new();
    for row in 0..rows {
        let first = row / (rows / groups) * per_group;
        for (taps, _) in &windows {
            let mut sum = p.get(1).map_or(0.0, |b| b[row]);
            for c in 0..per_group {
                let weights = &p[0][(row * per_group + c) * size..][..size];
                let plane = &x.data[(first + c) * plane..][..plane];
                sum += taps.iter().map(|&(tap, at)| weights[tap] * plane[at]).sum::<f64>();
            }
            data.push(sum);
        }
    }
    Array { shape: vec![rows, output[0], output[1]], data }
}

fn max_pool(x: &Array, w: &Window, ceil: bool) -> (Array, f64) {
    let (windows, output) = windows(w, &x.shape[1..], ceil);
    let (mut data, mut margin) = (Vec::new(), f64::INFINITY);
    for plane in x.data.chunks(x.shape[1] * x.shape[2]) {
        for (taps, _) in &windows {
            let values = taps.iter().map(|tap| plane[tap.1]);
            let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
            data.push(top);
            // Exact ties are no kinks: they are zeros out of a ReLU, whose own margin holds them there, or the same
            // number made twice (of padding alone, or of one winner of two windows), and move together.
            let second = values.filter(|v| *v < top).fold(f64::NEG_INFINITY, f64::max);
            margin = margin.min(top - second);
        }
    }
    (Array { shape: vec![x.shape[0], output[0], output[1]], data }, margin)
}

fn average_pool(x: &Array, w: &Window, ceil: bool, count_padding: bool) -> Array {
    let (windows, output) = windows(w, &x.shape[1..], ceil);
    let mut data = Vec::new();
    for plane in x.data.chunks(x.shape[1] * x.shape[2]) {
        for (taps, covered) in &windows {
            let count = if count_padding { *covered } else { taps.len() };
            data.push(taps.iter().map(|tap| plane[tap.1]).sum::<f64>() / count as f64);
        }
    }
    Array { shape: vec![x.shape[0], output[0], output[1]], data }
}

fn softmax(x: &Array, axis: i64) -> Array {
    let rank = x.shape.len() as i64 + 1;
    let axis = (if axis < 0 { axis + rank } else { axis }) as usize - 1;
    let inner: usize = x.shape[axis + 1..].iter().product();
    let along = x.shape[axis];
    let mut data = vec![0.0; x.data.len()];
    for first in (0..x.data.len()).filter(|at| (at / inner).is_multiple_of(along)) {
        let places = || (0..along).map(|k| first + k * inner);
        let sum: f64 = places().map(|p| x.data[p].exp()).sum();
        places().for_each(|p| data[p] = x.data[p].exp() / sum);
    }
    Array { shape: x.shape.clone(), data }
}
