//! A scan that reads a quarter of the bytes: rows as int8 codes, each with a scale of its own, and a bound of the
//! error of an estimate from codes. Only rows that may be among the nearest are compared exactly.
//! Invariant: the answer is that of [`scan`](super::scan), bit for bit.
//!
//! With v = s·c + e and q = t·d + f (c, d codes): q·v = t·s·(d·c) + f·(s·c) + q·e, and the last two are at most
//! |f|·|s·c| + |q|·|e|.

use std::cmp::Ordering;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering as Memory};

use super::flat::{Vectors, scan};
use super::kernel::{CodeRows, kernels};
use super::metric::{Known, PreparedQuery, length, lower_bound};
use super::topk::TopK;

/// Codes lie in −127..=127.
const CODE_MAX: f32 = 127.0;
/// How many rows are compared in one call.
const BATCH: usize = 256;
/// The error of sums of floats, apart from the codes, as a share of the product of the lengths.
const ROUNDING: f32 = 1e-4;
/// Vectors with fewer dimensions are compared as quickly as their codes.
const LEAST_DIM: usize = 32;
/// Codes are made when a chunk is scanned for this time, since making them costs about two scans.
const WORTH_FROM: u32 = 3;

/// A vector's code.
#[derive(Debug, Clone, Copy)]
struct Made {
    scale: f32,
    /// |v|; infinite if estimates are useless for it.
    length: f32,
    /// |v − scale · code|.
    lost: f32,
}

/// Codes of all rows of a chunk.
#[derive(Debug)]
pub struct RowCodes {
    codes: Vec<i8>,
    made: Vec<Made>,
    dim: usize,
}

/// Appends the code of a vector.
fn encode(v: &[f32], codes: &mut Vec<i8>) -> Made {
    let largest = v.iter().fold(0f32, |most, x| most.max(x.abs()));
    let scale = largest / CODE_MAX;
    // f32 does not hold the squares of other values well.
    if !(1e-12..1e12).contains(&largest) {
        codes.resize(codes.len() + v.len(), 0);
        return Made { scale: 0.0, length: f32::INFINITY, lost: f32::INFINITY };
    }
    let inverse = CODE_MAX / largest;
    let mut lost = 0f32;
    codes.extend(v.iter().map(|x| {
        let code = (x * inverse).round().clamp(-CODE_MAX, CODE_MAX);
        lost += (x - code * scale).powi(2);
        code as i8
    }));
    Made { scale, length: length(v), lost: lost.sqrt() }
}

impl RowCodes {
    /// Codes of rows of floats.
    pub fn encode(vectors: Vectors<'_>) -> RowCodes {
        let rows = vectors.values.chunks_exact(vectors.dim.max(1));
        let (mut codes, mut made) = (Vec::with_capacity(vectors.values.len()), Vec::with_capacity(rows.len()));
        rows.for_each(|row| made.push(encode(row, &mut codes)));
        RowCodes { codes, made, dim: vectors.dim }
    }

    /// Bytes of memory.
    pub fn size_bytes(&self) -> usize {
        self.codes.len() + self.made.len() * size_of::<Made>()
    }

    /// Scans as [`scan`] does. Returns how many rows were compared exactly.
    pub fn scan(
        &self,
        query: &PreparedQuery,
        vectors: Vectors<'_>,
        rows: impl IntoIterator<Item = u32>,
        key: impl Fn(u32) -> u64,
        top: &mut TopK,
    ) -> usize {
        let mut code = Vec::with_capacity(self.dim);
        let of = encode(query.vector(), &mut code);
        if !of.length.is_finite() || query.dim() != self.dim {
            scan(query, vectors, rows, key, top);
            return self.made.len();
        }
        let (mut compared, mut rows) = (0, rows.into_iter().filter(|row| (*row as usize) < self.made.len()));
        let (mut batch, mut products) = (Vec::with_capacity(BATCH), Vec::new());
        loop {
            batch.clear();
            batch.extend(rows.by_ref().take(BATCH));
            kernels().dot_i8_rows(&code, CodeRows::new(&self.codes, self.dim), &batch, &mut products);
            let near = batch.iter().zip(&products).filter(|(row, product)| {
                // Not "at most": a row whose bound cannot be compared (NaN) is compared exactly.
                let floor = self.floor(query, of, **row, **product as f32, vectors);
                floor.partial_cmp(&top.bound()) != Some(Ordering::Greater)
            });
            let near: Vec<u32> = near.map(|(row, _)| *row).collect();
            compared += near.len();
            scan(query, vectors, near, &key, top);
            if batch.len() < BATCH {
                return compared;
            }
        }
    }

