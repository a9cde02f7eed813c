//! Operators that take their operands element by element: which element of each operand an output takes.

use super::Run;
use super::columns::sums;
use crate::kernels::{LANES, add};
use crate::parallel::{TASKS, for_each_chunk, worth};
use crate::scratch::Buffer;
use crate::tensor::Tensor;
use std::ops::Range;

/// The shape that `a` and `b` both broadcast to, or `None` where they do not.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    (0..rank)
        .map(|i| match (size(a, i), size(b, i)) {
            (1, d) | (d, 1) => Some(d),
            (d, e) => (d == e).then_some(d),
        })
        .collect()
}

/// One operand of an operator.
#[derive(Debug)]
pub(crate) enum Operand {
    /// A value that depends on the image, of so many elements.
    Activation(usize),
    Constant(Tensor),
}

impl Operand {
    pub(crate) fn is_activation(&self) -> bool {
        matches!(self, Self::Activation(_))
    }

    /// Elements, if it depends on the image.
    pub(crate) fn activation_size(&self) -> usize {
        if let Self::Activation(elements) = self { *elements } else { 0 }
    }
}

/// How `N` operands are laid over an output.
#[derive(Debug)]
pub(crate) struct Plan<const N: usize> {
    /// Sizes of the output's axes. Neighbours that every operand treats alike are one, those of size 1 are left out.
    sizes: Vec<usize>,
    /// How many elements of each operand a step along an axis moves: 0 where the operand is repeated.
    steps: Vec<[usize; N]>,
    /// Whether an operand has all elements of the output.
    whole: [bool; N],
}

impl<const N: usize> Plan<N> {
    /// The plan for operands whose `shapes` broadcast to `output`.
    pub(crate) fn new(shapes: [&[usize]; N], output: &[usize]) -> Self {
        let mut sizes: Vec<usize> = Vec::new();
        let mut steps: Vec<[usize; N]> = Vec::new();
        // From the last axis to the first.
        let mut behind = [1; N];
        for axis in (0..output.len()).rev().filter(|&axis| output[axis] != 1) {
            let step: [usize; N] = std::array::from_fn(|n| {
                let own = (axis + shapes[n].len()).checked_sub(output.len()).map(|i| shapes[n][i]);
                if own.is_some_and(|d| d != 1) { behind[n] } else { 0 }
            });
            for n in 0..N {
                behind[n] *= if step[n] == 0 { 1 } else { output[axis] };
            }
            match (sizes.last_mut(), steps.last()) {
                (Some(size), Some(last)) if (0..N).all(|n| (step[n] == 0) == (last[n] == 0)) => {
                    *size *= output[axis];
                }
                _ => {
                    sizes.push(output[axis]);
                    steps.push(step);
                }
            }
        }
        if sizes.is_empty() {
            (sizes, steps) = (vec![1], vec![[1; N]]);
        }
        sizes.reverse();
        steps.reverse();
        let whole = std::array::from_fn(|n| steps.iter().all(|step| step[n] != 0));
        Self { sizes, steps, whole }
    }

    /// Whether operand `n` has all elements of the output.
    pub(crate) fn is_whole(&self, n: usize) -> bool {
        self.whole[n]
    }

    /// Cuts the output into pieces of at most `most` elements within which each operand goes on or stays.
    pub(crate) fn pieces(&self, most: usize, f: impl FnMut(Piece<N>)) {
        self.pieces_of(0..self.sizes.iter().product(), most, f);
    }

    /// The same of some elements of the output.
    fn pieces_of(&self, elements: Range<usize>, most: usize, mut f: impl FnMut(Piece<N>)) {
        let (&[ref outer @ .., run], &[ref outer_steps @ .., steps]) =
            (self.sizes.as_slice(), self.steps.as_slice())
        else {
            return;
        };
        for line in elements.start / run..elements.end.div_ceil(run) {
            // Where the line begins in each operand.
            let (mut firsts, mut rest) = ([0; N], line);
            for (size, steps) in outer.iter().zip(outer_steps).rev() {
                for n in 0..N {
                    firsts[n] += steps[n] * (rest % size);
                }
                rest /= size;
            }
            let output = line * run;
            let (start, end) = (elements.start.max(output), elements.end.min(output + run));
            for first in (start..end).step_by(most) {
                f(Piece {
                    output: first,
                    count: most.min(end - first),
                    firsts: std::array::from_fn(|n| firsts[n] + (first - output) * steps[n]),
                    repeated: steps.map(|step| step == 0),
                });
            }
        }
    }
}

