//! The arithmetic of distances: inner product and squared Euclidean distance of `f32` vectors, inner
//! product of `i8` codes; one form per instruction set, chosen once at run time.
//! The only unsafe code of the index. Invariant: a form is reachable only through [`Kernels::available`],
//! which lists it only where the CPU has its instructions, and it is only ever given two slices of equal
//! length. Every SIMD form is tested against the scalar one.

use std::sync::OnceLock;

/// One instruction set's forms. The inner function pointers require equal lengths and the CPU features
/// of their set; the methods see to both.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    /// The instruction set's name, for logs and benches.
    pub name: &'static str,
    dot_f32: unsafe fn(&[f32], &[f32]) -> f32,
    l2_f32: unsafe fn(&[f32], &[f32]) -> f32,
    dot_i8: unsafe fn(&[i8], &[i8]) -> i32,
}

impl Kernels {
    /// Σ aᵢ·bᵢ over the shorter of the two lengths.
    #[inline]
    pub fn dot_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        let n = a.len().min(b.len());
        // SAFETY: equal lengths; this CPU has the features, or `available` had not listed the form.
        unsafe { (self.dot_f32)(&a[..n], &b[..n]) }
    }

    /// Σ (aᵢ − bᵢ)² over the shorter of the two lengths.
    #[inline]
    pub fn l2_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        let n = a.len().min(b.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.l2_f32)(&a[..n], &b[..n]) }
    }

    /// Σ aᵢ·bᵢ of codes over the shorter of the two lengths, exact up to 131,071 dimensions
    /// (131,071 × 128² < 2³¹).
    #[inline]
    pub fn dot_i8(&self, a: &[i8], b: &[i8]) -> i32 {
        let n = a.len().min(b.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.dot_i8)(&a[..n], &b[..n]) }
    }

    /// All forms this CPU can run, the scalar one first, the fastest last.
    pub fn available() -> Vec<Kernels> {
        let mut forms = vec![scalar::KERNELS];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                forms.push(avx2::KERNELS);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                forms.push(avx512::KERNELS);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            forms.push(neon::KERNELS);
        }
        forms
    }
}

/// The fastest form this CPU can run.
#[inline]
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| Kernels::available().last().copied().unwrap_or(scalar::KERNELS))
}

/// Asks the CPU to bring the slice's first cache lines (up to 512 bytes) near. Never faults, does
/// nothing where the instruction set has no such hint.
#[inline]
pub fn prefetch(bytes: &[i8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64).take(8) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint about an address inside a live slice; SSE is part of x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// The portable forms: eight partial sums, which compilers turn into whatever vectors there are.
mod scalar {
    use super::Kernels;

    pub const KERNELS: Kernels = Kernels { name: "scalar", dot_f32, l2_f32, dot_i8 };

    fn sum_f32(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
        let mut sums = [0f32; 8];
        let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
        let tail: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| term(*x, *y)).sum();
        for (x, y) in a8.zip(b8) {
            for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
                *sum += term(*x, *y);
            }
        }
        sums.iter().sum::<f32>() + tail
    }

    fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
        sum_f32(a, b, |x, y| x * y)
    }

    fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
        sum_f32(a, b, |x, y| (x - y) * (x - y))
    }

    fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
        a.iter().zip(b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
    }
}

