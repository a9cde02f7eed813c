//! Sixteen floats at a time, in each instruction set.

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// x86-64 with AVX-512 (F, BW, VL, DQ).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 64-bit Arm with NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Whatever the compiler makes of plain loops.
    Portable,
}

impl Isa {
    /// The best one that this machine has.
    pub(crate) fn best() -> Self {
        Self::available()[0]
    }

    /// All that this machine has, best first.
    pub(crate) fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") {
                found.push(Self::Avx512);
            }
            if avx2 {
                found.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self::Neon);
        }
        found.push(Self::Portable);
        found
    }

    /// Largest register tile: rows of the first operand, and vectors of the second for that many rows.
    pub(crate) fn tile_rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx2 => 6,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => 6,
            Self::Portable => 3,
        }
    }

    /// Vectors of a register tile with `rows` rows.
    pub(crate) fn tile_vectors(self, rows: usize) -> usize {
        match (self, rows) {
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, 1..=3) => 8,
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, _) | (Self::Avx2, 1) => 4,
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, 2 | 3) => 2,
            #[cfg(target_arch = "aarch64")]
            (Self::Neon, 1) => 3,
            #[cfg(target_arch = "aarch64")]
            (Self::Neon, 2) => 2,
            _ => 1,
        }
    }
}

/// Sixteen floats.
pub(super) trait Simd: Copy {
    type V: Copy;
    /// # Safety
    /// The instruction set must be present.
    unsafe fn splat(x: f32) -> Self::V;
    /// # Safety
    /// As `splat`; `p` must be readable for 16 floats.
    unsafe fn load(p: *const f32) -> Self::V;
    /// # Safety
    /// As `splat`; `p` must be writable for 16 floats.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// `a * b + c`.
    ///
    /// # Safety
    /// As `splat`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Sixteen vectors as the rows of a square, turned: number j of the result holds element j of each.
    ///
    /// # Safety
    /// As `splat`.
    unsafe fn transpose(x: [Self::V; 16]) -> [Self::V; 16];
    /// The sum of the sixteen: halves, quarters, eighths, pairs.
    ///
    /// # Safety
    /// As `splat`.
    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        let mut x = [0.0f32; 16];
        // SAFETY: `x` holds 16 floats; the caller vouches for the instruction set.
        unsafe { Self::store(x.as_mut_ptr(), v) };
        let mut half = 8;
        while half > 0 {
            for i in 0..half {
                x[i] += x[i + half];
            }
            half /= 2;
        }
        x[0]
    }
}

/// Asks for memory that is read soon, where the processor can be asked.
#[inline(always)]
pub(super) fn prefetch(x: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in x.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, and it may be given any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = x;
}

