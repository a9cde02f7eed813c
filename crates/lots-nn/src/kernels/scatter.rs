//! Sparse cotangents: those that come out of a max pooling are zero but at the winners.

use super::conv::ConvShape;
use super::packed::PANEL;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};

/// The cotangents of one image that won their max-pool windows: (row, pixel of the convolution's output, value), row by
/// row.
pub(crate) struct Winners {
    list: Vec<(usize, usize, f32)>,
    sums: Sums,
    /// Where the top left tap of each pixel lies in an image [height][width][channels].
    corners: Vec<usize>,
    /// The number of each pixel when they are counted column by column.
    turned: Vec<usize>,
    /// `corners` in that order.
    turned_corners: Vec<usize>,
}

/// A list of sums: sum number `i` has the terms up to `ends[i]`, each a value times a line of another array.
#[derive(Default)]
struct Sums {
    ends: Vec<usize>,
    lines: Vec<usize>,
    values: Vec<f32>,
    /// The largest of `lines`.
    farthest: usize,
}

impl Winners {
    /// None yet, of the convolution `s`.
    pub(crate) fn new(s: &ConvShape) -> Self {
        let [height, width] = s.output;
        let corners: Vec<usize> = (0..s.pixels()).map(|p| s.corner(p) * s.channels).collect();
        let turned: Vec<usize> = (0..s.pixels()).map(|p| p % width * height + p / width).collect();
        let mut turned_corners = vec![0; corners.len()];
        for (&corner, &at) in corners.iter().zip(&turned) {
            turned_corners[at] = corner;
        }
        Self { list: Vec::new(), sums: Sums::default(), corners, turned, turned_corners }
    }

    /// Another image's winners.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// Adds a winner; rows must not fall.
    pub(crate) fn push(&mut self, row: usize, pixel: usize, value: f32) {
        self.list.push((row, pixel, value));
    }
}

/// Floats of a kernel row's (column, channel) pairs, rounded up to whole vectors.
pub(crate) fn line_length(s: &ConvShape) -> usize {
    (s.kernel[1] * s.channels).next_multiple_of(PANEL)
}

/// `dx += Wᵀ ∗ g` for one image whose cotangent is zero but at `winners`; one convolution group, no dilation.
///
/// `w` is [kernel rows][rows][line] with a kernel row's (column, channel) pairs first and zeros behind; `dx` is
/// [input height][input width][channels] with at least a line of room behind.
pub(crate) fn winners_back(
    isa: Isa,
    s: &ConvShape,
    w: &[f32],
    winners: &mut Winners,
    dx: &mut [f32],
) {
    let line = line_length(s);
    assert!(w.len() == s.kernel[0] * s.rows * line);
    // Column by column: what one sum stores, the next one does not load.
    let Winners { list, sums, turned, turned_corners, .. } = winners;
    sums.sort(list, s.pixels(), |_, pixel| turned[pixel], |row, _| row * line);
    // Kernel row by kernel row: the weights of one stay in the first-level cache.
    for ky in 0..s.kernel[0] {
        let w = &w[ky * s.rows * line..][..s.rows * line];
        let below = ky * s.input[1] * s.channels;
        sums.add(isa, line, w, &mut dx[below..], |i| turned_corners[i]);
    }
}

/// `dw += g ∗ x` for one image whose cotangent is zero but at `winners`: the layouts of [`winners_back`], `x` like `dx`.
pub(crate) fn winners_weights(
    isa: Isa,
    s: &ConvShape,
    x: &[f32],
    winners: &mut Winners,
    dw: &mut [f32],
) {
    let line = line_length(s);
    assert!(dw.len() == s.kernel[0] * s.rows * line);
    let Winners { list, sums, corners, .. } = winners;
    sums.sort(list, s.rows, |row, _| row, |_, pixel| corners[pixel]);
    for ky in 0..s.kernel[0] {
        let dw = &mut dw[ky * s.rows * line..][..s.rows * line];
        sums.add(isa, line, &x[ky * s.input[1] * s.channels..], dw, |row| row * line);
    }
}

