//! 512-bit forms; the remainder is read under a mask instead of one by one.

use super::{Kernels, scalar};
use std::arch::x86_64::*;

pub const KERNELS: Kernels =
    Kernels { name: "avx512", dot_f32, l2_f32, dot_i8, dot_i8_rows, hadamard, sum_codes, mark_at_least };

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

/// SAFETY: as many units as columns, and no column is shorter than the sums; on a CPU with AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn sum_codes(columns: &[&[u8]], units: &[f32], sums: &mut [f32]) {
    /// Rows at once.
    const ROWS: usize = 64;
    let (n, out, count) = (sums.len(), sums.as_mut_ptr(), columns.len());
    let mut i = 0;
    while i + ROWS <= n {
        let mut totals = [_mm512_setzero_ps(); ROWS / 16];
        let mut column = 0;
        while column < count {
            // SAFETY: column < count, the number of columns and of units.
            let (codes, unit) = unsafe { (columns.get_unchecked(column).as_ptr(), *units.get_unchecked(column)) };
            let unit = _mm512_set1_ps(unit);
            for (lane, total) in totals.iter_mut().enumerate() {
                // SAFETY: i + 16·lane + 16 ≤ i + ROWS ≤ n, which no column is shorter than.
                let codes = unsafe { _mm_loadu_si128(codes.add(i + 16 * lane).cast()) };
                *total = _mm512_fmadd_ps(unit, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes)), *total);
            }
            column += 1;
        }
        for (lane, total) in totals.iter().enumerate() {
            // SAFETY: as above; there are n sums.
            unsafe { _mm512_storeu_ps(out.add(i + 16 * lane), *total) };
        }
        i += ROWS;
    }
    let rest: Vec<&[u8]> = columns.iter().map(|codes| &codes[i..]).collect();
    scalar::sum_codes(&rest, units, &mut sums[i..]);
}

/// SAFETY: 64 sums for each of the marks; on a CPU with AVX-512 F.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn mark_at_least(sums: &[f32], cut: f32, marks: &mut [u64]) {
    let (from, cut) = (sums.as_ptr(), _mm512_set1_ps(cut));
    for (word, marks) in marks.iter_mut().enumerate() {
        let mut bits = 0u64;
        for lane in 0..4 {
            // SAFETY: 64·word + 16·lane + 16 ≤ 64·(word + 1), no more than there are sums.
            let sums = unsafe { _mm512_loadu_ps(from.add(64 * word + 16 * lane)) };
            bits |= u64::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(sums, cut)) << (16 * lane);
        }
        *marks = bits;
    }
}
