//! What matters in a graph: where its logits are, and which layers sum it up.

use crate::graph::{Action, Graph, Node};
use crate::network::LayerId;

/// Up to so many layers with weights, all of them are landmarks.
const FEW: usize = 8;

/// Operators that turn logits into what is easier to read, and leave their order as it is.
const SQUASHING: [&str; 3] = ["Softmax", "LogSoftmax", "Sigmoid"];

/// Operators of one input that a block may end in, behind the sum of its branches.
const ACTIVATIONS: [&str; 14] = [
    "Clip",
    "Dropout",
    "Elu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "PRelu",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Tanh",
];

impl Graph {
    /// The layer before a last Softmax, LogSoftmax or Sigmoid, and that one: (logits, probabilities). The class is the same at
    /// both, but at the logits it does not saturate. `None` where the network ends in none of these.
    pub fn squashed_output(&self) -> Option<(LayerId, LayerId)> {
        let mut at = self.output();
        loop {
            let node = self.nodes().get(at.0)?;
            let before = self.maker(*node.inputs.first()?);
            if SQUASHING.contains(&node.operator.as_str()) {
                return Some((before?, at));
            }
            // Another shape over the same numbers may come last.
            at = before.filter(|_| matches!(node.action, Action::View))?;
        }
    }

    /// The layers that sum the network up, from input to output. All layers with weights, if there are at most eight. Else,
    /// from the first of these on, among the values that every path from input to output passes:
    ///
    /// - the outputs of blocks, where branches come together again (residual, dense and inception blocks), with the
    ///   activation behind;
    /// - the last value before each change of height and width;
    /// - behind those, the layers with weights;
    /// - the logits.
    pub fn landmarks(&self) -> Vec<LayerId> {
        let weights: Vec<LayerId> =
            self.layer_infos().iter().filter(|l| l.index.is_some()).map(|l| l.id).collect();
        let Some(&first) = weights.first().filter(|_| weights.len() > FEW) else { return weights };
        let passes: Vec<LayerId> =
            self.passes().into_iter().filter(|&layer| layer >= first).collect();
        let mut found = Vec::new();
        for (i, &at) in passes.iter().enumerate() {
            let behind = &passes[i + 1..];
            if self.branches(at) > 1 {
                let activations = behind.iter().take_while(|&&next| self.is_activation(next));
                found.push(activations.last().copied().unwrap_or(at));
            }
            if behind.first().is_some_and(|&next| self.sides(at) != self.sides(next)) {
                found.push(at);
            }
        }
        let last = found.last().copied();
        found.extend(weights.into_iter().filter(|id| Some(*id) > last && passes.contains(id)));
        found.push(self.squashed_output().map_or_else(|| self.output(), |(logits, _)| logits));
        found.sort_unstable();
        found.dedup();
        found
    }

    fn node(&self, layer: LayerId) -> &Node {
        &self.nodes()[layer.0]
    }

    /// The layer that makes `value`; `None` for the input.
    fn maker(&self, value: usize) -> Option<LayerId> {
        self.nodes().iter().position(|node| node.output == value).map(LayerId)
    }

    /// How many values that depend on the image a layer puts together.
    fn branches(&self, layer: LayerId) -> usize {
        let mut inputs = self.node(layer).inputs.clone();
        inputs.sort_unstable();
        inputs.dedup();
        inputs.len()
    }

    fn is_activation(&self, layer: LayerId) -> bool {
        self.branches(layer) == 1 && ACTIVATIONS.contains(&self.node(layer).operator.as_str())
    }

    /// Height and width of a representation; `None` where it has none, or is one pixel.
    fn sides(&self, layer: LayerId) -> Option<[usize; 2]> {
        match *self.layer_infos()[layer.0].shape.as_slice() {
            [_, height, width] if height * width > 1 => Some([height, width]),
            _ => None,
        }
    }

    /// The layers that every path from the input to the output passes, in their order.
    fn passes(&self) -> Vec<LayerId> {
        let (nodes, output) = (self.nodes(), self.output().0);
        // From the output backwards, so that what leads nowhere reads nothing: which node reads a value last.
        let mut last_reader = vec![None; self.values().len()];
        for (i, node) in nodes.iter().enumerate().rev() {
            if i == output || last_reader[node.output].is_some() {
                for &input in &node.inputs {
                    last_reader[input].get_or_insert(i);
                }
            }
        }
        let mut ending = vec![0; nodes.len()];
        for &reader in last_reader.iter().flatten() {
            ending[reader] += 1;
        }
        // Values that are still to be read; at first the input, value 0.
        let mut open = usize::from(last_reader[0].is_some());
        let mut found = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            let read = last_reader[node.output].is_some();
            open -= ending[i];
            if open == 0 && (read || i == output) {
                found.push(LayerId(i));
            }
            open += usize::from(read);
        }
        found
    }
}
