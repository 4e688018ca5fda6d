//! Data that breaks graphs. For every set, under every metric, the graph must be consistent, have no unreachable
//! node, and find what a scan finds. `built` checks the first two.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::recall_tests::{Built, built, built_by, chosen, clustered, mean_recall, normal};
use super::*;
use crate::record::Metric;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::L2, Metric::Ip];

fn gaussian(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..n * dim).map(|_| normal(&mut rng)).collect()
}

/// Checks that recall@10 of the walk alone is at least 0.95: with all nodes, and with a third of them; by both
/// builders.
fn survives(name: &str, dim: usize, values: &[f32], queries: &[f32]) {
    for (builder, metric) in BUILDERS.iter().copied().flat_map(|builder| METRICS.map(|metric| (builder, metric))) {
        let built = built_by(builder, metric, dim, values.to_vec(), 1);
        let nodes = built.graph.len();
        for allowed in [None, Some(chosen(nodes, 0.33, 4))] {
            let (searched, walked) = mean_recall(&built, queries, allowed.as_ref());
            let share = allowed.as_ref().map_or(nodes, NodeBitmap::count);
            let of = format!("{name}, {metric} by {}, {share} of {nodes}", builder.name());
            println!("{of}: recall@10 {searched:.3}, walk alone {walked:.3}, exact {}", built.graph.is_exact());
            assert!(searched >= 0.95 && walked >= 0.95, "{of}: {searched}, {walked}");
        }
    }
}

#[test]
fn all_equal_vectors() {
    survives("all equal", 8, &[0.5; 8 * 3000], &gaussian(20, 8, 2));
}

#[test]
fn a_third_exact_duplicates() {
    let mut values = gaussian(3000, 16, 1);
    // The first thousand are all equal; another four hundred are duplicates of others.
    for row in 1..1000 {
        values.copy_within(0..16, row * 16);
    }
    values.copy_within(2000 * 16..2400 * 16, 2500 * 16);
    survives("duplicates", 16, &values, &gaussian(50, 16, 2));
}

#[test]
fn near_duplicates() {
    let (centres, noise) = (gaussian(30, 16, 1), gaussian(3000, 16, 2));
    let values: Vec<f32> = noise.iter().enumerate().map(|(i, x)| centres[i % (30 * 16)] + 1e-5 * x).collect();
    let queries: Vec<f32> = centres.iter().zip(gaussian(30, 16, 3)).map(|(c, x)| c + 0.1 * x).collect();
    survives("near duplicates", 16, &values, &queries);
}

#[test]
fn clusters_in_sorted_order() {
    survives("sorted clusters", 24, &clustered(4000, 24, 1), &clustered(50, 24, 2));
}

#[test]
fn far_apart_clusters_in_sorted_order() {
    let noise = gaussian(4000, 12, 1);
    let far = |i: usize| if i / 12 / 40 % 12 == i % 12 { 1000.0 * (1 + i / 12 / 480) as f32 } else { 0.0 };
    let values: Vec<f32> = noise.iter().enumerate().map(|(i, x)| x + far(i)).collect();
    survives("far clusters", 12, &values, &values[..12 * 50]);
}

#[test]
fn tiny_dimensions() {
    for dim in [1, 2, 3] {
        survives(&format!("dimension {dim}"), dim, &gaussian(3000, dim, 1), &gaussian(50, dim, 2));
    }
}

#[test]
fn zero_vectors() {
    let mut values = gaussian(3000, 16, 1);
    values.chunks_exact_mut(16).step_by(3).for_each(|row| row.fill(0.0));
    let mut queries = gaussian(50, 16, 2);
    queries[..16].fill(0.0);
    survives("zero vectors", 16, &values, &queries);
}

#[test]
fn one_far_outlier() {
    let mut values = gaussian(3000, 16, 1);
    values[100 * 16..101 * 16].fill(1e6);
    let mut queries = gaussian(50, 16, 2);
    queries[..16].fill(9e5);
    survives("outlier", 16, &values, &queries);
}

#[test]
fn one_dimension_that_dwarfs_the_others() {
    let mut values = gaussian(3000, 16, 1);
    values.chunks_exact_mut(16).for_each(|row| row[0] *= 100.0);
    let mut queries = gaussian(50, 16, 2);
    queries.chunks_exact_mut(16).for_each(|row| row[0] *= 100.0);
    survives("anisotropic", 16, &values, &queries);
}

/// Checks that codes are kept, and that recall@10 of the walk on them is at least 0.95, under every metric. The sizes
/// of the dimensions are given; queries are held out.
fn codes_are_kept(name: &str, sizes: &[f32], mean: f32) {
    let dim = sizes.len();
    let sized = |values: Vec<f32>| -> Vec<f32> {
        values.iter().enumerate().map(|(i, x)| sizes[i % dim] * (x + mean * (1 + i % 3) as f32)).collect()
    };
    let (values, queries) = (sized(clustered(3000, dim, 1)), sized(clustered(40, dim, 2)));
    for metric in METRICS {
        let built = built(metric, dim, values.clone(), 1);
        let (searched, walked) = mean_recall(&built, &queries, None);
        println!("{name}, {metric}: recall@10 {searched:.3}, walk alone {walked:.3}");
        assert!(!built.graph.is_exact(), "{name}, {metric}: codes were given up");
        assert!(searched >= 0.95 && walked >= 0.95, "{name}, {metric}: {searched}, {walked}");
    }
}

