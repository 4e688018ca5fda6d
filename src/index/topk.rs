//! The best k of a stream of (distance, key) pairs. Invariant: the answer depends only on the set of
//! pairs pushed, never on their order: ties in distance are broken by the smaller key, so partial
//! answers of segments merge into exactly the answer of one scan.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// One answer: a distance and the key (an address, a node, a row) it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour {
    /// Smaller is nearer; finite.
    pub distance: f32,
    /// The owner of the distance. It also breaks ties: the smaller key first.
    pub key: u64,
}

impl Ord for Neighbour {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.key.cmp(&other.key))
    }
}

impl PartialOrd for Neighbour {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbour {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Neighbour {}

/// Keeps the `k` nearest of the pushed pairs. Keys are the caller's; a key pushed twice counts twice.
#[derive(Debug, Clone)]
pub struct TopK {
    k: usize,
    /// Max-heap: the worst kept is on top.
    kept: BinaryHeap<Neighbour>,
}

impl TopK {
    /// An empty answer of at most `k`.
    pub fn new(k: usize) -> TopK {
        TopK { k, kept: BinaryHeap::with_capacity(k.min(1024)) }
    }

    /// How many are kept so far, at most k.
    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// Whether k pairs are kept.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= self.k
    }

    /// A pair farther than this cannot enter; infinite until k are kept.
    #[inline]
    pub fn bound(&self) -> f32 {
        match self.kept.peek() {
            Some(worst) if self.is_full() => worst.distance,
            _ if self.k == 0 => f32::NEG_INFINITY,
            _ => f32::INFINITY,
        }
    }

    /// Offers one pair.
    #[inline]
    pub fn push(&mut self, distance: f32, key: u64) {
        let offered = Neighbour { distance, key };
        if !self.is_full() {
            self.kept.push(offered);
        } else if let Some(mut worst) = self.kept.peek_mut()
            && offered < *worst
        {
            *worst = offered;
        }
    }

    /// Offers all pairs that another answer kept.
    #[cfg(test)]
    pub fn merge(&mut self, other: TopK) {
        for pair in other.kept {
            self.push(pair.distance, pair.key);
        }
    }

    /// The kept pairs, nearest first.
    pub fn into_sorted(self) -> Vec<Neighbour> {
        self.kept.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted_prefix(pairs: &[(f32, u64)], k: usize) -> Vec<Neighbour> {
        let mut all: Vec<Neighbour> =
            pairs.iter().map(|(distance, key)| Neighbour { distance: *distance, key: *key }).collect();
        all.sort();
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn parts_merged_in_any_split_equal_the_sorted_prefix(
            // Few distinct distances, so that ties are frequent.
            distances in prop::collection::vec(0u8..6, 0..120), k in 0usize..40, split in 0usize..120,
        ) {
            let pairs: Vec<(f32, u64)> = distances.iter().zip(0u64..).map(|(d, i)| (f32::from(*d), (i * 7919) % 127)).collect();
            let (left, right) = pairs.split_at(split.min(pairs.len()));
            let (mut a, mut b) = (TopK::new(k), TopK::new(k));
            left.iter().for_each(|(d, key)| a.push(*d, *key));
            right.iter().for_each(|(d, key)| b.push(*d, *key));
            b.merge(a);
            prop_assert_eq!(b.into_sorted(), sorted_prefix(&pairs, k));
        }
    }

    #[test]
    fn the_bound_is_infinite_until_full_and_then_the_worst_kept() {
        let mut top = TopK::new(2);
        top.push(3.0, 1);
        assert_eq!(top.bound(), f32::INFINITY);
        top.push(1.0, 2);
        assert_eq!(top.bound(), 3.0);
        top.push(2.0, 3);
        assert_eq!(top.bound(), 2.0);
    }

    #[test]
    fn nothing_enters_an_answer_of_none() {
        let mut top = TopK::new(0);
        top.push(1.0, 1);
        assert_eq!(top.bound(), f32::NEG_INFINITY);
        assert!(top.into_sorted().is_empty());
    }
}
