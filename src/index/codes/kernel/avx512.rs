//! 512-bit forms for CPUs without VNNI. Pairs of u8 × i8 products are added in i16, where several steps fit before the
//! sums are widened.

use super::vnni::{first_lanes, totals};
use super::{CodeKernels, Forms, scalar};
use std::arch::x86_64::*;

pub const KERNELS: CodeKernels = CodeKernels {
    name: "avx512",
    nibbles: Forms { one: nibbles::<1>, abreast: nibbles::<4> },
    bits: Forms { one: bits::<1>, abreast: bits::<4> },
};

/// Bytes of a register.
const WIDTH: usize = 64;

/// The i16 lanes of `narrow`, added in pairs to `sum`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn widen(sum: __m512i, narrow: __m512i) -> __m512i {
    _mm512_add_epi32(sum, _mm512_madd_epi16(narrow, _mm512_set1_epi16(1)))
}

/// SAFETY: the caller passes codes of as many bytes as half the query has dimensions, on a CPU with AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn nibbles<const N: usize>(query: &[i8], codes: [&[u8]; N]) -> [i32; N] {
    let (half, low) = (query.len() / 2, _mm512_set1_epi8(15));
    let mut sums = [_mm512_setzero_si512(); N];
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
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(pairs), low);
            // Two pairs of 15 × 128 at most.
            let narrow = _mm512_add_epi16(
                _mm512_maddubs_epi16(_mm512_and_si512(pairs, low), first),
                _mm512_maddubs_epi16(high, second),
            );
            sums[n] = widen(sums[n], narrow);
        }
    }
    totals(sums)
}

/// A code's bits are the mask of the query's dimensions that count.
///
/// SAFETY: the caller passes codes of an eighth as many bytes as the query has dimensions, on a CPU with AVX-512 F and
/// BW.
#[target_feature(enable = "avx512f,avx512bw")]
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
            sums[n] = widen(sums[n], _mm512_maddubs_epi16(ones, picked));
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
