//! From the messages of an ONNX file to a [`Graph`].

use super::OPSETS;
use super::proto::{AttributeProto, ModelProto, NodeProto, ValueInfo, data_type};
use super::tensors::{Constant, constant};
use crate::error::{Error, Result};
use crate::graph::{Action, Graph, Node, Value};
use crate::network::InputSpec;
use crate::ops::Window;
use crate::ops::activation::{Relu, Softmax};
use crate::ops::binary::{Binary, Kind, broadcast};
use crate::ops::conv::Conv;
use crate::ops::linear::{GemmScales, Linear};
use crate::ops::pool::{AveragePool, MaxPool};
use crate::tensor::{Tensor, show_shape};
use prost::Message;
use std::collections::HashMap;

/// Largest number of elements of one activation of one image: more is a damaged file, not a network.
const MAX_ELEMENTS: usize = 1 << 31;

/// Largest number of entries of a table that an operator keeps of its output (taps of windows, places of a broadcast
/// side): half a gibibyte.
const MAX_TABLE: usize = 1 << 27;

/// Refuses a table of more than [`MAX_TABLE`] entries before it is made.
fn check_table(what: &str, sizes: &[usize]) -> Result<(), String> {
    let entries = sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if entries.is_some_and(|n| n <= MAX_TABLE) {
        return Ok(());
    }
    Err(format!(
        "{what} {} are too large for Lots, which takes {MAX_TABLE} in all",
        show_shape(sizes)
    ))
}

/// The number of elements of an activation of `shape`, unless no network has such a one.
fn possible(shape: &[usize]) -> Result<usize, String> {
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    elements
        .filter(|&n| n <= MAX_ELEMENTS && n > 0)
        .ok_or_else(|| format!("its output would have the impossible shape {}", show_shape(shape)))
}

/// Decodes and checks a network; `name` stands for it in messages.
pub(crate) fn read(bytes: &[u8], name: &str) -> Result<Graph> {
    let fail = |what: String| Error::Model { network: name.to_owned(), what };
    if bytes.is_empty() {
        return Err(fail("the file is empty; wanted an ONNX network".to_owned()));
    }
    let mut model = ModelProto::decode(bytes).map_err(|e| {
        fail(format!("not an ONNX file, or cut short ({e}); export or copy it again"))
    })?;
    check_header(&model).map_err(fail)?;
    let Some(graph) = &mut model.graph else {
        return Err(fail(
            "no graph inside; the file is cut short or not an ONNX network".to_owned(),
        ));
    };
    fold_constant_nodes(graph, name)?;
    let mut reader = Reader::new(name, graph)?;
    let nodes = graph.node.clone();
    for node in &nodes {
        reader.node(node).map_err(|what| Error::Node {
            network: name.to_owned(),
            node: node_name(node),
            operator: node.op_type.clone(),
            what,
        })?;
    }
    let [output] = graph.output.as_slice() else {
        return Err(fail(format!(
            "wanted one output, found {} ({}); keep one when exporting",
            graph.output.len(),
            names(&graph.output)
        )));
    };
    // Value 0 is the input.
    let Some(&output) = reader.by_name.get(&output.name).filter(|&&v| v != 0) else {
        return Err(fail(format!(
            "no node makes the output \"{}\"; the file is damaged",
            output.name
        )));
    };
    let Reader { input, nodes, values, .. } = reader;
    Ok(Graph::new(name, model, input, nodes, values, output))
}

fn check_header(model: &ModelProto) -> Result<(), String> {
    let Some(set) =
        model.opset_import.iter().find(|s| s.domain.is_empty() || s.domain == "ai.onnx")
    else {
        return Err("no version of the ONNX operators is named; the file is cut short or not an ONNX network".into());
    };
    if !OPSETS.contains(&set.version) {
        return Err(format!(
            "written for ONNX operator set {}; Lots reads {} to {}: export with opset_version=18",
            set.version,
            OPSETS.start(),
            OPSETS.end()
        ));
    }
    if model.producer_name == super::PRODUCER
        && !model.metadata_props.iter().any(|e| e.key == super::LAST_KEY)
    {
        return Err("cut short at its end; copy it again".into());
    }
    Ok(())
}

