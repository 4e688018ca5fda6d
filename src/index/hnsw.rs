//! Neighbour lists by the `hnsw_rs` crate. What it does not check is seen to here: distances are never
//! negative or NaN, dimensions agree, vectors arrive in a seeded random order (sorted ones ruin its
//! graphs), the first ones one after the other, and its file I/O is never touched.

use hnsw_rs::anndists::dist::distances::Distance;
use hnsw_rs::hnsw::Hnsw;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::build::{Adjacency, GraphBuilder, GraphParams, Space};
use super::kernel::kernels;
use crate::record::Metric;

/// Levels that `hnsw_rs` can number.
const MAX_LEVELS: usize = 16;
/// Inserted one after the other before threads join in: those that find no entry point stay unlinked.
const SERIAL_FIRST: usize = 256;
/// Vectors handed to the crate at once.
const BATCH: usize = 1 << 14;
/// Share of vectors that the ball of the `ip` reduction holds; longer ones lie on it.
const BALL_COVERS: f64 = 0.999;

/// Builds with `hnsw_rs`.
#[derive(Debug, Clone, Copy, Default)]
pub struct HnswRsBuilder;

/// Σ (aᵢ − bᵢ)².
struct SquaredEuclidean;

impl Distance<f32> for SquaredEuclidean {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        finite_from_zero(kernels().l2_f32(a, b))
    }
}

/// The crate asserts distances ≥ 0 and orders them by `partial_cmp`: NaN and −1e-8 would panic.
fn finite_from_zero(distance: f32) -> f32 {
    if distance.is_nan() { f32::MAX } else { distance.clamp(0.0, f32::MAX) }
}

impl GraphBuilder for HnswRsBuilder {
    fn name(&self) -> &'static str {
        "hnsw_rs"
    }

    fn build(&self, space: &Space<'_>, params: &GraphParams) -> Adjacency {
        let lifted = match space.metric {
            Metric::L2 => None,
            Metric::Cosine => lift_zero(space),
            Metric::Ip => Some(lift_to_ball(space)),
        };
        match lifted {
            Some(values) => insert_all(&values.chunks_exact(space.dim + 1).collect::<Vec<_>>(), params),
            None => insert_all(&space.rows, params),
        }
    }
}

/// Between normalised vectors |a − b|² = 2 (1 − cos), but a zero vector, at cosine distance 1 from all,
/// would be nearer than that. With one more component, 1 for it and 0 for the others, it is not. `None`
/// where there is no zero vector.
fn lift_zero(space: &Space<'_>) -> Option<Vec<f32>> {
    let is_zero = |row: &[f32]| row.iter().all(|x| *x == 0.0);
    space.rows.iter().any(|row| is_zero(row)).then(|| {
        let lifted = |row: &&[f32]| row.iter().copied().chain([f32::from(is_zero(row))]).collect::<Vec<f32>>();
        space.rows.iter().flat_map(lifted).collect()
    })
}

/// Inner product as Euclidean distance: with R the ball's radius and √(R² − |x|²) as one more component,
/// all points lie on the ball, and |(q, 0) − x|² = |q|² + R² − 2 q·x orders them as −q·x does
/// (Bachrach et al. 2014). Unlike 1 − a·b it is a metric, so no node is its own far neighbour.
fn lift_to_ball(space: &Space<'_>) -> Vec<f32> {
    let square = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    let squares: Vec<f64> = space.rows.iter().map(|row| square(row)).collect();
    let mut sorted = squares.clone();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * BALL_COVERS) as usize;
    let radius = sorted.get(rank).or(sorted.last()).copied().unwrap_or(0.0);
    let mut lifted = Vec::with_capacity(space.rows.len() * (space.dim + 1));
    for (row, square) in space.rows.iter().zip(squares) {
        lifted.extend_from_slice(row);
        lifted.push((radius - square).max(0.0).sqrt() as f32);
    }
    lifted
}

fn insert_all(rows: &[&[f32]], params: &GraphParams) -> Adjacency {
    let hnsw = Hnsw::new(params.m, rows.len(), MAX_LEVELS, params.ef_construction, SquaredEuclidean);
    let mut order: Vec<(&[f32], usize)> = rows.iter().copied().zip(0..).collect();
    order.shuffle(&mut StdRng::seed_from_u64(params.seed));
    let serial = if params.threads <= 1 { order.len() } else { SERIAL_FIRST.min(order.len()) };
    let parallel = order.split_off(serial);
    order.into_iter().for_each(|row| hnsw.insert_slice(row));
    for batch in parallel.chunks(BATCH) {
        hnsw.parallel_insert_slice(&batch.to_vec());
    }
    extract(&hnsw, rows.len())
}

/// The crate keeps links above a point's own level and links to points below the level; neither is of use
/// to a search, both are left out.
fn extract(hnsw: &Hnsw<'_, f32, SquaredEuclidean>, nodes: usize) -> Adjacency {
    let mut lists: Vec<Vec<Vec<u32>>> = vec![vec![Vec::new()]; nodes];
    let points = hnsw.get_point_indexation();
    for layer in 0..=usize::from(points.get_max_level_observed()) {
        for point in points.get_layer_iterator(layer) {
            let node = point.get_origin_id();
            let levels = point.get_neighborhood_id().into_iter().take(layer + 1).enumerate().map(|(level, list)| {
                let here = list.iter().filter(|n| usize::from(n.p_id.0) >= level && n.d_id != node);
                here.map(|n| n.d_id as u32).collect()
            });
            lists[node] = levels.collect();
        }
    }
    let entry = (0..nodes).max_by_key(|node| {
        let levels = &lists[*node];
        (levels.len(), levels.last().map_or(0, Vec::len))
    });
    Adjacency { entry: entry.unwrap_or(0) as u32, lists }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_the_crate_would_panic_on_are_bent_into_range() {
        assert_eq!(finite_from_zero(-1e-8), 0.0);
        assert_eq!(finite_from_zero(f32::NAN), f32::MAX);
        assert_eq!(finite_from_zero(f32::INFINITY), f32::MAX);
        assert_eq!(finite_from_zero(0.25), 0.25);
    }

    #[test]
    fn one_thread_and_one_seed_give_one_graph() {
        let values: Vec<f32> = (0..900).map(|i| ((i * 7919) % 1009) as f32).collect();
        let space = Space { metric: Metric::L2, dim: 3, rows: values.chunks_exact(3).collect() };
        let params = GraphParams { m: 8, ef_construction: 40, seed: 3, threads: 1 };
        let first = HnswRsBuilder.build(&space, &params);
        assert_eq!(first, HnswRsBuilder.build(&space, &params));
        assert_eq!(first.lists.len(), 300);
        assert!(first.lists.iter().any(|levels| levels.len() > 1), "300 nodes have an upper level");
    }

    #[test]
    fn lifting_orders_by_inner_product() {
        let rows: Vec<&[f32]> = vec![&[1.0, 0.0], &[0.0, 3.0], &[2.0, 2.0], &[-1.0, 0.5]];
        let lifted = lift_to_ball(&Space { metric: Metric::Ip, dim: 2, rows: rows.clone() });
        let query = [0.5f32, 1.0, 0.0];
        let order = |key: &dyn Fn(usize) -> f32| {
            let mut nodes: Vec<usize> = (0..4).collect();
            nodes.sort_by(|a, b| key(*a).total_cmp(&key(*b)));
            nodes
        };
        let by_product = order(&|i| -kernels().dot_f32(&query, rows[i]));
        let by_distance = order(&|i| kernels().l2_f32(&query, &lifted[i * 3..][..3]));
        assert_eq!(by_product, by_distance);
    }
}
