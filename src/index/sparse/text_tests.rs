//! Text indexes against a plain scan of the rows' terms: BM25 by its formula, constraints by sets.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

use super::tests::{Best, best_of, part, random_mapping, random_rows, skewed, whole};
use super::*;
use crate::interrupt::Interrupt;

pub(super) type Texts = BTreeMap<u32, Vec<String>>;

pub(super) fn word(i: u32) -> String {
    format!("{}{}", ["straße", "ba", "日本", "x"][i as usize % 4], i / 4)
}

pub(super) fn random_texts(rng: &mut StdRng, rows: u32) -> Texts {
    let mut texts = Texts::new();
    for row in (0..rows).filter(|_| rng.random_bool(0.9)).collect::<Vec<_>>() {
        let tokens = *[0, 3, 20, 20, 60].choose(rng).unwrap();
        let mut terms: Vec<String> = (0..tokens).map(|_| word(skewed(rng, 120))).collect();
        // Frequencies that do not fit a byte.
        if rng.random_bool(0.01) {
            terms.extend(std::iter::repeat_n(word(7), rng.random_range(250..300)));
        }
        texts.insert(row, terms);
    }
    texts
}

pub(super) fn index_of(texts: &Texts, rows: u32) -> TextIndex {
    let mut builder = TextIndexBuilder::new();
    for (row, terms) in texts {
        builder.add(*row, terms.iter().map(String::as_str)).unwrap();
    }
    builder.finish(rows).unwrap()
}

/// A query whose terms are numbers among `words`, with those of the index.
pub(super) fn numbered(query: &TermQuery, words: &[String], index: &TextIndex) -> TermQuery {
    let number = |word: usize| index.number(&words[word]);
    let term = |term: &WeightedTerm| Some(WeightedTerm { number: number(term.number)?, ..*term });
    let group =
        |group: &TermGroup| TermGroup { terms: group.terms.iter().filter_map(term).collect(), must: group.must };
    let must_not = query.must_not.iter().filter_map(|word| number(*word)).collect();
    TermQuery { groups: query.groups.iter().map(group).collect(), must_not, ..query.clone() }
}

/// The score of a row by the formula; `None`: it does not match. The query's terms are numbers among `words`.
fn score(query: &TermQuery, words: &[String], terms: &[String]) -> Option<f32> {
    let mut sum = 0.0f32;
    let mut matches = 0;
    for group in &query.groups {
        let mut best: Option<f32> = None;
        for term in &group.terms {
            let tf = terms.iter().filter(|other| **other == words[term.number]).count() as f32;
            if tf > 0.0 {
                let per_token = query.k1 * query.b / query.average_length;
                let norm = query.k1 * (1.0 - query.b) + per_token * terms.len() as f32;
                let found = term.weight * (query.k1 + 1.0) * tf / (tf + norm);
                best = Some(best.map_or(found, |best| best.max(found)));
            }
        }
        if best.is_none() && group.must {
            return None;
        }
        sum += best.unwrap_or(0.0);
        matches += usize::from(best.is_some());
    }
    let excluded = query.must_not.iter().any(|word| terms.contains(&words[*word]));
    (matches >= query.minimum_match.max(1) && !excluded).then_some(sum)
}

/// A query for some of so many words, by their numbers.
pub(super) fn random_query(rng: &mut StdRng, words: usize) -> TermQuery {
    let must = if rng.random_bool(0.3) { 0.3 } else { 0.0 };
    let expanded = rng.random_bool(0.4);
    let group = |rng: &mut StdRng| {
        let terms = if expanded { rng.random_range(1..6) } else { 1 };
        let terms: BTreeSet<usize> = (0..terms).map(|_| skewed(rng, words as u32) as usize).collect();
        let weight = |rng: &mut StdRng| *[0.0, 0.3, 1.0, 1.0, 4.2].choose(rng).unwrap();
        let terms = terms.into_iter().map(|number| WeightedTerm { number, weight: weight(rng) }).collect();
        TermGroup { terms, must: rng.random_bool(must) }
    };
    let groups = (0..rng.random_range(0..6)).map(|_| group(rng)).collect();
    let excluded = if rng.random_bool(0.3) { 2 } else { 0 };
    TermQuery {
        groups,
        must_not: (0..excluded).map(|_| rng.random_range(0..words)).collect(),
        minimum_match: *[0, 1, 1, 2, 3].choose(rng).unwrap(),
        k1: *[0.0, 1.2, 2.0].choose(rng).unwrap(),
        b: *[0.0, 0.75, 1.0].choose(rng).unwrap(),
        average_length: 19.5,
    }
}

