//! 512-bit forms with VNNI: four u8 × i8 products a lane, added into i32 without saturation. Codes are the unsigned
//! operand as they are.

use super::{ABREAST, CodeKernels, Forms, scalar};
use std::arch::x86_64::*;

pub const KERNELS: CodeKernels = CodeKernels {
    name: "avx512vnni",
    nibbles: Forms { one: nibbles::<1>, abreast: nibbles::<4> },
    bits: Forms { one: bits::<1>, abreast: bits::<4> },
};

/// Bytes of a register.
const WIDTH: usize = 64;

/// The low `min(64, left)` bits set.
#[inline]
pub(super) fn first_lanes(left: usize) -> __mmask64 {
    if left >= WIDTH { u64::MAX } else { (1 << left) - 1 }
}

/// The sum of each register's lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn totals<const N: usize>(sums: [__m512i; N]) -> [i32; N] {
    let mut totals = [0; N];
    let mut halves = [_mm256_setzero_si256(); ABREAST];
    if N != ABREAST {
        for n in 0..N {
            totals[n] = _mm512_reduce_add_epi32(sums[n]);
        }
        return totals;
    }
    for n in 0..N {
        halves[n] = _mm256_add_epi32(_mm512_castsi512_si256(sums[n]), _mm512_extracti64x4_epi64::<1>(sums[n]));
    }
    // Each step halves the lanes and doubles the sums.
    let [a, b, c, d] = halves;
    let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
    // SAFETY: N is four, as many as are stored.
    unsafe { _mm_storeu_si128(totals.as_mut_ptr().cast(), four) };
    totals
}

/// SAFETY: the caller passes codes of as many bytes as half the query has dimensions, on a CPU with AVX-512 F, BW and
/// VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn nibbles<const N: usize>(query: &[i8], codes: [&[u8]; N]) -> [i32; N] {
    let (half, low) = (query.len() / 2, _mm512_set1_epi8(15));
    let (mut sums, mut high_sums) = ([_mm512_setzero_si512(); N], [_mm512_setzero_si512(); N]);
    for i in (0..half).step_by(WIDTH) {
        let mask = first_lanes(half - i);
        // SAFETY: the mask lets only the first min(64, half − i) of the half be read, in either half.
        let (first, second) = unsafe {
            let first = _mm512_maskz_loadu_epi8(mask, query.as_ptr().add(i));
            (first, _mm512_maskz_loadu_epi8(mask, query.as_ptr().add(half + i)))
        };
        for n in 0..N {
            // SAFETY: the code has `half` bytes, and the mask is as above.
            let pairs = unsafe { _mm512_maskz_loadu_epi8(mask, codes[n].as_ptr().add(i).cast()) };
            sums[n] = _mm512_dpbusd_epi32(sums[n], _mm512_and_si512(pairs, low), first);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(pairs), low);
            high_sums[n] = _mm512_dpbusd_epi32(high_sums[n], high, second);
        }
    }
    for n in 0..N {
        sums[n] = _mm512_add_epi32(sums[n], high_sums[n]);
    }
    totals(sums)
}

/// A code's bits are the mask of the query's dimensions that count.
///
/// SAFETY: the caller passes codes of an eighth as many bytes as the query has dimensions, on a CPU with AVX-512 F, BW
/// and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn bits<const N: usize>(query: &[i8], codes: [&[u8]; N]) -> [i32; N] {
    let (ones, whole) = (_mm512_set1_epi8(1), query.len() - query.len() % WIDTH);
    let mut sums = [_mm512_setzero_si512(); N];
    for i in (0..whole).step_by(WIDTH) {
        // SAFETY: i + 64 ≤ `whole`, no more than the query's length.
        let part = unsafe { _mm512_loadu_si512(query.as_ptr().add(i).cast()) };
        for n in 0..N {
            // SAFETY: 8 × (i / 8 + 8) ≤ `whole`, no more than the code's bits.
            let mask = unsafe { codes[n].as_ptr().add(i / 8).cast::<u64>().read_unaligned() };
            let picked = _mm512_maskz_mov_epi8(mask, part);
            sums[n] = _mm512_dpbusd_epi32(sums[n], ones, picked);
        }
    }
    let mut products = totals(sums);
    if whole < query.len() {
        for n in 0..N {
            products[n] += scalar::bits_from(whole / 8, query, codes[n]);
        }
    }
    products
}
