//! Products of weights with few columns: panels of weights are the vectors and columns the tile's rows, so that no vector
//! is half empty and weights are read once. The chains are those of the other way round.

use super::matmul::row_tiles;
use super::matmul_back::turn;
use super::packed::PANEL;
use super::simd::{Isa, prefetch};
use super::tile::{Start, Taps, Tile};
use crate::shared::Shared;

/// Panels of a transposed matrix: what `part(n)` gives, a square of sixteen for each of them side by side, turned to place `n` of each panel
/// of `to`, which are `size` long. `part(count)` is asked for ahead, if there is one.
pub(super) fn turn_panels<'w>(
    isa: Isa,
    count: usize,
    part: impl Fn(usize) -> Option<&'w [f32]>,
    size: usize,
    to: &mut [f32],
) {
    const SQUARE: usize = PANEL * PANEL;
    for n in 0..count {
        if let Some(next) = part(n + 1) {
            prefetch(next);
        }
        let from = part(n).unwrap_or_default().chunks(SQUARE);
        for (from, to) in from.zip(to.chunks_exact_mut(size)) {
            turn(isa, from, PANEL, &mut to[n * SQUARE..][..SQUARE]);
        }
    }
}

/// Neighbours among the columns.
pub(super) struct Run {
    /// The place of the first one.
    pub(super) to: usize,
    /// Where it begins in the operand.
    pub(super) from: usize,
    pub(super) count: usize,
}

/// A piece of the depth of `out[column][row] = start[row] + Σ w[row][k] · b[k][column]`, each chain in the order of its depth.
pub(super) struct Turned<'a> {
    /// The piece's part of panels `[rows / 16][w_depth][16]`: where it begins in the first of them.
    pub(super) w: &'a [f32],
    pub(super) w_depth: usize,
    /// Where the runs of the piece begin in `b` and in a panel, and how long each is.
    pub(super) taps: &'a Taps,
    pub(super) depth: usize,
    /// Element (k, column) of a run of columns at `tap + run.from + column · b_column + k · b_step`.
    pub(super) b: &'a [f32],
    pub(super) b_step: usize,
    pub(super) b_column: usize,
    pub(super) runs: &'a [Run],
    /// For each row of the panels.
    pub(super) start: &'a [f32],
    /// Whether the piece is added to what pieces before it have made, and not to `start`.
    pub(super) adds: bool,
}

impl Turned<'_> {
    /// The piece to `out`, [columns][start.len()].
    pub(super) fn run(&self, isa: Isa, out: &mut [f32]) {
        let width = self.start.len();
        assert!(width.is_multiple_of(PANEL));
        let abreast = isa.tile_vectors(isa.tile_rows());
        let panels = width / PANEL;
        let out = Shared::new(out);
        for panel in (0..panels).step_by(abreast) {
            let vectors = abreast.min(panels - panel);
            let b_vectors: [usize; 4] = std::array::from_fn(|v| v * self.w_depth * PANEL);
            let c_vectors: [usize; 4] = std::array::from_fn(|v| v * PANEL);
            let tiles = self.runs.iter().flat_map(|run| {
                let tiles = row_tiles(run.count, isa.tile_rows());
                tiles.map(move |(n, count)| (run.to + n, run.from + n * self.b_column, count))
            });
            for (to, from, count) in tiles {
                let tile = Tile {
                    taps: self.taps,
                    depth: self.depth,
                    a: &self.b[from..],
                    a_row: self.b_column,
                    a_step: self.b_step,
                    b: &self.w[panel * self.w_depth * PANEL..],
                    b_step: PANEL,
                    b_vectors: &b_vectors[..vectors],
                    start: if self.adds {
                        Start::Output
                    } else {
                        Start::Columns(&self.start[panel * PANEL..])
                    },
                    rows: count,
                };
                let place = to * width + panel * PANEL;
                // SAFETY: `out` is this call's own.
                unsafe { tile.run(isa, out, place, width, &c_vectors[..vectors]) };
            }
        }
    }
}
