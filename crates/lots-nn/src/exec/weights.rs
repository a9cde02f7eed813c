//! Gradients of weights: one batch forward and back, every value kept.

use super::forward::{Forward, Passed};
use super::{Layout, ancestors, winner_pairs};
use crate::graph::{Action, Graph};
use crate::kernels::LANES;
use crate::ops::{Operator, Run};
use crate::parallel::map;
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
        let pool = pairs[i].filter(|&p| needed[p]);
        let Some(g) = gradients[node.output].take() else { continue };
        if trains(i) {
            let sizes = op_i.parameters().iter().map(|p| p.value.data().len()).collect::<Vec<_>>();
            let mut own: Vec<Vec<f32>> = sizes.into_iter().map(|n| vec![0.0; n]).collect();
            let inputs: Vec<&[f32]> = node
                .inputs
                .iter()
                .map(|&v| all.passed.values[values[v].root].as_deref().unwrap_or(&[]))
                .collect();
            op_i.weight_gradients(run, &inputs, &g, &mut own);
            result[i] = own;
        }
        // The winners' cotangents are read where they came out of the pooling, which is why they are still there.
        let from_pool = pool.and_then(|p| gradients[nodes[p].output].take());
        for (number, &v) in node.inputs.iter().enumerate() {
            let root = values[v].root;
            if !carries[root] {
                continue;
            }
            let size = values[root].elements() * LANES;
            let mut dx = Buffer::dirty(size * layout.groups);
            if op_i.joint() {
                op_i.vjp(run, number, all.passed.kept[i].group(0, 0), &g, &mut dx);
            } else {
                let serial = Run { parallel: false, ..run };
                let parts: Vec<(usize, &mut [f32])> =
                    dx.chunks_exact_mut(size).enumerate().collect();
                map(true, parts, |(group, dx)| {
                    let part = |g: &Buffer| {
                        let n = g.len() / layout.groups;
                        group * n..(group + 1) * n
                    };
                    let conv =
                        op_i.as_conv().zip(pool.and_then(|p| op(p)?.as_max_pool().map(|m| (p, m))));
                    match (conv, &from_pool) {
                        (Some((conv, (p, max_pool))), Some(pooled)) => {
                            let winners = all.passed.kept[p].group(group, LANES).bytes;
                            conv.vjp_winners(serial, max_pool, winners, &pooled[part(pooled)], dx);
                        }
                        _ => op_i.vjp(
                            serial,
                            number,
                            all.passed.kept[i].group(group, LANES),
                            &g[part(&g)],
                            dx,
                        ),
                    }
                });
            }
            match &mut gradients[root] {
                Some(sum) => sum.iter_mut().zip(dx.iter()).for_each(|(s, x)| *s += x),
                none => *none = Some(dx),
            }
        }
        if pairs.contains(&Some(i)) {
            gradients[node.output] = Some(g);
        }
    }
    result
}
