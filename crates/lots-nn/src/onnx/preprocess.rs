//! Preprocessing as nodes in front of a network, so that it takes raw images.

use super::proto::{
    AttributeProto, Dim, GraphProto, ModelProto, NodeProto, StringEntry, TensorProto,
};
use super::{float_tensor, int_tensor};
use crate::preprocessing::{ChannelOrder, Layout, OpenOptions, Preprocessing, ValueRange};
use crate::tensor::Tensor;
use std::collections::HashSet;

/// Keys of the metadata that describe images (ONNX: docs/MetadataProps.md). Keys and values are the same in any case.
const FORMAT: &str = "Image.BitmapPixelFormat";
const RANGE: &str = "Image.NominalPixelRange";
const RAW_RANGE: &str = "NominalRange_0_255";

/// Makes `model` take raw images, by what `options` and then its metadata say; `None` where both say nothing.
pub(super) fn preprocess(
    model: &mut ModelProto,
    options: &OpenOptions,
) -> Result<Option<Preprocessing>, String> {
    let format = entry(model, FORMAT).filter(|_| options.order.is_none());
    let range = entry(model, RANGE).filter(|_| options.range.is_none());
    if format.is_none() && range.is_none() && *options == OpenOptions::default() {
        return Ok(None);
    }
    let raw = Preprocessing::raw();
    let declared = format.as_deref().map(declared_order).transpose()?;
    let order = options.order.or(declared.map(|(order, _)| order));
    let range = options
        .range
        .map_or_else(|| range.as_deref().map(declared_range).transpose(), |r| Ok(Some(r)))?;
    let found = Preprocessing {
        order: order.unwrap_or(raw.order),
        layout: options.layout.unwrap_or(raw.layout),
        range: range.unwrap_or(raw.range),
        mean: options.mean.clone().unwrap_or(raw.mean),
        std: options.std.clone().unwrap_or(raw.std),
    };
    let Some(graph) = &mut model.graph else { return Ok(Some(found)) };
    let Some(channels) = channels(graph, found.layout)? else { return Ok(Some(found)) };
    if let (Some((_, wanted)), Some(format)) = (declared, format)
        && wanted != channels
    {
        return Err(format!(
            "its metadata say {FORMAT} {format}, but its input has {channels} channel(s); give the order of \
             its channels, or layout NHWC"
        ));
    }
    if insert(graph, &found, channels)? {
        describe_as_raw(model, channels);
    }
    Ok(Some(found))
}

fn entry(model: &ModelProto, key: &str) -> Option<String> {
    let entry = model.metadata_props.iter().find(|e| e.key.eq_ignore_ascii_case(key));
    entry.map(|e| e.value.clone())
}

/// The order of channels, and their number.
fn declared_order(format: &str) -> Result<(ChannelOrder, usize), String> {
    match format.to_ascii_lowercase().as_str() {
        "gray8" => Ok((ChannelOrder::Rgb, 1)),
        "rgb8" => Ok((ChannelOrder::Rgb, 3)),
        "bgr8" => Ok((ChannelOrder::Bgr, 3)),
        _ => Err(format!(
            "its metadata say {FORMAT} {format}; Lots gives Gray8, Rgb8 or Bgr8: export it for one of them"
        )),
    }
}

fn declared_range(range: &str) -> Result<ValueRange, String> {
    let (low, high) = match range.to_ascii_lowercase().as_str() {
        "nominalrange_0_255" => (0.0, 255.0),
        "normalized_0_1" => (0.0, 1.0),
        "normalized_1_1" => (-1.0, 1.0),
        "nominalrange_16_235" => (16.0, 235.0),
        _ => {
            return Err(format!(
                "its metadata say {RANGE} {range}; Lots knows {RAW_RANGE}, Normalized_0_1, Normalized_1_1 and \
                 NominalRange_16_235: give the range of its values"
            ));
        }
    };
    Ok(ValueRange { low, high })
}

