//! The three metrics, exactly: `l2` Σ(aᵢ − bᵢ)², `cosine` 1 − cos(a, b) with 1 for a zero
//! vector, `ip` 1 − a·b; smaller is nearer.
//! Invariant: for finite inputs every distance is finite, even if f32 sums overflow or underflow; a cosine distance
//! is never below 0.

use super::super::kernel::kernels;
use crate::record::Metric;

/// The distance between two vectors of equal length.
#[cfg(test)]
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let raw = match metric {
        Metric::L2 => kernels().l2_f32(a, b),
        Metric::Ip => 1.0 - kernels().dot_f32(a, b),
        Metric::Cosine => return PreparedQuery::new(metric, a).distance_to(b),
    };
    if raw.is_finite() { raw } else { wide_distance(metric, a, b) }
}

/// 1 / |v|; 0 for a zero vector, and for one so short (below 3e-39) that 1 / |v| is no f32.
pub fn inverse_norm(v: &[f32]) -> f32 {
    let square = kernels().dot_f32(v, v);
    // Outside this range the square has overflowed, or lost bits to underflow.
    if (1e-25..1e37).contains(&square) {
        return 1.0 / square.sqrt();
    }
    let inverse = wide_dot(v, v).sqrt().recip() as f32;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// [`inverse_norm`] of each row of `vectors` (n × `dim`, row-major).
pub fn inverse_norms(vectors: &[f32], dim: usize) -> Vec<f32> {
    vectors.chunks_exact(dim.max(1)).map(inverse_norm).collect()
}

/// `v` / |v|; all zeros where [`inverse_norm`] is 0.
pub fn normalised(v: &[f32]) -> Vec<f32> {
    let norm = wide_dot(v, v).sqrt();
    if inverse_norm(v) == 0.0 {
        return vec![0.0; v.len()];
    }
    v.iter().map(|x| (f64::from(*x) / norm) as f32).collect()
}

/// A query prepared for many distances: under cosine it is normalised once.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedQuery {
    metric: Metric,
    vector: Vec<f32>,
}

impl PreparedQuery {
    /// Prepares `vector` (all finite).
    pub fn new(metric: Metric, vector: &[f32]) -> PreparedQuery {
        let vector = match metric {
            Metric::Cosine => normalised(vector),
            Metric::L2 | Metric::Ip => vector.to_vec(),
        };
        PreparedQuery { metric, vector }
    }

    /// How distance is measured.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The query; under cosine of length 1 (or zero).
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    /// Floats in the query.
    pub fn dim(&self) -> usize {
        self.vector.len()
    }

    /// The distance to a raw vector of the same length.
    #[inline]
    pub fn distance_to(&self, v: &[f32]) -> f32 {
        match self.metric {
            Metric::Cosine => self.distance_with_norm(v, inverse_norm(v)),
            Metric::L2 | Metric::Ip => self.distance_with_norm(v, 1.0),
        }
    }

    /// The distance to `v`, given `inverse_norm(v)`, which only cosine uses.
    #[inline]
    pub fn distance_with_norm(&self, v: &[f32], inverse_norm: f32) -> f32 {
        let raw = match self.metric {
            Metric::L2 => kernels().l2_f32(&self.vector, v),
            Metric::Ip => 1.0 - kernels().dot_f32(&self.vector, v),
            Metric::Cosine => (1.0 - kernels().dot_f32(&self.vector, v) * inverse_norm).max(0.0),
        };
        // `max` turns NaN (∞ · 0) into 0, so an overflowed dot shows in the operands: a norm beyond f32's
        // squares has an inverse below 1e-18.
        let shows = match self.metric {
            Metric::L2 | Metric::Ip => true,
            Metric::Cosine => inverse_norm > 1e-18 || inverse_norm == 0.0,
        };
        if raw.is_finite() && shows { raw } else { wide_distance(self.metric, &self.vector, v) }
    }
}

/// The metric in f64, clamped to f32's finite range: for values whose sums f32 cannot hold.
#[cold]
fn wide_distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let wide = match metric {
        Metric::L2 => a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum(),
        Metric::Ip => 1.0 - wide_dot(a, b),
        Metric::Cosine => {
            let norms = (wide_dot(a, a) * wide_dot(b, b)).sqrt();
            if norms == 0.0 { 1.0 } else { (1.0 - wide_dot(a, b) / norms).max(0.0) }
        }
    };
    wide.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

