//! Searches by words and by sparse vectors against a plain scan of a map, while records are added, replaced, updated
//! and deleted, chunks are merged under the indexes, and indexes are joined.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::replay::Replay;
use super::request::{Combination, Get, Include, LeafQuery, LeafSearch, RankedSearch, Ranking, Selection, Write};
use super::state::chunk::{CHUNK_ROWS, Chunk};
use super::state::snapshot::Snapshot;
use crate::config::Limits;
use crate::filter::Filter;
use crate::format::inverted::{Inverted, InvertedHeader, InvertedKind, decode_inverted, encode_inverted};
use crate::format::{Checksum, decode_segment};
use crate::interrupt::Interrupt;
use crate::record::{MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, SparseVector, Version};
use crate::stream::state::State;
use crate::text::{Analyser, Occur, QueryOptions, TextQuery, TextSettings, Typos};

const WORDS: [&str; 12] =
    ["fox", "dog", "quick", "brown", "lazy", "river", "stone", "run", "running", "the", "light", "house"];

fn document(rng: &mut StdRng) -> Option<String> {
    let length = rng.random_range(0..12);
    let words: Vec<&str> = (0..length).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect();
    (!rng.random_bool(0.1)).then(|| words.join(" "))
}

fn vector(rng: &mut StdRng) -> SparseVector {
    let indices: Vec<u32> = (0..8).filter(|_| rng.random_bool(0.3)).collect();
    let values = indices.iter().map(|_| rng.random_range(-2..6) as f32 / 4.0).collect();
    SparseVector::new(indices, values).unwrap()
}

fn record(rng: &mut StdRng, n: usize) -> Record {
    let mut metadata = Metadata::from([("n", MetaValue::from(rng.random_range(0..4i64)))]);
    if rng.random_bool(0.8) {
        metadata.0.insert("v".to_owned(), vector(rng).into());
    }
    Record { document: document(rng), metadata: Some(metadata), ..Record::new(format!("r{n}"), vec![1.0]) }
}

/// One change of a few records.
fn change(rng: &mut StdRng, records: usize) -> Write {
    let mut some = || rng.random_range(0..records);
    let numbers: Vec<usize> = (0..20).map(|_| some()).collect();
    match rng.random_range(0..4) {
        0 => Write::Delete(Selection {
            ids: Some(numbers.iter().map(|n| format!("r{n}")).collect()),
            ..Selection::default()
        }),
        1 => {
            let mut update = |n: &usize| RecordUpdate {
                id: format!("r{n}"),
                document: document(rng),
                metadata: Some(MetadataPatch(
                    [("v".to_owned(), rng.random_bool(0.7).then(|| vector(rng).into()))].into(),
                )),
                ..RecordUpdate::default()
            };
            Write::Update(numbers.iter().map(&mut update).collect())
        }
        2 => Write::Upsert(numbers.iter().map(|n| record(rng, *n)).collect()),
        _ => Write::Add(numbers.iter().map(|n| record(rng, *n)).collect()),
    }
}

/// The live records in insertion order.
fn live(snapshot: &Snapshot) -> Vec<Record> {
    let get = Get { include: Include::ALL, ..Get::default() };
    let found = snapshot.get(&get, &Interrupt::never()).unwrap().records;
    let record = |found: super::request::Found| Record {
        id: found.id,
        embedding: found.embedding.unwrap_or_default(),
        document: found.document,
        uri: found.uri,
        metadata: found.metadata,
    };
    found.into_iter().map(record).collect()
}

/// What a search finds: ids and scores.
fn search(snapshot: &Snapshot, query: LeafQuery, filter: Option<&Filter>, limit: usize) -> Vec<(String, f32)> {
    let rank = Ranking { combination: Combination::Single, leaves: vec![LeafSearch { query, limit }] };
    let search = RankedSearch { filter: filter.cloned(), rank: Some(rank), ..RankedSearch::default() };
    let rows = snapshot.ranked(&search, (None, usize::MAX), &Limits::default(), &Interrupt::never()).unwrap();
    rows.rows.iter().map(|row| (snapshot.chunk(row.at).id(row.at.row).to_owned(), row.score.unwrap())).collect()
}

/// The best of the scored records; `scores` are in insertion order.
fn best(mut scores: Vec<(String, f32)>, limit: usize) -> Vec<(String, f32)> {
    scores.sort_by(|a, b| a.1.total_cmp(&b.1));
    scores.truncate(limit);
    scores
}

fn matching<'r>(records: &'r [Record], filter: Option<&'r Filter>) -> impl Iterator<Item = &'r Record> {
    records.iter().filter(move |r| filter.is_none_or(|f| f.matches(r.metadata.as_ref(), r.document.as_deref())))
}

