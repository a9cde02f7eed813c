//! Neighbouring operators that work element by element: a piece of the values goes through all of them while it stays in the
//! cache, and what nothing else reads is never written as a whole.

use crate::graph::Graph;
use crate::kernels::{LANES, add};
use crate::ops::{Keeper, Keeps, Kept, Operator, Run};
use crate::parallel::{TASKS, for_each, share, threads, worth};
use crate::scratch::Buffer;
use crate::shared::Shared;
use std::ops::Range;

/// Floats of a piece.
const PIECE: usize = 4096;
/// Floats of a plane that a thread's strip has at least.
const STRIP: usize = 1024;

/// How many of `ops`, from the first on, are a chain.
pub(super) fn length(graph: &Graph, ops: &[(usize, &dyn Operator)]) -> usize {
    length_of(graph, ops.iter())
}

/// The same from the last one back.
pub(super) fn length_back(graph: &Graph, ops: &[(usize, &dyn Operator)]) -> usize {
    length_of(graph, ops.iter().rev())
}

fn length_of<'o>(
    graph: &Graph,
    mut ops: impl Iterator<Item = &'o (usize, &'o dyn Operator)> + Clone,
) -> usize {
    // Of the output, where an operator works element by element. Poolings are left to themselves: convolutions may take over.
    let elements = |(i, op): &(usize, &dyn Operator)| {
        let (node, size) = (&graph.nodes()[*i], |v: usize| graph.values()[v].elements());
        let own = size(node.output);
        let alike = node.inputs.len() <= 2 && node.inputs.iter().all(|&v| size(v) == own);
        (own > 1 && alike && op.parts() == own && op.as_max_pool().is_none()).then_some(own)
    };
    let all = ops.clone();
    let Some(first) = ops.next().and_then(elements) else { return 0 };
    all.take_while(|op| elements(op) == Some(first)).count()
}

/// The numbers of one value of a group of images.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// From in front of the chain.
    Given(&'a [f32]),
    Whole(Shared<'a>),
    /// Only those of the piece at hand, with this number.
    Piece(usize),
}

/// The memory of the pieces.
#[derive(Clone, Copy)]
struct Memory<'a> {
    pieces: Shared<'a>,
    /// The floats of the values that the piece at hand has.
    start: usize,
    count: usize,
}

impl<'a> Memory<'a> {
    /// # Safety
    /// Nobody writes this piece of `place` while the slice lives.
    unsafe fn read(&self, place: Place<'a>) -> &'a [f32] {
        // SAFETY: the caller's promise.
        unsafe {
            match place {
                Place::Given(all) => &all[self.start..][..self.count],
                Place::Whole(all) => all.read(self.start, self.count),
                Place::Piece(n) => self.pieces.read(n * PIECE, self.count),
            }
        }
    }

    /// # Safety
    /// Nobody else touches this piece of `place` while the slice lives.
    unsafe fn write(&self, place: Place<'a>) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe {
            match place {
                Place::Given(_) => unreachable!("what is given is read"),
                Place::Whole(all) => all.slice(self.start, self.count),
                Place::Piece(n) => self.pieces.slice(n * PIECE, self.count),
            }
        }
    }

    fn copy(&self, copies: &[Replacement<'_>]) {
        for &Replacement { from, to } in copies {
            // SAFETY: no one else touches this piece of any value, and no operator reads it any more.
            let (from, to) =
                unsafe { (self.read(Place::Piece(from)), self.write(Place::Whole(to))) };
            to.copy_from_slice(from);
        }
    }
}

/// One operator forward.
pub(super) struct Step<'a> {
    pub(super) op: &'a dyn Operator,
    pub(super) inputs: Vec<Place<'a>>,
    pub(super) output: Place<'a>,
    /// Where it keeps what it keeps.
    pub(super) keeper: Option<(Shared<'a, u8>, Shared<'a>)>,
}

/// One operator back to one of its inputs.
pub(super) struct BackStep<'a> {
    pub(super) op: &'a dyn Operator,
    pub(super) input: usize,
    pub(super) kept: Kept<'a>,
    pub(super) cotangent: Place<'a>,
    pub(super) gradient: Place<'a>,
    /// Whether the gradient is added to what is there.
    pub(super) adds: bool,
}

/// A piece that takes the place of what a chain has read, when all operators have been through with it.
pub(super) struct Replacement<'a> {
    /// Number of the piece.
    pub(super) from: usize,
    pub(super) to: Shared<'a>,
}

