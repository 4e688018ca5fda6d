//! 256-bit forms. Pairs of u8 × i8 products are added in i16, where several steps fit before the sums are widened.

use super::{CodeKernels, Forms, scalar};
use std::arch::x86_64::*;

pub const KERNELS: CodeKernels = CodeKernels {
    name: "avx2",
    nibbles: Forms { one: nibbles::<1>, abreast: nibbles::<4> },
    bits: Forms { one: bits::<1>, abreast: bits::<4> },
};

/// Bytes of a register.
const WIDTH: usize = 32;
/// Steps whose sums fit i16: each adds at most 4 × 15 × 128 to a lane.
const NIBBLE_STEPS: usize = 4;
/// Steps whose sums fit i16: each adds at most 2 × 128 to a lane.
const BIT_STEPS: usize = 127;

/// The i16 lanes of `narrow`, added in pairs to `sum`.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(sum: __m256i, narrow: __m256i) -> __m256i {
    _mm256_add_epi32(sum, _mm256_madd_epi16(narrow, _mm256_set1_epi16(1)))
}

/// The sum of the i32 lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn total(v: __m256i) -> i32 {
    let half = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
    _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair)))
}

/// SAFETY: the caller passes codes of as many bytes as half the query has dimensions, on a CPU with AVX2.
#[target_feature(enable = "avx2")]
unsafe fn nibbles<const N: usize>(query: &[i8], codes: [&[u8]; N]) -> [i32; N] {
    let (half, low) = (query.len() / 2, _mm256_set1_epi8(15));
    let whole = half - half % WIDTH;
    let mut sums = [_mm256_setzero_si256(); N];
    let mut i = 0;
    while i < whole {
        let end = whole.min(i + NIBBLE_STEPS * WIDTH);
        let mut narrow = [_mm256_setzero_si256(); N];
        while i < end {
            // SAFETY: i + 32 ≤ `whole` ≤ half, and the query has two halves.
            let (first, second) = unsafe {
                let first = _mm256_loadu_si256(query.as_ptr().add(i).cast());
                (first, _mm256_loadu_si256(query.as_ptr().add(half + i).cast()))
            };
            for n in 0..N {
                // SAFETY: i + 32 ≤ half, the code's bytes.
                let pairs = unsafe { _mm256_loadu_si256(codes[n].as_ptr().add(i).cast()) };
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(pairs), low);
                narrow[n] = _mm256_add_epi16(narrow[n], _mm256_maddubs_epi16(_mm256_and_si256(pairs, low), first));
                narrow[n] = _mm256_add_epi16(narrow[n], _mm256_maddubs_epi16(high, second));
            }
            i += WIDTH;
        }
        for n in 0..N {
            sums[n] = widen(sums[n], narrow[n]);
        }
    }
    let mut products = [0; N];
    for n in 0..N {
        products[n] = total(sums[n]);
        if whole < half {
            products[n] += scalar::nibbles_from(whole, query, codes[n]);
        }
    }
    products
}

/// SAFETY: the caller passes codes of an eighth as many bytes as the query has dimensions, on a CPU with AVX2.
#[target_feature(enable = "avx2")]
unsafe fn bits<const N: usize>(query: &[i8], codes: [&[u8]; N]) -> [i32; N] {
    // Byte i of a register takes byte i / 8 of the code, and looks at its bit i % 8.
    let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let (place, ones) = (_mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64), _mm256_set1_epi8(1));
    let whole = query.len() - query.len() % WIDTH;
    let mut sums = [_mm256_setzero_si256(); N];
    let mut i = 0;
    while i < whole {
        let end = whole.min(i + BIT_STEPS * WIDTH);
        let mut narrow = [_mm256_setzero_si256(); N];
        while i < end {
            // SAFETY: i + 32 ≤ `whole`, no more than the query's length.
            let part = unsafe { _mm256_loadu_si256(query.as_ptr().add(i).cast()) };
            for n in 0..N {
                // SAFETY: 8 × (i / 8 + 4) ≤ `whole`, no more than the code's bits.
                let four = unsafe { codes[n].as_ptr().add(i / 8).cast::<i32>().read_unaligned() };
                let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(four), spread);
                let picked = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, place), place);
                narrow[n] = _mm256_add_epi16(narrow[n], _mm256_maddubs_epi16(ones, _mm256_and_si256(picked, part)));
            }
            i += WIDTH;
        }
        for n in 0..N {
            sums[n] = widen(sums[n], narrow[n]);
        }
    }
    let mut products = [0; N];
    for n in 0..N {
        products[n] = total(sums[n]);
        if whole < query.len() {
            products[n] += scalar::bits_from(whole / 8, query, codes[n]);
        }
    }
    products
}
