//! Matrix products of packed weights with lane-blocked or single images.

use std::ops::Range;

use super::packed::{PANEL, Packed};
use super::simd::Isa;
use super::tile::{Start, Tap, Taps, Tile};
use super::{LANES, versioned};
use crate::parallel::{for_each, worth};
use crate::shared::Shared;

/// Depth of one pass: sixteen packed rows of it stay in the first-level cache.
const DEPTH: usize = 512;

/// `y[group][rows][lane] = bias[rows] + W · x[group][depth][lane]`, for `groups` groups of `lanes` (1 or 16) images.
///
/// `lanes == 1`: `groups` single images one behind the other.
pub(crate) fn matmul(
    isa: Isa,
    parallel: bool,
    w: &Packed,
    bias: Option<&[f32]>,
    lanes: usize,
    x: &[f32],
    y: &mut [f32],
) {
    let groups = x.len() / (w.depth * lanes).max(1);
    assert!(x.len() == groups * w.depth * lanes && y.len() == groups * w.rows * lanes);
    if groups == 0 || w.rows == 0 {
        return;
    }
    if w.depth == 0 {
        for chunk in y.chunks_exact_mut(w.rows * lanes) {
            for (m, row) in chunk.chunks_exact_mut(lanes).enumerate() {
                row.fill(bias.map_or(0.0, |b| b[m]));
            }
        }
        return;
    }
    let parallel = parallel && worth(w.rows * x.len() / 8);
    let y = Shared::new(y);
    let panels = w.rows.div_ceil(PANEL);
    if lanes == LANES {
        for_each(parallel, panels, |p| lane_panel(isa, w, p, bias, groups, x, y));
    } else {
        for_each(parallel, panels.div_ceil(ABREAST), |i| {
            let first = i * ABREAST;
            single_panels(isa, w, first..panels.min(first + ABREAST), bias, groups, x, y);
        });
    }
}

/// All images of one panel of sixteen outputs, lane-blocked.
fn lane_panel(
    isa: Isa,
    w: &Packed,
    p: usize,
    bias: Option<&[f32]>,
    groups: usize,
    x: &[f32],
    y: Shared<'_>,
) {
    let rows = PANEL.min(w.rows - p * PANEL);
    let panel = w.panel(p * PANEL);
    let mut b_vectors = Vec::with_capacity(groups);
    let mut c_vectors = Vec::with_capacity(groups);
    for g in 0..groups {
        b_vectors.push(g * w.depth * LANES);
        c_vectors.push(g * w.rows * LANES);
    }
    for k in (0..w.depth).step_by(DEPTH) {
        let taps: Taps = std::iter::once(Tap { a: k * PANEL, b: k * LANES }).collect();
        for (m, count) in row_tiles(rows, isa.tile_rows()) {
            let row = p * PANEL + m;
            let start = match (k, bias) {
                (0, Some(bias)) => Start::Rows(&bias[row..]),
                (0, None) => Start::Zero,
                _ => Start::Output,
            };
            let most = isa.tile_vectors(count);
            for (b_vectors, c_vectors) in b_vectors.chunks(most).zip(c_vectors.chunks(most)) {
                let tile = Tile {
                    taps: &taps,
                    depth: DEPTH.min(w.depth - k),
                    a: &panel[m..],
                    a_row: 1,
                    a_step: PANEL,
                    b: x,
                    b_step: LANES,
                    b_vectors,
                    start,
                    rows: count,
                };
                // SAFETY: rows of this panel are written by this call alone.
                unsafe { tile.run(isa, y, row * LANES, LANES, c_vectors) };
            }
        }
    }
}

/// Panels that single images meet at a time: their chains run side by side, since one alone would wait for itself.
const ABREAST: usize = 8;

