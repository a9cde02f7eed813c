//! The gradient of the weights by tiles of four columns: at each point and for each row of taps, the products of the cotangent
//! and the input, summed over rows, tiles and images.
//!
//! Only columns go to points. With both axes, sums of thousands of terms would lose more digits than the limit of `tests.rs`
//! allows.

use super::transform::{Steps, Transform, apply};
use super::{Field, TILE, Winograd};
use crate::kernels::conv::add;
use crate::kernels::matmul::row_tiles;
use crate::kernels::packed::PANEL;
use crate::kernels::simd::Isa;
use crate::kernels::tile::{Start, Tap, Taps, Tile};
use crate::kernels::{LANES, interleave_lanes};
use crate::scratch::Buffer;
use crate::shared::Shared;
use std::ops::Range;

/// Panels of sixteen rows of weights that are summed at a time: enough chains side by side.
const PANELS: usize = 4;
const WIDTH: usize = PANELS * PANEL;
/// Terms of a chain: shorter ones, added up, lose fewer digits.
const PIECE: usize = 64;
/// Floats at the points of one block of rows, of both operands.
const BLOCK: usize = 1 << 18;
/// The most taps on an axis.
const TAPS: usize = 5;

impl Winograd {
    /// `dw += g ∗ x` for one group of sixteen images that lie abreast.
    ///
    /// `x` is [channels, input, 16], `g` is [rows, output, 16], `dw` is [rows, channels, taps²].
    pub(crate) fn weight_gradient(
        &self,
        isa: Isa,
        field: &Field,
        x: &[f32],
        g: &[f32],
        dw: &mut [f32],
    ) {
        let (rows, channels, taps, points) = (self.rows, self.channels, self.taps, self.points());
        let size = |plane: [usize; 2]| plane[0] * plane[1] * LANES;
        assert!(x.len() == channels * size(field.input) && g.len() == rows * size(field.output));
        assert!(dw.len() == rows * channels * taps * taps);
        let across = field.output[1].div_ceil(TILE);
        let fits = BLOCK / (points * (channels + WIDTH) * across * PANEL);
        let most = field.output[0].min(fits.max(taps));
        let input = Cut { plane: field.input, pad: field.pad, across, overlap: taps - 1 };
        let output = Cut { plane: field.output, pad: [0, 0], across, overlap: 0 };
        let strip = |panel: usize| panel * PANEL..rows.min((panel + PANELS) * PANEL);
        let mut inputs = Buffer::dirty(points * input.step(channels, most + taps - 1));
        let mut cotangents = Buffer::dirty(points * output.step(WIDTH, most));
        // `[rows / 64][points][taps][channels][64]`.
        let tap_size = channels * WIDTH;
        let mut sums = Buffer::zeroed(rows.div_ceil(WIDTH) * points * taps * tap_size);
        for first in (0..field.output[0]).step_by(most) {
            let count = most.min(field.output[0] - first);
            let seen = first..first + count + taps - 1;
            let way = (Transform::Input, taps);
            let step = input.to_points(isa, way, x, 0..channels, seen.clone(), &mut inputs);
            let strips = sums.chunks_exact_mut(points * taps * tap_size);
            for (sums, panel) in strips.zip((0..).step_by(PANELS)) {
                let (way, lines) = ((Transform::OutputBack, taps), first..first + count);
                let g_step = output.to_points(isa, way, g, strip(panel), lines, &mut cotangents);
                for (point, sums) in sums.chunks_exact_mut(taps * tap_size).enumerate() {
                    let products = Products {
                        isa,
                        x: &inputs[point * step..][..step],
                        x_row: seen.len() * across * PANEL,
                        g: &cotangents[point * g_step..][..g_step],
                        depth: count * across * PANEL,
                        rows: strip(panel).len(),
                    };
                    products.add(across * PANEL, tap_size, sums);
                }
            }
        }
        for (sums, panel) in sums.chunks_exact(points * taps * tap_size).zip((0..).step_by(PANELS))
        {
            self.add_weights(isa, sums, strip(panel), dw);
        }
    }

    /// From the points to the weights: adds the sums of some rows to `dw`.
    fn add_weights(&self, isa: Isa, sums: &[f32], rows: Range<usize>, dw: &mut [f32]) {
        let (channels, taps) = (self.channels, self.taps);
        let point = taps * channels * WIDTH;
        for (at, panel) in
            (0..taps * channels).flat_map(|at| rows.clone().step_by(PANEL).map(move |p| (at, p)))
        {
            let (tap, channel) = (at / channels, at % channels);
            let mut copy = [0.0; TAPS * PANEL];
            let line = |column| Steps { row: None, column };
            let (from, to) = ((sums, line(point)), (Shared::new(&mut copy), line(PANEL)));
            let place = [[at * WIDTH + panel - rows.start, 0]];
            // SAFETY: `copy` is this call's own.
            unsafe { apply(isa, Transform::WeightsBack, taps, from, 0.0, to, &place) };
            for row in panel..rows.end.min(panel + PANEL) {
                let dw = &mut dw[((row * channels + channel) * taps + tap) * taps..][..taps];
                for (dw, x) in dw.iter_mut().zip(copy[row - panel..].iter().step_by(PANEL)) {
                    *dw += x;
                }
            }
        }
    }
}

