//! A bucket that watches: it sits right above the memory bucket, sees every change that any store
//! makes, and keeps the true history of each stream, the commits that stood in their slots first.
//! Invariant: every successful change is held against the protocol's invariants (docs/protocol.md#invariants) in the
//! same step as it happens; what breaks one is a violation, kept with its text.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, BucketError, Object, Page, Place, PutCondition, Stamp, StoreTime};
use drumlin::testing::format::head::{Head, Life};
use drumlin::testing::format::{Chain, Checksum, Commit, CommitKind, RowOp, Rows, decode_commit, decode_segment};
use drumlin_test_support::model::Model;
use parking_lot::Mutex;

/// A commit of the true history.
#[derive(Debug)]
pub struct Entry {
    pub commit: Commit,
    pub link: Chain,
    /// The number of the change that made it.
    pub event: u64,
}

/// One stream as its changes showed it.
#[derive(Debug, Default)]
pub struct StreamLedger {
    /// Commits 1, 2, 3, …
    pub commits: Vec<Entry>,
    /// The collection at versions 0, 1, 2, …
    pub states: Vec<Arc<Model>>,
    pub head: Option<Head>,
    /// When each floor was set, ascending.
    floors: Vec<(u64, StoreTime)>,
    dropped_at: Option<StoreTime>,
}

impl StreamLedger {
    /// The collection at `version`, if that many commits exist.
    pub fn state(&self, version: u64) -> Option<Arc<Model>> {
        self.states.get(version as usize).cloned()
    }

    pub fn ended(&self) -> bool {
        self.commits.last().is_some_and(|e| e.commit.header.kind == CommitKind::Drop)
            || self.head.as_ref().is_some_and(|head| head.state == Life::Dropped)
    }
}

/// The time in which a name belonged to one collection, as numbers of changes.
#[derive(Debug, Clone)]
pub struct Tenure {
    pub stream: String,
    /// What the creator wrote into the collection's metadata.
    pub token: String,
    pub from: u64,
    pub until: Option<u64>,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Ledger {
    pub streams: BTreeMap<String, StreamLedger>,
    /// Who held each name, by name.
    pub names: BTreeMap<String, Vec<Tenure>>,
    /// Live records of the catalog: stream to name.
    live: BTreeMap<String, String>,
    pub violations: Vec<String>,
    /// Commits put into recycled slots.
    pub zombies: u64,
    /// Log objects deleted.
    pub deleted: u64,
    /// Segments and graphs that a HEAD has named.
    pub segments: u64,
    pub graphs: u64,
    /// Changes so far.
    pub event: u64,
    keep_ms: i64,
}

/// The bucket; see the module's text.
pub struct WatchedBucket {
    inner: MemoryBucket,
    ledger: Mutex<Ledger>,
}

impl fmt::Debug for WatchedBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchedBucket")
    }
}

/// What a key stands for.
enum Kind {
    Log(u64),
    Head,
    Other,
}

fn parts(key: &str) -> (String, Kind) {
    if let Some(stream) = key.strip_suffix("/HEAD") {
        return (stream.to_owned(), Kind::Head);
    }
    if let Some((stream, file)) = key.split_once("/log/") {
        let version = file.strip_suffix(".parquet").and_then(|digits| digits.parse().ok());
        return (stream.to_owned(), version.map_or(Kind::Other, Kind::Log));
    }
    (String::new(), Kind::Other)
}

impl WatchedBucket {
    /// Watches `inner`, where log slots are kept at least `keep` (T_KEEP).
    pub fn new(inner: MemoryBucket, keep: Duration) -> Arc<WatchedBucket> {
        let ledger = Ledger { keep_ms: keep.as_millis() as i64, ..Ledger::default() };
        Arc::new(WatchedBucket { inner, ledger: Mutex::new(ledger) })
    }

    /// Looks at what was seen so far.
    pub fn look<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.ledger.lock())
    }

    async fn note_put(&self, key: &str, body: &Bytes, condition: &PutCondition) {
        let (stream, kind) = parts(key);
        let now = self.inner.clock().now();
        match kind {
            Kind::Log(version) => {
                let mut ledger = self.ledger.lock();
                ledger.event += 1;
                ledger.log_put(&stream, version, body, condition);
            }
            Kind::Head => {
                let added = {
                    let mut ledger = self.ledger.lock();
                    ledger.event += 1;
                    ledger.head_put(&stream, body, condition, now)
                };
                self.check_named(&stream, added).await;
            }
            Kind::Other => self.ledger.lock().event += 1,
        }
    }

    /// I6: what a live HEAD names exists; I5: a new segment is the fold of its commits.
    async fn check_named(&self, stream: &str, added: Vec<String>) {
        for key in added {
            let object = self.inner.get(&key, None).await;
            let mut ledger = self.ledger.lock();
            match object {
                Ok(object) if key.contains("/seg/") => ledger.check_segment(stream, &key, &object.bytes),
                Ok(_) => {}
                Err(error) => ledger.violation(format!("I6: HEAD of {stream} names {key}: {error}")),
            }
        }
    }
}

