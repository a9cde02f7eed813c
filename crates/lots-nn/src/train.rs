//! Stochastic gradient descent as Caffe does it.

use crate::error::{Error, Result};
use crate::exec::{ForwardAll, weight_gradients};
use crate::graph::{Action, Graph};
use crate::kernels::{LANES, versioned};
use crate::network::check_images;
use crate::onnx;
use crate::parallel::{inside, map};
use crate::scratch::Buffer;
use ndarray::ArrayView4;

/// The hyperparameters of training. [`Recipe::default`] is Caffe's for LeNet.
///
/// Paper: section 5.1, Caffe's hyperparameters. Source: BVLC Caffe, examples/mnist (solver and network definition).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Images of one step.
    pub batch: usize,
    /// Learning rate of iteration 0; biases learn at twice the rate.
    pub base_rate: f64,
    /// Of the rate `base_rate · (1 + gamma·t)^−power` at iteration t.
    pub gamma: f64,
    /// See `gamma`.
    pub power: f64,
    /// Share of the last step that is taken again.
    pub momentum: f32,
    /// Pull of all weights and biases towards zero.
    pub weight_decay: f32,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            batch: 64,
            base_rate: 0.01,
            gamma: 1e-4,
            power: 0.75,
            momentum: 0.9,
            weight_decay: 5e-4,
        }
    }
}

impl Recipe {
    /// The learning rate of iteration `t`, counted from 0.
    pub fn rate(&self, t: u64) -> f64 {
        self.base_rate * (1.0 + self.gamma * t as f64).powf(-self.power)
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean cross-entropy over the batch before the step, in nats.
    pub loss: f32,
    /// Learning rate of the step.
    pub rate: f64,
}

/// A classifier in training: a graph with the state of its optimiser.
///
/// Weights and biases of Conv, Gemm and MatMul are trained; constants of Add and Mul are not: they are preprocessing.
#[derive(Debug)]
pub struct Trainer {
    graph: Graph,
    recipe: Recipe,
    iteration: u64,
    /// By node and parameter.
    momentum: Vec<Vec<Vec<f32>>>,
}

impl Trainer {
    /// Starts at iteration 0 with zero momentum.
    ///
    /// # Errors
    /// When the network has no weights, shares them between nodes, or its output is not one row of logits.
    pub fn new(mut graph: Graph, recipe: Recipe) -> Result<Self> {
        // Of the checkpoint that the graph was read from: they would be written beside the new ones.
        graph.drop_constants(|name| name.starts_with(MOMENTUM));
        let momentum: Vec<Vec<Vec<f32>>> = (0..graph.nodes().len())
            .map(|i| match &graph.nodes()[i].action {
                Action::Run(op) if trains(&graph, i) => {
                    op.parameters().iter().map(|p| vec![0.0; p.elements()]).collect()
                }
                _ => Vec::new(),
            })
            .collect();
        let refuse = |what: &str| {
            Err(Error::Model { network: graph.name().to_owned(), what: what.to_owned() })
        };
        if momentum.iter().all(Vec::is_empty) {
            return refuse("no Conv, Gemm or MatMul with weights to train");
        }
        if graph.layer_infos()[graph.output().0].shape.len() != 1 {
            return refuse(
                "its output is not one row of logits an image; training needs a classifier",
            );
        }
        let mut names: Vec<&String> = graph.nodes().iter().flat_map(|n| &n.parameters).collect();
        let trained = (0..graph.nodes().len()).filter(|&i| trains(&graph, i));
        let mut own = trained.flat_map(|i| &graph.nodes()[i].parameters);
        if let Some(name) = own.find(|n| graph.spare_constant(n).is_none()) {
            return refuse(&format!(
                "its weights \"{name}\" are computed from other constants; training needs them in the file"
            ));
        }
        names.sort();
        if names.windows(2).any(|w| w[0] == w[1]) {
            return refuse("two nodes share weights, which training does not support");
        }
        Ok(Self { graph, recipe, iteration: 0, momentum })
    }

