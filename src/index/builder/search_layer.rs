//! The search of one level for one point (the paper's SEARCH-LAYER), with one sorted array as candidates and result.
//! Invariant: keys in the array ascend and are of different nodes. They order by distance, then by node, so the
//! result does not depend on the order in which nodes were met.
//!
//! This is not the loop of `walk.rs`. Here distances are integers that fit into a key beside their node, every node
//! is accepted, and no search is given up. A build spends most of its time here, and the extra checks of the other
//! loop would cost time.

use super::links::Links;
use super::points::Points;
use crate::index::kernel::prefetch;

/// Distance in the upper half, then the node, and whether it was expanded in the lowest bit.
#[inline]
pub fn key(distance: u32, node: u32) -> u64 {
    u64::from(distance) << 32 | u64::from(node) << 1
}

/// The node of a key.
#[inline]
pub fn node_of(key: u64) -> u32 {
    key as u32 >> 1
}

/// Reusable memory of searches, one per thread.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A node is visited in this search if its entry equals `epoch`.
    visited: Vec<u8>,
    epoch: u8,
    fresh: Vec<u32>,
    products: Vec<i32>,
    distances: Vec<u32>,
    /// The array: what the last search found.
    pub found: Vec<u64>,
    /// What the last selection kept.
    pub kept: Vec<u32>,
}

impl Scratch {
    fn begin(&mut self, nodes: usize) {
        if self.visited.len() < nodes {
            self.visited.resize(nodes, 0);
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.visited.fill(0);
            self.epoch = 1;
        }
        self.found.clear();
    }

    /// Puts those of `nodes` into `fresh` that this search has not visited, and marks them.
    #[inline]
    fn visit(&mut self, nodes: &[u32]) {
        self.fresh.clear();
        self.fresh.resize(nodes.len(), 0);
        let mut count = 0;
        for node in nodes {
            // About every second node is new: a branch would be mispredicted as often.
            let (Some(mark), Some(slot)) = (self.visited.get_mut(*node as usize), self.fresh.get_mut(count)) else {
                continue;
            };
            *slot = *node;
            count += usize::from(*mark != self.epoch);
            *mark = self.epoch;
        }
        self.fresh.truncate(count);
    }

    /// Puts the keys of `nodes`, seen from `from`, into `found`, ascending.
    pub fn rank(&mut self, points: &impl Points, from: u32, nodes: impl Iterator<Item = u32>) {
        self.fresh.clear();
        self.fresh.extend(nodes);
        self.fresh.iter().for_each(|node| points.prefetch(*node));
        points.distances(from, &self.fresh, &mut self.products, &mut self.distances);
        self.found.clear();
        self.found.extend(self.fresh.iter().zip(&self.distances).map(|(node, distance)| key(*distance, *node)));
        self.found.sort_unstable();
    }
}

/// Puts the `ef` nearest to `query` among the nodes met from `entry` into `scratch.found`.
pub fn search_layer(points: &impl Points, links: &Links, query: u32, entry: u32, ef: usize, scratch: &mut Scratch) {
    scratch.begin(links.nodes());
    scratch.visit(&[entry, query]);
    scratch.found.push(key(points.distance(query, entry), entry));
    let mut next = 0;
    while let Some(skipped) = scratch.found[next..].iter().position(|key| key & 1 == 0) {
        let at = next + skipped;
        let nearest = node_of(scratch.found[at]);
        scratch.found[at] |= 1;
        scratch.visit(links.of(nearest));
        scratch.fresh.iter().for_each(|node| points.prefetch(*node));
        // The list that is needed next unless a nearer node is met.
        if let Some(after) = scratch.found.get(at + 1) {
            prefetch(links.of(node_of(*after)));
        }
        points.distances(query, &scratch.fresh, &mut scratch.products, &mut scratch.distances);
        next = at + 1;
        for (node, distance) in scratch.fresh.iter().zip(&scratch.distances) {
            let place = offer(&mut scratch.found, key(*distance, *node), ef);
            if place <= next {
                next = place;
                // The list that is needed next as far as is known now.
                prefetch(links.of(*node));
            }
        }
    }
}

/// Inserts a key at its place among at most `ef`. Returns that place, which is past the end if the key is too far.
#[inline]
fn offer(found: &mut Vec<u64>, key: u64, ef: usize) -> usize {
    if found.len() >= ef {
        if found.last().is_none_or(|worst| key >= *worst) {
            return usize::MAX;
        }
        found.pop();
    }
    let place = found.partition_point(|kept| *kept < key);
    found.insert(place, key);
    place
}

/// Moves from `entry` to ever nearer neighbours until none is nearer.
pub fn greedy(points: &impl Points, links: &Links, query: u32, entry: u32, scratch: &mut Scratch) -> u32 {
    let mut here = key(points.distance(query, entry), entry);
    loop {
        let near = links.of(node_of(here));
        near.iter().for_each(|node| points.prefetch(*node));
        points.distances(query, near, &mut scratch.products, &mut scratch.distances);
        let keys = near.iter().zip(&scratch.distances).map(|(node, distance)| key(*distance, *node));
        match keys.min() {
            // Compares distance alone: among equals a walk could go in circles.
            Some(nearest) if nearest >> 32 < here >> 32 => here = nearest,
            _ => return node_of(here),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::points::FloatPoints;
    use super::*;

    /// Nodes on a line, each linked to the next and the one before.
    fn line(values: &[f32]) -> Links {
        let mut links = Links::new(values.len(), 2);
        for node in 0..values.len() as u32 {
            let near: Vec<u32> = [node.checked_sub(1), Some(node + 1).filter(|n| (*n as usize) < values.len())]
                .into_iter()
                .flatten()
                .collect();
            links.rows().replace(node, &near);
        }
        links
    }

    #[test]
    fn the_nearest_are_found_from_far_away_and_the_point_itself_is_not() {
        let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let rows: Vec<&[f32]> = values.chunks_exact(1).collect();
        let (points, links) = (FloatPoints::new(&rows), line(&values));
        let mut scratch = Scratch::default();
        // 300 searches: the epoch of eight bits wraps.
        for query in (0..100).cycle().take(300) {
            search_layer(&points, &links, query, 99 - query, 3, &mut scratch);
            let found: Vec<u32> = scratch.found.iter().map(|key| node_of(*key)).collect();
            let mut truth: Vec<u32> = (0..100).filter(|node| *node != query).collect();
            truth.sort_by_key(|node| (node.abs_diff(query), *node));
            // The walk does not expand through the query itself: only its own side is reached.
            let side = |node: &&u32| (**node > query) == (99 - query > query);
            let expected: Vec<u32> = truth.iter().filter(side).take(3).copied().collect();
            assert_eq!(found, expected, "around {query}");
        }
    }

    #[test]
    fn a_greedy_walk_ends_at_the_nearest_of_a_line() {
        let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let rows: Vec<&[f32]> = values.chunks_exact(1).collect();
        let (points, links) = (FloatPoints::new(&rows), line(&values));
        assert_eq!(greedy(&points, &links, 70, 3, &mut Scratch::default()), 70);
    }
}
