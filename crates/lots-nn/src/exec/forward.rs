//! One block forward.

use super::chain::{Place, Replacement, Span, Step};
use super::{Layout, Segment, ancestors, chain, segments, split};
use crate::graph::{Graph, Value};
use crate::kernels::{LANES, interleave_lanes, versioned};
use crate::network::{LayerId, ReluRule};
use crate::ops::{Keeper, Keeps, Kept, Operator, Run};
use crate::parallel::{WORTH, for_each_chunk, map, worth};
use crate::scratch::Buffer;
use crate::shared::Shared;
use ndarray::ArrayView4;

/// A plan for the forward pass to some layers.
pub(crate) struct Forward<'g> {
    graph: &'g Graph,
    segments: Vec<Segment<'g>>,
    /// Values that live on after the segment that makes them.
    lasting: Vec<bool>,
    /// Root values that the caller wants.
    pub(crate) wanted: Vec<usize>,
    /// Keep what back-projection needs.
    keep: bool,
}

/// What one node kept of a block, `[group][item][lane]`.
#[derive(Debug, Default)]
pub(crate) struct KeptBlock {
    pub(crate) keeps: Keeps,
    pub(crate) bytes: Vec<u8>,
    pub(crate) floats: Vec<f32>,
}

impl KeptBlock {
    fn new(keeps: Keeps, layout: Layout) -> Self {
        let n = layout.lanes * layout.groups;
        Self { keeps, bytes: vec![0; keeps.bytes * n], floats: vec![0.0; keeps.floats * n] }
    }

    /// What was kept of one group.
    pub(crate) fn group(&self, group: usize, lanes: usize) -> Kept<'_> {
        let (bytes, floats) = (self.keeps.bytes * lanes, self.keeps.floats * lanes);
        Kept {
            bytes: &self.bytes[group * bytes..][..bytes],
            floats: &self.floats[group * floats..][..floats],
        }
    }
}

/// A block that went forward.
pub(crate) struct Passed {
    pub(crate) layout: Layout,
    /// By root value, `[group][element][lane]`: the wanted ones (and more).
    pub(crate) values: Vec<Option<Buffer>>,
    /// By node.
    pub(crate) kept: Vec<KeptBlock>,
}

impl<'g> Forward<'g> {
    /// A plan that ends at the deepest of `layers`; `all` keeps every value (for training).
    pub(crate) fn new(graph: &'g Graph, layers: &[LayerId], keep: bool, all: bool) -> Self {
        let (nodes, values) = (graph.nodes(), graph.values());
        let last: Vec<usize> = layers.iter().map(|l| l.0).collect();
        let needed = ancestors(graph, &last);
        let segments = segments(nodes, |i| needed[i]);
        let wanted: Vec<usize> = last.iter().map(|&i| values[nodes[i].output].root).collect();
        let mut made_in = vec![usize::MAX; values.len()];
        let mut lasting = vec![all; values.len()];
        for (s, segment) in segments.iter().enumerate() {
            let mut visit = |i: usize, joint: bool| {
                made_in[nodes[i].output] = s;
                lasting[nodes[i].output] |= joint;
                for &v in &nodes[i].inputs {
                    let root = values[v].root;
                    lasting[root] |= made_in[root] != s;
                }
            };
            match segment {
                Segment::Joint(i, _) => visit(*i, true),
                Segment::Local(ops) => ops.iter().for_each(|(i, _)| visit(*i, false)),
            }
        }
        lasting[0] = true;
        for &root in &wanted {
            lasting[root] = true;
        }
        Self { graph, segments, lasting, wanted, keep }
    }

