//! The register tiles that dense convolutions and matrix products are made of.

pub(super) use super::packed::PANEL;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};
use crate::shared::Shared;

/// Where one run of the chain starts in both operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    pub(crate) a: usize,
    pub(crate) b: usize,
}

/// The runs of a chain, in order, with the largest starts (what bounds checks need).
#[derive(Clone, Debug, Default)]
pub(crate) struct Taps {
    list: Vec<Tap>,
    max: Option<Tap>,
}

impl Taps {
    pub(crate) fn push(&mut self, tap: Tap) {
        let max = self.max.get_or_insert(tap);
        *max = Tap { a: max.a.max(tap.a), b: max.b.max(tap.b) };
        self.list.push(tap);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl FromIterator<Tap> for Taps {
    fn from_iter<I: IntoIterator<Item = Tap>>(taps: I) -> Self {
        let mut all = Self::default();
        taps.into_iter().for_each(|t| all.push(t));
        all
    }
}

/// How a tile starts.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    /// At zero.
    Zero,
    /// At what the output holds.
    Output,
    /// Each row at its own value; a negative zero counts as zero, since zeros may or may not be added to it.
    Rows(&'a [f32]),
    /// Each vector at its sixteen values, none of them a negative zero.
    Columns(&'a [f32]),
}

/// `c[m][v] = start + Σ a[m][k] · b[k][v]`, `v` counting vectors of sixteen, `k` running over all taps × depth.
pub(super) struct Tile<'a> {
    pub(super) taps: &'a Taps,
    pub(super) depth: usize,
    /// Element (m, k) at `tap.a + m * a_row + k * a_step`.
    pub(super) a: &'a [f32],
    pub(super) a_row: usize,
    pub(super) a_step: usize,
    /// Vector (k, v) at `tap.b + b_vectors[v] + k * b_step`.
    pub(super) b: &'a [f32],
    pub(super) b_step: usize,
    pub(super) b_vectors: &'a [usize],
    pub(super) start: Start<'a>,
    pub(super) rows: usize,
}

impl Tile<'_> {
    /// Computes the tile into `c`: vector (m, v) at `c_start + m * c_row + c_vectors[v]`.
    ///
    /// # Panics
    /// When an operand is too short: checked before the unchecked loops.
    ///
    /// # Safety
    /// No other thread touches these places of `c` meanwhile.
    #[inline]
    pub(super) unsafe fn run(
        &self,
        isa: Isa,
        c: Shared<'_>,
        c_start: usize,
        c_row: usize,
        c_vectors: &[usize],
    ) {
        let (rows, vectors) = (self.rows, self.b_vectors.len());
        assert!(
            rows >= 1
                && rows <= isa.tile_rows()
                && vectors >= 1
                && vectors <= isa.tile_vectors(rows)
        );
        assert!(c_vectors.len() == vectors);
        let far = |v: &[usize]| v.iter().copied().max().unwrap_or(0);
        if let (Some(max), true) = (self.taps.max, self.depth > 0) {
            assert!(
                max.a + (rows - 1) * self.a_row + (self.depth - 1) * self.a_step < self.a.len()
            );
            assert!(
                max.b + far(self.b_vectors) + (self.depth - 1) * self.b_step + PANEL
                    <= self.b.len()
            );
        }
        let c = c.pointer(c_start, c_start + (rows - 1) * c_row + far(c_vectors) + PANEL);
        match self.start {
            Start::Rows(x) => assert!(x.len() >= rows),
            Start::Columns(x) => assert!(x.len() >= vectors * PANEL),
            Start::Zero | Start::Output => {}
        }
        // SAFETY: bounds were checked above for the largest offsets; `isa` exists only where it was detected.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512(self, c, c_row, c_vectors),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(self, c, c_row, c_vectors),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => by_shape!(
                    Neon,
                    self,
                    c,
                    c_row,
                    c_vectors,
                    [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (4, 1), (5, 1), (6, 1)]
                ),
                Isa::Portable => {
                    by_shape!(Portable, self, c, c_row, c_vectors, [(1, 1), (2, 1), (3, 1)])
                }
            }
        }
    }
}

