//! The flat scan: exact distances of chosen rows of one chunk of raw vectors. It searches tails, small ranges and
//! narrow filters, and is the reference that graphs are measured against.

use super::metric::PreparedQuery;
use super::topk::TopK;

/// Raw vectors of one chunk: n × `dim` floats, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Vectors<'a> {
    /// n × `dim` floats.
    pub values: &'a [f32],
    /// Floats per vector, at least 1.
    pub dim: usize,
    /// n inverse norms. `None` if the caller has none: then cosine computes them itself.
    pub inverse_norms: Option<&'a [f32]>,
}

impl<'a> Vectors<'a> {
    /// The vector of `row`, if there is one.
    #[inline]
    pub fn row(&self, row: usize) -> Option<&'a [f32]> {
        let start = row.checked_mul(self.dim)?;
        self.values.get(start..start.checked_add(self.dim)?)
    }
}

/// Offers to `top` the distance of each of `rows` that the chunk has, under the key that `key` returns for it.
pub fn scan(
    query: &PreparedQuery,
    vectors: Vectors<'_>,
    rows: impl IntoIterator<Item = u32>,
    key: impl Fn(u32) -> u64,
    top: &mut TopK,
) {
    let norms = vectors.inverse_norms.filter(|_| query.metric().normalises());
    for row in rows {
        let Some(v) = vectors.row(row as usize) else { continue };
        let distance = match norms.and_then(|norms| norms.get(row as usize)) {
            Some(inverse_norm) => query.distance_with_norm(v, *inverse_norm),
            None => query.distance_to(v),
        };
        if distance <= top.bound() {
            top.push(distance, key(row));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::metric::{distance, inverse_norms};
    use crate::index::topk::Neighbour;
    use crate::record::Metric;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use roaring::RoaringBitmap;

    fn random(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..n * dim).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn a_scan_finds_what_sorting_all_accepted_rows_finds() {
        let (n, dim, k) = (500, 19, 10);
        let values = random(n, dim, 7);
        let query = random(1, dim, 8);
        let accepted: RoaringBitmap = (0..n as u32).filter(|row| row % 3 != 1).collect();
        for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
            let mut want: Vec<Neighbour> = accepted
                .iter()
                .map(|row| {
                    let v = &values[row as usize * dim..][..dim];
                    Neighbour { distance: distance(metric, &query, v), key: u64::from(row) + 1000 }
                })
                .collect();
            want.sort();
            want.truncate(k);
            let norms = inverse_norms(&values, dim);
            for inverse_norms in [None, Some(norms.as_slice())] {
                let vectors = Vectors { values: &values, dim, inverse_norms };
                let mut top = TopK::new(k);
                scan(&PreparedQuery::new(metric, &query), vectors, &accepted, |row| u64::from(row) + 1000, &mut top);
                assert_eq!(top.into_sorted(), want, "{metric}");
            }
        }
    }

    #[test]
    fn rows_past_the_end_are_passed_over() {
        let vectors = Vectors { values: &[1.0, 2.0, 3.0, 4.0], dim: 2, inverse_norms: None };
        let mut top = TopK::new(5);
        scan(&PreparedQuery::new(Metric::L2, &[1.0, 2.0]), vectors, 0..9, u64::from, &mut top);
        let found: Vec<u64> = top.into_sorted().iter().map(|n| n.key).collect();
        assert_eq!(found, vec![0, 1]);
    }

    #[test]
    fn equal_distances_are_answered_in_key_order_whatever_the_scan_order() {
        let vectors = Vectors { values: &[5.0; 6], dim: 1, inverse_norms: None };
        let mut top = TopK::new(3);
        scan(&PreparedQuery::new(Metric::L2, &[5.0]), vectors, [4, 2, 5, 0, 3, 1], u64::from, &mut top);
        let found: Vec<u64> = top.into_sorted().iter().map(|n| n.key).collect();
        assert_eq!(found, vec![0, 1, 2]);
    }
}
