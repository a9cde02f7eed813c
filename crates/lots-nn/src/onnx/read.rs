//! From the messages of an ONNX file to a [`Graph`].

use super::array::Array;
use super::attributes::Attributes;
use super::external::Files;
use super::fold::fold;
use super::operators::{Output, build};
use super::preprocess::preprocess;
use super::proto::{ModelProto, NodeProto, TensorProto, ValueInfo, data_type};
use super::tensors::{Constant, constant};
use super::{OPSETS, limits};
use crate::error::{Error, Result};
use crate::graph::{Action, Graph, Node, Value};
use crate::network::InputSpec;
use crate::preprocessing::OpenOptions;
use crate::tensor::{Tensor, show_shape};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Largest number of elements of one activation of one image: more is a damaged file, not a network.
const MAX_ELEMENTS: usize = 1 << 31;

/// Largest number of entries of a table that an operator keeps of its output (taps of windows, places of a broadcast
/// side): half a gibibyte.
const MAX_TABLE: usize = 1 << 27;

/// Refuses a table of more than [`MAX_TABLE`] entries before it is made.
pub(super) fn check_table(what: &str, sizes: &[usize]) -> Result<(), String> {
    // An axis of nothing hides no huge one.
    let entries = sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    if entries.is_some_and(|n| n <= MAX_TABLE) {
        return Ok(());
    }
    Err(format!(
        "{what} {} are too large for Lots, which takes {MAX_TABLE} in all",
        show_shape(sizes)
    ))
}

/// The number of elements of an activation of `shape`, unless no network has such a one.
pub(super) fn possible(shape: &[usize]) -> Result<usize, String> {
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    elements
        .filter(|&n| n <= MAX_ELEMENTS && n > 0)
        .ok_or_else(|| format!("its output would have the impossible shape {}", show_shape(shape)))
}

/// Decodes a file; `name` stands for it in messages.
pub(crate) fn decode(bytes: &[u8], name: &str) -> Result<ModelProto> {
    let fail = |what: String| Error::Model { network: name.to_owned(), what };
    if bytes.is_empty() {
        return Err(fail("the file is empty; wanted an ONNX network".to_owned()));
    }
    limits::check(bytes).map_err(fail)?;
    ModelProto::decode(bytes)
        .map_err(|e| fail(format!("not an ONNX file, or cut short ({e}); export or copy it again")))
}

