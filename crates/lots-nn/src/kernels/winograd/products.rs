//! Small matrix products with the packed weights of one point, as they are or transposed.

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
                Isa::Portable => tiles::<Portable>(self, Isa::Portable, c.as_mut_ptr()),
            }
        }
    }
}

/// # Safety
/// AVX-512 present; as [`tiles`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(p: &Product<'_>, c: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { tiles::<Avx512>(p, Isa::Avx512, c) }
}

/// # Safety
/// AVX2 and FMA present; as [`tiles`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(p: &Product<'_>, c: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { tiles::<Avx2>(p, Isa::Avx2, c) }
}

/// # Safety
/// The instruction set of `S` is present; lengths were checked by [`Product::run`].
#[inline(always)]
unsafe fn tiles<S: Simd>(p: &Product<'_>, isa: Isa, c: *mut f32) {
    let most = isa.tile_rows();
    // Rows of a tile lie in one panel, unless the panels are the depth.
    let strip = if p.back { most } else { PANEL };
    let mut first = 0;
    while first < p.outputs() {
        let end = p.outputs().min(first + strip);
        let count = (end - first).div_ceil(most);
        for t in 0..count {
            let (row, next) =
                (first + t * (end - first) / count, first + (t + 1) * (end - first) / count);
            let most = isa.tile_vectors(next - row);
            let mut v = 0;
            while v < p.vectors {
                let n = most.min(p.vectors - v);
                // SAFETY: the caller's promise; the tile lies inside the product.
                unsafe {
                    if p.back {
                        by_shape::<S, true>(p, row, next - row, v, n, c);
                    } else {
                        by_shape::<S, false>(p, row, next - row, v, n, c);
                    }
                }
                v += n;
            }
        }
        first = end;
    }
}

/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn by_shape<S: Simd, const BACK: bool>(
    p: &Product<'_>,
    row: usize,
    rows: usize,
    v: usize,
    vectors: usize,
    c: *mut f32,
) {
    macro_rules! shapes {
        ($(($m:literal, $n:literal)),*) => {
            match (rows, vectors) {
                // SAFETY: the caller's promise.
                $(($m, $n) => unsafe { tile::<S, $m, $n, BACK>(p, row, v, c) },)*
                _ => unreachable!("tiles are chosen from these"),
            }
        };
    }
    shapes!(
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
    );
}

/// # Safety
/// As [`tiles`]; rows `row..row + M` and vectors `v..v + N` exist.
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
