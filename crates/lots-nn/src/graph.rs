//! A network as a graph of operators.

use crate::error::{Error, Result};
use crate::kernels::Isa;
use crate::network::{InputSpec, LayerId, LayerInfo};
use crate::onnx::{self, ModelProto};
use crate::ops::{Operator, Parameter};
use crate::preprocessing::{OpenOptions, Preprocessing};
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The most bytes that a protobuf file may have.
const MAX_FILE: u64 = 1 << 31;

/// A value that depends on the image.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) name: String,
    /// As ONNX says it, for one image: an axis of images is 1.
    pub(crate) shape: Vec<usize>,
    /// The value whose memory this one is: itself, or what it is a view of.
    pub(crate) root: usize,
}

impl Value {
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What a node does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Another shape over the same numbers.
    View,
    /// Computes.
    Run(Box<dyn Operator>),
}

impl Action {
    pub(crate) fn run(op: impl Operator + 'static) -> Self {
        Self::Run(Box::new(op))
    }

    /// The operator, if it computes.
    pub(crate) fn operator(&self) -> Option<&dyn Operator> {
        match self {
            Self::Run(op) => Some(op.as_ref()),
            Self::View => None,
        }
    }
}

/// One node: an operator, its inputs and its output.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) operator: String,
    /// Position among the nodes with weights, from 1.
    pub(crate) index: Option<usize>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) output: usize,
    pub(crate) action: Action,
    /// Names of the constants behind the operator's parameters, in their order.
    pub(crate) parameters: Vec<String>,
}

/// A network read from ONNX, run by the CPU engine. Weights are frozen unless a [`Trainer`](crate::Trainer) has it.
#[derive(Debug)]
pub struct Graph {
    name: String,
    /// The file, less its graph's parameters, which live in the nodes.
    model: ModelProto,
    input: InputSpec,
    nodes: Vec<Node>,
    values: Vec<Value>,
    output: usize,
    layers: Vec<LayerInfo>,
    preprocessing: Option<Preprocessing>,
    isa: Isa,
}

impl Graph {
    pub(crate) fn new(
        name: &str,
        mut model: ModelProto,
        input: InputSpec,
        nodes: Vec<Node>,
        values: Vec<Value>,
        output: usize,
    ) -> Self {
        let layers = nodes
            .iter()
            .enumerate()
            .map(|(i, node)| LayerInfo {
                id: LayerId(i),
                index: node.index,
                name: node.name.clone(),
                operator: node.operator.clone(),
                shape: of_one_image(&values[node.output].shape),
                parameters: match &node.action {
                    Action::Run(op) => op.parameters().iter().map(Parameter::elements).sum(),
                    Action::View => 0,
                },
            })
            .collect();
        // Parameters are kept once, in the operators; `to_onnx` puts them back.
        if let Some(graph) = &mut model.graph {
            let parameters: HashSet<&String> = nodes.iter().flat_map(|n| &n.parameters).collect();
            for t in &mut graph.initializer {
                if parameters.contains(&t.name) {
                    t.raw_data = Vec::new();
                    t.float_data = Vec::new();
                }
            }
        }
        Self {
            name: name.to_owned(),
            model,
            input,
            nodes,
            values,
            output,
            layers,
            preprocessing: None,
            isa: Isa::best(),
        }
    }

    /// What its first nodes do to raw images.
    pub(crate) fn with_preprocessing(mut self, preprocessing: Option<Preprocessing>) -> Self {
        self.preprocessing = preprocessing;
        self
    }

    /// Reads a network from the bytes of an ONNX file; `name` stands for it in messages. Preprocessing is what the file's
    /// metadata say.
    ///
    /// # Errors
    /// When the bytes are no ONNX network, or use an operator or attribute that is not supported: named by node.
    pub fn from_onnx(bytes: &[u8], name: &str) -> Result<Self> {
        Self::read(onnx::decode(bytes, name)?, name, None, &OpenOptions::default())
    }

    fn read(
        model: ModelProto,
        name: &str,
        folder: Option<&Path>,
        options: &OpenOptions,
    ) -> Result<Self> {
        let mut graph = onnx::read(model, name, folder, options)?;
        graph.number_layers()?;
        Ok(graph)
    }