fn sparse_of(record: &Record) -> Option<&SparseVector> {
    match record.metadata.as_ref()?.0.get("v")? {
        MetaValue::Sparse(vector) => Some(vector),
        _ => None,
    }
}

fn sparse_truth(records: &[Record], query: (&SparseVector, bool), filter: Option<&Filter>) -> Vec<(String, f32)> {
    let (vector, idf) = query;
    let weight = |index: u32, value: f32| {
        let with = records.iter().filter(|r| sparse_of(r).is_some_and(|v| v.indices().contains(&index))).count() as f32;
        let n = records.len() as f32;
        if idf { value * ((n - with + 0.5) / (with + 0.5)).ln_1p() } else { value }
    };
    let weights: BTreeMap<u32, f32> =
        vector.indices().iter().zip(vector.values()).map(|(index, value)| (*index, weight(*index, *value))).collect();
    let score = |record: &Record| {
        let own = sparse_of(record)?;
        let entries = own.indices().iter().zip(own.values());
        let products: Vec<f32> = entries.filter_map(|(index, value)| Some(weights.get(index)? * value)).collect();
        (!products.is_empty()).then(|| (record.id.clone(), 1.0 - products.iter().fold(0.0, |sum, p| sum + p)))
    };
    matching(records, filter).filter_map(score).collect()
}

/// BM25 by the book, of a query of exact words and phrases; scores with the other sign.
fn text_truth(
    records: &[Record],
    query: &TextQuery,
    analyser: &Analyser,
    filter: Option<&Filter>,
) -> Vec<(String, f32)> {
    let terms = |text: &str| {
        let mut terms = Vec::new();
        analyser.tokeniser().each(text, |token| terms.push(token.term.to_owned()));
        terms
    };
    let documents: Vec<Option<Vec<String>>> = records.iter().map(|r| r.document.as_deref().map(terms)).collect();
    let count = documents.iter().flatten().count() as f64;
    let average = documents.iter().flatten().map(Vec::len).sum::<usize>() as f64 / count;
    let idf = |term: &String| {
        let with = documents.iter().flatten().filter(|document| document.contains(term)).count() as f64;
        ((count - with + 0.5) / (with + 0.5)).ln_1p()
    };
    let score = |record: &Record| {
        let text = record.document.as_deref()?;
        let mut tokeniser = analyser.tokeniser();
        if !query.matches(text, &mut tokeniser) {
            return None;
        }
        let hits = query.hits(text, &mut tokeniser);
        let own = terms(text);
        let mut sum = 0.0;
        for (place, clause) in query.clauses().iter().enumerate() {
            if clause.occur == Occur::MustNot || !hits.iter().any(|hit| hit.clause == place) {
                continue;
            }
            for wanted in &clause.terms {
                let tf = own.iter().filter(|term| **term == wanted.pattern.term).count() as f64;
                let norm = 1.2 * (0.25 + 0.75 * own.len() as f64 / average);
                sum += f64::from(clause.count) * idf(&wanted.pattern.term) * tf * 2.2 / (tf + norm);
            }
        }
        Some((record.id.clone(), -sum as f32))
    };
    matching(records, filter).filter_map(score).collect()
}

fn text_query(rng: &mut StdRng) -> String {
    let part = |rng: &mut StdRng| {
        let mut word = || WORDS[rng.random_range(0..WORDS.len())];
        let (first, second) = (word(), word());
        match rng.random_range(0..6) {
            0 => format!("\"{first} {second}\""),
            1 => format!("+{first}"),
            2 => format!("-{first}"),
            3 => format!("-\"{first} {second}\""),
            _ => first.to_owned(),
        }
    };
    let parts: Vec<String> = (0..rng.random_range(1..5)).map(|_| part(rng)).collect();
    parts.join(" ")
}

/// Equal lists; where scores differ by rounding only, neighbours may have changed places.
fn assert_alike(found: &[(String, f32)], all: &[(String, f32)], limit: usize, context: &str) {
    let expected = best(all.to_vec(), limit);
    assert_eq!(found.len(), expected.len(), "{context}: {found:?}, not {expected:?}");
    let truth: BTreeMap<&str, f32> = all.iter().map(|(id, score)| (id.as_str(), *score)).collect();
    for ((id, score), (_, at_place)) in found.iter().zip(&expected) {
        let own = truth.get(id.as_str()).unwrap_or_else(|| panic!("{context}: {id} does not match"));
        let near = |a: f32, b: f32| (a - b).abs() <= 1e-4 * a.abs().max(1.0);
        assert!(near(*score, *own) && near(*score, *at_place), "{context}: {id} {score}, not {own}; {expected:?}");
    }
}

