//! Vectors as int8 codes, and estimates of distances from products of codes. With μ the mean, R a rotation, b' = R(b
//! − μ), s the scale and c the code (b̂' = s·c), q likewise with a scale t of its own: l2 ≈ |q̂' − b̂'|² and a·b =
//! a·μ + μ·(b − μ) + ½(|a'|² + |b'|² − |a' − b'|²) with the last term taken from codes. So every metric is
//! `constant(q) + bias(b) − factor(q) · Σ cᵢ·dᵢ`. The loss of a code counts only in proportion to the distance: near
//! neighbours are told apart best. Under ip a query may be much shorter than the vectors near to it, so a'·b' is
//! taken from the codes as it is: the loss then grows with the query's length. One scale serves all dimensions
//! because the rotation makes them alike.

use super::centring::{Centring, Rotated, largest};
use super::kernel::{CodeRows, kernels};
use super::metric::{PreparedQuery, wide_sum};
use crate::record::Metric;

/// Codes lie in −127..=127.
const CODE_MAX: f64 = 127.0;
/// Share of components that the code range covers; the rest is clamped. This share loses least for components that
/// are nearly normally distributed, as rotated ones are.
const COVERED: f64 = 0.9999;
/// If the largest is at most this many times the range, nothing is clamped.
const LITTLE_LARGER: f64 = 1.1;
/// The most components sampled to find that range.
const SAMPLED_COMPONENTS: usize = 1 << 20;
/// A code that loses more than this share of its vector's square has been clamped hard.
const CLAMPED_SHARE: f64 = 0.01;

/// The mean, rotation and scale that turn vectors of one graph into codes. Under cosine the vectors are normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantiser {
    metric: Metric,
    centring: Centring,
    scale: f32,
}

/// The codes and biases of a graph's nodes.
#[derive(Debug, Clone, Copy)]
pub struct Coded<'a> {
    /// One row per node.
    pub codes: CodeRows<'a>,
    /// One per node.
    pub biases: &'a [f32],
}

/// A query in codes.
#[derive(Debug, Clone, PartialEq)]
pub struct CodedQuery {
    codes: Vec<i8>,
    factor: f32,
    constant: f32,
}

/// A query in codes twice: in whole steps, and the remainders in steps 254 times as fine. Its own loss is negligible,
/// so the error of an estimate comes only from the other vector's code.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug, Clone, PartialEq)]
pub struct FineQuery {
    whole: Vec<i8>,
    rest: Vec<i8>,
    /// The factor for products of the remainders.
    factor: f64,
    constant: f64,
}

/// How many fine steps make a whole one. A code holds as many as half a whole step.
#[cfg(any(test, feature = "testing"))]
const FINE_STEPS: f64 = 2.0 * CODE_MAX;

#[cfg(any(test, feature = "testing"))]
impl FineQuery {
    /// The estimated distance to the vector with this code and bias, closer than [`CodedQuery::estimate`].
    pub fn estimate(&self, code: &[i8], bias: f32) -> f32 {
        let product = |codes: &[i8]| f64::from(kernels().dot_i8(codes, code));
        bounded(
            self.constant + f64::from(bias) - self.factor * (FINE_STEPS * product(&self.whole) + product(&self.rest)),
        )
    }
}

impl CodedQuery {
    /// The estimated distance to the vector with this code and bias.
    #[inline]
    pub fn estimate(&self, code: &[i8], bias: f32) -> f32 {
        self.constant + bias - self.factor * kernels().dot_i8(&self.codes, code) as f32
    }

    /// Writes [`CodedQuery::estimate`] for each of `nodes` to `distances`, in their order; `products` is reusable
    /// memory.
    #[inline]
    pub fn estimates(&self, coded: Coded<'_>, nodes: &[u32], products: &mut Vec<i32>, distances: &mut Vec<f32>) {
        kernels().dot_i8_rows(&self.codes, coded.codes, nodes, products);
        distances.clear();
        distances.resize(nodes.len(), 0.0);
        for ((distance, node), product) in distances.iter_mut().zip(nodes).zip(&*products) {
            let bias = coded.biases.get(*node as usize).copied().unwrap_or(0.0);
            *distance = self.constant + bias - self.factor * *product as f32;
        }
    }
}

impl Quantiser {
    /// The quantiser of a stored graph. Without the seed of a rotation, vectors are not rotated.
    pub fn new(metric: Metric, mean: Vec<f32>, scale: f32, rotation: Option<u64>) -> Quantiser {
        Quantiser { metric, centring: Centring::new(mean, rotation), scale }
    }

