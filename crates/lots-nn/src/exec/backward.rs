//! Many cotangents back to the input.

use super::chain::{BackStep, Place, Replacement, Span};
use super::forward::{KeptBlock, Passed, gather, lay_abreast};
use super::{Layout, Segment, ancestors, chain, segments, split, winner_pairs};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::network::{Cotangent, LayerId, ReluRule};
use crate::ops::{Kept, Operator, Run};
use crate::parallel::{WORTH, for_each_chunk, map, worth};
use crate::scratch::Buffer;
use crate::shared::Shared;

/// A plan that sends cotangents from one layer back to the input.
pub(crate) struct Sweep<'g> {
    graph: &'g Graph,
    layer: usize,
    relu: ReluRule,
    segments: Vec<Segment<'g>>,
    /// By node: the max pooling whose winners a convolution takes.
    pairs: Vec<Option<usize>>,
    /// Values whose cotangent crosses from one segment to another.
    crossing: Vec<bool>,
}

/// Where the image behind a lane of a block of rows was traced.
#[derive(Clone, Copy)]
struct Source<'t> {
    block: &'t Passed,
    group: usize,
    lane: usize,
}

impl<'g> Sweep<'g> {
    /// A plan for cotangents at `layer`.
    ///
    /// # Errors
    /// When `relu` is not defined for an activation function on the way.
    pub(crate) fn new(graph: &'g Graph, layer: LayerId, relu: ReluRule) -> Result<Self> {
        let (nodes, values) = (graph.nodes(), graph.values());
        let needed = ancestors(graph, &[layer.0]);
        if relu != ReluRule::Slope {
            check_activations(graph, layer, &needed)?;
        }
        let root = values[nodes[layer.0].output].root;
        let segments = segments(nodes, |i| needed[i]);
        let mut pairs = winner_pairs(graph, &segments);
        for (conv, pair) in pairs.iter_mut().enumerate() {
            // Cotangents that start at the convolution itself are dense.
            if nodes[conv].output == root {
                *pair = None;
            }
        }
        let mut home = vec![usize::MAX; values.len()];
        let mut crossing = vec![false; values.len()];
        for (s, segment) in segments.iter().enumerate() {
            let mut visit = |i: usize, joint: bool| {
                home[nodes[i].output] = s;
                crossing[nodes[i].output] |= joint;
                for root in nodes[i].inputs.iter().map(|&v| values[v].root) {
                    crossing[root] |= joint || home[root] != s;
                }
            };
            match segment {
                Segment::Joint(i, _) => visit(*i, true),
                Segment::Local(ops) => ops.iter().for_each(|(i, _)| visit(*i, false)),
            }
        }
        crossing[root] = true;
        Ok(Self { graph, layer: root, relu, segments, pairs, crossing })
    }