/// Makes every Constant node an initializer: from here on there is one kind of constant.
fn fold_constant_nodes(graph: &mut super::GraphProto, network: &str) -> Result<()> {
    let (constants, nodes): (Vec<_>, Vec<_>) = std::mem::take(&mut graph.node)
        .into_iter()
        .partition(|n| n.op_type == "Constant" && n.domain.is_empty());
    graph.node = nodes;
    for node in constants {
        let value = node.attribute.iter().find_map(|a| match a.name.as_str() {
            "value" => a.t.clone(),
            "value_float" => Tensor::new(vec![], vec![a.f]).map(|t| super::float_tensor("", &t)),
            "value_floats" => Tensor::new(vec![a.floats.len()], a.floats.clone())
                .map(|t| super::float_tensor("", &t)),
            "value_int" => {
                Some(super::TensorProto { dims: vec![], ..super::int_tensor("", &[a.i]) })
            }
            "value_ints" => Some(super::int_tensor("", &a.ints)),
            _ => None,
        });
        let (Some(mut value), Some(output)) = (value, node.output.first()) else {
            return Err(Error::Node {
                network: network.to_owned(),
                node: node_name(&node),
                operator: "Constant".into(),
                what: "wanted a value of floats or integers, found another attribute".into(),
            });
        };
        value.name.clone_from(output);
        graph.initializer.push(value);
    }
    Ok(())
}

fn node_name(node: &NodeProto) -> String {
    if node.name.is_empty() {
        node.output.first().cloned().unwrap_or_default()
    } else {
        node.name.clone()
    }
}

fn names(values: &[ValueInfo]) -> String {
    values.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ")
}

struct Reader {
    constants: HashMap<String, Constant>,
    /// The constant behind each name that Identity gave it.
    aliases: HashMap<String, String>,
    by_name: HashMap<String, usize>,
    input: InputSpec,
    /// The batch of the file is fixed at one image.
    single: bool,
    nodes: Vec<Node>,
    values: Vec<Value>,
    weight_layers: usize,
}