/// The axes of the one input of images; `None` where there is none, as the reader will tell.
fn axes(graph: &mut GraphProto) -> Option<(&str, &mut Vec<Dim>)> {
    let constants: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let mut inputs = graph.input.iter_mut().filter(|v| !constants.contains(v.name.as_str()));
    let input = inputs.next()?;
    let shape = input.kind.as_mut()?.tensor.as_mut()?.shape.as_mut()?;
    inputs.next().is_none().then_some((input.name.as_str(), &mut shape.dim))
}

/// The number of channels; `None` where the shape is not one that the reader takes, as it will tell.
fn channels(graph: &mut GraphProto, layout: Layout) -> Result<Option<usize>, String> {
    let Some((name, dims)) = axes(graph) else { return Ok(None) };
    let channels = match (dims.as_slice(), layout) {
        ([_, channels, _, _], Layout::Nchw) | ([_, _, _, channels], Layout::Nhwc) => channels.value,
        (other, Layout::Nhwc) => {
            return Err(format!(
                "input \"{name}\" has {} axes; layout NHWC wants four: leave it away",
                other.len()
            ));
        }
        _ => Some(1),
    };
    Ok(channels.and_then(|c| usize::try_from(c).ok()).filter(|&c| c > 0))
}

/// One number, or one a channel, as one a channel.
fn per_channel(what: &str, numbers: &[f32], channels: usize) -> Result<Vec<f64>, String> {
    if let Some(odd) = numbers.iter().find(|x| !x.is_finite()) {
        return Err(format!("{what} {odd} is no finite number"));
    }
    match numbers {
        &[one] => Ok(vec![one.into(); channels]),
        all if all.len() == channels => Ok(all.iter().map(|&x| x.into()).collect()),
        all => Err(format!(
            "{what} has {} numbers, but the input has {channels} channel(s); give one number, or one a channel",
            all.len()
        )),
    }
}

/// Puts the nodes in front. Between raw value and network lie one product and one sum, whose constants are computed in
/// f64: `x · (high − low) / (255 · std) + (low − mean) / std`.
/// Whether there is anything to do is the answer.
fn insert(graph: &mut GraphProto, wanted: &Preprocessing, channels: usize) -> Result<bool, String> {
    let Preprocessing { order, layout, range: ValueRange { low, high }, mean, std } = wanted;
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Err(format!(
            "the range of values is {low} to {high}; wanted two numbers, the smaller one first"
        ));
    }
    let (low, high) = (f64::from(*low), f64::from(*high));
    let mean = per_channel("mean", mean, channels)?;
    let std = per_channel("std", std, channels)?;
    if let Some(odd) = std.iter().find(|&&s| s <= 0.0) {
        return Err(format!("std {odd} is not above 0"));
    }
    let scale = std.iter().map(|s| ((high - low) / (255.0 * s)) as f32).collect();
    let offset = mean.iter().zip(&std).map(|(m, s)| ((low - m) / s) as f32).collect();

    let mut front = Front::new(graph);
    if *order == ChannelOrder::Bgr {
        if channels != 3 {
            return Err(format!("BGR wants three channels, the input has {channels}"));
        }
        let axis =
            AttributeProto { name: "axis".into(), i: 1, kind: 2, ..AttributeProto::default() };
        front.node("order", "Gather", Some(int_tensor("", &[2, 1, 0])), vec![axis]);
    }
    front.arithmetic("scale", "Mul", scale, 1.0)?;
    front.arithmetic("offset", "Add", offset, 0.0)?;
    if *layout == Layout::Nhwc {
        let perm = AttributeProto {
            name: "perm".into(),
            ints: vec![0, 2, 3, 1],
            kind: 7,
            ..AttributeProto::default()
        };
        front.node("layout", "Transpose", None, vec![perm]);
    }
    let changes = !front.nodes.is_empty();
    front.finish(graph, *layout);
    Ok(changes)
}

