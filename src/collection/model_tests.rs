//! The collection against a `BTreeMap`. Random batches of requests are resolved, encoded, decoded and applied;
//! answers and reads must equal those of the map. So must the history loaded from segments.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::replay::Replay;
use super::request::{Found, Get, Include, Query, Selection, Write};
use super::write::change::Change;
use crate::config::Limits;
use crate::error::ErrorKind;
use crate::filter::Filter;
use crate::index::distance;
use crate::interrupt::Interrupt;
use crate::record::{MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate};
use crate::stream::state::State;

const DIM: usize = 3;

/// Records by id, each with the number of its insertion.
#[derive(Default, Clone)]
struct Model {
    records: BTreeMap<String, (u64, Record)>,
    inserted: u64,
}

impl Model {
    /// Applies a valid request: (applied, skipped).
    fn write(&mut self, write: &Write) -> (usize, usize) {
        match write {
            Write::Add(records) => {
                let before = self.records.len();
                records.iter().for_each(|r| self.insert(r, false));
                let applied = self.records.len() - before;
                (applied, records.len() - applied)
            }
            Write::Upsert(records) => {
                records.iter().for_each(|r| self.insert(r, true));
                (records.len(), 0)
            }
            Write::Update(updates) => {
                let applied = updates.iter().filter(|update| self.update(update)).count();
                (applied, updates.len() - applied)
            }
            Write::Merge(updates) => {
                updates.iter().for_each(|update| self.merge(update));
                (updates.len(), 0)
            }
            Write::Delete(selection) => {
                let found = self.select(selection);
                found.iter().for_each(|id| assert!(self.records.remove(id).is_some()));
                let mut named = selection.ids.clone().unwrap_or_default();
                named.sort();
                named.dedup();
                (found.len(), named.len().saturating_sub(found.len()))
            }
        }
    }

    fn insert(&mut self, record: &Record, replace: bool) {
        self.inserted += 1;
        let inserted = self.inserted;
        let entry = self.records.entry(record.id.clone()).or_insert_with(|| (inserted, record.clone()));
        if replace {
            entry.1 = record.clone();
        }
    }

    fn update(&mut self, update: &RecordUpdate) -> bool {
        let Some((_, record)) = self.records.get_mut(&update.id) else { return false };
        if let Some(embedding) = &update.embedding {
            record.embedding = embedding.clone();
        }
        record.document = update.document.clone().or(record.document.take());
        record.uri = update.uri.clone().or(record.uri.take());
        for (key, value) in update.metadata.iter().flat_map(|patch| &patch.0) {
            match (value, &mut record.metadata) {
                (Some(value), metadata) => {
                    metadata.get_or_insert_default().0.insert(key.clone(), value.clone());
                }
                (None, Some(metadata)) => drop(metadata.0.remove(key)),
                (None, None) => {}
            }
        }
        true
    }

    fn merge(&mut self, update: &RecordUpdate) {
        if self.update(update) {
            return;
        }
        let set = update.metadata.iter().flat_map(|patch| patch.0.clone());
        let set: BTreeMap<_, _> = set.filter_map(|(key, value)| Some((key, value?))).collect();
        let record = Record {
            id: update.id.clone(),
            embedding: update.embedding.clone().unwrap_or_default(),
            document: update.document.clone(),
            uri: update.uri.clone(),
            metadata: (!set.is_empty()).then_some(Metadata(set)),
        };
        self.insert(&record, false);
    }

    fn select(&self, selection: &Selection) -> Vec<String> {
        let matches = |record: &&Record| {
            selection.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
                && selection
                    .filter
                    .as_ref()
                    .is_none_or(|f| f.matches(record.metadata.as_ref(), record.document.as_deref()))
        };
        let chosen = self.ordered().into_iter().filter(matches).take(selection.limit.unwrap_or(usize::MAX));
        chosen.map(|record| record.id.clone()).collect()
    }