impl Plan<2> {
    /// Calls `f(some tiles, piece, its output)` for each piece of `output`, with room for `lanes` images; on all threads
    /// where it is worth it.
    ///
    /// `output` begins with element `run.first`. So do the operands that are `cut`: pieces count from there.
    pub(crate) fn each(
        &self,
        run: Run,
        cut: [bool; 2],
        output: &mut [f32],
        f: impl Fn(&mut Tiles, Piece<2>, &mut [f32]) + Send + Sync,
    ) {
        let most = PIECE * LANES / run.lanes;
        let elements = run.first..run.first + output.len() / run.lanes;
        let behind = |n: usize| if cut[n] { run.first } else { 0 };
        let counted = |piece: Piece<2>| Piece {
            output: piece.output - run.first,
            firsts: std::array::from_fn(|n| piece.firsts[n] - behind(n)),
            ..piece
        };
        if !run.parallel || !worth(output.len()) {
            let mut tiles = Tiles::default();
            return self.pieces_of(elements, most, |piece| {
                let piece = counted(piece);
                f(&mut tiles, piece, &mut output[piece.range(run.lanes)]);
            });
        }
        let (mut work, mut rest) = (Vec::new(), output);
        self.pieces_of(elements, most, |piece| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(piece.count * run.lanes);
            rest = later;
            work.push((counted(piece), now));
        });
        let size = work.len().div_ceil(TASKS);
        for_each_chunk(true, &mut work, size, |_, work| {
            let mut tiles = Tiles::default();
            work.iter_mut().for_each(|(piece, output)| f(&mut tiles, *piece, output));
        });
    }
}

/// Which element of an array of shape `from` each element of shape `to` takes, unless it is the same one.
pub(crate) fn element_map(from: &[usize], to: &[usize]) -> Option<Vec<u32>> {
    let plan = Plan::new([from], to);
    let mut map = Vec::new();
    plan.pieces(usize::MAX, |piece| {
        let step = usize::from(!piece.repeated[0]);
        map.extend((0..piece.count).map(|i| (piece.firsts[0] + i * step) as u32));
    });
    (!plan.is_whole(0)).then_some(map)
}

/// Some neighbouring elements of an output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<const N: usize> {
    /// The first of them.
    pub(crate) output: usize,
    pub(crate) count: usize,
    /// By operand, the element that the first one takes.
    pub(crate) firsts: [usize; N],
    /// Whether all take that element, rather than those that follow it.
    pub(crate) repeated: [bool; N],
}

/// Elements of a piece over which gradients are summed: the same for any lanes, as the sums must be.
pub(crate) const PIECE: usize = 128;

/// Floats of one piece, `[element][lane]`.
const TILE: usize = PIECE * LANES;

/// Room for the numbers of three pieces, from the first time on that it is asked for.
#[derive(Default)]
pub(crate) struct Tiles(Option<Buffer>);

impl Tiles {
    pub(crate) fn all(&mut self) -> [&mut [f32]; 3] {
        let all = self.0.get_or_insert_with(|| Buffer::dirty(3 * TILE));
        let (a, rest) = all.split_at_mut(TILE);
        let (b, c) = rest.split_at_mut(TILE);
        [a, b, c]
    }
}

impl<const N: usize> Piece<N> {
    /// Where it lies in the output, or in a whole operand.
    pub(crate) fn range(&self, lanes: usize) -> Range<usize> {
        self.output * lanes..(self.output + self.count) * lanes
    }

