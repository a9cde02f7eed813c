//! Convolutions of single images: pixels are the vectors.

use super::conv::ConvShape;
use super::matmul::row_tiles;
use super::packed::{PANEL, Packed};
use super::simd::Isa;
use super::tile::{Start, Tap, Taps, Tile};
use super::turned::{Run, Turned, turn_panels};
use super::versioned;
use crate::parallel::{TASKS, for_each, share, threads, worth};
use crate::scratch::Buffer;
use crate::shared::Shared;
use std::ops::Range;

/// Depth of one packed piece of the input: with its pixels and sixteen rows of weights it stays in the first-level cache.
const DEPTH: usize = 128;
/// The same where pixels are few: several panels of weights stay there, too.
const TURNED: usize = 128;
/// Vectors of pixels in one packed piece, and the pixels themselves.
const VECTORS: usize = 4;
const WIDE: usize = VECTORS * PANEL;

/// `y = bias + W ∗ x` for one convolution group of one image: the operands of [`conv_valid`](super::conv_valid).
pub(super) fn single(
    isa: Isa,
    parallel: bool,
    s: &ConvShape,
    w: &Packed,
    bias: Option<&[f32]>,
    x: &[f32],
    y: &mut [f32],
) {
    if has_few_pixels(s) {
        return few_pixels(isa, parallel, s, &Weights::Packed(w), bias, x, y);
    }
    let vectors = s.pixels().div_ceil(PANEL);
    let panels = s.rows.div_ceil(PANEL);
    let (parallel, parts) = parts(parallel, s);
    let tasks = tasks(vectors, parts);
    let y = Shared::new(y);
    for_each(parallel, tasks.len(), |task| {
        let (first, count, part) = tasks[task];
        let panels = part.map_or(0..panels, |part| share(panels, part, parts));
        Piece::new(s, first * PANEL, count).run(isa, w, bias, panels, x, y);
    });
}

/// Whether an image has so few pixels that weights are the vectors.
pub(super) fn has_few_pixels(s: &ConvShape) -> bool {
    s.pixels() <= WIDE
}

/// The weights of a convolution with few pixels.
pub(super) enum Weights<'a> {
    /// [rows, taps × channels].
    Packed(&'a Packed),
    /// Those of the convolution whose adjoint this one is, [channels, taps × rows]; which one of its taps each tap of this one is.
    /// `channels` fills its panels.
    OfAdjoint(&'a Packed, &'a [usize]),
}

/// [`single`] for few pixels.
pub(super) fn few_pixels(
    isa: Isa,
    parallel: bool,
    s: &ConvShape,
    w: &Weights<'_>,
    bias: Option<&[f32]>,
    x: &[f32],
    y: &mut [f32],
) {
    let y = Shared::new(y);
    let piece = Piece::new(s, 0, s.pixels().div_ceil(PANEL));
    let panels = s.rows.div_ceil(PANEL);
    let (parallel, parts) = parts(parallel, s);
    let parts = parts.min(panels);
    for_each(parallel, parts, |part| {
        piece.run_turned(isa, w, bias, share(panels, part, parts), x, y);
    });
}

/// Whether a convolution is split, and into how many parts: each packs its pixels anew, so there is one for a thread.
fn parts(parallel: bool, s: &ConvShape) -> (bool, usize) {
    let parallel = parallel && worth(s.rows * s.depth() * s.pixels() / 8);
    (parallel, if parallel { threads().min(TASKS) } else { 1 })
}

/// What `parts` threads do of so many vectors of pixels: (first vector, vectors, part of the weights' rows if not all), the first thread's
/// tasks first, so many for each thread.
///
/// Threads have pixels of their own, as many each; what is left over is everyone's, who has a part of the rows there.
fn tasks(vectors: usize, parts: usize) -> Vec<(usize, usize, Option<usize>)> {
    let mut own = vectors / parts;
    // One or two vectors alone would fill the register tile badly.
    if (1..3).contains(&(vectors % parts)) && own > 1 {
        own -= 1;
    }
    let common = own * parts;
    let tasks = (0..parts).flat_map(|part| {
        let whole = row_tiles(own, VECTORS).map(move |(first, n)| (part * own + first, n, None));
        let shared = row_tiles(vectors - common, VECTORS);
        whole.chain(shared.map(move |(first, n)| (common + first, n, Some(part))))
    });
    tasks.collect()
}

