//! Repairs of nodes that a builder leaves hard to find. First, every node becomes reachable from the entry point on
//! level 0: an unreachable node is linked, both ways, to its nearest reachable nodes. (This ends, as each round adds
//! at least that node.) Second, nodes that hardly any other links to get more links. Heuristics starve those behind a
//! hub, such as vectors around a dense centre, and searches miss nodes that are rarely linked to.

use super::build::Adjacency;
use super::metric::PointSpace;
use super::walk::{Bounds, SearchGraph, SearchScratch, best_first, greedy};

/// To how many others a repaired node is linked.
const LINKS: usize = 8;
/// A node with fewer links to it than this gets more.
const THIN: u32 = 4;
/// The width of the search for these others.
const EF: usize = 48;

/// The part of a graph that is reachable, seen from one node that is not.
struct FromNode<'a> {
    adjacency: &'a Adjacency,
    space: &'a PointSpace<'a>,
    node: u32,
}

impl SearchGraph for FromNode<'_> {
    fn neighbours(&self, node: u32) -> &[u32] {
        self.adjacency.neighbours(node, 0)
    }

    fn distances(&self, nodes: &[u32], distances: &mut Vec<f32>) {
        distances.clear();
        distances.extend(nodes.iter().map(|node| self.space.distance(self.node, *node)));
    }

    fn accepts(&self, _node: u32) -> bool {
        true
    }
}

/// Both repairs; returns how many nodes each had to link.
pub fn repair(adjacency: &mut Adjacency, space: &PointSpace<'_>) -> (usize, usize) {
    (reach(adjacency, space), thicken(adjacency, space))
}

/// Links the nodes that the entry point cannot reach.
fn reach(adjacency: &mut Adjacency, space: &PointSpace<'_>) -> usize {
    let mut reached = vec![false; adjacency.lists.len()];
    spread(adjacency, adjacency.entry, &mut reached);
    let mut scratch = SearchScratch::new();
    let mut linked = 0;
    for node in 0..adjacency.lists.len() as u32 {
        if reached[node as usize] {
            continue;
        }
        let nearest = nearest_reachable(&FromNode { adjacency, space, node }, &reached, &mut scratch);
        for other in nearest {
            adjacency.link(other, node);
        }
        spread(adjacency, node, &mut reached);
        linked += 1;
    }
    linked
}

/// Links nodes that few others link to with the nearest that a walk finds. All must be reachable.
fn thicken(adjacency: &mut Adjacency, space: &PointSpace<'_>) -> usize {
    let mut links_to = vec![0u32; adjacency.lists.len()];
    for list in &adjacency.lists {
        list[0].iter().for_each(|node| links_to[*node as usize] += 1);
    }
    let reached = vec![true; adjacency.lists.len()];
    let mut scratch = SearchScratch::new();
    let mut thin = 0;
    for node in 0..adjacency.lists.len() as u32 {
        if links_to[node as usize] < THIN {
            let near = nearest_reachable(&FromNode { adjacency, space, node }, &reached, &mut scratch);
            for other in near.into_iter().filter(|other| *other != node) {
                adjacency.link(other, node);
            }
            thin += 1;
        }
    }
    thin
}

/// How many nodes the entry point does not reach on level 0.
#[cfg(test)]
pub fn unreachable(adjacency: &Adjacency) -> usize {
    let mut reached = vec![false; adjacency.lists.len()];
    spread(adjacency, adjacency.entry, &mut reached);
    reached.iter().filter(|reached| !**reached).count()
}

/// Marks everything that `from` reaches and that was not marked.
fn spread(adjacency: &Adjacency, from: u32, reached: &mut [bool]) {
    let mut open = vec![from];
    reached[from as usize] = true;
    while let Some(node) = open.pop() {
        for next in adjacency.neighbours(node, 0) {
            if !std::mem::replace(&mut reached[*next as usize], true) {
                open.push(*next);
            }
        }
    }
}

/// Finds at least one: everything that a walk from a reachable node meets is reachable.
fn nearest_reachable(from: &FromNode<'_>, reached: &[bool], scratch: &mut SearchScratch) -> Vec<u32> {
    let adjacency = from.adjacency;
    let mut start = adjacency.entry;
    for level in (1..=adjacency.top_level(start)).rev() {
        // Nodes of upper levels may themselves be unreachable on level 0: the walk must not begin there.
        let distances = |nodes: &[u32], distances: &mut Vec<f32>| {
            from.distances(nodes, distances);
            let unreached = nodes.iter().zip(distances).filter(|(node, _)| !reached[**node as usize]);
            unreached.for_each(|(_, distance)| *distance = f32::INFINITY);
        };
        start = greedy(start, |node| adjacency.neighbours(node, level), distances, scratch);
    }
    let bounds = Bounds { nodes: adjacency.lists.len(), entries: &[start], ef: EF, distances: usize::MAX };
    let pool = best_first(from, bounds, scratch);
    pool.into_iter().flat_map(|pool| pool.found(|_| true)).map(|n| n.key as u32).take(LINKS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn islands_are_linked_to_their_nearest_reachable_nodes() {
        // Three islands of ten points each, chained within; only the first is reachable.
        let values: Vec<f32> = (0..30).map(|i| (i % 10) as f32 + (i / 10) as f32 * 100.0).collect();
        let space = PointSpace { dim: 1, rows: values.chunks_exact(1).collect() };
        let mut adjacency = Adjacency { entry: 4, lists: vec![vec![Vec::new()]; 30] };
        for i in (0..30).filter(|i| i % 10 != 9) {
            adjacency.link(i, i + 1);
        }
        assert_eq!(unreachable(&adjacency), 20);
        assert_eq!(reach(&mut adjacency, &space), 2);
        assert_eq!(unreachable(&adjacency), 0);
        assert!(adjacency.neighbours(10, 0).contains(&9), "the nearest node of the first island is 9");
    }

    #[test]
    fn nodes_without_any_link_become_reachable() {
        let values: Vec<f32> = (0..200).map(|i| (i * i % 97) as f32).collect();
        let space = PointSpace { dim: 2, rows: values.chunks_exact(2).collect() };
        let mut adjacency = Adjacency { entry: 0, lists: vec![vec![Vec::new()]; 100] };
        assert_eq!(reach(&mut adjacency, &space), 99);
        assert_eq!(unreachable(&adjacency), 0);
    }
}
