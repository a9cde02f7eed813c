//! The transforms of tiles, sixteen tiles or images abreast.

use std::mem::MaybeUninit;

use super::TILE;
use super::matrices::{FIVE, THREE, filter, input, output, transposed};
use crate::kernels::packed::PANEL;
#[cfg(target_arch = "aarch64")]
use crate::kernels::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::{Avx2, Avx512};
use crate::kernels::simd::{Isa, Portable, Simd};
use crate::shared::Shared;

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
    /// From the points to the weights' gradient, `Gᵀ m`: of columns only, where [`Steps`] have no row.
    WeightsBack,
}

/// How vectors of sixteen lie in a square: element (y, x) at `start + y · row + x · column`; without `row` only one of its axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    pub(super) row: Option<usize>,
    pub(super) column: usize,
}

impl Steps {
    /// Floats from the start to behind the end of a square of `side` × `side` vectors.
    fn reach(&self, side: usize) -> usize {
        (side - 1) * (self.row.unwrap_or(0) + self.column) + PANEL
    }
}

/// Applies `transform` of a filter with `taps` taps (3 or 5) on an axis to all squares, or lines, whose starts in `from` and `to`
/// are in `places`; `start` is added to each result.
///
/// # Safety
/// No other thread touches these vectors of `to` meanwhile.
pub(super) unsafe fn apply(
    isa: Isa,
    transform: Transform,
    taps: usize,
    (from, read): (&[f32], Steps),
    start: f32,
    (to, written): (Shared<'_>, Steps),
    places: &[[usize; 2]],
) {
    let sides = transform.sides(taps);
    let Some(last) = places.iter().copied().reduce(|a, b| [a[0].max(b[0]), a[1].max(b[1])]) else {
        return;
    };
    assert!(last[0] + read.reach(sides.0) <= from.len());
    let y = to.pointer(0, last[1] + written.reach(sides.1));
    let all = Squares { transform, taps, x: from.as_ptr(), read, start, y, written, places };
    // SAFETY: the lengths were checked for the last of all; `isa` exists only where it was detected.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512(&all),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(&all),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => chosen::<Neon>(&all),
            Isa::Portable => chosen::<Portable>(&all),
        }
    }
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

/// Squares or lines to transform.
struct Squares<'a> {
    transform: Transform,
    taps: usize,
    x: *const f32,
    read: Steps,
    start: f32,
    y: *mut f32,
    written: Steps,
    places: &'a [[usize; 2]],
}

/// # Safety
/// AVX-512 present; bounds checked by [`apply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(all: &Squares<'_>) {
    // SAFETY: the caller's promise.
    unsafe { chosen::<Avx512>(all) }
}

/// # Safety
/// AVX2 and FMA present; bounds checked by [`apply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(all: &Squares<'_>) {
    // SAFETY: the caller's promise.
    unsafe { chosen::<Avx2>(all) }
}

/// # Safety
/// As [`each`].
#[inline(always)]
unsafe fn chosen<S: Simd>(all: &Squares<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match (all.transform, all.taps) {
            (Transform::Input, 3) => each::<S, Three, 6, 6>(all),
            (Transform::Output, 3) => each::<S, Three, 4, 6>(all),
            (Transform::Weights, 3) => each::<S, Three, 6, 3>(all),
            (Transform::OutputBack, 3) => each::<S, Back<Three>, 6, 4>(all),
            (Transform::InputBack, 3) => each::<S, Back<Three>, 6, 6>(all),
            (Transform::WeightsBack, 3) => each::<S, Back<Three>, 3, 6>(all),
            (Transform::Input, _) => each::<S, Five, 8, 8>(all),
            (Transform::Output, _) => each::<S, Five, 4, 8>(all),
            (Transform::Weights, _) => each::<S, Five, 8, 5>(all),
            (Transform::OutputBack, _) => each::<S, Back<Five>, 8, 4>(all),
            (Transform::InputBack, _) => each::<S, Back<Five>, 8, 8>(all),
            (Transform::WeightsBack, _) => each::<S, Back<Five>, 5, 8>(all),
        }
    }
}

/// [`sandwich`] or `y = start + M x`, at all places.
///
/// # Safety
/// The instruction set of `S` is present; at each place `x` holds a square of C × C vectors, or a line of C, and `y` has room for
/// one of R × R, or of R.
#[inline(always)]
unsafe fn each<S: Simd, M: Matrix<R, C>, const R: usize, const C: usize>(all: &Squares<'_>) {
    let (read, written, start) = (all.read, all.written, all.start);
    for [from, to] in all.places {
        // SAFETY: the caller's promise.
        unsafe {
            let (x, y) = (all.x.add(*from), all.y.add(*to));
            if let (Some(from), Some(to)) = (read.row, written.row) {
                sandwich::<S, M, R, C>(x, [from, read.column], start, y, [to, written.column]);
                continue;
            }
            let mut vector = [S::splat(0.0); C];
            for (at, v) in vector.iter_mut().enumerate() {
                *v = S::load(x.add(at * read.column));
            }
            let done = rows::<S, M, R, C>(&vector, S::splat(start));
            for (at, v) in done.into_iter().enumerate() {
                S::store(y.add(at * written.column), v);
            }
        }
    }
}

/// `y = start + M x Mᵀ`, with floats from row to row and from column to column.
///
/// # Safety
/// The instruction set of `S` is present; `x` holds a square of C × C vectors, `y` has room for one of R × R.
#[inline(always)]
unsafe fn sandwich<S: Simd, M: Matrix<R, C>, const R: usize, const C: usize>(
    x: *const f32,
    from: [usize; 2],
    start: f32,
    y: *mut f32,
    to: [usize; 2],
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Written whole, column by column, before it is read.
        let mut half = [const { [const { MaybeUninit::<S::V>::uninit() }; C] }; R];
        for column in 0..C {
            let mut vector = [S::splat(0.0); C];
            for (row, v) in vector.iter_mut().enumerate() {
                *v = S::load(x.add(row * from[0] + column * from[1]));
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
            let done = rows::<S, M, R, C>(&vector, S::splat(start));
            for (column, v) in done.into_iter().enumerate() {
                S::store(y.add(row * to[0] + column * to[1]), v);
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
