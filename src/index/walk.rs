//! Best-first search over neighbour lists (the paper's SEARCH-LAYER), for any caller with nodes, lists and distances:
//! searches of the frozen graph, and repairs of a graph that is being built. It is not the loop of
//! `builder/search_layer.rs`: here distances are floats, nodes may be walked through without being answers, and a
//! walk that costs too much is given up.
//! Invariant: a walk without limit that ends with fewer than `ef` found has visited everything reachable.

use super::filtered::{Outlook, Sought};
use super::pool::{Pool, PoolKey};
use super::topk::Neighbour;

/// What a walk needs to know of a graph and a query.
pub trait SearchGraph {
    /// The neighbours of `node`.
    fn neighbours(&self, node: u32) -> &[u32];
    /// Writes the distance of the query to each of `nodes` to `distances`, in their order.
    fn distances(&self, nodes: &[u32], distances: &mut Vec<f32>);
    /// Whether `node` may be an answer; it is walked through either way.
    fn accepts(&self, node: u32) -> bool;
    /// What a walk must find: it keeps the `ef` nearest of any kind, and more until enough accepted nodes are among
    /// them.
    fn sought(&self) -> Sought {
        Sought::ANY
    }
    /// Called for new neighbours before their distances are computed.
    fn prefetch(&self, _node: u32) {}
    /// Called for a node that may be expanded later.
    fn prefetch_offset(&self, _node: u32) {}
    /// Called for a node whose neighbours may be needed next.
    fn prefetch_neighbours(&self, _node: u32) {}
}

/// Reusable memory of walks, one per thread.
#[derive(Debug, Default)]
pub struct SearchScratch {
    /// One bit per node: visited in this walk.
    visited: Vec<u64>,
    /// The visited nodes.
    met: Vec<u32>,
    /// Neighbours not visited before, and their distances.
    fresh: Vec<u32>,
    distances: Vec<f32>,
    pool: Pool,
    /// Distances computed since somebody asked.
    compared: u64,
}

/// If fewer than one in this many words can have been written, they are cleared one by one.
const SPARSE_WORDS: usize = 16;

impl SearchScratch {
    /// Empty; it grows to one bit per node of the largest graph searched.
    pub fn new() -> SearchScratch {
        SearchScratch::default()
    }

    /// The distances computed since the last call, by walks and by what is counted with them.
    pub fn take_compared(&mut self) -> u64 {
        std::mem::take(&mut self.compared)
    }

    /// Counts distances that were computed without a walk.
    pub(super) fn count_compared(&mut self, distances: usize) {
        self.compared += distances as u64;
    }

    fn begin(&mut self, bounds: Bounds<'_>, enough: usize) {
        let nodes = bounds.nodes;
        // Nodes that were just marked when a walk gave up.
        self.met.append(&mut self.fresh);
        if self.met.len() * SPARSE_WORDS < self.visited.len() {
            for node in &self.met {
                if let Some(word) = self.visited.get_mut(*node as usize / 64) {
                    *word = 0;
                }
            }
        } else {
            self.visited.fill(0);
        }
        self.met.clear();
        if self.visited.len() * 64 < nodes {
            self.visited.resize(nodes.div_ceil(64), 0);
        }
        self.pool.begin(bounds.ef, enough);
    }

    /// Adds to `fresh` those of `nodes` that this walk has not visited, and marks them.
    #[inline]
    fn visit(&mut self, nodes: &[u32]) {
        let mut count = self.fresh.len();
        self.fresh.resize(count + nodes.len(), 0);
        for node in nodes {
            // About every second node is new: a branch would be mispredicted as often.
            let (Some(word), Some(slot)) = (self.visited.get_mut(*node as usize / 64), self.fresh.get_mut(count))
            else {
                continue;
            };
            let bit = 1 << (node % 64);
            *slot = *node;
            count += usize::from(*word & bit == 0);
            *word |= bit;
        }
        self.fresh.truncate(count);
    }
}

/// Bounds of a walk.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// Nodes in the graph.
    pub nodes: usize,
    /// The nodes to start from, at least one.
    pub entries: &'a [u32],
    /// The paper's ef: how many nodes to keep, accepted or not; see [`SearchGraph::sought`].
    pub ef: usize,
    /// The most distances to compute.
    pub distances: usize,
}

/// The nodes that a walk from the entry points finds, in the pool. `None` if it gave up: at the limit of distances, or
/// because it was going to pass it.
pub fn best_first<'s>(
    graph: &impl SearchGraph,
    bounds: Bounds<'_>,
    scratch: &'s mut SearchScratch,
) -> Option<&'s Pool> {
    let sought = graph.sought();
    scratch.begin(bounds, sought.enough);
    let mut outlook = Outlook::new(sought, bounds.distances);
    let mut left = bounds.distances;
    scratch.visit(bounds.entries);
    loop {
        left = left.checked_sub(scratch.fresh.len())?;
        scratch.compared += scratch.fresh.len() as u64;
        graph.distances(&scratch.fresh, &mut scratch.distances);
        for (node, distance) in scratch.fresh.iter().zip(&scratch.distances) {
            if scratch.pool.push(PoolKey::new(*distance, *node), |node| graph.accepts(node)) {
                graph.prefetch_offset(*node);
            }
        }
        scratch.met.extend_from_slice(&scratch.fresh);
        scratch.fresh.clear();
        let Some(nearest) = scratch.pool.pop() else { return Some(&scratch.pool) };
        if !outlook.holds(graph.accepts(nearest), bounds.distances - left) {
            return None;
        }
        scratch.visit(graph.neighbours(nearest));
        scratch.fresh.iter().for_each(|node| graph.prefetch(*node));
        if let Some(next) = scratch.pool.peek() {
            graph.prefetch_neighbours(next);
        }
    }
}

