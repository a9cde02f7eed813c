//! ONNX files for the tests, through the crate's own messages so that the reader is tested too.

use super::naive::{Net, Op, UNARY, Window};
use crate::onnx::{
    AttributeProto, Dim, GraphProto, ModelProto, NodeProto, OperatorSetId, ShapeProto, TensorProto,
    TensorType, TypeProto, ValueInfo, float_tensor, int_tensor,
};
use crate::tensor::Tensor;
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Random numbers of a test, the same everywhere for one seed.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in `low..high`.
    pub(super) fn float(&mut self, low: f64, high: f64) -> f32 {
        (low + (high - low) * self.0.random::<f64>()) as f32
    }

    pub(super) fn floats(&mut self, n: usize, low: f64, high: f64) -> Vec<f32> {
        (0..n).map(|_| self.float(low, high)).collect()
    }

    /// Uniform in `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.0.random::<f64>() * n as f64) as usize
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Numbers with a sign, 0.5 to 2 from zero: divisors.
    pub(super) fn divisors(&mut self, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| {
                let size = self.float(0.5, 2.0);
                if self.coin() { size } else { -size }
            })
            .collect()
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, kind: 2, ..AttributeProto::default() }
}

pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f, kind: 1, ..AttributeProto::default() }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.to_vec(), kind: 7, ..AttributeProto::default() }
}

pub(super) fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: name.into(), s: s.into(), kind: 3, ..AttributeProto::default() }
}

pub(super) fn tensor(shape: &[usize], data: Vec<f32>) -> Tensor {
    Tensor::new(shape.to_vec(), data).unwrap()
}

/// A value with a type, [N, dims] with N free.
pub(super) fn value(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfo {
    let axes = dims.iter().map(|&d| Dim { value: Some(d), param: None });
    let dim = std::iter::once(Dim { value: None, param: Some("N".into()) }).chain(axes).collect();
    let tensor = TensorType { elem_type, shape: Some(ShapeProto { dim }) };
    ValueInfo { name: name.into(), kind: Some(TypeProto { tensor: Some(tensor) }) }
}

/// A file under construction.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) proto: ModelProto,
}

impl Model {
    /// A network without nodes that takes "image", float [N, dims].
    pub(super) fn new(dims: &[i64]) -> Self {
        Self {
            proto: ModelProto {
                ir_version: 8,
                producer_name: "test".into(),
                graph: Some(GraphProto {
                    name: "test".into(),
                    input: vec![value("image", 1, dims)],
                    ..GraphProto::default()
                }),
                opset_import: vec![OperatorSetId { domain: String::new(), version: 20 }],
                ..ModelProto::default()
            },
        }
    }

    pub(super) fn graph(&mut self) -> &mut GraphProto {
        self.proto.graph.as_mut().unwrap()
    }

    pub(super) fn node(
        mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<AttributeProto>,
    ) -> Self {
        self.graph().node.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            name: name.into(),
            op_type: op.into(),
            attribute,
            ..NodeProto::default()
        });
        self
    }

    pub(super) fn constant(mut self, t: TensorProto) -> Self {
        self.graph().initializer.push(t);
        self
    }

    /// Float constant whose numbers are 0.1, 0.2, …
    pub(super) fn floats(self, name: &str, shape: &[usize]) -> Self {
        let n: usize = shape.iter().product();
        let data = (0..n).map(|i| 0.1 * (i + 1) as f32).collect();
        self.constant(float_tensor(name, &tensor(shape, data)))
    }

    pub(super) fn ints(self, name: &str, data: &[i64]) -> Self {
        self.constant(int_tensor(name, data))
    }

    pub(super) fn output(mut self, name: &str) -> Self {
        self.graph().output.push(ValueInfo { name: name.into(), kind: None });
        self
    }

    pub(super) fn change(mut self, f: impl FnOnce(&mut ModelProto)) -> Self {
        f(&mut self.proto);
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }
}

/// One number as an input.
pub(super) fn float_input(x: f32) -> TensorProto {
    float_tensor("", &tensor(&[], vec![x]))
}

/// A constant node that holds `t`.
fn constant_node(mut t: TensorProto) -> NodeProto {
    let output = vec![std::mem::take(&mut t.name)];
    let attribute =
        AttributeProto { name: "value".into(), t: Some(t), kind: 4, ..AttributeProto::default() };
    NodeProto {
        output,
        op_type: "Constant".into(),
        attribute: vec![attribute],
        ..NodeProto::default()
    }
}

