//! A lower bound of a distance, from the lengths and a bound of the product, without comparing the vectors. Scans
//! leave out rows by it, so it must never exceed the distance that the exact comparison gives.

use super::super::kernel::kernels;
use crate::record::Metric;

/// Squares between these neither overflow nor lose bits.
const WORKABLE: std::ops::Range<f32> = 1e-25..1e37;

/// |v|, or infinity if f32 does not hold its square well.
pub fn length(v: &[f32]) -> f32 {
    let square = kernels().dot_f32(v, v);
    if WORKABLE.contains(&square) { square.sqrt() } else { f32::INFINITY }
}

/// What is known of a query and a vector.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The most that their product can be, apart from rounding.
    pub product: f32,
    /// The error of sums of products, as a share of the product of the lengths.
    pub rounding: f32,
    /// [`length`] of the query.
    pub query: f32,
    /// [`length`] of the vector.
    pub length: f32,
    /// The vector's inverse norm, if it is stored.
    pub inverse_norm: Option<f32>,
}

/// The lower bound of the distance; −∞ if the lengths allow none.
pub fn lower_bound(metric: Metric, known: Known) -> f32 {
    let Known { product, rounding, query, length, inverse_norm } = known;
    if !query.is_finite() || !length.is_finite() {
        return f32::NEG_INFINITY;
    }
    match metric {
        Metric::Ip => 1.0 - product - rounding * (query * length + 1.0),
        Metric::L2 => query * query + length * length - 2.0 * product - rounding * (query + length) * (query + length),
        Metric::Cosine => {
            let inverse = inverse_norm.unwrap_or(1.0 / length);
            1.0 - product * inverse - rounding * (query * length * inverse + 1.0)
        }
    }
}
