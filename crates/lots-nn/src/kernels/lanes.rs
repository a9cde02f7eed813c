//! Images one by one, and sixteen abreast.

use super::LANES;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};

/// Images one by one, at most sixteen, to `[element][lane]`; the other lanes stay as they are.
pub(crate) fn interleave_lanes(isa: Isa, images: &[&[f32]], out: &mut [f32]) {
    assert!(images.len() <= LANES && images.iter().all(|image| image.len() * LANES == out.len()));
    let elements = out.len() / LANES;
    let whole = if images.len() == LANES { elements / LANES * LANES } else { 0 };
    if whole > 0 {
        // SAFETY: there are sixteen images of `elements`, as many as `out` has; `isa` exists only where it was detected.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512(images, whole, out.as_mut_ptr()),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(images, whole, out.as_mut_ptr()),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => squares::<Neon>(images, whole, out.as_mut_ptr()),
                Isa::Portable => squares::<Portable>(images, whole, out.as_mut_ptr()),
            }
        }
    }
    // A few elements of all lanes at a time: they stay in the cache.
    for first in (whole..elements).step_by(LANES) {
        let last = elements.min(first + LANES);
        for (lane, image) in images.iter().enumerate() {
            let rows = out[first * LANES..last * LANES].chunks_exact_mut(LANES);
            rows.zip(&image[first..last]).for_each(|(row, x)| row[lane] = *x);
        }
    }
}

/// # Safety
/// AVX-512 present; as [`squares`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn avx512(images: &[&[f32]], elements: usize, out: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { squares::<Avx512>(images, elements, out) }
}

/// # Safety
/// AVX2 and FMA present; as [`squares`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(images: &[&[f32]], elements: usize, out: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { squares::<Avx2>(images, elements, out) }
}

/// The first `elements` of sixteen images, sixteen at a time.
///
/// # Safety
/// The instruction set of `S` is present; `elements` is a multiple of sixteen that each image has, and `out` has room for.
#[inline(always)]
unsafe fn squares<S: Simd>(images: &[&[f32]], elements: usize, out: *mut f32) {
    for first in (0..elements).step_by(LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut rows = [S::splat(0.0); LANES];
            for (row, image) in rows.iter_mut().zip(images) {
                *row = S::load(image.as_ptr().add(first));
            }
            for (k, row) in S::transpose(rows).into_iter().enumerate() {
                S::store(out.add((first + k) * LANES), row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_lies_in_its_lane() {
        for isa in Isa::available() {
            for (count, elements) in [(16, 1), (16, 16), (16, 35), (16, 784), (5, 33), (1, 16)] {
                let flat: Vec<f32> = (0..count * elements).map(|x| x as f32).collect();
                let images: Vec<&[f32]> = flat.chunks_exact(elements).collect();
                let mut out = vec![-1.0; elements * LANES];
                interleave_lanes(isa, &images, &mut out);
                for (at, &x) in out.iter().enumerate() {
                    let (element, lane) = (at / LANES, at % LANES);
                    let wanted =
                        if lane < count { (lane * elements + element) as f32 } else { -1.0 };
                    assert!(x.total_cmp(&wanted).is_eq(), "{isa:?}: {x} for {wanted}");
                }
            }
        }
    }
}
