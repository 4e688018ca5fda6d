//! Inverted indexes against a plain scan: every row's score added up term by term from the rows themselves. Scores are
//! compared by their bits.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

use super::*;
use crate::error::ErrorKind;
use crate::interrupt::{Asker, Interrupt};

/// Keeps the best k; equal scores are decided by the smaller row. It refuses rows that do not ascend.
pub(super) struct Best {
    k: usize,
    kept: Vec<(f32, u32)>,
    offered: Vec<u32>,
    /// Added to rows, so that several indexes share a collector.
    base: u32,
}

impl Best {
    pub(super) fn new(k: usize) -> Best {
        Best { k, kept: Vec::new(), offered: Vec::new(), base: 0 }
    }

    pub(super) fn bits(&self) -> Vec<(u32, u32)> {
        self.kept.iter().map(|(score, row)| (score.to_bits(), *row)).collect()
    }
}

impl Collector for Best {
    fn threshold(&self) -> f32 {
        self.kept.get(self.k - 1).map_or(f32::NEG_INFINITY, |(score, _)| *score)
    }

    fn limit(&self) -> Option<usize> {
        Some(self.k)
    }

    fn offer(&mut self, row: u32, score: f32) {
        assert!(self.offered.last().is_none_or(|last| *last < row + self.base), "row {row} is out of order");
        self.offered.push(row + self.base);
        self.kept.push((score, row + self.base));
        self.kept.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.kept.truncate(self.k);
    }
}

/// The k best of all rows' scores.
pub(super) fn best_of(scores: impl IntoIterator<Item = (u32, f32)>, k: usize) -> Vec<(u32, u32)> {
    let mut all: Vec<(f32, u32)> = scores.into_iter().map(|(row, score)| (score, row)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter().take(k).map(|(score, row)| (score.to_bits(), row)).collect()
}

pub(super) type Vectors = BTreeMap<u32, BTreeMap<u32, f32>>;

/// Few distinct weights, so that scores tie; `signs`: negative ones too.
fn weight(rng: &mut StdRng, signs: bool) -> f32 {
    let size = *[0.0, 0.25, 0.5, 1.0, 1.0, 3.7, 0.1, 1.3e-3].choose(rng).unwrap();
    if signs && rng.random_bool(0.4) { -size } else { size }
}

/// A number below `n`, small ones far more often.
pub(super) fn skewed(rng: &mut StdRng, n: u32) -> u32 {
    ((f64::from(n)).powf(rng.random::<f64>()) - 1.0) as u32
}

pub(super) fn random_vectors(rng: &mut StdRng, rows: u32, signs: bool) -> Vectors {
    let mut vectors = Vectors::new();
    for row in (0..rows).filter(|_| rng.random_bool(0.9)).collect::<Vec<_>>() {
        let entries = rng.random_range(0..12);
        vectors.insert(row, (0..entries).map(|_| (skewed(rng, 60) * 7, weight(rng, signs))).collect());
    }
    vectors
}

pub(super) fn index_of(vectors: &Vectors, rows: u32) -> SparseIndex {
    let mut builder = SparseIndexBuilder::new();
    for (row, vector) in vectors {
        let (indices, values): (Vec<u32>, Vec<f32>) = vector.iter().unzip();
        builder.add(*row, &indices, &values).unwrap();
    }
    builder.finish(rows).unwrap()
}

fn product(query: &BTreeMap<u32, f32>, vector: &BTreeMap<u32, f32>) -> Option<f32> {
    let shared = query.iter().filter_map(|(index, value)| Some(value * vector.get(index)?));
    shared.fold(None, |sum, product| Some(sum.unwrap_or(0.0) + product))
}

/// The place of a single chunk that is all of an index.
pub(super) fn whole(rows: &RoaringBitmap, len: u32) -> [ChunkRows<'_>; 1] {
    [ChunkRows { first: 0, len, rows }]
}

/// A part that has all rows of an index from 0 on.
pub(super) fn part<'a, I>(index: &'a I, rows: &'a [u32]) -> MergePart<'a, I> {
    MergePart { index, first: 0, rows }
}

pub(super) fn search_vectors(
    index: &SparseIndex,
    query: &BTreeMap<u32, f32>,
    (allowed, exact): (Option<&RoaringBitmap>, bool),
    best: &mut Best,
) {
    let (indices, values): (Vec<u32>, Vec<f32>) = query.iter().unzip();
    let query = SparseQuery { indices: &indices, values: &values };
    let allowed = allowed.map(|rows| whole(rows, index.rows()));
    let allowed = allowed.as_ref().map(|chunks| IndexRows::new(chunks));
    index.search(&VectorSearch { query, allowed, exact, interrupt: &Interrupt::never() }, best).unwrap();
}

pub(super) fn random_rows(rng: &mut StdRng, rows: u32) -> Option<RoaringBitmap> {
    let share = *[1.0, 0.5, 0.1, 0.01, 0.001].choose(rng).unwrap();
    (share < 1.0).then(|| (0..rows).filter(|_| rng.random_bool(share)).collect())
}

#[test]
fn sparse_searches_find_what_a_scan_finds() {
    for seed in 0..150 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let rows = *[1, 40, 700, 9000].choose(rng).unwrap();
        let signs = rng.random_bool(0.5);
        let vectors = random_vectors(rng, rows, signs);
        let index = index_of(&vectors, rows);
        for _ in 0..6 {
            let query: BTreeMap<u32, f32> =
                (0..rng.random_range(0..20)).map(|_| (skewed(rng, 60) * 7, weight(rng, signs))).collect();
            let allowed = random_rows(rng, rows);
            let k = *[1, 3, 10, 200].choose(rng).unwrap();
            let inside = |row: &u32| allowed.as_ref().is_none_or(|allowed| allowed.contains(*row));
            let scores = vectors.iter().filter(|(row, _)| inside(row));
            // −0 and 0 are one score; an index has only 0.
            let wanted = best_of(scores.filter_map(|(row, v)| Some((*row, product(&query, v)? + 0.0))), k);
            for exact in [false, true] {
                let mut best = Best::new(k);
                search_vectors(&index, &query, (allowed.as_ref(), exact), &mut best);
                assert_eq!(best.bits(), wanted, "seed {seed}, exact {exact}, query {query:?}");
            }
        }
    }
}