/// What one side of a node is.
enum Side<'a> {
    Value(usize, &'a [usize]),
    Constant(&'a Constant),
}

impl Reader {
    fn new(name: &str, graph: &super::GraphProto) -> Result<Self> {
        let fail = |what: String| Error::Model { network: name.to_owned(), what };
        let mut constants = HashMap::new();
        for t in &graph.initializer {
            if constants.insert(t.name.clone(), constant(t).map_err(fail)?).is_some() {
                return Err(fail(format!(
                    "constant \"{}\" is there twice; the file is damaged",
                    t.name
                )));
            }
        }
        let inputs: Vec<&ValueInfo> =
            graph.input.iter().filter(|v| !constants.contains_key(&v.name)).collect();
        let [input] = inputs.as_slice() else {
            return Err(fail(format!(
                "wanted one input of images, found {} ({})",
                inputs.len(),
                inputs.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ")
            )));
        };
        let tensor = input.kind.as_ref().and_then(|k| k.tensor.as_ref());
        let elem = tensor.map_or(0, |t| t.elem_type);
        if elem != data_type::FLOAT {
            return Err(fail(format!(
                "input \"{}\" takes {}; Lots wants float: export in float32",
                input.name,
                data_type::name(elem)
            )));
        }
        let dims = tensor.and_then(|t| t.shape.as_ref()).map_or(&[][..], |s| &s.dim);
        let shown: Vec<String> = dims
            .iter()
            .map(|d| {
                d.value.map_or_else(|| d.param.clone().unwrap_or("?".into()), |v| v.to_string())
            })
            .collect();
        let sizes: Vec<usize> = dims
            .iter()
            .skip(1)
            .filter_map(|d| d.value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0))
            .collect();
        // An input of fewer axes is an image of one row or one channel.
        let (channels, height, width) = match *sizes.as_slice() {
            [c, h, w] if dims.len() == 4 => (c, h, w),
            [h, w] if dims.len() == 3 => (1, h, w),
            [w] if dims.len() == 2 => (1, 1, w),
            _ => {
                return Err(fail(format!(
                    "input \"{}\" has shape [{}]; wanted [N, channels, height, width], only N free: export with a fixed image size",
                    input.name,
                    shown.join(", ")
                )));
            }
        };
        let elements = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
        if elements.is_none_or(|n| n > MAX_ELEMENTS) {
            return Err(fail(format!(
                "input \"{}\" has the impossible shape [{}]",
                input.name,
                shown.join(", ")
            )));
        }
        let value = Value { name: input.name.clone(), shape: sizes.clone(), root: 0 };
        Ok(Self {
            constants,
            aliases: HashMap::new(),
            by_name: HashMap::from([(input.name.clone(), 0)]),
            input: InputSpec { name: input.name.clone(), channels, height, width },
            single: dims[0].value == Some(1),
            nodes: Vec::new(),
            values: vec![value],
            weight_layers: 0,
        })
    }

    /// The name under which the file holds constant `name`.
    fn original(&self, name: &str) -> String {
        self.aliases.get(name).map_or(name, String::as_str).to_owned()
    }

    fn side(&self, name: &str) -> Result<Side<'_>, String> {
        if let Some(&v) = self.by_name.get(name) {
            return Ok(Side::Value(v, &self.values[v].shape));
        }
        let constant = self.constants.get(name);
        constant
            .map(Side::Constant)
            .ok_or_else(|| format!("nothing makes its input \"{name}\"; the file is damaged"))
    }

    /// Input number `at` as a value that depends on the image.
    fn activation(&self, node: &NodeProto, at: usize) -> Result<(usize, Vec<usize>), String> {
        let name = node.input.get(at).map_or("", String::as_str);
        match self.side(name)? {
            Side::Value(v, shape) => Ok((v, shape.to_vec())),
            Side::Constant(_) => Err(format!(
                "input {at} (\"{name}\") is a constant; Lots wants an activation there"
            )),
        }
    }

    /// Input number `at` as constant floats, `None` when it is left out.
    fn floats(&self, node: &NodeProto, at: usize) -> Result<Option<(&str, &Tensor)>, String> {
        let Some(name) = node.input.get(at).filter(|n| !n.is_empty()) else { return Ok(None) };
        match self.constants.get_key_value(name) {
            Some((name, Constant::Floats(t))) => Ok(Some((name, t))),
            Some((_, Constant::Other(why))) => Err(why.clone()),
            Some(_) => Err(format!("input {at} (\"{name}\") holds integers; wanted floats")),
            None => Err(format!(
                "input {at} (\"{name}\") is not a constant; Lots wants constant weights there"
            )),
        }
    }

    fn weights(&self, node: &NodeProto, at: usize) -> Result<(&str, &Tensor), String> {
        self.floats(node, at)?.ok_or_else(|| format!("input {at} (its weights) is missing"))
    }

    fn node(&mut self, node: &NodeProto) -> Result<(), String> {
        if !(node.domain.is_empty() || node.domain == "ai.onnx") {
            return Err(format!("operators of domain \"{}\" are not supported", node.domain));
        }
        if node.output.is_empty() || node.output[0].is_empty() {
            return Err("it has no output".into());
        }
        let used_extra = node.output.iter().skip(1).find(|o| !o.is_empty());
        if let (Some(extra), true) = (used_extra, node.op_type != "Dropout") {
            return Err(format!("its output \"{extra}\" is not supported; only the first one is"));
        }
        // A copy of a constant is a constant.
        if node.op_type == "Identity"
            && let Some(from) = node.input.first()
            && let Some(c) = self.constants.get(from).cloned()
        {
            let name = node.output[0].clone();
            if self.by_name.contains_key(&name) || self.constants.insert(name.clone(), c).is_some()
            {
                return Err(format!("its output \"{name}\" is made twice; the file is damaged"));
            }
            self.aliases.insert(name, self.original(from));
            return Ok(());
        }
        let attributes = Attributes::new(node);
        let (input, output, action) = match node.op_type.as_str() {
            "Conv" => self.conv(node, &attributes)?,
            "MaxPool" | "AveragePool" | "GlobalAveragePool" => self.pool(node, &attributes)?,
            "Gemm" => self.gemm(node, &attributes)?,
            "MatMul" => self.matmul(node)?,
            "Add" | "Sub" | "Mul" | "Div" => self.binary(node)?,
            "Relu" => {
                let (v, shape) = self.activation(node, 0)?;
                let elements = shape.iter().product();
                (vec![v], shape, Action::run(Relu { elements }))
            }
            "Softmax" => {
                let (v, shape) = self.activation(node, 0)?;
                let axis = per_image_axis(attributes.int("axis", -1)?, shape.len())?;
                let op = Softmax {
                    outer: shape[..axis].iter().product(),
                    axis: shape[axis],
                    inner: shape[axis + 1..].iter().product(),
                };
                (vec![v], shape, Action::run(op))
            }
            "Flatten" | "Reshape" | "Dropout" | "Identity" => self.view(node, &attributes)?,
            _ => return Err("this operator is not supported".into()),
        };
        attributes.finish()?;
        self.push(node, input, output, action)
    }

    fn push(
        &mut self,
        node: &NodeProto,
        inputs: Vec<usize>,
        shape: Vec<usize>,
        action: Action,
    ) -> Result<(), String> {
        possible(&shape)?;
        let id = self.values.len();
        let root = if matches!(action, Action::View) { self.values[inputs[0]].root } else { id };
        let name = node.output[0].clone();
        if self.by_name.insert(name.clone(), id).is_some() || self.constants.contains_key(&name) {
            return Err(format!("its output \"{name}\" is made twice; the file is damaged"));
        }
        self.values.push(Value { name, shape, root });
        let index = matches!(node.op_type.as_str(), "Conv" | "Gemm" | "MatMul").then(|| {
            self.weight_layers += 1;
            self.weight_layers
        });
        let parameters = match &action {
            Action::Run(op) if !op.parameters().is_empty() => {
                let constants = node.input.iter().filter(|n| self.constants.contains_key(*n));
                constants.map(|n| self.original(n)).collect()
            }
            _ => Vec::new(),
        };
        let operator = node.op_type.clone();
        self.nodes.push(Node {
            name: node_name(node),
            operator,
            index,
            inputs,
            output: id,
            action,
            parameters,
        });
        Ok(())
    }

    fn conv(&self, node: &NodeProto, a: &Attributes<'_>) -> Result<Made, String> {
        let (v, shape) = self.activation(node, 0)?;
        let (_, weight) = self.weights(node, 1)?;
        let bias = self.floats(node, 2)?.map(|b| b.1.clone());
        let (&[channels, height, width], &[rows, per_group, kh, kw]) =
            (shape.as_slice(), weight.shape())
        else {
            return Err(format!(
                "wanted [N, channels, height, width] and weights of four axes (2-D), found [N, {}] and {}",
                shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                show_shape(weight.shape())
            ));
        };
        let groups = a.positive("group", 1)?;
        if per_group.checked_mul(groups) != Some(channels)
            || rows == 0
            || !rows.is_multiple_of(groups)
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
        if let Some(kernel) = a.ints("kernel_shape")?.filter(|k| k != &[kh as i64, kw as i64]) {
            return Err(format!("kernel_shape {kernel:?} differs from its weights' {kh}×{kw}"));
        }
        let window = a.window([kh, kw], [height, width], false)?;
        let output = vec![rows, window.output[0], window.output[1]];
        let padded = [0, 1].map(|a| window.pad[a] + window.input[a] + window.pad_end[a]);
        if possible(&[channels, padded[0], padded[1]]).is_err() {
            return Err(format!(
                "its padded input {} is too large",
                show_shape(&[channels, padded[0], padded[1]])
            ));
        }
        Ok((
            vec![v],
            output,
            Action::run(Conv::new(window, groups, channels, weight.clone(), bias)),
        ))
    }

    fn pool(&self, node: &NodeProto, a: &Attributes<'_>) -> Result<Made, String> {
        let (v, shape) = self.activation(node, 0)?;
        let &[planes, height, width] = shape.as_slice() else {
            return Err(format!(
                "wanted [N, channels, height, width] (2-D), found {} axes",
                shape.len() + 1
            ));
        };
        if node.op_type == "GlobalAveragePool" {
            check_table("windows [taps]", &[height, width])?;
            return Ok((
                vec![v],
                vec![planes, 1, 1],
                Action::run(AveragePool::global(planes, [height, width])),
            ));
        }
        let kernel = match a.ints("kernel_shape")?.as_deref() {
            Some(&[kh, kw]) if kh > 0 && kw > 0 => [kh as usize, kw as usize],
            other => {
                return Err(format!("wanted kernel_shape of two sizes (2-D), found {other:?}"));
            }
        };
        let ceil = a.int("ceil_mode", 0)? != 0;
        let window = a.window(kernel, [height, width], ceil)?;
        let output = vec![planes, window.output[0], window.output[1]];
        check_table(
            "windows [rows, columns, taps]",
            &[window.output[0], window.output[1], kernel[0], kernel[1]],
        )?;
        if node.op_type == "AveragePool" {
            let count = a.int("count_include_pad", 0)? != 0;
            return Ok((vec![v], output, Action::run(AveragePool::new(planes, window, count))));
        }
        // Only says how a second output counts, which is refused.
        a.int("storage_order", 0)?;
        let covers = |a: usize, at: usize| {
            let mut taps = (0..kernel[a]).map(|k| at * window.stride[a] + k * window.dilation[a]);
            taps.any(|p| p >= window.pad[a] && p < window.pad[a] + window.input[a])
        };
        if (0..2).any(|a| !(0..window.output[a]).all(|at| covers(a, at))) {
            return Err("some of its windows lie wholly in the padding".into());
        }
        Ok((vec![v], output, Action::run(MaxPool::new(planes, window))))
    }

    fn gemm(&self, node: &NodeProto, a: &Attributes<'_>) -> Result<Made, String> {
        let (v, shape) = self.activation(node, 0)?;
        let (_, weight) = self.weights(node, 1)?;
        let bias = self.floats(node, 2)?.map(|b| b.1.clone());
        if a.int("transA", 0)? != 0 {
            return Err("transA = 1 would mix images; Lots wants transA = 0".into());
        }
        let transposed = a.int("transB", 0)? != 0;
        let scales =
            GemmScales { alpha: a.float("alpha", 1.0)?, beta: a.float("beta", 1.0)?, transposed };
        let &[rows, columns] = weight.shape() else {
            return Err(format!(
                "wanted a matrix of weights, found {}",
                show_shape(weight.shape())
            ));
        };
        let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        if shape != [inputs] {
            return Err(format!(
                "wanted [N, {inputs}] as its weights, found [N, {}]",
                show_shape(&shape)
            ));
        }
        if let Some(b) = &bias {
            let fits = b.data().len() == 1 || b.shape() == [outputs] || b.shape() == [1, outputs];
            if !fits || b.shape().len() > 2 {
                return Err(format!(
                    "bias {} does not fit {outputs} outputs",
                    show_shape(b.shape())
                ));
            }
        }
        Ok((vec![v], vec![outputs], Action::run(Linear::gemm(weight.clone(), bias, scales))))
    }

    fn matmul(&self, node: &NodeProto) -> Result<Made, String> {
        let (v, shape) = self.activation(node, 0)?;
        let (_, weight) = self.weights(node, 1)?;
        let &[inputs, outputs] = weight.shape() else {
            return Err(format!(
                "wanted a matrix of weights, found {}",
                show_shape(weight.shape())
            ));
        };
        if shape.last() != Some(&inputs) {
            return Err(format!(
                "wanted {inputs} numbers on its last axis as its weights, found [N, {}]",
                show_shape(&shape)
            ));
        }
        let mut output = shape;
        output.pop();
        output.push(outputs);
        Ok((vec![v], output, Action::run(Linear::matmul(weight.clone()))))
    }

    fn binary(&self, node: &NodeProto) -> Result<Made, String> {
        let [a, b] = node.input.as_slice() else { return Err("wanted two inputs".into()) };
        let kind = match node.op_type.as_str() {
            "Add" => Kind::Add,
            "Sub" => Kind::Sub,
            "Mul" => Kind::Mul,
            _ => Kind::Div,
        };
        let sides = [self.side(a)?, self.side(b)?];
        if !sides.iter().any(|s| matches!(s, Side::Value(..))) {
            return Err("both sides are constants; fold them when exporting".into());
        }
        let rank = |s: &Side<'_>| match s {
            Side::Value(_, shape) => shape.len(),
            Side::Constant(_) => 0,
        };
        let rank = rank(&sides[0]).max(rank(&sides[1]));
        let mut inputs = Vec::new();
        let mut shapes = [Vec::new(), Vec::new()];
        let mut constants = [None, None];
        for (at, side) in sides.iter().enumerate() {
            match side {
                Side::Value(v, shape) if shape.len() == rank => {
                    inputs.push(*v);
                    shapes[at] = shape.to_vec();
                }
                Side::Constant(Constant::Floats(t)) => {
                    // With as many axes as the activation, the first one is that of the images.
                    let per_image = match t.shape() {
                        [1, rest @ ..] if rest.len() == rank => rest,
                        shape if shape.len() <= rank => shape,
                        shape => {
                            let shape = show_shape(shape);
                            return Err(format!(
                                "a constant of shape {shape} would add or mix images"
                            ));
                        }
                    };
                    shapes[at] = per_image.to_vec();
                    constants[at] = Some(t.clone());
                }
                Side::Constant(Constant::Other(why)) => return Err(why.clone()),
                Side::Constant(Constant::Ints(_)) => {
                    return Err("one side holds integers; wanted floats".into());
                }
                Side::Value(..) => {
                    return Err(
                        "its inputs have different numbers of axes, which would mix images".into(),
                    );
                }
            }
        }
        let Some(output) = broadcast(&shapes[0], &shapes[1]) else {
            let [a, b] = shapes.map(|s| show_shape(&s));
            return Err(format!("its inputs {a} and {b} (of one image) do not broadcast"));
        };
        let shapes = [shapes[0].as_slice(), shapes[1].as_slice()];
        if kind == Kind::Div && constants[1].as_ref().is_some_and(|c| c.data().contains(&0.0)) {
            return Err("it divides by a constant zero".into());
        }
        let elements = possible(&output)?;
        if shapes.iter().any(|s| s.iter().product::<usize>() != elements) {
            check_table("broadcast elements", &output)?;
        }
        let op = Binary::new(kind, shapes, &output, constants);
        Ok((inputs, output, Action::run(op)))
    }

    fn view(&self, node: &NodeProto, a: &Attributes<'_>) -> Result<Made, String> {
        let (v, shape) = self.activation(node, 0)?;
        let elements: usize = shape.iter().product();
        let output = match node.op_type.as_str() {
            "Flatten" => {
                let axis = a.int("axis", 1)?;
                if axis != 1 && axis != -(shape.len() as i64) {
                    return Err(format!("axis {axis} would mix images; Lots wants 1"));
                }
                vec![elements]
            }
            "Reshape" => {
                let allow_zero = a.int("allowzero", 0)? != 0;
                let name = node.input.get(1).map_or("", String::as_str);
                let Some(Constant::Ints(data)) = self.constants.get(name) else {
                    return Err(format!("its shape (\"{name}\") is not constant integers"));
                };
                self.reshaped(&shape, data, allow_zero)?
            }
            "Dropout" => {
                let training = node.input.get(2).filter(|n| !n.is_empty());
                let off = |name: &String| matches!(self.constants.get(name), Some(Constant::Ints(d)) if *d == [0]);
                if let Some(name) = training.filter(|name| !off(name)) {
                    return Err(format!(
                        "its training_mode (\"{name}\") is not supported; export for inference"
                    ));
                }
                a.int("seed", 0)?;
                shape
            }
            _ => shape,
        };
        Ok((vec![v], output, Action::View))
    }

    /// The per-image shape that Reshape makes: the axis of images must stay the first.
    fn reshaped(
        &self,
        from: &[usize],
        wanted: &[i64],
        allow_zero: bool,
    ) -> Result<Vec<usize>, String> {
        let elements: usize = from.iter().product();
        let refuse =
            || format!("shape {wanted:?} would mix images of shape [N, {}]", show_shape(from));
        let (&first, rest) = wanted.split_first().ok_or_else(refuse)?;
        let copied = |(i, &d): (usize, &i64)| match d {
            0 if !allow_zero => from.get(i).map(|&d| d as i64),
            d => Some(d),
        };
        let mut sizes: Vec<i64> =
            rest.iter().enumerate().map(copied).collect::<Option<_>>().ok_or_else(refuse)?;
        let keeps_batch = (first == 0 && !allow_zero) || first == -1 || (first == 1 && self.single);
        let open = sizes.iter().filter(|&&d| d == -1).count();
        if !keeps_batch
            || open > 1
            || (open == 1 && first == -1)
            || sizes.iter().any(|&d| d < -1 || d == 0)
        {
            return Err(refuse());
        }
        let known =
            sizes.iter().filter(|&&d| d > 0).try_fold(1usize, |n, &d| n.checked_mul(d as usize));
        let known = known.filter(|&n| n > 0 && elements.is_multiple_of(n)).ok_or_else(refuse)?;
        for d in &mut sizes {
            if *d == -1 {
                *d = (elements / known) as i64;
            }
        }
        let sizes: Vec<usize> = sizes.into_iter().map(|d| d as usize).collect();
        if sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(elements) {
            return Err(refuse());
        }
        Ok(sizes)
    }
}

