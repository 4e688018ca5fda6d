//! 128-bit forms of aarch64.

use super::{Kernels, scalar};
use std::arch::aarch64::*;

pub const KERNELS: Kernels =
    Kernels { name: "neon", dot_f32, l2_f32, dot_i8, dot_i8_rows, hadamard, sum_codes, mark_at_least };

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
    let mut tail = 0.0;
    for (x, y) in a[i..].iter().zip(&b[i..]) {
        tail += x * y;
    }
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
    let mut tail = 0.0;
    for (x, y) in a[i..].iter().zip(&b[i..]) {
        tail += (x - y) * (x - y);
    }
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
    let mut tail = 0;
    for (x, y) in a[i..].iter().zip(&b[i..]) {
        tail += i32::from(*x) * i32::from(*y);
    }
    vaddvq_s32(sums) + tail
}

/// SAFETY: the caller passes rows that `codes` has, each as long as `query`, as many products as rows,
/// on a CPU with NEON.
#[target_feature(enable = "neon")]
unsafe fn dot_i8_rows(query: &[i8], codes: &[i8], rows: &[u32], products: &mut [i32]) {
    let dim = query.len();
    for (row, product) in rows.iter().zip(products) {
        // SAFETY: the row lies in `codes` and is as long as the query.
        *product = unsafe { dot_i8(query, codes.get_unchecked(*row as usize * dim..(*row as usize + 1) * dim)) };
    }
}

/// SAFETY: the caller is on a CPU with NEON.
#[target_feature(enable = "neon")]
unsafe fn hadamard(values: &mut [f32]) {
    scalar::hadamard(values);
}

/// SAFETY: none is needed; forms have one type.
unsafe fn sum_codes(columns: &[&[u8]], units: &[f32], sums: &mut [f32]) {
    scalar::sum_codes(columns, units, sums);
}

/// SAFETY: as in `sum_codes`.
unsafe fn mark_at_least(sums: &[f32], cut: f32, marks: &mut [u64]) {
    scalar::mark_at_least(sums, cut, marks);
}