/// How rows of a plane are cut into tiles of four columns.
struct Cut {
    plane: [usize; 2],
    pad: [usize; 2],
    across: usize,
    /// Columns that a tile shares with the next one.
    overlap: usize,
}

impl Cut {
    /// Floats from one point to the next: a vector more than there are, so that points do not share few sets of the cache.
    fn step(&self, channels: usize, lines: usize) -> usize {
        (channels * lines * self.across + 1) * PANEL
    }

    /// Rows `lines`, counted with the padding, of some channels of `x` to the points, `[points][channels][lines][tiles][16]`;
    /// gives [`Cut::step`].
    fn to_points(
        &self,
        isa: Isa,
        (transform, taps): (Transform, usize),
        x: &[f32],
        channels: Range<usize>,
        lines: Range<usize>,
        to: &mut [f32],
    ) -> usize {
        let [height, width] = self.plane;
        let step = self.step(channels.len(), lines.len());
        let to = Shared::new(to);
        let mut line = Buffer::zeroed((self.across * TILE + self.overlap) * PANEL);
        let mut places = vec![[0; 2]; self.across];
        let planes = x.chunks_exact(height * width * LANES).skip(channels.start);
        for (channel, plane) in planes.take(channels.len()).enumerate() {
            for (n, y) in lines.clone().enumerate() {
                // Tiles reach as far as the last window.
                let part = &mut line[self.pad[1] * PANEL..][..width * PANEL];
                match y.checked_sub(self.pad[0]).filter(|y| *y < height) {
                    Some(y) => part.copy_from_slice(&plane[y * width * LANES..][..width * LANES]),
                    None => part.fill(0.0),
                }
                let start = (channel * lines.len() + n) * self.across;
                for (tile, place) in places.iter_mut().enumerate() {
                    *place = [tile * TILE * PANEL, (start + tile) * PANEL];
                }
                let (from, column) = (Steps { row: None, column: PANEL }, step);
                let to = (to, Steps { row: None, column });
                // SAFETY: `to` is this call's own.
                unsafe { apply(isa, transform, taps, (&line, from), 0.0, to, &places) };
            }
        }
        step
    }
}

/// Both operands at one point.
struct Products<'a> {
    isa: Isa,
    /// A channel's rows, each behind the one above, `x_row` floats a channel.
    x: &'a [f32],
    x_row: usize,
    /// The rows' cotangents, `depth` floats each.
    g: &'a [f32],
    depth: usize,
    rows: usize,
}

impl Products<'_> {
    /// `sums[tap][channel][row] += Σ x[channel][tap · line + k] · g[row][k]`, `tap_size` floats a tap.
    fn add(&self, line: usize, tap_size: usize, sums: &mut [f32]) {
        let Self { isa, depth, .. } = *self;
        let zeros = Buffer::zeroed(depth);
        let mut panels = Buffer::dirty(depth * WIDTH);
        let all: Vec<&[f32]> = self.g.chunks_exact(depth).take(self.rows).collect();
        for (rows, panel) in all.chunks(PANEL).zip(panels.chunks_exact_mut(depth * PANEL)) {
            let mut abreast = [&zeros[..]; PANEL];
            abreast[..rows.len()].copy_from_slice(rows);
            interleave_lanes(isa, &abreast, panel);
        }
        let vectors = self.rows.div_ceil(PANEL);
        let b_vectors: [usize; PANELS] = std::array::from_fn(|v| v * depth * PANEL);
        let c_vectors: [usize; PANELS] = std::array::from_fn(|v| v * PANEL);
        let mut part = Buffer::zeroed(tap_size);
        for (tap, sums) in sums.chunks_exact_mut(tap_size).enumerate() {
            for k in (0..depth).step_by(PIECE) {
                let taps: Taps = std::iter::once(Tap { a: tap * line + k, b: k * PANEL }).collect();
                for (channel, count) in row_tiles(tap_size / WIDTH, isa.tile_rows()) {
                    let abreast = isa.tile_vectors(count);
                    for v in (0..vectors).step_by(abreast) {
                        let v = v..vectors.min(v + abreast);
                        let tile = Tile {
                            taps: &taps,
                            depth: PIECE.min(depth - k),
                            a: &self.x[channel * self.x_row..],
                            a_row: self.x_row,
                            a_step: 1,
                            b: &panels,
                            b_step: PANEL,
                            b_vectors: &b_vectors[v.clone()],
                            start: Start::Zero,
                            rows: count,
                        };
                        let c = Shared::new(&mut part);
                        // SAFETY: `part` is this call's own.
                        unsafe { tile.run(isa, c, channel * WIDTH, WIDTH, &c_vectors[v]) };
                    }
                }
                add(isa, &part, sums);
            }
        }
    }
}