/// 256-bit forms: AVX2 with fused multiply-add.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::Kernels;
    use std::arch::x86_64::*;

    pub const KERNELS: Kernels = Kernels { name: "avx2", dot_f32, l2_f32, dot_i8 };

    #[target_feature(enable = "avx2,fma")]
    fn sum(v: __m256) -> f32 {
        let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
    }

    /// SAFETY: the caller passes slices of equal length, on a CPU with AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
        let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
        let mut sums = [_mm256_setzero_ps(); 4];
        let mut i = 0;
        while i + 32 <= n {
            for (lane, s) in sums.iter_mut().enumerate() {
                // SAFETY: i + 8·lane + 8 ≤ i + 32 ≤ n, the length of both.
                let (x, y) = unsafe { (_mm256_loadu_ps(pa.add(i + 8 * lane)), _mm256_loadu_ps(pb.add(i + 8 * lane))) };
                *s = _mm256_fmadd_ps(x, y, *s);
            }
            i += 32;
        }
        while i + 8 <= n {
            // SAFETY: i + 8 ≤ n.
            let (x, y) = unsafe { (_mm256_loadu_ps(pa.add(i)), _mm256_loadu_ps(pb.add(i))) };
            sums[0] = _mm256_fmadd_ps(x, y, sums[0]);
            i += 8;
        }
        let tail: f32 = a[i..].iter().zip(&b[i..]).map(|(x, y)| x * y).sum();
        sum(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]))) + tail
    }

    /// SAFETY: as in `dot_f32`.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
        let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
        let mut sums = [_mm256_setzero_ps(); 4];
        let mut i = 0;
        while i + 32 <= n {
            for (lane, s) in sums.iter_mut().enumerate() {
                // SAFETY: i + 8·lane + 8 ≤ i + 32 ≤ n, the length of both.
                let (x, y) = unsafe { (_mm256_loadu_ps(pa.add(i + 8 * lane)), _mm256_loadu_ps(pb.add(i + 8 * lane))) };
                let d = _mm256_sub_ps(x, y);
                *s = _mm256_fmadd_ps(d, d, *s);
            }
            i += 32;
        }
        while i + 8 <= n {
            // SAFETY: i + 8 ≤ n.
            let d = unsafe { _mm256_sub_ps(_mm256_loadu_ps(pa.add(i)), _mm256_loadu_ps(pb.add(i))) };
            sums[0] = _mm256_fmadd_ps(d, d, sums[0]);
            i += 8;
        }
        let tail: f32 = a[i..].iter().zip(&b[i..]).map(|(x, y)| (x - y) * (x - y)).sum();
        sum(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]))) + tail
    }

    /// SAFETY: as in `dot_f32`.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
        let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
        let mut sums = _mm256_setzero_si256();
        let mut i = 0;
        while i + 16 <= n {
            // SAFETY: i + 16 ≤ n, the length of both.
            let (x, y) = unsafe { (_mm_loadu_si128(pa.add(i).cast()), _mm_loadu_si128(pb.add(i).cast())) };
            // Widened to i16, a product of two fits i32 (2 × 128²): no saturation, unlike maddubs.
            let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(x), _mm256_cvtepi8_epi16(y));
            sums = _mm256_add_epi32(sums, products);
            i += 16;
        }
        let half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
        let one = _mm_add_epi32(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair));
        let tail: i32 = a[i..].iter().zip(&b[i..]).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
        _mm_cvtsi128_si32(one) + tail
    }
}