#[test]
fn text_searches_find_what_a_scan_finds() {
    let words: Vec<String> = (0..130).map(word).collect();
    for seed in 0..120 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let rows = *[1, 40, 700, 6000].choose(rng).unwrap();
        let texts = random_texts(rng, rows);
        let index = index_of(&texts, rows);
        for _ in 0..6 {
            let query = random_query(rng, words.len());
            let allowed = random_rows(rng, rows);
            let k = *[1, 3, 10, 200].choose(rng).unwrap();
            let modulus = rng.random_range(2..5);
            let test = |row: u32| !row.is_multiple_of(modulus);
            let verify: Option<&dyn Fn(u32) -> bool> = if rng.random_bool(0.3) { Some(&test) } else { None };
            let inside = |row: u32| {
                allowed.as_ref().is_none_or(|allowed| allowed.contains(row)) && verify.is_none_or(|verify| verify(row))
            };
            let scores = texts.iter().filter(|(row, _)| inside(**row));
            let wanted = best_of(scores.filter_map(|(row, terms)| Some((*row, score(&query, &words, terms)?))), k);
            for exact in [false, true] {
                let mut best = Best::new(k);
                let interrupt = &Interrupt::never();
                let chunks = allowed.as_ref().map(|bitmap| whole(bitmap, rows));
                let allowed = chunks.as_ref().map(|chunks| IndexRows::new(chunks));
                let query = &numbered(&query, &words, &index);
                let search = TextSearch { query, allowed, verify, exact, interrupt };
                index.search(&search, &mut best).unwrap();
                assert_eq!(best.bits(), wanted, "seed {seed}, exact {exact}, query {query:?}");
            }
        }
    }
}

#[test]
fn a_row_is_verified_only_if_it_would_enter() {
    let texts: Texts = (0..20_000).map(|row| (row, vec!["a".to_owned(); 1 + row as usize % 7])).collect();
    let index = index_of(&texts, 20_000);
    let calls = std::cell::Cell::new(0);
    let verify = |row: u32| {
        calls.set(calls.get() + 1);
        row.is_multiple_of(2)
    };
    let group = TermGroup { terms: vec![WeightedTerm { number: 0, weight: 1.0 }], must: true };
    let query =
        TermQuery { groups: vec![group], must_not: vec![], minimum_match: 1, k1: 1.2, b: 0.0, average_length: 4.0 };
    let mut best = Best::new(3);
    let interrupt = &Interrupt::never();
    let search = TextSearch { query: &query, allowed: None, verify: Some(&verify), exact: false, interrupt };
    index.search(&search, &mut best).unwrap();
    let rows: Vec<u32> = best.bits().into_iter().map(|(_, row)| row).collect();
    assert_eq!(rows, [6, 20, 34]);
    // Only rows of seven tokens tie with the third best.
    assert!(calls.get() < 20_000 / 7 + 50, "{} calls", calls.get());
}

#[test]
fn statistics_and_frequencies_count_live_rows() {
    for seed in 0..20 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let texts = random_texts(rng, 1500);
        let index = index_of(&texts, 1500);
        let live: RoaringBitmap = (0..1500).filter(|_| rng.random_bool(0.8)).collect();
        let rows: Vec<&Vec<String>> = texts.iter().filter(|(row, _)| live.contains(**row)).map(|(_, t)| t).collect();
        let tokens = rows.iter().map(|terms| terms.len() as u64).sum();
        let chunks = whole(&live, 1500);
        let live = IndexRows::new(&chunks);
        let words: Vec<String> = (0..125).map(word).collect();
        let wanted: Vec<u32> =
            words.iter().map(|w| rows.iter().filter(|terms| terms.contains(w)).count() as u32).collect();
        let numbers: Vec<Option<usize>> = words.iter().map(|word| index.number(word)).collect();
        let statistics = TextStatistics { documents: rows.len() as u64, tokens };
        assert_eq!(index.statistics(&numbers, &live), (statistics, wanted), "seed {seed}");
    }
}