impl Weights<'_> {
    /// The part of some `panels` that begins `first` deep and is `depth` long, as [`Turned`] wants it; `own` has room for it.
    fn part<'w>(
        &'w self,
        isa: Isa,
        s: &ConvShape,
        panels: &Range<usize>,
        (first, depth): (usize, usize),
        own: &'w mut [f32],
    ) -> (&'w [f32], usize) {
        let (w, taps) = match self {
            Weights::Packed(w) => {
                return (&w.data[(panels.start * w.depth + first) * PANEL..], w.depth);
            }
            Weights::OfAdjoint(w, taps) => (w, taps),
        };
        // What the panels take of sixteen rows of the depth lies side by side.
        let part = |n: usize| {
            let k = first + n * PANEL;
            let (tap, channel) = (*taps.get(k / s.channels)?, k % s.channels);
            let all = &w.panel(channel)[tap * s.rows * PANEL..][..s.rows * PANEL];
            Some(&all[panels.start * PANEL * PANEL..all.len().min(panels.end * PANEL * PANEL)])
        };
        turn_panels(isa, depth / PANEL, part, depth * PANEL, own);
        (own, depth)
    }
}

/// Some pixels of the output, and what they see of the input.
struct Piece<'s> {
    shape: &'s ConvShape,
    first: usize,
    pixels: usize,
    /// Pixels that lie one behind the other, and where the first one's top left tap lies in a plane of the input.
    runs: Vec<Run>,
}

impl<'s> Piece<'s> {
    fn new(shape: &'s ConvShape, first: usize, vectors: usize) -> Self {
        let pixels = (vectors * PANEL).min(shape.pixels() - first);
        let mut runs: Vec<Run> = Vec::new();
        let mut to = 0;
        while to < pixels {
            let column = (first + to) % shape.output[1];
            let from = shape.corner(first + to);
            let length = (shape.output[1] - column).min(pixels - to);
            match runs.last_mut() {
                // Whole rows without padding between them are one run.
                Some(last) if shape.stride[1] == 1 && last.from + last.count == from => {
                    last.count += length;
                }
                _ => runs.push(Run { to, from, count: length }),
            }
            to += length;
        }
        Self { shape, first, pixels, runs }
    }

    /// Packs what the pixels see from `start` of the depth on; so much of the depth as was packed.
    fn pack(&self, isa: Isa, start: usize, x: &[f32], packed: &mut [f32]) -> usize {
        let s = self.shape;
        let depth = DEPTH.min(s.depth() - start);
        let mut planes = [0; DEPTH];
        for (k, plane) in planes[..depth].iter_mut().enumerate() {
            let (tap, channel) = ((start + k) / s.channels, (start + k) % s.channels);
            *plane = channel * s.plane() + s.reach(tap);
        }
        pack(isa, x, &planes[..depth], &self.runs, s.stride[1], packed);
        depth
    }