impl Ledger {
    pub fn violation(&mut self, what: String) {
        self.violations.push(format!("[change {}] {what}", self.event));
    }

    fn log_put(&mut self, stream: &str, version: u64, body: &Bytes, condition: &PutCondition) {
        if *condition != PutCondition::IfAbsent {
            self.violation(format!("I1: {stream} slot {version} was put with {condition:?}"));
        }
        let commit = match decode_commit(body) {
            Ok(commit) => commit,
            Err(error) => return self.violation(format!("{stream} slot {version} does not decode: {error}")),
        };
        let entry = self.streams.entry(stream.to_owned()).or_default();
        let known = entry.commits.len() as u64;
        let gone = entry.head.as_ref().map_or(1, |head| head.gone.0);
        if version <= known {
            let recycled = version < gone || entry.head.as_ref().is_some_and(|h| h.state == Life::Dropped);
            self.zombies += 1;
            if !recycled {
                self.violation(format!("I1: {stream} slot {version} was written twice, gone is {gone}"));
            }
            return;
        }
        let ended = entry.ended();
        let prev = entry.commits.last().map(|e| e.link);
        if version != known + 1 {
            return self.violation(format!("I2: {stream} slot {version} was written after {known} commits"));
        }
        let header = &commit.header;
        let fits = header.prev == prev && header.version.0 == version && header.stream == stream;
        if entry.states.is_empty() {
            entry.states.push(Arc::default());
        }
        let mut state = entry.states.last().map(|state| Model::clone(state)).unwrap_or_default();
        let is_drop = header.kind == CommitKind::Drop;
        let link = Chain { nonce: header.nonce, xxh3: Checksum::of(body) };
        if stream == "catalog" {
            entry.states.push(Arc::default());
            let rows = commit.rows.clone();
            entry.commits.push(Entry { commit, link, event: self.event });
            self.catalog_rows(&rows);
        } else {
            state.commit(&commit);
            entry.states.push(Arc::new(state));
            entry.commits.push(Entry { commit, link, event: self.event });
        }
        if !fits {
            self.violation(format!("{stream} slot {version} does not follow the commit before"));
        }
        if ended {
            self.violation(format!("{stream} slot {version} was written after the stream had ended"));
        }
        if is_drop {
            self.end_tenure(stream);
        }
    }

    fn end_tenure(&mut self, stream: &str) {
        let event = self.event;
        for tenure in self.names.values_mut().flatten() {
            if tenure.stream == stream && tenure.until.is_none() {
                tenure.until = Some(event);
            }
        }
    }

    /// I10: at most one live collection per name.
    fn catalog_rows(&mut self, rows: &Rows) {
        for row in 0..rows.len() {
            let Some(cid) = rows.id(row).strip_prefix("c:") else { continue };
            let stream = format!("c/{cid}");
            let text = Rows::text(&rows.metadatas, row).filter(|_| rows.ops[row] == RowOp::Put);
            let value: serde_json::Value = text.map_or(serde_json::Value::Null, |t| serde_json::from_str(t).unwrap());
            let name = value["name"].as_str().filter(|_| value["state"] == "live");
            let Some(name) = name else {
                self.live.remove(&stream);
                self.end_tenure(&stream);
                continue;
            };
            if self.live.values().any(|other| other == name) {
                self.violation(format!("I10: {name} has two live collections, the second is {stream}"));
            }
            self.live.insert(stream.clone(), name.to_owned());
            let token = value["metadata"]["token"].as_str().unwrap_or_default().to_owned();
            let tenure = Tenure { stream, token, from: self.event, until: None };
            self.names.entry(name.to_owned()).or_default().push(tenure);
        }
    }

