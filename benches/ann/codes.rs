//! Codes alone, without a graph: for 8, 4 and 1 bits a dimension, the bytes of a vector, the share of the true nearest
//! within the best by estimate, how many the error bound asks to be compared exactly and what is found so, and the time
//! of an estimate in order for each instruction set.

use std::collections::HashSet;
use std::hint::black_box;

use drumlin::testing::index::{
    CodeKernels, CodeTable, CodeWidth, EstimatingQuery, Factors, PackedRows, Packing, PreparedQuery, VectorCodec,
};
use drumlin::testing::record::Metric;
use serde_json::{Value, json};

use crate::npy::Matrix;
use crate::{Clock, K};

/// How many of the best by estimate are looked at.
const WITHIN: [usize; 4] = [10, 20, 40, 100];
/// Standard deviations of the error that a bound allows for.
const DEVIATIONS: [f32; 3] = [1.9, 2.5, 3.0];
/// The most that are compared exactly for one query.
const COMPARED: usize = 2000;
/// Seed of the rotation.
const SEED: u64 = 0x5eed;

/// Vectors and what is nearest to each query.
pub struct Truth<'a> {
    pub metric: Metric,
    pub base: &'a Matrix,
    pub queries: &'a [&'a [f32]],
    /// The distance of each query's K-th nearest row.
    pub bounds: &'a [f32],
}

/// Prints one line for each width.
pub fn report(truth: &Truth<'_>) {
    let rows: Vec<Vec<f32>> = truth.base.iter().map(|row| compared(truth.metric, row)).collect();
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    for (name, width) in [("8", CodeWidth::Eight), ("4", CodeWidth::Four), ("1", CodeWidth::One)] {
        let began = Clock::start();
        let codec = VectorCodec::fit(truth.metric, width, truth.base.columns, &rows, SEED);
        let mut codes = Vec::new();
        let factors: Vec<Factors> = rows.iter().map(|row| codec.encode(row, &mut codes)).collect();
        let encoded = began.elapsed().cpu.as_secs_f64() / rows.len() as f64;
        let codes = PackedRows::new(&codes, width.code_bytes(truth.base.columns));
        let coded = Coded { codec, table: CodeTable { codes, factors: &factors } };
        let mut line = coded.shares(truth);
        line["bits"] = json!(name);
        line["bytes_per_vector"] = json!(width.size_bytes(truth.base.columns));
        line["encode_us"] = json!(encoded * 1e6);
        line["ns_per_product"] = speeds(width, codes, rows.len());
        println!("{line}");
    }
}

/// What codes are made of: under cosine the vector of length 1.
fn compared(metric: Metric, v: &[f32]) -> Vec<f32> {
    let norm = v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    match metric {
        Metric::Cosine if norm > 0.0 => v.iter().map(|x| (f64::from(*x) / norm) as f32).collect(),
        Metric::Cosine | Metric::L2 | Metric::Ip => v.to_vec(),
    }
}

struct Coded<'a> {
    codec: VectorCodec,
    table: CodeTable<'a>,
}

impl Coded<'_> {
    fn shares(&self, truth: &Truth<'_>) -> Value {
        let (mut within, mut by_bound) = ([0; WITHIN.len()], [(0, 0); DEVIATIONS.len()]);
        let all: Vec<u32> = (0..truth.base.rows as u32).collect();
        let (mut products, mut estimates) = (Vec::new(), Vec::new());
        for (query, bound) in truth.queries.iter().zip(truth.bounds) {
            let query = PreparedQuery::new(truth.metric, query);
            let coded = self.codec.encode_query(&query);
            coded.estimates(self.table, &all, &mut products, &mut estimates);
            let mut order = all.clone();
            order.sort_unstable_by(|a, b| estimates[*a as usize].total_cmp(&estimates[*b as usize]));
            order.truncate(COMPARED);
            let near = |row: &&u32| truth.base.row(**row as usize).is_some_and(|v| query.distance_to(v) <= *bound);
            let nearest: HashSet<u32> = order.iter().filter(near).copied().collect();
            for (count, best) in within.iter_mut().zip(WITHIN) {
                *count += order.iter().take(best).filter(|row| nearest.contains(row)).count().min(K);
            }
            for ((compared, found), deviations) in by_bound.iter_mut().zip(DEVIATIONS) {
                let kept = self.compared(&coded, &query, truth.base, &order, &estimates, deviations);
                *compared += kept.len();
                *found += kept.iter().filter(|row| nearest.contains(row)).count().min(K);
            }
        }
        let n = truth.queries.len() as f64;
        let share = |count: usize| count as f64 / (n * K as f64);
        let best = WITHIN.iter().zip(within).map(|(best, count)| (best.to_string(), json!(share(count))));
        let bound = DEVIATIONS.iter().zip(by_bound).map(|(deviations, (compared, found))| {
            (deviations.to_string(), json!({"compared": compared as f64 / n, "recall": share(found)}))
        });
        json!({"within": Value::Object(best.collect()), "bound": Value::Object(bound.collect())})
    }

    /// The rows that the bound asks to be compared exactly, going through them in the order of their estimates.
    fn compared(
        &self,
        coded: &EstimatingQuery,
        query: &PreparedQuery,
        base: &Matrix,
        order: &[u32],
        estimates: &[f32],
        deviations: f32,
    ) -> Vec<u32> {
        let (mut kept, mut best) = (Vec::new(), Vec::new());
        for row in order {
            let estimate = estimates[*row as usize];
            let least = estimate - coded.error_bound(self.table.factors_of(*row), estimate, deviations);
            if best.get(K - 1).is_some_and(|worst| least > *worst) {
                continue;
            }
            let Some(v) = base.row(*row as usize) else { continue };
            best.push(query.distance_to(v));
            best.sort_unstable_by(f32::total_cmp);
            best.truncate(K);
            kept.push(*row);
        }
        kept
    }
}

/// Nanoseconds of a product of each instruction set, rows in order.
fn speeds(width: CodeWidth, codes: PackedRows<'_>, rows: usize) -> Value {
    let packing = match width {
        CodeWidth::One => Packing::Bits,
        CodeWidth::Four => Packing::Nibbles,
        // Products of whole bytes are those of graphs, which the sweep of widths times.
        CodeWidth::Eight => return Value::Null,
    };
    let query = vec![77; codes.width() * packing.per_byte()];
    let rows: Vec<u32> = (0..rows as u32).collect();
    let mut products = Vec::new();
    let mut speed = |form: &CodeKernels| {
        let began = Clock::start();
        for part in rows.chunks(16) {
            form.dot_rows(packing, &query, codes, part, &mut products);
            black_box(&products);
        }
        (form.name.to_owned(), json!(began.elapsed().cpu.as_secs_f64() / rows.len() as f64 * 1e9))
    };
    Value::Object(CodeKernels::available().iter().map(&mut speed).collect())
}
