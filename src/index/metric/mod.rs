//! Metrics: the distance of each, whether it normalises, its lower bound, and the points that graphs are built on.
//! Estimates from codes are in `quantiser.rs`, the default `ef` in `plan.rs`.
//! Invariant: everything that depends on the metric is a `match` without a wildcard, so a new metric compiles only
//! once all of these are defined.

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
    /// Whether the metric compares directions only. Then queries are normalised, and the norms of vectors are kept.
    pub(crate) fn normalises(self) -> bool {
        match self {
            Metric::Cosine => true,
            Metric::L2 | Metric::Ip => false,
        }
    }

    /// Whether a query is a point among those that nodes are linked as. If not, a walk cannot rely on links that lead
    /// from point to point: it starts from many.
    pub(crate) fn queries_are_points(self) -> bool {
        match self {
            Metric::Cosine | Metric::L2 => true,
            Metric::Ip => false,
        }
    }

    /// Whether a build copies the embeddings into a form that Euclidean distance can compare.
    pub(crate) fn builds_on_copies(self) -> bool {
        match self {
            Metric::Cosine | Metric::Ip => true,
            Metric::L2 => false,
        }
    }
}
