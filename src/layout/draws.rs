//! Random numbers that depend on what they are for, never on who asks first: each epoch of each node has a stream of
//! its own, so threads need to agree on nothing.

/// A stream of random numbers: a linear congruential generator of 64 bits, of which the high half is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws(u64);

impl Draws {
    /// The stream of `(seed, a, b)`.
    #[inline]
    pub fn new(seed: u64, a: u64, b: u64) -> Draws {
        Draws(mixed(mixed(seed ^ a.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ b.wrapping_mul(0xd1b5_4a32_d192_ed03)))
    }

    /// A number below `bound`, or 0. The bias is bound / 2³².
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(bound)) >> 32) as u32
    }

    /// A number in [-1, 1).
    pub fn signed_unit(&mut self) -> f32 {
        // 24 bits, as many as an f32 has.
        (self.next() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    #[inline]
    fn next(&mut self) -> u32 {
        // The multiplier and increment of Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }
}

/// The mixing function of SplitMix64 (Steele, Lea and Flood 2014).
fn mixed(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_even_over_streams_and_within_one() {
        let mut counts = [0u32; 10];
        let mut sum = 0.0;
        for node in 0..1000 {
            let mut draws = Draws::new(7, 3, node);
            for _ in 0..100 {
                counts[draws.below(10) as usize] += 1;
                sum += f64::from(draws.signed_unit());
            }
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert!((sum / 1e5).abs() < 0.01, "{sum}");
    }

    #[test]
    fn a_stream_is_the_same_each_time_and_unlike_its_neighbours() {
        let first = |seed, a, b| Draws::new(seed, a, b).below(u32::MAX);
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
        let others = [first(1, 2, 3), first(1, 3, 2), first(2, 2, 3), first(1, 2, 4), first(0, 0, 0)];
        let distinct: std::collections::HashSet<u32> = others.into_iter().collect();
        assert_eq!(distinct.len(), others.len());
    }

    #[test]
    fn nothing_is_drawn_from_an_empty_range() {
        assert_eq!(Draws::new(1, 1, 1).below(0), 0);
    }
}
