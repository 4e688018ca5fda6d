//! How faithful a map is: trustworthiness and continuity (Venna and Kaski 2001, "Neighborhood preservation in nonlinear
//! projection methods"). Exact, or estimated from a sample of records: each of the sample is compared with all records.

use rayon::prelude::*;

use super::Point;
use super::draws::Draws;

/// Both are 1 for a perfect map and about ½ for a random one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faithfulness {
    /// Whether neighbours on the map are neighbours in the collection.
    pub trustworthiness: f64,
    /// Whether neighbours in the collection are neighbours on the map.
    pub continuity: f64,
}

/// Measures `points` at `k` neighbours, on a sample of `sample` records, or all if there are no more. `distances` writes
/// the distances from one record to all, in order, into an empty vector; it is called from many threads at once.
/// `None`: too few records for so many neighbours, of which there must be more than 3 · k / 2.
///
/// # Errors
/// The first that `distances` returns, if it does.
pub fn faithfulness<E: Send>(
    points: &[Point],
    k: usize,
    sample: usize,
    seed: u64,
    distances: impl Fn(u32, &mut Vec<f32>) -> Result<(), E> + Sync,
) -> Result<Option<Faithfulness>, E> {
    let count = points.len();
    if sample == 0 || k == 0 || 2 * count < 3 * k + 2 {
        return Ok(None);
    }
    let sample = sample.min(count);
    let one = |scratch: &mut (Vec<f32>, Vec<f32>), at: usize| -> Result<[u64; 2], E> {
        let (start, end) = (at * count / sample, (at + 1) * count / sample);
        let node = start + Draws::new(seed, 5, at as u64).below((end - start) as u32) as usize;
        let (there, here) = scratch;
        there.clear();
        distances(node as u32, there)?;
        here.clear();
        here.extend(points.iter().map(|point| square(*point, points[node])));
        Ok([intruders(there, here, node, k), intruders(here, there, node, k)])
    };
    let penalties = (0..sample).into_par_iter().map_init(Default::default, one);
    let [trust, continuity] = penalties.try_reduce(|| [0; 2], |a, b| Ok([a[0] + b[0], a[1] + b[1]]))?;
    // The largest sum of penalties is n·k·(2n − 3k − 1) / 2 for n records.
    let scale = 2.0 / (sample as f64 * k as f64 * (2.0 * count as f64 - 3.0 * k as f64 - 1.0));
    let share = |penalty: u64| 1.0 - scale * penalty as f64;
    Ok(Some(Faithfulness { trustworthiness: share(trust), continuity: share(continuity) }))
}

fn square(a: Point, b: Point) -> f32 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

