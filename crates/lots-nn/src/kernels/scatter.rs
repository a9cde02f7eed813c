//! Sparse cotangents: those that come out of a max pooling are zero but at the winners.

use super::conv::ConvShape;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};
use super::tile::PANEL;

/// The cotangents of one image that won their max-pool windows, sorted by where they lie.
#[derive(Default)]
pub(crate) struct Winners {
    /// Where the winners of each output pixel end in `rows` and `values`.
    ends: Vec<usize>,
    rows: Vec<usize>,
    values: Vec<f32>,
}

impl Winners {
    /// Sorts winners (row, pixel, value), given row by row, by pixel of `pixels`.
    pub(crate) fn sort(&mut self, pixels: usize, winners: &[(usize, usize, f32)]) {
        self.ends.clear();
        self.ends.resize(pixels + 1, 0);
        for &(_, pixel, _) in winners {
            self.ends[pixel + 1] += 1;
        }
        for p in 0..pixels {
            self.ends[p + 1] += self.ends[p];
        }
        self.rows.resize(winners.len(), 0);
        self.values.resize(winners.len(), 0.0);
        for &(row, pixel, value) in winners {
            let at = self.ends[pixel];
            self.rows[at] = row;
            self.values[at] = value;
            self.ends[pixel] += 1;
        }
        // Each entry now is the end of its own pixel.
    }
}

/// `dx += Wᵀ ∗ g` for one image whose cotangent is zero but at `winners`; one convolution group, no dilation.
///
/// `w` is [kernel rows][rows][`line`] with a kernel row's (column, channel) pairs first and zeros up to `line`, a
/// multiple of 16; `dx` is [input height][input width][channels] with at least `line` floats of room behind.
pub(crate) fn scatter_winners(
    isa: Isa,
    s: &ConvShape,
    w: &[f32],
    line: usize,
    winners: &Winners,
    dx: &mut [f32],
) {
    assert!(winners.ends.len() > s.pixels() && line.is_multiple_of(PANEL));
    assert!(
        winners.rows.iter().all(|&row| row < s.rows) && winners.rows.len() == winners.values.len()
    );
    assert!(winners.ends[..s.pixels()].iter().all(|&end| end <= winners.rows.len()));
    assert!(w.len() == s.kernel[0] * s.rows * line);
    let last = s.corner(s.pixels() - 1) + (s.kernel[0] - 1) * s.input[1];
    assert!(last * s.channels + line <= dx.len());
    let most = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => 8,
        _ => 4,
    };
    // Kernel row by kernel row: the weights of one stay in the first-level cache.
    for ky in 0..s.kernel[0] {
        let w = &w[ky * s.rows * line..][..s.rows * line];
        for first in (0..line).step_by(most * PANEL) {
            let job = Job {
                s,
                w: &w[first..],
                line,
                winners,
                offset: ky * s.input[1] * s.channels + first,
            };
            let vectors = most.min((line - first) / PANEL);
            // SAFETY: bounds were checked above for the largest offsets; `isa` exists only where it was detected.
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => avx512(&job, vectors, dx),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => avx2(&job, vectors, dx),
                    Isa::Portable => by_width!(Portable, &job, vectors, dx, [1, 2, 3, 4]),
                }
            }
        }
    }
}

/// One kernel row, and the part of its line that fits into registers.
struct Job<'a> {
    s: &'a ConvShape,
    w: &'a [f32],
    line: usize,
    winners: &'a Winners,
    offset: usize,
}

macro_rules! by_width {
    ($simd:ty, $job:expr, $vectors:expr, $dx:expr, [$($n:literal),*]) => {
        match $vectors {
            $($n => body::<$simd, $n>($job, $dx),)*
            _ => unreachable!("the width was chosen from these"),
        }
    };
}
use by_width;

/// # Safety
/// AVX-512 present; bounds checked by `scatter_winners`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(job: &Job<'_>, vectors: usize, dx: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { by_width!(Avx512, job, vectors, dx, [1, 2, 3, 4, 5, 6, 7, 8]) }
}

/// # Safety
/// AVX2 and FMA present; bounds checked by `scatter_winners`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(job: &Job<'_>, vectors: usize, dx: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { by_width!(Avx2, job, vectors, dx, [1, 2, 3, 4]) }
}

/// # Safety
/// The instruction set of `S` is present; bounds were checked by `scatter_winners`.
#[inline(always)]
unsafe fn body<S: Simd, const N: usize>(job: &Job<'_>, dx: &mut [f32]) {
    let mut first = 0;
    for pixel in 0..job.s.pixels() {
        let end = job.winners.ends[pixel];
        if end == first {
            continue;
        }
        // SAFETY: `scatter_winners` checked that rows, values and all pixels lie inside their slices.
        unsafe {
            let place = dx.as_mut_ptr().add(job.s.corner(pixel) * job.s.channels + job.offset);
            let mut acc = [S::splat(0.0); N];
            for v in 0..N {
                acc[v] = S::load(place.add(v * PANEL));
            }
            for at in first..end {
                let g = S::splat(*job.winners.values.get_unchecked(at));
                let w = job.w.as_ptr().add(job.winners.rows.get_unchecked(at) * job.line);
                for v in 0..N {
                    acc[v] = S::fma(g, S::load(w.add(v * PANEL)), acc[v]);
                }
            }
            for v in 0..N {
                S::store(place.add(v * PANEL), acc[v]);
            }
        }
        first = end;
    }
}