#[test]
fn rows_that_tie_with_the_threshold_are_offered() {
    let vectors: Vectors = (0..5000).map(|row| (row, BTreeMap::from([(3, 1.0), (9, 0.5)]))).collect();
    let index = index_of(&vectors, 5000);
    let mut best = Best::new(2);
    search_vectors(&index, &BTreeMap::from([(3, 2.0), (9, 1.0)]), (None, false), &mut best);
    assert_eq!(best.offered.len(), 5000);
    assert_eq!(best.bits(), [(2.5f32.to_bits(), 0), (2.5f32.to_bits(), 1)]);
}

#[test]
fn a_threshold_carries_over_to_the_next_index() {
    for seed in 0..20 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let chunks: Vec<Vectors> = (0..4).map(|_| random_vectors(rng, 3000, true)).collect();
        let query: BTreeMap<u32, f32> = (0..6).map(|_| (skewed(rng, 60) * 7, weight(rng, true))).collect();
        let mut best = Best::new(10);
        let mut all = Vec::new();
        for (i, vectors) in chunks.iter().enumerate() {
            best.base = i as u32 * 3000;
            search_vectors(&index_of(vectors, 3000), &query, (None, false), &mut best);
            all.extend(vectors.iter().filter_map(|(row, v)| Some((row + best.base, product(&query, v)? + 0.0))));
        }
        assert_eq!(best.bits(), best_of(all, 10), "seed {seed}");
    }
}

#[test]
fn sums_beyond_f32_are_the_worst_scores() {
    let huge = BTreeMap::from([(1, f32::MAX), (2, -f32::MAX), (3, 1.0)]);
    let vectors = Vectors::from([(0, huge.clone()), (1, BTreeMap::from([(3, -5.0)]))]);
    let index = index_of(&vectors, 2);
    for exact in [false, true] {
        let mut best = Best::new(5);
        let query = BTreeMap::from([(1, f32::MAX), (2, f32::MAX), (3, 1.0)]);
        search_vectors(&index, &query, (None, exact), &mut best);
        assert_eq!(best.bits(), [((-5.0f32).to_bits(), 1), (f32::NEG_INFINITY.to_bits(), 0)]);
    }
}

#[test]
fn document_frequencies_count_live_rows() {
    for seed in 0..40 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let vectors = random_vectors(rng, 2000, true);
        let index = index_of(&vectors, 2000);
        let dead = *[0.0, 0.001, 0.3, 0.99, 1.0].choose(rng).unwrap();
        let live: RoaringBitmap = (0..2000).filter(|_| !rng.random_bool(dead)).collect();
        let dimensions: Vec<u32> = (0..430).collect();
        let alive = |d: &u32| vectors.iter().filter(|(r, v)| live.contains(**r) && v.contains_key(d)).count() as u32;
        let wanted: Vec<u32> = dimensions.iter().map(alive).collect();
        let frequencies = index.document_frequencies(&dimensions, &IndexRows::new(&whole(&live, 2000)));
        assert_eq!(frequencies, wanted, "seed {seed}");
    }
}

/// New rows for the old ones of each part: a random order, some left out.
pub(super) fn random_mapping(rng: &mut StdRng, parts: &[u32]) -> (Vec<Vec<u32>>, u32) {
    let total: u32 = parts.iter().sum();
    let mut rows: Vec<u32> = (0..total).collect();
    if rng.random_bool(0.5) {
        rows.sort_by_key(|row| row.wrapping_mul(2_654_435_761));
    }
    let mut rows = rows.into_iter();
    let mut drop = |row: u32| if rng.random_bool(0.2) { DROPPED } else { row };
    (parts.iter().map(|n| rows.by_ref().take(*n as usize).map(&mut drop).collect()).collect(), total)
}