impl Sums {
    /// Sorts winners into `count` sums by `key`, keeping their order; each reads the line at `line`.
    fn sort(
        &mut self,
        list: &[(usize, usize, f32)],
        count: usize,
        key: impl Fn(usize, usize) -> usize,
        line: impl Fn(usize, usize) -> usize,
    ) {
        let Self { ends, lines, values, farthest } = self;
        *farthest = 0;
        ends.clear();
        ends.resize(count + 1, 0);
        for &(row, pixel, _) in list {
            ends[key(row, pixel) + 1] += 1;
        }
        for i in 0..count {
            ends[i + 1] += ends[i];
        }
        lines.resize(list.len(), 0);
        values.resize(list.len(), 0.0);
        for &(row, pixel, value) in list {
            let end = &mut ends[key(row, pixel)];
            let line = line(row, pixel);
            *farthest = line.max(*farthest);
            lines[*end] = line;
            values[*end] = value;
            *end += 1;
        }
        // Each entry now is the end of its own sum.
        ends.truncate(count);
    }

    /// Adds sum `i` of lines of `from` to the line of `to` at `place(i)`.
    fn add(
        &self,
        isa: Isa,
        line: usize,
        from: &[f32],
        to: &mut [f32],
        place: impl Fn(usize) -> usize,
    ) {
        let most = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 8,
            _ => 4,
        };
        assert!(self.farthest + line <= from.len());
        let mut start = 0;
        for (i, &end) in self.ends.iter().enumerate() {
            if start < end {
                let to = &mut to[place(i)..][..line];
                for first in (0..line).step_by(most * PANEL) {
                    let terms = Terms {
                        lines: &self.lines[start..end],
                        values: &self.values[start..end],
                        first,
                    };
                    let vectors = most.min((line - first) / PANEL);
                    // SAFETY: even the farthest line lies inside `from`; `isa` exists only where it was detected.
                    unsafe {
                        match isa {
                            #[cfg(target_arch = "x86_64")]
                            Isa::Avx512 => avx512(&terms, vectors, from, to),
                            #[cfg(target_arch = "x86_64")]
                            Isa::Avx2 => avx2(&terms, vectors, from, to),
                            #[cfg(target_arch = "aarch64")]
                            Isa::Neon => by_width!(Neon, &terms, vectors, from, to, [1, 2, 3, 4]),
                            Isa::Portable => {
                                by_width!(Portable, &terms, vectors, from, to, [1, 2, 3, 4])
                            }
                        }
                    }
                }
            }
            start = end;
        }
    }
}

/// The terms of one sum, and where in their lines to start.
struct Terms<'a> {
    lines: &'a [usize],
    values: &'a [f32],
    first: usize,
}

macro_rules! by_width {
    ($simd:ty, $terms:expr, $vectors:expr, $from:expr, $to:expr, [$($n:literal),*]) => {
        match $vectors {
            $($n => body::<$simd, $n>($terms, $from, $to),)*
            _ => unreachable!("the width was chosen from these"),
        }
    };
}
use by_width;

/// # Safety
/// AVX-512 present; bounds checked by `Sums::add`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(terms: &Terms<'_>, vectors: usize, from: &[f32], to: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { by_width!(Avx512, terms, vectors, from, to, [1, 2, 3, 4, 5, 6, 7, 8]) }
}

/// # Safety
/// AVX2 and FMA present; bounds checked by `Sums::add`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(terms: &Terms<'_>, vectors: usize, from: &[f32], to: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { by_width!(Avx2, terms, vectors, from, to, [1, 2, 3, 4]) }
}

/// # Safety
/// The instruction set of `S` is present; every line lies inside `from`, and `to` is a line (`Sums::add`).
#[inline(always)]
unsafe fn body<S: Simd, const N: usize>(terms: &Terms<'_>, from: &[f32], to: &mut [f32]) {
    let to = &mut to[terms.first..][..N * PANEL];
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [S::splat(0.0); N];
        for (v, sum) in acc.iter_mut().enumerate() {
            *sum = S::load(to.as_ptr().add(v * PANEL));
        }
        for (&line, &value) in terms.lines.iter().zip(terms.values) {
            let g = S::splat(value);
            let x = from.as_ptr().add(line + terms.first);
            for (v, sum) in acc.iter_mut().enumerate() {
                *sum = S::fma(g, S::load(x.add(v * PANEL)), *sum);
            }
        }
        for (v, sum) in acc.into_iter().enumerate() {
            S::store(to.as_mut_ptr().add(v * PANEL), sum);
        }
    }
}
