//! The one list of a walk: the nearest nodes met so far, sorted, each expanded or not. It is the paper's candidates C
//! and result W at once, as a node farther than all of W is never expanded. A wide pool is two heaps.
//! Invariant: keys rise strictly; all before `next` are expanded. A node is left out only if `ef` nodes, and `enough`
//! accepted ones, are nearer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::topk::Neighbour;

/// From high bits to low: distance (as an integer of the same order), node (31 bits: graphs have no more, see
/// `MAX_NODES`), and whether the node is expanded. One comparison orders two keys. The flag never decides, as no node
/// is met twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolKey(u64);

const EXPANDED: u64 = 1;

impl PoolKey {
    /// A key that is not expanded.
    #[inline]
    pub fn new(distance: f32, node: u32) -> PoolKey {
        // Negative floats order backwards, so all their bits are flipped; of others, only the sign bit.
        let bits = distance.to_bits();
        let ordered = bits ^ ((bits.cast_signed() >> 31).cast_unsigned() | 1 << 31);
        PoolKey(u64::from(ordered) << 32 | u64::from(node) << 1)
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

/// From this `ef` on, moving keys to make room for one takes longer than two heaps. Measured: keys are still quicker
/// at 4,000, heaps by far at 10,000.
const WIDE: usize = 6000;

/// The list of a walk; see the head of this file.
#[derive(Debug, Default)]
pub struct Pool {
    /// Sorted; empty in a wide pool.
    keys: Vec<PoolKey>,
    /// The place of the first key that is not expanded; all before it are.
    next: usize,
    wide: bool,
    /// The wide pool's counterpart of `keys`: the farthest is on top.
    kept: BinaryHeap<PoolKey>,
    /// Keys of `kept` that are not expanded, the nearest on top. Below them may be some that `kept` has dropped.
    open: BinaryHeap<Reverse<PoolKey>>,
    ef: usize,
    enough: usize,
    accepted: usize,
}

impl Pool {
    /// Clears the pool. From now on it keeps `ef` ≥ 1 nodes, and more until `enough` of them are accepted.
    pub fn begin(&mut self, ef: usize, enough: usize) {
        self.begin_as(ef, enough, ef >= WIDE);
    }

    fn begin_as(&mut self, ef: usize, enough: usize, wide: bool) {
        self.keys.clear();
        self.kept.clear();
        self.open.clear();
        (self.ef, self.enough, self.accepted, self.next, self.wide) = (ef.max(1), enough, 0, 0, wide);
    }

    /// Only keys below this can enter.
    #[inline]
    pub fn bound(&self) -> PoolKey {
        let (count, last) = if self.wide { self.farthest() } else { (self.keys.len(), self.keys.last()) };
        match last {
            Some(last) if count >= self.ef && self.accepted >= self.enough => *last,
            _ => PoolKey(u64::MAX),
        }
    }

    fn farthest(&self) -> (usize, Option<&PoolKey>) {
        (self.kept.len(), self.kept.peek())
    }

    /// The nearest node that is not expanded.
    #[inline]
    pub fn peek(&self) -> Option<u32> {
        let key = if self.wide { self.nearest_open() } else { self.keys.get(self.next).copied() };
        key.map(PoolKey::node)
    }

    /// Dropped keys are farther than all kept ones.
    fn nearest_open(&self) -> Option<PoolKey> {
        let Reverse(nearest) = self.open.peek()?;
        self.kept.peek().filter(|farthest| nearest <= farthest).and(Some(*nearest))
    }

    /// The nearest node that is not expanded yet; it counts as expanded from now on.
    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        if self.wide {
            let nearest = self.nearest_open()?;
            self.open.pop();
            return Some(nearest.node());
        }
        let key = self.keys.get_mut(self.next)?;
        key.0 |= EXPANDED;
        let node = key.node();
        let rest = self.keys.get(self.next..).unwrap_or_default();
        self.next += rest.iter().position(|key| key.0 & EXPANDED == 0).unwrap_or(rest.len());
        Some(node)
    }

    /// Adds a node not met before, if it is near enough; returns whether it is. `accepts` returns whether a node may
    /// be an answer.
    #[inline]
    pub fn push(&mut self, key: PoolKey, accepts: impl Fn(u32) -> bool) -> bool {
        if key >= self.bound() {
            return false;
        }
        self.accepted += usize::from(accepts(key.node()));
        if self.wide {
            self.push_wide(key, accepts);
            return true;
        }
        let at = self.keys.partition_point(|kept| *kept < key);
        self.keys.insert(at, key);
        self.next = self.next.min(at);
        while self.keys.len() > self.ef && self.lets_go(self.keys.last().copied(), &accepts) {
            self.keys.pop();
        }
        self.next = self.next.min(self.keys.len());
        true
    }

    fn push_wide(&mut self, key: PoolKey, accepts: impl Fn(u32) -> bool) {
        self.kept.push(key);
        self.open.push(Reverse(key));
        while self.kept.len() > self.ef && self.lets_go(self.kept.peek().copied(), &accepts) {
            self.kept.pop();
        }
    }

    /// Whether the farthest node can be dropped. If so, it no longer counts as accepted.
    #[inline]
    fn lets_go(&mut self, last: Option<PoolKey>, accepts: impl Fn(u32) -> bool) -> bool {
        let accepted = last.is_some_and(|last| accepts(last.node()));
        if self.accepted < self.enough + usize::from(accepted) {
            return false;
        }
        self.accepted -= usize::from(accepted);
        true
    }

    /// The accepted nodes kept, nearest first.
    pub fn found(&self, accepts: impl Fn(u32) -> bool) -> impl Iterator<Item = Neighbour> {
        let wide = self.kept.clone().into_sorted_vec();
        let found = self.keys.iter().copied().chain(wide).filter(move |key| accepts(key.node()));
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
            let (x, y) = (PoolKey::new(a, node), PoolKey::new(b, node));
            prop_assert_eq!((x.distance().to_bits(), x.node()), (a.to_bits(), node));
            prop_assert_eq!(x.cmp(&y), a.total_cmp(&b));
        }

        #[test]
        fn a_pool_keeps_enough_of_the_nearest_and_expands_nearest_first(
            steps in prop::collection::vec((0u8..50, any::<bool>()), 0..200), ef in 1usize..20, enough in 0usize..20,
            rare in 1u32..5, wide: bool,
        ) {
            let accepts = |node: u32| node.is_multiple_of(rare);
            let (mut pool, mut all, mut open) = (Pool::default(), Vec::new(), Vec::new());
            pool.begin_as(ef, enough, wide);
            for ((distance, pop), node) in steps.into_iter().zip(0u32..) {
                let key = PoolKey::new(f32::from(distance), node);
                pool.push(key, accepts);
                all.push(key);
                all.sort();
                open.push(key);
                let last_wanted = all.iter().filter(|key| accepts(key.node())).nth(enough.saturating_sub(1));
                let last_wanted = if enough == 0 { all.first() } else { last_wanted };
                let bound = last_wanted.zip(all.get(ef - 1)).map(|(a, b)| *a.max(b)).unwrap_or(PoolKey(u64::MAX));
                open.retain(|key| *key <= bound);
                if pop {
                    let nearest = open.iter().min().copied();
                    open.retain(|key| Some(*key) != nearest);
                    prop_assert_eq!(pool.pop(), nearest.map(PoolKey::node));
                }
                prop_assert_eq!(pool.peek(), open.iter().min().map(|key| key.node()));
                let kept: Vec<u64> = all.iter().filter(|key| **key <= bound && accepts(key.node()))
                    .map(|key| u64::from(key.node())).collect();
                prop_assert_eq!(pool.found(accepts).map(|n| n.key).collect::<Vec<_>>(), kept);
            }
        }
    }
    /// Prints the cost of a key in both kinds of pool, with ten keys added for each one expanded, as on a walk.
    #[test]
    #[ignore = "measures, asserts nothing about time"]
    fn the_cost_behind_wide() {
        for ef in [100, 500, 1000, 2000, 4000, 10_000, 20_000] {
            let [narrow, wide] = [false, true].map(|wide| {
                let mut pool = Pool::default();
                pool.begin_as(ef, 0, wide);
                let started = std::time::Instant::now();
                let mut pushed = 0u32;
                while pushed < 10 || pool.peek().is_some() {
                    // A fixed scramble. The farther a walk has come, the nearer are the keys that it meets.
                    let node = pushed;
                    let scrambled = node.wrapping_mul(0x9e37_79b9) >> 8;
                    pool.push(PoolKey::new(scrambled as f32 / (1.0 + node as f32 / ef as f32), node), |_| true);
                    pushed += 1;
                    if pushed.is_multiple_of(10) {
                        pool.pop();
                    }
                }
                started.elapsed().as_nanos() as f64 / f64::from(pushed)
            });
            println!("ef {ef}: {narrow:.0} ns sorted, {wide:.0} ns in heaps");
        }
    }
}
