//! The code of a rotated vector: the vector of odd integers whose direction is nearest to it, as far as few bits can
//! say. Each dimension of the grid is 2u − 15 for 4 bits and 2u − 1 for 1 bit, with u what is stored; at 8 bits it is
//! the code itself, from −127 to 127.
//! Invariant: only sums in a fixed order decide on a code, so it is the same on every machine.

use super::codec::CodeWidth;
use crate::index::metric::wide_sum;
use crate::index::quantiser::{reach_of, whole_steps};

/// Steps of the 4-bit grid that are tried, in shares of the root mean square of the components. They lie about
/// 0.335, which loses least for normally distributed ones (Max 1960).
const STEPS: [f32; 9] = [0.25, 0.27, 0.29, 0.31, 0.33, 0.35, 0.37, 0.4, 0.44];
/// 1.5 · 2²³: adding and subtracting it rounds to an integer.
const ROUNDER: f32 = 12_582_912.0;
/// The largest u of 4 bits.
const NIBBLE_MAX: f32 = 15.0;

/// How a code z lies to its vector o.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// z·o.
    pub product: f64,
    /// |z|².
    pub square: f64,
}

impl Fit {
    fn of(values: &[f32], grid: &[f32]) -> Fit {
        let product = wide_sum(values, grid, |x, z| x * z);
        Fit { product, square: wide_sum(grid, grid, |z, other| z * other) }
    }
}

/// Appends the code of `values` to `code`.
pub fn encode(width: CodeWidth, values: &[f32], code: &mut Vec<u8>) -> Fit {
    match width {
        CodeWidth::One => encode_bits(values, code),
        CodeWidth::Four => encode_nibbles(values, code),
        CodeWidth::Eight => encode_bytes(values, code),
    }
}

fn encode_bits(values: &[f32], code: &mut Vec<u8>) -> Fit {
    let positive = |eight: &[f32]| eight.iter().rev().fold(0, |byte, x| byte << 1 | u8::from(*x >= 0.0));
    code.extend(values.chunks(8).map(positive));
    Fit { product: wide_sum(values, values, |x, _| x.abs()), square: values.len() as f64 }
}

fn encode_nibbles(values: &[f32], code: &mut Vec<u8>) -> Fit {
    let square = wide_sum(values, values, |x, other| x * other);
    let rms = (square / values.len().max(1) as f64).sqrt() as f32;
    let unit = if rms > 0.0 { 1.0 / rms } else { 0.0 };
    // Relative to the length, so that f32 holds the sums of any vector.
    let (mut best, mut most) = (0.0, f32::NEG_INFINITY);
    for step in STEPS {
        let projection = projection(values, unit, 1.0 / step);
        if projection > most {
            (best, most) = (unit / step, projection);
        }
    }
    let stored: Vec<f32> = values.iter().map(|x| nearest_stored(*x, best)).collect();
    let (low, high) = stored.split_at(values.len().div_ceil(2));
    code.extend(low.iter().zip(high).map(|(low, high)| *low as u8 | (*high as u8) << 4));
    code.extend(low.get(high.len()..).unwrap_or_default().iter().map(|last| *last as u8));
    Fit::of(values, &stored.iter().map(|u| odd(*u)).collect::<Vec<_>>())
}

/// The u that stands for `x`, with `factor` steps to 1.
#[inline]
fn nearest_stored(x: f32, factor: f32) -> f32 {
    (x * factor + 0.5 * NIBBLE_MAX).clamp(0.0, NIBBLE_MAX) + ROUNDER - ROUNDER
}

/// The odd integer that u stands for.
#[inline]
fn odd(u: f32) -> f32 {
    2.0 * u - NIBBLE_MAX
}