    /// Checks a new HEAD against the one before; the keys that it names anew.
    fn head_put(&mut self, stream: &str, body: &Bytes, condition: &PutCondition, now: StoreTime) -> Vec<String> {
        let new = match Head::decode(body, stream) {
            Ok(head) => head,
            Err(error) => {
                self.violation(format!("HEAD of {stream}: {error}"));
                return Vec::new();
            }
        };
        let keep_ms = self.keep_ms;
        let entry = self.streams.entry(stream.to_owned()).or_default();
        if entry.states.is_empty() {
            entry.states.push(Arc::default());
        }
        let old = entry.head.replace(new.clone());
        let mut broken = Vec::new();
        if let Some(old) = &old {
            let stepped = new.r#gen == old.r#gen + 1;
            let grows = new.floor >= old.floor && new.gone >= old.gone && new.sweeps >= old.sweeps;
            let undead = old.state == Life::Dropped && new.state == Life::Live;
            if !stepped || !grows || undead || *condition == PutCondition::Always {
                broken.push(format!("I3: HEAD of {stream} went from {old:?} to {new:?} by {condition:?}"));
            }
            if new.gone > old.gone {
                let passed = entry.floors.iter().find(|(floor, _)| *floor >= new.gone.0).map(|(_, at)| *at);
                if passed.is_none_or(|at| now.since_ms(at) < keep_ms) {
                    broken.push(format!("I4: gone of {stream} is {} too early, floor passed at {passed:?}", new.gone));
                }
            }
        } else if *condition != PutCondition::IfAbsent {
            broken.push(format!("HEAD of {stream} was made by {condition:?}"));
        }
        let expected = new.floor.0.checked_sub(2).and_then(|at| entry.commits.get(at as usize)).map(|e| e.link);
        if new.prev != expected {
            broken.push(format!("I5: HEAD of {stream} follows {:?}, the history {expected:?}", new.prev));
        }
        if entry.floors.last().is_none_or(|(floor, _)| *floor < new.floor.0) {
            entry.floors.push((new.floor.0, now));
        }
        if new.state == Life::Dropped && entry.dropped_at.is_none() {
            entry.dropped_at = Some(now);
        }
        if new.state == Life::Dropped {
            self.end_tenure(stream);
        }
        broken.into_iter().for_each(|what| self.violation(what));
        let named = |head: &Head| -> Vec<String> {
            head.segs.iter().map(|s| s.key.clone()).chain(head.graphs.iter().map(|g| g.key.clone())).collect()
        };
        let before = old.as_ref().map(named).unwrap_or_default();
        let added: Vec<String> = named(&new).into_iter().filter(|key| !before.contains(key)).collect();
        self.segments += added.iter().filter(|key| key.contains("/seg/")).count() as u64;
        self.graphs += added.iter().filter(|key| key.contains("/graph/")).count() as u64;
        added
    }

    fn check_segment(&mut self, stream: &str, key: &str, bytes: &Bytes) {
        let segment = match decode_segment(bytes) {
            Ok(segment) => segment,
            Err(error) => return self.violation(format!("{key} does not decode: {error}")),
        };
        if stream == "catalog" {
            return;
        }
        let (lo, hi) = (segment.header.lo.0, segment.header.hi.0);
        let history = &self.streams[stream];
        let (mut of_segment, mut of_log) = (Model::default(), Model::default());
        if let Some(before) = history.state(lo - 1) {
            of_segment = Model::clone(&before);
            of_log = Model::clone(&before);
        }
        for rows in &segment.groups {
            let addresses: Vec<u64> = rows.addresses.iter().flat_map(|a| a.values().iter().copied()).collect();
            of_segment.rows(rows, |row| addresses[row]);
        }
        for entry in history.commits.iter().take(hi as usize).skip(lo as usize - 1) {
            of_log.commit(&entry.commit);
        }
        if of_segment.records != of_log.records {
            self.violation(format!("I5: {key} is not the fold of commits {lo} to {hi}"));
        }
    }

    /// I3 and I7, before the deletes happen.
    fn note_delete(&mut self, keys: &[String], now: StoreTime) {
        self.event += 1;
        for key in keys {
            let (stream, kind) = parts(key);
            let owner = key.rsplit_once("/seg/").or_else(|| key.rsplit_once("/graph/")).map(|(stream, _)| stream);
            let name = owner.unwrap_or(&stream);
            let Some(entry) = self.streams.get(name) else { continue };
            let head = entry.head.as_ref();
            let purged = entry.dropped_at.is_some_and(|at| now.since_ms(at) >= self.keep_ms);
            let allowed = match kind {
                Kind::Head => false,
                Kind::Log(version) => purged || head.is_some_and(|head| head.gone.0 > version),
                Kind::Other => {
                    let named =
                        |h: &Head| h.segs.iter().any(|s| s.key == *key) || h.graphs.iter().any(|g| g.key == *key);
                    purged || owner.is_none() || !head.is_some_and(named)
                }
            };
            self.deleted += u64::from(matches!(kind, Kind::Log(_)));
            if !allowed {
                self.violation(format!("I3/I7: {key} was deleted under {head:?}", head = self.streams[name].head));
            }
        }
    }
}

#[async_trait]
impl Bucket for WatchedBucket {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        self.inner.get(key, range).await
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        let put = self.inner.put(key, body.clone(), condition.clone()).await;
        if put.is_ok() {
            self.note_put(key, &body, &condition).await;
        }
        put
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        self.put(key, Bytes::from(pieces.concat()), PutCondition::Always).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        let body = self.get(from, None).await?.bytes;
        self.put(to, body, PutCondition::Always).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        let now = self.inner.clock().now();
        self.ledger.lock().note_delete(keys, now);
        self.inner.delete(keys).await
    }

    fn place(&self) -> Place {
        self.inner.place()
    }
}
