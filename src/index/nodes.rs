//! A set of nodes of one graph: one bit per node. Invariant: `count` is the number of set bits, and no
//! bit at or past `len` is set.

/// The nodes of a graph that a search may return: those alive, or alive and matching a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBitmap {
    words: Vec<u64>,
    len: usize,
    count: usize,
}

#[allow(clippy::len_without_is_empty, reason = "a graph has at least one node")]
impl NodeBitmap {
    /// The empty set for a graph of `len` nodes.
    pub fn none(len: usize) -> NodeBitmap {
        NodeBitmap { words: vec![0; len.div_ceil(64)], len, count: 0 }
    }

    /// All `len` nodes.
    #[cfg(test)]
    pub fn all(len: usize) -> NodeBitmap {
        let mut words = vec![u64::MAX; len.div_ceil(64)];
        if let (Some(last), used @ 1..) = (words.last_mut(), len % 64) {
            *last = (1 << used) - 1;
        }
        NodeBitmap { words, len, count: len }
    }

    /// How many nodes the graph has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many nodes are in the set.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether `node` is in the set.
    #[inline]
    pub fn contains(&self, node: u32) -> bool {
        self.words.get(node as usize / 64).is_some_and(|word| word >> (node % 64) & 1 == 1)
    }

    /// Puts `node` into the set; ignores a node that the graph does not have.
    pub fn insert(&mut self, node: u32) {
        if (node as usize) < self.len && !self.contains(node) {
            self.words[node as usize / 64] |= 1 << (node % 64);
            self.count += 1;
        }
    }

    /// Removes `node` from the set.
    pub fn remove(&mut self, node: u32) {
        if self.contains(node) {
            self.words[node as usize / 64] &= !(1 << (node % 64));
            self.count -= 1;
        }
    }

    /// Keeps only the nodes that are also in `other`.
    #[cfg(test)]
    pub fn intersect(&mut self, other: &NodeBitmap) {
        for (i, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(i).copied().unwrap_or(0);
        }
        self.count = self.words.iter().map(|word| word.count_ones() as usize).sum();
    }

    /// The nodes in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(i as u32 * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(len in 0usize..200, steps in prop::collection::vec((0u32..220, any::<bool>()), 0..200)) {
            let (mut bitmap, mut set) = (NodeBitmap::all(len), (0..len as u32).collect::<BTreeSet<u32>>());
            let (mut kept, mut kept_set) = (NodeBitmap::none(len), BTreeSet::new());
            for (node, put) in steps {
                if put {
                    kept.insert(node);
                    if (node as usize) < len { kept_set.insert(node); }
                } else {
                    bitmap.remove(node);
                    set.remove(&node);
                }
            }
            prop_assert_eq!(bitmap.count(), set.len());
            prop_assert!(bitmap.iter().eq(set.iter().copied()));
            bitmap.intersect(&kept);
            prop_assert!(bitmap.iter().eq(set.intersection(&kept_set).copied()));
            prop_assert_eq!(bitmap.count(), bitmap.iter().count());
        }
    }
}