#[test]
fn a_merge_of_vectors_is_the_index_of_the_rows_that_are_kept() {
    for seed in 0..30 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let parts: Vec<(u32, Vectors)> =
            [300, 0, 1200].into_iter().map(|rows| (rows, random_vectors(rng, rows, true))).collect();
        let (mappings, rows) = random_mapping(rng, &[300, 0, 1200]);
        let indexes: Vec<SparseIndex> = parts.iter().map(|(rows, vectors)| index_of(vectors, *rows)).collect();
        let mut kept = Vectors::new();
        for ((_, vectors), mapping) in parts.iter().zip(&mappings) {
            let moved = vectors.iter().map(|(row, vector)| (mapping[*row as usize], vector.clone()));
            kept.extend(moved.filter(|(row, _)| *row != DROPPED));
        }
        let parts: Vec<MergePart<'_, SparseIndex>> = indexes.iter().zip(&mappings).map(|(i, m)| part(i, m)).collect();
        assert!(SparseIndex::merge(&parts, rows).unwrap() == index_of(&kept, rows), "seed {seed}");
    }
}

#[test]
fn bad_rows_and_mappings_are_refused() {
    let mut builder = SparseIndexBuilder::new();
    builder.add(3, &[1], &[1.0]).unwrap();
    assert_eq!(builder.add(3, &[1], &[1.0]).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(builder.add(4, &[1], &[]).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(builder.finish(3).unwrap_err().kind(), ErrorKind::Internal);
    let mut twice = SparseIndexBuilder::new();
    twice.add(0, &[5, 5], &[1.0, 2.0]).unwrap();
    assert_eq!(twice.finish(1).unwrap_err().kind(), ErrorKind::Internal);
    let index = index_of(&Vectors::from([(0, BTreeMap::from([(1, 1.0)])), (1, BTreeMap::from([(1, 2.0)]))]), 2);
    for rows in [[0, 0], [0, 2]] {
        let refused = SparseIndex::merge(&[part(&index, &rows)], 2).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Internal);
    }
    // A mapping that is too short leaves rows out.
    let (short, live) = (SparseIndex::merge(&[part(&index, &[0])], 2).unwrap(), (0..2).collect());
    assert_eq!(short.document_frequencies(&[1], &IndexRows::new(&whole(&live, 2))), [1]);
}

#[test]
fn a_search_that_nobody_waits_for_ends() {
    let index = index_of(&Vectors::from([(0, BTreeMap::from([(1, 1.0)]))]), 1);
    let asker = Asker::default();
    let interrupt = Interrupt::new(asker.gone(), || {});
    drop(asker);
    for exact in [false, true] {
        let query = SparseQuery { indices: &[1], values: &[1.0] };
        let search = VectorSearch { query, allowed: None, exact, interrupt: &interrupt };
        assert_eq!(index.search(&search, &mut Best::new(1)).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[test]
fn size_counts_what_the_lists_hold() {
    let vectors: Vectors = (0..40_000).map(|row| (row, (0..10).map(|i| (row % 97 + i * 97, 1.0)).collect())).collect();
    let index = index_of(&vectors, 40_000);
    // Per posting two bytes of row and four of weight; blocks add a little.
    let postings = 400_000 * 6;
    let size = index.size_bytes();
    assert!((postings..postings * 108 / 100).contains(&size), "{size} bytes");
}

#[test]
fn dimensions_are_found_however_they_are_spread() {
    let mut rng = StdRng::seed_from_u64(51);
    let even = (0..300).map(|n| n * 7).collect();
    let skewed = (0..300).map(|_| 2.0f64.powf(rng.random_range(0.0..32.0)) as u32).collect();
    let two_ends = [0, 1, 2, u32::MAX - 1, u32::MAX].into();
    let sets: [BTreeSet<u32>; 5] = [even, skewed, two_ends, [u32::MAX].into(), BTreeSet::new()];
    for set in sets {
        let mut builder = SparseIndexBuilder::new();
        let dimensions: Vec<u32> = set.iter().copied().collect();
        builder.add(0, &dimensions, &vec![1.0; dimensions.len()]).unwrap();
        let index = builder.finish(1).unwrap();
        let around = set.iter().flat_map(|d| [d.saturating_sub(1), *d, d.saturating_add(1)]);
        let asked: Vec<u32> = around.chain([0, 5, 1 << 20, u32::MAX]).collect();
        let expected: Vec<u32> = asked.iter().map(|d| u32::from(set.contains(d))).collect();
        let live = RoaringBitmap::from_iter([0]);
        let found = index.document_frequencies(&asked, &IndexRows::new(&whole(&live, 1)));
        assert_eq!(found, expected, "{dimensions:?}");
    }
}