    /// Continues from a file that [`Trainer::checkpoint`] wrote.
    ///
    /// # Errors
    /// As [`Trainer::new`], or when the file holds no state of training.
    pub fn resume(graph: Graph, recipe: Recipe) -> Result<Self> {
        let refuse = |what: &str| Error::Model {
            network: graph.name().to_owned(),
            what: format!("{what}; it is not a checkpoint of training: start training anew"),
        };
        let iteration =
            graph.metadata().find(|(k, _)| *k == ITERATION).map(|(_, v)| v.parse::<u64>());
        let Some(Ok(iteration)) = iteration else { return Err(refuse("no iteration is recorded")) };
        let mut found = Vec::new();
        for node in graph.nodes() {
            for name in &node.parameters {
                let tensor = graph.spare_constant(&momentum_name(name));
                let bytes = tensor.map(|t| t.raw_data.as_slice());
                found.push(bytes.map(|b| {
                    b.as_chunks::<4>()
                        .0
                        .iter()
                        .map(|b| f32::from_le_bytes(*b))
                        .collect::<Vec<f32>>()
                }));
            }
        }
        let mut found = found.into_iter();
        let missing = refuse("the momentum is missing or damaged");
        let parameters: Vec<usize> = graph.nodes().iter().map(|n| n.parameters.len()).collect();
        let mut trainer = Self::new(graph, recipe)?;
        trainer.iteration = iteration;
        for (own, count) in trainer.momentum.iter_mut().zip(parameters) {
            let mut given: Vec<Option<Vec<f32>>> = found.by_ref().take(count).collect();
            for (own, given) in own.iter_mut().zip(&mut given) {
                match given.take() {
                    Some(given) if given.len() == own.len() => *own = given,
                    _ => return Err(missing),
                }
            }
        }
        Ok(trainer)
    }

    /// The network as it is now.
    pub fn network(&self) -> &Graph {
        &self.graph
    }

    /// Ends training.
    pub fn into_network(self) -> Graph {
        self.graph
    }

    /// Steps taken so far.
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// One step on `images` [N, channels, height, width] with their classes.
    ///
    /// The same bytes come out whatever the number of threads.
    ///
    /// # Errors
    /// When the images do not fit the network, there is not one label an image, or a label is beyond the logits.
    pub fn step(&mut self, images: ArrayView4<'_, f32>, labels: &[u8]) -> Result<StepReport> {
        check_images(self.graph.input_spec(), &images)?;
        let classes = self.graph.layer_infos()[self.graph.output().0].shape[0];
        let count = images.len_of(ndarray::Axis(0));
        if count != labels.len() || count == 0 {
            return Err(Error::Request(format!(
                "{count} images with {} labels; wanted as many of both",
                labels.len()
            )));
        }
        if let Some(label) = labels.iter().find(|&&l| usize::from(l) >= classes) {
            return Err(Error::Request(format!(
                "label {label}, but {} has {classes} classes",
                self.graph.name()
            )));
        }
        Ok(inside(|| self.descend(&images, labels, classes)))
    }

    /// The step itself, on checked images and labels.
    fn descend(
        &mut self,
        images: &ArrayView4<'_, f32>,
        labels: &[u8],
        classes: usize,
    ) -> StepReport {
        let count = labels.len();
        let forward = ForwardAll::new(&self.graph, images);
        let mut cotangent = Buffer::zeroed(count.next_multiple_of(LANES) * classes);
        let loss = cross_entropy(forward.output(&self.graph), classes, labels, &mut cotangent);
        let gradients =
            weight_gradients(&self.graph, &forward, cotangent, |i| trains(&self.graph, i));
        let rate = self.recipe.rate(self.iteration);
        let isa = self.graph.isa();
        let Recipe { momentum, weight_decay, .. } = self.recipe;
        let nodes = self.graph.nodes_mut().iter_mut();
        for ((node, speeds), gradients) in nodes.zip(&mut self.momentum).zip(&gradients) {
            let Action::Run(op) = &mut node.action else { continue };
            for (at, (speed, gradient)) in speeds.iter_mut().zip(gradients).enumerate() {
                let faster = if op.parameters()[at].role == "bias" { 2.0 } else { 1.0 };
                let rate = (rate * faster) as f32;
                let weights = op.parameter_mut(at).chunks_mut(CHUNK);
                let parts =
                    gradient.chunks(CHUNK).zip(speed.chunks_mut(CHUNK)).zip(weights).collect();
                map(true, parts, |((gradient, speed), w)| {
                    descend(isa, rate, momentum, weight_decay, gradient, speed, w);
                });
            }
            if !gradients.is_empty() {
                op.refresh(true);
            }
        }
        self.iteration += 1;
        StepReport { loss, rate }
    }

