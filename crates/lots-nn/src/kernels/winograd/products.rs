//! Small matrix products with the packed weights of one point, as they are or transposed.

use crate::kernels::matmul::row_tiles;
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::{Avx2, Avx512};
use crate::kernels::simd::{Isa, Portable, Simd};
use crate::kernels::tile::PANEL;

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
                Isa::Portable => {
                    tiles!(Portable, self, Isa::Portable, c.as_mut_ptr(), [(1, 1), (2, 1), (3, 1)])
                }
            }
        }
    }
}

/// All tiles of a product, in the shapes of register tiles that an instruction set has.
macro_rules! tiles {
    ($simd:ty, $p:expr, $isa:expr, $c:expr, [$(($m:literal, $n:literal)),*]) => {{
        let (p, isa, c) = ($p, $isa, $c);
        // Rows of a tile lie in one panel, unless the panels are the depth.
        let strip = if p.back { isa.tile_rows() } else { PANEL };
        let mut first = 0;
        while first < p.outputs() {
            for (row, rows) in row_tiles(strip.min(p.outputs() - first), isa.tile_rows()) {
                let (row, mut v) = (first + row, 0);
                while v < p.vectors {
                    let vectors = isa.tile_vectors(rows).min(p.vectors - v);
                    match (rows, vectors, p.back) {
                        $(
                            ($m, $n, false) => tile::<$simd, $m, $n, false>(p, row, v, c),
                            ($m, $n, true) => tile::<$simd, $m, $n, true>(p, row, v, c),
                        )*
                        _ => unreachable!("the shape was chosen from these"),
                    }
                    v += vectors;
                }
            }
            first += strip;
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
                (6, 4)
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

/// # Safety
/// The instruction set of `S` is present, lengths were checked by [`Product::run`]; rows `row..row + M` and vectors `v..v + N` exist.
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize, const N: usize, const BACK: bool>(
    p: &Product<'_>,
    row: usize,
    v: usize,
    c: *mut f32,
) {
    let width = p.vectors * PANEL;
    let (a_row, a_step) = if BACK { (PANEL, 1) } else { (1, PANEL) };
    let panel = p.channels * PANEL;
    // SAFETY: all places lie inside the operands, whose lengths `Product::run` checked.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        let mut b = p.b.as_ptr().add(v * PANEL);
        let start = if BACK { row * PANEL } else { row / PANEL * panel + row % PANEL };
        let mut a = p.weights.as_ptr().add(start);
        let mut left = p.depth();
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
                S::store(c.add((row + m) * width + (v + n) * PANEL), *sum);
            }
        }
    }
}
