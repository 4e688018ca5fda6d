//! Indexes that span several chunks, of which some may be gone: the same as a scan of the rows that are there.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

use super::tests::{Best, index_of, random_vectors, skewed};
use super::text_tests::{numbered, random_query, random_texts, word};
use super::*;
use crate::interrupt::Interrupt;

/// Chunks one behind the other, some left out: the first row, the number of rows, and some of them.
fn random_chunks(rng: &mut StdRng) -> (Vec<(u32, u32, RoaringBitmap)>, u32) {
    let (mut chunks, mut end) = (Vec::new(), 0);
    for _ in 0..rng.random_range(1..6) {
        let len = *[1, 70, 400, 1500].choose(rng).unwrap();
        let share = *[1.0, 1.0, 0.99, 0.5, 0.01, 0.0].choose(rng).unwrap();
        if rng.random_bool(0.8) {
            chunks.push((end, len, (0..len).filter(|_| rng.random_bool(share)).collect()));
        }
        end += len;
    }
    (chunks, end)
}

fn chunk_rows(chunks: &[(u32, u32, RoaringBitmap)]) -> Vec<ChunkRows<'_>> {
    chunks.iter().map(|(first, len, rows)| ChunkRows { first: *first, len: *len, rows }).collect()
}

fn flat(chunks: &[(u32, u32, RoaringBitmap)]) -> RoaringBitmap {
    chunks.iter().flat_map(|(first, _, rows)| rows.iter().map(move |row| first + row)).collect()
}

#[test]
fn rows_of_chunks_are_those_of_one_bitmap() {
    for seed in 0..300 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let (chunks, end) = random_chunks(rng);
        let (parts, flat) = (chunk_rows(&chunks), flat(&chunks));
        let rows = IndexRows::new(&parts);
        assert_eq!((rows.len(), rows.is_empty()), (flat.len(), flat.is_empty()), "seed {seed}");
        assert!(rows.iter().eq(flat.iter()), "seed {seed}");
        assert!((0..end + 5).all(|row| rows.contains(row) == flat.contains(row)), "seed {seed}");
        for _ in 0..20 {
            let start = rng.random_range(0..end + 1);
            let range = start..rng.random_range(start..end + 2);
            assert!(rows.range(range.clone()).eq(flat.range(range.clone())), "seed {seed}, {range:?}");
        }
    }
}

#[test]
fn frequencies_and_statistics_are_those_of_the_rows_that_live() {
    for seed in 0..40 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let (chunks, end) = random_chunks(rng);
        let (parts, flat) = (chunk_rows(&chunks), flat(&chunks));
        let live = IndexRows::new(&parts);
        let vectors = random_vectors(rng, end, true);
        let dimensions: Vec<u32> = (0..430).collect();
        let with = |d: &u32| vectors.iter().filter(|(r, v)| flat.contains(**r) && v.contains_key(d)).count() as u32;
        let wanted: Vec<u32> = dimensions.iter().map(with).collect();
        assert_eq!(index_of(&vectors, end).document_frequencies(&dimensions, &live), wanted, "seed {seed}");
        let texts = random_texts(rng, end);
        let index = super::text_tests::index_of(&texts, end);
        let there: Vec<&Vec<String>> = texts.iter().filter(|(row, _)| flat.contains(**row)).map(|(_, t)| t).collect();
        let tokens = there.iter().map(|terms| terms.len() as u64).sum();
        let statistics = TextStatistics { documents: there.len() as u64, tokens };
        let words: Vec<String> = (0..125).map(word).collect();
        let numbers: Vec<Option<usize>> = words.iter().map(|word| index.number(word)).collect();
        let wanted: Vec<u32> =
            words.iter().map(|w| there.iter().filter(|terms| terms.contains(w)).count() as u32).collect();
        assert_eq!(index.statistics(&numbers, &live), (statistics, wanted), "seed {seed}");
    }
}

#[test]
fn a_search_among_rows_of_chunks_finds_what_one_among_their_bitmap_finds() {
    let words: Vec<String> = (0..130).map(word).collect();
    let interrupt = &Interrupt::never();
    for seed in 0..60 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let (chunks, end) = random_chunks(rng);
        let (parts, flat) = (chunk_rows(&chunks), flat(&chunks));
        let whole = super::tests::whole(&flat, end);
        let texts = super::text_tests::index_of(&random_texts(rng, end), end);
        let vectors = index_of(&random_vectors(rng, end, true), end);
        for _ in 0..4 {
            let query = numbered(&random_query(rng, words.len()), &words, &texts);
            let sparse: BTreeMap<u32, f32> = (0..6).map(|_| (skewed(rng, 60) * 7, 1.5)).collect();
            let (indices, values): (Vec<u32>, Vec<f32>) = sparse.into_iter().unzip();
            let found = [IndexRows::new(&parts), IndexRows::new(&whole)].map(|rows| {
                let (mut by_words, mut by_vector, allowed) = (Best::new(10), Best::new(10), Some(rows));
                let search = TextSearch { query: &query, allowed, verify: None, exact: false, interrupt };
                texts.search(&search, &mut by_words).unwrap();
                let query = SparseQuery { indices: &indices, values: &values };
                let search = VectorSearch { query, allowed, exact: false, interrupt };
                vectors.search(&search, &mut by_vector).unwrap();
                (by_words.bits(), by_vector.bits())
            });
            assert_eq!(found[0], found[1], "seed {seed}");
        }
    }
}

#[test]
fn a_merge_takes_a_run_of_rows() {
    for seed in 0..20 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let (texts, vectors) = (random_texts(rng, 900), random_vectors(rng, 900, true));
        let (first, len) = (rng.random_range(0..800), rng.random_range(1..150));
        // Behind the run there may be nothing.
        let rows: Vec<u32> = (0..len).map(|row| if rng.random_bool(0.2) { DROPPED } else { row }).collect();
        let kept = |row: &u32| {
            let place = row.checked_sub(first)?;
            rows.get(place as usize).copied().filter(|row| *row != DROPPED)
        };
        let wanted = texts.iter().filter_map(|(row, terms)| Some((kept(row)?, terms.clone()))).collect();
        let index = super::text_tests::index_of(&texts, 900);
        let merged = TextIndex::merge(&[MergePart { index: &index, first, rows: &rows }], len).unwrap();
        assert!(merged == super::text_tests::index_of(&wanted, len), "seed {seed}");
        let wanted = vectors.iter().filter_map(|(row, vector)| Some((kept(row)?, vector.clone()))).collect();
        let index = index_of(&vectors, 900);
        let merged = SparseIndex::merge(&[MergePart { index: &index, first, rows: &rows }], len).unwrap();
        assert!(merged == index_of(&wanted, len), "seed {seed}");
    }
}

#[test]
fn a_merge_of_a_run_goes_to_no_term_that_the_run_lacks() {
    // Each row has a term of its own, and one that all have.
    let texts = (0..900).map(|row| (row, vec![format!("own{row:03}"), "all".to_owned()])).collect();
    let index = super::text_tests::index_of(&texts, 900);
    let (blocks, span) = (&index.lists().blocks, 300..310);
    let first = blocks.next_term_between(0, &span);
    let visited = std::iter::successors(first, |term| blocks.next_term_between(term + 1, &span));
    assert_eq!(
        visited.collect::<Vec<_>>(),
        [0].into_iter().chain(301..311).collect::<Vec<_>>(),
        "the first is \"all\""
    );
    assert_eq!(blocks.next_term_between(index.terms(), &span), None);
}