    /// Gives the indices to the layers that the file's metadata lists, if it does, instead of the nodes with weights.
    fn number_layers(&mut self) -> Result<()> {
        let Some((_, list)) = self.metadata().find(|(key, _)| *key == onnx::LAYERS_KEY) else {
            return Ok(());
        };
        let places: HashMap<&str, usize> =
            self.layers.iter().enumerate().map(|(i, layer)| (layer.name.as_str(), i)).collect();
        let mut indices = vec![None; self.layers.len()];
        for (index, name) in (1..).zip(list.lines()) {
            let Some(&place) = places.get(name).filter(|&&place| indices[place].is_none()) else {
                let what = format!(
                    "its metadata {} lists \"{name}\", wanted each layer once; the file is damaged",
                    onnx::LAYERS_KEY
                );
                return Err(Error::Model { network: self.name.clone(), what });
            };
            indices[place] = Some(index);
        }
        for (layer, index) in self.layers.iter_mut().zip(indices) {
            layer.index = index;
        }
        Ok(())
    }

    /// Reads a network from an ONNX file, with external data from the files beside it. Preprocessing is what the file's
    /// metadata say.
    ///
    /// # Errors
    /// As [`Graph::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// Reads a network from an ONNX file as [`Graph::open`] does, with preprocessing by `options`. It becomes nodes in front
    /// of the others, so that the network takes raw images: RGB or grey, [channels, height, width], 0–255.
    ///
    /// # Errors
    /// As [`Graph::from_onnx`], when a file cannot be read or is larger than 2 GiB, external data lies outside the network's
    /// folder, or the preprocessing does not fit the network's input.
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let fail = |reason: String| Error::File {
            action: "read",
            path: path.display().to_string(),
            reason,
        };
        let read = |file: File| {
            let mut bytes = Vec::new();
            // Not every file tells its length.
            bytes.reserve_exact(file.metadata()?.len().min(MAX_FILE) as usize + 1);
            file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = File::open(path).and_then(read).map_err(|e| fail(e.to_string()))?;
        if bytes.len() as u64 > MAX_FILE {
            let reason = "larger than 2 GiB, as no ONNX file is; export with external data";
            return Err(fail(reason.to_owned()));
        }
        // The folder of a bare name is the current one.
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let name = path.display().to_string();
        let model = onnx::decode(&bytes, &name)?;
        // Large: the message has it all.
        drop(bytes);
        Self::read(model, &name, Some(folder), options)
    }

    /// The network as an ONNX file, with its weights as they are now and `metadata` (key, value) in place of its own.
    pub(crate) fn to_onnx_with(
        &self,
        metadata: Option<&[(String, String)]>,
        extra: Vec<onnx::TensorProto>,
    ) -> Vec<u8> {
        let mut model = self.model.clone();
        if let Some(metadata) = metadata {
            model.metadata_props = metadata
                .iter()
                .map(|(k, v)| onnx::StringEntry { key: k.clone(), value: v.clone() })
                .collect();
        }
        if let Some(graph) = &mut model.graph {
            for node in &self.nodes {
                let Action::Run(op) = &node.action else { continue };
                for (at, name) in node.parameters.iter().enumerate() {
                    if let Some(t) = graph.initializer.iter_mut().find(|t| t.name == *name) {
                        // The file's own shape: kernels of one axis are kept as of two.
                        let dims = std::mem::take(&mut t.dims);
                        *t = onnx::floats(name, dims, &op.parameter(at));
                    }
                }
            }
            graph.initializer.extend(extra);
        }
        model.encode_to_vec()
    }

    /// The network as the bytes of an ONNX file, with its weights as they are now.
    pub fn to_onnx(&self) -> Vec<u8> {
        self.to_onnx_with(None, Vec::new())
    }

