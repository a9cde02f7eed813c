//! Convolutions of stride 1 with 3 × 3 or 5 × 5 taps by Winograd's minimal filtering, and their adjoint.
//!
//! Tiles of 4 × 4 outputs go to 6 × 6 or 8 × 8 points, where a convolution is one matrix product a point, with 4 or 6.25
//! times fewer multiplications. Back-projection is the transposed sequence with the same weights. A vector holds one tile
//! of sixteen images that lie side by side, or sixteen tiles of a single image: both make the same numbers in the same
//! order.

mod matrices;
mod patches;
mod products;
#[cfg(test)]
mod tests;
mod transform;

use super::packed::PANEL;
use super::simd::Isa;
use super::tile::Shared;
use super::{LANES, versioned};
use crate::parallel::{WORTH, for_each, for_each_chunk};
use crate::scratch::Buffer;
use std::sync::OnceLock;

use patches::{Patches, Place};
use products::{Product, few_columns};
use transform::{Square, Transform, apply};

/// Outputs of a tile on each axis.
const TILE: usize = 4;
/// The most points of a tile on each axis.
const POINTS: usize = 8;
/// So few vectors of tiles of a single image go the other way round: half of the last one may be empty.
const FEW: usize = 2;
/// Floats at the points of one block of tiles, of all channels before and after the products.
const BLOCK: usize = 1 << 19;

/// The weights of a convolution at the points.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    rows: usize,
    channels: usize,
    /// Taps on each axis, 3 or 5.
    taps: usize,
    /// `[points²][rows / 16][channels][16]`.
    weights: Vec<f32>,
    /// The same transposed, `[points²][channels / 16][rows][16]`: for back-projection to few tiles.
    transposed: OnceLock<Vec<f32>>,
}

/// Where the windows of a convolution lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Height and width of a plane of the input.
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
    /// Rows above and columns left of the input.
    pub(crate) pad: [usize; 2],
}

/// One way through the transforms: planes to points, products, points to planes.
struct Way<'a> {
    back: bool,
    /// Channels, squares and transform on the way to the points.
    from: (usize, Patches, Transform),
    /// The same on the way from them.
    to: (usize, Patches, Transform),
    bias: Option<&'a [f32]>,
}

impl Winograd {
    /// Transforms the weights whose element (row, channel, tap) is `at(row, channel, tap)`.
    pub(crate) fn new(
        isa: Isa,
        parallel: bool,
        [rows, channels, taps]: [usize; 3],
        at: impl Fn(usize, usize, usize) -> f32 + Send + Sync,
    ) -> Self {
        let g: Vec<f64> = match taps {
            3 => matrices::filter::<6, 3>(&matrices::THREE).concat(),
            _ => matrices::filter::<8, 5>(&matrices::FIVE).concat(),
        };
        let (panels, size) = (rows.div_ceil(PANEL), channels * PANEL);
        let mut all =
            Self { rows, channels, taps, weights: Vec::new(), transposed: OnceLock::new() };
        let points = all.points() * all.points();
        // One panel after the other, then by point.
        let mut by_panel = vec![0.0; panels * points * size];
        for_each_chunk(parallel, &mut by_panel, points * size, |p, out| {
            let mut w = vec![0.0; taps * taps * PANEL];
            for channel in 0..channels {
                for (tap, w) in w.chunks_exact_mut(PANEL).enumerate() {
                    for (w, row) in w.iter_mut().zip(p * PANEL..rows) {
                        *w = at(row, channel, tap).into();
                    }
                }
                both_ways(isa, &g, taps, &w, &mut out[channel * PANEL..], size);
            }
        });
        all.weights.reserve_exact(by_panel.len());
        for point in 0..points {
            for p in 0..panels {
                all.weights.extend_from_slice(&by_panel[(p * points + point) * size..][..size]);
            }
        }
        all
    }

