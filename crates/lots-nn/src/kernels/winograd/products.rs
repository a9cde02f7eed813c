//! Matrix products with the packed weights of one point, as they are or transposed.

use crate::kernels::matmul::row_tiles;
use crate::kernels::packed::PANEL;
use std::ops::Range;

#[cfg(target_arch = "aarch64")]
use crate::kernels::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::{Avx2, Avx512};
use crate::kernels::simd::{Isa, Portable, Simd};
use crate::kernels::tile::{Tap, Taps};
use crate::kernels::turned::{Run, Turned, turn_panels};
use crate::scratch::Buffer;

/// `c = W · b`, or `c = Wᵀ · b` where `back`; `W` [rows, channels] lies as panels of sixteen rows, `[rows / 16][channels][16]`.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) weights: &'a [f32],
    pub(super) rows: usize,
    pub(super) channels: usize,
    pub(super) back: bool,
    /// [channels or rows][vectors of sixteen].
    pub(super) b: &'a [f32],
    pub(super) vectors: usize,
    /// Whether the product is added to what the result holds.
    pub(super) adds: bool,
}

impl Product<'_> {
    /// Rows of the result.
    fn outputs(&self) -> usize {
        if self.back { self.channels } else { self.rows }
    }

    /// Rows of `b`.
    fn depth(&self) -> usize {
        if self.back { self.rows } else { self.channels }
    }

    /// Computes the product into `c`, [outputs][vectors of sixteen].
    pub(super) fn run(&self, isa: Isa, c: &mut [f32]) {
        let width = self.vectors * PANEL;
        assert!(self.weights.len() == self.rows.div_ceil(PANEL) * self.channels * PANEL);
        assert!(self.b.len() >= self.depth() * width && c.len() >= self.outputs() * width);
        // SAFETY: the lengths were checked; `isa` exists only where it was detected.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512(self, c.as_mut_ptr()),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(self, c.as_mut_ptr()),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => {
                    tiles!(
                        Neon,
                        self,
                        Isa::Neon,
                        c.as_mut_ptr(),
                        6,
                        [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (4, 1), (5, 1), (6, 1)]
                    )
                }
                Isa::Portable => {
                    tiles!(
                        Portable,
                        self,
                        Isa::Portable,
                        c.as_mut_ptr(),
                        3,
                        [(1, 1), (2, 1), (3, 1)]
                    )
                }
            }
        }
    }
}

/// All tiles of a product, in the shapes of register tiles that an instruction set has. `$alone` is the most rows of a tile of
/// one vector: that many chains hide each other's latency.
macro_rules! tiles {
    ($simd:ty, $p:expr, $isa:expr, $c:expr, $alone:literal, [$(($m:literal, $n:literal)),*]) => {{
        let (p, isa, c) = ($p, $isa, $c);
        // Rows of a tile lie in one panel, unless the panels are the depth.
        let most_rows = if p.vectors == 1 { $alone } else { isa.tile_rows() };
        let strip = if p.back { most_rows } else { PANEL };
        let piece = (PIECE / (p.vectors * PANEL)).next_multiple_of(PANEL).max(4 * PANEL);
        for start in (0..p.depth()).step_by(piece) {
            let depth = start..p.depth().min(start + piece);
            for first in (0..p.outputs()).step_by(strip) {
                for (row, rows) in row_tiles(strip.min(p.outputs() - first), most_rows) {
                    let (row, mut v) = (first + row, 0);
                    while v < p.vectors {
                        let vectors = isa.tile_vectors(rows).min(p.vectors - v);
                        let at = At { row, v, depth: depth.clone() };
                        match (rows, vectors, p.back) {
                            $(
                                ($m, $n, false) => tile::<$simd, $m, $n, false>(p, at, c),
                                ($m, $n, true) => tile::<$simd, $m, $n, true>(p, at, c),
                            )*
                            _ => unreachable!("the shape was chosen from these"),
                        }
                        v += vectors;
                    }
                }
            }
        }
    }};
}
use tiles;

/// # Safety
/// AVX-512 present; lengths were checked by [`Product::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(p: &Product<'_>, c: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        tiles!(
            Avx512,
            p,
            Isa::Avx512,
            c,
            8,
            [
                (1, 1),
                (1, 2),
                (1, 3),
                (1, 4),
                (1, 5),
                (1, 6),
                (1, 7),
                (1, 8),
                (2, 1),
                (2, 2),
                (2, 3),
                (2, 4),
                (2, 5),
                (2, 6),
                (2, 7),
                (2, 8),
                (3, 1),
                (3, 2),
                (3, 3),
                (3, 4),
                (3, 5),
                (3, 6),
                (3, 7),
                (3, 8),
                (4, 1),
                (4, 2),
                (4, 3),
                (4, 4),
                (5, 1),
                (5, 2),
                (5, 3),
                (5, 4),
                (6, 1),
                (6, 2),
                (6, 3),
                (6, 4),
                (7, 1),
                (8, 1)
            ]
        )
    }
}

/// # Safety
/// AVX2 and FMA present; lengths were checked by [`Product::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(p: &Product<'_>, c: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        tiles!(
            Avx2,
            p,
            Isa::Avx2,
            c,
            6,
            [
                (1, 1),
                (1, 2),
                (1, 3),
                (1, 4),
                (2, 1),
                (2, 2),
                (3, 1),
                (3, 2),
                (4, 1),
                (5, 1),
                (6, 1)
            ]
        )
    }
}

