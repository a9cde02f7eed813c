//! Rows and columns: operators that sum along one axis see `[rows][width]`, and keep the columns apart.
//!
//! Sums have one order whatever the width, so that lanes do not change a bit of them: eight partial sums in f64, row by
//! row in turn, added in pairs.

use crate::kernels::{LANES, versioned};

/// Partial sums of a column.
const PARTS: usize = 8;

/// The sum of the partial sums.
#[inline(always)]
fn total([a, b, c, d, e, f, g, h]: [f64; PARTS]) -> f64 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

versioned! {
    /// Σ a·b of each column, as many as `sums` holds.
    pub(crate) fn dots(a: &[f32], b: &[f32], sums: &mut [f64]) {
        reduce(a, b, sums, |a, b| f64::from(a) * f64::from(b));
    }
}

versioned! {
    /// Σ x of each column, as many as `sums` holds.
    pub(crate) fn sums(x: &[f32], sums: &mut [f64]) {
        reduce(x, x, sums, |x, _| f64::from(x));
    }
}

#[inline(always)]
fn reduce(a: &[f32], b: &[f32], sums: &mut [f64], term: impl Fn(f32, f32) -> f64) {
    let width = sums.len();
    if let [sum] = sums {
        let mut parts = [0.0; PARTS];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<PARTS>(), b.as_chunks::<PARTS>());
        for (a, b) in a.iter().zip(b) {
            for p in 0..PARTS {
                parts[p] += term(a[p], b[p]);
            }
        }
        for (p, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            parts[p] += term(a, b);
        }
        *sum = total(parts);
        return;
    }
    let (blocks, rest) = sums.as_chunks_mut::<LANES>();
    let left = width - rest.len();
    for (block, sums) in blocks.iter_mut().enumerate() {
        let mut parts = [[0.0; LANES]; PARTS];
        for (r, (a, b)) in a.chunks_exact(width).zip(b.chunks_exact(width)).enumerate() {
            let row = |x: &[f32]| -> [f32; LANES] { x[block * LANES..].as_chunks().0[0] };
            let (a, b) = (row(a), row(b));
            let part = &mut parts[r % PARTS];
            for l in 0..LANES {
                part[l] += term(a[l], b[l]);
            }
        }
        for (l, sum) in sums.iter_mut().enumerate() {
            *sum = total(parts.map(|part| part[l]));
        }
    }
    for (column, sum) in (left..).zip(rest) {
        let mut parts = [0.0; PARTS];
        for (r, (a, b)) in a.chunks_exact(width).zip(b.chunks_exact(width)).enumerate() {
            parts[r % PARTS] += term(a[column], b[column]);
        }
        *sum = total(parts);
    }
}

versioned! {
    /// The largest number of each column, as many as `tops` holds; not a number counts for nothing.
    pub(crate) fn maxima(x: &[f32], tops: &mut [f32]) {
        let larger = |a: f32, b: f32| if b > a { b } else { a };
        tops.fill(f32::NEG_INFINITY);
        if let [top] = tops {
            let mut parts = [f32::NEG_INFINITY; LANES];
            let (blocks, rest) = x.as_chunks::<LANES>();
            for block in blocks {
                for l in 0..LANES {
                    parts[l] = larger(parts[l], block[l]);
                }
            }
            *top = parts.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| larger(a, b));
            return;
        }
        for row in x.chunks_exact(tops.len()) {
            for (top, &x) in tops.iter_mut().zip(row) {
                *top = larger(*top, x);
            }
        }
    }
}

/// `y = f(y, x, v)` for each place, with the v of its column.
#[inline(always)]
pub(crate) fn by_column<V: Copy>(
    y: &mut [f32],
    x: &[f32],
    values: &[V],
    f: impl Fn(f32, f32, V) -> f32,
) {
    if let &[v] = values {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(*y, x, v);
        }
    } else if let Ok(values) = <&[V; LANES]>::try_from(values) {
        for (y, x) in y.as_chunks_mut::<LANES>().0.iter_mut().zip(x.as_chunks::<LANES>().0) {
            for l in 0..LANES {
                y[l] = f(y[l], x[l], values[l]);
            }
        }
    } else {
        let width = values.len();
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            for ((y, &x), &v) in y.iter_mut().zip(x).zip(values) {
                *y = f(*y, x, v);
            }
        }
    }
}

/// `y = f(y, x, v)` for each place, with the v of its row; rows are `width` long.
#[inline(always)]
pub(crate) fn by_row<V: Copy>(
    width: usize,
    y: &mut [f32],
    x: &[f32],
    values: &[V],
    f: impl Fn(f32, f32, V) -> f32,
) {
    if width == 1 {
        for ((y, &x), &v) in y.iter_mut().zip(x).zip(values) {
            *y = f(*y, x, v);
        }
    } else if width == LANES {
        let rows = y.as_chunks_mut::<LANES>().0.iter_mut().zip(x.as_chunks::<LANES>().0);
        for ((y, x), &v) in rows.zip(values) {
            for l in 0..LANES {
                y[l] = f(y[l], x[l], v);
            }
        }
    } else {
        let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
        for ((y, x), &v) in rows.zip(values) {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = f(*y, x, v);
            }
        }
    }
}