    /// The lower bound of the distance.
    fn floor(&self, query: &PreparedQuery, of: Made, row: u32, product: f32, vectors: Vectors<'_>) -> f32 {
        let Some(made) = self.made.get(row as usize) else { return f32::NEG_INFINITY };
        let off = of.lost * (made.length + made.lost) + of.length * made.lost;
        let inverse_norm = vectors.inverse_norms.and_then(|norms| norms.get(row as usize)).copied();
        let known = Known {
            product: of.scale * made.scale * product + off,
            rounding: ROUNDING,
            query: of.length,
            length: made.length,
            inverse_norm,
        };
        lower_bound(query.metric(), known)
    }
}

/// Codes that are made once a chunk has been scanned often enough.
#[derive(Debug, Default)]
pub struct LazyCodes {
    scans: AtomicU32,
    codes: OnceLock<RowCodes>,
}

impl LazyCodes {
    /// Counts a scan. Returns the codes, if they are worth having; they are made only if `may` is set.
    pub fn wanted(&self, vectors: Vectors<'_>, may: bool) -> Option<&RowCodes> {
        let scans = self.scans.fetch_add(1, Memory::Relaxed).saturating_add(1);
        let worth = may && vectors.dim >= LEAST_DIM && scans >= WORTH_FROM;
        self.codes.get().or_else(|| worth.then(|| self.codes.get_or_init(|| RowCodes::encode(vectors))))
    }

    /// Bytes of memory.
    pub fn size_bytes(&self) -> usize {
        self.codes.get().map_or(0, RowCodes::size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::inverse_norms;
    use crate::record::Metric;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Rows of very different lengths and dimensions, duplicates and zero vectors among them.
    fn rows(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut values: Vec<f32> = Vec::with_capacity(n * dim);
        for row in 0..n {
            let size = [1.0, 0.01, 100.0, 1e20, 1e-20, 0.0][if row % 7 == 3 { row / 7 % 6 } else { 0 }];
            if row % 11 == 10 {
                values.extend_from_within((row - 7) * dim..(row - 6) * dim);
            } else {
                values.extend((0..dim).map(|d| size * rng.random_range(-1f32..1.0) / (1.0 + d as f32).powf(0.7)));
            }
        }
        values
    }

    #[test]
    fn a_scan_over_codes_finds_exactly_what_a_scan_finds() {
        for dim in [32, 65, 384] {
            let (values, queries) = (rows(1500, dim, 1), rows(40, dim, 2));
            let norms = inverse_norms(&values, dim);
            for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
                for inverse_norms in [None, Some(norms.as_slice())] {
                    let vectors = Vectors { values: &values, dim, inverse_norms };
                    let codes = RowCodes::encode(vectors);
                    for (n, query) in queries.chunks_exact(dim).enumerate() {
                        let (query, k) = (PreparedQuery::new(metric, query), [1, 10, 1000, 2000][n % 4]);
                        let accepted = || (0..1510u32).filter(|row| n % 3 == 0 || row % 5 != 1);
                        let (mut want, mut got) = (TopK::new(k), TopK::new(k));
                        scan(&query, vectors, accepted(), u64::from, &mut want);
                        codes.scan(&query, vectors, accepted(), u64::from, &mut got);
                        assert_eq!(got.into_sorted(), want.into_sorted(), "{metric}, {dim}, query {n}");
                    }
                }
            }
        }
    }

    #[test]
    fn most_rows_are_told_apart_by_their_codes() {
        let dim = 384;
        let mut rng = StdRng::seed_from_u64(5);
        let values: Vec<f32> = (0..4000 * dim).map(|_| rng.random_range(-1f32..1.0)).collect();
        let vectors = Vectors { values: &values, dim, inverse_norms: None };
        let (codes, query) = (RowCodes::encode(vectors), PreparedQuery::new(Metric::L2, &values[..dim]));
        let compared = codes.scan(&query, vectors, 0..4000, u64::from, &mut TopK::new(10));
        assert!(compared < 800, "{compared} of 4000 rows were compared exactly");
    }

    #[test]
    fn codes_are_made_for_chunks_that_are_scanned_often_where_there_is_memory() {
        let values = rows(10, 64, 1);
        let vectors = Vectors { values: &values, dim: 64, inverse_norms: None };
        let lazy = LazyCodes::default();
        let made = [true, true, false, true, false].map(|may| lazy.wanted(vectors, may).is_some());
        assert_eq!(made, [false, false, false, true, true]);
        assert!(lazy.size_bytes() > 640);
    }
}