/// Nodes to be put in front of a graph.
struct Front {
    /// What the names begin with; nothing in the graph is called so.
    prefix: String,
    input: String,
    /// What the last node makes.
    last: String,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Front {
    fn new(graph: &mut GraphProto) -> Self {
        let input = axes(graph).map(|(name, _)| name.to_owned()).unwrap_or_default();
        let names = graph.node.iter().flat_map(|n| n.output.iter().chain([&n.name]));
        let names = names.chain(graph.initializer.iter().map(|t| &t.name));
        let taken: HashSet<&str> = names.filter_map(|n| Some(n.split_once('/')?.0)).collect();
        // A network that was written with preprocessing may get more of it.
        let mut prefix = "preprocessing".to_owned();
        while taken.contains(prefix.as_str()) {
            prefix.push('+');
        }
        Self { prefix, last: input.clone(), input, nodes: Vec::new(), constants: Vec::new() }
    }

    fn node(
        &mut self,
        name: &str,
        op: &str,
        constant: Option<TensorProto>,
        attribute: Vec<AttributeProto>,
    ) {
        let name = format!("{}/{name}", self.prefix);
        let mut inputs = vec![self.last.clone()];
        if let Some(constant) = constant {
            let constant = TensorProto { name: format!("{name}.constant"), ..constant };
            inputs.push(constant.name.clone());
            self.constants.push(constant);
        }
        self.last = format!("{name}.out");
        self.nodes.push(NodeProto {
            input: inputs,
            output: vec![self.last.clone()],
            name,
            op_type: op.to_owned(),
            attribute,
            ..NodeProto::default()
        });
    }

    /// A node with a number a channel, one number where all are equal; none where it would change nothing.
    fn arithmetic(
        &mut self,
        name: &str,
        op: &str,
        numbers: Vec<f32>,
        idle: f32,
    ) -> Result<(), String> {
        let same = |to: f32| numbers.iter().all(|x| x.to_bits() == to.to_bits());
        if let Some(odd) = numbers.iter().find(|x| !x.is_finite()) {
            return Err(format!(
                "the {name} of its preprocessing would be {odd}; check range, mean and std"
            ));
        }
        if same(idle) {
            return Ok(());
        }
        let (shape, numbers) = match numbers[..] {
            [first, ..] if same(first) => (vec![], vec![first]),
            _ => (vec![numbers.len(), 1, 1], numbers),
        };
        let constant = Tensor::new(shape, numbers).map(|t| float_tensor("", &t));
        self.node(name, op, constant, Vec::new());
        Ok(())
    }

    fn finish(mut self, graph: &mut GraphProto, layout: Layout) {
        for name in graph.node.iter_mut().flat_map(|n| &mut n.input).filter(|n| **n == self.input) {
            name.clone_from(&self.last);
        }
        if let (Layout::Nhwc, Some((_, dims))) = (layout, axes(graph)) {
            // The image's channels move to the front.
            dims[1..].rotate_right(1);
        }
        self.nodes.append(&mut graph.node);
        graph.node = self.nodes;
        graph.initializer.append(&mut self.constants);
    }
}

/// Metadata of a network of raw images. Where they are new they come first: the last entry of our files keeps its place.
fn describe_as_raw(model: &mut ModelProto, channels: usize) {
    let entries = &mut model.metadata_props;
    entries.retain(|e| ![FORMAT, RANGE].iter().any(|key| e.key.eq_ignore_ascii_case(key)));
    let format = match channels {
        1 => Some("Gray8"),
        3 => Some("Rgb8"),
        _ => None,
    };
    let new = [(FORMAT, format), (RANGE, Some(RAW_RANGE))];
    let new = new.into_iter().filter_map(|(key, value)| {
        Some(StringEntry { key: key.to_owned(), value: value?.to_owned() })
    });
    entries.splice(..0, new);
}