#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type V = [f32; 16];
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; 16]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the caller vouches for 16 readable floats; arrays of f32 need no more alignment than f32.
        unsafe { p.cast::<[f32; 16]>().read() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        // SAFETY: the caller vouches for 16 writable floats.
        unsafe { p.cast::<[f32; 16]>().write(v) }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Without the instruction a fused product is a library call, so the portable path rounds twice.
        let mut sum = c;
        for i in 0..16 {
            sum[i] += a[i] * b[i];
        }
        sum
    }
    #[inline(always)]
    unsafe fn transpose(x: [Self::V; 16]) -> [Self::V; 16] {
        std::array::from_fn(|j| std::array::from_fn(|i| x[i][j]))
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Simd;
    use std::arch::aarch64::{
        float32x4_t, vdupq_n_f32, vfmaq_f32, vld1q_f32, vreinterpretq_f32_f64,
        vreinterpretq_f64_f32, vst1q_f32, vtrn1q_f32, vtrn1q_f64, vtrn2q_f32, vtrn2q_f64,
    };

    #[derive(Clone, Copy)]
    pub(in crate::kernels) struct Neon;

    impl Simd for Neon {
        type V = [float32x4_t; 4];
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { [vdupq_n_f32(x); 4] }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            // SAFETY: the caller vouches for 16 readable floats.
            unsafe {
                [vld1q_f32(p), vld1q_f32(p.add(4)), vld1q_f32(p.add(8)), vld1q_f32(p.add(12))]
            }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            for (i, v) in v.into_iter().enumerate() {
                // SAFETY: the caller vouches for 16 writable floats.
                unsafe { vst1q_f32(p.add(4 * i), v) };
            }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            let mut sum = c;
            for i in 0..4 {
                // SAFETY: the caller vouches for the instruction set.
                sum[i] = unsafe { vfmaq_f32(c[i], a[i], b[i]) };
            }
            sum
        }
        #[inline(always)]
        unsafe fn transpose(x: [Self::V; 16]) -> [Self::V; 16] {
            let mut out = x;
            for i in 0..4 {
                for j in 0..4 {
                    let rows = [x[4 * i][j], x[4 * i + 1][j], x[4 * i + 2][j], x[4 * i + 3][j]];
                    // SAFETY: the caller vouches for the instruction set.
                    let turned = unsafe { four(rows) };
                    for (k, turned) in turned.into_iter().enumerate() {
                        out[4 * j + k][i] = turned;
                    }
                }
            }
            out
        }
    }

    /// A square of four, turned.
    ///
    /// # Safety
    /// NEON present.
    #[inline(always)]
    unsafe fn four(x: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            // Columns 0 and 2 of two rows in turn, and columns 1 and 3.
            let even = vreinterpretq_f64_f32(vtrn1q_f32(x[0], x[1]));
            let odd = vreinterpretq_f64_f32(vtrn2q_f32(x[0], x[1]));
            let below_even = vreinterpretq_f64_f32(vtrn1q_f32(x[2], x[3]));
            let below_odd = vreinterpretq_f64_f32(vtrn2q_f32(x[2], x[3]));
            [
                vreinterpretq_f32_f64(vtrn1q_f64(even, below_even)),
                vreinterpretq_f32_f64(vtrn1q_f64(odd, below_odd)),
                vreinterpretq_f32_f64(vtrn2q_f64(even, below_even)),
                vreinterpretq_f32_f64(vtrn2q_f64(odd, below_odd)),
            ]
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::{
        __m256, __m512, _mm256_castpd_ps, _mm256_castps_pd, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm256_unpackhi_pd,
        _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps, _mm512_castpd_ps,
        _mm512_castps_pd, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_shuffle_f32x4,
        _mm512_storeu_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd,
        _mm512_unpacklo_ps,
    };

    #[derive(Clone, Copy)]
    pub(in crate::kernels) struct Avx512;
    #[derive(Clone, Copy)]
    pub(in crate::kernels) struct Avx2;

    // SAFETY (all blocks below): the callers of `Simd` vouch for the instruction set and the 16 floats behind `p`.
    impl Simd for Avx512 {
        type V = __m512;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            // SAFETY: see the impl.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            // SAFETY: see the impl.
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            // SAFETY: see the impl.
            unsafe { _mm512_storeu_ps(p, v) }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            // SAFETY: see the impl.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn transpose(x: [Self::V; 16]) -> [Self::V; 16] {
            // SAFETY: see the impl.
            unsafe {
                // Pairs of rows, then fours: vector 4i + j holds columns j, j + 4, j + 8, j + 12 of rows 4i to 4i + 3.
                let mut fours = x;
                for i in 0..4 {
                    let (a, b, c, d) = (x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]);
                    let low = [_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d)];
                    let high = [_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d)];
                    for (j, pair) in [low, high].into_iter().enumerate() {
                        let [a, b] = [_mm512_castps_pd(pair[0]), _mm512_castps_pd(pair[1])];
                        fours[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                        fours[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                    }
                }
                let mut out = x;
                for j in 0..4 {
                    let (a, b, c, d) = (fours[j], fours[4 + j], fours[8 + j], fours[12 + j]);
                    let even = [_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(c, d, 0x88)];
                    let odd = [_mm512_shuffle_f32x4(a, b, 0xdd), _mm512_shuffle_f32x4(c, d, 0xdd)];
                    out[j] = _mm512_shuffle_f32x4(even[0], even[1], 0x88);
                    out[4 + j] = _mm512_shuffle_f32x4(odd[0], odd[1], 0x88);
                    out[8 + j] = _mm512_shuffle_f32x4(even[0], even[1], 0xdd);
                    out[12 + j] = _mm512_shuffle_f32x4(odd[0], odd[1], 0xdd);
                }
                out
            }
        }
    }

    impl Simd for Avx2 {
        type V = (__m256, __m256);
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            // SAFETY: see the impl.
            unsafe { (_mm256_set1_ps(x), _mm256_set1_ps(x)) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            // SAFETY: see the impl.
            unsafe { (_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            // SAFETY: see the impl.
            unsafe {
                _mm256_storeu_ps(p, v.0);
                _mm256_storeu_ps(p.add(8), v.1);
            }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            // SAFETY: see the impl.
            unsafe { (_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
        }
        #[inline(always)]
        unsafe fn transpose(x: [Self::V; 16]) -> [Self::V; 16] {
            // SAFETY: see the impl.
            unsafe {
                // Four squares of eight.
                let mut out = x;
                for i in [0, 8] {
                    let mut left = [x[0].0; 8];
                    let mut right = left;
                    for j in 0..8 {
                        (left[j], right[j]) = x[i + j];
                    }
                    let (left, right) = (eight(left), eight(right));
                    for j in 0..8 {
                        if i == 0 {
                            (out[j].0, out[8 + j].0) = (left[j], right[j]);
                        } else {
                            (out[j].1, out[8 + j].1) = (left[j], right[j]);
                        }
                    }
                }
                out
            }
        }
    }

    /// A square of eight, turned.
    ///
    /// # Safety
    /// AVX2 present.
    #[inline(always)]
    unsafe fn eight(x: [__m256; 8]) -> [__m256; 8] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let mut fours = x;
            for i in [0, 4] {
                let low =
                    [_mm256_unpacklo_ps(x[i], x[i + 1]), _mm256_unpacklo_ps(x[i + 2], x[i + 3])];
                let high =
                    [_mm256_unpackhi_ps(x[i], x[i + 1]), _mm256_unpackhi_ps(x[i + 2], x[i + 3])];
                for (j, pair) in [low, high].into_iter().enumerate() {
                    let [a, b] = [_mm256_castps_pd(pair[0]), _mm256_castps_pd(pair[1])];
                    fours[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
                    fours[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
                }
            }
            let mut out = x;
            for j in 0..4 {
                out[j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x20);
                out[4 + j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x31);
            }
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Isa, Portable, Simd};

    /// # Safety
    /// The instruction set of `S` is present.
    #[inline(always)]
    unsafe fn turned<S: Simd>() -> Vec<f32> {
        let x: Vec<f32> = (0..256u16).map(f32::from).collect();
        let mut out = vec![0.0; 256];
        // SAFETY: the caller's promise; both hold sixteen vectors.
        unsafe {
            let mut square = [S::splat(0.0); 16];
            for (i, row) in square.iter_mut().enumerate() {
                *row = S::load(x.as_ptr().add(16 * i));
            }
            for (i, row) in S::transpose(square).into_iter().enumerate() {
                S::store(out.as_mut_ptr().add(16 * i), row);
            }
        }
        out
    }

    #[test]
    fn squares_are_turned() {
        let wanted: Vec<f32> = (0..256u16).map(|at| f32::from(at % 16 * 16 + at / 16)).collect();
        for isa in Isa::available() {
            // SAFETY: only what the machine has is asked for.
            let got = unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => turned::<super::Avx512>(),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => turned::<super::Avx2>(),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => turned::<super::Neon>(),
                    Isa::Portable => turned::<Portable>(),
                }
            };
            assert_eq!(got, wanted, "{isa:?}");
        }
    }
}