/// |o| cos(z, o) in shares of the root mean square 1 / `unit`, for the grid of `factor` steps to it. The sums are
/// eight partial ones, which compilers turn into registers.
fn projection(values: &[f32], unit: f32, factor: f32) -> f32 {
    let (mut products, mut squares) = ([0f32; 8], [0f32; 8]);
    let mut add = |lane: usize, x: f32| {
        let x = x * unit;
        let z = odd(nearest_stored(x, factor));
        products[lane] += z * x;
        squares[lane] += z * z;
    };
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        eight.iter().enumerate().for_each(|(lane, x)| add(lane, *x));
    }
    rest.iter().enumerate().for_each(|(lane, x)| add(lane, *x));
    // Odd integers: no square is 0.
    products.iter().sum::<f32>() / squares.iter().sum::<f32>().sqrt()
}

fn encode_bytes(values: &[f32], code: &mut Vec<u8>) -> Fit {
    let grid: Vec<i8> = whole_steps(values, f32::from(i8::MAX) / reach_of(values)).collect();
    code.extend(grid.iter().map(|z| z.cast_unsigned()));
    Fit::of(values, &grid.iter().map(|z| f32::from(*z)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn normal(dim: usize, rng: &mut StdRng) -> Vec<f32> {
        (0..dim).map(|_| (0..12).map(|_| rng.random_range(-0.5f32..0.5)).sum()).collect()
    }

    /// The paper's search for the best scale: every scale at which a component passes to its next value.
    fn best_projection(values: &[f32]) -> f64 {
        let passes =
            values.iter().flat_map(|x| (1..8).map(move |step| step as f32 / x.abs())).filter(|s| s.is_finite());
        passes.map(|factor| f64::from(projection(values, 1.0, factor * 1.000_001))).fold(0.0, f64::max)
    }

    #[test]
    fn the_steps_that_are_tried_lose_little_of_the_best_scale() {
        let mut rng = StdRng::seed_from_u64(3);
        for dim in [33, 64, 384] {
            for _ in 0..10 {
                let values = normal(dim, &mut rng);
                let fit = encode(CodeWidth::Four, &values, &mut Vec::new());
                let length = wide_sum(&values, &values, |x, y| x * y).sqrt();
                let sine = |projection: f64| (1.0 - (projection / length).powi(2)).sqrt();
                let (got, best) = (sine(fit.product / fit.square.sqrt()), sine(best_projection(&values)));
                assert!(got <= 1.05 * best, "{dim} dimensions: {got} for {best}");
            }
        }
    }

    #[test]
    fn what_is_stored_is_the_grid_that_the_fit_speaks_of() {
        let mut rng = StdRng::seed_from_u64(4);
        for dim in [1, 2, 7, 8, 9, 100, 384] {
            let values = normal(dim, &mut rng);
            for width in [CodeWidth::One, CodeWidth::Four, CodeWidth::Eight] {
                let mut code = Vec::new();
                let fit = encode(width, &values, &mut code);
                assert_eq!(code.len(), width.code_bytes(dim), "{width:?} of {dim}");
                let grid: Vec<f32> = (0..dim).map(|i| grid_at(width, &code, i)).collect();
                let want = Fit::of(&values, &grid);
                assert!((fit.product - want.product).abs() <= 1e-9 * want.product, "{width:?} of {dim}");
                assert_eq!(fit.square, want.square, "{width:?} of {dim}");
                assert!(grid.iter().zip(&values).all(|(z, x)| z * x >= 0.0), "{width:?} of {dim}");
            }
        }
    }

    fn grid_at(width: CodeWidth, code: &[u8], i: usize) -> f32 {
        match width {
            CodeWidth::One => 2.0 * f32::from(code[i / 8] >> (i % 8) & 1) - 1.0,
            CodeWidth::Four if i < code.len() => 2.0 * f32::from(code[i] & 15) - 15.0,
            CodeWidth::Four => 2.0 * f32::from(code[i - code.len()] >> 4) - 15.0,
            CodeWidth::Eight => f32::from(code[i].cast_signed()),
        }
    }
}
