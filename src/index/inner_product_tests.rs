//! Inner products over clusters that are far apart and larger than a walk is wide. A query is far from the vectors
//! that it looks for, and a walk that ends in another cluster finds none of them: so queries are counted that miss all.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::recall_tests::{Built, built_by, chosen, normal, recall};
use super::search::{WalkLimits, scan_graph, walk_graph};
use super::*;
use crate::record::{Address, Metric, Version};

const DIM: usize = 48;
const ROWS: usize = 8000;
const CLUSTERS: usize = 16;
const QUERIES: usize = 150;

fn gaussian(dim: usize, size: f32, rng: &mut StdRng) -> Vec<f32> {
    (0..dim).map(|_| size * normal(rng)).collect()
}

/// Rows in no order around centres of different lengths. The clusters are small beside the distances between them.
fn clusters(seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let centres: Vec<Vec<f32>> = (0..CLUSTERS)
        .map(|_| {
            let length = rng.random_range(2.0..4.0);
            gaussian(DIM, length, &mut rng)
        })
        .collect();
    let row = |_| {
        let centre = &centres[rng.random_range(0..CLUSTERS)];
        centre.iter().map(|x| x + 0.3 * normal(&mut rng)).collect::<Vec<f32>>()
    };
    (0..ROWS).flat_map(row).collect()
}

/// `values`, each row times a factor drawn by `factor`.
fn stretched(mut values: Vec<f32>, mut factor: impl FnMut(usize) -> f32) -> Vec<f32> {
    for (i, row) in values.chunks_exact_mut(DIM).enumerate() {
        let factor = factor(i);
        row.iter_mut().for_each(|x| *x *= factor);
    }
    values
}

/// Rows that are queries, the opposites of rows, and vectors of any direction.
fn queries(values: &[f32]) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(5);
    let mut queries = Vec::new();
    for i in 0..QUERIES {
        let row = &values[rng.random_range(0..values.len() / DIM) * DIM..][..DIM];
        match i % 3 {
            0 => queries.extend_from_slice(row),
            1 => queries.extend(row.iter().map(|x| -x)),
            _ => queries.extend(gaussian(DIM, 1.0, &mut rng)),
        }
    }
    queries
}

/// Checks that no walk misses all of the true ten, and that recall@10 is at least 0.95 at the default `ef`: over all
/// nodes, and over half of them.
fn finds_all_clusters(name: &str, built: &Built) {
    let mut scratch = SearchScratch::new();
    let exact = |node| built.vector(node);
    let queries = queries(&built.values);
    for allowed in [None, Some(chosen(built.graph.len(), 0.5, 4))] {
        let (mut missed, mut sum) = (0, 0.0);
        for vector in queries.chunks_exact(DIM) {
            let query = PreparedQuery::new(Metric::Ip, vector);
            let search = GraphQuery { query: &query, k: 10, ef: None, allowed: allowed.as_ref() };
            let limits = WalkLimits { ef: default_ef(Metric::Ip, 10), distances: usize::MAX };
            let found = walk_graph(&built.graph, search, &exact, limits, &mut scratch).expect("there is no limit");
            let found = recall(&found, &scan_graph(&built.graph, search, exact));
            missed += usize::from(found == 0.0);
            sum += found;
        }
        let (recall, filtered) = (sum / QUERIES as f64, allowed.is_some());
        println!("{name}, filtered {filtered}: recall@10 {recall:.4}, {missed} of {QUERIES} miss all");
        assert!(missed == 0 && recall >= 0.95, "{name}, filtered {filtered}: {recall}, {missed} miss all");
    }
}

fn built(values: Vec<f32>) -> Built {
    built_by(BUILDERS[0], Metric::Ip, DIM, values, 2)
}

#[test]
fn no_walk_by_ip_misses_a_cluster_among_clusters_of_different_lengths() {
    for seed in [1, 2, 3] {
        finds_all_clusters(&format!("seed {seed}"), &built(clusters(seed)));
    }
}

#[test]
fn no_walk_by_ip_misses_a_cluster_if_lengths_differ_within_clusters_too() {
    let mut rng = StdRng::seed_from_u64(6);
    finds_all_clusters("skewed lengths", &built(stretched(clusters(1), |_| (0.5 * normal(&mut rng)).exp())));
}

#[test]
fn no_walk_by_ip_misses_a_cluster_beside_a_few_huge_vectors() {
    let huge = |i: usize| if i.is_multiple_of(ROWS / 20) { 100.0 } else { 1.0 };
    finds_all_clusters("a few huge", &built(stretched(clusters(1), huge)));
}

#[test]
fn no_walk_by_ip_misses_a_cluster_after_deletions_and_an_extension() {
    let values = clusters(1);
    let old = built(values[..ROWS * 3 / 4 * DIM].to_vec());
    let gone = |node: u32| old.graph.address(node).is_none_or(|address| address.row().is_multiple_of(5));
    let vectors = (0..old.graph.len() as u32).map(|node| old.vector(node).filter(|_| !gone(node))).collect();
    let new = VectorSet {
        metric: Metric::Ip,
        dim: DIM,
        vectors: values.chunks_exact(DIM).skip(ROWS * 3 / 4).collect(),
        addresses: (ROWS * 3 / 4..ROWS).filter_map(|row| Address::new(Version(1), row)).collect(),
    };
    let range = GraphRange { stream: "c/test".into(), lo: Version(1), hi: Version(1) };
    let source = OldGraph { graph: &old.graph, vectors };
    let graph = extend_graph(&source, &new, range, &GraphParams::default()).expect("the vectors are valid");
    graph.check_invariants().expect("an extended graph holds together");
    finds_all_clusters("extended", &Built { dim: DIM, values: values.clone(), graph });
}