/// All images of at most [`ABREAST`] panels, images one behind the other: outputs are the vectors.
fn single_panels(
    isa: Isa,
    w: &Packed,
    panels: Range<usize>,
    bias: Option<&[f32]>,
    images: usize,
    x: &[f32],
    y: Shared<'_>,
) {
    let taps: Taps = std::iter::once(Tap { a: 0, b: 0 }).collect();
    for (image, count) in row_tiles(images, isa.tile_rows()) {
        for first in panels.clone().step_by(isa.tile_vectors(count)) {
            let vectors = isa.tile_vectors(count).min(panels.end - first);
            let row = first * PANEL;
            let rows = (vectors * PANEL).min(w.rows - row);
            let mut start = [0.0; ABREAST * PANEL];
            if let Some(bias) = bias {
                let bias = &bias[row..][..rows];
                start.iter_mut().zip(bias).for_each(|(start, bias)| *start = bias + 0.0);
            }
            let b_vectors: [usize; ABREAST] = std::array::from_fn(|v| v * w.depth * PANEL);
            let c_vectors: [usize; ABREAST] = std::array::from_fn(|v| v * PANEL);
            let tile = Tile {
                taps: &taps,
                depth: w.depth,
                a: &x[image * w.depth..],
                a_row: w.depth,
                a_step: 1,
                b: &w.data[row * w.depth..],
                b_step: PANEL,
                b_vectors: &b_vectors[..vectors],
                start: Start::Columns(&start),
                rows: count,
            };
            let mut c = [0.0; 8 * ABREAST * PANEL];
            // SAFETY: `c` is this call's own.
            unsafe {
                tile.run(isa, Shared::new(&mut c), 0, ABREAST * PANEL, &c_vectors[..vectors]);
            }
            for (i, out) in c.chunks_exact(ABREAST * PANEL).take(count).enumerate() {
                // SAFETY: rows of these panels are written by this call alone.
                unsafe { y.slice((image + i) * w.rows + row, rows) }.copy_from_slice(&out[..rows]);
            }
        }
    }
}

/// Splits `rows` into tiles of at most `most` rows, as even as possible: (first, count).
pub(super) fn row_tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let tiles = rows.div_ceil(most).max(1);
    (0..tiles)
        .map(move |t| (t * rows / tiles, (t + 1) * rows / tiles - t * rows / tiles))
        .filter(|t| t.1 > 0)
}

/// `dw[rows][depth] += Σ over images of g[rows] · x[depth]`, images lane-blocked in `groups` groups.
///
/// `x_rows` is `x` with its images as rows: `[image][depth]`, from [`transpose_lanes`].
pub(crate) fn matmul_weight_gradient(
    isa: Isa,
    parallel: bool,
    rows: usize,
    depth: usize,
    g: &[f32],
    x_rows: &[f32],
    dw: &mut [f32],
) {
    let groups = g.len() / (rows * LANES).max(1);
    assert!(
        g.len() == groups * rows * LANES
            && x_rows.len() == groups * LANES * depth
            && dw.len() == rows * depth
    );
    let taps: Taps =
        (0..groups).map(|i| Tap { a: i * rows * LANES, b: i * LANES * depth }).collect();
    let parallel = parallel && worth(rows * x_rows.len() / 8);
    let full = depth / PANEL;
    let out = Shared::new(dw);
    let tiles: Vec<_> = row_tiles(rows, isa.tile_rows()).collect();
    for_each(parallel, tiles.len(), |t| {
        let (row, count) = tiles[t];
        let most = isa.tile_vectors(count);
        let tile = |b_vectors: &[usize],
                    c: Shared<'_>,
                    c_start: usize,
                    c_row: usize,
                    c_vectors: &[usize]| {
            let tile = Tile {
                taps: &taps,
                depth: LANES,
                a: &g[row * LANES..],
                a_row: LANES,
                a_step: 1,
                b: x_rows,
                b_step: depth,
                b_vectors,
                start: Start::Output,
                rows: count,
            };
            // SAFETY: rows of this tile are written by this call alone.
            unsafe { tile.run(isa, c, c_start, c_row, c_vectors) };
        };
        let mut v = 0;
        while v < full {
            let n = most.min(full - v);
            let vectors: [usize; 8] = std::array::from_fn(|i| (v + i) * PANEL);
            tile(&vectors[..n], out, row * depth, depth, &vectors[..n]);
            v += n;
        }
        // The last columns, fewer than sixteen: one at a time in the same order of images.
        for k in full * PANEL..depth {
            for m in row..row + count {
                // SAFETY: as above.
                let dst = unsafe { out.slice(m * depth + k, 1) };
                for i in 0..groups * LANES {
                    dst[0] += g[(i / LANES * rows + m) * LANES + i % LANES] * x_rows[i * depth + k];
                }
            }
        }
    });
}

versioned! {
    /// `[group][element][lane]` to `[image][element]`.
    pub(crate) fn transpose_lanes(x: &[f32], elements: usize, out: &mut [f32]) {
        if elements == 0 {
            return;
        }
        for (group, rows) in x.chunks_exact(elements * LANES).zip(out.chunks_exact_mut(elements * LANES)) {
            let (group, _) = group.as_chunks::<LANES>();
            // A few elements of all lanes at a time: they stay in the cache.
            for first in (0..elements).step_by(LANES) {
                let last = elements.min(first + LANES);
                for (lane, row) in rows.chunks_exact_mut(elements).enumerate() {
                    for (y, x) in row[first..last].iter_mut().zip(&group[first..last]) {
                        *y = x[lane];
                    }
                }
            }
        }
    }
}
