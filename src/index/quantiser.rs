//! Vectors as int8 codes, and what a product of codes says about the distance of the vectors.
//! With μ the mean, b' = b − μ, s the scale and c the code (b̂' = s·c), q likewise with a scale t of its own:
//! l2 ≈ |q̂' − b̂'|² and a·b = a·μ + μ·b' + ½(|a'|² + |b'|² − |a' − b'|²) with the last term taken from
//! codes. So every metric is `constant(q) + bias(b) − factor(q) · Σ cᵢ·dᵢ`, and what a code has lost counts
//! only in proportion to the distance: near neighbours are told apart best.

use super::distance::{PreparedQuery, wide_sum};
use super::kernel::{CodeRows, kernels};
use crate::record::Metric;

/// Codes lie in −127..=127.
const CODE_MAX: f64 = 127.0;
/// Share of components that the code range covers; the rest is clamped.
const COVERED: f64 = 0.999;
/// Components looked at to find that range, at most.
const SAMPLED_COMPONENTS: usize = 1 << 20;
/// Rows looked at to find the mean, at most, and the share of them (one in ...) left out at either end.
const SAMPLED_ROWS: usize = 1024;
const TRIMMED: usize = 64;
/// A code that loses more than this share of its vector's square has been clamped hard.
const CLAMPED_SHARE: f64 = 0.01;

/// The mean and scale that turn vectors of one graph into codes. Under cosine it sees normalised vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantiser {
    metric: Metric,
    mean: Vec<f32>,
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

/// A query in codes twice: whole steps, and what these leave over in steps 254 times as fine. It loses next to
/// nothing, so an estimate is off only by what the other's code has lost.
#[derive(Debug, Clone, PartialEq)]
pub struct FineQuery {
    whole: Vec<i8>,
    rest: Vec<i8>,
    /// Of products of the rest.
    factor: f64,
    constant: f64,
}

/// How many fine steps make a whole one: half a step is as many as a code holds.
const FINE_STEPS: f64 = 2.0 * CODE_MAX;

impl FineQuery {
    /// The distance to the vector that has this code and bias, nearer to the truth than [`CodedQuery::estimate`].
    pub fn estimate(&self, code: &[i8], bias: f32) -> f32 {
        let product = |codes: &[i8]| f64::from(kernels().dot_i8(codes, code));
        bounded(
            self.constant + f64::from(bias) - self.factor * (FINE_STEPS * product(&self.whole) + product(&self.rest)),
        )
    }
}

impl CodedQuery {
    /// Roughly the distance to the vector that has this code and bias.
    #[inline]
    pub fn estimate(&self, code: &[i8], bias: f32) -> f32 {
        self.constant + bias - self.factor * kernels().dot_i8(&self.codes, code) as f32
    }

    /// [`CodedQuery::estimate`] for each of `nodes`, put into `distances` in their order; `products` is
    /// memory to be reused.
    #[inline]
    pub fn estimates(&self, coded: Coded<'_>, nodes: &[u32], products: &mut Vec<i32>, distances: &mut Vec<f32>) {
        kernels().dot_i8_rows(&self.codes, coded.codes, nodes, products);
        let biases = nodes.iter().map(|node| coded.biases.get(*node as usize).copied().unwrap_or(0.0));
        distances.clear();
        distances.extend(products.iter().zip(biases).map(|(p, bias)| self.constant + bias - self.factor * *p as f32));
    }
}

impl Quantiser {
    /// The quantiser of a stored graph.
    pub fn new(metric: Metric, mean: Vec<f32>, scale: f32) -> Quantiser {
        Quantiser { metric, mean, scale }
    }

