//! The transforms of tiles, sixteen tiles or images abreast.

use std::mem::MaybeUninit;

use super::TILE;
use super::matrices::{FIVE, THREE, filter, input, output, transposed};
use crate::kernels::packed::PANEL;
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::{Avx2, Avx512};
use crate::kernels::simd::{Isa, Portable, Simd};
use crate::kernels::tile::Shared;

/// A matrix that is applied to both axes of a square.
trait Matrix<const R: usize, const C: usize> {
    const M: [[f32; C]; R];
}

struct Three;
impl Matrix<6, 6> for Three {
    const M: [[f32; 6]; 6] = input(&THREE);
}
impl Matrix<4, 6> for Three {
    const M: [[f32; 6]; 4] = output(&THREE);
}
impl Matrix<6, 3> for Three {
    const M: [[f32; 3]; 6] = filter(&THREE);
}

struct Five;
impl Matrix<8, 8> for Five {
    const M: [[f32; 8]; 8] = input(&FIVE);
}
impl Matrix<4, 8> for Five {
    const M: [[f32; 8]; 4] = output(&FIVE);
}
impl Matrix<8, 5> for Five {
    const M: [[f32; 5]; 8] = filter(&FIVE);
}

/// The transposed matrices of another type.
struct Back<T>(T);
impl Matrix<6, 6> for Back<Three> {
    const M: [[f32; 6]; 6] = transposed(&<Three as Matrix<6, 6>>::M);
}
impl Matrix<6, 4> for Back<Three> {
    const M: [[f32; 4]; 6] = transposed(&<Three as Matrix<4, 6>>::M);
}
impl Matrix<3, 6> for Back<Three> {
    const M: [[f32; 6]; 3] = transposed(&<Three as Matrix<6, 3>>::M);
}
impl Matrix<5, 8> for Back<Five> {
    const M: [[f32; 8]; 5] = transposed(&<Five as Matrix<8, 5>>::M);
}
impl Matrix<8, 8> for Back<Five> {
    const M: [[f32; 8]; 8] = transposed(&<Five as Matrix<8, 8>>::M);
}
impl Matrix<8, 4> for Back<Five> {
    const M: [[f32; 4]; 8] = transposed(&<Five as Matrix<4, 8>>::M);
}

/// What is done to a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    /// Of the input to the points, `B d Bᵀ`.
    Input,
    /// From the points to the output, `A m Aᵀ`.
    Output,
    /// Of the weights to the points, `G w Gᵀ`.
    Weights,
    /// Of the output's cotangent to the points, `Aᵀ g A`.
    OutputBack,
    /// From the points to the input's cotangent, `Bᵀ m B`.
    InputBack,
    /// From the points to the weights' gradient, `Gᵀ m`: of columns only, as [`apply_line`] does it.
    WeightsBack,
}

/// Vectors of sixteen in a square: element (y, x) at `start + y · row + x · column`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Square {
    pub(super) start: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl Square {
    /// Behind the last float of a square of `side` × `side` vectors.
    fn end(&self, side: usize) -> usize {
        self.start + (side - 1) * (self.row + self.column) + PANEL
    }
}

/// Vectors of sixteen in a line: element x at `start + x · step`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) start: usize,
    pub(super) step: usize,
}

impl Line {
    /// Behind the last float of a line of `side` vectors.
    fn end(&self, side: usize) -> usize {
        self.start + (side - 1) * self.step + PANEL
    }
}

/// Applies `transform` of a filter with `taps` taps (3 or 5) on an axis to one square; `start` is added to each result.
///
/// # Safety
/// No other thread touches these vectors of `to` meanwhile.
pub(super) unsafe fn apply(
    isa: Isa,
    transform: Transform,
    taps: usize,
    from: (&[f32], Square),
    start: f32,
    to: (Shared<'_>, Square),
) {
    let (read, written) = transform.sides(taps);
    assert!(from.1.end(read) <= from.0.len());
    let (x, y) = (from.0[from.1.start..].as_ptr(), to.0.pointer(to.1.start, to.1.end(written)));
    let one = One { transform, taps, x, from: from.1, start, y, to: to.1, line: false };
    // SAFETY: the lengths were checked.
    unsafe { one.run(isa) };
}

/// Applies `transform`, as [`apply`] to one axis of a square, to one line.
///
/// # Safety
/// As [`apply`].
pub(super) unsafe fn apply_line(
    isa: Isa,
    transform: Transform,
    taps: usize,
    from: (&[f32], Line),
    to: (Shared<'_>, Line),
) {
    let (read, written) = transform.sides(taps);
    assert!(from.1.end(read) <= from.0.len());
    let (x, y) = (from.0[from.1.start..].as_ptr(), to.0.pointer(to.1.start, to.1.end(written)));
    let square = |line: Line| Square { start: line.start, row: 0, column: line.step };
    let (from, to) = (square(from.1), square(to.1));
    let one = One { transform, taps, x, from, start: 0.0, y, to, line: true };
    // SAFETY: the lengths were checked.
    unsafe { one.run(isa) };
}

impl Transform {
    /// Vectors on an axis that are read, and that are written.
    fn sides(self, taps: usize) -> (usize, usize) {
        let points = taps + TILE - 1;
        match self {
            Self::Input | Self::InputBack => (points, points),
            Self::Output => (points, TILE),
            Self::OutputBack => (TILE, points),
            Self::Weights => (taps, points),
            Self::WeightsBack => (points, taps),
        }
    }
}

/// One square, or only its first row, to transform.
struct One {
    transform: Transform,
    taps: usize,
    x: *const f32,
    from: Square,
    start: f32,
    y: *mut f32,
    to: Square,
    line: bool,
}

impl One {
    /// # Safety
    /// Bounds were checked by [`apply`] or [`apply_line`].
    unsafe fn run(&self, isa: Isa) {
        // SAFETY: the caller's promise; `isa` exists only where it was detected.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512(self),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(self),
                Isa::Portable => chosen::<Portable>(self),
            }
        }
    }
}