    /// The numbers of operand `n` for the piece, `[element][lane]`, in place or in `tile`.
    pub(crate) fn take<'t>(
        &self,
        run: Run,
        n: usize,
        values: Values<'t>,
        tile: &'t mut [f32],
    ) -> &'t [f32] {
        let (first, count, lanes) = (self.firsts[n], self.count, run.lanes);
        match (values, self.repeated[n]) {
            (Values::Activation(data), false) => &data[first * lanes..][..count * lanes],
            (Values::Constant(data), false) if lanes == 1 => &data[first..][..count],
            (values, repeated) => {
                let tile = &mut tile[..count * lanes];
                match values {
                    Values::Constant(data) if repeated => tile.fill(data[first]),
                    Values::Activation(data) if lanes == 1 => tile.fill(data[first]),
                    Values::Constant(data) => {
                        for (row, &x) in tile.chunks_exact_mut(lanes).zip(&data[first..]) {
                            row.fill(x);
                        }
                    }
                    Values::Activation(data) => {
                        let row = &data[first * lanes..][..lanes];
                        tile.chunks_exact_mut(lanes).for_each(|r| r.copy_from_slice(row));
                    }
                }
                tile
            }
        }
    }

    /// Adds `piece`, gradients of its elements `[element][lane]`, to those of operand `n`, an activation.
    pub(crate) fn give(&self, run: Run, n: usize, piece: &[f32], gradient: &mut [f32]) {
        let (first, lanes) = (self.firsts[n], run.lanes);
        if self.repeated[n] {
            let mut columns = [0.0; LANES];
            sums(run.isa, piece, &mut columns[..lanes]);
            for (g, sum) in gradient[first * lanes..][..lanes].iter_mut().zip(columns) {
                *g += sum as f32;
            }
        } else {
            add(run.isa, piece, &mut gradient[first * lanes..][..piece.len()]);
        }
    }

    /// Adds the gradients of the piece, `[element][lane]`, over all lanes to those of operand `n`, a constant.
    pub(crate) fn give_constant(
        &self,
        lanes: usize,
        n: usize,
        piece: &[f32],
        gradient: &mut [f32],
    ) {
        for (e, row) in piece.chunks_exact(lanes).enumerate() {
            let at = self.firsts[n] + if self.repeated[n] { 0 } else { e };
            gradient[at] += row.iter().sum::<f32>();
        }
    }
}

/// The numbers of an operand during a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'a> {
    /// `[element][lane]`.
    Activation(&'a [f32]),
    /// `[element]`.
    Constant(&'a [f32]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_as_numpy_has_it() {
        type Shape = &'static [usize];
        let cases: [([Shape; 2], Option<Shape>); 6] = [
            ([&[2, 3], &[3]], Some(&[2, 3])),
            ([&[3], &[2, 1]], Some(&[2, 3])),
            ([&[], &[4]], Some(&[4])),
            ([&[1, 1], &[1]], Some(&[1, 1])),
            ([&[2], &[3]], None),
            ([&[2, 1], &[3, 1]], None),
        ];
        for ([a, b], wanted) in cases {
            assert_eq!(broadcast(a, b).as_deref(), wanted, "{a:?} {b:?}");
        }
    }

    /// (output, count, first elements, which repeat) of every piece.
    fn pieces(
        shapes: [&[usize]; 2],
        output: &[usize],
    ) -> Vec<(usize, usize, [usize; 2], [bool; 2])> {
        let mut all = Vec::new();
        Plan::new(shapes, output)
            .pieces(4, |p| all.push((p.output, p.count, p.firsts, p.repeated)));
        all
    }

    /// Oracle: the pieces of the whole, element by element.
    #[test]
    fn pieces_of_some_elements_are_those_of_the_whole() {
        let plan = Plan::new([&[2, 1, 3, 2], &[5, 1, 2]], &[2, 5, 3, 2]);
        let elements = |range: Range<usize>, most: usize| {
            let mut all = Vec::new();
            plan.pieces_of(range, most, |p| {
                all.extend((0..p.count).map(|i| {
                    let at = |n: usize| p.firsts[n] + if p.repeated[n] { 0 } else { i };
                    (p.output + i, at(0), at(1))
                }));
            });
            all
        };
        let whole = elements(0..60, usize::MAX);
        for start in 0..60 {
            for end in start..=60 {
                assert_eq!(elements(start..end, 3), whole[start..end]);
            }
        }
    }

    #[test]
    fn pieces_by_hand() {
        // The same shape: cut at four only.
        let both = [false, false];
        assert_eq!(
            pieces([&[1, 2, 3], &[2, 3]], &[1, 2, 3]),
            [(0, 4, [0, 0], both), (4, 2, [4, 4], both)]
        );
        // A number a channel: one piece a channel.
        let second = [false, true];
        assert_eq!(
            pieces([&[1, 2, 1, 3], &[2, 1, 1]], &[1, 2, 1, 3]),
            [(0, 3, [0, 0], second), (3, 3, [3, 1], second)]
        );
        // Each along an axis of its own.
        assert_eq!(
            pieces([&[2, 1], &[1, 3]], &[2, 3]),
            [(0, 3, [0, 0], [true, false]), (3, 3, [1, 0], [true, false])]
        );
        // The outer axis is repeated, the inner ones are not.
        assert_eq!(
            pieces([&[2, 1, 2], &[1, 2]], &[2, 1, 2]),
            [(0, 2, [0, 0], both), (2, 2, [2, 0], both)]
        );
        assert_eq!(pieces([&[], &[1]], &[1, 1]), [(0, 1, [0, 0], both)]);
    }
}
