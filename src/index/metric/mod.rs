//! What a metric is: its distance, whether it normalises, the least that a distance can be, and the points that
//! graphs are built on. Estimates from codes are in `quantiser.rs`, the default `ef` in `plan.rs`.
//! Invariant: whatever depends on the metric is a `match` without a wildcard, so that a new one does not compile
//! until everything is said of it.

mod bound;
mod distance;
mod space;

pub use bound::{Known, length, lower_bound};
pub use distance::{PreparedQuery, inverse_norms, wide_sum};
#[cfg(test)]
pub use distance::{distance, normalised};
pub use space::{PointSpace, compared, mips_transform};

use crate::record::Metric;

impl Metric {
    /// Whether it compares directions only: then queries are normalised, and the norms of vectors are kept.
    pub(crate) fn normalises(self) -> bool {
        match self {
            Metric::Cosine => true,
            Metric::L2 | Metric::Ip => false,
        }
    }

    /// Whether a build makes a copy of the embeddings that is comparable by Euclidean distance.
    pub(crate) fn builds_on_copies(self) -> bool {
        match self {
            Metric::Cosine | Metric::Ip => true,
            Metric::L2 => false,
        }
    }
}
