//! Neighbour lists by the `hnsw_rs` crate. This module ensures what the crate does not check: distances are never
//! negative or NaN, and dimensions agree. Vectors arrive in a seeded random order (sorted ones ruin its graphs), the
//! first ones one after the other. Its file I/O is never used.

use hnsw_rs::anndists::dist::distances::Distance;
use hnsw_rs::hnsw::Hnsw;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::build::{Adjacency, GraphBuilder, GraphParams};
use super::kernel::kernels;
use super::metric::PointSpace;

/// The most levels that `hnsw_rs` can number.
const MAX_LEVELS: usize = 16;
/// How many vectors are inserted one after the other before threads join in: a vector that finds no entry point stays
/// unlinked.
const SERIAL_FIRST: usize = 256;
/// How many vectors the crate gets at once.
const BATCH: usize = 1 << 14;

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

    fn build(&self, space: &PointSpace<'_>, params: &GraphParams) -> Adjacency {
        insert_all(&space.rows, params)
    }
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

/// Extracts the lists. The crate keeps links above a point's own level, and links to points below the level. Neither
/// is of use to a search, so both are left out.
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
        let space = PointSpace { dim: 3, rows: values.chunks_exact(3).collect() };
        let params = GraphParams { m: 8, ef_construction: 40, seed: 3, threads: 1 };
        let first = HnswRsBuilder.build(&space, &params);
        assert_eq!(first, HnswRsBuilder.build(&space, &params));
        assert_eq!(first.lists.len(), 300);
        assert!(first.lists.iter().any(|levels| levels.len() > 1), "300 nodes have an upper level");
    }
}
