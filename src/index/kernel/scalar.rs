//! The portable forms: eight partial sums, which compilers turn into the vectors that the target has.

use super::Kernels;

pub const KERNELS: Kernels =
    Kernels { name: "scalar", dot_f32, l2_f32, dot_i8, dot_i8_rows, hadamard, sum_codes, mark_at_least };

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

fn dot_i8_rows(query: &[i8], codes: &[i8], rows: &[u32], products: &mut [i32]) {
    let dim = query.len();
    for (row, product) in rows.iter().zip(products) {
        *product = dot_i8(query, &codes[*row as usize * dim..][..dim]);
    }
}

/// How many values are transformed together before whole registers are.
const LANES: usize = 8;

/// Sums and differences of halves, then of quarters, and so on. Other forms are this function, compiled for their
/// instruction set: additions in this order give the same bits on each.
#[inline]
pub(super) fn hadamard(values: &mut [f32]) {
    let n = values.len();
    let mut half = n / 2;
    while half >= LANES {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            low.iter_mut().zip(high).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
        }
        half /= 2;
    }
    if n < LANES {
        return few(values);
    }
    for lanes in values.as_chunks_mut::<LANES>().0 {
        let [a, b, c, d, e, f, g, h] = *lanes;
        let [a, b, c, d, e, f, g, h] = [a + e, b + f, c + g, d + h, a - e, b - f, c - g, d - h];
        let [a, b, c, d, e, f, g, h] = [a + c, b + d, a - c, b - d, e + g, f + h, e - g, f - h];
        *lanes = [a + b, a - b, c + d, c - d, e + f, e - f, g + h, g - h];
    }
}

fn few(values: &mut [f32]) {
    let mut half = values.len() / 2;
    while half > 0 {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            low.iter_mut().zip(high).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
        }
        half /= 2;
    }
}

pub(super) fn sum_codes(columns: &[&[u8]], units: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for (codes, unit) in columns.iter().zip(units) {
        for (sum, code) in sums.iter_mut().zip(*codes) {
            *sum += unit * f32::from(*code);
        }
    }
}

pub(super) fn mark_at_least(sums: &[f32], cut: f32, marks: &mut [u64]) {
    for (sums, marks) in sums.as_chunks::<64>().0.iter().zip(marks) {
        *marks = sums.iter().rev().fold(0, |bits, sum| bits << 1 | u64::from(*sum >= cut));
    }
}