/// The sum of r − k over the k nearest of `node` by `other` that are not among the k nearest by `truth`; r is their rank
/// by `truth`. The smaller number comes first where distances are equal.
fn intruders(truth: &[f32], other: &[f32], node: usize, k: usize) -> u64 {
    let key = |distances: &[f32], n: usize| (distances.get(n).copied().unwrap_or(f32::INFINITY), n);
    let before = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    let all = other.len().max(truth.len());
    let mut nearest: Vec<(f32, usize)> = (0..all).filter(|n| *n != node).map(|n| key(other, n)).collect();
    if nearest.len() > k {
        nearest.select_nth_unstable_by(k, before);
        nearest.truncate(k);
    }
    let mut ranked: Vec<(f32, usize)> = nearest.into_iter().map(|(_, n)| key(truth, n)).collect();
    ranked.sort_unstable_by(before);
    // One pass over all: behind how many of the ranked does each come?
    let mut passed = vec![0u64; ranked.len() + 1];
    let last = ranked.last().copied();
    for n in (0..all).filter(|n| *n != node) {
        let at = key(truth, n);
        if last.is_some_and(|last| before(&at, &last).is_le()) {
            passed[ranked.partition_point(|other| before(other, &at).is_lt())] += 1;
        }
    }
    // The rank of a ranked one counts all at or before it.
    let ranks = passed.iter().scan(0, |sum, count| {
        *sum += count;
        Some(*sum)
    });
    ranks.take(ranked.len()).map(|rank| rank.saturating_sub(k as u64)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::test_data::{clusters, distance};
    use std::convert::Infallible;

    fn measured(data: &[Vec<f32>], points: &[Point], k: usize, sample: usize) -> Option<Faithfulness> {
        let distances = |node: u32, all: &mut Vec<f32>| {
            all.extend(data.iter().map(|row| distance(row, &data[node as usize])));
            Ok::<_, Infallible>(())
        };
        let Ok(measured) = faithfulness(points, k, sample, 3, distances);
        measured
    }

    /// 80 records, scattered by polynomials so that no two distances from a record are equal, and a map of them.
    fn scattered() -> (Vec<Vec<f32>>, Vec<Point>) {
        let row = |i: u64| {
            let x = ((i * i * 7919 + 13 * i) % 10_007) as f32 / 1000.0;
            let y = ((i * i * i * 31 + 5) % 9973) as f32 / 1500.0;
            vec![x, y, ((i * i * 1_299_709 + 3) % 9967) as f32 / 4000.0]
        };
        let data: Vec<Vec<f32>> = (0..80).map(row).collect();
        let points = data.iter().map(|row| [row[0] + row[2] / 4.0, row[1]]).collect();
        (data, points)
    }

    #[test]
    fn both_are_those_of_scikit_learn() {
        // sklearn.manifold.trustworthiness of scikit-learn 1.9.1 on `scattered`; continuity with both sides exchanged.
        let expected = [
            (1, 0.974_358_974_358_974_3, 0.988_141_025_641_025_7),
            (5, 0.987_916_666_666_666_7, 0.993_819_444_444_444_5),
            (15, 0.991_885_964_912_280_6, 0.995_599_415_204_678_3),
        ];
        let (data, points) = scattered();
        for (k, trustworthiness, continuity) in expected {
            let is = measured(&data, &points, k, usize::MAX).unwrap();
            let off = (is.trustworthiness - trustworthiness).abs().max((is.continuity - continuity).abs());
            assert!(off < 1e-12, "{is:?} at {k}");
        }
    }

    #[test]
    fn a_sample_comes_near_the_whole() {
        let data = clusters(4, 200, 8);
        let points: Vec<Point> = data.iter().map(|row| [row[0], row[1]]).collect();
        let whole = measured(&data, &points, 15, usize::MAX).unwrap();
        let part = measured(&data, &points, 15, 100).unwrap();
        assert!((whole.trustworthiness - part.trustworthiness).abs() < 0.03, "{part:?} for {whole:?}");
        assert!((whole.continuity - part.continuity).abs() < 0.03, "{part:?} for {whole:?}");
    }

    #[test]
    fn a_perfect_map_is_1_and_a_random_one_about_a_half() {
        let points: Vec<Point> =
            (0..600).map(|i| Draws::new(1, 1, i)).map(|mut d| [(); 2].map(|()| d.signed_unit())).collect();
        let data: Vec<Vec<f32>> = points.iter().map(|point| point.to_vec()).collect();
        let perfect = measured(&data, &points, 15, usize::MAX).unwrap();
        assert_eq!((perfect.trustworthiness, perfect.continuity), (1.0, 1.0));
        let other: Vec<Point> =
            (0..600).map(|i| Draws::new(2, 2, i)).map(|mut d| [(); 2].map(|()| d.signed_unit())).collect();
        let random = measured(&data, &other, 15, usize::MAX).unwrap();
        assert!((random.trustworthiness - 0.5).abs() < 0.05 && (random.continuity - 0.5).abs() < 0.05, "{random:?}");
    }

    #[test]
    fn too_few_records_have_no_measure() {
        let (data, points) = scattered();
        for count in 0..24 {
            assert_eq!(measured(&data[..count], &points[..count], 15, 10), None, "{count}");
        }
        assert!(measured(&data[..24], &points[..24], 15, 10).is_some());
        assert_eq!((measured(&data, &points, 0, 10), measured(&data, &points, 15, 0)), (None, None));
        let ended = faithfulness(&points, 15, 10, 0, |_, _| Err("enough"));
        assert_eq!(ended, Err("enough"));
    }
}
