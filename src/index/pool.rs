//! The one list of a walk: the nearest nodes met so far, sorted, each expanded or not. It is the paper's
//! candidates C and result W at once, as what is farther than all of W is never expanded.
//! Invariant: keys rise strictly; at most `ef` accepted nodes are kept and, once there are that many,
//! nothing farther than the last of them; all before `next` are expanded.

use super::topk::Neighbour;

/// Distance (as an integer of the same order), node (31 bits: graphs have no more, see `MAX_NODES`), and
/// whether it is expanded, from high bits to low. One comparison orders two, and the flag never decides as
/// no node is met twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

const EXPANDED: u64 = 1;

impl Key {
    /// Not expanded.
    #[inline]
    pub fn new(distance: f32, node: u32) -> Key {
        // Negative floats order backwards: all their bits are flipped; of others, the sign bit.
        let bits = distance.to_bits();
        let ordered = bits ^ ((bits.cast_signed() >> 31).cast_unsigned() | 1 << 31);
        Key(u64::from(ordered) << 32 | u64::from(node) << 1)
    }

    #[inline]
    pub fn node(self) -> u32 {
        (self.0 as u32) >> 1
    }

    pub fn distance(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(ordered ^ (((!ordered).cast_signed() >> 31).cast_unsigned() | 1 << 31))
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Pool {
    keys: Vec<Key>,
    ef: usize,
    accepted: usize,
    next: usize,
}

impl Pool {
    /// Forgets all; from now on keeps `ef` ≥ 1.
    pub fn begin(&mut self, ef: usize) {
        self.keys.clear();
        (self.ef, self.accepted, self.next) = (ef.max(1), 0, 0);
    }

    /// Only what is below this can enter.
    #[inline]
    pub fn bound(&self) -> Key {
        match self.keys.last() {
            Some(last) if self.accepted >= self.ef => *last,
            _ => Key(u64::MAX),
        }
    }

    /// The nearest that is not expanded.
    #[inline]
    pub fn peek(&self) -> Option<u32> {
        self.keys.get(self.next).map(|key| key.node())
    }

    /// The same, expanded from now on.
    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        let key = self.keys.get_mut(self.next)?;
        key.0 |= EXPANDED;
        let node = key.node();
        let rest = self.keys.get(self.next..).unwrap_or_default();
        self.next += rest.iter().position(|key| key.0 & EXPANDED == 0).unwrap_or(rest.len());
        Some(node)
    }

    /// Takes in a node not met before, if it is near enough; returns whether it is. `accepts` tells of any
    /// node whether it may be an answer.
    #[inline]
    pub fn push(&mut self, key: Key, accepts: impl Fn(u32) -> bool) -> bool {
        if key >= self.bound() {
            return false;
        }
        let at = self.keys.partition_point(|kept| *kept < key);
        self.keys.insert(at, key);
        self.next = self.next.min(at);
        self.accepted += usize::from(accepts(key.node()));
        if self.accepted > self.ef {
            self.keys.pop();
            self.accepted -= 1;
        }
        if self.accepted == self.ef {
            // Nodes that may not be answers lead nowhere nearer once they are farther than all answers.
            while self.keys.pop_if(|last| !accepts(last.node())).is_some() {}
            self.next = self.next.min(self.keys.len());
        }
        true
    }

    /// The accepted nodes kept, nearest first.
    pub fn found(&self, accepts: impl Fn(u32) -> bool) -> impl Iterator<Item = Neighbour> {
        let found = self.keys.iter().filter(move |key| accepts(key.node()));
        found.map(|key| Neighbour { distance: key.distance(), key: u64::from(key.node()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_order_as_distances_do_and_give_them_back(a in any::<f32>(), b in any::<f32>(), node in 0..1u32 << 31) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            let (x, y) = (Key::new(a, node), Key::new(b, node));
            prop_assert_eq!((x.distance().to_bits(), x.node()), (a.to_bits(), node));
            prop_assert_eq!(x.cmp(&y), a.total_cmp(&b));
        }

        #[test]
        fn a_pool_keeps_the_nearest_accepted_and_expands_nearest_first(
            steps in prop::collection::vec((0u8..50, any::<bool>()), 0..200), ef in 1usize..20, odd_too in any::<bool>(),
        ) {
            let accepts = |node: u32| odd_too || node.is_multiple_of(2);
            let (mut pool, mut all, mut open) = (Pool::default(), Vec::new(), Vec::new());
            pool.begin(ef);
            for ((distance, pop), node) in steps.into_iter().zip(0u32..) {
                let key = Key::new(f32::from(distance), node);
                pool.push(key, accepts);
                all.push(key);
                all.sort();
                open.push(key);
                let bound = all.iter().filter(|key| accepts(key.node())).nth(ef - 1).copied();
                open.retain(|key| bound.is_none_or(|bound| *key <= bound));
                if pop {
                    let nearest = open.iter().min().copied();
                    open.retain(|key| Some(*key) != nearest);
                    prop_assert_eq!(pool.pop(), nearest.map(Key::node));
                }
                prop_assert_eq!(pool.peek(), open.iter().min().map(|key| key.node()));
            }
            let nearest: Vec<u64> =
                all.iter().map(|key| key.node()).filter(|n| accepts(*n)).take(ef).map(u64::from).collect();
            prop_assert_eq!(pool.found(accepts).map(|n| n.key).collect::<Vec<_>>(), nearest);
        }
    }
}
