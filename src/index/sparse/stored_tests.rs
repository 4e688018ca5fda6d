//! Indexes that were stored and read back: the same to the bit, and found by the same searches. Whatever happens to the
//! bytes, what is read keeps the rules that searches rely on.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::tests::{Best, random_vectors, search_vectors, skewed};
use super::text_tests::{numbered, random_query, random_texts, word};
use super::*;
use crate::format::Checksum;
use crate::format::inverted::{InvertedHeader, InvertedKind, InvertedParts, decode_inverted, encode_inverted};
use crate::interrupt::Interrupt;

fn header(kind: InvertedKind) -> InvertedHeader {
    InvertedHeader { stream: "c/1".into(), segment: Checksum(7), kind }
}

fn text_bytes(indexes: &[TextIndex]) -> Vec<u8> {
    let parts = InvertedParts::Text(indexes.iter().map(|index| index.columns().clone()).collect());
    encode_inverted(&header(InvertedKind::Text { fingerprint: 3 }), &parts).unwrap()
}

fn vector_bytes(indexes: &[SparseIndex]) -> Vec<u8> {
    let parts = InvertedParts::Sparse(indexes.iter().map(|index| index.columns().clone()).collect());
    encode_inverted(&header(InvertedKind::Sparse { metadata_key: "key".into() }), &parts).unwrap()
}

/// Reads an object of texts; `None`: it is refused.
fn read_texts(bytes: &[u8]) -> Option<Vec<TextIndex>> {
    match decode_inverted(bytes) {
        Ok((_, InvertedParts::Text(parts))) => Some(parts.into_iter().map(TextIndex::from_columns).collect()),
        _ => None,
    }
}

fn read_vectors(bytes: &[u8]) -> Option<Vec<SparseIndex>> {
    match decode_inverted(bytes) {
        Ok((_, InvertedParts::Sparse(parts))) => Some(parts.into_iter().map(SparseIndex::from_columns).collect()),
        _ => None,
    }
}

fn search_texts(index: &TextIndex, query: &TermQuery, exact: bool) -> Vec<(u32, u32)> {
    let mut best = Best::new(10);
    let search = TextSearch { query, allowed: None, verify: None, exact, interrupt: &Interrupt::never() };
    index.search(&search, &mut best).unwrap();
    best.bits()
}

#[test]
fn stored_texts_are_read_back_to_the_bit_and_searched_alike() {
    let words: Vec<String> = (0..130).map(word).collect();
    for seed in 0..40 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let sizes: Vec<u32> = (0..3).map(|_| *[0, 1, 2, 300, 3000].choose(rng).unwrap()).collect();
        let indexes: Vec<TextIndex> =
            sizes.iter().map(|rows| super::text_tests::index_of(&random_texts(rng, *rows), *rows)).collect();
        let read = read_texts(&text_bytes(&indexes)).unwrap();
        assert!(read == indexes, "seed {seed}");
        for (read, index) in read.iter().zip(&indexes) {
            assert!(read.size_bytes() <= index.size_bytes() + 2048, "seed {seed}: more memory than when it was built");
            for exact in [false, true] {
                let query = numbered(&random_query(rng, words.len()), &words, index);
                assert_eq!(search_texts(read, &query, exact), search_texts(index, &query, exact), "seed {seed}");
            }
        }
    }
}

#[test]
fn stored_vectors_are_read_back_to_the_bit_and_searched_alike() {
    for seed in 0..40 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let sizes: Vec<u32> = (0..3).map(|_| *[0, 1, 2, 300, 5000].choose(rng).unwrap()).collect();
        let indexes: Vec<SparseIndex> =
            sizes.iter().map(|rows| super::tests::index_of(&random_vectors(rng, *rows, true), *rows)).collect();
        let read = read_vectors(&vector_bytes(&indexes)).unwrap();
        assert!(read == indexes, "seed {seed}");
        for (read, index) in read.iter().zip(&indexes) {
            let query = (0..6).map(|_| (skewed(rng, 60) * 7, 1.5)).collect();
            let (mut got, mut wanted) = (Best::new(10), Best::new(10));
            search_vectors(read, &query, (None, false), &mut got);
            search_vectors(index, &query, (None, false), &mut wanted);
            assert_eq!(got.bits(), wanted.bits(), "seed {seed}");
        }
    }
}

#[test]
fn an_index_whose_bytes_were_changed_is_refused_or_answers_as_a_scan_of_it_does() {
    let rng = &mut StdRng::seed_from_u64(4);
    let words: Vec<String> = (0..130).map(word).collect();
    let texts = text_bytes(&[super::text_tests::index_of(&random_texts(rng, 400), 400)]);
    let vectors = vector_bytes(&[super::tests::index_of(&random_vectors(rng, 400, true), 400)]);
    let (mut refused, mut searched) = (0, 0);
    for round in 0..6000 {
        let of_texts = round % 2 == 0;
        let mut bytes = if of_texts { texts.clone() } else { vectors.clone() };
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = bytes[at].wrapping_add(*[1, 255, 128, 7].choose(rng).unwrap());
        }
        match of_texts {
            true => {
                let Some(read) = read_texts(&bytes) else {
                    refused += 1;
                    continue;
                };
                let query = random_query(rng, words.len());
                for index in read {
                    let query = numbered(&query, &words, &index);
                    assert_eq!(
                        search_texts(&index, &query, false),
                        search_texts(&index, &query, true),
                        "round {round}"
                    );
                    index.terms_within("ba1", 1, 9, &IndexRows::new(&[]));
                }
            }
            false => {
                let Some(read) = read_vectors(&bytes) else {
                    refused += 1;
                    continue;
                };
                let query = (0..6).map(|_| (skewed(rng, 60) * 7, 1.5)).collect();
                for index in read {
                    let (mut fast, mut all) = (Best::new(10), Best::new(10));
                    search_vectors(&index, &query, (None, false), &mut fast);
                    search_vectors(&index, &query, (None, true), &mut all);
                    assert_eq!(fast.bits(), all.bits(), "round {round}");
                }
            }
        }
        searched += 1;
    }
    assert!(refused > 500 && searched > 500, "{refused} refused, {searched} searched");
}

