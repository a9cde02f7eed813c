//! Runs a graph over blocks of images.
//!
//! A block goes through the network as a whole, inside one thread, so that its activations stay in the cache; blocks run
//! in parallel. Where there are fewer blocks than threads, the work inside a block is split instead. Nodes are run in
//! segments: between matrix products, which take all groups of a block at once, each group of sixteen images goes
//! through all operators before the next group starts.

mod backward;
mod chain;
mod forward;
mod split;
mod trace;
mod weights;

pub(crate) use backward::Sweep;
pub(crate) use weights::{ForwardAll, weight_gradients};

use crate::graph::{Graph, Node};
use crate::kernels::LANES;
use crate::ops::Operator;
use crate::ops::conv::Conv;
use crate::parallel::threads;

/// How a run of images is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) images: usize,
    pub(crate) lanes: usize,
    pub(crate) groups: usize,
}

impl Layout {
    /// The layout of `images` images that lie `lanes` abreast.
    pub(crate) fn new(images: usize, lanes: usize) -> Self {
        Self { images, lanes, groups: images.div_ceil(lanes) }
    }
}

/// From this many images on, sixteen lanes are used even if not all are filled.
const FEW: usize = 5;
/// Images of one block.
const BLOCK: usize = 64;
/// Largest value of one image, in elements, that is run sixteen abreast.
const LARGE: usize = 1 << 18;

/// Elements of the largest value of one image.
pub(crate) fn largest(graph: &Graph) -> usize {
    graph.values().iter().map(crate::graph::Value::elements).max().unwrap_or(0)
}

/// Cuts `n` images or rows into blocks: (first, layout).
pub(crate) fn blocks(graph: &Graph, n: usize) -> Vec<(usize, Layout)> {
    let largest = largest(graph);
    let lanes = if n < FEW || largest > LARGE { 1 } else { LANES };
    let size = match (lanes, largest) {
        (1, 0..=LARGE) => FEW,
        (1, _) => 1,
        (_, 0..65_536) => BLOCK,
        _ => LANES,
    };
    (0..n).step_by(size).map(|first| (first, Layout::new(size.min(n - first), lanes))).collect()
}

/// Whether `blocks` blocks are too few to keep all threads busy, so that work is split inside them.
pub(crate) fn split_inside(blocks: usize) -> bool {
    blocks < threads()
}

/// Consecutive nodes that are run together.
#[derive(Debug)]
pub(crate) enum Segment<'g> {
    /// A matrix product over all groups.
    Joint(usize, &'g dyn Operator),
    /// Operators that each group goes through on its own.
    Local(Vec<(usize, &'g dyn Operator)>),
}

/// The nodes that `wanted` says, less views, in order, as segments.
pub(crate) fn segments<'g>(nodes: &'g [Node], wanted: impl Fn(usize) -> bool) -> Vec<Segment<'g>> {
    let mut all: Vec<Segment<'g>> = Vec::new();
    for (i, node) in nodes.iter().enumerate().filter(|(i, _)| wanted(*i)) {
        let Some(op) = node.action.operator() else { continue };
        match all.last_mut() {
            _ if op.joint() => all.push(Segment::Joint(i, op)),
            Some(Segment::Local(ops)) => ops.push((i, op)),
            _ => all.push(Segment::Local(vec![(i, op)])),
        }
    }
    all
}

/// Which nodes the value of node `last` depends on, itself included.
pub(crate) fn ancestors(graph: &Graph, last: &[usize]) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes().len()];
    let mut producer = vec![None; graph.values().len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        producer[node.output] = Some(i);
    }
    for &i in last {
        needed[i] = true;
    }
    for i in (0..needed.len()).rev() {
        if needed[i] {
            for p in graph.nodes()[i].inputs.iter().filter_map(|&v| producer[v]) {
                needed[p] = true;
            }
        }
    }
    needed
}

/// Convolutions whose only reader is a max pooling, and that take the cotangents of its winners: `pairs[conv] =
/// Some(pool)`.
///
/// Both must lie in one segment: between segments cotangents lie where the pooling's input is.
pub(crate) fn winner_pairs(graph: &Graph, segments: &[Segment<'_>]) -> Vec<Option<usize>> {
    let (nodes, values) = (graph.nodes(), graph.values());
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); values.len()];
    for (i, node) in nodes.iter().enumerate().filter(|(_, n)| n.action.operator().is_some()) {
        for &v in &node.inputs {
            consumers[values[v].root].push(i);
        }
    }
    let mut pairs = vec![None; nodes.len()];
    for segment in segments {
        let Segment::Local(ops) = segment else { continue };
        for (i, op) in ops {
            let &[next] = consumers[nodes[*i].output].as_slice() else { continue };
            // A view in between may give the pooling another geometry.
            let same = values[nodes[next].inputs[0]].shape == values[nodes[*i].output].shape;
            let pool = ops.iter().find(|(p, op)| same && *p == next && op.as_max_pool().is_some());
            if op.as_conv().is_some_and(Conv::takes_winners) && pool.is_some() {
                pairs[*i] = Some(next);
            }
        }
    }
    pairs
}