macro_rules! by_shape {
    ($simd:ty, $t:expr, $c:expr, $row:expr, $vectors:expr, [$(($m:literal, $n:literal)),*]) => {
        match ($t.rows, $t.b_vectors.len()) {
            $(($m, $n) => {
                match ($t.a_row, $t.a_step) {
                    (1, PANEL) => body::<$simd, $m, $n, 1, PANEL>($t, $c, $row, $vectors),
                    (PANEL, 1) => body::<$simd, $m, $n, PANEL, 1>($t, $c, $row, $vectors),
                    _ => body::<$simd, $m, $n, 0, 0>($t, $c, $row, $vectors),
                }
            })*
            _ => unreachable!("the shape was checked"),
        }
    };
}
use by_shape;

/// # Safety
/// AVX-512 present; bounds checked by `Tile::run`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(t: &Tile<'_>, c: *mut f32, row: usize, vectors: &[usize]) {
    // SAFETY: the caller's promise.
    unsafe {
        by_shape!(
            Avx512,
            t,
            c,
            row,
            vectors,
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
        );
    }
}

/// # Safety
/// AVX2 and FMA present; bounds checked by `Tile::run`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(t: &Tile<'_>, c: *mut f32, row: usize, vectors: &[usize]) {
    // SAFETY: the caller's promise.
    unsafe {
        by_shape!(
            Avx2,
            t,
            c,
            row,
            vectors,
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
        );
    }
}

/// # Safety
/// The instruction set of `S` is present; bounds were checked by `Tile::run`.
#[inline(always)]
unsafe fn body<S: Simd, const M: usize, const N: usize, const ROW: usize, const STEP: usize>(
    t: &Tile<'_>,
    c: *mut f32,
    c_row: usize,
    c_vectors: &[usize],
) {
    // Constant strides, those of panels, let the compiler use immediate offsets. Loops, not closures: a closure is a
    // function of its own, without the instruction set of this one.
    let (a_row, a_step) = if ROW > 0 { (ROW, STEP) } else { (t.a_row, t.a_step) };
    let mut b_vectors = [0; N];
    b_vectors.copy_from_slice(t.b_vectors);
    // SAFETY: `Tile::run` checked that all offsets lie inside the slices.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        match t.start {
            Start::Zero => {}
            Start::Output => {
                for (m, row) in acc.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        *sum = S::load(c.add(m * c_row + c_vectors[v]));
                    }
                }
            }
            Start::Rows(x) => {
                for (m, row) in acc.iter_mut().enumerate() {
                    *row = [S::splat(x[m] + 0.0); N];
                }
            }
            Start::Columns(x) => {
                for row in &mut acc {
                    for (v, sum) in row.iter_mut().enumerate() {
                        *sum = S::load(x.as_ptr().add(v * PANEL));
                    }
                }
            }
        }
        for tap in &t.taps.list {
            let mut a = t.a.as_ptr().add(tap.a);
            let mut b = t.b.as_ptr().add(tap.b);
            for _ in 0..t.depth {
                let mut x = [S::splat(0.0); N];
                for v in 0..N {
                    x[v] = S::load(b.add(b_vectors[v]));
                }
                for (m, row) in acc.iter_mut().enumerate() {
                    let w = S::splat(*a.add(m * a_row));
                    for (sum, x) in row.iter_mut().zip(x) {
                        *sum = S::fma(w, x, *sum);
                    }
                }
                // Wrapping: behind the last step the pointers may lie beyond their slices, unread.
                a = a.wrapping_add(a_step);
                b = b.wrapping_add(t.b_step);
            }
        }
        for (m, row) in acc.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                S::store(c.add(m * c_row + c_vectors[v]), *sum);
            }
        }
    }
}

/// `out[m][n] = Σ over taps and steps of a[m] · b[n]`, both operands vectors of sixteen lanes that are summed at the end.
pub(super) struct Dot<'a> {
    pub(super) taps: &'a Taps,
    pub(super) depth: usize,
    pub(super) a: &'a [f32],
    pub(super) a_rows: &'a [usize],
    pub(super) a_step: usize,
    pub(super) b: &'a [f32],
    pub(super) b_rows: &'a [usize],
    pub(super) b_step: usize,
}

/// Largest tile of [`Dot`].
pub(super) const DOT: (usize, usize) = (4, 4);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! dot_by_shape {
    ($simd:ty, $d:expr, $out:expr, $i:expr, $j:expr, [$(($m:literal, $n:literal)),*]) => {
        match ($d.a_rows.len(), $d.b_rows.len()) {
            $(($m, $n) => dot_body::<$simd, $m, $n>($d, $out, $i, $j),)*
            _ => unreachable!("the shape was checked"),
        }
    };
}