    /// [`Piece::run`] the other way round, for few pixels.
    fn run_turned(
        &self,
        isa: Isa,
        w: &Weights<'_>,
        bias: Option<&[f32]>,
        panels: Range<usize>,
        x: &[f32],
        y: Shared<'_>,
    ) {
        let s = self.shape;
        let rows = panels.start * PANEL..s.rows.min(panels.end * PANEL);
        let width = panels.len() * PANEL;
        // [pixel][row].
        let mut turned = Buffer::dirty(self.pixels * width);
        let mut starts = Buffer::zeroed(width);
        let of_adjoint = matches!(w, Weights::OfAdjoint(..));
        let mut own = Buffer::dirty(if of_adjoint { TURNED.max(s.channels) * width } else { 0 });
        if let Some(bias) = bias {
            let bias = &bias[rows.clone()];
            starts.iter_mut().zip(bias).for_each(|(start, bias)| *start = bias + 0.0);
        }
        // Taps, as many as make a piece, or channels of one tap.
        let abreast = (TURNED / s.channels).max(1);
        for tap in (0..s.taps()).step_by(abreast) {
            let count = abreast.min(s.taps() - tap);
            for channel in (0..s.channels).step_by(TURNED) {
                let depth = TURNED.min(s.channels - channel);
                let at = |n: usize| Tap {
                    a: channel * s.plane() + s.reach(tap + n),
                    b: n * s.channels * PANEL,
                };
                let first = tap * s.channels + channel;
                let (w, w_depth) = w.part(isa, s, &panels, (first, count * depth), &mut own);
                let piece = Turned {
                    w,
                    w_depth,
                    taps: &(0..count).map(at).collect(),
                    depth,
                    b: x,
                    b_step: s.plane(),
                    b_column: s.stride[1],
                    runs: &self.runs,
                    start: &starts,
                    adds: first > 0,
                };
                piece.run(isa, &mut turned);
            }
        }
        for (column, row) in rows.enumerate() {
            // SAFETY: these rows of these pixels are written by this call alone.
            let line = unsafe { y.slice(row * s.pixels() + self.first, self.pixels) };
            for (to, from) in line.iter_mut().zip(turned[column..].iter().step_by(width)) {
                *to = *from;
            }
        }
    }

    /// Computes the rows of `panels`.
    fn run(
        &self,
        isa: Isa,
        w: &Packed,
        bias: Option<&[f32]>,
        panels: Range<usize>,
        x: &[f32],
        y: Shared<'_>,
    ) {
        let s = self.shape;
        let rows = panels.start * PANEL..s.rows.min(panels.end * PANEL);
        let vectors: [usize; VECTORS] = std::array::from_fn(|v| v * PANEL);
        let vectors = &vectors[..self.pixels.div_ceil(PANEL)];
        // Behind each line a vector may end that began in it.
        let mut packed = Buffer::zeroed(DEPTH.min(s.depth()) * WIDE + PANEL);
        // Pixels that fill their vectors are written where they belong.
        let whole = self.pixels.is_multiple_of(PANEL);
        let mut edge = Buffer::dirty(if whole { 0 } else { rows.len() * WIDE });
        let taps: Taps = std::iter::once(Tap { a: 0, b: 0 }).collect();
        for start in (0..s.depth()).step_by(DEPTH) {
            let depth = self.pack(isa, start, x, &mut packed);
            for panel in rows.clone().step_by(PANEL) {
                let weights = &w.panel(panel)[start * PANEL..];
                for (m, count) in row_tiles(PANEL.min(rows.end - panel), isa.tile_rows()) {
                    let row = panel + m;
                    let (out, place, step) = if whole {
                        (y, row * s.pixels() + self.first, s.pixels())
                    } else {
                        (Shared::new(&mut edge), (row - rows.start) * WIDE, WIDE)
                    };
                    for vectors in vectors.chunks(isa.tile_vectors(count)) {
                        let tile = Tile {
                            taps: &taps,
                            depth,
                            a: &weights[m..],
                            a_row: 1,
                            a_step: PANEL,
                            b: &packed,
                            b_step: WIDE,
                            b_vectors: vectors,
                            start: match (start, bias) {
                                (0, Some(b)) => Start::Rows(&b[row..]),
                                (0, None) => Start::Zero,
                                _ => Start::Output,
                            },
                            rows: count,
                        };
                        // SAFETY: these rows of these pixels are written by this call alone.
                        unsafe { tile.run(isa, out, place, step, vectors) };
                    }
                }
            }
        }
        for (row, line) in rows.zip(edge.chunks_exact(WIDE)) {
            // SAFETY: as above.
            unsafe { y.slice(row * s.pixels() + self.first, self.pixels) }
                .copy_from_slice(&line[..self.pixels]);
        }
    }
}