    fn ordered(&self) -> Vec<&Record> {
        let mut records: Vec<&(u64, Record)> = self.records.values().collect();
        records.sort_by_key(|(inserted, _)| *inserted);
        records.into_iter().map(|(_, record)| record).collect()
    }
}

struct Generator {
    rng: StdRng,
    ids: usize,
}

impl Generator {
    fn id(&mut self) -> String {
        format!("id-{}", self.rng.random_range(0..self.ids))
    }

    fn embedding(&mut self) -> Vec<f32> {
        // Few values, so that embeddings repeat and distances tie.
        (0..DIM).map(|_| self.rng.random_range(-2i8..=2).into()).collect()
    }

    fn value(&mut self) -> MetaValue {
        match self.rng.random_range(0..5) {
            0 => MetaValue::Bool(self.rng.random()),
            1 => MetaValue::Float(f64::from(self.rng.random_range(0..4u8)) + 0.5),
            2 => MetaValue::Str(["red", "green", ""].choose(&mut self.rng).unwrap().to_string()),
            3 => MetaValue::Ints(vec![1, 2]),
            _ => MetaValue::Int(self.rng.random_range(0..4)),
        }
    }

    fn key(&mut self) -> String {
        ["a", "b", "c"].choose(&mut self.rng).unwrap().to_string()
    }

    fn document(&mut self) -> Option<String> {
        let words = ["sea", "salt", "sand", "wind"];
        self.rng
            .random_bool(0.6)
            .then(|| format!("{} {}", words.choose(&mut self.rng).unwrap(), words.choose(&mut self.rng).unwrap()))
    }

    fn record(&mut self) -> Record {
        let metadata = self.rng.random_bool(0.7).then(|| {
            let entries = self.rng.random_range(0..3);
            Metadata((0..entries).map(|_| (self.key(), self.value())).collect())
        });
        let uri = self.rng.random_bool(0.2).then(|| "s3://x".to_owned());
        Record { id: self.id(), embedding: self.embedding(), document: self.document(), uri, metadata }
    }

    fn update(&mut self) -> RecordUpdate {
        let metadata = self.rng.random_bool(0.6).then(|| {
            let entries = self.rng.random_range(0..3);
            MetadataPatch((0..entries).map(|_| (self.key(), self.rng.random_bool(0.6).then(|| self.value()))).collect())
        });
        let embedding = self.rng.random_bool(0.3).then(|| self.embedding());
        let uri = self.rng.random_bool(0.1).then(|| "s3://y".to_owned());
        RecordUpdate { id: self.id(), embedding, document: self.document(), uri, metadata }
    }

    fn merged(&mut self) -> RecordUpdate {
        RecordUpdate { embedding: Some(self.embedding()), ..self.update() }
    }

    fn filter(&mut self) -> Filter {
        let key = self.key();
        match self.rng.random_range(0..6) {
            0 => Filter::eq(&key, self.rng.random_range(0..4i64)),
            1 => Filter::gt(&key, 1i64),
            2 => Filter::is_in(&key, ["red", ""]),
            3 => Filter::document_contains("sa"),
            4 => !Filter::eq(&key, 2i64),
            _ => Filter::and([Filter::lt(&key, 3i64), !Filter::document_contains("wind")]),
        }
    }

    fn selection(&mut self) -> Selection {
        let by_filter = self.rng.random_bool(0.4);
        let many = self.rng.random_range(0..5);
        let ids = (!by_filter || self.rng.random_bool(0.3)).then(|| (0..many).map(|_| self.id()).collect());
        let limit = self.rng.random_bool(if by_filter { 0.8 } else { 0.2 }).then(|| self.rng.random_range(0..6));
        Selection { ids, filter: by_filter.then(|| self.filter()), limit }
    }