/// 512-bit forms; the remainder is read under a mask instead of one by one.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::Kernels;
    use std::arch::x86_64::*;

    pub const KERNELS: Kernels = Kernels { name: "avx512", dot_f32, l2_f32, dot_i8 };

    /// SAFETY: the caller passes slices of equal length, on a CPU with AVX-512 F and BW.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
        let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
        let (mut s0, mut s1) = (_mm512_setzero_ps(), _mm512_setzero_ps());
        let mut i = 0;
        while i + 32 <= n {
            // SAFETY: i + 32 ≤ n, the length of both.
            unsafe {
                s0 = _mm512_fmadd_ps(_mm512_loadu_ps(pa.add(i)), _mm512_loadu_ps(pb.add(i)), s0);
                s1 = _mm512_fmadd_ps(_mm512_loadu_ps(pa.add(i + 16)), _mm512_loadu_ps(pb.add(i + 16)), s1);
            }
            i += 32;
        }
        while i < n {
            let mask = tail_mask(n - i);
            // SAFETY: the mask lets only the first min(16, n − i) floats be read.
            let (x, y) = unsafe { (_mm512_maskz_loadu_ps(mask, pa.add(i)), _mm512_maskz_loadu_ps(mask, pb.add(i))) };
            s0 = _mm512_fmadd_ps(x, y, s0);
            i += 16;
        }
        _mm512_reduce_add_ps(_mm512_add_ps(s0, s1))
    }

    /// SAFETY: as in `dot_f32`.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
        let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
        let (mut s0, mut s1) = (_mm512_setzero_ps(), _mm512_setzero_ps());
        let mut i = 0;
        while i + 32 <= n {
            // SAFETY: i + 32 ≤ n, the length of both.
            let (d0, d1) = unsafe {
                let d0 = _mm512_sub_ps(_mm512_loadu_ps(pa.add(i)), _mm512_loadu_ps(pb.add(i)));
                (d0, _mm512_sub_ps(_mm512_loadu_ps(pa.add(i + 16)), _mm512_loadu_ps(pb.add(i + 16))))
            };
            s0 = _mm512_fmadd_ps(d0, d0, s0);
            s1 = _mm512_fmadd_ps(d1, d1, s1);
            i += 32;
        }
        while i < n {
            let mask = tail_mask(n - i);
            // SAFETY: the mask lets only the first min(16, n − i) floats be read.
            let (x, y) = unsafe { (_mm512_maskz_loadu_ps(mask, pa.add(i)), _mm512_maskz_loadu_ps(mask, pb.add(i))) };
            let d = _mm512_sub_ps(x, y);
            s0 = _mm512_fmadd_ps(d, d, s0);
            i += 16;
        }
        _mm512_reduce_add_ps(_mm512_add_ps(s0, s1))
    }

    /// SAFETY: as in `dot_f32`.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
        let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
        let mut sums = _mm512_setzero_si512();
        let mut i = 0;
        while i + 32 <= n {
            // SAFETY: i + 32 ≤ n, the length of both.
            let (x, y) = unsafe { (_mm256_loadu_si256(pa.add(i).cast()), _mm256_loadu_si256(pb.add(i).cast())) };
            let products = _mm512_madd_epi16(_mm512_cvtepi8_epi16(x), _mm512_cvtepi8_epi16(y));
            sums = _mm512_add_epi32(sums, products);
            i += 32;
        }
        let tail: i32 = a[i..].iter().zip(&b[i..]).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
        _mm512_reduce_add_epi32(sums) + tail
    }

    /// The low `min(16, left)` bits set.
    #[inline]
    fn tail_mask(left: usize) -> __mmask16 {
        if left >= 16 { u16::MAX } else { (1 << left) - 1 }
    }
}