/// The rows of each part of `data-fixtures/inverted-format-1`; its README has the formulas.
const FIXTURE_ROWS: [u32; 3] = [300, 1, 40];

fn fixture_texts() -> Vec<TextIndex> {
    let terms = |p: u32, i: u32| -> Vec<String> {
        let numbers = (0..(7 * i + p) % 23).map(|j| (i * j + 3 * p) % 29);
        let words = numbers.map(|n| if n % 5 == 0 { format!("é{n}") } else { format!("w{n}") });
        let more = if i == 7 { 270 } else { usize::from(i == 8) };
        words.chain(std::iter::repeat_n("日本".to_owned(), more)).collect()
    };
    let part = |(p, rows): (u32, u32)| {
        let mut builder = TextIndexBuilder::new();
        for i in (0..rows).filter(|i| (i + p) % 10 != 3) {
            builder.add(i, terms(p, i).iter().map(String::as_str)).unwrap();
        }
        builder.finish(rows).unwrap()
    };
    (0..).zip(FIXTURE_ROWS).map(part).collect()
}

fn fixture_vectors() -> Vec<SparseIndex> {
    let part = |(p, rows): (u32, u32)| {
        let mut builder = SparseIndexBuilder::new();
        for i in (0..rows).filter(|i| (i + p) % 9 != 4) {
            let entries =
                (0..i % 6).map(|j| (1000 * j + j * ((i + p) % 4), ((31 * i + 17 * j) % 101) as f32 / 8.0 - 6.0));
            let (dimensions, weights): (Vec<u32>, Vec<f32>) = entries.unzip();
            builder.add(i, &dimensions, &weights).unwrap();
        }
        builder.finish(rows).unwrap()
    };
    (0..).zip(FIXTURE_ROWS).map(part).collect()
}

fn fixture_header(kind: InvertedKind) -> InvertedHeader {
    let segment = Checksum(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    InvertedHeader { stream: "c/fixture".into(), segment, kind }
}

fn fixture(folder: &str, name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data-fixtures").join(folder);
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn stored_indexes_of_format_1_are_read_and_are_those_of_their_rows() {
    let (text, sparse) = (fixture("inverted-format-1", "text.arrow"), fixture("inverted-format-1", "sparse.arrow"));
    let kind = InvertedKind::Text { fingerprint: 0x0123_4567_89ab_cdef };
    assert_eq!(decode_inverted(&text).unwrap().0, fixture_header(kind));
    let kind = InvertedKind::Sparse { metadata_key: "splade".into() };
    assert_eq!(decode_inverted(&sparse).unwrap().0, fixture_header(kind));
    assert!(read_texts(&text).unwrap() == fixture_texts());
    assert!(read_vectors(&sparse).unwrap() == fixture_vectors());
    let blocks = |blocks: &[u32]| blocks.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert_eq!(blocks(&fixture_texts()[0].columns().lists().blocks.term_blocks), Some(3));
    assert_eq!(blocks(&fixture_vectors()[0].columns().lists().blocks.term_blocks), Some(2));
}

/// One index of several, one behind the other.
fn one_of<I>(indexes: &[I], rows: fn(&I) -> u32, merge: fn(&[MergePart<'_, I>], u32) -> crate::error::Result<I>) -> I {
    let mut end = 0;
    let mut mapping = |index: &I| {
        let start = end;
        end += rows(index);
        (start..end).collect()
    };
    let mappings: Vec<Vec<u32>> = indexes.iter().map(&mut mapping).collect();
    let parts: Vec<MergePart<'_, I>> =
        indexes.iter().zip(&mappings).map(|(index, rows)| MergePart { index, first: 0, rows }).collect();
    merge(&parts, end).unwrap()
}

/// The parts of `data-fixtures/inverted-format-2`: the first is of two chunks, the second of one.
fn fixture_2() -> (Vec<TextIndex>, Vec<SparseIndex>) {
    let (texts, vectors) = (fixture_texts(), fixture_vectors());
    let first = one_of(&texts[..2], TextIndex::rows, TextIndex::merge);
    let texts = [first].into_iter().chain(texts.into_iter().skip(2)).collect();
    let first = one_of(&vectors[..2], SparseIndex::rows, SparseIndex::merge);
    (texts, [first].into_iter().chain(vectors.into_iter().skip(2)).collect())
}

#[test]
fn stored_indexes_of_format_2_are_read_and_are_those_of_their_rows() {
    let (text, sparse) = (fixture("inverted-format-2", "text.arrow"), fixture("inverted-format-2", "sparse.arrow"));
    let kind = InvertedKind::Text { fingerprint: 0x0123_4567_89ab_cdef };
    assert_eq!(decode_inverted(&text).unwrap().0, fixture_header(kind));
    let kind = InvertedKind::Sparse { metadata_key: "splade".into() };
    assert_eq!(decode_inverted(&sparse).unwrap().0, fixture_header(kind));
    let (texts, vectors) = fixture_2();
    assert!(read_texts(&text).unwrap() == texts);
    assert!(read_vectors(&sparse).unwrap() == vectors);
    assert_eq!(texts.iter().map(TextIndex::rows).collect::<Vec<_>>(), [301, 40]);
}