/// `net` as a file. `draw` chooses among the ways of writing the same thing: constants as initializers or nodes, raw
/// or listed, defaults written or left out.
pub(super) fn to_model(net: &Net, draw: &mut Draw) -> Model {
    let dims: Vec<i64> = net.input.iter().map(|&d| d as i64).collect();
    let mut model = Model::new(&dims);
    let value_name = |v: usize| if v == 0 { "image".to_owned() } else { format!("v{v}") };
    for (i, step) in net.steps.iter().enumerate() {
        let mut inputs: Vec<String> = step.inputs.iter().map(|&v| value_name(v)).collect();
        for (p, parameter) in step.parameters.iter().enumerate() {
            let name = format!("n{i}.p{p}");
            let at = match &step.op {
                Op::Binary { constant: Some(side), .. }
                | Op::Product { constant: Some(side), .. } => *side,
                Op::Variadic { constants, .. } => {
                    let places = constants.iter().enumerate().filter(|c| *c.1);
                    places.map(|c| c.0).nth(p).unwrap()
                }
                _ => inputs.len(),
            };
            inputs.insert(at, name.clone());
            let mut t = float_tensor(&name, &tensor(&parameter.shape, parameter.data.clone()));
            if draw.coin() {
                t.float_data = parameter.data.clone();
                t.raw_data = Vec::new();
            }
            if draw.below(4) == 0 {
                model.graph().node.push(constant_node(t));
            } else {
                model = model.constant(t);
            }
        }
        if let Op::Reshape { shape } = &step.op {
            let name = format!("n{i}.shape");
            inputs.push(name.clone());
            model = model.ints(&name, shape);
        }
        // An infinite bound is none.
        if let Op::Unary { name: "Clip", numbers } = &step.op {
            for (bound, &number) in ["low", "high"].iter().zip(numbers) {
                let name = format!("n{i}.{bound}");
                inputs.push(if number.is_finite() { name.clone() } else { String::new() });
                if number.is_finite() {
                    model = model.constant(float_tensor(&name, &tensor(&[], vec![number])));
                }
            }
            if inputs.last().is_some_and(String::is_empty) && draw.coin() {
                inputs.pop();
            }
        }
        let written = match &step.op {
            Op::Moves { integers, .. } => Some(integers),
            op => op.written().map(|w| &w.inputs),
        };
        if let Some(written) = written {
            for (k, t) in written.iter().enumerate() {
                // An empty name leaves an input out.
                let name = if t.data_type == 0 { String::new() } else { format!("n{i}.i{k}") };
                inputs.push(name.clone());
                if t.data_type != 0 {
                    model = model.constant(TensorProto { name, ..t.clone() });
                }
            }
        }
        let names: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = attributes(&step.op, draw);
        model =
            model.node(&format!("n{i}"), step.op.name(), &names, &value_name(i + 1), attributes);
    }
    model.output(&value_name(net.steps.len()))
}