    /// Runs images `first..` of a block.
    pub(crate) fn run(
        &self,
        images: &ArrayView4<'_, f32>,
        first: usize,
        layout: Layout,
        parallel: bool,
    ) -> Passed {
        let (nodes, values) = (self.graph.nodes(), self.graph.values());
        let run = Run {
            isa: self.graph.isa(),
            parallel,
            lanes: layout.lanes,
            relu: ReluRule::Slope,
            first: 0,
        };
        let mut passed = Passed { layout, values: Vec::new(), kept: Vec::new() };
        passed.values.resize_with(values.len(), || None);
        passed.kept.resize_with(nodes.len(), KeptBlock::default);
        passed.values[0] = Some(lay_out(run, images, first, layout));
        // When a value is read for the last time its memory serves others.
        let mut last_use = vec![usize::MAX; values.len()];
        for (s, segment) in self.segments.iter().enumerate() {
            let mut visit =
                |i: usize| nodes[i].inputs.iter().for_each(|&v| last_use[values[v].root] = s);
            match segment {
                Segment::Joint(i, _) => visit(*i),
                Segment::Local(ops) => ops.iter().for_each(|(i, _)| visit(*i)),
            }
        }
        let all = self.lasting.iter().all(|&l| l);
        for (s, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Joint(i, op) => {
                    let root = values[nodes[*i].inputs[0]].root;
                    let mut out = Buffer::dirty(
                        values[nodes[*i].output].elements() * layout.lanes * layout.groups,
                    );
                    op.forward(
                        run,
                        &[passed.values[root].as_deref().unwrap_or(&[])],
                        &mut out,
                        None,
                    );
                    passed.values[nodes[*i].output] = Some(out);
                }
                Segment::Local(ops) => self.local(ops, run, &mut passed),
            }
            for (root, last) in last_use.iter().enumerate() {
                if *last == s && !all && !self.wanted.contains(&root) {
                    passed.values[root] = None;
                }
            }
        }
        passed
    }

    /// Runs one segment, group by group.
    fn local(&self, ops: &[(usize, &dyn Operator)], run: Run, passed: &mut Passed) {
        let (nodes, values, layout) = (self.graph.nodes(), self.graph.values(), passed.layout);
        let lanes = layout.lanes;
        let mut made: Vec<(usize, Buffer)> = Vec::new();
        for &(i, op) in ops {
            let v = nodes[i].output;
            if self.lasting[v] {
                made.push((v, Buffer::dirty(values[v].elements() * lanes * layout.groups)));
            }
            if self.keep {
                passed.kept[i] = KeptBlock::new(op.keeps(), layout);
            }
        }
        // Each group gets its own part of everything that lasts.
        let mut groups: Vec<Group<'_>> =
            (0..layout.groups).map(|at| Group { at, ..Group::default() }).collect();
        for (v, buffer) in &mut made {
            let size = values[*v].elements() * lanes;
            for (group, part) in groups.iter_mut().zip(buffer.chunks_exact_mut(size)) {
                group.lasting.push((*v, part));
            }
        }
        for (i, kept) in passed.kept.iter_mut().enumerate() {
            let (bytes, floats) = (kept.keeps.bytes * lanes, kept.keeps.floats * lanes);
            if bytes + floats == 0 || !ops.iter().any(|(op, _)| *op == i) {
                continue;
            }
            let mut byte_parts = kept.bytes.chunks_exact_mut(bytes.max(1));
            let mut float_parts = kept.floats.chunks_exact_mut(floats.max(1));
            for group in &mut groups {
                let bytes = byte_parts.next().unwrap_or_default();
                let floats = float_parts.next().unwrap_or_default();
                group.keepers.push((i, Keeper { bytes, floats }));
            }
        }
        let before = &passed.values;
        let split = run.parallel && layout.groups > 1;
        let run = Run { parallel: run.parallel && !split, ..run };
        map(split, groups, |mut group| {
            let mut scratch: Vec<(usize, Buffer)> = Vec::new();
            let mut n = 0;
            while n < ops.len() {
                // What no later operator of the segment reads is free.
                scratch.retain(|(v, _)| self.is_read(&ops[n..], *v));
                let chain = chain::length(self.graph, &ops[n..]);
                let (now, later) = ops[n..].split_at(chain.max(1));
                if chain > 0 {
                    self.chain(now, later, run, before, &mut group, &mut scratch);
                } else {
                    self.node(now[0], run, before, &mut group, &mut scratch);
                }
                n += now.len();
            }
        });
        for (v, buffer) in made {
            passed.values[v] = Some(buffer);
        }
    }

    /// Whether some operators read a value.
    fn is_read(&self, ops: &[(usize, &dyn Operator)], root: usize) -> bool {
        let (nodes, values) = (self.graph.nodes(), self.graph.values());
        ops.iter().any(|(i, _)| nodes[*i].inputs.iter().any(|&v| values[v].root == root))
    }

    /// One operator for one group.
    fn node(
        &self,
        (i, op): (usize, &dyn Operator),
        run: Run,
        before: &[Option<Buffer>],
        group: &mut Group<'_>,
        scratch: &mut Vec<(usize, Buffer)>,
    ) {
        let (nodes, values) = (self.graph.nodes(), self.graph.values());
        let node = &nodes[i];
        let keeper = group.keeper(i);
        let mut lasting = group.lasting(node.output);
        let size = values[node.output].elements() * run.lanes;
        let mut own = lasting.is_none().then(|| Buffer::dirty(size));
        {
            let read = |&v: &usize| group.read(values, before, scratch, v, run.lanes);
            let inputs: Vec<&[f32]> = node.inputs.iter().map(read).collect();
            let out: &mut [f32] = match (&mut lasting, &mut own) {
                (Some(part), _) => part,
                (None, Some(own)) => own,
                (None, None) => &mut [],
            };
            split::forward(op, run, &inputs, out, keeper);
        }
        group.done.extend(lasting.map(|part| (node.output, part)));
        scratch.extend(own.map(|own| (node.output, own)));
    }

    /// A chain of operators for one group; `later` are those behind it.
    fn chain(
        &self,
        ops: &[(usize, &dyn Operator)],
        later: &[(usize, &dyn Operator)],
        run: Run,
        before: &[Option<Buffer>],
        group: &mut Group<'_>,
        scratch: &mut Vec<(usize, Buffer)>,
    ) {
        let (nodes, values) = (self.graph.nodes(), self.graph.values());
        let outputs = || ops.iter().map(|(i, _)| nodes[*i].output);
        let mut lasting: Vec<(usize, &mut [f32])> =
            outputs().filter_map(|v| Some((v, group.lasting(v)?))).collect();
        let mut keepers: Vec<_> = ops.iter().map(|(i, _)| group.keeper(*i)).collect();
        let size = values[nodes[ops[0].0].output].elements() * run.lanes;
        // What only the chain reads gives its memory, where it is much, to what is read behind the chain.
        let is_spare = |(root, own): &mut (usize, Buffer)| {
            let alone = self.is_read(ops, *root) && !self.is_read(later, *root);
            size > WORTH && own.len() == size && alone
        };
        let mut spare: Vec<(usize, Buffer)> = scratch.extract_if(.., is_spare).collect();
        let mut taken: Vec<(usize, usize, Buffer)> = Vec::new();
        let mut owned: Vec<(usize, Buffer)> = Vec::new();
        for v in outputs().filter(|&v| !self.lasting[v] && self.is_read(later, v)) {
            match spare.pop() {
                Some((root, own)) => taken.push((v, root, own)),
                None => owned.push((v, Buffer::dirty(size))),
            }
        }
        scratch.append(&mut spare);
        {
            let whole = lasting.iter_mut().map(|(v, part)| (*v, Place::Whole(Shared::new(part))));
            let own = owned.iter_mut().map(|(v, own)| (*v, Place::Whole(Shared::new(own))));
            let mut places: Vec<(usize, Place<'_>)> = whole.chain(own).collect();
            let mut copies = Vec::new();
            for (from, (v, root, own)) in taken.iter_mut().enumerate() {
                let to = Shared::new(own);
                places.extend([(*v, Place::Piece(from)), (*root, Place::Whole(to))]);
                copies.push(Replacement { from, to });
            }
            let mut pieces = copies.len();
            for v in outputs() {
                if !places.iter().any(|(other, _)| *other == v) {
                    places.push((v, Place::Piece(pieces)));
                    pieces += 1;
                }
            }
            let place = |root: usize| places.iter().find(|(v, _)| *v == root).map(|(_, p)| *p);
            let input = |&v: &usize| {
                let given = || Place::Given(group.read(values, before, scratch, v, run.lanes));
                place(values[v].root).unwrap_or_else(given)
            };
            let steps = ops.iter().zip(&mut keepers).filter_map(|((i, op), keeper)| {
                let (node, op) = (&nodes[*i], *op);
                let keeper = keeper.as_mut();
                let keeper = keeper.map(|k| (Shared::new(k.bytes), Shared::new(k.floats)));
                let inputs = node.inputs.iter().map(input).collect();
                Some(Step { op, inputs, output: place(node.output)?, keeper })
            });
            let steps: Vec<Step<'_>> = steps.collect();
            let shape = &values[nodes[ops[0].0].output].shape;
            Span::new(run, shape, pieces).forward(&steps, &copies);
        }
        group.done.append(&mut lasting);
        scratch.append(&mut owned);
        scratch.extend(taken.into_iter().map(|(v, _, own)| (v, own)));
    }
}

