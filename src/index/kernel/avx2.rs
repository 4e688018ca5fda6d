//! 256-bit forms: AVX2 with fused multiply-add.

use super::{Kernels, scalar};
use std::arch::x86_64::*;

pub const KERNELS: Kernels =
    Kernels { name: "avx2", dot_f32, l2_f32, dot_i8, dot_i8_rows, hadamard, sum_codes, mark_at_least };

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
    let mut tail = 0.0;
    for (x, y) in a[i..].iter().zip(&b[i..]) {
        tail += x * y;
    }
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
    let mut tail = 0.0;
    for (x, y) in a[i..].iter().zip(&b[i..]) {
        tail += (x - y) * (x - y);
    }
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
    let mut tail = 0;
    for (x, y) in a[i..].iter().zip(&b[i..]) {
        tail += i32::from(*x) * i32::from(*y);
    }
    _mm_cvtsi128_si32(one) + tail
}

/// SAFETY: the caller passes rows that `codes` has, each as long as `query`, as many products as rows,
/// on a CPU with AVX2.
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_i8_rows(query: &[i8], codes: &[i8], rows: &[u32], products: &mut [i32]) {
    let dim = query.len();
    for (row, product) in rows.iter().zip(products) {
        // SAFETY: the row lies in `codes` and is as long as the query.
        *product = unsafe { dot_i8(query, codes.get_unchecked(*row as usize * dim..(*row as usize + 1) * dim)) };
    }
}

/// SAFETY: the caller is on a CPU with AVX2.
#[target_feature(enable = "avx2")]
unsafe fn hadamard(values: &mut [f32]) {
    scalar::hadamard(values);
}

/// SAFETY: as many units as columns, and no column is shorter than the sums; on a CPU with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn sum_codes(columns: &[&[u8]], units: &[f32], sums: &mut [f32]) {
    /// Rows at once.
    const ROWS: usize = 32;
    let (n, out, count) = (sums.len(), sums.as_mut_ptr(), columns.len());
    let mut i = 0;
    while i + ROWS <= n {
        let mut totals = [_mm256_setzero_ps(); ROWS / 8];
        let mut column = 0;
        while column < count {
            // SAFETY: column < count, the number of columns and of units.
            let (codes, unit) = unsafe { (columns.get_unchecked(column).as_ptr(), *units.get_unchecked(column)) };
            let unit = _mm256_set1_ps(unit);
            for (lane, total) in totals.iter_mut().enumerate() {
                // SAFETY: i + 8·lane + 8 ≤ i + ROWS ≤ n, which no column is shorter than.
                let codes = unsafe { _mm_loadl_epi64(codes.add(i + 8 * lane).cast()) };
                *total = _mm256_fmadd_ps(unit, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes)), *total);
            }
            column += 1;
        }
        for (lane, total) in totals.iter().enumerate() {
            // SAFETY: as above; there are n sums.
            unsafe { _mm256_storeu_ps(out.add(i + 8 * lane), *total) };
        }
        i += ROWS;
    }
    let rest: Vec<&[u8]> = columns.iter().map(|codes| &codes[i..]).collect();
    scalar::sum_codes(&rest, units, &mut sums[i..]);
}

/// SAFETY: 64 sums for each of the marks; on a CPU with AVX2.
#[target_feature(enable = "avx2,fma")]
unsafe fn mark_at_least(sums: &[f32], cut: f32, marks: &mut [u64]) {
    let (from, cut) = (sums.as_ptr(), _mm256_set1_ps(cut));
    for (word, marks) in marks.iter_mut().enumerate() {
        let mut bits = 0u64;
        for lane in 0..8 {
            // SAFETY: 64·word + 8·lane + 8 ≤ 64·(word + 1), no more than there are sums.
            let sums = unsafe { _mm256_loadu_ps(from.add(64 * word + 8 * lane)) };
            bits |= (_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(sums, cut)) as u64) << (8 * lane);
        }
        *marks = bits;
    }
}
