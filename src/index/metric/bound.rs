//! The least that a distance can be, by what is known without comparing: the lengths, and about the product.
//! Scans leave out rows by it, so it must never be above the distance that the exact comparison gives.

use super::super::kernel::kernels;
use crate::record::Metric;

/// Squares between these neither overflow nor lose bits.
const WORKABLE: std::ops::Range<f32> = 1e-25..1e37;

/// |v|, or infinity where its square is none that f32 holds well.
pub fn length(v: &[f32]) -> f32 {
    let square = kernels().dot_f32(v, v);
    if WORKABLE.contains(&square) { square.sqrt() } else { f32::INFINITY }
}

/// What is known of a query and a vector.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The most that their product can be, but for rounding.
    pub product: f32,
    /// By what share of the product of their lengths sums of products may be off.
    pub rounding: f32,
    /// [`length`] of the query.
    pub query: f32,
    /// [`length`] of the vector.
    pub length: f32,
    /// The vector's inverse norm, where it is kept.
    pub inverse_norm: Option<f32>,
}

/// The least that the distance can be; −∞ where the lengths say nothing.
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
