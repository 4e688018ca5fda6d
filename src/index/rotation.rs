//! A random rotation, which evens out the dimensions of vectors before they are coded on one scale. For any spectrum,
//! even with a few very large dimensions, each rotated dimension gets about the same share. It is the randomised
//! Hadamard transform of Ailon and Chazelle (2009, "The fast Johnson–Lindenstrauss transform"), which Gao and Long
//! put before codes (2024, "RaBitQ"), at O(d log d).
//! Invariant: lengths and inner products are kept, up to f32; the result depends on dimension and seed alone, on
//! every instruction set. Stored graphs rely on these steps, which docs/format-graph.md repeats.

use std::f32::consts::FRAC_1_SQRT_2;

use super::kernel::kernels;

/// The steps, with p the largest power of two in d: signs, then a Hadamard transform of the first p components. If p
/// < d, three more follow: signs, a transform of the last p, and for each pair i, d − ⌊d/2⌋ + i its sum and
/// difference by √2.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotation {
    seed: u64,
    /// Signs of the first transform, times 1/√p for the components that it covers.
    first: Vec<f32>,
    /// Signs of the second transform, times 1/√p for the components that it covers; empty if there is no second.
    second: Vec<f32>,
}

impl Rotation {
    /// The rotation of `dim` dimensions, at least 1, that `seed` chooses.
    pub fn new(dim: usize, seed: u64) -> Rotation {
        let part = part_of(dim);
        let norm = 1.0 / (part as f64).sqrt();
        let mut signs = Signs { state: seed, word: 0, left: 0 };
        let first = (0..dim).map(|i| (if i < part { norm } else { 1.0 } * signs.next()) as f32).collect();
        let second = |i| (if i < dim - part { 1.0 } else { norm } * signs.next()) as f32;
        let second = if part < dim { (0..dim).map(second).collect() } else { Vec::new() };
        Rotation { seed, first, second }
    }

    /// The seed that chose it.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Rotates `v`, which has its dimension. Components must be small enough for the sum of d of them.
    pub fn apply(&self, v: &mut [f32]) {
        let part = part_of(v.len());
        multiply(v, &self.first);
        kernels().hadamard(&mut v[..part]);
        if self.second.is_empty() {
            return;
        }
        multiply(v, &self.second);
        let (rest, half) = (v.len() - part, v.len() / 2);
        kernels().hadamard(&mut v[rest..]);
        let (low, high) = v.split_at_mut(half);
        let past = high.len() - half;
        for (a, b) in low.iter_mut().zip(&mut high[past..]) {
            (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
        }
    }
}

/// The largest power of two in `dim`.
fn part_of(dim: usize) -> usize {
    1 << dim.max(1).ilog2()
}

fn multiply(v: &mut [f32], factors: &[f32]) {
    v.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
}

/// Random signs: the bits, lowest first, of the words of SplitMix64 (Steele, Lea and Flood 2014). Written out
/// here because stored graphs depend on it.
struct Signs {
    state: u64,
    word: u64,
    left: u32,
}

impl Signs {
    fn next(&mut self) -> f64 {
        if self.left == 0 {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (self.word, self.left) = (mixed ^ mixed >> 31, u64::BITS);
        }
        let sign = if self.word & 1 == 1 { -1.0 } else { 1.0 };
        (self.word, self.left) = (self.word >> 1, self.left - 1);
        sign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    }

    fn rotated(v: &[f32], seed: u64) -> Vec<f32> {
        let mut v = v.to_vec();
        Rotation::new(v.len(), seed).apply(&mut v);
        v
    }

    fn uneven(dim: usize, step: usize) -> Vec<f32> {
        (0..dim).map(|i| ((i * step) % 101) as f32 - 50.0).collect()
    }

    #[test]
    fn lengths_and_inner_products_are_kept_in_every_dimension() {
        for dim in (1..=70).chain([127, 128, 129, 300, 383, 384, 511, 768, 1000, 1536]) {
            let (a, b) = (uneven(dim, 7919), uneven(dim, 31));
            let (c, d) = (rotated(&a, 5), rotated(&b, 5));
            let tolerance = 1e-5 * (dot(&a, &a) * dot(&b, &b)).sqrt();
            for (was, is) in [(dot(&a, &b), dot(&c, &d)), (dot(&a, &a), dot(&c, &c)), (dot(&b, &b), dot(&d, &d))] {
                assert!((was - is).abs() <= tolerance, "dimension {dim}: {is} for {was}");
            }
        }
    }

    #[test]
    fn a_single_large_dimension_is_spread_over_all() {
        for dim in [64, 96, 100, 257, 383, 384, 500, 511, 768, 1000, 1536] {
            for at in [0, dim / 3, dim / 2, dim - 1] {
                let mut v = vec![0.0; dim];
                v[at] = (dim as f32).sqrt();
                // If evenly spread, each component were 1 in size.
                let most = rotated(&v, 9).iter().fold(0f32, |most, x| most.max(x.abs()));
                assert!(most < 4.5, "dimension {at} of {dim}: one of {most} is left");
            }
        }
    }

    #[test]
    fn another_seed_is_another_rotation_and_the_same_seed_the_same() {
        let v = uneven(96, 7);
        assert_eq!(rotated(&v, 1), rotated(&v, 1));
        assert_ne!(rotated(&v, 1), rotated(&v, 2));
    }

    #[test]
    fn signs_are_those_of_the_format() {
        // The first word of SplitMix64 from 0 is e220a8397b1dcdaf.
        let mut signs = Signs { state: 0, word: 0, left: 0 };
        let word = (0..64).fold(0u64, |word, bit| word | u64::from(signs.next() < 0.0) << bit);
        assert_eq!(word, 0xe220_a839_7b1d_cdaf);
    }
}
