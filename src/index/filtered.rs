//! Searching for the nearest of some of a graph's nodes: the scan of their codes, how many of them a walk
//! must find, and when it had better stop.
//!
//! A walk goes through nodes that are not allowed and keeps the `ef` nearest of all it meets, so deleted
//! nodes cost it nothing; it goes on until `enough` allowed ones are among them, so it widens by itself
//! where they are rare. Leaping over nodes that are not allowed to the neighbours of their neighbours
//! (ACORN, Lucene) was measured beside it: less recall for more time at every share from 10 to 70 %.

use super::graph::Graph;
use super::nodes::NodeBitmap;
use super::quantiser::CodedQuery;
use super::topk::TopK;

/// How many allowed nodes a walk must find for k answers. The order by codes is not quite that by distance:
/// so some more than k.
pub fn enough(k: usize) -> usize {
    k + (k / 4).max(5)
}

/// Codes compared in one call.
const BATCH: usize = 256;

/// The `keep` nearest by codes of the `allowed` nodes (of all, where `None`), nearest first.
pub fn scan_codes(graph: &Graph, query: &CodedQuery, allowed: Option<&NodeBitmap>, keep: usize) -> Vec<u32> {
    let (mut nodes, mut products, mut distances) = (Vec::with_capacity(BATCH), Vec::new(), Vec::new());
    let mut best = TopK::new(keep);
    let mut compare = |nodes: &mut Vec<u32>| {
        query.estimates(graph.coded(), nodes, &mut products, &mut distances);
        for (node, distance) in nodes.drain(..).zip(&distances) {
            if *distance < best.bound() || !best.is_full() {
                best.push(*distance, u64::from(node));
            }
        }
    };
    let mut take = |node: u32| {
        nodes.push(node);
        if nodes.len() == BATCH {
            compare(&mut nodes);
        }
    };
    match allowed {
        Some(allowed) => allowed.iter().for_each(&mut take),
        None => (0..graph.len() as u32).for_each(&mut take),
    }
    compare(&mut nodes);
    best.into_sorted().into_iter().map(|found| found.key as u32).collect()
}

/// What a walk looks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sought {
    /// So many allowed nodes at least; 0: all are allowed.
    pub enough: usize,
    /// So many where they lie away from the query: what is nearest of them is then found less surely.
    pub when_scattered: usize,
    /// Share of the graph's nodes that are allowed.
    pub share: f64,
}

impl Sought {
    /// Where all nodes are allowed.
    pub const ANY: Sought = Sought { enough: 0, when_scattered: 0, share: 1.0 };
}

/// Expansions before a walk is judged: the way from the entry point to the query says little.
const JUDGED_FROM: usize = 32;
/// Allowed nodes that a walk should have seen by chance before seeing too few of them means something.
const TELLING: f64 = 8.0;

/// What a walk has seen so far of the share of allowed nodes around the query. Where filter and query have
/// to do with each other, the share in the whole graph tells nothing.
#[derive(Debug)]
pub struct Outlook {
    sought: Sought,
    distances: usize,
    expanded: usize,
    allowed: usize,
}

impl Outlook {
    /// Of a walk that may cost `distances`.
    pub fn new(sought: Sought, distances: usize) -> Outlook {
        Outlook { sought, distances, expanded: 0, allowed: 0 }
    }

    /// Counts an expanded node, after `spent` distances, and answers how many allowed nodes to look for;
    /// `None` once the walk is likely to spend more than it may. Judged each time the number of expanded
    /// nodes has doubled.
    #[inline]
    pub fn after(&mut self, allowed: bool, spent: usize) -> Option<usize> {
        self.expanded += 1;
        self.allowed += usize::from(allowed);
        if self.expanded >= JUDGED_FROM && self.expanded.is_power_of_two() {
            let expected = self.sought.share * self.expanded as f64;
            if expected >= TELLING && (self.allowed as f64) < expected / 2.0 {
                self.sought.enough = self.sought.when_scattered;
            }
            let missing = self.sought.enough.saturating_sub(self.allowed);
            // One more than were seen: none in a few does not mean that there are none.
            if spent.saturating_mul(missing) / (self.allowed + 1) > self.distances {
                return None;
            }
        }
        Some(self.sought.enough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expansions of 10 distances each, every so-many-th of an allowed node, before a walk is given up, and
    /// what it looks for in the end.
    fn expanded(every: usize, share: f64, distances: usize) -> (usize, Option<usize>) {
        let mut outlook = Outlook::new(Sought { enough: 15, when_scattered: 100, share }, distances);
        let wanted = (1..=1_000).map_while(|n| outlook.after(n % every == 0, n * 10));
        let wanted: Vec<usize> = wanted.collect();
        (wanted.len(), wanted.last().copied())
    }

    #[test]
    fn a_walk_is_given_up_once_the_share_it_sees_is_too_small() {
        // One in a hundred needs 1,500 expansions of 10 distances each; one in ten 150.
        assert_eq!(expanded(100, 0.01, 4_000), (31, Some(15)));
        assert_eq!(expanded(10, 0.1, 4_000), (1_000, Some(15)));
        assert_eq!(expanded(1_001, 0.02, usize::MAX), (1_000, Some(100)));
    }

    #[test]
    fn a_walk_that_sees_far_fewer_than_chance_would_show_looks_for_more() {
        assert_eq!(expanded(10, 0.9, usize::MAX), (1_000, Some(100)));
        assert_eq!(expanded(10, 0.15, usize::MAX), (1_000, Some(15)));
    }

    #[test]
    fn enough_is_more_than_k() {
        for (k, wanted) in [(1, 6), (10, 15), (100, 125), (10_000, 12_500)] {
            assert_eq!(enough(k), wanted);
        }
    }
}
