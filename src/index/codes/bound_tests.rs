//! Estimates and their bounds against exact distances, over codes of every width and all metrics.

use super::*;
use crate::index::metric::{PreparedQuery, normalised};
use crate::record::Metric;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::L2, Metric::Ip];
const WIDTHS: [CodeWidth; 3] = [CodeWidth::One, CodeWidth::Four, CodeWidth::Eight];

fn normal(rng: &mut StdRng) -> f32 {
    (0..12).map(|_| rng.random_range(-0.5f32..0.5)).sum()
}

/// Points about ten centres, with a spectrum that falls as 1 / √i, off the origin.
fn points(n: usize, dim: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let size = |d: usize| 1.0 / ((d + 1) as f32).sqrt();
    let mut draw = |spread: f32| -> Vec<f32> { (0..dim).map(|d| size(d) * spread * normal(&mut rng)).collect() };
    let centres: Vec<Vec<f32>> = (0..10).map(|_| draw(1.0)).collect();
    let about = |(i, offsets): (usize, Vec<f32>)| -> Vec<f32> {
        centres[i % 10].iter().zip(offsets).map(|(c, x)| 0.3 + c + x).collect()
    };
    (0..n).map(|_| draw(0.7)).collect::<Vec<_>>().into_iter().enumerate().map(about).collect()
}

/// For each pair of a query and a point: the error of the estimate, the distance's estimate, and the factors.
struct Pairs {
    errors: Vec<(f32, f32, Factors)>,
    query: Vec<EstimatingQuery>,
}

fn pairs(metric: Metric, width: CodeWidth, dim: usize, seed: u64) -> Pairs {
    let rows: Vec<Vec<f32>> = match metric {
        Metric::Cosine => points(300, dim, seed).iter().map(|v| normalised(v)).collect(),
        Metric::L2 | Metric::Ip => points(300, dim, seed),
    };
    let refs: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let codec = VectorCodec::fit(metric, width, dim, &refs, seed);
    let (mut codes, mut errors, mut queries) = (Vec::new(), Vec::new(), Vec::new());
    let factors: Vec<Factors> = rows.iter().map(|row| codec.encode(row, &mut codes)).collect();
    assert_eq!(codes.len(), rows.len() * width.code_bytes(dim));
    let codes = PackedRows::new(&codes, width.code_bytes(dim));
    let table = CodeTable { codes, factors: &factors };
    let all: Vec<u32> = (0..rows.len() as u32).collect();
    let (mut products, mut estimates) = (Vec::new(), Vec::new());
    for vector in points(330, dim, seed).iter().skip(300) {
        let query = PreparedQuery::new(metric, vector);
        let coded = codec.encode_query(&query);
        coded.estimates(table, &all, &mut products, &mut estimates);
        for (row, (estimate, factors)) in rows.iter().zip(estimates.iter().zip(&factors)) {
            errors.push((estimate - query.distance_to(row), *estimate, *factors));
        }
        queries.push(coded);
    }
    Pairs { errors, query: queries }
}

#[test]
fn as_many_estimates_lie_outside_a_bound_as_it_says() {
    for (dim, seed) in [(100, 1), (384, 2), (768, 3)] {
        for metric in METRICS {
            for width in WIDTHS {
                let Pairs { errors, query } = pairs(metric, width, dim, seed);
                let each = errors.len() / query.len();
                // Two-sided shares of the normal distribution.
                for (deviations, share) in [(1.0, 0.317), (1.9, 0.057), (3.0, 0.0027)] {
                    let outside = errors.iter().enumerate().filter(|(i, (error, estimate, factors))| {
                        error.abs() > query[i / each].error_bound(*factors, *estimate, deviations)
                    });
                    let got = outside.count() as f64 / errors.len() as f64;
                    let case = format!("{metric}, {width:?}, {dim}: {got} beyond {deviations} deviations");
                    assert!(got <= 1.25 * share + 0.001, "{case}: more than {share}");
                    assert!(got >= 0.5 * share - 0.001, "{case}: the bound is wider than it need be");
                }
            }
        }
    }
}

