//! Products with the transposed matrix, out of the same panels as [`matmul`](super::matmul): cotangents go back through
//! weights that lie in memory once.

use super::LANES;
use super::matmul::row_tiles;
use super::packed::{PANEL, Packed};
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};
use super::tile::{Start, Tap, Taps, Tile};
use crate::parallel::{for_each, worth};
use crate::scratch::Buffer;
use crate::shared::Shared;

/// Columns of the matrix that one task takes where images lie sixteen abreast.
const LANE_COLUMNS: usize = 48;
/// Where images are single: columns that are turned at a time, from so many panels. With one stream for each panel memory
/// is read as fast as it goes, and what was turned stays in the first-level cache.
const COLUMNS: usize = 2 * PANEL;
const PANELS: usize = 8;
/// Blocks of [`COLUMNS`] that one task takes: so long are the runs that are read of a panel.
const BLOCKS: usize = 16;

/// `dx[group][depth][lane] = Wᵀ · g[group][rows][lane]`, for groups of `lanes` (1 or 16) images.
///
/// `lanes == 1`: single images one behind the other. Each sum runs over the rows in their order.
pub(crate) fn matmul_back(
    isa: Isa,
    parallel: bool,
    w: &Packed,
    lanes: usize,
    g: &[f32],
    dx: &mut [f32],
) {
    let groups = dx.len() / (w.depth * lanes).max(1);
    assert!(dx.len() == groups * w.depth * lanes && g.len() == groups * w.rows * lanes);
    if dx.is_empty() {
        return;
    }
    let parallel = parallel && worth(w.depth * g.len() / 8);
    let dx = Shared::new(dx);
    if lanes == LANES {
        for_each(parallel, w.depth.div_ceil(LANE_COLUMNS), |task| {
            let first = task * LANE_COLUMNS;
            lane_columns(isa, w, first, LANE_COLUMNS.min(w.depth - first), groups, g, dx);
        });
    } else {
        let tasks: Vec<_> = row_tiles(w.depth.div_ceil(COLUMNS), BLOCKS).collect();
        for_each(parallel, tasks.len(), |task| {
            let first = tasks[task].0 * COLUMNS;
            let columns = (tasks[task].1 * COLUMNS).min(w.depth - first);
            single_columns(isa, w, first, columns, groups, g, dx);
        });
    }
}

/// The panels of `w` as runs of a chain, with their depth: the full ones, and the last one if it is not full.
fn runs(w: &Packed) -> Vec<(Taps, usize)> {
    let full = w.rows / PANEL;
    let taps = |panels: std::ops::Range<usize>| -> Taps {
        panels.map(|p| Tap { a: p * w.depth * PANEL, b: p * PANEL * LANES }).collect()
    };
    let mut runs = vec![(taps(0..full), PANEL), (taps(full..full + 1), w.rows % PANEL)];
    runs.retain(|(taps, depth)| *depth > 0 && !taps.is_empty());
    runs
}

/// Sixteen images abreast: columns of the matrix are the tile's rows.
fn lane_columns(
    isa: Isa,
    w: &Packed,
    first: usize,
    columns: usize,
    groups: usize,
    g: &[f32],
    dx: Shared<'_>,
) {
    let b_vectors: Vec<usize> = (0..groups).map(|i| i * w.rows * LANES).collect();
    let c_vectors: Vec<usize> = (0..groups).map(|i| i * w.depth * LANES).collect();
    let mut start = Start::Zero;
    for (taps, depth) in runs(w) {
        for (m, count) in row_tiles(columns, isa.tile_rows()) {
            let most = isa.tile_vectors(count);
            for (b_vectors, c_vectors) in b_vectors.chunks(most).zip(c_vectors.chunks(most)) {
                let tile = Tile {
                    taps: &taps,
                    depth,
                    a: &w.data[(first + m) * PANEL..],
                    a_row: PANEL,
                    a_step: 1,
                    b: g,
                    b_step: LANES,
                    b_vectors,
                    start,
                    rows: count,
                };
                // SAFETY: these columns are written by this call alone.
                unsafe { tile.run(isa, dx, (first + m) * LANES, LANES, c_vectors) };
            }
        }
        start = Start::Output;
    }
    if w.rows == 0 {
        for &at in &c_vectors {
            // SAFETY: as above.
            unsafe { dx.slice(at + first * LANES, columns * LANES) }.fill(0.0);
        }
    }
}

