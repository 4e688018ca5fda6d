//! Writes of documents beside a map of documents: a seeded life of a few, in batches, read whole after each commit and
//! again from segments; what a refused one leaves behind.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::change::Change;
use crate::collection::read::select::Matched;
use crate::collection::replay::Replay;
use crate::collection::request::documents::{DocumentUpdate, DocumentWrite, SplitDocument, split};
use crate::collection::request::{Get, Selection, Write};
use crate::config::Limits;
use crate::filter::Filter;
use crate::interrupt::Interrupt;
use crate::record::{MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate};

/// What a document is to be: its parts, and the value of its key `n`.
type Model = BTreeMap<String, (Vec<String>, Option<i64>)>;

fn parts(id: &str, texts: &[String], n: Option<i64>) -> Vec<Record> {
    let document = texts.concat();
    let mut end = 0;
    let ranges = texts.iter().map(|text| {
        end += text.len();
        end - text.len()..end
    });
    let metadata = n.map(|n| Metadata::from([("n", n)]));
    let record = Record { document: Some(document.clone()), metadata, ..Record::new(id, Vec::new()) };
    let mut parts = split(&record, &ranges.collect::<Vec<_>>());
    parts.iter_mut().for_each(|part| part.embedding = vec![part.document.as_ref().map_or(0, String::len) as f32]);
    parts
}

fn texts(random: &mut StdRng) -> Vec<String> {
    (0..random.random_range(1..5)).map(|_| "x".repeat(random.random_range(1..4))).collect()
}

fn documents(write: DocumentWrite) -> Change {
    Change::Documents(write, Matched::default())
}

/// A change of one document or several, made on the model too. `None` of the counts: it is not foreseen.
fn next_change(random: &mut StdRng, model: &mut Model) -> (Change, usize) {
    let id = ["a", "b", "c", "d#1"][random.random_range(0..4)].to_owned();
    let n = Some(random.random_range(0..3)).filter(|n| *n > 0);
    let new = texts(random);
    let document = SplitDocument { parts: parts(&id, &new, n), id: id.clone() };
    match random.random_range(0..7) {
        0 => {
            let exists = model.contains_key(&id);
            model.entry(id).or_insert((new, n));
            (documents(DocumentWrite::Add(vec![document])), usize::from(!exists))
        }
        1 | 2 => {
            model.insert(id, (new, n));
            (documents(DocumentWrite::Upsert(vec![document])), 1)
        }
        kind @ (3 | 4) => {
            let known = model.get_mut(&id);
            let (applied, with_text) = (usize::from(known.is_some()), kind == 3);
            if let Some((texts, value)) = known {
                (*texts, *value) = (if with_text { new.clone() } else { texts.clone() }, n);
            }
            let metadata = Some(MetadataPatch([("n".to_owned(), n.map(MetaValue::Int))].into()));
            let change = RecordUpdate { id: id.clone(), metadata, ..RecordUpdate::default() };
            let parts = with_text.then(|| parts(&id, &new, None));
            (documents(DocumentWrite::Update(vec![DocumentUpdate { change, parts }])), applied)
        }
        5 => {
            let applied = usize::from(model.remove(&id).is_some());
            (documents(DocumentWrite::Delete(Selection::by_ids([id.as_str(), "unknown"]))), applied)
        }
        _ => {
            let filter = Filter::parse(Some(&serde_json::json!({"n": 1})), None).unwrap().unwrap();
            let before = model.len();
            model.retain(|_, (_, n)| *n != Some(1));
            (documents(DocumentWrite::Delete(Selection::matching(filter))), before - model.len())
        }
    }
}

fn stored(replay: &Replay) -> Vec<Record> {
    let records = replay.snapshot().get(&Get::all().include(crate::Include::ALL), &Interrupt::never()).unwrap().records;
    let mut records: Vec<Record> = records
        .into_iter()
        .map(|found| Record {
            id: found.id,
            embedding: found.embedding.unwrap_or_default(),
            document: found.document,
            uri: found.uri,
            metadata: found.metadata,
        })
        .collect();
    records.sort_by(|a, b| a.id.cmp(&b.id));
    records
}

#[test]
fn documents_have_all_parts_of_their_last_write_and_no_others() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut replay, mut model) = (Replay::new(Metric::L2), Model::new());
        for _ in 0..30 {
            let changes = (0..random.random_range(1..4)).map(|_| next_change(&mut random, &mut model));
            let (changes, applied): (Vec<Change>, Vec<usize>) = changes.unzip();
            let answers = replay.commit(&changes);
            let done: Vec<usize> = answers.into_iter().map(|answer| answer.unwrap().applied).collect();
            assert_eq!(done, applied, "seed {seed}: {changes:?}");
            let mut expected: Vec<Record> = model.iter().flat_map(|(id, (texts, n))| parts(id, texts, *n)).collect();
            expected.sort_by(|a, b| a.id.cmp(&b.id));
            assert_eq!(stored(&replay), expected, "seed {seed}");
        }
        let versions = replay.commits.len() as u64;
        assert_eq!(stored(&replay.reopened(&[versions / 2, versions])), stored(&replay), "seed {seed}");
    }
}

#[test]
fn a_refused_document_leaves_no_trace_of_those_before_it() {
    let mut replay = Replay::with_limits(Metric::L2, Limits { batch_records: 4, ..Limits::default() });
    let document = |id: &str, texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
        SplitDocument { id: id.into(), parts: parts(id, &texts, None) }
    };
    let first = documents(DocumentWrite::Upsert(vec![document("a", &["x", "y"])]));
    assert_eq!(replay.commit(&[first])[0].as_ref().unwrap().applied, 1);
    let mut wrong = document("b", &["z"]);
    wrong.parts[0].embedding = vec![1.0, 2.0];
    let refused = documents(DocumentWrite::Upsert(vec![document("a", &["new"]), wrong]));
    let many = documents(DocumentWrite::Upsert(vec![document("c", &["1", "2", "3", "4", "5"])]));
    let after = Change::Write(Write::Add(vec![Record::new("plain", vec![1.0])]));
    let answers = replay.commit(&[refused, many, after]);
    assert!(answers[0].as_ref().unwrap_err().message().contains("expected 1 numbers, got 2"));
    assert!(answers[1].as_ref().unwrap_err().message().contains("limits.batch_records"));
    let ids: Vec<String> = stored(&replay).into_iter().map(|record| record.id).collect();
    assert_eq!(ids, ["a#0", "a#1", "plain"]);
}

#[test]
fn parts_that_did_not_change_keep_their_embeddings_address() {
    let mut replay = Replay::new(Metric::L2);
    let document = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
        documents(DocumentWrite::Upsert(vec![SplitDocument { id: "a".into(), parts: parts("a", &texts, None) }]))
    };
    replay.commit(&[document(&["x", "yy", "z"])]);
    replay.commit(&[document(&["x", "yyy"])]);
    let snapshot = replay.snapshot();
    let embedded = |id: &str| {
        let at = snapshot.find(id).unwrap();
        snapshot.chunk(at).embedded(at.row).version().0
    };
    assert_eq!((embedded("a#0"), embedded("a#1")), (1, 2));
    assert!(snapshot.find("a#2").is_none());
}