/// How the values of a chain are cut into pieces.
pub(super) struct Span {
    run: Run,
    elements: usize,
    /// Elements of a plane of them.
    plane: usize,
    /// How many pieces a task needs at a time.
    pieces: usize,
}

impl Span {
    /// Of values of `shape`, [1, channels, height, width] or another, and of so many places that are pieces.
    pub(super) fn new(run: Run, shape: &[usize], pieces: usize) -> Self {
        let elements = shape.iter().product();
        let plane = shape.get(2..).unwrap_or_default().iter().product();
        Self { run, elements, plane, pieces }
    }

    /// Takes all pieces through all steps.
    pub(super) fn forward(&self, steps: &[Step<'_>], copies: &[Replacement<'_>]) {
        self.each(self.pieces, |run, memory| {
            for Step { op, inputs, output, keeper } in steps {
                let mut read = [&[][..]; 2];
                // SAFETY: no one else touches this piece of any value, and an output is none of its inputs.
                let output = unsafe {
                    for (read, input) in read.iter_mut().zip(inputs) {
                        *read = memory.read(*input);
                    }
                    memory.write(*output)
                };
                let Keeps { bytes, floats } = self.keeps(*op);
                let keeper = keeper.map(|(all_bytes, all_floats)| {
                    // SAFETY: as above.
                    unsafe {
                        Keeper {
                            bytes: all_bytes.slice(memory.start * bytes, memory.count * bytes),
                            floats: all_floats.slice(memory.start * floats, memory.count * floats),
                        }
                    }
                });
                op.forward(run, &read[..inputs.len()], output, keeper);
            }
            memory.copy(copies);
        });
    }

    /// Takes all pieces back through all steps.
    pub(super) fn back(&self, steps: &[BackStep<'_>], copies: &[Replacement<'_>]) {
        self.each(self.pieces + 1, |run, memory| {
            for step in steps {
                let Keeps { bytes, floats } = self.keeps(step.op);
                let kept = Kept {
                    bytes: &step.kept.bytes[memory.start * bytes..][..memory.count * bytes],
                    floats: &step.kept.floats[memory.start * floats..][..memory.count * floats],
                };
                // SAFETY: no one else touches this piece of any value, and a gradient lies elsewhere than its cotangent; the last
                // piece of the memory is no place.
                let (cotangent, gradient, more) = unsafe {
                    let more = memory.write(Place::Piece(self.pieces));
                    (memory.read(step.cotangent), memory.write(step.gradient), more)
                };
                if step.adds {
                    step.op.vjp(run, step.input, kept, cotangent, more);
                    add(run.isa, more, gradient);
                } else {
                    step.op.vjp(run, step.input, kept, cotangent, gradient);
                }
            }
            memory.copy(copies);
        });
    }

    /// What an operator keeps of each element.
    fn keeps(&self, op: &dyn Operator) -> Keeps {
        let Keeps { bytes, floats } = op.keeps();
        Keeps { bytes: bytes / self.elements, floats: floats / self.elements }
    }

    /// Calls `f(run, memory)` for each piece, with room for `pieces` pieces.
    fn each(&self, pieces: usize, f: impl Fn(Run, Memory<'_>) + Send + Sync) {
        let lanes = self.run.lanes;
        let work = |ranges: &mut dyn Iterator<Item = Range<usize>>| {
            let mut memory = Buffer::dirty(pieces * PIECE);
            let pieces = Shared::new(&mut memory);
            for range in ranges {
                for first in range.clone().step_by(PIECE / lanes) {
                    let count = (range.end - first).min(PIECE / lanes) * lanes;
                    let run = Run { parallel: false, first, ..self.run };
                    f(run, Memory { pieces, start: first * lanes, count });
                }
            }
        };
        if !self.run.parallel || !worth(self.elements * lanes) {
            return work(&mut std::iter::once(0..self.elements));
        }
        let strips = threads();
        if lanes != LANES || self.plane * lanes < strips * STRIP {
            return for_each(true, TASKS, |task| {
                work(&mut std::iter::once(share(self.elements, task, TASKS)));
            });
        }
        // Each thread has rows of its own of all planes, as it has in convolutions by tiles.
        let (planes, parts) = (self.elements / self.plane, TASKS.div_ceil(strips));
        for_each(true, strips * parts, |task| {
            let rows = share(self.plane, task / parts, strips);
            let planes = share(planes, task % parts, parts);
            let of_plane =
                |plane: usize| plane * self.plane + rows.start..plane * self.plane + rows.end;
            work(&mut planes.map(of_plane));
        });
    }
}