/// # Safety
/// AVX-512 present; bounds checked by [`apply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(one: &One) {
    // SAFETY: the caller's promise.
    unsafe { chosen::<Avx512>(one) }
}

/// # Safety
/// AVX2 and FMA present; bounds checked by [`apply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(one: &One) {
    // SAFETY: the caller's promise.
    unsafe { chosen::<Avx2>(one) }
}

/// # Safety
/// As [`sandwich`].
#[inline(always)]
unsafe fn chosen<S: Simd>(one: &One) {
    // SAFETY: the caller's promise.
    unsafe {
        match (one.transform, one.taps) {
            (Transform::Input, 3) => sandwich::<S, Three, 6, 6>(one),
            (Transform::Output, 3) => sandwich::<S, Three, 4, 6>(one),
            (Transform::Weights, 3) => sandwich::<S, Three, 6, 3>(one),
            (Transform::OutputBack, 3) => sandwich::<S, Back<Three>, 6, 4>(one),
            (Transform::InputBack, 3) => sandwich::<S, Back<Three>, 6, 6>(one),
            (Transform::WeightsBack, 3) => sandwich::<S, Back<Three>, 3, 6>(one),
            (Transform::Input, _) => sandwich::<S, Five, 8, 8>(one),
            (Transform::Output, _) => sandwich::<S, Five, 4, 8>(one),
            (Transform::Weights, _) => sandwich::<S, Five, 8, 5>(one),
            (Transform::OutputBack, _) => sandwich::<S, Back<Five>, 8, 4>(one),
            (Transform::InputBack, _) => sandwich::<S, Back<Five>, 8, 8>(one),
            (Transform::WeightsBack, _) => sandwich::<S, Back<Five>, 5, 8>(one),
        }
    }
}

/// `y = start + M x Mᵀ`, or `y = start + M x` of a line.
///
/// # Safety
/// The instruction set of `S` is present; `x` holds a square of C × C vectors, `y` has room for one of R × R; or lines of them.
#[inline(always)]
unsafe fn sandwich<S: Simd, M: Matrix<R, C>, const R: usize, const C: usize>(one: &One) {
    let One { x, from, y, to, .. } = *one;
    // SAFETY: the caller's promise.
    unsafe {
        if one.line {
            let mut vector = [S::splat(0.0); C];
            for (at, v) in vector.iter_mut().enumerate() {
                *v = S::load(x.add(at * from.column));
            }
            let done = rows::<S, M, R, C>(&vector, S::splat(one.start));
            for (at, v) in done.into_iter().enumerate() {
                S::store(y.add(at * to.column), v);
            }
            return;
        }
        // Written whole, column by column, before it is read.
        let mut half = [const { [const { MaybeUninit::<S::V>::uninit() }; C] }; R];
        for column in 0..C {
            let mut vector = [S::splat(0.0); C];
            for (row, v) in vector.iter_mut().enumerate() {
                *v = S::load(x.add(row * from.row + column * from.column));
            }
            let done = rows::<S, M, R, C>(&vector, S::splat(0.0));
            for (half, done) in half.iter_mut().zip(done) {
                half[column].write(done);
            }
        }
        for (row, half) in half.iter().enumerate() {
            let mut vector = [S::splat(0.0); C];
            for (v, half) in vector.iter_mut().zip(half) {
                *v = half.assume_init();
            }
            let done = rows::<S, M, R, C>(&vector, S::splat(one.start));
            for (column, v) in done.into_iter().enumerate() {
                S::store(y.add(row * to.row + column * to.column), v);
            }
        }
    }
}

/// `start + M x`.
///
/// # Safety
/// The instruction set of `S` is present.
#[inline(always)]
unsafe fn rows<S: Simd, M: Matrix<R, C>, const R: usize, const C: usize>(
    x: &[S::V; C],
    start: S::V,
) -> [S::V; R] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut y = [S::splat(0.0); R];
        // Row by row with a number that the compiler knows: zeros of the matrix cost nothing.
        macro_rules! each {
            ($($i:literal)*) => {$(
                if $i < R {
                    y[$i % R] = row::<S, M, R, C, $i>(x, start);
                }
            )*};
        }
        each!(0 1 2 3 4 5 6 7);
        y
    }
}

/// `start` and row `I` of `M` times `x`; `start` where there is no such row.
///
/// # Safety
/// The instruction set of `S` is present.
#[inline(always)]
unsafe fn row<S: Simd, M: Matrix<R, C>, const R: usize, const C: usize, const I: usize>(
    x: &[S::V; C],
    start: S::V,
) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = start;
        for (c, &x) in x.iter().enumerate() {
            if I < R && M::M[I % R][c] != 0.0 {
                sum = S::fma(S::splat(M::M[I % R][c]), x, sum);
            }
        }
        sum
    }
}