    /// Fits mean and scale to `rows`, each `dim` floats (normalised under cosine).
    pub fn fit(metric: Metric, dim: usize, rows: &[&[f32]]) -> Quantiser {
        let mean = trimmed_mean(dim, rows);
        let stride = (rows.len() * dim).div_ceil(SAMPLED_COMPONENTS).max(1);
        let mut sizes: Vec<f64> = rows
            .iter()
            .step_by(stride)
            .flat_map(|row| row.iter().zip(&mean).map(|(x, m)| (f64::from(*x) - f64::from(*m)).abs()))
            .collect();
        let rank = ((sizes.len() as f64 * COVERED) as usize).min(sizes.len().saturating_sub(1));
        let reach = match sizes.len() {
            0 => 0.0,
            _ => *sizes.select_nth_unstable_by(rank, f64::total_cmp).1,
        };
        let scale = (reach / CODE_MAX) as f32;
        // Nothing but equal vectors: any scale will do.
        Quantiser { metric, mean, scale: if scale.is_normal() { scale } else { 1.0 } }
    }

    /// How distance is measured.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Subtracted from each vector, one float per dimension.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The size of one step of a code.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Appends the code of `v` to `codes` and returns its bias, always finite.
    pub fn encode(&self, v: &[f32], codes: &mut Vec<i8>) -> f32 {
        let scale = f64::from(self.scale);
        let (mut square, mut coded, mut lost, mut on_mean) = (0f64, 0f64, 0f64, 0f64);
        for (x, m) in v.iter().zip(&self.mean) {
            let centred = f64::from(*x) - f64::from(*m);
            let code = (centred / scale).round().clamp(-CODE_MAX, CODE_MAX);
            codes.push(code as i8);
            square += centred * centred;
            coded += (code * scale).powi(2);
            lost += (centred - code * scale).powi(2);
            on_mean += f64::from(*m) * centred;
        }
        let bias = match self.metric {
            Metric::L2 => coded,
            // |b'|² of a vector far outside the code range would drown the product.
            Metric::Cosine | Metric::Ip if lost > CLAMPED_SHARE * square => -on_mean,
            Metric::Cosine | Metric::Ip => -on_mean - 0.5 * (square - coded),
        };
        bounded(bias)
    }

    /// Turns a query of this dimension into codes on a scale of its own, so that it is never clamped.
    pub fn encode_query(&self, query: &PreparedQuery) -> CodedQuery {
        let (v, mean) = (query.vector(), self.mean.as_slice());
        let scale = self.query_scale(v);
        let codes: Vec<i8> = self.centred(v).map(|centred| (centred / scale + ROUNDER).to_bits() as i8).collect();
        let coded = f64::from(kernels().dot_i8(&codes, &codes)) * scale * scale;
        let product = scale * f64::from(self.scale);
        let (constant, factor) = match self.metric {
            Metric::L2 => (coded, 2.0 * product),
            Metric::Cosine | Metric::Ip => {
                let square = wide_sum(v, mean, |x, m| (x - m) * (x - m));
                let on_mean = wide_sum(v, mean, |x, m| x * m);
                (1.0 - on_mean - 0.5 * (square - coded), product)
            }
        };
        CodedQuery { codes, factor: bounded(factor), constant: bounded(constant) }
    }

    /// Turns a query of this dimension into codes that lose next to nothing.
    pub fn encode_fine(&self, query: &PreparedQuery) -> FineQuery {
        let v = query.vector();
        let scale = self.query_scale(v);
        let whole: Vec<i8> = self.centred(v).map(|centred| (centred / scale).round() as i8).collect();
        let left = self.centred(v).zip(&whole).map(|(centred, code)| centred / scale - f64::from(*code));
        let rest: Vec<i8> = left.map(|left| (left * FINE_STEPS).round() as i8).collect();
        let product = scale * f64::from(self.scale) / FINE_STEPS;
        let (constant, factor) = match self.metric {
            Metric::L2 => (self.centred(v).map(|centred| centred * centred).sum(), 2.0 * product),
            Metric::Cosine | Metric::Ip => (1.0 - wide_sum(v, &self.mean, |x, m| x * m), product),
        };
        FineQuery { whole, rest, factor, constant }
    }

    fn centred(&self, v: &[f32]) -> impl Iterator<Item = f64> {
        v.iter().zip(&self.mean).map(|(x, m)| f64::from(*x) - f64::from(*m))
    }