    /// Sends one block of rows back; the result is [row][element].
    pub(crate) fn run(
        &self,
        passed: &[Passed],
        block_size: usize,
        rows: &[Cotangent<'_>],
        layout: Layout,
        parallel: bool,
    ) -> Vec<f32> {
        let values = self.graph.values();
        let run =
            Run { isa: self.graph.isa(), parallel, lanes: layout.lanes, relu: self.relu, first: 0 };
        let lanes = layout.lanes;
        let sources: Vec<Source<'_>> = (0..lanes * layout.groups)
            .map(|at| {
                let image = rows[at.min(rows.len() - 1)].image;
                let block = &passed[image / block_size];
                let within = image % block_size;
                Source {
                    block,
                    group: within / block.layout.lanes,
                    lane: within % block.layout.lanes,
                }
            })
            .collect();
        let mut gradients: Vec<Option<Buffer>> = Vec::new();
        gradients.resize_with(values.len(), || None);
        let elements = values[self.layer].elements();
        let mut start = Buffer::zeroed(elements * lanes * layout.groups);
        for (rows, group) in rows.chunks(lanes).zip(start.chunks_exact_mut(elements * lanes)) {
            let rows: Vec<&[f32]> = rows.iter().map(|row| row.values).collect();
            lay_abreast(run, &rows, group);
        }
        gradients[self.layer] = Some(start);
        for segment in self.segments.iter().rev() {
            match segment {
                Segment::Joint(i, op) => self.joint(*i, *op, run, layout, &mut gradients),
                Segment::Local(ops) => self.local(ops, run, layout, &sources, &mut gradients),
            }
        }
        let elements = values[0].elements();
        let mut out = vec![0.0; rows.len() * elements];
        if let Some(input) = &gradients[0] {
            for_each_chunk(parallel && worth(input.len()), &mut out, elements, |at, row| {
                let group = &input[at / lanes * elements * lanes..][..elements * lanes];
                gather(run.isa, group, at % lanes, lanes, row);
            });
        }
        out
    }

    fn joint(
        &self,
        i: usize,
        op: &dyn Operator,
        run: Run,
        layout: Layout,
        gradients: &mut [Option<Buffer>],
    ) {
        let (node, values) = (&self.graph.nodes()[i], self.graph.values());
        let Some(g) = gradients[node.output].take() else { return };
        let root = values[node.inputs[0]].root;
        let mut dx = Buffer::dirty(values[root].elements() * layout.lanes * layout.groups);
        op.vjp(run, 0, Kept::default(), &g, &mut dx);
        match &mut gradients[root] {
            Some(sum) => split::add_to(run, sum, &dx),
            none => *none = Some(dx),
        }
    }

    /// One segment backward, group by group.
    fn local(
        &self,
        ops: &[(usize, &dyn Operator)],
        run: Run,
        layout: Layout,
        sources: &[Source<'_>],
        gradients: &mut [Option<Buffer>],
    ) {
        let (nodes, values, lanes) = (self.graph.nodes(), self.graph.values(), layout.lanes);
        let mut roots: Vec<usize> = ops
            .iter()
            .flat_map(|(i, _)| {
                nodes[*i].inputs.iter().map(|&v| values[v].root).chain([nodes[*i].output])
            })
            .filter(|&root| self.crossing[root])
            .collect();
        roots.sort_unstable();
        roots.dedup();
        // Crossing cotangents that later segments already added to, and fresh ones.
        let mut open: Vec<(usize, Buffer, bool)> = roots
            .into_iter()
            .map(|root| match gradients[root].take() {
                Some(buffer) => (root, buffer, true),
                None => {
                    (root, Buffer::dirty(values[root].elements() * lanes * layout.groups), false)
                }
            })
            .collect();
        let mut groups: Vec<Vec<Slot<'_>>> = (0..layout.groups).map(|_| Vec::new()).collect();
        for (root, buffer, filled) in &mut open {
            let size = values[*root].elements() * lanes;
            for (group, part) in groups.iter_mut().zip(buffer.chunks_exact_mut(size)) {
                group.push(Slot { root: *root, memory: Memory::Part(part), filled: *filled });
            }
        }
        let split = run.parallel && layout.groups > 1;
        let run = Run { parallel: run.parallel && !split, ..run };
        let work: Vec<(usize, Vec<Slot<'_>>)> = groups.into_iter().enumerate().collect();
        let filled = map(split, work, |(group, mut slots)| {
            let sources = &sources[group * lanes..][..lanes];
            let mut end = ops.len();
            while end > 0 {
                let chain = chain::length_back(self.graph, &ops[..end]);
                let now = &ops[end - chain.max(1)..end];
                if chain > 0 {
                    self.chain(now, run, sources, &mut slots);
                } else {
                    self.node(now[0], run, sources, &mut slots);
                }
                end -= now.len();
            }
            slots.into_iter().filter(|s| s.filled).map(|s| s.root).collect::<Vec<_>>()
        });
        for (root, buffer, _) in open {
            let consumed = ops.iter().any(|(i, _)| nodes[*i].output == root);
            if !consumed && filled.first().is_some_and(|f| f.contains(&root)) {
                gradients[root] = Some(buffer);
            }
        }
    }

    /// One node backward for one group: takes the cotangent at its output, adds to those at its inputs.
    fn node(
        &self,
        (i, op): (usize, &dyn Operator),
        run: Run,
        sources: &[Source<'_>],
        slots: &mut Vec<Slot<'_>>,
    ) {
        let (nodes, values) = (self.graph.nodes(), self.graph.values());
        let node = &nodes[i];
        // A max pooling whose convolution takes the winners passes its cotangent on as it is.
        if self.pairs.contains(&Some(i)) {
            return;
        }
        let pool = self.pairs[i];
        let max_pool = pool.and_then(|p| nodes[p].action.operator()?.as_max_pool());
        let output = pool.map_or(node.output, |p| nodes[p].output);
        let Some(at) = slots.iter().position(|s| s.root == output && s.filled) else { return };
        let g = slots.swap_remove(at);
        let mut kept_memory = KeptBlock::default();
        let kept = kept_of(pool.unwrap_or(i), sources, run.lanes, &mut kept_memory);
        for (number, &v) in node.inputs.iter().enumerate() {
            let root = values[v].root;
            let size = values[root].elements() * run.lanes;
            let at = slots.iter().position(|s| s.root == root).unwrap_or_else(|| {
                slots.push(Slot { root, memory: Memory::Own(Buffer::dirty(size)), filled: false });
                slots.len() - 1
            });
            let slot = &mut slots[at];
            let vjp = |dx: &mut [f32]| match max_pool.zip(op.as_conv()) {
                Some((pool, conv)) => conv.vjp_winners(run, pool, kept.bytes, g.memory.get(), dx),
                None => split::vjp(op, run, number, kept, g.memory.get(), dx),
            };
            if slot.filled {
                let mut more = Buffer::dirty(size);
                vjp(&mut more);
                split::add_to(run, slot.memory.get_mut(), &more);
            } else {
                vjp(slot.memory.get_mut());
                slot.filled = true;
            }
        }
    }

    /// A chain of operators backward for one group, as [`Sweep::node`].
    fn chain(
        &self,
        ops: &[(usize, &dyn Operator)],
        run: Run,
        sources: &[Source<'_>],
        slots: &mut Vec<Slot<'_>>,
    ) {
        let (nodes, values) = (self.graph.nodes(), self.graph.values());
        let made = |root: usize| ops.iter().any(|(i, _)| nodes[*i].output == root);
        // Cotangents that come into being and are used up in the chain are pieces; the others have a slot, or need one.
        let (mut pieces, mut needed): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut filled: Vec<usize> = slots.iter().filter(|s| s.filled).map(|s| s.root).collect();
        let mut plan: Vec<(usize, &dyn Operator, usize, usize, bool)> = Vec::new();
        for &(i, op) in ops.iter().rev() {
            if !filled.contains(&nodes[i].output) {
                continue;
            }
            for (input, &v) in nodes[i].inputs.iter().enumerate() {
                let root = values[v].root;
                plan.push((i, op, input, root, filled.contains(&root)));
                if filled.contains(&root) {
                    continue;
                }
                filled.push(root);
                if slots.iter().all(|s| s.root != root) {
                    if made(root) { pieces.push(root) } else { needed.push(root) }
                }
            }
        }
        // What the chain uses up gives its memory, where it is much, to what comes out of it.
        let size = values[nodes[ops[0].0].output].elements() * run.lanes;
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for root in needed {
            let is_spare = |s: &Slot<'_>| {
                let own = matches!(&s.memory, Memory::Own(own) if own.len() == size);
                size > WORTH
                    && own
                    && s.filled
                    && made(s.root)
                    && taken.iter().all(|(_, from)| *from != s.root)
            };
            match slots.iter().find(|s| is_spare(s)).map(|s| s.root) {
                Some(from) => taken.push((root, from)),
                None => {
                    let memory = Memory::Own(Buffer::dirty(size));
                    slots.push(Slot { root, memory, filled: false });
                }
            }
        }
        let mut kept_memory: Vec<KeptBlock> = ops.iter().map(|_| KeptBlock::default()).collect();
        let used = |i: usize| plan.iter().any(|step| step.0 == i);
        let kept: Vec<(usize, Kept<'_>)> = ops
            .iter()
            .zip(&mut kept_memory)
            .filter(|((i, _), _)| used(*i))
            .map(|((i, _), memory)| (*i, kept_of(*i, sources, run.lanes, memory)))
            .collect();
        let mut places: Vec<(usize, Place<'_>)> = Vec::new();
        let mut copies = Vec::new();
        let mut count = 0;
        let mut piece = || {
            count += 1;
            count - 1
        };
        for slot in slots.iter_mut() {
            let to = Shared::new(slot.memory.get_mut());
            places.push((slot.root, Place::Whole(to)));
            for (root, _) in taken.iter().filter(|(_, from)| *from == slot.root) {
                let from = piece();
                places.push((*root, Place::Piece(from)));
                copies.push(Replacement { from, to });
            }
        }
        places.extend(pieces.iter().map(|root| (*root, Place::Piece(piece()))));
        let place = |root: usize| places.iter().find(|(v, _)| *v == root).map(|(_, p)| *p);
        let steps = plan.iter().filter_map(|&(i, op, input, root, adds)| {
            let kept = kept.iter().find(|(other, _)| *other == i).map(|(_, kept)| *kept)?;
            let (cotangent, gradient) = (place(nodes[i].output)?, place(root)?);
            Some(BackStep { op, input, kept, cotangent, gradient, adds })
        });
        let steps: Vec<BackStep<'_>> = steps.collect();
        Span::new(run, &values[nodes[ops[0].0].output].shape, count).back(&steps, &copies);
        for slot in slots.iter_mut() {
            slot.filled |= filled.contains(&slot.root);
            if let Some((root, _)) = taken.iter().find(|(_, from)| *from == slot.root) {
                slot.root = *root;
            }
        }
        // As with one node: what came out of the chain's operators is used up.
        slots.retain(|s| !(made(s.root) && s.filled));
    }
}

/// Refuses activation functions among the `needed` nodes that go back by their slope only.
fn check_activations(graph: &Graph, layer: LayerId, needed: &[bool]) -> Result<()> {
    let mut on_the_way = graph.nodes().iter().zip(needed).filter(|(_, needed)| **needed);
    let found = on_the_way.find_map(|(node, _)| {
        let other = node.action.operator().is_some_and(Operator::has_slope_only);
        other.then_some(node)
    });
    let Some(node) = found else { return Ok(()) };
    let (network, at, layers) = (graph.name(), &node.name, graph.layer_infos());
    let layer = &layers[layer.0].name;
    Err(Error::Request(format!(
        "deconvolution and guided back-propagation are defined for ReLUs only; {} \"{at}\" lies between layer \
         \"{layer}\" of {network} and the image; take the gradient, or a layer in front of \"{at}\"",
        node.operator
    )))
}

/// The cotangent at one value of one group.
struct Slot<'a> {
    root: usize,
    memory: Memory<'a>,
    filled: bool,
}

enum Memory<'a> {
    Part(&'a mut [f32]),
    Own(Buffer),
}

impl Memory<'_> {
    fn get(&self) -> &[f32] {
        match self {
            Self::Part(part) => part,
            Self::Own(own) => own,
        }
    }

    fn get_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Part(part) => part,
            Self::Own(own) => own,
        }
    }
}

/// What node `i` kept of the images behind the lanes: as it lies when they are one traced group, else gathered.
fn kept_of<'k>(
    i: usize,
    sources: &[Source<'k>],
    lanes: usize,
    memory: &'k mut KeptBlock,
) -> Kept<'k> {
    let first = sources[0];
    let traced = &first.block.kept[i];
    let same = first.block.layout.lanes == lanes
        && sources.iter().enumerate().all(|(lane, s)| {
            std::ptr::eq(s.block, first.block)
                && s.group == first.group
                && s.lane == lane.min(first.block.layout.images - 1 - first.group * lanes)
        });
    if same {
        return traced.group(first.group, lanes);
    }
    memory.bytes.resize(traced.keeps.bytes * lanes, 0);
    memory.floats.resize(traced.keeps.floats * lanes, 0.0);
    let kept = sources.iter().map(|s| {
        let from = s.block.layout.lanes;
        (s.block.kept[i].group(s.group, from), s.lane, from)
    });
    let kept: Vec<(Kept<'_>, usize, usize)> = kept.collect();
    let bytes: Vec<_> = kept.iter().map(|&(kept, lane, from)| (kept.bytes, lane, from)).collect();
    let floats: Vec<_> = kept.iter().map(|&(kept, lane, from)| (kept.floats, lane, from)).collect();
    pick(&bytes, &mut memory.bytes);
    pick(&floats, &mut memory.floats);
    Kept { bytes: &memory.bytes, floats: &memory.floats }
}

/// One lane of each of `from` (items, lane, lanes), side by side, a few items at a time: they stay in the cache.
fn pick<T: Copy>(from: &[(&[T], usize, usize)], to: &mut [T]) {
    const ITEMS: usize = 64;
    for (n, to) in to.chunks_mut(ITEMS * from.len()).enumerate() {
        for (place, &(items, lane, lanes)) in from.iter().enumerate() {
            let items = items[n * ITEMS * lanes..].chunks_exact(lanes);
            for (to, item) in to.chunks_exact_mut(from.len()).zip(items) {
                to[place] = item[lane];
            }
        }
    }
}