    fn write(&mut self) -> Write {
        let most = if self.rng.random_bool(0.02) { 120 } else { 6 };
        let many = self.rng.random_range(0..most);
        match self.rng.random_range(0..10) {
            0..=3 => Write::Add((0..many).map(|_| self.record()).collect()),
            4 => Write::Upsert((0..many).map(|_| self.record()).collect()),
            5 => Write::Merge((0..many).map(|_| self.merged()).collect()),
            6..=7 => Write::Update((0..many).map(|_| self.update()).collect()),
            _ => Write::Delete(self.selection()),
        }
    }

    /// Makes a request wrong somewhere; `None` if it has no part that could be wrong.
    fn spoiled(&mut self, mut write: Write) -> Option<Write> {
        match &mut write {
            Write::Add(records) | Write::Upsert(records) => {
                let record = records.last_mut()?;
                match self.rng.random_range(0..3) {
                    0 => record.embedding.push(1.0),
                    1 => record.embedding[1] = f32::NAN,
                    _ => record.id.clear(),
                }
            }
            Write::Update(updates) | Write::Merge(updates) => {
                updates.last_mut()?.embedding = Some(vec![f32::INFINITY; DIM]);
            }
            Write::Delete(selection) => selection.ids.as_mut()?.push(String::new()),
        }
        Some(write)
    }
}

fn everything() -> Get {
    Get { include: Include::ALL, ..Get::default() }
}

fn found(record: &Record) -> Found {
    Found {
        id: record.id.clone(),
        embedding: Some(record.embedding.clone()),
        document: record.document.clone(),
        uri: record.uri.clone(),
        metadata: record.metadata.clone(),
    }
}

/// Runs one batch on both and compares the answers.
fn step(replay: &mut Replay, model: &mut Model, generator: &mut Generator, context: &str) {
    let requests = generator.rng.random_range(1..=8);
    let mut changes = Vec::new();
    let mut wanted = Vec::new();
    for _ in 0..requests {
        let write = generator.write();
        let spoiled = generator.rng.random_bool(0.1).then(|| generator.spoiled(write.clone())).flatten();
        wanted.push(spoiled.is_none().then(|| model.write(&write)));
        changes.push(Change::Write(spoiled.unwrap_or(write)));
    }
    let version = replay.state.version();
    let answers = replay.commit(&changes);
    for ((answer, wanted), change) in answers.iter().zip(&wanted).zip(&changes) {
        match (answer, wanted) {
            (Ok(outcome), Some(wanted)) => {
                assert_eq!((outcome.applied, outcome.skipped), *wanted, "{context}: {change:?}");
                assert_eq!(outcome.version, replay.state.version(), "{context}");
            }
            (Err(error), None) => assert_eq!(error.kind(), ErrorKind::Invalid, "{context}: {error}"),
            other => panic!("{context}: {change:?} in {version}: {other:?}"),
        }
    }
}

fn compare(replay: &Replay, model: &Model, generator: &mut Generator, context: &str) {
    let snapshot = replay.snapshot();
    snapshot.check_invariants().unwrap_or_else(|broken| panic!("{context}: {broken}"));
    let all: Vec<Found> = model.ordered().into_iter().map(found).collect();
    assert_eq!(snapshot.count(), all.len() as u64, "{context}");
    assert_eq!(snapshot.get(&everything(), &Interrupt::never()).unwrap().records, all, "{context}");
    let Selection { ids, filter, limit } = generator.selection();
    let offset = generator.rng.random_range(0..4);
    let get = Get { ids, filter, limit, offset, include: Include::NONE, ..Get::default() };
    let unlimited = Selection { ids: get.ids.clone(), filter: get.filter.clone(), limit: None };
    let want = model.select(&unlimited).into_iter().skip(offset).take(limit.unwrap_or(usize::MAX));
    let got = snapshot.get(&get, &Interrupt::never()).unwrap().records.into_iter().map(|found| found.id);
    assert_eq!(got.collect::<Vec<_>>(), want.collect::<Vec<_>>(), "{context}: {get:?}");
}