    /// The network and the state of its training as one ONNX file, with `metadata` (key, value) added.
    pub fn checkpoint(&self, metadata: &[(String, String)]) -> Vec<u8> {
        let mut extra = Vec::new();
        for (node, momentum) in self.graph.nodes().iter().zip(&self.momentum) {
            let Action::Run(op) = &node.action else { continue };
            for ((name, p), values) in node.parameters.iter().zip(op.parameters()).zip(momentum) {
                let dims = p.shape.iter().map(|&d| d as i64).collect();
                extra.push(onnx::floats(&momentum_name(name), dims, values));
            }
        }
        let mut all = vec![(ITERATION.to_owned(), self.iteration.to_string())];
        all.extend_from_slice(metadata);
        self.graph.to_onnx_with(Some(&self.metadata(all)), extra)
    }

    /// The trained network as an ONNX file, with `metadata` (key, value) added.
    pub fn finished(&self, metadata: &[(String, String)]) -> Vec<u8> {
        self.graph.to_onnx_with(Some(&self.metadata(metadata.to_vec())), Vec::new())
    }

    /// What the network's file said of itself, less what an earlier training said, with `added` and the mark of the end.
    fn metadata(&self, added: Vec<(String, String)>) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = self
            .graph
            .metadata()
            .filter(|(k, _)| !k.starts_with("lots.") && added.iter().all(|(new, _)| new != k))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        all.extend(added);
        all.push((onnx::LAST_KEY.to_owned(), "yes".to_owned()));
        all
    }
}

/// Weights that one thread updates at a time.
const CHUNK: usize = 1 << 15;

const ITERATION: &str = "lots.training.iteration";
/// What the names of constants with momentum begin with.
const MOMENTUM: &str = "lots.momentum.";

fn momentum_name(parameter: &str) -> String {
    format!("{MOMENTUM}{parameter}")
}

/// Whether the parameters of node `i` are trained.
fn trains(graph: &Graph, i: usize) -> bool {
    graph.nodes()[i].index.is_some()
}

/// Mean cross-entropy of softmax(logits) over the labelled images; `cotangent` becomes its gradient in the logits.
///
/// Both are `[group][class][lane]`; lanes without an image stay zero.
fn cross_entropy(logits: &[f32], classes: usize, labels: &[u8], cotangent: &mut [f32]) -> f32 {
    let mut total = 0.0f64;
    for (i, &label) in labels.iter().enumerate() {
        let at = |class: usize| (i / LANES * classes + class) * LANES + i % LANES;
        let top = (0..classes).map(|c| logits[at(c)]).fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = (0..classes).map(|c| (logits[at(c)] - top).exp()).sum();
        total += f64::from(sum.ln() - (logits[at(label.into())] - top));
        for c in 0..classes {
            let p = (logits[at(c)] - top).exp() / sum;
            let hit = f32::from(c == usize::from(label));
            cotangent[at(c)] = (p - hit) / labels.len() as f32;
        }
    }
    (total / labels.len() as f64) as f32
}

versioned! {
    /// `speed = momentum·speed + rate·(gradient + decay·w); w -= speed`.
    fn descend(rate: f32, momentum: f32, decay: f32, gradient: &[f32], speed: &mut [f32], w: &mut [f32]) {
        for ((g, v), w) in gradient.iter().zip(speed).zip(w) {
            *v = momentum * *v + rate * (g + decay * *w);
            *w -= *v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Recipe;

    /// Oracle: the rates that Caffe logs when it trains LeNet, to their six digits.
    #[test]
    fn rates_are_those_that_caffe_logs() {
        for (t, logged) in [(0, 0.01), (100, 0.00992565), (9900, 0.00596843)] {
            let found = Recipe::default().rate(t);
            assert!((found - logged).abs() < 5e-9, "iteration {t}: {found}, Caffe logs {logged}");
        }
    }
}
