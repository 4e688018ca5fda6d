//! Invariants of every graph that our builder makes, for any number of threads.

use super::*;
use crate::index::recall_tests::{clustered, normal};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn built(values: &[f32], dim: usize, params: GraphParams) -> Adjacency {
    let space = PointSpace { dim, rows: values.chunks_exact(dim).collect() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(params.threads).build().expect("threads start");
    pool.install(|| BatchBuilder.build(&space, &params))
}

#[test]
fn one_two_and_four_threads_build_the_same_graph() {
    // Clusters are linked on codes; those that codes cannot tell apart are linked on floats.
    let clusters = clustered(6000, 24, 1);
    let tight: Vec<f32> = clusters.iter().enumerate().map(|(i, x)| 1e-4 * x + (i / 24 % 7) as f32 * 50.0).collect();
    for values in [clusters, tight] {
        let params = GraphParams { m: 8, ef_construction: 40, ..GraphParams::default() };
        let one = built(&values, 24, params);
        for threads in [2, 4] {
            assert!(built(&values, 24, GraphParams { threads, ..params }) == one, "{threads} threads");
        }
        assert!(built(&values, 24, GraphParams { seed: 7, ..params }) != one, "another seed, another graph");
    }
}

#[test]
fn graphs_are_built_on_codes_whatever_the_sizes_of_the_dimensions() {
    let dim = 100;
    let falling = |i: usize| 1.0 / (i + 1) as f32;
    let outlier = |i: usize| if i == 40 { 100.0 } else { 1.0 };
    let outliers = |i: usize| if i.is_multiple_of(5) { 30.0 } else { 1.0 };
    let sets: [(&str, &dyn Fn(usize) -> f32); 3] =
        [("falling", &falling), ("an outlier", &outlier), ("twenty outliers", &outliers)];
    for (name, size) in sets {
        let mut rng = StdRng::seed_from_u64(1);
        let values: Vec<f32> = (0..3000 * dim).map(|i| size(i % dim) * normal(&mut rng)).collect();
        let rows: Vec<&[f32]> = values.chunks_exact(dim).collect();
        let params = GraphParams::default();
        let ordering = Ordering::new(&draw_levels(rows.len(), None, &params));
        let coded = CodedPoints::encode(dim, &rows, &params);
        let mut inserter = Inserter::new(&coded, Layers::empty(&ordering, params.m), &params);
        let new: Vec<u32> = (0..rows.len() as u32).collect();
        let suffices =
            |inserter: &Inserter<'_, CodedPoints>| quantization_check::codes_suffice(&coded, &rows, inserter.layers());
        assert!(inserter.insert_while(&new, suffices), "{name}: codes were given up");
    }
}

#[test]
fn lists_are_within_bounds_and_hold_no_node_twice_and_never_their_own() {
    for (n, m) in [(1, 2), (2, 2), (3, 16), (3000, 2), (3000, 16)] {
        let params = GraphParams { m, ef_construction: 30, ..GraphParams::default() };
        let graph = built(&clustered(n, 8, 1), 8, params);
        assert_eq!(graph.lists.len(), n);
        for (node, levels) in (0u32..).zip(&graph.lists) {
            assert!(levels.len() <= graph.lists[graph.entry as usize].len(), "the entry point has the most levels");
            for (level, list) in levels.iter().enumerate() {
                assert!(list.len() <= if level == 0 { 2 * m } else { m }, "node {node}, level {level}");
                let mut distinct: Vec<u32> = list.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert!(distinct.len() == list.len() && !list.contains(&node), "node {node}, level {level}");
                assert!(list.iter().all(|other| graph.top_level(*other) >= level), "node {node}, level {level}");
            }
        }
    }
}

#[test]
fn hardly_a_node_needs_repair() {
    let values = clustered(5000, 32, 1);
    let graph = built(&values, 32, GraphParams::default());
    let unreachable = crate::index::repair::unreachable(&graph);
    assert!(unreachable <= 5, "{unreachable} of 5000 nodes are unreachable before repair");
}