/// Moves from `start` to ever nearer neighbours until none is nearer (the paper's search with ef = 1).
pub fn greedy<'a>(
    start: u32,
    neighbours: impl Fn(u32) -> &'a [u32],
    distances: impl Fn(&[u32], &mut Vec<f32>),
    scratch: &mut SearchScratch,
) -> u32 {
    let found = &mut scratch.distances;
    distances(&[start], found);
    let mut here = Neighbour { distance: found.first().copied().unwrap_or(f32::INFINITY), key: u64::from(start) };
    loop {
        let candidates = neighbours(here.key as u32);
        distances(candidates, found);
        scratch.compared += candidates.len() as u64;
        let pairs = candidates.iter().zip(found.iter());
        let nearest = pairs.map(|(node, distance)| Neighbour { distance: *distance, key: u64::from(*node) }).min();
        match nearest {
            // Compares distance alone: among equals a walk could go in circles.
            Some(nearest) if nearest.distance < here.distance => here = nearest,
            _ => return here.key as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes on a line, each linked to the next and the one before; the query is at `at`.
    struct LineGraph {
        links: Vec<Vec<u32>>,
        at: f32,
        even_only: bool,
    }

    impl LineGraph {
        fn new(n: u32, at: f32, even_only: bool) -> LineGraph {
            let links =
                (0..n).map(|i| [i.checked_sub(1), Some(i + 1).filter(|j| *j < n)].into_iter().flatten().collect());
            LineGraph { links: links.collect(), at, even_only }
        }
    }

    impl SearchGraph for LineGraph {
        fn neighbours(&self, node: u32) -> &[u32] {
            &self.links[node as usize]
        }
        fn distances(&self, nodes: &[u32], distances: &mut Vec<f32>) {
            distances.clear();
            distances.extend(nodes.iter().map(|node| (*node as f32 - self.at).abs()));
        }
        fn accepts(&self, node: u32) -> bool {
            !self.even_only || node.is_multiple_of(2)
        }
        fn sought(&self) -> Sought {
            if self.even_only { Sought { enough: 3, share: 0.5 } } else { Sought::ANY }
        }
    }

    fn found(line: &LineGraph, ef: usize, distances: usize) -> Option<Vec<u64>> {
        let bounds = Bounds { nodes: line.links.len(), entries: &[0], ef, distances };
        let mut scratch = SearchScratch::new();
        let pool = best_first(line, bounds, &mut scratch)?;
        Some(pool.found(|node| line.accepts(node)).map(|n| n.key).collect())
    }

    #[test]
    fn a_walk_finds_the_nearest_from_far_away() {
        assert_eq!(found(&LineGraph::new(100, 70.2, false), 3, 1000), Some(vec![70, 71, 69]));
    }

    #[test]
    fn nodes_not_accepted_are_walked_through_but_not_found() {
        assert_eq!(found(&LineGraph::new(100, 70.2, true), 3, 1000), Some(vec![70, 72, 68]));
    }

    #[test]
    fn a_walk_with_too_few_to_find_visits_all_and_finds_them() {
        assert_eq!(found(&LineGraph::new(5, 70.2, true), 10, 1000), Some(vec![4, 2, 0]));
    }

    #[test]
    fn a_walk_gives_up_at_its_limit() {
        assert_eq!(found(&LineGraph::new(100, 70.2, false), 3, 50), None);
    }

    #[test]
    fn scratch_forgets_earlier_walks_over_any_graph() {
        let mut scratch = SearchScratch::new();
        for (nodes, at, nearest) in [(50, 20.0, 20), (5000, 3.0, 3), (50, 49.0, 49), (5000, 4999.0, 4999), (7, 0.0, 0)]
        {
            let bounds = Bounds { nodes, entries: &[0], ef: 1, distances: usize::MAX };
            let pool = best_first(&LineGraph::new(nodes as u32, at, false), bounds, &mut scratch).expect("no limit");
            assert_eq!(pool.found(|_| true).map(|n| n.key).collect::<Vec<_>>(), vec![nearest]);
        }
    }

    #[test]
    fn a_walk_that_gave_up_leaves_nothing_visited() {
        let line = LineGraph::new(5000, 0.0, false);
        let mut scratch = SearchScratch::new();
        let mut nearest = |distances| {
            let bounds = Bounds { nodes: 5000, entries: &[7], ef: 1, distances };
            let pool = best_first(&line, bounds, &mut scratch)?;
            Some(pool.found(|_| true).map(|n| n.key).collect::<Vec<_>>())
        };
        for limit in 0..6 {
            assert_eq!(nearest(limit), None);
            assert_eq!(nearest(usize::MAX), Some(vec![0]));
        }
    }
}