fn attributes(op: &Op, draw: &mut Draw) -> Vec<AttributeProto> {
    let mut all = Vec::new();
    // An attribute at its default may be left out.
    let mut or_default = |keep: bool, a: AttributeProto| {
        if keep || draw.coin() {
            all.push(a);
        }
    };
    match op {
        Op::Unary { name: "Clip", .. } => {}
        Op::Unary { name, numbers } => {
            let (_, known) = UNARY.iter().find(|(n, _)| n == name).unwrap();
            for (&(attribute, default), &number) in known.iter().zip(numbers) {
                or_default(number.to_bits() != default.to_bits(), float(attribute, number));
            }
            match *name {
                "Gelu" => or_default(false, text("approximate", "none")),
                "GeluTanh" => or_default(true, text("approximate", "tanh")),
                _ => {}
            }
        }
        Op::Conv { window, groups } => {
            or_default(*groups != 1, int("group", *groups as i64));
            or_default(false, ints("kernel_shape", &pair(window.kernel)));
            window_attributes(window, &mut or_default);
        }
        Op::MaxPool { window, ceil } => {
            or_default(true, ints("kernel_shape", &pair(window.kernel)));
            or_default(*ceil, int("ceil_mode", i64::from(*ceil)));
            or_default(false, int("storage_order", 0));
            window_attributes(window, &mut or_default);
        }
        Op::AveragePool { window, ceil, count_padding } => {
            or_default(true, ints("kernel_shape", &pair(window.kernel)));
            or_default(*ceil, int("ceil_mode", i64::from(*ceil)));
            or_default(*count_padding, int("count_include_pad", i64::from(*count_padding)));
            window_attributes(window, &mut or_default);
        }
        Op::Gemm { alpha, beta, transposed } => {
            or_default(alpha.to_bits() != 1f32.to_bits(), float("alpha", *alpha));
            or_default(beta.to_bits() != 1f32.to_bits(), float("beta", *beta));
            or_default(*transposed, int("transB", i64::from(*transposed)));
            or_default(false, int("transA", 0));
        }
        Op::Softmax { axis } | Op::LogSoftmax { axis } => {
            or_default(*axis != -1, int("axis", *axis));
        }
        Op::BatchNormalization { epsilon } => {
            epsilon_attribute(*epsilon, &mut or_default);
            or_default(false, float("momentum", 0.9));
            or_default(false, int("training_mode", 0));
        }
        Op::InstanceNormalization { epsilon } => epsilon_attribute(*epsilon, &mut or_default),
        Op::GroupNormalization { groups, epsilon } => {
            or_default(true, int("num_groups", *groups as i64));
            or_default(false, int("stash_type", 1));
            epsilon_attribute(*epsilon, &mut or_default);
        }
        Op::LayerNormalization { axis, epsilon } | Op::RmsNormalization { axis, epsilon } => {
            or_default(*axis != -1, int("axis", *axis));
            or_default(false, int("stash_type", 1));
            epsilon_attribute(*epsilon, &mut or_default);
        }
        Op::LpNormalization { axis, p } => {
            or_default(*axis != -1, int("axis", *axis));
            or_default(*p != 2, int("p", *p));
        }
        Op::Lrn { size, numbers } => {
            or_default(true, int("size", *size as i64));
            let defaults = [("alpha", 1e-4f32), ("beta", 0.75), ("bias", 1.0)];
            for ((name, default), &number) in defaults.into_iter().zip(numbers) {
                or_default(number.to_bits() != default.to_bits(), float(name, number));
            }
        }
        Op::Flatten => or_default(false, int("axis", 1)),
        Op::Reshape { .. } => or_default(false, int("allowzero", 0)),
        Op::Moves { attributes, .. } => all.clone_from(attributes),
        Op::Reduce { written, .. } | Op::Sums { written, .. } => {
            all.clone_from(&written.attributes);
        }
        Op::ConvTranspose { window, groups, output_padding, output_shape } => {
            or_default(*groups != 1, int("group", *groups as i64));
            or_default(false, ints("kernel_shape", &pair(window.kernel)));
            or_default(*output_padding != [0, 0], ints("output_padding", &pair(*output_padding)));
            if let Some(shape) = output_shape {
                or_default(true, ints("output_shape", &pair(*shape)));
            }
            window_attributes(window, &mut or_default);
        }
        Op::GlobalAveragePool
        | Op::MatMul
        | Op::Product { .. }
        | Op::Binary { .. }
        | Op::Variadic { .. }
        | Op::Dropout
        | Op::Identity => {}
    }
    all
}

fn epsilon_attribute(epsilon: f32, or_default: &mut impl FnMut(bool, AttributeProto)) {
    or_default(epsilon.to_bits() != 1e-5f32.to_bits(), float("epsilon", epsilon));
}

fn pair(sizes: [usize; 2]) -> [i64; 2] {
    sizes.map(|s| s as i64)
}

fn window_attributes(w: &Window, or_default: &mut impl FnMut(bool, AttributeProto)) {
    or_default(w.stride != [1, 1], ints("strides", &pair(w.stride)));
    or_default(w.dilation != [1, 1], ints("dilations", &pair(w.dilation)));
    or_default(w.auto_pad != "NOTSET", text("auto_pad", w.auto_pad));
    if w.auto_pad == "NOTSET" {
        or_default(w.pads != [0; 4], ints("pads", &w.pads.map(|p| p as i64)));
    }
}
