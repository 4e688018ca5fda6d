//! Entry points: the nodes from which a walk over level 0 starts.
//!
//! Under l2 and cosine there is one: the end of a greedy descent through the upper levels. Under ip there are many,
//! because a query lies far from the points that the nodes are linked as. A walk from one node would stay in a cluster
//! that has more nodes than the walk is wide: it may pass none of the links that lead out. So such a walk starts from
//! the best nodes of a fixed sample, and from what a narrow walk on level 1 finds from these. A large cluster has nodes
//! in the sample; the walk on level 1 gets out of a small one. The sample also has the longest vectors: they have the
//! largest inner products (Liu et al. 2019), and few links lead to them.
//! Invariant: there is at least one entry point.

use super::graph::Graph;
use super::kernel::kernels;
use super::topk::TopK;
use super::walk::{Bounds, SearchGraph, SearchScratch, best_first, greedy};

/// The sample holds this many times √n nodes of level 1: comparing them costs little beside a walk.
const SPREAD: usize = 2;
/// The sample holds this many times √n of the longest vectors.
const LONGEST: usize = 1;
/// The least width of the walk on level 1. That of the walk on level 0 is 160 or more.
const WIDTH: usize = 32;

/// One level above level 0, seen from one query.
struct UpperLevel<'a, W> {
    graph: &'a Graph,
    walk: &'a W,
    level: usize,
}

impl<W: SearchGraph> SearchGraph for UpperLevel<'_, W> {
    fn neighbours(&self, node: u32) -> &[u32] {
        self.graph.upper_neighbours(node, self.level)
    }

    fn distances(&self, nodes: &[u32], distances: &mut Vec<f32>) {
        self.walk.distances(nodes, distances);
    }

    fn accepts(&self, _node: u32) -> bool {
        true
    }

    fn prefetch(&self, node: u32) {
        self.walk.prefetch(node);
    }
}

/// The entry points of a walk over `graph` for `k` answers.
pub fn entry_points(graph: &Graph, walk: &impl SearchGraph, k: usize, scratch: &mut SearchScratch) -> Vec<u32> {
    if graph.sample().is_empty() {
        return vec![descended(graph, walk, 1, scratch)];
    }
    let ef = WIDTH.max(k);
    let mut starts = best_of_sample(graph, walk, ef);
    starts.push(descended(graph, walk, 2, scratch));
    let level = UpperLevel { graph, walk, level: 1 };
    let bounds = Bounds { nodes: graph.len(), entries: &starts, ef, distances: usize::MAX };
    match best_first(&level, bounds, scratch) {
        Some(pool) => pool.found(|_| true).map(|found| found.key as u32).collect(),
        None => starts,
    }
}

/// Where a greedy descent from the highest level to level `last` ends.
fn descended(graph: &Graph, walk: &impl SearchGraph, last: usize, scratch: &mut SearchScratch) -> u32 {
    let entry = graph.header().entry;
    let distances = |nodes: &[u32], distances: &mut Vec<f32>| walk.distances(nodes, distances);
    let levels = (last..=graph.top_level(entry)).rev();
    levels.fold(entry, |at, level| greedy(at, |node| graph.upper_neighbours(node, level), distances, scratch))
}

fn best_of_sample(graph: &Graph, walk: &impl SearchGraph, most: usize) -> Vec<u32> {
    let (nodes, mut distances, mut best) = (graph.sample(), Vec::new(), TopK::new(most));
    walk.distances(nodes, &mut distances);
    nodes.iter().zip(distances).for_each(|(node, distance)| best.push(distance, u64::from(*node)));
    best.into_sorted().into_iter().map(|found| found.key as u32).collect()
}

/// The sample of a graph, ascending: nodes of level 1 at even steps, and the longest vectors as far as codes show.
/// Empty where walks need only one entry point.
pub fn sample_of(graph: &Graph) -> Vec<u32> {
    if graph.metric().queries_are_points() {
        return Vec::new();
    }
    let (nodes, root) = (graph.len() as u32, graph.len().isqrt());
    let upper = (0..nodes).filter(|node| graph.top_level(*node) > 0).count();
    let step = upper.div_ceil(SPREAD * root).max(1);
    let mut sample: Vec<u32> = (0..nodes).filter(|node| graph.top_level(*node) > 0).step_by(step).collect();
    let step_square = f64::from(graph.header().scale).powi(2);
    let mut longest = TopK::new(LONGEST * root);
    for node in 0..nodes {
        let code = graph.code(node);
        // |x|² = |x − mean|² + 2 mean·(x − mean) + |mean|²: the bias tells the second term, and the last is constant.
        let square = f64::from(kernels().dot_i8(code, code)) * step_square - 2.0 * f64::from(graph.bias(node));
        longest.push(-square as f32, u64::from(node));
    }
    sample.extend(longest.into_sorted().into_iter().map(|found| found.key as u32));
    sample.sort_unstable();
    sample.dedup();
    sample
}