/// Searches of a snapshot as their truth has them: one by a sparse vector, one by words.
fn check_searches(rng: &mut StdRng, snapshot: &Snapshot, analyser: &Arc<Analyser>, context: &str) {
    let records = live(snapshot);
    let filters = [None, Some(Filter::eq("n", 1)), Some(!Filter::eq("n", 2))];
    for filter in filters.iter().map(Option::as_ref) {
        let (query, limit) = (vector(rng), rng.random_range(1..40));
        let idf = rng.random_bool(0.5);
        let leaf = LeafQuery::Sparse { key: "v".to_owned(), vector: query.clone(), idf };
        let truth = sparse_truth(&records, (&query, idf), filter);
        let found = search(snapshot, leaf, filter, limit);
        assert_eq!(found, best(truth, limit), "{context}, {query:?}, idf {idf}, limit {limit}");
        let words = text_query(rng);
        let query = TextQuery::parse(&words, analyser, &QueryOptions::default()).unwrap();
        let truth = text_truth(&records, &query, analyser, filter);
        let leaf = LeafQuery::Text { query, analyser: analyser.clone() };
        let found = search(snapshot, leaf, filter, limit).into_iter().map(|(id, score)| (id, -score));
        assert_alike(&found.collect::<Vec<_>>(), &truth, limit, &format!("{context}, {words:?}, limit {limit}"));
    }
}

#[test]
fn words_and_sparse_vectors_are_found_as_by_a_scan_whatever_became_of_the_records() {
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut replay = Replay::new(Metric::L2);
        replay.add((0..300).map(|n| record(&mut rng, n)));
        let analyser = Arc::new(Analyser::new(&TextSettings::default()).unwrap());
        for step in 0..40 {
            let write = change(&mut rng, 400);
            replay.write(write).unwrap();
            check_searches(&mut rng, &replay.snapshot(), &analyser, &format!("seed {seed}, step {step}"));
        }
    }
}

/// What tells the indexes of the documents and of the sparse vectors apart from others.
fn kinds(analyser: &Analyser) -> [InvertedKind; 2] {
    [InvertedKind::Text { fingerprint: analyser.fingerprint() }, InvertedKind::Sparse { metadata_key: "v".to_owned() }]
}

/// Searches of a snapshot that are always the same.
fn answers(snapshot: &Snapshot, analyser: &Arc<Analyser>) -> Vec<Vec<(String, u32)>> {
    let mut rng = StdRng::seed_from_u64(1_000);
    let mut found = Vec::new();
    for filter in [None, Some(Filter::eq("n", 1))] {
        for words in ["fox dog", "+river stone -light", "quick brwn runn", "\"lazy dog\" house"] {
            let options = QueryOptions { typos: Typos::Auto, ..QueryOptions::default() };
            let query = TextQuery::parse(words, analyser, &options).unwrap();
            found.push(search(snapshot, LeafQuery::Text { query, analyser: analyser.clone() }, filter.as_ref(), 15));
        }
        for idf in [false, true] {
            let query = LeafQuery::Sparse { key: "v".to_owned(), vector: vector(&mut rng), idf };
            found.push(search(snapshot, query, filter.as_ref(), 15));
        }
    }
    let bits = |found: Vec<(String, f32)>| found.into_iter().map(|(id, score)| (id, score.to_bits())).collect();
    found.into_iter().map(bits).collect()
}

#[test]
fn joined_indexes_answer_as_a_scan_does_while_chunks_are_merged_and_old_snapshots_are_read() {
    for seed in 20..26 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut replay = Replay::new(Metric::L2);
        replay.add((0..300).map(|n| record(&mut rng, n)));
        let analyser = Arc::new(Analyser::new(&TextSettings::default()).unwrap());
        let mut old: Vec<Arc<Snapshot>> = Vec::new();
        for step in 0..60 {
            let write = change(&mut rng, 400);
            replay.write(write).unwrap();
            let (snapshot, context) = (replay.snapshot(), format!("seed {seed}, step {step}"));
            for kind in kinds(&analyser).iter().filter(|_| step % 3 == 0) {
                let some = (0..snapshot.chunks.len()).filter(|_| rng.random_bool(0.7)).collect();
                snapshot.join_of(kind, some, 0).run().unwrap();
            }
            check_searches(&mut rng, &snapshot, &analyser, &context);
            if step % 7 == 0 {
                old.push(snapshot);
            }
            if let Some(snapshot) = old.choose(&mut rng) {
                check_searches(&mut rng, snapshot, &analyser, &format!("{context}, version {}", snapshot.version()));
            }
        }
        let unjoined = replay.reopened(&[]);
        assert_eq!(answers(&replay.snapshot(), &analyser), answers(&unjoined.snapshot(), &analyser), "seed {seed}");
    }
}