/// Checks a network and makes it ready to run; `name` stands for it in messages. Constants may lie in other files of
/// `folder`.
pub(crate) fn read(
    mut model: ModelProto,
    name: &str,
    folder: Option<&Path>,
    options: &OpenOptions,
) -> Result<Graph> {
    let fail = |what: String| Error::Model { network: name.to_owned(), what };
    check_header(&model).map_err(fail)?;
    let files = folder.map(|folder| Files::find(&mut model, folder)).transpose().map_err(fail)?;
    let files = files.unwrap_or_default();
    let preprocessing = preprocess(&mut model, options).map_err(fail)?;
    let Some(graph) = &mut model.graph else {
        return Err(fail(
            "no graph inside; the file is cut short or not an ONNX network".to_owned(),
        ));
    };
    fold_constant_nodes(graph, name)?;
    let mut reader = Reader::new(name, graph, &files)?;
    for node in &graph.node {
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
    let parameters = nodes.iter().flat_map(|n| &n.parameters);
    let parameters: HashSet<&str> = parameters.map(String::as_str).collect();
    files.fetch_others(&mut model, |name| parameters.contains(name)).map_err(fail)?;
    Ok(Graph::new(name, model, input, nodes, values, output).with_preprocessing(preprocessing))
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

/// The state of reading: what is known so far, and what has been made.
///
/// A network is read for one image: every value has its full ONNX shape, the axis of images being 1. The engine runs
/// many images side by side, each as if it were alone.
pub(super) struct Reader<'f> {
    /// Constants that the file holds.
    stored: HashMap<&'f str, &'f TensorProto>,
    files: &'f Files,
    /// Constants that were computed from others.
    computed: RefCell<HashMap<String, Constant>>,
    /// The constant behind each name that Identity gave it.
    aliases: HashMap<String, String>,
    by_name: HashMap<String, usize>,
    /// Elements of constants that may still be copied or computed.
    allowance: Cell<usize>,
    /// Names that a node or the network's output takes, and how often.
    used: HashMap<&'f str, usize>,
    input: InputSpec,
    nodes: Vec<Node>,
    values: Vec<Value>,
    weight_layers: usize,
}

/// What a node makes of its inputs: an output of `shape`, by `action` out of the values `inputs`.
pub(super) struct Made {
    pub(super) inputs: Vec<usize>,
    pub(super) shape: Vec<usize>,
    pub(super) action: Action,
}

/// What one side of a node is.
pub(super) enum Side {
    /// A value that depends on the image, and its shape.
    Value(usize, Vec<usize>),
    Constant(Constant),
}

impl Side {
    pub(super) fn shape(&self) -> Result<Vec<usize>, String> {
        match self {
            Self::Value(_, shape) => Ok(shape.clone()),
            Self::Constant(Constant::Floats(t)) => Ok(t.shape().to_vec()),
            Self::Constant(Constant::Ints(a)) => Ok(a.shape.clone()),
            Self::Constant(Constant::Other(why)) => Err(why.clone()),
        }
    }

    pub(super) fn value(&self) -> Option<usize> {
        match self {
            Self::Value(v, _) => Some(*v),
            Self::Constant(_) => None,
        }
    }
}

impl<'f> Reader<'f> {
    fn new(name: &str, graph: &'f super::GraphProto, files: &'f Files) -> Result<Self> {
        let fail = |what: String| Error::Model { network: name.to_owned(), what };
        let mut stored = HashMap::new();
        for t in &graph.initializer {
            if stored.insert(t.name.as_str(), t).is_some() {
                return Err(fail(format!(
                    "constant \"{}\" is there twice; the file is damaged",
                    t.name
                )));
            }
        }
        let inputs: Vec<&ValueInfo> =
            graph.input.iter().filter(|v| !stored.contains_key(v.name.as_str())).collect();
        let [input] = inputs.as_slice() else {
            return Err(fail(format!(
                "wanted one input of images, found {} ({})",
                inputs.len(),
                inputs.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ")
            )));
        };
        let (spec, shape) = input_spec(input).map_err(fail)?;
        let value = Value { name: input.name.clone(), shape, root: 0 };
        let sizes = graph.initializer.iter();
        let bytes: usize = sizes.map(|t| t.raw_data.len() + 4 * t.float_data.len()).sum();
        let bytes = bytes.saturating_add(files.bytes());
        let taken = graph.node.iter().flat_map(|n| &n.input);
        let given = graph.output.iter().map(|o| &o.name);
        let mut used = HashMap::new();
        for name in taken.chain(given) {
            *used.entry(name.as_str()).or_default() += 1;
        }
        Ok(Self {
            stored,
            files,
            computed: RefCell::default(),
            aliases: HashMap::new(),
            by_name: HashMap::from([(input.name.clone(), 0)]),
            allowance: Cell::new(
                MAX_TABLE.saturating_mul(2).saturating_add(bytes.saturating_mul(16)),
            ),
            used,
            input: spec,
            nodes: Vec::new(),
            values: vec![value],
            weight_layers: 0,
        })
    }

    /// The name under which the file holds constant `name`.
    fn original(&self, name: &str) -> String {
        self.aliases.get(name).map_or(name, String::as_str).to_owned()
    }

    pub(super) fn is_constant(&self, name: &str) -> bool {
        self.computed.borrow().contains_key(name) || self.stored.contains_key(name)
    }

    /// A copy of the constant of this name, if there is one.
    fn constant(&self, name: &str) -> Option<Result<Constant, String>> {
        let found = match self.computed.borrow().get(name) {
            Some(c) => Ok(c.clone()),
            None => constant(self.stored.get(name)?, self.files.bytes_of(name)),
        };
        Some(found.and_then(|c| self.spend(c.elements()).map(|()| c)))
    }

    /// Refuses files that make much of little: counts copies of constants, and constants that are computed.
    fn spend(&self, elements: usize) -> Result<(), String> {
        let left = self.allowance.get().checked_sub(elements);
        self.allowance.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| {
            "the constants behind it are far larger than the file; no network needs that".to_owned()
        })
    }

    /// What input `name` is.
    pub(super) fn side(&self, name: &str) -> Result<Side, String> {
        if let Some(&v) = self.by_name.get(name) {
            return Ok(Side::Value(v, self.values[v].shape.clone()));
        }
        let found = self.constant(name);
        found.map_or_else(
            || Err(format!("nothing makes its input \"{name}\"; the file is damaged")),
            |c| c.map(Side::Constant),
        )
    }

    /// Input number `at` as a value that depends on the image, and its shape.
    pub(super) fn activation(
        &self,
        node: &NodeProto,
        at: usize,
    ) -> Result<(usize, Vec<usize>), String> {
        let name = node.input.get(at).map_or("", String::as_str);
        match self.side(name)? {
            Side::Value(v, shape) => Ok((v, shape)),
            Side::Constant(_) => Err(format!(
                "input {at} (\"{name}\") is a constant; Lots wants an activation there"
            )),
        }
    }

    /// Input number `at` as a constant, `None` when it is left out.
    fn given<'n>(
        &self,
        node: &'n NodeProto,
        at: usize,
    ) -> Result<Option<(&'n str, Constant)>, String> {
        let Some(name) = node.input.get(at).filter(|n| !n.is_empty()) else { return Ok(None) };
        if let Some(&v) = self.by_name.get(name) {
            return Err(format!(
                "input {at} (\"{}\") is not a constant; Lots wants a constant there",
                self.values[v].name
            ));
        }
        match self.constant(name) {
            Some(c) => Ok(Some((name, c?))),
            None => Err(format!("nothing makes its input \"{name}\"; the file is damaged")),
        }
    }

    /// Input number `at` as constant floats, `None` when it is left out.
    pub(super) fn floats(&self, node: &NodeProto, at: usize) -> Result<Option<Tensor>, String> {
        match self.given(node, at)? {
            None => Ok(None),
            Some((_, Constant::Floats(t))) => Ok(Some(t)),
            Some((_, Constant::Other(why))) => Err(why),
            Some((name, Constant::Ints(_))) => {
                Err(format!("input {at} (\"{name}\") holds integers; wanted floats"))
            }
        }
    }

    /// Input number `at` as constant integers, `None` when it is left out.
    pub(super) fn ints(&self, node: &NodeProto, at: usize) -> Result<Option<Array<i64>>, String> {
        match self.given(node, at)? {
            None => Ok(None),
            Some((_, Constant::Ints(a))) => Ok(Some(a)),
            Some((_, Constant::Other(why))) => Err(why),
            Some((name, Constant::Floats(_))) => {
                Err(format!("input {at} (\"{name}\") holds floats; wanted integers"))
            }
        }
    }

    /// Input number `at` as constant floats that must be there; a node asks for them once.
    pub(super) fn weights(&self, node: &NodeProto, at: usize) -> Result<Tensor, String> {
        let name = node.input.get(at).map_or("", String::as_str);
        // Where nobody else wants them they are handed over: there may be many.
        if self.used.get(name) == Some(&1)
            && let Some(c) = self.computed.borrow_mut().get_mut(name)
            && matches!(c, Constant::Floats(_))
        {
            let taken = Constant::Other(format!("constant \"{name}\" is no longer there"));
            if let Constant::Floats(t) = std::mem::replace(c, taken) {
                self.spend(t.data().len())?;
                return Ok(t);
            }
        }
        self.floats(node, at)?.ok_or_else(|| format!("input {at} (its weights) is missing"))
    }

    fn node(&mut self, node: &NodeProto) -> Result<(), String> {
        if !(node.domain.is_empty() || node.domain == "ai.onnx") {
            return Err(format!("operators of domain \"{}\" are not supported", node.domain));
        }
        if node.output.is_empty() || node.output[0].is_empty() {
            return Err("it has no output".into());
        }
        let extra = node.output.iter().skip(1).find(|o| self.used.contains_key(o.as_str()));
        if let (Some(extra), true) = (extra, node.op_type != "Split") {
            return Err(format!("its output \"{extra}\" is not supported; only the first one is"));
        }
        // A copy of a constant is a constant.
        if node.op_type == "Identity"
            && let Some(from) = node.input.first().filter(|n| self.is_constant(n))
        {
            self.aliases.insert(node.output[0].clone(), self.original(from));
        }
        let attributes = Attributes::new(node);
        let outputs = match fold(self, node, &attributes)? {
            Some(constants) => constants.into_iter().map(Output::Constant).collect(),
            None => build(self, node, &attributes)?,
        };
        attributes.finish()?;
        let several = outputs.len() > 1;
        let named = node.output.iter().zip(outputs).filter(|(name, _)| !name.is_empty());
        for (name, output) in named {
            if self.by_name.contains_key(name) || self.is_constant(name) {
                return Err(format!("its output \"{name}\" is made twice; the file is damaged"));
            }
            match output {
                Output::Constant(c) => {
                    self.spend(c.elements())?;
                    self.computed.borrow_mut().insert(name.clone(), c);
                }
                Output::Value(made) if several => self.push(node, name.clone(), name, made)?,
                Output::Value(made) => self.push(node, node_name(node), name, made)?,
            }
        }
        Ok(())
    }

    /// Adds the node that makes value `output`.
    fn push(
        &mut self,
        node: &NodeProto,
        name: String,
        output: &str,
        made: Made,
    ) -> Result<(), String> {
        let Made { inputs, shape, action } = made;
        possible(&shape)?;
        let id = self.values.len();
        let root = if matches!(action, Action::View) { self.values[inputs[0]].root } else { id };
        self.by_name.insert(output.to_owned(), id);
        self.values.push(Value { name: output.to_owned(), shape, root });
        let parameters: Vec<String> = match &action {
            Action::Run(op) if !op.parameters().is_empty() => {
                let constants = node.input.iter().filter(|n| self.is_constant(n));
                constants.map(|n| self.original(n)).collect()
            }
            _ => Vec::new(),
        };
        let weighs = matches!(node.op_type.as_str(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
            && !parameters.is_empty();
        let index = weighs.then(|| {
            self.weight_layers += 1;
            self.weight_layers
        });
        let operator = node.op_type.clone();
        self.nodes.push(Node { name, operator, index, inputs, output: id, action, parameters });
        Ok(())
    }

    /// Runs `f` with constant `name` in the place of an activation; gives it its value's number too.
    pub(super) fn with_activation<T>(
        &mut self,
        name: &str,
        shape: &[usize],
        f: impl FnOnce(&Self) -> T,
    ) -> T {
        let id = self.values.len();
        self.values.push(Value { name: name.to_owned(), shape: shape.to_vec(), root: id });
        self.by_name.insert(name.to_owned(), id);
        let result = f(self);
        self.by_name.remove(name);
        self.values.pop();
        result
    }
}

/// What the file says of its input: what a network takes, and the shape of its value.
fn input_spec(input: &ValueInfo) -> Result<(InputSpec, Vec<usize>), String> {
    let tensor = input.kind.as_ref().and_then(|k| k.tensor.as_ref());
    let elem = tensor.map_or(0, |t| t.elem_type);
    if elem != data_type::FLOAT {
        return Err(format!(
            "input \"{}\" takes {}; Lots wants float: export in float32",
            input.name,
            data_type::name(elem)
        ));
    }
    let dims = tensor.and_then(|t| t.shape.as_ref()).map_or(&[][..], |s| &s.dim);
    let shown: Vec<String> = dims
        .iter()
        .map(|d| d.value.map_or_else(|| d.param.clone().unwrap_or("?".into()), |v| v.to_string()))
        .collect();
    let shown = shown.join(", ");
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
            return Err(format!(
                "input \"{}\" has shape [{shown}]; wanted [N, channels, height, width], only N free: export with a fixed image size",
                input.name
            ));
        }
    };
    if let Some(n) = dims[0].value.filter(|&n| n > 1) {
        return Err(format!(
            "input \"{}\" has shape [{shown}], a fixed batch of {n} images; export with a free batch, or a batch of 1",
            input.name
        ));
    }
    let elements = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
    if elements.is_none_or(|n| n > MAX_ELEMENTS) {
        return Err(format!("input \"{}\" has the impossible shape [{shown}]", input.name));
    }
    let spec = InputSpec { name: input.name.clone(), channels, height, width };
    Ok((spec, [vec![1], sizes].concat()))
}

/// `axis` of an array of `rank` axes, counted from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let positive = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(positive)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| format!("axis {axis} does not exist in {rank} axes"))
}
