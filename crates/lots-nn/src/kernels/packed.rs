//! Weights as the register tile wants them.

use super::lanes::interleave_lanes;
use super::simd::Isa;
use crate::parallel::{for_each_chunk, worth};
use crate::scratch::Buffer;

/// Rows of one packed panel.
pub(crate) const PANEL: usize = 16;

/// A matrix [rows, depth] as panels of sixteen rows: `[rows / 16][depth][16]`, the last panel filled with zeros.
///
/// With its rows as the tile's rows it multiplies lane-blocked images; read as vectors of sixteen outputs it
/// multiplies single images. Both make the same chain of multiply-adds. With its depth as the tile's rows it is the
/// transposed matrix.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) data: Vec<f32>,
}

impl Packed {
    /// Packs the matrix whose element (row, depth) is `at(row, depth)`.
    pub(crate) fn new(
        parallel: bool,
        rows: usize,
        depth: usize,
        at: impl Fn(usize, usize) -> f32 + Send + Sync,
    ) -> Self {
        let mut packed = Self { rows, depth, data: Vec::new() };
        packed.fill(parallel, at);
        packed
    }

    /// Packs again, in place.
    pub(crate) fn fill(&mut self, parallel: bool, at: impl Fn(usize, usize) -> f32 + Send + Sync) {
        self.data.resize(self.rows.div_ceil(PANEL) * self.depth * PANEL, 0.0);
        let all = self.rows;
        let parallel = parallel && worth(self.data.len());
        for_each_chunk(parallel, &mut self.data, self.depth * PANEL, |p, panel| {
            let rows = PANEL.min(all - p * PANEL);
            for (k, column) in panel.chunks_exact_mut(PANEL).enumerate() {
                for (m, x) in column[..rows].iter_mut().enumerate() {
                    *x = at(p * PANEL + m, k);
                }
            }
        });
    }

    /// Packs a matrix that lies [rows][depth] in `data`, in its own memory.
    pub(crate) fn from_rows(parallel: bool, rows: usize, depth: usize, mut data: Vec<f32>) -> Self {
        data.resize(rows.div_ceil(PANEL) * depth * PANEL, 0.0);
        let parallel = parallel && worth(data.len());
        for_each_chunk(parallel, &mut data, depth * PANEL, |_, panel| {
            // Rows behind the last one are zeros already.
            let mut rows = Buffer::dirty(panel.len());
            rows.copy_from_slice(panel);
            fill_panel(&rows, depth, panel);
        });
        Self { rows, depth, data }
    }

    /// The matrix [rows][depth].
    pub(crate) fn to_rows(&self) -> Vec<f32> {
        let mut rows = vec![0.0; self.rows * self.depth];
        for (r, row) in rows.chunks_exact_mut(self.depth.max(1)).enumerate() {
            let column = self.panel(r).chunks_exact(PANEL).map(|column| column[r % PANEL]);
            row.iter_mut().zip(column).for_each(|(to, x)| *to = x);
        }
        rows
    }

    /// The matrix [depth][rows].
    pub(crate) fn to_columns(&self) -> Vec<f32> {
        let mut columns = vec![0.0; self.rows * self.depth];
        for (k, column) in columns.chunks_exact_mut(self.rows.max(1)).enumerate() {
            for (p, part) in column.chunks_mut(PANEL).enumerate() {
                part.copy_from_slice(&self.panel(p * PANEL)[k * PANEL..][..part.len()]);
            }
        }
        columns
    }

    /// Packs a matrix that lies [depth][rows] in `from`, in place.
    pub(crate) fn fill_columns(&mut self, parallel: bool, from: &[f32]) {
        let all = self.rows;
        self.data.resize(self.rows.div_ceil(PANEL) * self.depth * PANEL, 0.0);
        let parallel = parallel && worth(self.data.len());
        for_each_chunk(parallel, &mut self.data, self.depth * PANEL, |p, panel| {
            let rows = PANEL.min(all - p * PANEL);
            for (to, from) in panel.chunks_exact_mut(PANEL).zip(from.chunks_exact(all)) {
                to[..rows].copy_from_slice(&from[p * PANEL..][..rows]);
            }
        });
    }

    /// Packs a matrix that lies [rows][depth] in `from`, in place.
    pub(crate) fn fill_rows(&mut self, parallel: bool, from: &[f32]) {
        let depth = self.depth;
        self.data.resize(self.rows.div_ceil(PANEL) * self.depth * PANEL, 0.0);
        let parallel = parallel && worth(self.data.len());
        for_each_chunk(parallel, &mut self.data, depth * PANEL, |p, panel| {
            fill_panel(&from[p * PANEL * depth..], depth, panel);
        });
    }

    /// Element (row, k).
    pub(crate) fn at(&self, row: usize, k: usize) -> f32 {
        self.panel(row)[k * PANEL + row % PANEL]
    }

    /// The panel that holds `row`.
    pub(crate) fn panel(&self, row: usize) -> &[f32] {
        &self.data[row / PANEL * self.depth * PANEL..][..self.depth * PANEL]
    }
}

/// The first rows of `depth` numbers, sixteen at most, to a panel.
fn fill_panel(rows: &[f32], depth: usize, panel: &mut [f32]) {
    let rows: Vec<&[f32]> = rows.chunks_exact(depth.max(1)).take(PANEL).collect();
    interleave_lanes(Isa::best(), &rows, panel);
}