/// Compares a search with sorting all matching records: the distances must be equal, and each hit's distance its own.
fn compare_search(replay: &Replay, model: &Model, generator: &mut Generator, context: &str) {
    let snapshot = replay.snapshot();
    let k = generator.rng.random_range(1..12);
    let Selection { ids, filter, .. } = generator.selection();
    let query = Query { ids, filter, exact: true, ..Query::new(generator.embedding()).k(k) };
    let hits = snapshot.search(&query, &Limits::default(), &Interrupt::never()).unwrap().results.remove(0);
    let among = model.select(&Selection { ids: query.ids.clone(), filter: query.filter.clone(), limit: None });
    let to = |id: &str| distance(snapshot.metric, &query.embeddings[0], &model.records[id].1.embedding);
    let mut want: Vec<f32> = among.iter().map(|id| to(id)).collect();
    want.sort_by(f32::total_cmp);
    want.truncate(k);
    let got: Vec<f32> = hits.iter().map(|hit| hit.distance).collect();
    assert_eq!(got.len(), want.len(), "{context}: {query:?}");
    for ((got, want), hit) in got.iter().zip(&want).zip(&hits) {
        assert!((got - want).abs() < 1e-5, "{context}: {got} for {want}");
        assert!((got - to(&hit.id)).abs() < 1e-5, "{context}: {hit:?}");
        assert!(among.contains(&hit.id), "{context}: {hit:?}");
    }
}

#[test]
fn thousands_of_random_batches_answer_and_read_as_a_map_does() {
    for seed in 0..6u64 {
        let metric = [Metric::Cosine, Metric::L2, Metric::Ip][seed as usize % 3];
        let mut generator = Generator { rng: StdRng::seed_from_u64(seed), ids: [30, 400][seed as usize % 2] };
        let (mut replay, mut model) = (Replay::new(metric), Model::default());
        for batch in 0..600 {
            let context = format!("seed {seed}, batch {batch}");
            step(&mut replay, &mut model, &mut generator, &context);
            compare(&replay, &model, &mut generator, &context);
            compare_search(&replay, &model, &mut generator, &context);
        }
    }
}

#[test]
fn a_history_loaded_from_segments_reads_and_goes_on_like_the_one_that_was_written() {
    for seed in 100..106u64 {
        let mut generator = Generator { rng: StdRng::seed_from_u64(seed), ids: 150 };
        let (mut replay, mut model) = (Replay::new(Metric::L2), Model::default());
        for round in 0..12 {
            for batch in 0..12 {
                step(&mut replay, &mut model, &mut generator, &format!("seed {seed}, round {round}, batch {batch}"));
            }
            let last = replay.state.version().0;
            let cuts = generator.rng.random_range(0..5);
            let mut ends: Vec<u64> = (0..cuts).map(|_| generator.rng.random_range(1..=last)).collect();
            ends.sort_unstable();
            ends.dedup();
            let reopened = replay.reopened(&ends);
            let context = format!("seed {seed}, round {round}, segments up to {ends:?} of {last}");
            assert_eq!(reopened.state.current().version(), replay.state.current().version(), "{context}");
            compare(&reopened, &model, &mut generator, &context);
            compare_search(&reopened, &model, &mut generator, &context);
            replay = reopened;
        }
    }
}

#[test]
fn a_published_snapshot_never_changes() {
    let mut generator = Generator { rng: StdRng::seed_from_u64(7), ids: 60 };
    let (mut replay, mut model) = (Replay::new(Metric::Cosine), Model::default());
    let mut held = Vec::new();
    for batch in 0..200 {
        step(&mut replay, &mut model, &mut generator, &format!("batch {batch}"));
        if batch % 10 == 0 {
            held.push((replay.snapshot(), model.clone()));
        }
    }
    for (snapshot, model) in held {
        let want: Vec<Found> = model.ordered().into_iter().map(found).collect();
        assert_eq!(snapshot.get(&everything(), &Interrupt::never()).unwrap().records, want);
    }
}
