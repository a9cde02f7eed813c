//! Gradients of weights: one batch forward and back, every value kept.

use super::forward::{Forward, Passed};
use super::{Layout, Segment, ancestors, segments, winner_pairs};
use crate::graph::Graph;
use crate::kernels::LANES;
use crate::network::ReluRule;
use crate::ops::{Kept, Operator, Run};
use crate::parallel::{map, worth};
use crate::scratch::Buffer;
use ndarray::ArrayView4;

/// A batch that went forward with everything kept.
pub(crate) struct ForwardAll {
    passed: Passed,
}

impl ForwardAll {
    /// Runs `images`, sixteen abreast whatever their number, so that sums over them are always made alike.
    pub(crate) fn new(graph: &Graph, images: &ArrayView4<'_, f32>) -> Self {
        let layout = Layout::new(images.len_of(ndarray::Axis(0)), LANES);
        let forward = Forward::new(graph, &[graph.output()], true, true);
        Self { passed: forward.run(images, 0, layout, true) }
    }

    /// The network's outputs, `[group][element][lane]`.
    pub(crate) fn output(&self, graph: &Graph) -> &[f32] {
        let root = graph.values()[graph.nodes()[graph.output().0].output].root;
        self.passed.values[root].as_deref().unwrap_or(&[])
    }
}

/// The gradient of each parameter of each node that `trains` says, for `cotangent` at the network's output.
///
/// Between matrix products each group of images goes back on its own and sums its own gradients; the groups' sums are
/// added in their order, so that the number of threads changes nothing.
pub(crate) fn weight_gradients(
    graph: &Graph,
    all: &ForwardAll,
    cotangent: Buffer,
    trains: impl Fn(usize) -> bool,
) -> Vec<Vec<Vec<f32>>> {
    let (nodes, values) = (graph.nodes(), graph.values());
    let last = graph.output().0;
    let needed = ancestors(graph, &[last]);
    let trains: Vec<bool> = (0..nodes.len()).map(|i| needed[i] && trains(i)).collect();
    // A node's input needs a cotangent when some trained node lies before it.
    let mut carries = vec![false; values.len()];
    for (i, node) in nodes.iter().enumerate() {
        let before = node.inputs.iter().any(|&v| carries[values[v].root]);
        carries[values[node.output].root] |= before || trains[i];
    }
    let segments = segments(nodes, |i| needed[i]);
    let pairs = winner_pairs(graph, &segments);
    let back = Back { graph, passed: &all.passed, pairs, trains, carries };
    let mut gradients: Vec<Option<Buffer>> = Vec::new();
    gradients.resize_with(values.len(), || None);
    gradients[values[nodes[last].output].root] = Some(cotangent);
    let mut result: Vec<Vec<Vec<f32>>> = vec![Vec::new(); nodes.len()];
    for segment in segments.iter().rev() {
        match segment {
            Segment::Joint(i, op) => back.joint(*i, *op, &mut gradients, &mut result),
            Segment::Local(ops) => back.local(ops, &mut gradients, &mut result),
        }
    }
    result
}

/// What going back needs to know.
struct Back<'g> {
    graph: &'g Graph,
    passed: &'g Passed,
    pairs: Vec<Option<usize>>,
    trains: Vec<bool>,
    carries: Vec<bool>,
}

/// Cotangents by root value, and gradients by node.
#[derive(Default)]
struct Found {
    cotangents: Vec<(usize, Buffer)>,
    weights: Vec<(usize, Vec<Vec<f32>>)>,
}