impl Dot<'_> {
    /// The sums, row by row of `a_rows`, each row as long as `b_rows`.
    pub(super) fn run(&self, isa: Isa) -> [[f32; DOT.1]; DOT.0] {
        assert!(self.a_rows.len() <= DOT.0 && self.b_rows.len() <= DOT.1);
        let far = |v: &[usize]| v.iter().copied().max().unwrap_or(0);
        let mut out = [[0.0; DOT.1]; DOT.0];
        let (Some(max), true) = (self.taps.max, self.depth > 0) else { return out };
        assert!(max.a + far(self.a_rows) + (self.depth - 1) * self.a_step + PANEL <= self.a.len());
        assert!(max.b + far(self.b_rows) + (self.depth - 1) * self.b_step + PANEL <= self.b.len());
        let (m, n) = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => (4, 4),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => (2, 2),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => (2, 2),
            Isa::Portable => (1, 1),
        };
        for i in (0..self.a_rows.len()).step_by(m) {
            for j in (0..self.b_rows.len()).step_by(n) {
                let a_rows = &self.a_rows[i..self.a_rows.len().min(i + m)];
                let b_rows = &self.b_rows[j..self.b_rows.len().min(j + n)];
                let part = Dot { a_rows, b_rows, ..*self };
                // SAFETY: bounds were checked above; `isa` exists only where it was detected.
                unsafe {
                    match isa {
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx512 => dot_avx512(&part, &mut out, i, j),
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx2 => dot_avx2(&part, &mut out, i, j),
                        #[cfg(target_arch = "aarch64")]
                        Isa::Neon => {
                            let (part, out) = (&part, &mut out);
                            dot_by_shape!(Neon, part, out, i, j, [(1, 1), (1, 2), (2, 1), (2, 2)])
                        }
                        Isa::Portable => dot_body::<Portable, 1, 1>(&part, &mut out, i, j),
                    }
                }
            }
        }
        out
    }
}

/// # Safety
/// AVX-512 present; bounds checked by `Dot::run`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn dot_avx512(d: &Dot<'_>, out: &mut [[f32; DOT.1]; DOT.0], i: usize, j: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        dot_by_shape!(
            Avx512,
            d,
            out,
            i,
            j,
            [
                (1, 1),
                (1, 2),
                (1, 3),
                (1, 4),
                (2, 1),
                (2, 2),
                (2, 3),
                (2, 4),
                (3, 1),
                (3, 2),
                (3, 3),
                (3, 4),
                (4, 1),
                (4, 2),
                (4, 3),
                (4, 4)
            ]
        );
    }
}

/// # Safety
/// AVX2 and FMA present; bounds checked by `Dot::run`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_avx2(d: &Dot<'_>, out: &mut [[f32; DOT.1]; DOT.0], i: usize, j: usize) {
    // SAFETY: the caller's promise.
    unsafe { dot_by_shape!(Avx2, d, out, i, j, [(1, 1), (1, 2), (2, 1), (2, 2)]) }
}

/// # Safety
/// The instruction set of `S` is present; bounds were checked by `Dot::run`.
#[inline(always)]
unsafe fn dot_body<S: Simd, const M: usize, const N: usize>(
    d: &Dot<'_>,
    out: &mut [[f32; DOT.1]; DOT.0],
    i: usize,
    j: usize,
) {
    let (mut a_rows, mut b_rows) = ([0; M], [0; N]);
    a_rows.copy_from_slice(d.a_rows);
    b_rows.copy_from_slice(d.b_rows);
    // SAFETY: `Dot::run` checked that all offsets lie inside the slices.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        for tap in &d.taps.list {
            let mut a = d.a.as_ptr().add(tap.a);
            let mut b = d.b.as_ptr().add(tap.b);
            for _ in 0..d.depth {
                let mut x = [S::splat(0.0); N];
                for n in 0..N {
                    x[n] = S::load(b.add(b_rows[n]));
                }
                for (row, a_row) in acc.iter_mut().zip(a_rows) {
                    let w = S::load(a.add(a_row));
                    for (sum, x) in row.iter_mut().zip(x) {
                        *sum = S::fma(w, x, *sum);
                    }
                }
                a = a.wrapping_add(d.a_step);
                b = b.wrapping_add(d.b_step);
            }
        }
        for (m, row) in acc.iter().enumerate() {
            for (n, sum) in row.iter().enumerate() {
                out[i + m][j + n] = S::sum(*sum);
            }
        }
    }
}