    /// Fits mean and scale to `rows`, each `dim` floats (normalised under cosine), rotated by `seed`.
    pub fn fit(metric: Metric, dim: usize, rows: &[&[f32]], seed: u64) -> Quantiser {
        let fitted = Quantiser { metric, centring: Centring::fit(dim, rows, seed), scale: 1.0 };
        let stride = (rows.len() * dim).div_ceil(SAMPLED_COMPONENTS).max(1);
        let mut sizes: Vec<f64> = Vec::with_capacity(rows.len().div_ceil(stride) * dim);
        for row in rows.iter().step_by(stride) {
            let Rotated { values, unit } = fitted.centring.apply(row);
            sizes.extend(values.iter().map(|x| f64::from(x.abs()) * unit));
        }
        let rank = ((sizes.len() as f64 * COVERED) as usize).min(sizes.len().saturating_sub(1));
        let reach = if sizes.is_empty() { 0.0 } else { reach_over(&mut sizes, rank) };
        let scale = (reach / CODE_MAX) as f32;
        // The rows are all equal: any scale will do.
        Quantiser { scale: if scale.is_normal() { scale } else { 1.0 }, ..fitted }
    }

    /// How distance is measured.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The mean that is subtracted from each vector, one float per dimension.
    pub fn mean(&self) -> &[f32] {
        self.centring.mean()
    }

    /// The seed of the rotation, if there is one.
    pub fn rotation(&self) -> Option<u64> {
        self.centring.seed()
    }

    /// The size of one step of a code.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Appends the code of `v` to `codes` and returns its bias, always finite.
    pub fn encode(&self, v: &[f32], codes: &mut Vec<i8>) -> f32 {
        let (Rotated { values, unit }, scale) = (self.centring.apply(v), f64::from(self.scale));
        let first = codes.len();
        codes.extend(whole_steps(&values, (unit / scale).min(f64::from(f32::MAX)) as f32));
        let code = &codes[first..];
        let coded = f64::from(kernels().dot_i8(code, code)) * scale * scale;
        let on_mean = || wide_sum(v, self.mean(), |x, m| (x - m) * m);
        bounded(match self.metric {
            Metric::L2 => coded,
            Metric::Ip => -on_mean(),
            Metric::Cosine => {
                let left = |(x, c): (&f32, &i8)| (f64::from(*x) * unit - f64::from(*c) * scale).powi(2);
                let lost: f64 = values.iter().zip(code).map(left).sum();
                let square = self.centring.square(v);
                // |b'|² of a vector far outside the code range would drown the product.
                let told = if lost > CLAMPED_SHARE * square { 0.0 } else { 0.5 * (square - coded) };
                -on_mean() - told
            }
        })
    }

    /// Turns a query of this dimension into codes with a scale of its own, so that nothing is clamped.
    pub fn encode_query(&self, query: &PreparedQuery) -> CodedQuery {
        let v = query.vector();
        let Rotated { values, unit } = self.centring.apply(v);
        let reach = reach_of(&values);
        let codes: Vec<i8> = whole_steps(&values, CODE_MAX as f32 / reach).collect();
        let scale = f64::from(reach) * unit / CODE_MAX;
        let coded = f64::from(kernels().dot_i8(&codes, &codes)) * scale * scale;
        let product = scale * f64::from(self.scale);
        let (constant, factor) = match self.metric {
            Metric::L2 => (coded, 2.0 * product),
            Metric::Ip => (1.0 - wide_sum(v, self.mean(), |x, m| x * m), product),
            Metric::Cosine => {
                let on_mean = wide_sum(v, self.mean(), |x, m| x * m);
                (1.0 - on_mean - 0.5 * (self.centring.square(v) - coded), product)
            }
        };
        CodedQuery { codes, factor: bounded(factor), constant: bounded(constant) }
    }

    /// Turns a query of this dimension into codes with a negligible loss.
    #[cfg(any(test, feature = "testing"))]
    pub fn encode_fine(&self, query: &PreparedQuery) -> FineQuery {
        let v = query.vector();
        let Rotated { values, unit } = self.centring.apply(v);
        let reach = reach_of(&values);
        let factor = CODE_MAX as f32 / reach;
        let whole: Vec<i8> = whole_steps(&values, factor).collect();
        let left: Vec<f32> = values.iter().zip(&whole).map(|(x, code)| x * factor - f32::from(*code)).collect();
        let rest = whole_steps(&left, FINE_STEPS as f32).collect();
        let product = f64::from(reach) * unit / CODE_MAX * f64::from(self.scale) / FINE_STEPS;
        let (constant, factor) = match self.metric {
            Metric::L2 => (self.centring.square(v), 2.0 * product),
            Metric::Cosine | Metric::Ip => (1.0 - wide_sum(v, self.mean(), |x, m| x * m), product),
        };
        FineQuery { whole, rest, factor, constant }
    }
}

/// The size of this rank, or the largest size if that is only a little larger. Clamping the largest would make its
/// vector seem farther away than it is. That matters where the largest inner product is sought.
fn reach_over(sizes: &mut [f64], rank: usize) -> f64 {
    let (_, covered, beyond) = sizes.select_nth_unstable_by(rank, f64::total_cmp);
    let largest = beyond.iter().copied().fold(*covered, f64::max);
    if largest <= LITTLE_LARGER * *covered { largest } else { *covered }
}

