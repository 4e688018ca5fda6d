//! Best-first search over neighbour lists (the paper's SEARCH-LAYER), for whoever has nodes, lists and
//! distances: searches of the frozen graph and repairs of one being built.
//! Invariant: a walk without limit that ends with fewer than `ef` found has visited everything reachable.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::topk::{Neighbour, TopK};

/// What a walk needs to know of a graph and a query.
pub trait Terrain {
    /// The neighbours of `node`.
    fn neighbours(&self, node: u32) -> &[u32];
    /// The distance of the query to `node`.
    fn distance(&self, node: u32) -> f32;
    /// Whether `node` may be an answer; it is walked through either way.
    fn accepts(&self, node: u32) -> bool;
    /// Called for all new neighbours before the first of their distances is asked for.
    fn prefetch(&self, _node: u32) {}
}

/// Memory of walks, to be reused: one per thread.
#[derive(Debug, Default)]
pub struct SearchScratch {
    /// A node is visited in this walk if its entry equals `epoch`.
    visited: Vec<u32>,
    epoch: u32,
    candidates: BinaryHeap<Reverse<Neighbour>>,
    fresh: Vec<u32>,
}

impl SearchScratch {
    /// Empty; it grows to four bytes per node of the largest graph searched.
    pub fn new() -> SearchScratch {
        SearchScratch::default()
    }

    fn begin(&mut self, nodes: usize) {
        if self.visited.len() < nodes {
            self.visited.resize(nodes, 0);
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.visited.fill(0);
            self.epoch = 1;
        }
        self.candidates.clear();
    }

    /// Marks `node`; true the first time in this walk.
    #[inline]
    fn visit(&mut self, node: u32) -> bool {
        match self.visited.get_mut(node as usize) {
            Some(mark) if *mark != self.epoch => {
                *mark = self.epoch;
                true
            }
            _ => false,
        }
    }
}

/// Bounds of a walk.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Nodes in the graph.
    pub nodes: usize,
    /// Where to start.
    pub entry: u32,
    /// The paper's ef: how many accepted nodes to keep.
    pub ef: usize,
    /// Distances to compute at most.
    pub distances: usize,
}

/// The `ef` nearest accepted nodes that a walk from `entry` finds, keyed by node; `None` where it gave up
/// at the limit of distances.
pub fn best_first(terrain: &impl Terrain, bounds: Bounds, scratch: &mut SearchScratch) -> Option<TopK> {
    let mut best = TopK::new(bounds.ef);
    scratch.begin(bounds.nodes);
    let mut left = bounds.distances;
    scratch.fresh.clear();
    scratch.fresh.push(bounds.entry);
    scratch.visit(bounds.entry);
    loop {
        let fresh = std::mem::take(&mut scratch.fresh);
        left = left.checked_sub(fresh.len())?;
        for node in &fresh {
            let distance = terrain.distance(*node);
            // Until `ef` are kept everything enters, infinite estimates too.
            if distance < best.bound() || !best.is_full() {
                scratch.candidates.push(Reverse(Neighbour { distance, key: u64::from(*node) }));
                if terrain.accepts(*node) {
                    best.push(distance, u64::from(*node));
                }
            }
        }
        scratch.fresh = fresh;
        scratch.fresh.clear();
        let nearest = match scratch.candidates.pop() {
            Some(Reverse(nearest)) if nearest.distance <= best.bound() => nearest,
            _ => return Some(best),
        };
        for node in terrain.neighbours(nearest.key as u32) {
            if scratch.visit(*node) {
                terrain.prefetch(*node);
                scratch.fresh.push(*node);
            }
        }
    }
}

/// Walks from `start` to ever nearer neighbours until none is nearer (the paper's search with ef = 1).
pub fn greedy<'a>(start: u32, neighbours: impl Fn(u32) -> &'a [u32], distance: impl Fn(u32) -> f32) -> u32 {
    let mut here = Neighbour { distance: distance(start), key: u64::from(start) };
    loop {
        let candidates = neighbours(here.key as u32).iter();
        let nearest = candidates.map(|node| Neighbour { distance: distance(*node), key: u64::from(*node) }).min();
        match nearest {
            // By distance alone: among equals a walk could go in circles.
            Some(nearest) if nearest.distance < here.distance => here = nearest,
            _ => return here.key as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes on a line, each linked to the next and the one before; the query is at `at`.
    struct Line {
        links: Vec<Vec<u32>>,
        at: f32,
        even_only: bool,
    }

    impl Line {
        fn new(n: u32, at: f32, even_only: bool) -> Line {
            let links =
                (0..n).map(|i| [i.checked_sub(1), Some(i + 1).filter(|j| *j < n)].into_iter().flatten().collect());
            Line { links: links.collect(), at, even_only }
        }
    }

    impl Terrain for Line {
        fn neighbours(&self, node: u32) -> &[u32] {
            &self.links[node as usize]
        }
        fn distance(&self, node: u32) -> f32 {
            (node as f32 - self.at).abs()
        }
        fn accepts(&self, node: u32) -> bool {
            !self.even_only || node.is_multiple_of(2)
        }
    }

    fn found(line: &Line, ef: usize, distances: usize) -> Option<Vec<u64>> {
        let bounds = Bounds { nodes: line.links.len(), entry: 0, ef, distances };
        let best = best_first(line, bounds, &mut SearchScratch::new())?;
        Some(best.into_sorted().iter().map(|n| n.key).collect())
    }

    #[test]
    fn a_walk_finds_the_nearest_from_far_away() {
        assert_eq!(found(&Line::new(100, 70.2, false), 3, 1000), Some(vec![70, 71, 69]));
    }

    #[test]
    fn nodes_not_accepted_are_walked_through_but_not_found() {
        assert_eq!(found(&Line::new(100, 70.2, true), 3, 1000), Some(vec![70, 72, 68]));
    }

    #[test]
    fn a_walk_with_too_few_to_find_visits_all_and_finds_them() {
        assert_eq!(found(&Line::new(5, 70.2, true), 10, 1000), Some(vec![4, 2, 0]));
    }

    #[test]
    fn a_walk_gives_up_at_its_limit() {
        assert_eq!(found(&Line::new(100, 70.2, false), 3, 50), None);
    }

    #[test]
    fn scratch_forgets_earlier_walks_also_when_the_epoch_wraps() {
        let line = Line::new(50, 20.0, false);
        let mut scratch = SearchScratch::new();
        scratch.epoch = u32::MAX - 1;
        for _ in 0..4 {
            let bounds = Bounds { nodes: 50, entry: 0, ef: 1, distances: 1000 };
            let best = best_first(&line, bounds, &mut scratch).map(TopK::into_sorted).unwrap_or_default();
            assert_eq!(best.iter().map(|n| n.key).collect::<Vec<_>>(), vec![20]);
        }
    }
}