#[test]
fn a_merge_of_texts_is_the_index_of_the_rows_that_are_kept() {
    for seed in 0..20 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let sizes = [400, 0, 900];
        let parts: Vec<Texts> = sizes.iter().map(|rows| random_texts(rng, *rows)).collect();
        let (mappings, rows) = random_mapping(rng, &sizes);
        let mut kept = Texts::new();
        for (texts, mapping) in parts.iter().zip(&mappings) {
            let moved = texts.iter().map(|(row, terms)| (mapping[*row as usize], terms.clone()));
            kept.extend(moved.filter(|(row, _)| *row != DROPPED));
        }
        let indexes: Vec<TextIndex> = parts.iter().zip(sizes).map(|(texts, rows)| index_of(texts, rows)).collect();
        let parts: Vec<MergePart<'_, TextIndex>> = indexes.iter().zip(&mappings).map(|(i, m)| part(i, m)).collect();
        assert!(TextIndex::merge(&parts, rows).unwrap() == index_of(&kept, rows), "seed {seed}");
    }
}

/// The distance by its recursive definition, on a whole matrix.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut cells = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            cells[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = cells[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let least = changed.min(cells[i - 1][j] + 1).min(cells[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { least.min(cells[i - 2][j - 2] + 1) } else { least }
            };
        }
    }
    cells[a.len()][b.len()]
}

#[test]
fn terms_are_found_by_prefix_and_by_edit_distance() {
    for seed in 0..40 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let letters = ['a', 'b', 'é', '日', 'z'];
        let random = |rng: &mut StdRng| -> String {
            (0..rng.random_range(1..7)).map(|_| *letters.choose(rng).unwrap()).collect()
        };
        let terms: BTreeSet<String> = (0..300).map(|_| random(rng)).collect();
        let index = index_of(&Texts::from([(0, terms.iter().cloned().collect())]), 1);
        assert_eq!(index.terms(), terms.len());
        let (one, all) = (1, RoaringBitmap::from([0]));
        let live = [ChunkRows { first: 0, len: one, rows: &all }];
        let live = IndexRows::new(&live);
        for _ in 0..20 {
            let query = random(rng);
            let prefix: String = query.chars().take(2).collect();
            let wanted: Vec<&str> =
                terms.iter().filter(|term| term.starts_with(&prefix)).map(String::as_str).take(5).collect();
            assert_eq!(index.terms_with_prefix(&prefix, 5, &live), wanted, "seed {seed}, prefix {prefix}");
            for distance in 0..3 {
                let near = terms.iter().map(|term| (term.as_str(), edit_distance(term, &query)));
                let mut wanted: Vec<(&str, usize)> = near.filter(|(_, far)| *far <= distance).collect();
                wanted.sort_by_key(|(term, far)| (*far, *term));
                assert_eq!(index.terms_within(&query, distance, usize::MAX, &live), wanted, "seed {seed}, {query}");
                wanted.truncate(3);
                assert_eq!(index.terms_within(&query, distance, 3, &live), wanted, "seed {seed}, {query}");
            }
        }
    }
}

#[test]
fn of_many_terms_with_a_prefix_the_most_frequent_are_found() {
    let often = |n: u32| (0..if n % 7 == 3 { 5 } else { 1 }).map(move |row| (row, format!("a{n:02}")));
    let mut texts = Texts::new();
    for (row, term) in (0..50).flat_map(often) {
        texts.entry(row).or_default().push(term);
    }
    let index = index_of(&texts, 5);
    let (all, rest) = (RoaringBitmap::from_iter(0..5), RoaringBitmap::from_iter(1..5));
    let of = |rows| [ChunkRows { first: 0, len: 5, rows }];
    let chunks = of(&all);
    let live = IndexRows::new(&chunks);
    assert_eq!(index.terms_with_prefix("a", 7, &live), ["a03", "a10", "a17", "a24", "a31", "a38", "a45"]);
    assert_eq!(index.terms_with_prefix("a", 9, &live)[..3], ["a00", "a01", "a03"]);
    assert_eq!(index.terms_with_prefix("a", 0, &live), [""; 0]);
    // Without the row that has all of them, those that others have are what is left.
    let chunks = of(&rest);
    let live = IndexRows::new(&chunks);
    assert_eq!(index.terms_with_prefix("a", 9, &live), ["a03", "a10", "a17", "a24", "a31", "a38", "a45"]);
    assert_eq!(index.terms_within("a03", 1, 2, &live), [("a03", 0)]);
}