/// How many indexes a search for words goes through.
fn text_spans(snapshot: &Snapshot, analyser: &Analyser) -> usize {
    let share = |chunk: &Chunk| chunk.text_index(analyser);
    snapshot.spans(0..snapshot.chunks.len(), &Interrupt::never(), share).unwrap().len()
}

/// Runs the joins that are due; returns how many there were.
fn join_all(snapshot: &Snapshot, analyser: &Analyser) -> usize {
    let kinds = kinds(analyser).into();
    std::iter::from_fn(|| snapshot.due_join(&kinds, u64::MAX)).inspect(|join| join.run().unwrap()).count()
}

#[test]
fn indexes_of_full_chunks_are_joined_stored_and_loaded_as_one_and_answer_alike() {
    let mut rng = StdRng::seed_from_u64(40);
    let (mut replay, rows) = (Replay::new(Metric::L2), CHUNK_ROWS * 2 + 300);
    replay.add((0..rows).map(|n| record(&mut rng, n)));
    let analyser = Arc::new(Analyser::new(&TextSettings::default()).unwrap());
    let snapshot = replay.snapshot();
    let expected = answers(&snapshot, &analyser);
    assert_eq!(text_spans(&snapshot, &analyser), 3);
    let before = snapshot.footprint().records_bytes;
    assert_eq!(join_all(&snapshot, &analyser), 2, "one of each kind");
    assert_eq!(text_spans(&snapshot, &analyser), 2, "the last chunk may still be merged");
    assert_eq!(answers(&snapshot, &analyser), expected);
    assert!(snapshot.footprint().records_bytes < before, "what the chunks have in common is kept once");

    let groups = decode_segment(&replay.segment(1, 1)).unwrap().groups;
    let stored = snapshot.index_segment(&groups, &kinds(&analyser), &analyser).unwrap();
    let stored = stored.into_iter().map(|(kind, parts)| {
        let header = InvertedHeader { stream: "c/x".to_owned(), segment: Checksum(1), kind };
        let (header, parts) = decode_inverted(&encode_inverted(&header, &parts).unwrap()).unwrap();
        Inverted { kind: header.kind, parts }
    });
    let mut loaded = Replay::new(Metric::L2);
    loaded.state.configure(replay.commits[0].header.config.as_ref().unwrap()).unwrap();
    loaded.state.load(groups, Version(1), stored.collect()).unwrap();
    loaded.catch_up(&replay);
    let of_segment = loaded.snapshot();
    assert!(of_segment.chunks.iter().all(|view| kinds(&analyser).iter().all(|kind| view.chunk.inverted().has(kind))));
    assert_eq!(text_spans(&of_segment, &analyser), 1);
    assert_eq!(answers(&of_segment, &analyser), expected);

    // More than half of the first chunk goes: it is rewritten, and leaves the joined index.
    let ids: Vec<String> = (0..CHUNK_ROWS * 3 / 5).map(|n| format!("r{n}")).collect();
    let delete = Write::Delete(Selection { ids: Some(ids), ..Selection::default() });
    replay.write(delete.clone()).unwrap();
    loaded.write(delete).unwrap();
    let expected = answers(&replay.reopened(&[]).snapshot(), &analyser);
    for (rewritten, old) in [(replay.snapshot(), snapshot), (loaded.snapshot(), of_segment)] {
        assert_eq!(answers(&rewritten, &analyser), expected);
        let of_old = answers(&old, &analyser);
        assert!(join_all(&rewritten, &analyser) > 0, "half of an index is of a chunk that is gone");
        assert_eq!(join_all(&rewritten, &analyser), 0);
        assert_eq!(answers(&rewritten, &analyser), expected);
        assert_eq!(answers(&old, &analyser), of_old, "an older snapshot keeps what it had");
    }
}

#[test]
fn words_of_deleted_documents_do_not_displace_others_with_the_same_beginning() {
    let many: String = (0..1_024).map(|n| format!("xa{n:04} ")).collect();
    let record = |id: &str, text: &str| Record { document: Some(text.to_owned()), ..Record::new(id, vec![1.0]) };
    let mut replay = Replay::new(Metric::L2);
    let texts = [("a", many.as_str()), ("b", &many), ("c", "xaver"), ("d", "other"), ("e", "other")];
    replay.add(texts.iter().map(|(id, text)| record(id, text)));
    replay.delete(&["a", "b"]);
    let analyser = Arc::new(Analyser::new(&TextSettings::default()).unwrap());
    let options = QueryOptions { prefix: true, ..QueryOptions::default() };
    let query = TextQuery::parse("xa", &analyser, &options).unwrap();
    let query = LeafQuery::Text { query, analyser };
    let found = search(&replay.snapshot(), query, None, 5);
    assert_eq!(found.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ["c"]);
}
