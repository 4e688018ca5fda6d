//! A client of one store in a storm: chooses operations by its seed, and judges at once what can be
//! judged at once. Invariant: a write is on record before the store is asked for it, so that one which
//! is never answered counts as unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drumlin::searches::{LeafQuery, RankedSearch};
use drumlin::text::{QueryOptions, TextQuery};
use drumlin::{
    Collection, CollectionSpec, Consistency, Error, ErrorKind, Get, Include, Metadata, Metric, Query, Record, Store,
    WriteOutcome,
};
use drumlin_test_support::model::{Change, KIND};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::sleep;

use super::audit::{Answer, Call};
use super::ledger::Tenure;
use super::simulation::{Life, World};

/// Names of collections that clients create and drop.
const NAMES: [&str; 3] = ["red", "green", "blue"];
/// Different ids that are written.
const IDS: u32 = 24;
/// Different kinds in the metadata.
const KINDS: i64 = 5;

/// A client; see the module's text.
pub struct Client {
    world: Arc<World>,
    store: Store,
    node: usize,
    random: StdRng,
    /// Collections by name as this client met them, and the newest version it has seen of each.
    handles: BTreeMap<&'static str, (Collection, u64)>,
}

fn stream_of(collection: &Collection) -> String {
    format!("c/{}", collection.info().id)
}

impl Client {
    pub fn new(world: Arc<World>, store: Store, node: usize, random: StdRng) -> Client {
        Client { world, store, node, random, handles: BTreeMap::new() }
    }