/// Floats of `b` that the tiles of one piece of the depth share: they stay in the first-level cache.
const PIECE: usize = 1 << 13;

/// A tile: its first row and vector, and the piece of the depth that it adds.
struct At {
    row: usize,
    v: usize,
    depth: Range<usize>,
}

/// # Safety
/// The instruction set of `S` is present, lengths were checked by [`Product::run`]; rows `at.row..at.row + M` and vectors
/// `at.v..at.v + N` exist, `at.depth` lies inside the depth and begins with a panel.
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize, const N: usize, const BACK: bool>(
    p: &Product<'_>,
    at: At,
    c: *mut f32,
) {
    let width = p.vectors * PANEL;
    let (a_row, a_step) = if BACK { (PANEL, 1) } else { (1, PANEL) };
    let (panel, row, v, depth) = (p.channels * PANEL, at.row, at.v, at.depth);
    // SAFETY: all places lie inside the operands, whose lengths `Product::run` checked.
    unsafe {
        let c = c.add(row * width + v * PANEL);
        let mut acc = [[S::splat(0.0); N]; M];
        if p.adds || depth.start > 0 {
            for (m, sums) in acc.iter_mut().enumerate() {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = S::load(c.add(m * width + n * PANEL));
                }
            }
        }
        let start = if BACK {
            depth.start / PANEL * panel + row * PANEL
        } else {
            row / PANEL * panel + row % PANEL + depth.start * PANEL
        };
        let mut a = p.weights.as_ptr().add(start);
        let mut b = p.b.as_ptr().add(depth.start * width + v * PANEL);
        let mut left = depth.len();
        while left > 0 {
            let run = if BACK { PANEL.min(left) } else { left };
            let mut at = a;
            for _ in 0..run {
                let mut x = [S::splat(0.0); N];
                for (n, x) in x.iter_mut().enumerate() {
                    *x = S::load(b.add(n * PANEL));
                }
                for (m, row) in acc.iter_mut().enumerate() {
                    let w = S::splat(*at.add(m * a_row));
                    for (sum, x) in row.iter_mut().zip(x) {
                        *sum = S::fma(w, x, *sum);
                    }
                }
                // Wrapping: behind the last step the pointers may lie beyond their slices, unread.
                at = at.wrapping_add(a_step);
                b = b.wrapping_add(width);
            }
            a = a.wrapping_add(panel);
            left -= run;
        }
        for (m, sums) in acc.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                S::store(c.add(m * width + n * PANEL), *sum);
            }
        }
    }
}

/// Rows of `b` that few columns share with a panel of weights at a time.
const DEPTH: usize = 128;
/// Panels of the transposed weights that are made at a time: they stay in the first or second-level cache.
const PANELS: usize = 4;

/// The products of one point with so few `columns` that vectors of them would be half empty: `c = W · b`, or `Wᵀ · b` on the way back.
///
/// `w` is `[rows / 16][channels][16]`, `b` [depth][width] and `c` [outputs][width], of which only the first `columns` count.
pub(super) struct FewColumns<'a> {
    pub(super) w: &'a [f32],
    pub(super) rows: usize,
    pub(super) channels: usize,
    pub(super) b: &'a [f32],
    pub(super) width: usize,
    pub(super) columns: usize,
}

impl FewColumns<'_> {
    pub(super) fn forward(&self, isa: Isa, c: &mut [f32]) {
        self.panels(isa, (self.w, self.channels), self.channels, self.rows, c);
    }

    pub(super) fn back(&self, isa: Isa, c: &mut [f32]) {
        let panels = self.rows.div_ceil(PANEL);
        let size = panels * PANEL * PANEL;
        let mut transposed = Buffer::zeroed(PANELS.min(self.channels.div_ceil(PANEL)) * size);
        for first in (0..self.channels).step_by(PANELS * PANEL) {
            let outputs = (PANELS * PANEL).min(self.channels - first);
            // What the transposed panels take of one panel lies side by side.
            let part = |panel: usize| {
                let at = (panel * self.channels + first) * PANEL;
                (panel < panels).then(|| &self.w[at..][..outputs * PANEL])
            };
            turn_panels(isa, panels, part, size, &mut transposed);
            let w = (&transposed[..], panels * PANEL);
            self.panels(isa, w, self.rows, outputs, &mut c[first * self.width..]);
        }
    }

    /// With `w` as panels `[outputs / 16][w_depth][16]`, of whose depth the first `depth` count.
    fn panels(
        &self,
        isa: Isa,
        (w, w_depth): (&[f32], usize),
        depth: usize,
        outputs: usize,
        c: &mut [f32],
    ) {
        let Self { b, width, columns, .. } = *self;
        let padded = outputs.next_multiple_of(PANEL);
        let start = Buffer::zeroed(padded);
        let mut turned = Buffer::dirty(columns * padded);
        let taps: Taps = std::iter::once(Tap { a: 0, b: 0 }).collect();
        for first in (0..depth).step_by(DEPTH) {
            let piece = Turned {
                w: &w[first * PANEL..],
                w_depth,
                taps: &taps,
                depth: DEPTH.min(depth - first),
                b: &b[first * width..],
                b_step: width,
                b_column: 1,
                runs: &[Run { to: 0, from: 0, count: columns }],
                start: &start,
                adds: first > 0,
            };
            piece.run(isa, &mut turned);
        }
        for (output, c) in c.chunks_exact_mut(width).take(outputs).enumerate() {
            for (c, turned) in c.iter_mut().zip(turned[output..].iter().step_by(padded)) {
                *c = *turned;
            }
        }
    }
}
