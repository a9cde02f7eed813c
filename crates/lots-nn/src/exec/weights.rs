//! Gradients of weights: one batch forward and back, every value kept.

use super::forward::{Forward, Passed};
use super::{Layout, ancestors, winner_pairs};
use crate::graph::{Action, Graph};
use crate::kernels::LANES;
use crate::ops::{Kept, Operator, Run};
use crate::parallel::for_each_chunk;
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
pub(crate) fn weight_gradients(
    graph: &Graph,
    all: &ForwardAll,
    cotangent: Buffer,
    trains: impl Fn(usize) -> bool,
) -> Vec<Vec<Vec<f32>>> {
    let (nodes, values, layout) = (graph.nodes(), graph.values(), all.passed.layout);
    let run = Run { isa: graph.isa(), parallel: true, lanes: LANES };
    let op = |i: usize| -> Option<&dyn Operator> {
        match &nodes[i].action {
            Action::Run(op) => Some(op.as_ref()),
            Action::View => None,
        }
    };
    let last = graph.output().0;
    let needed = ancestors(graph, &[last]);
    let pairs = winner_pairs(graph);
    // A node's input needs a cotangent when some trained node lies before it.
    let mut carries = vec![false; values.len()];
    for (i, node) in nodes.iter().enumerate() {
        let before = node.inputs.iter().any(|&v| carries[values[v].root]);
        carries[values[node.output].root] |= before || trains(i);
    }
    let mut gradients: Vec<Option<Buffer>> = Vec::new();
    gradients.resize_with(values.len(), || None);
    gradients[values[nodes[last].output].root] = Some(cotangent);
    let mut result: Vec<Vec<Vec<f32>>> = vec![Vec::new(); nodes.len()];
    for i in (0..nodes.len()).rev().filter(|&i| needed[i]) {
        let (Some(op_i), node) = (op(i), &nodes[i]) else { continue };
        // A convolution that takes the winners of a max pooling takes its cotangent too.
        if pairs.contains(&Some(i)) {
            continue;
        }
        let pool = pairs[i].filter(|&p| needed[p]);
        let winners = pool.and_then(|p| op(p)?.as_max_pool().map(|m| (p, m))).zip(op_i.as_conv());
        let Some(g) = gradients[pool.map_or(node.output, |p| nodes[p].output)].take() else {
            continue;
        };
        if trains(i) {
            let sizes = op_i.parameters().iter().map(|p| p.value.data().len()).collect::<Vec<_>>();
            let mut own: Vec<Vec<f32>> = sizes.into_iter().map(|n| vec![0.0; n]).collect();
            let value = |v: usize| all.passed.values[values[v].root].as_deref().unwrap_or(&[]);
            let inputs: Vec<&[f32]> = node.inputs.iter().map(|&v| value(v)).collect();
            match winners {
                Some(((p, pool), conv)) => {
                    let kept = &all.passed.kept[p].bytes;
                    conv.winner_weight_gradients(run, pool, inputs[0], kept, &g, &mut own);
                }
                None => op_i.weight_gradients(run, &inputs, &g, &mut own),
            }
            result[i] = own;
        }
        for (number, &v) in node.inputs.iter().enumerate() {
            let root = values[v].root;
            if !carries[root] {
                continue;
            }
            let size = values[root].elements() * LANES;
            let mut dx = Buffer::dirty(size * layout.groups);
            if op_i.joint() {
                op_i.vjp(run, number, Kept::default(), &g, &mut dx);
            } else {
                let serial = Run { parallel: false, ..run };
                let part = g.len() / layout.groups;
                for_each_chunk(true, &mut dx, size, |group, dx| {
                    let g = &g[group * part..][..part];
                    let kept = |i: usize| all.passed.kept[i].group(group, LANES);
                    match winners {
                        Some(((p, pool), conv)) => {
                            conv.vjp_winners(serial, pool, kept(p).bytes, g, dx)
                        }
                        None => op_i.vjp(serial, number, kept(i), g, dx),
                    }
                });
            }
            match &mut gradients[root] {
                Some(sum) => sum.iter_mut().zip(dx.iter()).for_each(|(s, x)| *s += x),
                none => *none = Some(dx),
            }
        }
    }
    result
}