/// One group's share of a segment's outputs.
#[derive(Default)]
struct Group<'a> {
    at: usize,
    lasting: Vec<(usize, &'a mut [f32])>,
    done: Vec<(usize, &'a mut [f32])>,
    keepers: Vec<(usize, Keeper<'a>)>,
}

impl<'a> Group<'a> {
    /// Takes the place of a value that lasts.
    fn lasting(&mut self, v: usize) -> Option<&'a mut [f32]> {
        let at = self.lasting.iter().position(|(other, _)| *other == v)?;
        Some(self.lasting.swap_remove(at).1)
    }

    /// Takes the place of what a node keeps.
    fn keeper(&mut self, i: usize) -> Option<Keeper<'a>> {
        let at = self.keepers.iter().position(|(other, _)| *other == i)?;
        Some(self.keepers.swap_remove(at).1)
    }

    /// A value that was made in this segment or `before` it.
    fn read<'r>(
        &'r self,
        values: &[Value],
        before: &'r [Option<Buffer>],
        scratch: &'r [(usize, Buffer)],
        v: usize,
        lanes: usize,
    ) -> &'r [f32] {
        let root = values[v].root;
        if let Some((_, own)) = scratch.iter().find(|(s, _)| *s == root) {
            return own;
        }
        if let Some((_, part)) = self.done.iter().find(|(s, _)| *s == root) {
            return part;
        }
        let size = values[root].elements() * lanes;
        before[root].as_ref().map_or(&[], |all| &all[self.at * size..][..size])
    }
}