    /// The file or name that the network came from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the file says of itself: (key, value).
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.model.metadata_props.iter().map(|e| (e.key.as_str(), e.value.as_str()))
    }

    /// What is done to raw images before they go in, by nodes in front of the others; `None` where neither file nor options
    /// say anything, so that raw images go in as they are.
    pub fn preprocessing(&self) -> Option<&Preprocessing> {
        self.preprocessing.as_ref()
    }

    /// A constant array of the file, as it stands there; those of parameters are empty.
    pub(crate) fn spare_constant(&self, name: &str) -> Option<&onnx::TensorProto> {
        self.model.graph.as_ref()?.initializer.iter().find(|t| t.name == name)
    }

    /// Leaves out the constants of the file whose name `which` says.
    pub(crate) fn drop_constants(&mut self, which: impl Fn(&str) -> bool) {
        if let Some(graph) = &mut self.model.graph {
            graph.initializer.retain(|t| !which(&t.name));
        }
    }

    /// The layer whose node makes the network's output: the logits of a classifier.
    pub fn output(&self) -> LayerId {
        LayerId(self.nodes.iter().position(|n| n.output == self.output).unwrap_or_default())
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    pub(crate) fn input_spec(&self) -> &InputSpec {
        &self.input
    }

    pub(crate) fn layer_infos(&self) -> &[LayerInfo] {
        &self.layers
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    #[cfg(test)]
    pub(crate) fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// The value that layer `id` makes.
    pub(crate) fn value_of(&self, id: LayerId) -> Result<usize> {
        self.nodes.get(id.0).map(|n| n.output).ok_or_else(|| {
            Error::Request(format!(
                "layer {} is not one of the {} of {}",
                id.0,
                self.nodes.len(),
                self.name
            ))
        })
    }

    /// The layers that `pattern` means: the name of a node, an index of a layer with weights (from 1), the name of a value,
    /// `all` for every layer with weights, or a glob (`*`, `?`), tried in this order.
    ///
    /// # Errors
    /// When there is none.
    pub fn find_layers(&self, pattern: &str) -> Result<Vec<LayerId>> {
        let by = |keep: &dyn Fn(&LayerInfo, &str) -> bool| -> Vec<LayerId> {
            let value = |l: &LayerInfo| self.values[self.nodes[l.id.0].output].name.as_str();
            self.layers.iter().filter(|l| keep(l, value(l))).map(|l| l.id).collect()
        };
        let digits = !pattern.is_empty() && pattern.bytes().all(|b| b.is_ascii_digit());
        // Names of values come last: some exporters number them, and a number means an index first.
        let mut found = by(&|l, _| l.name == pattern);
        if found.is_empty() && digits {
            found = by(&|l, _| l.index.is_some() && l.index == pattern.parse().ok());
        }
        if found.is_empty() {
            found = by(&|_, value| value == pattern);
        }
        if found.is_empty() && pattern == "all" {
            found = by(&|l, _| l.index.is_some());
        }
        if found.is_empty() && pattern.contains(['*', '?']) {
            let matches = |name: &str| glob(pattern.as_bytes(), name.as_bytes());
            found = by(&|l, value| matches(&l.name) || matches(value));
        }
        if found.is_empty() {
            return Err(Error::NoLayer {
                asked: pattern.to_owned(),
                network: self.name.clone(),
                layers: self.layer_list(),
            });
        }
        Ok(found)
    }

    /// The names of the layers with weights, shortened when there are many.
    fn layer_list(&self) -> String {
        let names: Vec<&str> =
            self.layers.iter().filter(|l| l.index.is_some()).map(|l| l.name.as_str()).collect();
        match names.as_slice() {
            [first @ .., last] if names.len() > 12 => {
                format!(
                    "{}, … {last} ({} in all; `lots layers` lists them)",
                    first[..8].join(", "),
                    names.len()
                )
            }
            _ => names.join(", "),
        }
    }
}

/// A shape without the axis of images, where it begins with one.
fn of_one_image(shape: &[usize]) -> Vec<usize> {
    match shape {
        [1, rest @ ..] if !rest.is_empty() => rest.to_vec(),
        _ => shape.to_vec(),
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any text and `?` for one byte.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|i| glob(rest, &text[i..])),
        ([b'?', rest @ ..], [_, text @ ..]) => glob(rest, text),
        ([p, rest @ ..], [t, text @ ..]) => p == t && glob(rest, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::glob;
    use crate::lenet;

    #[test]
    fn layers_are_found_by_name_index_value_or_glob() {
        let network = lenet(0);
        let cases: [(&str, &[&str]); 8] = [
            ("conv2", &["conv2"]),
            ("2", &["conv2"]),
            ("conv2_out", &["conv2"]),
            ("relu1", &["relu1"]),
            ("all", &["conv1", "conv2", "ip1", "ip2"]),
            ("?onv*", &["conv1", "conv2"]),
            ("+2", &[]),
            ("5", &[]),
        ];
        let mut wrong = Vec::new();
        for (pattern, wanted) in cases {
            let found = network.find_layers(pattern).unwrap_or_default();
            let names: Vec<&str> =
                found.iter().map(|l| network.layers[l.0].name.as_str()).collect();
            if names != wanted {
                wrong.push(format!("{pattern}: {names:?}, wanted {wanted:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn globs_match_whole_names() {
        let cases = [
            ("conv*", "conv1", true),
            ("conv*", "preconv1", false),
            ("*", "", true),
            ("conv?_2", "conv1_2", true),
            ("conv?", "conv", false),
            ("*_2", "conv1_2", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
        ];
        let wrong: Vec<_> =
            cases.iter().filter(|(p, t, m)| glob(p.as_bytes(), t.as_bytes()) != *m).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
