//! 512-bit forms; the remainder is read under a mask instead of one by one.

use super::{Kernels, scalar};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels { name: "avx512", dot_f32, l2_f32, dot_i8, dot_i8_rows, hadamard };

/// SAFETY: the caller passes slices of equal length, on a CPU with AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
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
pub(super) unsafe fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
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
    let mut tail = 0;
    for (x, y) in a[i..].iter().zip(&b[i..]) {
        tail += i32::from(*x) * i32::from(*y);
    }
    _mm512_reduce_add_epi32(sums) + tail
}

/// SAFETY: the caller passes rows that `codes` has, each as long as `query`, as many products as rows,
/// on a CPU with AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn dot_i8_rows(query: &[i8], codes: &[i8], rows: &[u32], products: &mut [i32]) {
    let dim = query.len();
    for (row, product) in rows.iter().zip(products) {
        // SAFETY: the row lies in `codes` and is as long as the query.
        *product = unsafe { dot_i8(query, codes.get_unchecked(*row as usize * dim..(*row as usize + 1) * dim)) };
    }
}

/// The low `min(16, left)` bits set.
#[inline]
fn tail_mask(left: usize) -> __mmask16 {
    if left >= 16 { u16::MAX } else { (1 << left) - 1 }
}

/// SAFETY: the caller is on a CPU with AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn hadamard(values: &mut [f32]) {
    scalar::hadamard(values);
}