    /// The transposed weights.
    fn transposed(&self) -> &[f32] {
        self.transposed.get_or_init(|| {
            let (rows, channels) = (self.rows, self.channels);
            let panels = [rows, channels].map(|n| n.div_ceil(PANEL));
            let mut all = vec![0.0; self.points() * self.points() * panels[1] * rows * PANEL];
            let points = self.weights.chunks_exact(panels[0] * channels * PANEL);
            for (to, from) in all.chunks_exact_mut(panels[1] * rows * PANEL).zip(points) {
                for row in 0..rows {
                    let from = &from[row / PANEL * channels * PANEL + row % PANEL..];
                    for (channel, x) in from.iter().step_by(PANEL).take(channels).enumerate() {
                        to[(channel / PANEL * rows + row) * PANEL + channel % PANEL] = *x;
                    }
                }
            }
            all
        })
    }

    /// Points of a tile on each axis.
    fn points(&self) -> usize {
        self.taps + TILE - 1
    }

    /// `y = bias + W ∗ x` for one group of `lanes` (1 or 16) images.
    ///
    /// `x` is [channels, input, lanes], `y` is [rows, output, lanes].
    #[allow(clippy::too_many_arguments, reason = "the operands of a convolution")]
    pub(crate) fn forward(
        &self,
        isa: Isa,
        parallel: bool,
        field: &Field,
        bias: Option<&[f32]>,
        lanes: usize,
        x: &[f32],
        y: &mut [f32],
    ) {
        let way = Way {
            back: false,
            from: (self.channels, field.windows(self.points(), lanes), Transform::Input),
            to: (self.rows, field.tiles(lanes), Transform::Output),
            bias,
        };
        self.run(isa, parallel, &way, x, y);
    }

    /// `dx = Wᵀ ∗ g`, the adjoint of [`Winograd::forward`] without its bias.
    ///
    /// `g` is [rows, output, lanes], `dx` is [channels, input, lanes]; overwritten.
    pub(crate) fn back(
        &self,
        isa: Isa,
        parallel: bool,
        field: &Field,
        lanes: usize,
        g: &[f32],
        dx: &mut [f32],
    ) {
        let way = Way {
            back: true,
            from: (self.rows, field.tiles(lanes), Transform::OutputBack),
            to: (self.channels, field.windows(self.points(), lanes), Transform::InputBack),
            bias: None,
        };
        dx.fill(0.0);
        self.run(isa, parallel, &way, g, dx);
    }