/// 128-bit forms of aarch64.
#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Kernels;
    use std::arch::aarch64::*;

    pub const KERNELS: Kernels = Kernels { name: "neon", dot_f32, l2_f32, dot_i8 };

    /// SAFETY: the caller passes slices of equal length, on a CPU with NEON.
    #[target_feature(enable = "neon")]
    unsafe fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
        let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
        let mut sums = [vdupq_n_f32(0.0); 4];
        let mut i = 0;
        while i + 16 <= n {
            for (lane, s) in sums.iter_mut().enumerate() {
                // SAFETY: i + 4·lane + 4 ≤ i + 16 ≤ n, the length of both.
                let (x, y) = unsafe { (vld1q_f32(pa.add(i + 4 * lane)), vld1q_f32(pb.add(i + 4 * lane))) };
                *s = vfmaq_f32(*s, x, y);
            }
            i += 16;
        }
        let tail: f32 = a[i..].iter().zip(&b[i..]).map(|(x, y)| x * y).sum();
        vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3]))) + tail
    }

    /// SAFETY: as in `dot_f32`.
    #[target_feature(enable = "neon")]
    unsafe fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
        let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
        let mut sums = [vdupq_n_f32(0.0); 4];
        let mut i = 0;
        while i + 16 <= n {
            for (lane, s) in sums.iter_mut().enumerate() {
                // SAFETY: i + 4·lane + 4 ≤ i + 16 ≤ n, the length of both.
                let d = unsafe { vsubq_f32(vld1q_f32(pa.add(i + 4 * lane)), vld1q_f32(pb.add(i + 4 * lane))) };
                *s = vfmaq_f32(*s, d, d);
            }
            i += 16;
        }
        let tail: f32 = a[i..].iter().zip(&b[i..]).map(|(x, y)| (x - y) * (x - y)).sum();
        vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3]))) + tail
    }

    /// SAFETY: as in `dot_f32`.
    #[target_feature(enable = "neon")]
    unsafe fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
        let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
        let mut sums = vdupq_n_s32(0);
        let mut i = 0;
        while i + 16 <= n {
            // SAFETY: i + 16 ≤ n, the length of both.
            let (x, y) = unsafe { (vld1q_s8(pa.add(i)), vld1q_s8(pb.add(i))) };
            // A product fits i16 (128² = 2¹⁴); pairs are added into i32.
            sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
            sums = vpadalq_s16(sums, vmull_s8(vget_high_s8(x), vget_high_s8(y)));
            i += 16;
        }
        let tail: i32 = a[i..].iter().zip(&b[i..]).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
        vaddvq_s32(sums) + tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pairs of equal length 0..=200, starting `skip` floats into a larger buffer: any alignment.
    fn floats() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, usize)> {
        (0usize..=200, 0usize..8).prop_flat_map(|(n, skip)| {
            let values = prop::collection::vec(-100f32..100f32, n + skip);
            (values.clone(), values, Just(skip))
        })
    }

    fn codes() -> impl Strategy<Value = (Vec<i8>, Vec<i8>, usize)> {
        (0usize..=300, 0usize..8).prop_flat_map(|(n, skip)| {
            let values = prop::collection::vec(any::<i8>(), n + skip);
            (values.clone(), values, Just(skip))
        })
    }

    proptest! {
        #[test]
        fn every_f32_form_equals_the_scalar_one((a, b, skip) in floats()) {
            let (a, b) = (&a[skip..], &b[skip..]);
            let dot: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let l2: f64 = a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
            let magnitude: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x * *y).abs()).sum();
            for form in Kernels::available() {
                let (got_dot, got_l2) = (f64::from(form.dot_f32(a, b)), f64::from(form.l2_f32(a, b)));
                prop_assert!((got_dot - dot).abs() <= magnitude * 1e-5, "{}: dot {got_dot} for {dot}", form.name);
                prop_assert!((got_l2 - l2).abs() <= l2 * 1e-5, "{}: l2 {got_l2} for {l2}", form.name);
            }
        }

        #[test]
        fn every_i8_form_equals_the_scalar_one((a, b, skip) in codes()) {
            let (a, b) = (&a[skip..], &b[skip..]);
            let dot: i64 = a.iter().zip(b).map(|(x, y)| i64::from(*x) * i64::from(*y)).sum();
            for form in Kernels::available() {
                prop_assert_eq!(i64::from(form.dot_i8(a, b)), dot, "{}", form.name);
            }
        }
    }

    #[test]
    fn extreme_codes_of_the_largest_dimension_do_not_overflow() {
        for (x, y) in [(-128i8, -128i8), (-128, 127), (127, 127)] {
            let (a, b) = (vec![x; 16_384], vec![y; 16_384]);
            for form in Kernels::available() {
                assert_eq!(form.dot_i8(&a, &b), i32::from(x) * i32::from(y) * 16_384, "{}", form.name);
            }
        }
    }

    #[test]
    fn slices_of_unequal_length_are_compared_over_the_shorter() {
        for form in Kernels::available() {
            assert_eq!(form.dot_f32(&[1.0, 2.0, 3.0], &[4.0, 5.0]), 14.0, "{}", form.name);
            assert_eq!(form.l2_f32(&[1.0], &[4.0, 5.0]), 9.0, "{}", form.name);
            assert_eq!(form.dot_i8(&[3], &[2, 7]), 6, "{}", form.name);
        }
    }
}
