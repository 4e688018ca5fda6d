//! Many queries against the same rows, as products of matrices: a block of rows is read once for all of them.
//! Invariant: the answer is that of [`scan`] for each query, bit for bit. A product only shows which rows cannot be
//! among the nearest; the others are compared exactly.

use std::cmp::Ordering;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};
use roaring::RoaringBitmap;

use super::flat::{Vectors, scan};
use super::metric::{Known, PreparedQuery, length, lower_bound};
use super::topk::TopK;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// How many rows one product covers.
const BLOCK: usize = 256;
/// If fewer than one in this many rows of a block are asked for, they are compared one by one.
const SPARSE: u64 = 4;

/// Queries of one metric and dimension, side by side.
#[derive(Debug)]
pub struct QueryMatrix<'a> {
    queries: &'a [PreparedQuery],
    /// One row per query.
    values: Array2<f32>,
    /// |q| of each; infinite if products show nothing for it.
    lengths: Vec<f32>,
}

impl<'a> QueryMatrix<'a> {
    /// Fewer rows of a chunk than this are compared one by one, without a matrix.
    pub const FEWEST_ROWS: u64 = (BLOCK as u64).div_ceil(SPARSE);

    /// Makes the queries' matrix, `dim` floats a row.
    ///
    /// # Errors
    /// `Internal` if one has another dimension.
    pub fn new(queries: &'a [PreparedQuery], dim: usize) -> Result<QueryMatrix<'a>> {
        let values: Vec<f32> = queries.iter().flat_map(|query| query.vector()).copied().collect();
        let values = Array2::from_shape_vec((queries.len(), dim), values);
        let values = values.map_err(|e| Error::internal(format!("queries of several dimensions: {e}")))?;
        Ok(QueryMatrix { queries, values, lengths: queries.iter().map(|query| length(query.vector())).collect() })
    }

    /// Offers to each of `tops` (one per query) the distance of each of `rows`, as [`scan`] does.
    ///
    /// # Errors
    /// As [`Interrupt::check`], which is called between blocks.
    pub fn scan(
        &self,
        vectors: Vectors<'_>,
        rows: &RoaringBitmap,
        key: impl Fn(u32) -> u64,
        tops: &mut [TopK],
        interrupt: &Interrupt,
    ) -> Result<()> {
        // The error of a sum of `dim` products is at most `dim` roundings of |q|·|v|, here and in the exact
        // comparison.
        let rounding = 2.0 * vectors.dim as f32 * f32::EPSILON;
        let mut products = Array2::zeros((BLOCK, self.queries.len()));
        for (number, block) in vectors.values.chunks(BLOCK * vectors.dim.max(1)).enumerate() {
            interrupt.check()?;
            let first = (number * BLOCK) as u32;
            let mut wanted = RoaringBitmap::new();
            wanted.insert_range(first..first + BLOCK as u32);
            wanted &= rows;
            if wanted.len() * SPARSE < BLOCK as u64 {
                for (query, top) in self.queries.iter().zip(&mut *tops) {
                    scan(query, vectors, &wanted, &key, top);
                }
                continue;
            }
            let count = block.len() / vectors.dim.max(1);
            let block = ArrayView2::from_shape((count, vectors.dim), block.get(..count * vectors.dim).unwrap_or(block));
            let block = block.map_err(|e| Error::internal(format!("rows of several dimensions: {e}")))?;
            if count != products.nrows() {
                products = Array2::zeros((count, self.queries.len()));
            }
            general_mat_mul(1.0, &block, &self.values.t(), 0.0, &mut products);
            let lengths: Vec<f32> =
                block.outer_iter().map(|row| row.as_slice().map_or(f32::INFINITY, length)).collect();
            for (place, (query, top)) in self.queries.iter().zip(&mut *tops).enumerate() {
                let of = self.lengths.get(place).copied().unwrap_or(f32::INFINITY);
                let products = products.as_slice().unwrap_or_default();
                let near = wanted.iter().filter(|row| {
                    let at = (row - first) as usize;
                    let product = products.get(at * self.queries.len() + place).copied().unwrap_or(f32::NAN);
                    let length = lengths.get(at).copied().unwrap_or(f32::INFINITY);
                    let inverse_norm = vectors.inverse_norms.and_then(|norms| norms.get(*row as usize)).copied();
                    let known = Known { product, rounding, query: of, length, inverse_norm };
                    let floor = lower_bound(query.metric(), known);
                    // A row whose bound cannot be compared (NaN) is compared exactly.
                    floor.partial_cmp(&top.bound()) != Some(Ordering::Greater)
                });
                let near: Vec<u32> = near.collect();
                scan(query, vectors, near, &key, top);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::inverse_norms;
    use crate::record::Metric;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Rows of very different lengths, duplicates and zero vectors among them.
    fn rows(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut random = StdRng::seed_from_u64(seed);
        let sizes = [1.0, 0.01, 1e4, 1e18, 3e38, 1e-20, 1e-40, 0.0];
        let mut values: Vec<f32> = Vec::new();
        for row in 0..n {
            if row % 11 == 10 {
                values.extend_from_within((row - 7) * dim..(row - 6) * dim);
                continue;
            }
            let size: f32 = sizes[if row % 5 == 3 { row / 5 % 8 } else { 0 }];
            values.extend((0..dim).map(|_| size * random.random_range(-1f32..1.0)));
        }
        values
    }

    #[test]
    fn products_find_exactly_what_scans_find() {
        for (dim, n) in [(1, 700), (3, 513), (64, 1000), (384, 600)] {
            let (values, queries) = (rows(n, dim, 3), rows(21, dim, 4));
            let norms = inverse_norms(&values, dim);
            let wanted: RoaringBitmap = (0..n as u32 + 9).filter(|row| *row < 300 || row % 7 == 2).collect();
            for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
                for inverse_norms in [None, Some(norms.as_slice())] {
                    let vectors = Vectors { values: &values, dim, inverse_norms };
                    let prepared: Vec<PreparedQuery> =
                        queries.chunks_exact(dim).map(|query| PreparedQuery::new(metric, query)).collect();
                    let mut tops: Vec<TopK> = (0..21).map(|n| TopK::new([1, 10, 400][n % 3])).collect();
                    let mut expected = tops.clone();
                    let matrix = QueryMatrix::new(&prepared, dim).unwrap();
                    matrix.scan(vectors, &wanted, u64::from, &mut tops, &Interrupt::never()).unwrap();
                    for ((query, top), (number, found)) in
                        prepared.iter().zip(&mut expected).zip(tops.into_iter().enumerate())
                    {
                        scan(query, vectors, &wanted, u64::from, top);
                        assert_eq!(found.into_sorted(), top.clone().into_sorted(), "{metric}, {dim}, query {number}");
                    }
                }
            }
        }
    }

    #[test]
    fn work_that_nobody_waits_for_ends_between_blocks() {
        let values = rows(600, 8, 1);
        let vectors = Vectors { values: &values, dim: 8, inverse_norms: None };
        let queries: Vec<PreparedQuery> =
            values.chunks_exact(8).take(2).map(|query| PreparedQuery::new(Metric::L2, query)).collect();
        let mut tops = vec![TopK::new(1), TopK::new(1)];
        let over = Interrupt::at(std::time::Instant::now());
        let matrix = QueryMatrix::new(&queries, 8).unwrap();
        assert!(matrix.scan(vectors, &(0..600).collect(), u64::from, &mut tops, &over).is_err());
    }
}