/// Inputs, per-image output shape, and what is done.
type Made = (Vec<usize>, Vec<usize>, Action);

/// `axis` of [N, ..shape] as an axis of `shape`.
fn per_image_axis(axis: i64, rank: usize) -> Result<usize, String> {
    let all = rank as i64 + 1;
    let positive = if axis < 0 { axis + all } else { axis };
    if positive == 0 {
        return Err(format!("axis {axis} is that of the images; Lots wants another"));
    }
    if positive < 0 || positive >= all {
        return Err(format!("axis {axis} does not exist in {all} axes"));
    }
    Ok(positive as usize - 1)
}

/// A node's attributes; those that nobody asked for are refused, so that nothing is ignored silently.
struct Attributes<'a> {
    all: &'a [AttributeProto],
    asked: std::cell::RefCell<Vec<&'static str>>,
}

impl<'a> Attributes<'a> {
    fn new(node: &'a NodeProto) -> Self {
        Self { all: &node.attribute, asked: std::cell::RefCell::default() }
    }

    fn get(&self, name: &'static str, kind: i32) -> Result<Option<&'a AttributeProto>, String> {
        self.asked.borrow_mut().push(name);
        let Some(found) = self.all.iter().find(|a| a.name == name) else { return Ok(None) };
        // Kind 0: files older than the field.
        if found.kind != kind && found.kind != 0 {
            return Err(format!("attribute {name} has the wrong type"));
        }
        Ok(Some(found))
    }

    fn float(&self, name: &'static str, default: f32) -> Result<f32, String> {
        let value = self.get(name, 1)?.map_or(default, |a| a.f);
        if value.is_finite() { Ok(value) } else { Err(format!("attribute {name} is {value}")) }
    }

    fn int(&self, name: &'static str, default: i64) -> Result<i64, String> {
        Ok(self.get(name, 2)?.map_or(default, |a| a.i))
    }

    fn positive(&self, name: &'static str, default: i64) -> Result<usize, String> {
        let value = self.int(name, default)?;
        usize::try_from(value)
            .ok()
            .filter(|&v| v > 0)
            .ok_or_else(|| format!("attribute {name} is {value}"))
    }

    fn ints(&self, name: &'static str) -> Result<Option<Vec<i64>>, String> {
        Ok(self.get(name, 7)?.map(|a| a.ints.clone()))
    }

    fn text(&self, name: &'static str) -> Result<String, String> {
        Ok(self
            .get(name, 3)?
            .map_or_else(String::new, |a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    /// Two positive sizes.
    fn pair(&self, name: &'static str) -> Result<[usize; 2], String> {
        let Some(sizes) = self.ints(name)? else { return Ok([1, 1]) };
        match sizes.as_slice() {
            &[a, b] if (1..=1 << 20).contains(&a) && (1..=1 << 20).contains(&b) => {
                Ok([a as usize, b as usize])
            }
            _ => Err(format!("attribute {name} is {sizes:?}; wanted two positive sizes")),
        }
    }

    /// The sliding window of strides, dilations, pads and auto_pad.
    fn window(&self, kernel: [usize; 2], input: [usize; 2], ceil: bool) -> Result<Window, String> {
        let (stride, dilation) = (self.pair("strides")?, self.pair("dilations")?);
        let pads = self.ints("pads")?;
        let auto = self.text("auto_pad")?;
        let mut window = Window {
            kernel,
            stride,
            dilation,
            pad: [0, 0],
            pad_end: [0, 0],
            input,
            output: [0, 0],
        };
        if kernel.iter().any(|&k| k == 0 || k > 1 << 20) {
            return Err(format!("its kernel is {}×{}", kernel[0], kernel[1]));
        }
        let pads = match (auto.as_str(), pads.as_deref()) {
            ("" | "NOTSET", None) | ("VALID", _) => [0; 4],
            ("" | "NOTSET", Some(&[a, b, c, d]))
                if [a, b, c, d].iter().all(|p| (0..=1 << 20).contains(p)) =>
            {
                [a as usize, b as usize, c as usize, d as usize]
            }
            ("SAME_UPPER" | "SAME_LOWER", _) => {
                let total = |a: usize| {
                    let wanted = (input[a].div_ceil(stride[a]) - 1) * stride[a] + window.extent(a);
                    wanted.saturating_sub(input[a])
                };
                let small = |a: usize| {
                    if auto == "SAME_UPPER" { total(a) / 2 } else { total(a).div_ceil(2) }
                };
                [small(0), small(1), total(0) - small(0), total(1) - small(1)]
            }
            ("" | "NOTSET", other) => {
                return Err(format!(
                    "attribute pads is {other:?}; wanted four sizes that are not negative"
                ));
            }
            (other, _) => return Err(format!("attribute auto_pad is \"{other}\"")),
        };
        for axis in 0..2 {
            let (begin, end) = (pads[axis], pads[axis + 2]);
            let room =
                (begin + input[axis] + end).checked_sub(window.extent(axis)).ok_or_else(|| {
                    format!(
                        "its kernel reaches over {} rows or columns of {}",
                        window.extent(axis),
                        begin + input[axis] + end
                    )
                })?;
            let mut steps = if ceil { room.div_ceil(stride[axis]) } else { room / stride[axis] };
            // A window that would start in the padding behind the input is left out.
            if ceil && steps * stride[axis] >= begin + input[axis] {
                steps -= 1;
            }
            window.pad[axis] = begin;
            window.pad_end[axis] = end;
            window.output[axis] = steps + 1;
        }
        Ok(window)
    }

    fn finish(&self) -> Result<(), String> {
        let asked = self.asked.borrow();
        match self.all.iter().find(|a| !asked.contains(&a.name.as_str())) {
            Some(a) => Err(format!("attribute {} is not supported", a.name)),
            None => Ok(()),
        }
    }
}