    /// The step of codes of a query: its largest component is the last code.
    fn query_scale(&self, v: &[f32]) -> f64 {
        let mut reach = [0f64; 4];
        for (at, centred) in self.centred(v).enumerate() {
            let most = &mut reach[at % 4];
            *most = if centred.abs() > *most { centred.abs() } else { *most };
        }
        let reach = reach.into_iter().fold(0.0, f64::max);
        if reach > 0.0 { reach / CODE_MAX } else { 1.0 }
    }
}

/// 1.5 · 2⁵²: added to a small number it leaves the nearest integer in the sum's low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// The mean of each dimension over a sample, without its smallest and largest values: far outliers would
/// move the mean away from all other vectors and leave them one code.
fn trimmed_mean(dim: usize, rows: &[&[f32]]) -> Vec<f32> {
    let stride = rows.len().div_ceil(SAMPLED_ROWS).max(1);
    let sample: Vec<&[f32]> = rows.iter().step_by(stride).copied().collect();
    let trim = sample.len().div_ceil(TRIMMED);
    let mean = |d: usize| {
        let mut values: Vec<f32> = sample.iter().filter_map(|row| row.get(d)).copied().collect();
        values.sort_unstable_by(f32::total_cmp);
        let kept =
            values.get(trim..values.len().saturating_sub(trim)).filter(|kept| !kept.is_empty()).unwrap_or(&values);
        (kept.iter().copied().map(f64::from).sum::<f64>() / kept.len().max(1) as f64) as f32
    };
    (0..dim).map(mean).collect()
}

/// Half of f32's range and less: a sum of two cannot overflow, so no estimate is NaN.
fn bounded(x: f64) -> f32 {
    x.clamp(f64::from(f32::MIN) / 4.0, f64::from(f32::MAX) / 4.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::distance::{distance, normalised};
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
            let quantiser = Quantiser::fit(metric, dim, &rows);
            let query = PreparedQuery::new(metric, &points[0]);
            let coded = quantiser.encode_query(&query);
            let truth: Vec<f32> = points.iter().map(|p| distance(metric, &points[0], p)).collect();
            let spread = truth.iter().fold(0f32, |most, d| most.max((d - truth[0]).abs()));
            for (row, true_distance) in rows.iter().zip(&truth) {
                let mut code = Vec::new();
                let bias = quantiser.encode(row, &mut code);
                let estimate = coded.estimate(&code, bias);
                let error = (estimate - true_distance).abs();
                assert!(error <= 0.02 * spread, "{metric}: {estimate} for {true_distance}, spread {spread}");
            }
        }
    }

    #[test]
    fn a_fine_query_is_off_by_less_than_one_in_codes() {
        let (dim, points) = (96, cluster(200, 96));
        for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
            let prepared: Vec<Vec<f32>> = points.iter().map(|p| normalised(p)).collect();
            let rows: Vec<&[f32]> = prepared.iter().map(Vec::as_slice).collect();
            let quantiser = Quantiser::fit(metric, dim, &rows);
            // A query whose largest component leaves the others few codes.
            let mut vector = prepared[0].clone();
            vector[0] += 1.0;
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
            assert!(fine_off < 0.5 * off, "{metric}: off by {fine_off}, in codes by {off}");
        }
    }

    #[test]
    fn equal_vectors_and_extreme_values_give_finite_codes() {
        for value in [0.0, 1e-42, 7.0, f32::MAX, f32::MIN] {
            for metric in [Metric::L2, Metric::Ip] {
                let row = [value; 3];
                let quantiser = Quantiser::fit(metric, 3, &[&row, &row]);
                let mut code = Vec::new();
                let bias = quantiser.encode(&row, &mut code);
                assert_eq!(code, vec![0, 0, 0], "{metric} of {value}");
                assert!(bias.is_finite() && quantiser.scale() > 0.0, "{metric} of {value}: {bias}");
            }
        }
    }
}