impl Back<'_> {
    fn run(&self, parallel: bool) -> Run {
        Run { isa: self.graph.isa(), parallel, lanes: LANES, relu: ReluRule::Slope, first: 0 }
    }

    /// Zeros for the gradient of each parameter of `op`.
    fn zeros(op: &dyn Operator) -> Vec<Vec<f32>> {
        op.parameters().iter().map(|p| vec![0.0; p.elements()]).collect()
    }

    /// One matrix product, all groups at once.
    fn joint(
        &self,
        i: usize,
        op: &dyn Operator,
        gradients: &mut [Option<Buffer>],
        result: &mut [Vec<Vec<f32>>],
    ) {
        let (node, values) = (&self.graph.nodes()[i], self.graph.values());
        let Some(g) = gradients[node.output].take() else { return };
        let root = values[node.inputs[0]].root;
        if self.trains[i] {
            result[i] = Self::zeros(op);
            let input = self.passed.values[root].as_deref().unwrap_or(&[]);
            op.weight_gradients(self.run(true), &[input], &g, &mut result[i]);
        }
        if self.carries[root] {
            let size = values[root].elements() * LANES * self.passed.layout.groups;
            let mut dx = Buffer::dirty(size);
            op.vjp(self.run(true), 0, Kept::default(), &g, &mut dx);
            add(&mut gradients[root], dx);
        }
    }

    /// One segment, each group of images on its own.
    fn local(
        &self,
        ops: &[(usize, &dyn Operator)],
        gradients: &mut [Option<Buffer>],
        result: &mut [Vec<Vec<f32>>],
    ) {
        let (nodes, values) = (self.graph.nodes(), self.graph.values());
        let groups = self.passed.layout.groups;
        let made: Vec<(usize, Buffer)> = ops
            .iter()
            .filter_map(|(i, _)| gradients[nodes[*i].output].take().map(|g| (nodes[*i].output, g)))
            .collect();
        let work: usize = ops.iter().map(|(i, _)| values[nodes[*i].output].elements()).sum();
        let split = worth(work * LANES * groups);
        let parts = map(split, (0..groups).collect(), |group| self.group(ops, group, &made));
        for part in &parts {
            for (i, weights) in &part.weights {
                if result[*i].is_empty() {
                    result[*i].clone_from(weights);
                    continue;
                }
                for (sum, part) in result[*i].iter_mut().zip(weights) {
                    sum.iter_mut().zip(part).for_each(|(s, x)| *s += x);
                }
            }
        }
        // What left the segment, group behind group.
        let left: Vec<usize> = parts[0].cotangents.iter().map(|(root, _)| *root).collect();
        for (at, root) in left.into_iter().enumerate() {
            let size = values[root].elements() * LANES;
            let mut whole = Buffer::dirty(size * groups);
            for (to, part) in whole.chunks_exact_mut(size).zip(&parts) {
                to.copy_from_slice(&part.cotangents[at].1);
            }
            add(&mut gradients[root], whole);
        }
    }

    /// One group back through a segment; what is left of cotangents belongs to values made before it.
    fn group(
        &self,
        ops: &[(usize, &dyn Operator)],
        group: usize,
        made: &[(usize, Buffer)],
    ) -> Found {
        let (nodes, values, run) = (self.graph.nodes(), self.graph.values(), self.run(false));
        let part = |buffer: &Buffer| {
            let size = buffer.len() / self.passed.layout.groups;
            let mut own = Buffer::dirty(size);
            own.copy_from_slice(&buffer[group * size..][..size]);
            own
        };
        let mut found = Found::default();
        let mut open: Vec<Option<Buffer>> = Vec::new();
        open.resize_with(values.len(), || None);
        for (root, buffer) in made {
            open[*root] = Some(part(buffer));
        }
        for &(i, op) in ops.iter().rev() {
            // A convolution that takes the winners of a max pooling takes its cotangent too.
            if self.pairs.contains(&Some(i)) {
                continue;
            }
            let node = &nodes[i];
            let pool =
                self.pairs[i].and_then(|p| Some((p, nodes[p].action.operator()?.as_max_pool()?)));
            let winners = pool.zip(op.as_conv());
            let output = winners.map_or(node.output, |((p, _), _)| nodes[p].output);
            let Some(g) = open[output].take() else { continue };
            let kept = |i: usize| self.passed.kept[i].group(group, LANES);
            if self.trains[i] {
                let input = |v: usize| -> &[f32] {
                    let root = values[v].root;
                    let size = values[root].elements() * LANES;
                    self.passed.values[root].as_ref().map_or(&[], |b| &b[group * size..][..size])
                };
                let inputs: Vec<&[f32]> = node.inputs.iter().map(|&v| input(v)).collect();
                let mut own = Self::zeros(op);
                match winners {
                    Some(((p, pool), conv)) => {
                        conv.winner_weight_gradients(
                            run,
                            pool,
                            inputs[0],
                            kept(p).bytes,
                            &g,
                            &mut own,
                        );
                    }
                    None => op.weight_gradients(run, &inputs, &g, &mut own),
                }
                found.weights.push((i, own));
            }
            for (number, &v) in node.inputs.iter().enumerate() {
                let root = values[v].root;
                if !self.carries[root] {
                    continue;
                }
                let mut dx = Buffer::dirty(values[root].elements() * LANES);
                match winners {
                    Some(((p, pool), conv)) => {
                        conv.vjp_winners(run, pool, kept(p).bytes, &g, &mut dx)
                    }
                    None => op.vjp(run, number, kept(i), &g, &mut dx),
                }
                add(&mut open[root], dx);
            }
        }
        let left = open.into_iter().enumerate().filter_map(|(root, g)| g.map(|g| (root, g)));
        found.cotangents = left.collect();
        found
    }
}

/// Adds `more` to a cotangent.
fn add(sum: &mut Option<Buffer>, more: Buffer) {
    match sum {
        Some(sum) => sum.iter_mut().zip(more.iter()).for_each(|(s, x)| *s += x),
        None => *sum = Some(more),
    }
}
