//! Searches by bounds against those that score every row. Scores are compared by their bits.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

use super::tests::{Best, random_rows, skewed, whole};
use super::*;
use crate::interrupt::Interrupt;

const WORDS: u32 = 400;

fn word(number: u32) -> String {
    format!("w{number:03}")
}

/// Texts of which every other word is one of a few, so that lists are of all lengths.
fn texts(rng: &mut StdRng, rows: u32, lengths: &[usize]) -> TextIndex {
    let mut builder = TextIndexBuilder::new();
    for row in 0..rows {
        let terms: Vec<String> = (0..*lengths.choose(rng).unwrap()).map(|_| word(skewed(rng, WORDS))).collect();
        builder.add(row, terms.iter().map(String::as_str)).unwrap();
    }
    builder.finish(rows).unwrap()
}

/// A query for any of a few words, weighed as they are rare.
fn query(rng: &mut StdRng, index: &TextIndex, average_length: f32) -> TermQuery {
    let all: RoaringBitmap = (0..index.rows()).collect();
    let live = whole(&all, index.rows());
    let group = |_| {
        let number = index.number(&word(skewed(rng, WORDS)));
        let frequency = index.statistics(&[number], &IndexRows::new(&live)).1[0] as f32;
        let weight = (1.0 + (index.rows() as f32 - frequency + 0.5) / (frequency + 0.5)).ln();
        let terms = number.map(|number| WeightedTerm { number, weight });
        TermGroup { terms: terms.into_iter().collect(), must: false }
    };
    let groups = (0..*[2, 3, 3, 5, 12].choose(&mut StdRng::seed_from_u64(u64::from(index.rows()))).unwrap()).map(group);
    TermQuery { groups: groups.collect(), must_not: vec![], minimum_match: 1, k1: 1.2, b: 0.75, average_length }
}

fn best_texts(index: &TextIndex, query: &TermQuery, allowed: Option<&RoaringBitmap>, exact: bool, k: usize) -> Best {
    let chunks = allowed.map(|rows| whole(rows, index.rows()));
    let allowed = chunks.as_ref().map(|chunks| IndexRows::new(chunks));
    let mut best = Best::new(k);
    let search = TextSearch { query, allowed, verify: None, exact, interrupt: &Interrupt::never() };
    index.search(&search, &mut best).unwrap();
    best
}

#[test]
fn texts_found_by_bounds_are_those_of_all_scores_while_the_mean_length_moves() {
    for seed in 0..40 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let rows = rng.random_range(1_000..40_000);
        let index = texts(rng, rows, &[1, 4, 9, 30]);
        let before = index.size_bytes();
        let mut average_length = 11.0;
        for _ in 0..8 {
            average_length *= rng.random_range(0.97..1.03);
            let query = query(rng, &index, average_length);
            let (allowed, k) = (random_rows(rng, rows), *[1, 3, 10, 100].choose(rng).unwrap());
            let found = best_texts(&index, &query, allowed.as_ref(), false, k);
            let wanted = best_texts(&index, &query, allowed.as_ref(), true, k);
            assert_eq!(found.bits(), wanted.bits(), "seed {seed}, k {k}, query {query:?}");
        }
        assert!(index.size_bytes() > before, "seed {seed}: no columns");
    }
}

#[test]
fn of_texts_that_tie_the_first_are_found() {
    let mut builder = TextIndexBuilder::new();
    (0..20_000).for_each(|row| builder.add(row, ["a", "b", "c"]).unwrap());
    let index = builder.finish(20_000).unwrap();
    let group = |number| TermGroup { terms: vec![WeightedTerm { number, weight: 1.0 }], must: false };
    let query = TermQuery {
        groups: vec![group(0), group(1)],
        must_not: vec![],
        minimum_match: 1,
        k1: 1.2,
        b: 0.75,
        average_length: 3.0,
    };
    let odd: RoaringBitmap = (0..20_000).filter(|row| row % 2 == 1).collect();
    for (allowed, first) in [(None, [0, 1, 2]), (Some(&odd), [1, 3, 5])] {
        let found = best_texts(&index, &query, allowed, false, 3);
        assert_eq!(found.bits().into_iter().map(|(_, row)| row).collect::<Vec<_>>(), first);
        assert_eq!(found.bits(), best_texts(&index, &query, allowed, true, 3).bits());
    }
}

/// Keeps rows by 1 − score, in which scores that differ may tie; of those the last rows are kept.
struct ByDistance {
    k: usize,
    kept: Vec<(f32, u32)>,
}

impl ByDistance {
    fn least(distance: f32) -> f32 {
        (1.0 - distance - (distance.abs() + 1.0) * f32::EPSILON * 2.0).next_down()
    }
}

impl Collector for ByDistance {
    fn threshold(&self) -> f32 {
        self.kept.get(self.k - 1).map_or(f32::NEG_INFINITY, |(distance, _)| ByDistance::least(*distance))
    }

    fn limit(&self) -> Option<usize> {
        Some(self.k)
    }

    fn threshold_at(&self, score: f32) -> f32 {
        ByDistance::least(1.0 - score)
    }

    fn offer(&mut self, row: u32, score: f32) {
        self.kept.push((1.0 - score, row));
        self.kept.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        self.kept.truncate(self.k);
    }
}

#[test]
fn vectors_found_by_bounds_are_those_of_all_scores_where_distances_tie() {
    for seed in 0..40 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let rows = rng.random_range(600..40_000);
        let scale = *[1.0, 1e-6, 3e-8].choose(rng).unwrap();
        let mut builder = SparseIndexBuilder::new();
        for row in 0..rows {
            let mut indices: Vec<u32> = (0..rng.random_range(0..12)).map(|_| skewed(rng, 200)).collect();
            indices.sort_unstable();
            indices.dedup();
            let values: Vec<f32> = indices.iter().map(|_| rng.random_range(0.0..2.0f32).powi(3) * scale).collect();
            builder.add(row, &indices, &values).unwrap();
        }
        let index = builder.finish(rows).unwrap();
        for _ in 0..8 {
            let mut indices: Vec<u32> = (0..rng.random_range(2..30)).map(|_| skewed(rng, 200)).collect();
            indices.sort_unstable();
            indices.dedup();
            let values: Vec<f32> = indices.iter().map(|_| rng.random_range(0.0..2.0)).collect();
            let query = SparseQuery { indices: &indices, values: &values };
            let (bitmap, k) = (random_rows(rng, rows), *[1, 3, 10, 100].choose(rng).unwrap());
            let chunks = bitmap.as_ref().map(|rows_here| whole(rows_here, rows));
            let allowed = chunks.as_ref().map(|chunks| IndexRows::new(chunks));
            let [found, wanted] = [false, true].map(|exact| {
                let mut nearest = ByDistance { k, kept: Vec::new() };
                let search = VectorSearch { query, allowed, exact, interrupt: &Interrupt::never() };
                index.search(&search, &mut nearest).unwrap();
                nearest.kept
            });
            assert_eq!(found, wanted, "seed {seed}, k {k}, query {query:?}");
        }
    }
}