    /// Works until the quota is used up or its store goes.
    pub async fn run(mut self, quota: Arc<AtomicUsize>, mut life: watch::Receiver<Life>) {
        loop {
            let pause_ms = match self.random.random_range(0..20) {
                0..=13 => self.random.random_range(0..300),
                14..=18 => self.random.random_range(0..8_000),
                _ => self.random.random_range(0..90_000),
            };
            sleep(Duration::from_millis(pause_ms)).await;
            if *life.borrow() != Life::Running {
                return;
            }
            if quota.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
                return;
            }
            tokio::select! {
                biased;
                _ = life.wait_for(|life| *life == Life::Killed) => return,
                () = self.operate() => {}
            }
        }
    }

    async fn operate(&mut self) {
        let name = NAMES[self.random.random_range(0..NAMES.len())];
        self.world.count("operations");
        match self.random.random_range(0..100) {
            0..=1 => self.drop_collection(name).await,
            2..=4 => self.create(name).await,
            5..=6 => {
                if let Err(error) = self.store.sync().await {
                    self.unexpected("sync", &error, &[ErrorKind::Unavailable]);
                }
            }
            choice => {
                let Some(collection) = self.handle(name).await else { return };
                match choice {
                    7..=24 => self.get(name, &collection).await,
                    25..=30 => self.search(name, &collection).await,
                    31..=34 => self.search_word(name, &collection).await,
                    _ => self.write(name, &collection).await,
                }
            }
        }
    }

    /// The collection of that name, created if there is none.
    async fn handle(&mut self, name: &'static str) -> Option<Collection> {
        if let Some((collection, _)) = self.handles.get(name) {
            return Some(collection.clone());
        }
        let began = self.world.event();
        match self.store.collection(name).await {
            Ok(collection) => {
                self.handles.insert(name, (collection.clone(), 0));
                Some(collection)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.check_free("open", name, began, &error);
                self.create(name).await;
                None
            }
            Err(error) => {
                self.unexpected("open", &error, &[ErrorKind::Unavailable]);
                None
            }
        }
    }

    fn unexpected(&self, what: &str, error: &Error, expected: &[ErrorKind]) {
        if !expected.contains(&error.kind()) {
            self.world.wrong(format!("{what} by store {}: {:?}: {error}", self.node, error.kind()));
        }
    }

    fn tenures(&self, name: &str) -> Vec<Tenure> {
        self.world.bucket.look(|ledger| ledger.names.get(name).cloned().unwrap_or_default())
    }

    /// An answer that the name is free must have been true at some moment since the request.
    fn check_free(&self, what: &str, name: &str, began: u64, error: &Error) {
        let now = self.world.event();
        let mut covered = began;
        for tenure in self.tenures(name) {
            if tenure.from <= covered {
                covered = covered.max(tenure.until.unwrap_or(u64::MAX));
            }
        }
        if covered > now {
            self.world
                .wrong(format!("{what} {name} by store {}: {error}, but it lived from {began} to {now}", self.node));
        }
    }

    async fn create(&mut self, name: &'static str) {
        let token = format!("t{}", self.random.random::<u64>());
        let spec = CollectionSpec::new(name).metric(Metric::L2);
        let spec = CollectionSpec { metadata: Some(Metadata::from([("token", token.as_str())])), ..spec };
        let began = self.world.event();
        let created = self.store.create_collection(spec).await;
        let (now, tenures) = (self.world.event(), self.tenures(name));
        let ours = tenures.iter().filter(|t| t.token == token).count();
        match created {
            Ok(collection) => {
                self.world.count("created");
                if ours != 1 || !tenures.iter().any(|t| t.stream == stream_of(&collection)) {
                    self.world.wrong(format!("create {name} was acknowledged, the catalog has it {ours} times"));
                }
                self.handles.insert(name, (collection, 0));
            }
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => self.world.count("creates unknown"),
            // It came to be, and another store dropped it before this one had it open.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !tenures.iter().any(|t| t.token == token && t.until.is_some()) {
                    self.world
                        .wrong(format!("create {name} by store {}: {error}, but it lives: {tenures:?}", self.node));
                }
            }
            Err(error) => {
                self.unexpected("create", &error, &[ErrorKind::Unavailable, ErrorKind::AlreadyExists]);
                if ours > 0 {
                    self.world.wrong(format!("create {name} was refused ({error}), but the catalog has it"));
                }
                let taken = tenures.iter().any(|t| t.from <= now && t.until.is_none_or(|until| until > began));
                if error.kind() == ErrorKind::AlreadyExists && !taken {
                    self.world.wrong(format!("create {name}: {error}, but it was free from {began} to {now}"));
                }
            }
        }
    }

    async fn drop_collection(&mut self, name: &'static str) {
        let began = self.world.event();
        let dropped = self.store.drop_collection(name).await;
        let now = self.world.event();
        match dropped {
            Ok(()) => {
                self.world.count("dropped");
                let ended = |t: &Tenure| t.until.is_some_and(|until| until > began && until <= now);
                if !self.tenures(name).iter().any(ended) {
                    let tenures = self.tenures(name);
                    self.world.wrong(format!(
                        "drop {name} was acknowledged, but nothing of that name ended from {began} to {now}: {tenures:?}"
                    ));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.check_free("drop", name, began, &error),
            Err(error) => self.unexpected("drop", &error, &[ErrorKind::Unavailable, ErrorKind::OutcomeUnknown]),
        }
        self.handles.remove(name);
    }

    fn known_version(&self, stream: &str) -> u64 {
        self.world.told.lock().get(stream).copied().unwrap_or_default()
    }

    fn note_version(&mut self, name: &'static str, stream: &str, version: u64) {
        let mut told = self.world.told.lock();
        let newest = told.entry(stream.to_owned()).or_default();
        *newest = version.max(*newest);
        drop(told);
        if let Some((_, seen)) = self.handles.get_mut(name) {
            *seen = version.max(*seen);
        }
    }

    /// A read of a collection that was dropped says so; any other failure must be the bucket's.
    fn read_failed(&mut self, name: &'static str, stream: &str, error: &Error) {
        if error.kind() == ErrorKind::NotFound {
            let ended = self.world.bucket.look(|ledger| ledger.streams[stream].ended());
            if !ended {
                self.world.wrong(format!("{stream} ({name}) lives, but store {} says: {error}", self.node));
            }
            self.handles.remove(name);
        } else {
            self.unexpected("read", error, &[ErrorKind::Unavailable]);
        }
    }

    /// The version a read may not fall behind, and the one it showed.
    fn check_version(&mut self, name: &'static str, stream: &str, least: u64, version: u64) {
        if version < least {
            self.world.wrong(format!("{stream}: store {} answered from version {version}, not {least}", self.node));
        }
        self.note_version(name, stream, version);
    }

    fn consistency(&mut self) -> Consistency {
        if self.random.random_bool(0.4) { Consistency::Strong } else { Consistency::Local }
    }

    fn least(&self, name: &str, stream: &str, consistency: Consistency) -> u64 {
        match consistency {
            Consistency::Strong => self.known_version(stream),
            Consistency::Local => self.handles.get(name).map_or(0, |(_, seen)| *seen),
        }
    }

    async fn get(&mut self, name: &'static str, collection: &Collection) {
        let stream = stream_of(collection);
        let consistency = self.consistency();
        let least = self.least(name, &stream, consistency);
        match collection.get(Get { include: Include::ALL, consistency, ..Get::default() }).await {
            Ok(answer) => {
                let version = answer.version.0;
                self.check_version(name, &stream, least, version);
                let state = self.world.bucket.look(|ledger| ledger.streams[&stream].state(version));
                let expected = state.map(|state| state.listed());
                if expected.as_ref() != Some(&answer.records) {
                    let found = answer.records;
                    self.world.wrong(format!("{stream} at {version}: expected {expected:?}, got {found:?}"));
                }
            }
            Err(error) => self.read_failed(name, &stream, &error),
        }
    }

    async fn search(&mut self, name: &'static str, collection: &Collection) {
        let stream = stream_of(collection);
        let consistency = self.consistency();
        let least = self.least(name, &stream, consistency);
        let query = self.embedding(2);
        let exact = self.random.random_bool(0.5);
        let found = collection.find(Query::new(query.clone()).k(5).exact(exact).consistency(consistency)).await;
        match found.and_then(|matches| matches.answer()) {
            Ok(answer) => {
                let version = answer.version.0;
                self.check_version(name, &stream, least, version);
                let state = self.world.bucket.look(|ledger| ledger.streams[&stream].state(version));
                let all = state.map(|state| state.nearest(&query, usize::MAX)).unwrap_or_default();
                let found: Vec<(String, f32)> =
                    answer.results[0].iter().map(|hit| (hit.id.clone(), hit.distance)).collect();
                if !plausible(&found, &all, exact) {
                    self.world.wrong(format!("{stream} at {version}: records are {all:?}, nearest {found:?}"));
                }
            }
            // The collection may be of another dimension.
            Err(error) if error.kind() == ErrorKind::Invalid => {}
            Err(error) => self.read_failed(name, &stream, &error),
        }
    }

    /// Searches for the document of some write: each record that has it is found.
    async fn search_word(&mut self, name: &'static str, collection: &Collection) {
        let stream = stream_of(collection);
        let least = self.least(name, &stream, Consistency::Local);
        let word = format!("w{}", self.random.random_range(0..=self.world.calls.lock().len()));
        let analyser = collection.analyser().unwrap();
        let query = TextQuery::parse(&word, &analyser, &QueryOptions::default()).unwrap();
        let search = RankedSearch::single(LeafQuery::Text { query, analyser }, 100);
        match collection.rank(vec![search], 100).await {
            Ok(answers) => {
                let rows = &answers[0];
                let version = rows.version().0;
                self.check_version(name, &stream, least, version);
                let state = self.world.bucket.look(|ledger| ledger.streams[&stream].state(version));
                let all = state.map(|state| state.listed()).unwrap_or_default();
                let with_word = all.into_iter().filter(|found| found.document.as_ref() == Some(&word));
                let expected: BTreeSet<String> = with_word.map(|found| found.id).collect();
                let part = |place| rows.part(place, Include::default()).unwrap().unwrap().id;
                let found: BTreeSet<String> = (0..rows.len()).map(part).collect();
                if found != expected {
                    self.world.wrong(format!("{stream} at {version}: {expected:?} have {word}, found {found:?}"));
                }
            }
            Err(error) => self.read_failed(name, &stream, &error),
        }
    }

    async fn write(&mut self, name: &'static str, collection: &Collection) {
        let stream = stream_of(collection);
        let floor = self.known_version(&stream);
        let began = self.world.event();
        let (at, change) = {
            let mut calls = self.world.calls.lock();
            let token = format!("w{}", calls.len());
            let change = choose(&mut self.random, &token);
            let (node, stream, answer) = (self.node, stream.clone(), Answer::Unknown);
            calls.push(Call { node, stream, change: change.clone(), token, began, floor, answer });
            (calls.len() - 1, change)
        };
        let answer = match collection.write(change.request()).await {
            Ok(outcome) => self.acked(name, &stream, outcome),
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                self.world.count("writes unknown");
                Answer::Unknown
            }
            Err(error) => self.refused(name, &stream, &change, &error),
        };
        self.world.calls.lock()[at].answer = answer;
    }

    fn acked(&mut self, name: &'static str, stream: &str, outcome: WriteOutcome) -> Answer {
        self.world.count("writes acknowledged");
        self.note_version(name, stream, outcome.version.0);
        Answer::Acked(outcome)
    }

    fn refused(&mut self, name: &'static str, stream: &str, change: &Change, error: &Error) -> Answer {
        self.world.count("writes refused");
        match error.kind() {
            ErrorKind::Unavailable => {}
            ErrorKind::Invalid => {
                let version = self.world.bucket.look(|ledger| ledger.streams[stream].commits.len() as u64);
                let state = self.world.bucket.look(|ledger| ledger.streams[stream].state(version));
                let fixed = state.and_then(|state| state.dimension);
                if fixed.is_none() || change.dimension().is_none_or(|dimension| Some(dimension) == fixed) {
                    self.world.wrong(format!("{stream} has dimension {fixed:?}, {change:?} was refused: {error}"));
                }
            }
            _ => self.read_failed(name, stream, error),
        }
        Answer::Refused(error.to_string())
    }

    fn embedding(&mut self, dimension: usize) -> Vec<f32> {
        embedding(&mut self.random, dimension)
    }
}

