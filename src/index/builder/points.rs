//! The points that a builder links, with a squared Euclidean distance, as codes or as floats.
//! Invariant: distances are u32 that order as the real ones do. Codes give the sums of squares themselves, floats ≥ 0
//! their bits. So one integer comparison orders them, and distances of codes are exact.

use arrow::buffer::{MutableBuffer, ScalarBuffer};
use rayon::prelude::*;

use crate::index::build::GraphParams;
use crate::index::kernel::{CodeRows, kernels, prefer_large_pages, prefetch};
use crate::index::quantiser::Quantiser;
use crate::record::Metric;

/// Points numbered from 0.
pub trait Points: Sync {
    /// The distance of two points.
    fn distance(&self, a: u32, b: u32) -> u32;
    /// Replaces `distances` by the distances of `from` to each of `to`; `products` is reusable memory.
    fn distances(&self, from: u32, to: &[u32], products: &mut Vec<i32>, distances: &mut Vec<u32>);
    /// Asks the CPU to load a point into its cache.
    fn prefetch(&self, node: u32);
}

/// Codes are padded with zeros to a multiple of this, a cache line: then no form of the kernels has a remainder.
const LINE: usize = 64;

/// Codes of all points: |a − b|² = |a|² + |b|² − 2 a·b in steps of the code, below 2³¹ up to 16,384
/// dimensions.
#[derive(Debug)]
pub struct CodedPoints {
    stride: usize,
    codes: ScalarBuffer<i8>,
    squares: Vec<u32>,
}

impl CodedPoints {
    /// Encodes `rows` of `dim` floats, rotated by the seed. With `threads` > 1 this uses the pool that it is called
    /// in.
    pub fn encode(dim: usize, rows: &[&[f32]], params: &GraphParams) -> CodedPoints {
        let quantiser = Quantiser::fit(Metric::L2, dim, rows, params.seed);
        let stride = dim.next_multiple_of(LINE);
        let mut bytes = MutableBuffer::new(rows.len() * stride);
        prefer_large_pages(bytes.as_ptr(), bytes.capacity());
        bytes.resize(rows.len() * stride, 0);
        let encode = |(place, row): (&mut [i8], &&[f32])| {
            let mut code = Vec::with_capacity(dim);
            quantiser.encode(row, &mut code);
            place.iter_mut().zip(code).for_each(|(place, code)| *place = code);
            kernels().dot_i8(place, place) as u32
        };
        let places = bytes.typed_data_mut::<i8>();
        let squares = if params.threads > 1 {
            places.par_chunks_mut(stride).zip(rows).map(encode).collect()
        } else {
            places.chunks_mut(stride).zip(rows).map(encode).collect()
        };
        CodedPoints { stride, codes: bytes.into(), squares }
    }

    #[inline]
    fn code(&self, node: u32) -> &[i8] {
        let start = node as usize * self.stride;
        self.codes.get(start..start + self.stride).unwrap_or_default()
    }
}

impl Points for CodedPoints {
    #[inline]
    fn distance(&self, a: u32, b: u32) -> u32 {
        let product = kernels().dot_i8(self.code(a), self.code(b)) as u32;
        let squares = self.squares[a as usize] + self.squares[b as usize];
        // Two's complement makes this right for a negative product, too.
        squares.wrapping_sub(product.wrapping_mul(2))
    }

    #[inline]
    fn distances(&self, from: u32, to: &[u32], products: &mut Vec<i32>, distances: &mut Vec<u32>) {
        kernels().dot_i8_rows(self.code(from), CodeRows::new(&self.codes, self.stride), to, products);
        let square = self.squares[from as usize];
        let squares = to.iter().map(|node| square + self.squares[*node as usize]);
        distances.clear();
        distances.extend(
            squares.zip(products).map(|(squares, product)| squares.wrapping_sub((*product as u32).wrapping_mul(2))),
        );
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        prefetch(self.code(node));
    }
}

/// The points themselves.
#[derive(Debug)]
pub struct FloatPoints<'a> {
    rows: &'a [&'a [f32]],
}

impl<'a> FloatPoints<'a> {
    pub fn new(rows: &'a [&'a [f32]]) -> FloatPoints<'a> {
        FloatPoints { rows }
    }
}

impl Points for FloatPoints<'_> {
    #[inline]
    fn distance(&self, a: u32, b: u32) -> u32 {
        let distance = kernels().l2_f32(self.rows[a as usize], self.rows[b as usize]);
        // Not `max`, which would turn NaN into 0.
        if distance.is_nan() { f32::MAX.to_bits() } else { distance.abs().to_bits() }
    }

    fn distances(&self, from: u32, to: &[u32], _products: &mut Vec<i32>, distances: &mut Vec<u32>) {
        distances.clear();
        distances.extend(to.iter().map(|node| self.distance(from, *node)));
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        prefetch(self.rows[node as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_codes_are_those_of_the_codes_and_order_as_those_of_floats() {
        let values: Vec<f32> = (0..40 * 70).map(|i| ((i * 7919) % 1009) as f32 - 500.0).collect();
        let rows: Vec<&[f32]> = values.chunks_exact(70).collect();
        let (coded, exact) = (CodedPoints::encode(70, &rows, &GraphParams::default()), FloatPoints::new(&rows));
        let direct = |a: u32, b: u32| -> u32 {
            let pairs = coded.code(a).iter().zip(coded.code(b));
            pairs.map(|(x, y)| (i32::from(*x) - i32::from(*y)).pow(2) as u32).sum()
        };
        let order = |points: &dyn Points| {
            let mut others: Vec<u32> = (1..40).collect();
            others.sort_by_key(|other| points.distance(0, *other));
            others
        };
        for other in 0..40 {
            assert_eq!(coded.distance(0, other), direct(0, other));
        }
        let (by_code, by_float) = (order(&coded), order(&exact));
        assert!(by_code[..10].iter().all(|node| by_float[..14].contains(node)), "{by_code:?} for {by_float:?}");
    }

    #[test]
    fn the_farthest_codes_of_the_largest_dimension_have_a_distance() {
        let codes: Vec<i8> = [vec![-127; 16_384], vec![127; 16_384]].concat();
        let square = 16_384 * 127 * 127;
        let coded = CodedPoints { stride: 16_384, codes: codes.into(), squares: vec![square; 2] };
        assert_eq!(coded.distance(0, 1), 4 * square);
        assert_eq!(coded.distance(1, 1), 0);
    }
}
