//! 512-bit forms whose i8 products use VNNI: four u8 × i8 products a lane, added into i32 without saturation. One
//! operand must be unsigned: c ⊕ 0x80 is c + 128 as u8. That adds 128 · Σq to the product, which is the same for all
//! codes and is subtracted again. Everything is exact modulo 2³², and the result fits.

use super::{Kernels, avx512};
use std::arch::x86_64::*;

pub const KERNELS: Kernels = Kernels {
    name: "avx512vnni",
    dot_f32: avx512::dot_f32,
    l2_f32: avx512::l2_f32,
    dot_i8,
    dot_i8_rows,
    hadamard: avx512::hadamard,
    sum_codes: avx512::sum_codes,
    mark_at_least: avx512::mark_at_least,
};

/// Codes a register holds.
const WIDTH: usize = 64;
/// Rows multiplied side by side.
const ABREAST: usize = 4;

/// The low `min(64, left)` bits set.
#[inline]
fn tail_mask(left: usize) -> __mmask64 {
    if left >= WIDTH { u64::MAX } else { (1 << left) - 1 }
}

/// SAFETY: the caller passes slices of equal length, on a CPU with AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let (n, pa, pb) = (a.len(), a.as_ptr(), b.as_ptr());
    let flip = _mm512_set1_epi8(i8::MIN);
    let (mut sums, mut excess) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for i in (0..n).step_by(WIDTH) {
        let mask = tail_mask(n - i);
        // SAFETY: the mask lets only the first min(64, n − i) codes be read.
        let (x, y) = unsafe { (_mm512_maskz_loadu_epi8(mask, pa.add(i)), _mm512_maskz_loadu_epi8(mask, pb.add(i))) };
        sums = _mm512_dpbusd_epi32(sums, _mm512_xor_si512(x, flip), y);
        excess = _mm512_dpbusd_epi32(excess, flip, y);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(sums, excess))
}

/// SAFETY: the caller passes rows that `codes` has, each as long as `query`, as many products as rows,
/// on a CPU with AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dot_i8_rows(query: &[i8], codes: &[i8], rows: &[u32], products: &mut [i32]) {
    let (dim, pq) = (query.len(), query.as_ptr());
    let flip = _mm512_set1_epi8(i8::MIN);
    let whole = dim - dim % WIDTH;
    let mask = tail_mask(dim - whole);
    // SAFETY: i + 64 ≤ `whole` ≤ the query's length; the mask lets only what is left be read.
    let part = |i: usize| unsafe { _mm512_loadu_si512(pq.add(i).cast()) };
    let tail = unsafe { _mm512_maskz_loadu_epi8(mask, pq.add(whole)) };
    let mut excess = _mm512_dpbusd_epi32(_mm512_setzero_si512(), flip, tail);
    for i in (0..whole).step_by(WIDTH) {
        excess = _mm512_dpbusd_epi32(excess, flip, part(i));
    }
    let excess = _mm_set1_epi32(_mm512_reduce_add_epi32(excess));
    for (rows, products) in rows.chunks(ABREAST).zip(products.chunks_mut(ABREAST)) {
        // If fewer rows are left, the last one is multiplied again: cheaper than a loop of its own.
        let mut starts = [codes.as_ptr(); ABREAST];
        for (lane, start) in starts.iter_mut().enumerate() {
            let row = rows[lane.min(rows.len() - 1)] as usize;
            // SAFETY: the row lies in `codes`.
            *start = unsafe { codes.as_ptr().add(row * dim) };
        }
        let mut sums = [_mm512_setzero_si512(); ABREAST];
        for i in (0..whole).step_by(WIDTH) {
            let q = part(i);
            for (sum, start) in sums.iter_mut().zip(starts) {
                // SAFETY: i + 64 ≤ `whole`, no more than the row's length.
                let code = unsafe { _mm512_loadu_si512(start.add(i).cast()) };
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(code, flip), q);
            }
        }
        if whole < dim {
            for (sum, start) in sums.iter_mut().zip(starts) {
                // SAFETY: the mask lets only what is left of the row be read.
                let code = unsafe { _mm512_maskz_loadu_epi8(mask, start.add(whole)) };
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(code, flip), tail);
            }
        }
        let found = _mm_sub_epi32(totals(sums), excess);
        // SAFETY: the mask lets only as many be written as there are products in this chunk.
        match <&mut [i32; ABREAST]>::try_from(&mut *products) {
            Ok(four) => unsafe { _mm_storeu_si128(four.as_mut_ptr().cast(), found) },
            Err(_) => {
                let mut four = [0; ABREAST];
                // SAFETY: four i32 are what is stored.
                unsafe { _mm_storeu_si128(four.as_mut_ptr().cast(), found) };
                products.copy_from_slice(&four[..products.len()]);
            }
        }
    }
}

/// The sums of the low and the high lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn half(v: __m512i) -> __m256i {
    _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v))
}

/// The sum of each of the four registers' lanes, in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn totals([a, b, c, d]: [__m512i; ABREAST]) -> __m128i {
    // Each step halves the lanes and doubles the sums: a, b, c, d of the low and of the high half.
    let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(half(a), half(b)), _mm256_hadd_epi32(half(c), half(d)));
    _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs))
}
