//! The order of scores: IEEE 754's total order from −∞ over −0.0 and +0.0 to +∞, with every NaN behind.
//! Invariant: the order is total, so equal means interchangeable.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A float in that order; all NaNs are equal, −0.0 and +0.0 are not.
#[derive(Debug, Clone, Copy)]
pub struct Total(pub f64);

impl Ord for Total {
    fn cmp(&self, other: &Total) -> Ordering {
        // The sign bit of a NaN depends on the processor: it must not decide a place.
        self.0.is_nan().cmp(&other.0.is_nan()).then_with(|| match self.0.is_nan() {
            true => Ordering::Equal,
            false => self.0.total_cmp(&other.0),
        })
    }
}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Total) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Total {
    fn eq(&self, other: &Total) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Total {}

impl Hash for Total {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let canonical = if self.0.is_nan() { f64::NAN } else { self.0 };
        canonical.to_bits().hash(state);
    }
}

/// The order of ranked rows: smaller scores first, equal ones by key.
pub fn by_score<K: Ord>(a: &(K, f32), b: &(K, f32)) -> Ordering {
    Total(f64::from(a.1)).cmp(&Total(f64::from(b.1))).then_with(|| a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nan_is_last_and_the_zeros_differ() {
        let nans = [f32::NAN, -f32::NAN, f32::from_bits(0xffc0_0000), 0.0 / (0.0_f32).min(0.0)];
        let mut rows = vec![(9, f32::INFINITY), (8, 0.0), (7, -0.0), (6, f32::NEG_INFINITY), (5, 1.0), (4, -1.0)];
        rows.splice(2..2, nans.into_iter().enumerate());
        rows.sort_by(by_score);
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [6, 4, 7, 8, 5, 9, 0, 1, 2, 3]);
        assert_eq!(Total(f64::NAN), Total(-f64::NAN));
        assert_ne!(Total(0.0), Total(-0.0));
    }
}