    /// Block by block of tiles: all channels to the points, one product a point, all results back.
    fn run(&self, isa: Isa, parallel: bool, way: &Way<'_>, x: &[f32], y: &mut [f32]) {
        let ((from, read, there), (to, written, back)) = (way.from, way.to);
        let (x_plane, y_plane) = (read.floats(), written.floats());
        assert!(x.len() == from * x_plane && y.len() == to * y_plane);
        assert!(way.bias.is_none_or(|b| b.len() == to));
        let points = self.points() * self.points();
        let places = read.count().div_ceil(LANES / read.lanes);
        let most = BLOCK / (points * (from + to) * PANEL);
        let blocks = places.div_ceil(most.max(4));
        let most = places.div_ceil(blocks.max(1));
        let parallel = parallel && points * from * to * most * PANEL > 8 * WORTH;
        // One vector behind each point: without it, all points of a place share few sets of the cache.
        let length = |channels: usize, vectors: usize| (channels * vectors + 1) * PANEL;
        let mut before = Buffer::dirty(points * length(from, most));
        let mut after = Buffer::dirty(points * length(to, most));
        let y = Shared::new(y);
        for first in (0..places).step_by(most) {
            let vectors = most.min(places - first);
            let placed = |patches: &Patches| -> Vec<Place> {
                (first..first + vectors).map(|v| patches.place(v)).collect()
            };
            let (read_places, written_places) = (placed(&read), placed(&written));
            let (before_step, after_step) = (length(from, vectors), length(to, vectors));
            let square = |step: usize, channel: usize, v: usize| Square {
                start: (channel * vectors + v) * PANEL,
                row: self.points() * step,
                column: step,
            };
            let points_of = Shared::new(&mut before);
            for_each(parallel, from, |channel| {
                let plane = &x[channel * x_plane..][..x_plane];
                let mut copy = [0.0; POINTS * POINTS * PANEL];
                for (v, place) in read_places.iter().enumerate() {
                    let source = match read.whole(place) {
                        Some(square) => (plane, square),
                        None => {
                            read.read(isa, plane, place, &mut copy);
                            (&copy[..], read.copied())
                        }
                    };
                    let square = square(before_step, channel, v);
                    // SAFETY: this channel's points are written by this call alone.
                    unsafe { apply(isa, there, self.taps, source, 0.0, (points_of, square)) };
                }
            });
            let (before, products) = (&before[..], Shared::new(&mut after));
            // Of a single image.
            let columns = (read.count() - first * LANES / read.lanes).min(vectors * PANEL);
            let few = read.lanes == 1 && vectors <= FEW;
            let weights = if few && way.back { self.transposed() } else { &self.weights };
            let size = weights.len() / points;
            for_each(parallel, points, |point| {
                // SAFETY: a point's products are written by this call alone.
                let out = unsafe { products.slice(point * after_step, after_step) };
                let b = &before[point * before_step..][..before_step];
                let weights = &weights[point * size..][..size];
                if few {
                    let width = vectors * PANEL;
                    return few_columns(isa, weights, to, b, width, columns, out);
                }
                let product = Product {
                    weights,
                    rows: self.rows,
                    channels: self.channels,
                    back: way.back,
                    b,
                    vectors,
                };
                product.run(isa, out);
            });
            let after = &after[..];
            for_each(parallel, to, |channel| {
                let start = way.bias.map_or(0.0, |b| b[channel]);
                let mut copy = [0.0; POINTS * POINTS * PANEL];
                for (v, place) in written_places.iter().enumerate() {
                    let source = (after, square(after_step, channel, v));
                    // SAFETY: this channel's plane is written by this call alone.
                    let plane = unsafe { y.slice(channel * y_plane, y_plane) };
                    let (out, square, copied) = match written.whole(place) {
                        Some(square) if !way.back => (Shared::new(plane), square, false),
                        _ => (Shared::new(&mut copy), written.copied(), true),
                    };
                    // SAFETY: the plane and the copy are this call's own.
                    unsafe { apply(isa, back, self.taps, source, start, (out, square)) };
                    if copied {
                        // SAFETY: as above.
                        let plane = unsafe { y.slice(channel * y_plane, y_plane) };
                        written.write(isa, plane, place, &copy, way.back);
                    }
                }
            });
        }
    }
}

impl Field {
    /// The tiles of the output.
    fn tiles(&self, lanes: usize) -> Patches {
        let [down, across] = self.output.map(|n| n.div_ceil(TILE));
        Patches { plane: self.output, pad: [0, 0], side: TILE, down, across, lanes }
    }

    /// What each tile of the output sees of the input.
    fn windows(&self, side: usize, lanes: usize) -> Patches {
        Patches { plane: self.input, pad: self.pad, side, ..self.tiles(lanes) }
    }
}

versioned! {
    /// `G w Gᵀ` in f64 for sixteen rows abreast: `w` is [taps²][16], point number `i` goes to `out[i · step..]`.
    fn both_ways(g: &[f64], taps: usize, w: &[f64], out: &mut [f32], step: usize) {
        let (w, _) = w.as_chunks::<PANEL>();
        for (i, down) in g.chunks_exact(taps).enumerate() {
            let mut half = [[0.0; PANEL]; 5];
            for (g, w) in down.iter().zip(w.chunks_exact(taps)) {
                for (half, w) in half.iter_mut().zip(w) {
                    for (half, w) in half.iter_mut().zip(w) {
                        *half += g * w;
                    }
                }
            }
            for (k, across) in g.chunks_exact(taps).enumerate() {
                let mut sum = [0.0; PANEL];
                for (g, half) in across.iter().zip(&half) {
                    for (sum, half) in sum.iter_mut().zip(half) {
                        *sum += g * half;
                    }
                }
                let point = i * (taps + TILE - 1) + k;
                for (out, sum) in out[point * step..].iter_mut().zip(sum) {
                    *out = sum as f32;
                }
            }
        }
    }
}