fn embedding(random: &mut StdRng, dimension: usize) -> Vec<f32> {
    (0..dimension).map(|_| random.random_range(-100.0..100.0)).collect()
}

/// Whether `found` can be the five nearest of `all`, which are sorted by distance. A search through
/// graphs may miss one, but what it finds is there, at its true distance, in order and once.
fn plausible(found: &[(String, f32)], all: &[(String, f32)], exact: bool) -> bool {
    let near = |a: f32, b: f32| (a - b).abs() <= 1e-4 * (1.0 + a.abs());
    let there = |f: &(String, f32)| all.iter().any(|a| a.0 == f.0 && near(f.1, a.1));
    let ids: BTreeSet<&String> = found.iter().map(|(id, _)| id).collect();
    let ordered = found.is_sorted_by(|a, b| a.1 <= b.1);
    let nearest = found.iter().zip(all).all(|(f, a)| near(f.1, a.1));
    found.len() == all.len().min(5)
        && ids.len() == found.len()
        && ordered
        && found.iter().all(there)
        && (nearest || !exact)
}

/// Distinct ids.
fn ids(random: &mut StdRng) -> Vec<String> {
    let count = random.random_range(1..5);
    let mut ids: Vec<String> = (0..count).map(|_| format!("r{}", random.random_range(0..IDS))).collect();
    ids.sort();
    ids.dedup();
    ids
}

fn records(random: &mut StdRng, token: &str) -> Vec<Record> {
    // Seldom the wrong dimension; if it comes first, it is the right one.
    let dimension = if random.random_bool(0.02) { 3 } else { 2 };
    let ids = ids(random);
    let record = |id: String| {
        let kind = random.random_range(0..KINDS);
        Record::new(id, embedding(random, dimension)).with_document(token).with_metadata([(KIND, kind)])
    };
    ids.into_iter().map(record).collect()
}

fn choose(random: &mut StdRng, token: &str) -> Change {
    match random.random_range(0..100) {
        0..=44 => Change::Add(records(random, token)),
        45..=69 => Change::Upsert(records(random, token)),
        70..=84 => {
            let ids = ids(random);
            let update = |id: String| {
                let embedding = random.random_bool(0.5).then(|| embedding(random, 2));
                (id, embedding, token.to_owned())
            };
            Change::Update(ids.into_iter().map(update).collect())
        }
        85..=96 => Change::DeleteIds(ids(random)),
        _ => Change::DeleteKind(random.random_range(0..KINDS)),
    }
}