/// Single images: columns of the matrix are vectors, turned a few panels at a time.
fn single_columns(
    isa: Isa,
    w: &Packed,
    first: usize,
    columns: usize,
    images: usize,
    g: &[f32],
    dx: Shared<'_>,
) {
    const WIDE: usize = BLOCKS * COLUMNS;
    let mut sums = Buffer::zeroed(images * WIDE);
    let mut turned = Buffer::zeroed(PANELS * PANEL * COLUMNS);
    let taps: Taps = std::iter::once(Tap { a: 0, b: 0 }).collect();
    let vectors: [usize; COLUMNS / PANEL] = std::array::from_fn(|v| v * PANEL);
    for row in (0..w.rows).step_by(PANELS * PANEL) {
        let rows = (PANELS * PANEL).min(w.rows - row);
        for at in (0..columns).step_by(COLUMNS) {
            let columns = COLUMNS.min(columns - at);
            for (p, turned) in turned.chunks_exact_mut(PANEL * COLUMNS).enumerate() {
                if p * PANEL < rows {
                    let panel = &w.panel(row + p * PANEL)[(first + at) * PANEL..];
                    turn(isa, &panel[..columns * PANEL], COLUMNS, turned);
                }
            }
            for (image, count) in row_tiles(images, isa.tile_rows()) {
                for vectors in vectors[..columns.div_ceil(PANEL)].chunks(isa.tile_vectors(count)) {
                    let tile = Tile {
                        taps: &taps,
                        depth: rows,
                        a: &g[image * w.rows + row..],
                        a_row: w.rows,
                        a_step: 1,
                        b: &turned,
                        b_step: COLUMNS,
                        b_vectors: vectors,
                        start: Start::Output,
                        rows: count,
                    };
                    let sums = Shared::new(&mut sums);
                    // SAFETY: `sums` is this call's own.
                    unsafe { tile.run(isa, sums, image * WIDE + at, WIDE, vectors) };
                }
            }
        }
    }
    for (image, sums) in sums.chunks_exact(WIDE).enumerate() {
        // SAFETY: these columns are written by this call alone.
        unsafe { dx.slice(image * w.depth + first, columns) }.copy_from_slice(&sums[..columns]);
    }
}

/// `out[k][i] = x[i][k]` for rows `x` of sixteen; rows of `out` lie `step` apart.
///
/// # Panics
/// When `out` is not sixteen rows long, or a row is too short.
pub(super) fn turn(isa: Isa, x: &[f32], step: usize, out: &mut [f32]) {
    let (squares, rest) = x.as_chunks::<{ PANEL * PANEL }>();
    assert!(squares.len() * PANEL + rest.len() / PANEL <= step && out.len() >= PANEL * step);
    // SAFETY: sixteen rows of as many numbers as there are squares lie inside `out`; `isa` exists only where it was
    // detected.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => turn_avx512(squares, step, out.as_mut_ptr()),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => turn_avx2(squares, step, out.as_mut_ptr()),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => turn_body::<Neon>(squares, step, out.as_mut_ptr()),
            Isa::Portable => turn_body::<Portable>(squares, step, out.as_mut_ptr()),
        }
    }
    for (i, row) in rest.chunks_exact(PANEL).enumerate() {
        for (k, x) in row.iter().enumerate() {
            out[k * step + squares.len() * PANEL + i] = *x;
        }
    }
}

/// # Safety
/// AVX-512 present; bounds checked by [`turn`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn turn_avx512(squares: &[[f32; PANEL * PANEL]], step: usize, out: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { turn_body::<Avx512>(squares, step, out) }
}

/// # Safety
/// AVX2 and FMA present; bounds checked by [`turn`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn turn_avx2(squares: &[[f32; PANEL * PANEL]], step: usize, out: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { turn_body::<Avx2>(squares, step, out) }
}

/// # Safety
/// The instruction set of `S` is present; bounds checked by [`turn`].
#[inline(always)]
unsafe fn turn_body<S: Simd>(squares: &[[f32; PANEL * PANEL]], step: usize, out: *mut f32) {
    for (s, square) in squares.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let mut rows = [S::splat(0.0); PANEL];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = S::load(square.as_ptr().add(i * PANEL));
            }
            for (k, row) in S::transpose(rows).into_iter().enumerate() {
                S::store(out.add(k * step + s * PANEL), row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oracle: the chain of multiply-adds written down, bit by bit.
    #[test]
    fn sums_run_over_the_rows_in_order() {
        let number =
            |seed: usize, at: usize| ((at * 7919 + seed * 104_729) % 1009) as f32 / 500.0 - 1.0;
        for (rows, depth) in [(1, 1), (3, 47), (16, 16), (17, 33), (64, 128), (70, 130), (131, 300)]
        {
            let weights: Vec<f32> = (0..rows * depth).map(|at| number(1, at)).collect();
            let w = Packed::from_rows(false, rows, depth, weights.clone());
            assert_eq!(w.to_rows(), weights);
            let mut columns = Packed { rows, depth, ..Packed::default() };
            columns.fill_columns(false, &w.to_columns());
            assert_eq!(columns.data, w.data);
            for (lanes, images) in [(1, 1), (1, 3), (1, 7), (LANES, 16), (LANES, 80)] {
                let g: Vec<f32> = (0..images * rows).map(|at| number(2, at)).collect();
                for isa in Isa::available() {
                    let place = |image: usize, size: usize, at: usize| {
                        (image / lanes * size + at) * lanes + image % lanes
                    };
                    let mut wanted = vec![0.0f32; images * depth];
                    for image in 0..images {
                        for k in 0..depth {
                            let sum = &mut wanted[place(image, depth, k)];
                            for row in 0..rows {
                                let (a, b) = (weights[row * depth + k], g[place(image, rows, row)]);
                                *sum = match isa {
                                    Isa::Portable => *sum + a * b,
                                    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
                                    _ => a.mul_add(b, *sum),
                                };
                            }
                        }
                    }
                    for parallel in [false, true] {
                        let mut got = vec![f32::NAN; images * depth];
                        matmul_back(isa, parallel, &w, lanes, &g, &mut got);
                        let same = got.iter().zip(&wanted).all(|(a, b)| a.to_bits() == b.to_bits());
                        assert!(
                            same,
                            "{isa:?} [{rows}, {depth}], {images} images, {lanes} abreast"
                        );
                    }
                }
            }
        }
    }
}