#[test]
fn codes_are_kept_and_recall_holds_on_falling_spectra() {
    for (dim, exponent) in [(96, 0.3), (96, 0.6), (128, 1.0)] {
        let sizes: Vec<f32> = (1..=dim).map(|i| (i as f32).powf(-exponent)).collect();
        codes_are_kept(&format!("spectrum 1 / i^{exponent}"), &sizes, 0.0);
    }
}

#[test]
fn codes_are_kept_and_recall_holds_where_a_few_dimensions_are_large() {
    for (outliers, factor) in [(1, 10.0), (1, 100.0), (5, 30.0), (20, 10.0), (20, 100.0)] {
        let mut sizes = vec![1.0; 100];
        sizes.iter_mut().skip(3).step_by(4).take(outliers).for_each(|size| *size = factor);
        codes_are_kept(&format!("{outliers} dimensions {factor} times as large"), &sizes, 0.0);
    }
}

#[test]
fn codes_are_kept_and_recall_holds_where_a_falling_spectrum_lies_far_from_the_origin() {
    let sizes: Vec<f32> = (1..=96).map(|i| (i as f32).powf(-0.6)).collect();
    codes_are_kept("shifted", &sizes, 5.0);
}

#[test]
fn embeddings_far_from_the_origin() {
    let shift = |mut values: Vec<f32>| {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = 0.05 * *x + 1.0 + (i % 32) as f32 * 0.1);
        values
    };
    survives("far from the origin", 32, &shift(gaussian(3000, 32, 1)), &shift(gaussian(50, 32, 2)));
}

#[test]
fn norms_over_many_orders_of_magnitude() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut values = gaussian(3000, 16, 1);
    for row in values.chunks_exact_mut(16) {
        let scale = 10f32.powf(rng.random_range(-6.0..6.0));
        row.iter_mut().for_each(|x| *x *= scale);
    }
    survives("norms", 16, &values, &gaussian(50, 16, 2));
}

#[test]
fn values_at_the_ends_of_f32() {
    for scale in [1e-42f32, 1e-30, 1e30] {
        let values: Vec<f32> = gaussian(1000, 8, 1).iter().map(|x| x * scale).collect();
        let queries: Vec<f32> = gaussian(20, 8, 2).iter().map(|x| x * scale).collect();
        survives(&format!("scale {scale}"), 8, &values, &queries);
    }
}

#[test]
fn one_two_and_three_vectors() {
    for n in 1..=3 {
        survives(&format!("{n} vectors"), 4, &gaussian(n, 4, 1), &gaussian(5, 4, 2));
    }
}

fn answers(built: &Built, k: usize, allowed: Option<&NodeBitmap>) -> Vec<Candidate> {
    let query = PreparedQuery::new(built.graph.metric(), &built.values[..built.dim]);
    let search = GraphQuery { query: &query, k, ef: None, allowed };
    search_graph(&built.graph, search, |node| built.vector(node), &mut SearchScratch::new())
}

#[test]
fn a_search_never_returns_fewer_than_k_or_all_allowed() {
    let built = built(Metric::L2, 16, gaussian(2000, 16, 1), 1);
    for k in [1, 10, 100, 1999, 2000, 2001, 10_000] {
        assert_eq!(answers(&built, k, None).len(), k.min(2000));
        for share in [0.0, 0.001, 0.02, 0.6, 1.0] {
            let allowed = chosen(2000, share, 5);
            let found = answers(&built, k, Some(&allowed));
            assert_eq!(found.len(), k.min(allowed.count()), "k {k}, {} allowed", allowed.count());
            assert!(found.iter().all(|c| allowed.contains(c.node)));
        }
    }
}

#[test]
fn a_filter_that_allows_only_what_is_far_from_the_query_is_answered_in_full() {
    let built = built(Metric::L2, 8, gaussian(12_000, 8, 1), 1);
    let mut far: Vec<u32> = (0..12_000).collect();
    let query = PreparedQuery::new(Metric::L2, &built.values[..8]);
    let distance = |node: &u32| built.vector(*node).map_or(0.0, |v| query.distance_to(v));
    far.sort_by(|a, b| distance(b).total_cmp(&distance(a)));
    let mut allowed = NodeBitmap::none(12_000);
    far[..9_000].iter().for_each(|node| allowed.insert(*node));
    let found = answers(&built, 10, Some(&allowed));
    let truth: Vec<f32> = far[..9_000].iter().rev().take(10).map(distance).collect();
    assert_eq!(found.iter().map(|c| c.distance).collect::<Vec<_>>(), truth);
}

#[test]
fn nodes_without_a_vector_are_no_answers() {
    let built = built(Metric::L2, 16, gaussian(2000, 16, 1), 1);
    let query = PreparedQuery::new(Metric::L2, &built.values[..16]);
    let search = GraphQuery { query: &query, k: 10, ef: None, allowed: None };
    let exact = |node: u32| built.vector(node).filter(|_| node.is_multiple_of(2));
    let found = search_graph(&built.graph, search, exact, &mut SearchScratch::new());
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|c| c.node.is_multiple_of(2)));
}

#[test]
fn nodes_are_found_by_address_and_walked_in_address_order() {
    let built = built(Metric::L2, 4, gaussian(500, 4, 1), 1);
    let walked: Vec<_> = built.graph.nodes_by_address().collect();
    assert_eq!(walked.len(), 500);
    assert!(walked.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for (address, node) in walked {
        assert_eq!(built.graph.node_of(address), Some(node));
    }
    assert_eq!(built.graph.node_of(crate::record::Address(7)), None);
}
