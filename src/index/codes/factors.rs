//! What is kept of a vector beside its code: 12 bytes.
//! Invariant: all factors are finite, and what bounds are made of is rounded up.

/// The upper half of an f32, rounded up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpperHalf(u16);

impl UpperHalf {
    /// The least that is not below `x`, which is not negative.
    pub fn of(x: f32) -> UpperHalf {
        let bits = x.to_bits();
        UpperHalf((bits >> 16) as u16 + u16::from(bits << 16 != 0))
    }

    /// The value.
    #[inline]
    pub fn get(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// A vector's factors; see the room for the symbols.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct Factors {
    /// Δ.
    pub scale: f32,
    /// What the vector adds to each distance.
    pub bias: f32,
    /// |o|.
    pub length: UpperHalf,
    /// Δ |z⊥|.
    pub lost: UpperHalf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_up_by_less_than_a_hundredth() {
        for x in [0.0, 1e-30, 0.1, 1.0, 1.0001, 3.7, 8e37, f32::MAX / 4.0] {
            let half = UpperHalf::of(x).get();
            assert!((x..=1.008 * x).contains(&half), "{half} for {x}");
        }
        assert_eq!(size_of::<Factors>(), 12);
    }
}
