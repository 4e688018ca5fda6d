//! 128-bit forms of aarch64.

use super::{CodeKernels, Forms, scalar};
use std::arch::aarch64::*;

pub const KERNELS: CodeKernels = CodeKernels {
    name: "neon",
    nibbles: Forms { one: nibbles::<1>, abreast: nibbles::<4> },
    bits: Forms { one: bits::<1>, abreast: bits::<4> },
};

/// Bytes of a register.
const WIDTH: usize = 16;
/// The bit that each byte of a register looks at.
const PLACES: [u8; WIDTH] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

/// SAFETY: the caller passes codes of as many bytes as half the query has dimensions, on a CPU with NEON.
#[target_feature(enable = "neon")]
unsafe fn nibbles<const N: usize>(query: &[i8], codes: [&[u8]; N]) -> [i32; N] {
    let half = query.len() / 2;
    let whole = half - half % WIDTH;
    let mut sums = [vdupq_n_s32(0); N];
    for i in (0..whole).step_by(WIDTH) {
        // SAFETY: i + 16 ≤ `whole` ≤ half, and the query has two halves.
        let (first, second) = unsafe { (vld1q_s8(query.as_ptr().add(i)), vld1q_s8(query.as_ptr().add(half + i))) };
        for n in 0..N {
            // SAFETY: i + 16 ≤ half, the code's bytes.
            let pairs = unsafe { vld1q_u8(codes[n].as_ptr().add(i)) };
            let low = vreinterpretq_s8_u8(vandq_u8(pairs, vdupq_n_u8(15)));
            let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(pairs));
            // Four products of 15 × 128 at most fit i16.
            let narrow = vmull_s8(vget_low_s8(low), vget_low_s8(first));
            let narrow = vmlal_s8(narrow, vget_high_s8(low), vget_high_s8(first));
            let narrow = vmlal_s8(narrow, vget_low_s8(high), vget_low_s8(second));
            let narrow = vmlal_s8(narrow, vget_high_s8(high), vget_high_s8(second));
            sums[n] = vpadalq_s16(sums[n], narrow);
        }
    }
    let mut products = [0; N];
    for n in 0..N {
        products[n] = vaddvq_s32(sums[n]) + scalar::nibbles_from(whole, query, codes[n]);
    }
    products
}

/// SAFETY: the caller passes codes of an eighth as many bytes as the query has dimensions, on a CPU with NEON.
#[target_feature(enable = "neon")]
unsafe fn bits<const N: usize>(query: &[i8], codes: [&[u8]; N]) -> [i32; N] {
    let whole = query.len() - query.len() % WIDTH;
    // SAFETY: as many places as a register has bytes.
    let places = unsafe { vld1q_u8(PLACES.as_ptr()) };
    let mut sums = [vdupq_n_s32(0); N];
    for i in (0..whole).step_by(WIDTH) {
        // SAFETY: i + 16 ≤ `whole`, no more than the query's length.
        let part = unsafe { vld1q_s8(query.as_ptr().add(i)) };
        for n in 0..N {
            // SAFETY: 8 × (i / 8 + 2) ≤ `whole`, no more than the code's bits.
            let (first, second) = unsafe { (*codes[n].as_ptr().add(i / 8), *codes[n].as_ptr().add(i / 8 + 1)) };
            let picked = vtstq_u8(vcombine_u8(vdup_n_u8(first), vdup_n_u8(second)), places);
            let picked = vandq_s8(vreinterpretq_s8_u8(picked), part);
            sums[n] = vpadalq_s16(sums[n], vpaddlq_s8(picked));
        }
    }
    let mut products = [0; N];
    for n in 0..N {
        products[n] = vaddvq_s32(sums[n]) + scalar::bits_from(whole / 8, query, codes[n]);
    }
    products
}