fn wide_dot(a: &[f32], b: &[f32]) -> f64 {
    wide_sum(a, b, |x, y| x * y)
}

/// Σ term(aᵢ, bᵢ) in f64, as four partial sums: with one, each addition would wait for the one before.
pub fn wide_sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let ((a4, a_rest), (b4, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [0f64; 4];
    for (x, y) in a4.iter().zip(b4) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += term(f64::from(*x), f64::from(*y));
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(x, y)| term(f64::from(*x), f64::from(*y))).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const METRICS: [Metric; 3] = [Metric::Cosine, Metric::L2, Metric::Ip];

    /// The definition, word for word, in f64.
    fn defined(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        match metric {
            Metric::L2 => a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum(),
            Metric::Ip => 1.0 - dot(a, b),
            Metric::Cosine => {
                let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
                if norms == 0.0 { 1.0 } else { 1.0 - dot(a, b) / norms }
            }
        }
    }

    proptest! {
        #[test]
        fn distances_follow_the_definition(pairs in prop::collection::vec((-10f32..10.0, -10f32..10.0), 1..150)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            for metric in METRICS {
                let want = defined(metric, &a, &b);
                let query = PreparedQuery::new(metric, &a);
                for got in [
                    distance(metric, &a, &b),
                    query.distance_to(&b),
                    query.distance_with_norm(&b, inverse_norm(&b)),
                ] {
                    let tolerance = 1e-6 * (100.0 * a.len() as f64).max(1.0);
                    prop_assert!((f64::from(got) - want).abs() <= tolerance, "{metric}: {got} for {want}");
                }
            }
        }

        #[test]
        fn any_finite_input_has_a_finite_distance(
            pairs in prop::collection::vec((any::<i32>(), any::<i32>()), 1..40),
        ) {
            let finite = |bits: i32| Some(f32::from_bits(bits as u32)).filter(|f| f.is_finite()).unwrap_or(0.0);
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().map(|(a, b)| (finite(a), finite(b))).unzip();
            for metric in METRICS {
                let got = distance(metric, &a, &b);
                prop_assert!(got.is_finite(), "{metric} of {a:?} and {b:?} is {got}");
            }
        }
    }

    #[test]
    fn a_zero_vector_is_at_cosine_distance_one_from_everything() {
        let (zero, v) = ([0.0; 5], [1.0, -2.0, 3.0, 0.5, 0.25]);
        assert_eq!(distance(Metric::Cosine, &zero, &v), 1.0);
        assert_eq!(distance(Metric::Cosine, &v, &zero), 1.0);
        assert_eq!(distance(Metric::Cosine, &zero, &zero), 1.0);
    }

    #[test]
    fn cosine_holds_where_squares_leave_f32() {
        for scale in [1e-36f32, 1e-20, 1e-12, 1.0, 1e12, 1e20, 1e38] {
            let (a, b) = ([1.0 * scale, 0.0], [1.0 * scale, 1.0 * scale]);
            let got = distance(Metric::Cosine, &a, &b);
            assert!((got - (1.0 - 0.5f32.sqrt())).abs() < 1e-6, "scale {scale}: {got}");
            assert_eq!(distance(Metric::Cosine, &a, &a), 0.0, "scale {scale}");
        }
    }

    #[test]
    fn known_distances_are_exact() {
        let (a, b) = ([1.0, 2.0, 2.0], [3.0, 0.0, 2.0]);
        assert_eq!(distance(Metric::L2, &a, &b), 8.0);
        assert_eq!(distance(Metric::Ip, &a, &b), -6.0);
        assert_eq!(distance(Metric::Cosine, &[2.0, 0.0], &[0.0, 7.0]), 1.0);
    }

    #[test]
    fn inverse_norms_are_taken_row_by_row() {
        assert_eq!(inverse_norms(&[3.0, 4.0, 0.0, 0.0, 0.0, 2.0], 2), vec![0.2, 0.0, 0.5]);
    }
}
