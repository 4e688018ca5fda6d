//! Searching for the nearest among some of a graph's nodes: the scan of their codes, how many of them a walk must
//! find, and when a walk should stop.
//!
//! A walk goes through nodes that are not allowed and keeps the `ef` nearest of all nodes that it meets, so deleted
//! nodes cost it nothing. It continues until `enough` allowed ones are among them, so it widens by itself where they
//! are rare. ACORN and Lucene leap over nodes that are not allowed to the neighbours of their neighbours. That was
//! measured too: less recall for more time at every share from 10 to 70 %.

use super::graph::Graph;
use super::nodes::NodeBitmap;
use super::quantiser::CodedQuery;
use super::topk::{Neighbour, TopK};

/// How many allowed nodes a walk must find for k answers: some more than k, since the order by codes is not quite
/// that by distance.
pub fn enough(k: usize) -> usize {
    k + (k / 2).max(10)
}

/// How many codes are compared in one call.
const BATCH: usize = 256;

/// The `keep` nearest of the `allowed` nodes by codes (`None`: of all nodes), nearest first, keyed by node.
pub fn nearest_by_codes(
    graph: &Graph,
    query: &CodedQuery,
    allowed: Option<&NodeBitmap>,
    keep: usize,
) -> Vec<Neighbour> {
    let mut best = TopK::new(keep);
    estimate_each(graph, query, allowed, |node, distance| {
        if distance < best.bound() || !best.is_full() {
            best.push(distance, u64::from(node));
        }
    });
    best.into_sorted()
}

/// The allowed nodes that are within `reach` by codes, ascending.
pub fn within_by_codes(graph: &Graph, query: &CodedQuery, allowed: Option<&NodeBitmap>, reach: f32) -> Vec<u32> {
    let mut found = Vec::new();
    estimate_each(graph, query, allowed, |node, distance| {
        if distance <= reach {
            found.push(node);
        }
    });
    found
}

fn estimate_each(graph: &Graph, query: &CodedQuery, allowed: Option<&NodeBitmap>, mut take: impl FnMut(u32, f32)) {
    let (mut nodes, mut products, mut distances) = (Vec::with_capacity(BATCH), Vec::new(), Vec::new());
    let mut compare = |nodes: &mut Vec<u32>| {
        query.estimates(graph.coded(), nodes, &mut products, &mut distances);
        nodes.drain(..).zip(&distances).for_each(|(node, distance)| take(node, *distance));
    };
    let mut gather = |node: u32| {
        nodes.push(node);
        if nodes.len() == BATCH {
            compare(&mut nodes);
        }
    };
    match allowed {
        Some(allowed) => allowed.iter().for_each(&mut gather),
        None => (0..graph.len() as u32).for_each(&mut gather),
    }
    compare(&mut nodes);
}

/// What a walk looks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sought {
    /// The least number of allowed nodes to find; 0 if all nodes are allowed.
    pub enough: usize,
    /// Share of the graph's nodes that are allowed.
    pub share: f64,
}

impl Sought {
    /// All nodes are allowed.
    pub const ANY: Sought = Sought { enough: 0, share: 1.0 };
}

/// How many nodes are expanded before a walk is judged: the way from the entry point to the query shows little.
const JUDGED_FROM: usize = 32;
/// Too few allowed nodes mean something only once a walk should have seen this many by chance.
const TELLING: f64 = 16.0;

/// The share of allowed nodes around the query, as a walk has seen it so far. Where filter and query correlate, the
/// share in the whole graph says nothing.
#[derive(Debug)]
pub struct Outlook {
    sought: Sought,
    distances: usize,
    expanded: usize,
    allowed: usize,
}

impl Outlook {
    /// The outlook of a walk that may compute `distances`.
    pub fn new(sought: Sought, distances: usize) -> Outlook {
        Outlook { sought, distances, expanded: 0, allowed: 0 }
    }

    /// Counts an expanded node, after `spent` distances. Returns false if the walk should be given up, for one of two
    /// reasons. It will probably exceed its limit. Or the allowed nodes lie away from the query, in all directions,
    /// where a walk finds some but not the nearest. The walk is judged each time the number of expanded nodes has
    /// doubled.
    #[inline]
    pub fn holds(&mut self, allowed: bool, spent: usize) -> bool {
        self.expanded += 1;
        self.allowed += usize::from(allowed);
        if self.expanded < JUDGED_FROM || !self.expanded.is_power_of_two() || self.distances == usize::MAX {
            return true;
        }
        let expected = self.sought.share * self.expanded as f64;
        let away = expected >= TELLING && (self.allowed as f64) < expected / 2.0;
        let missing = self.sought.enough.saturating_sub(self.allowed);
        // One more than were seen: no allowed node among a few does not mean that there are none.
        !away && spent.saturating_mul(missing) / (self.allowed + 1) <= self.distances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many nodes are expanded before a walk is given up: each costs 10 distances, and one in `every` is allowed.
    fn expanded(every: usize, share: f64, distances: usize) -> usize {
        let mut outlook = Outlook::new(Sought { enough: 15, share }, distances);
        (1..=1_000).take_while(|n| outlook.holds(n % every == 0, n * 10)).count()
    }

    #[test]
    fn a_walk_is_given_up_once_the_share_it_sees_is_too_small() {
        // One in a hundred needs 1,500 expansions of 10 distances each; one in ten 150.
        assert_eq!(expanded(100, 0.01, 4_000), 31);
        assert_eq!(expanded(10, 0.1, 4_000), 1_000);
    }

    #[test]
    fn a_walk_is_given_up_once_it_sees_far_fewer_than_chance_would_show() {
        assert_eq!(expanded(10, 0.9, 100_000), 31);
        assert_eq!(expanded(10, 0.25, 100_000), 63);
        assert_eq!(expanded(10, 0.15, 100_000), 1_000);
    }

    #[test]
    fn a_walk_without_limit_is_never_given_up() {
        assert_eq!(expanded(1_001, 0.9, usize::MAX), 1_000);
    }

    #[test]
    fn enough_is_more_than_k() {
        for (k, wanted) in [(1, 11), (10, 20), (100, 150), (10_000, 15_000)] {
            assert_eq!(enough(k), wanted);
        }
    }
}