/// Images to `[group][element][lane]`; lanes behind the last image repeat it.
fn lay_out(run: Run, images: &ArrayView4<'_, f32>, first: usize, layout: Layout) -> Buffer {
    let elements: usize = images.shape()[1..].iter().product();
    let mut out = Buffer::dirty(elements * layout.lanes * layout.groups);
    for (g, group) in out.chunks_exact_mut(elements * layout.lanes).enumerate() {
        let images: Vec<_> = (0..layout.lanes)
            .map(|lane| first + (g * layout.lanes + lane).min(layout.images - 1))
            .map(|at| images.index_axis(ndarray::Axis(0), at))
            .collect();
        let flat: Vec<_> = images.iter().filter_map(|image| image.as_slice()).collect();
        if flat.len() == images.len() {
            lay_abreast(run, &flat, group);
            continue;
        }
        for (lane, image) in images.iter().enumerate() {
            for (e, &x) in image.iter().enumerate() {
                group[e * layout.lanes + lane] = x;
            }
        }
    }
    out
}

/// Images or rows, one for each lane or fewer, as a group.
pub(crate) fn lay_abreast(run: Run, images: &[&[f32]], group: &mut [f32]) {
    /// Elements that are laid at a time.
    const CHUNK: usize = 1 << 12;
    if run.lanes != LANES {
        return images.iter().for_each(|image| group.copy_from_slice(image));
    }
    for_each_chunk(run.parallel && worth(group.len()), group, CHUNK * LANES, |n, group| {
        let elements = group.len() / LANES;
        let images: Vec<&[f32]> = images.iter().map(|i| &i[n * CHUNK..][..elements]).collect();
        interleave_lanes(run.isa, &images, group);
    });
}

versioned! {
    /// One image out of its lane of a group.
    pub(crate) fn gather(group: &[f32], lane: usize, lanes: usize, image: &mut [f32]) {
        for (x, row) in image.iter_mut().zip(group.chunks_exact(lanes)) {
            *x = row[lane];
        }
    }
}