versioned! {
    /// One line of [`WIDE`] pixels for each of `planes`, from where the tap's plane begins in `x`; every `stride`th number.
    fn pack(x: &[f32], planes: &[usize], runs: &[Run], stride: usize, out: &mut [f32]) {
        for (k, &plane) in planes.iter().enumerate() {
            let line = &mut out[k * WIDE..][..WIDE + PANEL];
            for run in runs {
                let from = &x[plane + run.from..];
                let to = &mut line[run.to..];
                match stride {
                    1 => copy(from, to, run.count),
                    2 => every_other(from, &mut to[..run.count]),
                    _ => {
                        let from = from.iter().step_by(stride);
                        to[..run.count].iter_mut().zip(from).for_each(|(to, x)| *to = *x);
                    }
                }
            }
        }
    }
}

/// Copies whole vectors where there is room, for the compiler to make no call of it: what lies behind is written later.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32], length: usize) {
    let rounded = length.next_multiple_of(PANEL);
    if rounded <= from.len() && rounded <= to.len() {
        let (from, to) = (from[..rounded].as_chunks::<PANEL>(), to[..rounded].as_chunks_mut());
        to.0.iter_mut().zip(from.0).for_each(|(to, from)| *to = *from);
    } else {
        to[..length].copy_from_slice(&from[..length]);
    }
}

#[inline(always)]
fn every_other(from: &[f32], to: &mut [f32]) {
    let (pairs, rest) = from.as_chunks::<2>();
    to.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
    // Behind the last pair there may be one more.
    to.iter_mut().skip(pairs.len()).zip(rest).for_each(|(to, x)| *to = *x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::inside;

    #[test]
    fn each_row_of_each_vector_is_one_task() {
        for parts in 1..=TASKS {
            for vectors in 1..100 {
                let tasks = tasks(vectors, parts);
                assert!(tasks.len().is_multiple_of(parts), "{vectors} {parts}");
                let mut seen = vec![0; vectors * parts];
                for &(first, count, part) in &tasks {
                    assert!((1..=VECTORS).contains(&count));
                    for vector in first..first + count {
                        let all = part.map_or(0..parts, |part| part..part + 1);
                        all.for_each(|part| seen[vector * parts + part] += 1);
                    }
                }
                assert!(seen.iter().all(|&n| n == 1), "{vectors} {parts}");
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let number = |at: usize| (at * 7919 % 1009) as f32 / 500.0 - 1.0;
        for [channels, rows, height, width, kernel, stride] in [
            [33, 70, 11, 13, 3, 1],
            [80, 40, 20, 14, 1, 1],
            [17, 50, 9, 21, 5, 2],
            [64, 130, 7, 7, 1, 1],
        ] {
            let s = ConvShape {
                groups: 1,
                channels,
                rows,
                kernel: [kernel; 2],
                stride: [stride; 2],
                dilation: [1, 1],
                input: [(height - 1) * stride + kernel, (width - 1) * stride + kernel],
                inside: [[0, 0]; 2],
                output: [height, width],
            };
            let w = Packed::new(false, rows, s.depth(), |row, k| number(row * s.depth() + k));
            let x: Vec<f32> = (0..channels * s.plane()).map(number).collect();
            let bias: Vec<f32> = (0..rows).map(number).collect();
            for isa in Isa::available() {
                let run = |threads: usize| {
                    let mut y = vec![f32::NAN; rows * s.pixels()];
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                    pool.unwrap().install(|| {
                        inside(|| single(isa, true, &s, &w, Some(&bias), &x, &mut y));
                    });
                    y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                let alone = run(1);
                for threads in [2, 3, 7] {
                    assert_eq!(run(threads), alone, "{threads} threads, {height} x {width}");
                }
            }
        }
    }
}