/// 1.5 · 2²³: the sum with a small number has the nearest integer in its low bits.
const ROUNDER: f32 = 12_582_912.0;

/// Values in steps of a code, `factor` steps to 1: rounded, and clamped to the code range.
pub fn whole_steps(values: &[f32], factor: f32) -> impl Iterator<Item = i8> {
    let most = CODE_MAX as f32;
    values.iter().map(move |x| ((x * factor).clamp(-most, most) + ROUNDER).to_bits() as i8)
}

/// The largest size, which a query's highest code stands for; 1 if all are 0.
pub fn reach_of(values: &[f32]) -> f32 {
    let reach = largest(values);
    if reach > 0.0 { reach } else { 1.0 }
}

/// At most half of f32's range: a sum of two cannot overflow, so no estimate is NaN.
pub fn bounded(x: f64) -> f32 {
    x.clamp(f64::from(f32::MIN) / 4.0, f64::from(f32::MAX) / 4.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::metric::{distance, normalised};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Points around one far-off centre: the hard case for codes that are not centred.
    fn cluster(n: usize, dim: usize) -> Vec<Vec<f32>> {
        let mut rng = StdRng::seed_from_u64(5);
        (0..n).map(|_| (0..dim).map(|d| 3.0 + d as f32 * 0.01 + rng.random_range(-0.5..0.5)).collect()).collect()
    }

    #[test]
    fn estimates_are_close_to_distances_in_every_metric() {
        let (dim, points) = (96, cluster(200, 96));
        for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
            let prepared: Vec<Vec<f32>> = match metric {
                Metric::Cosine => points.iter().map(|p| normalised(p)).collect(),
                _ => points.clone(),
            };
            let rows: Vec<&[f32]> = prepared.iter().map(Vec::as_slice).collect();
            let quantiser = Quantiser::fit(metric, dim, &rows, 7);
            let query = PreparedQuery::new(metric, &points[0]);
            let coded = quantiser.encode_query(&query);
            let truth: Vec<f32> = points.iter().map(|p| distance(metric, &points[0], p)).collect();
            let spread = truth.iter().fold(0f32, |most, d| most.max((d - truth[0]).abs()));
            let mut off = 0.0;
            for (row, true_distance) in rows.iter().zip(&truth) {
                let mut code = Vec::new();
                let bias = quantiser.encode(row, &mut code);
                let estimate = coded.estimate(&code, bias);
                let error = (estimate - true_distance).abs();
                // One component in ten thousand may have been clamped.
                assert!(error <= 0.05 * spread, "{metric}: {estimate} for {true_distance}, spread {spread}");
                off += error / truth.len() as f32;
            }
            assert!(off <= 0.005 * spread, "{metric}: off by {off} in the mean, spread {spread}");
        }
    }

    #[test]
    fn a_fine_query_is_off_by_less_than_one_in_codes() {
        let (dim, points) = (96, cluster(200, 96));
        for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
            let prepared: Vec<Vec<f32>> = points.iter().map(|p| normalised(p)).collect();
            let rows: Vec<&[f32]> = prepared.iter().map(Vec::as_slice).collect();
            let quantiser = Quantiser::fit(metric, dim, &rows, 7);
            // The query is not a stored vector: codes would place it as inexactly as they place those.
            let vector: Vec<f32> = prepared[0].iter().zip(&prepared[1]).map(|(x, y)| x + 0.3 * y).collect();
            let query = PreparedQuery::new(metric, &vector);
            let (coded, fine) = (quantiser.encode_query(&query), quantiser.encode_fine(&query));
            let (mut off, mut fine_off) = (0.0, 0.0);
            for row in &rows {
                let mut code = Vec::new();
                let bias = quantiser.encode(row, &mut code);
                let truth = query.distance_to(row);
                off += (coded.estimate(&code, bias) - truth).abs();
                fine_off += (fine.estimate(&code, bias) - truth).abs();
            }
            assert!(fine_off < 0.9 * off, "{metric}: off by {fine_off}, in codes by {off}");
        }
    }

    #[test]
    fn equal_vectors_and_extreme_values_give_finite_codes() {
        for value in [0.0, 1e-42, 7.0, f32::MAX, f32::MIN] {
            for metric in [Metric::L2, Metric::Ip] {
                let row = [value; 3];
                let quantiser = Quantiser::fit(metric, 3, &[&row, &row], 7);
                let mut code = Vec::new();
                let bias = quantiser.encode(&row, &mut code);
                assert_eq!(code, vec![0, 0, 0], "{metric} of {value}");
                assert!(bias.is_finite() && quantiser.scale() > 0.0, "{metric} of {value}: {bias}");
            }
        }
    }
}