#[test]
fn estimates_are_not_biased() {
    for metric in METRICS {
        for width in WIDTHS {
            let Pairs { errors, query } = pairs(metric, width, 384, 7);
            let (each, n) = (errors.len() / query.len(), errors.len() as f32);
            let mean = errors.iter().map(|(error, ..)| error).sum::<f32>() / n;
            let deviation = errors
                .iter()
                .enumerate()
                .map(|(i, (_, estimate, factors))| query[i / each].error_bound(*factors, *estimate, 1.0));
            let deviation = deviation.sum::<f32>() / n;
            assert!(mean.abs() <= 0.1 * deviation, "{metric}, {width:?}: {mean} in the mean, {deviation} allowed");
        }
    }
}

#[test]
fn wider_codes_are_off_by_less() {
    let off = |width| {
        let errors = pairs(Metric::Cosine, width, 384, 9).errors;
        errors.iter().map(|(error, ..)| error.abs()).sum::<f32>() / errors.len() as f32
    };
    let [one, four, eight] = WIDTHS.map(off);
    assert!(four < one / 5.0 && eight < four / 8.0, "{one}, {four}, {eight}");
}

#[test]
fn a_single_code_has_the_estimate_that_it_has_among_others() {
    let rows = points(9, 100, 4);
    let refs: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    for width in WIDTHS {
        let codec = VectorCodec::fit(Metric::L2, width, 100, &refs, 4);
        let mut codes = Vec::new();
        let factors: Vec<Factors> = rows.iter().map(|row| codec.encode(row, &mut codes)).collect();
        let table = CodeTable { codes: PackedRows::new(&codes, width.code_bytes(100)), factors: &factors };
        let query = codec.encode_query(&PreparedQuery::new(Metric::L2, &rows[3]));
        let (mut products, mut estimates) = (Vec::new(), Vec::new());
        query.estimates(table, &[8, 3, 0, 5, 1, 1], &mut products, &mut estimates);
        let single = |row: u32| query.estimate(table.codes.get(row), table.factors_of(row));
        assert_eq!(estimates, [8, 3, 0, 5, 1, 1].map(single), "{width:?}");
    }
}

#[test]
fn equal_vectors_and_extreme_values_have_finite_factors_and_estimates() {
    for value in [0.0, 1e-42, 7.0, f32::MAX, f32::MIN] {
        for metric in [Metric::L2, Metric::Ip] {
            for width in WIDTHS {
                let (row, other) = ([value; 3], [value, -value, 0.5 * value]);
                let codec = VectorCodec::fit(metric, width, 3, &[&row, &row], 7);
                for v in [row, other] {
                    let mut code = Vec::new();
                    let factors = codec.encode(&v, &mut code);
                    assert_eq!(code.len(), width.code_bytes(3));
                    let query = codec.encode_query(&PreparedQuery::new(metric, &other));
                    let all = [factors.scale, factors.bias, factors.length.get(), factors.lost.get()];
                    assert!(all.iter().all(|x| x.is_finite()), "{metric}, {width:?} of {v:?}: {factors:?}");
                    let estimate = query.estimate(&code, factors);
                    assert!(!estimate.is_nan(), "{metric}, {width:?} of {v:?}");
                    assert!(!query.error_bound(factors, estimate, 3.0).is_nan(), "{metric}, {width:?} of {v:?}");
                }
            }
        }
    }
}

#[test]
fn a_dimension_takes_no_more_than_its_bits() {
    for (dim, sizes) in [(384, [60, 204, 396]), (768, [108, 396, 780]), (1536, [204, 780, 1548]), (5, [13, 15, 17])] {
        assert_eq!(WIDTHS.map(|width| width.size_bytes(dim)), sizes, "{dim} dimensions");
    }
}
