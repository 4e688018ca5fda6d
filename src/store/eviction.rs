//! Eviction: which collections are in memory. A start loads the smallest first, as long as they fit. Later a request
//! for room evicts the collections that have been idle longest.
//! Invariants: a pinned collection is never evicted; one task at a time makes room; if evictions cannot make enough
//! room, none is done for it.

use std::cmp::Reverse;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use super::background::Sign;
use super::catalog;
use super::entry::{Entry, Eviction, Progress};
use super::{Inner, PARALLEL_COLLECTIONS, embedders};
use crate::bucket::keys::StreamId;
use crate::collection::estimate::{self, LoadSize};
use crate::collection::pin::StoreHooks;
use crate::collection::request::{EmbedRequest, ScoreRequest};
use crate::compute::off_thread;
use crate::error::{Error, Result};
use crate::format::head::{Head, SegmentEntry};
use crate::head;
use crate::memory::{Purpose, Reservation, shown};
use crate::record::CollectionId;
use crate::stream::context::StreamError;
use crate::stream::open::PARALLEL_OBJECTS;

/// How often the store checks whether too much memory is in use, or whether awaited memory has become free.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
pub(super) const WAIT_INTERVAL: Duration = Duration::from_millis(10);
/// Where memory is short, a map that nobody asks for leaves after this time.
#[cfg(feature = "server")]
const MAP_IDLE: Duration = Duration::from_secs(60);
/// How long a write waits for room at most.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);

/// The memory that a collection takes, estimated from its HEAD.
pub fn load_size(head: &Head, dimension: Option<usize>) -> LoadSize {
    let dim = head.config.dimension.or(dimension).unwrap_or(0) as u64;
    let sum = |values: &mut dyn Iterator<Item = u64>| values.fold(0, u64::saturating_add);
    let rows = sum(&mut head.segs.iter().map(|segment| segment.rows));
    let segment_bytes = sum(&mut head.segs.iter().map(|segment| segment.bytes));
    let graphs = head.graphs.iter().map(|graph| graph.bytes);
    let inverted = head.segs.iter().flat_map(|segment| &segment.inverted).map(|index| index.bytes);
    // While an inverted index is decoded it is in memory twice: one of each segment under way. That is no part of the
    // lower bound: decoded one after the other they fit.
    let largest = |segment: &SegmentEntry| segment.inverted.iter().map(|index| index.bytes).max();
    let mut decoded: Vec<u64> = head.segs.iter().filter_map(largest).collect();
    decoded.sort_unstable_by_key(|bytes| Reverse(*bytes));
    let decoding = sum(&mut decoded.into_iter().take(PARALLEL_OBJECTS));
    let size = estimate::loaded(rows, segment_bytes, sum(&mut graphs.chain(inverted)), dim);
    LoadSize { need: size.need.saturating_add(decoding), ..size }
}

async fn size_of(inner: &Inner, entry: &Entry) -> Result<LoadSize, StreamError> {
    let stream = StreamId::Collection(entry.id);
    // One attempt is enough: opening the collection reads HEAD again, and reports what is wrong with it.
    let reread = inner.settings.timing.reread().once();
    let read = head::read(inner.bucket.as_ref(), &stream, reread).await;
    let read = read.map_err(|e| StreamError::of_head(e, &stream))?;
    let seen = entry.shared_view().map_or(0, |shared_view| shared_view.published.load().evicted_bytes());
    let size = load_size(&read.head, entry.record().configuration.dimension);
    Ok(LoadSize { need: size.need.max(seen), ..size })
}

/// Reserves memory to load a collection, as far as its size can be known beforehand.
pub async fn room_for_load(inner: &Arc<Inner>, entry: &Entry) -> Result<Option<Reservation>, StreamError> {
    if inner.instance.budget.limit_bytes().is_none() {
        return Ok(None);
    }
    let size = match entry.take_size() {
        Some(size) => size,
        None => match size_of(inner, entry).await {
            Ok(size) => size,
            // Opening the collection will find the fault, and report it better.
            Err(_) => return Ok(None),
        },
    };
    let patience = inner.settings.timing.room_patience;
    match inner.make_room(size, Purpose::Work, entry.id, patience).await {
        Some(room) => Ok(Some(room)),
        None => {
            let what = format!("collection {:?}", entry.record().name);
            Err(StreamError::NoRoom(
                inner.instance.budget.refusal(&what, size.need, Purpose::Work).message().to_owned(),
            ))
        }
    }
}

/// Reserves memory for what is to be loaded of the collection of this name; `None` without a limit.
pub async fn room_for_size(
    inner: &Arc<Inner>,
    id: CollectionId,
    size: LoadSize,
    name: &str,
) -> Result<Option<Reservation>> {
    if inner.instance.budget.limit_bytes().is_none() {
        return Ok(None);
    }
    let room = inner.make_room(size, Purpose::Work, id, inner.settings.timing.room_patience).await;
    room.map(Some)
        .ok_or_else(|| inner.instance.budget.refusal(&format!("collection {name:?}"), size.need, Purpose::Work))
}

/// Decides which collections a start loads: the smallest first, so that as many as possible are in memory.
pub async fn plan(weak: Weak<Inner>, entries: Vec<Arc<Entry>>, mut sign: Sign) {
    let Some(inner) = weak.upgrade() else { return };
    let look = |entry: Arc<Entry>| {
        let inner = inner.clone();
        async move { (size_of(&inner, &entry).await.ok(), entry) }
    };
    let looks = stream::iter(entries).map(look).buffer_unordered(PARALLEL_COLLECTIONS).collect::<Vec<_>>();
    let mut sized = tokio::select! {
        () = sign.given() => return,
        sized = looks => sized,
    };
    sized.sort_by_key(|(size, entry)| (size.map_or(0, |size| size.need), entry.id));
    let mut room = inner.instance.budget.room_bytes();
    let mut unloaded = 0;
    for (size, entry) in sized {
        let Some(size) = size else { continue };
        match room.checked_sub(size.need) {
            Some(left) => {
                room = left;
                entry.note_size(size);
            }
            None => {
                unloaded += 1;
                entry.leave_unloaded();
            }
        }
    }
    if unloaded > 0 {
        tracing::info!(resting = unloaded, "collections are not loaded for want of memory until somebody uses them");
    }
    inner.planned.send_replace(true);
}

/// Evicts collections when too much memory is in use, and those that have been idle for long.
pub async fn keep_within(weak: Weak<Inner>, mut sign: Sign) {
    let mut logged: Option<Instant> = None;
    while sign.sleep(LOOK_INTERVAL).await {
        let Some(inner) = weak.upgrade() else { return };
        if let Some(limit) = inner.settings.evict_idle_after {
            inner.evict_idle(limit);
        }
        #[cfg(feature = "embedding")]
        inner.let_idle_models_go();
        let (Some(limit), true) = (inner.instance.budget.limit_bytes(), inner.instance.budget.is_over()) else {
            continue;
        };
        let relieved = tokio::select! {
            () = sign.given() => return,
            relieved = inner.relieve() => relieved,
        };
        const LOG_INTERVAL: Duration = Duration::from_secs(60);
        if !relieved && logged.is_none_or(|at| at.elapsed() > LOG_INTERVAL) {
            logged = Some(Instant::now());
            let used = shown(inner.instance.budget.used_bytes());
            tracing::warn!(used, limit = shown(limit), "more memory is in use than may be; writes are refused");
        }
    }
}

/// The hooks by which collections of a store reserve memory, and load themselves again after an eviction.
pub fn hooks(weak: Weak<Inner>) -> StoreHooks {
    let closing = || Error::unavailable("the store is closed");
    let [owner, embedding_owner, counting_owner, scoring_owner] =
        [weak.clone(), weak.clone(), weak.clone(), weak.clone()];
    let load = move |id: CollectionId| {
        let weak = owner.clone();
        async move {
            let inner = weak.upgrade().ok_or_else(closing)?;
            let entry = inner.entry(id).ok_or_else(|| catalog::no_collection(id))?;
            Ok(entry.opened().await?)
        }
        .boxed()
    };
    let make_room = move |id: CollectionId, need: u64| {
        let weak = weak.clone();
        async move {
            let inner = weak.upgrade().ok_or_else(closing)?;
            let patience = inner.write_patience();
            let room = inner.make_room(LoadSize { need, least: need }, Purpose::Write, id, patience).await;
            room.ok_or_else(|| inner.instance.budget.refusal("this write", need, Purpose::Write))
        }
        .boxed()
    };
    let embed = move |request: EmbedRequest| {
        let weak = embedding_owner.clone();
        async move { embedders::embed(weak.upgrade().ok_or_else(closing)?, request).await }.boxed()
    };
    let score = move |request: ScoreRequest| {
        let weak = scoring_owner.clone();
        async move { embedders::score(weak.upgrade().ok_or_else(closing)?, request).await }.boxed()
    };
    let token_ends = move |request: EmbedRequest| {
        let weak = counting_owner.clone();
        async move { embedders::token_ends(weak.upgrade().ok_or_else(closing)?, request).await }.boxed()
    };
    StoreHooks {
        load: Arc::new(load),
        make_room: Arc::new(make_room),
        embed: Arc::new(embed),
        token_ends: Arc::new(token_ends),
        score: Arc::new(score),
    }
}

/// How long an open collection has been idle.
fn idle(entry: Arc<Entry>) -> Option<(Duration, Arc<Entry>)> {
    Some((entry.ready()?.pins().idle(), entry))
}

impl Inner {
    /// How long a request waits for room.
    pub(super) fn write_patience(&self) -> Duration {
        self.settings.timing.room_patience.min(WRITE_PATIENCE)
    }

    /// Reserves memory if it fits, if need be after freed memory went back to the system.
    async fn reserve(&self, bytes: u64, purpose: Purpose) -> Option<Reservation> {
        let budget = &self.instance.budget;
        if let Some(room) = budget.reserve(bytes, purpose) {
            return Some(room);
        }
        self.give_back().await;
        budget.reserve(bytes, purpose)
    }

    /// Reserves memory for the collection `whose`, and evicts others for it.
    pub(super) async fn make_room(
        self: &Arc<Self>,
        size: LoadSize,
        purpose: Purpose,
        whose: CollectionId,
        patience: Duration,
    ) -> Option<Reservation> {
        if !self.instance.budget.could_ever_hold(size.least) {
            return None;
        }
        let deadline = Instant::now() + patience;
        let turn = tokio::time::timeout_at(deadline, self.making_room.lock()).await;
        loop {
            if let Some(room) = self.reserve(size.need, purpose).await {
                return Some(room);
            }
            if Instant::now() < deadline && self.let_caches_go() {
                continue;
            }
            let others = self.others(whose);
            let others_do = !others.is_empty() && self.would_do(&others, size.least, purpose);
            if turn.is_ok() && others_do && self.evict_one(&others).await {
                continue;
            }
            if !others_do && let Some(room) = self.instance.budget.reserve(size.least, purpose) {
                return Some(room);
            }
            // Work in progress will end and give its memory back.
            let soon = others_do || self.instance.budget.would_hold_soon(size.least, purpose);
            if turn.is_err() || !soon || Instant::now() >= deadline {
                return self.instance.budget.reserve(size.least, purpose);
            }
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
    }

    /// Evicts unused collections until no more memory is in use than allowed. The one that was used last stays,
    /// unless collections alone hold too much: otherwise work in progress holds the excess.
    async fn relieve(self: &Arc<Self>) -> bool {
        let _turn = self.making_room.lock().await;
        self.give_back().await;
        while self.instance.budget.is_over() {
            if self.let_caches_go() {
                self.give_back().await;
                continue;
            }
            let mut open: Vec<(Duration, Arc<Entry>)> = self.live_entries().into_iter().filter_map(idle).collect();
            open.sort_by_key(|(idle, _)| *idle);
            let all_may = self.instance.budget.limit_bytes() < Some(self.instance.budget.held_bytes());
            let open: Vec<Arc<Entry>> = open.into_iter().skip(usize::from(!all_may)).map(|(_, entry)| entry).collect();
            if !self.evict_one(&open).await {
                return false;
            }
            self.give_back().await;
        }
        true
    }

    /// Lets go of what nobody uses now and can be loaded again: models and maps. False if there is nothing.
    fn let_caches_go(&self) -> bool {
        #[cfg(feature = "embedding")]
        if self.let_models_go() {
            return true;
        }
        #[cfg(feature = "server")]
        if self.live_entries().iter().filter_map(|entry| entry.ready()).any(|open| open.let_map_go(MAP_IDLE)) {
            return true;
        }
        false
    }

    async fn give_back(&self) {
        let budget = self.instance.budget.clone();
        // A failure here changes nothing.
        let _ = off_thread(move || budget.give_back()).await;
    }

    /// The other collections that are in memory, or soon will be.
    fn others(&self, whose: CollectionId) -> Vec<Arc<Entry>> {
        let here = |entry: &Arc<Entry>| {
            let moving = Progress::Evicted(Eviction::Done);
            let progress = if entry.id == whose { moving } else { entry.progress() };
            matches!(progress, Progress::Loading | Progress::Ready(_) | Progress::Evicted(Eviction::Closing(_)))
        };
        self.live_entries().into_iter().filter(here).collect()
    }

    /// Whether evicting all of these would make enough room.
    fn would_do(&self, others: &[Arc<Entry>], need: u64, purpose: Purpose) -> bool {
        let loading = others.iter().any(|entry| entry.ready().is_none());
        let freed =
            others.iter().filter_map(|entry| entry.ready()).map(|collection| collection.evictable_bytes()).sum();
        loading || self.instance.budget.would_hold(need, freed, purpose)
    }

    /// Evicts the collection that has been idle longest; false if all are in use, or have just been loaded.
    async fn evict_one(&self, entries: &[Arc<Entry>]) -> bool {
        let least = self.settings.timing.min_loaded;
        let open = entries.iter().filter_map(|entry| Some((entry, entry.ready()?)));
        let stayed = open.filter(|(_, collection)| collection.pins().age() >= least);
        let mut idle: Vec<(Duration, &Arc<Entry>)> =
            stayed.map(|(entry, collection)| (collection.pins().idle(), entry)).collect();
        idle.sort_by_key(|(idle, _)| std::cmp::Reverse(*idle));
        for (_, entry) in idle {
            if entry.begin_eviction() {
                entry.closed().await;
                return true;
            }
        }
        false
    }

    /// Evicts collections that have been idle for `limit`.
    fn evict_idle(&self, limit: Duration) {
        for entry in self.live_entries() {
            if entry.ready().is_some_and(|collection| collection.pins().idle() >= limit) {
                entry.begin_eviction();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::head::{GraphEntry, InvertedEntry};
    use crate::format::inverted::InvertedKind;
    use crate::format::{Checksum, StreamConfig};
    use crate::record::Version;

    fn head(rows: u64, bytes: u64, graph_bytes: u64) -> Head {
        let mut head = Head::new("c/x".to_owned(), StreamConfig::of_dimension(100));
        let (lo, hi, xxh3) = (Version(1), Version(9), Checksum(1));
        let (key, other) = (String::new(), serde_json::Map::new());
        head.segs.push(SegmentEntry {
            key: key.clone(),
            lo,
            hi,
            rows,
            bytes,
            xxh3,
            level: 0,
            inverted: Vec::new(),
            other: other.clone(),
        });
        head.graphs.push(GraphEntry { key, lo, hi, nodes: rows, bytes: graph_bytes, xxh3, other });
        head
    }

    #[test]
    fn a_collection_takes_its_embeddings_its_graphs_and_its_texts_unpacked() {
        // 1,000 × 100 floats, 10 kB of stored text, 50 kB of graphs.
        let size = load_size(&head(1_000, 410_000, 50_000), None);
        assert_eq!(size.least, 450_000);
        assert_eq!(
            size.need,
            400_000 + 50_000 + 4 * 10_000 + 1_000 * estimate::LOADED_ROW_BYTES + estimate::LOADING_BYTES
        );
    }

    #[test]
    fn what_decoding_takes_beside_an_index_is_no_part_of_the_lower_bound() {
        let without = load_size(&head(1_000, 410_000, 0), None);
        let mut head = head(1_000, 410_000, 0);
        let kind = InvertedKind::Text { fingerprint: 7 };
        head.segs[0].inverted = vec![InvertedEntry::new("i".to_owned(), &kind, (80_000, Checksum(1)))];
        let one = load_size(&head, None);
        assert_eq!(one.least, without.least + 80_000, "in memory it is once");
        assert_eq!(one.need, without.need + 160_000);
        head.segs.push(head.segs[0].clone());
        let two = load_size(&head, None);
        let rows_twice = 2 * without.need - estimate::LOADING_BYTES;
        assert_eq!(two.need, rows_twice + 320_000, "both are decoded at once");
    }

    #[test]
    fn tombstones_have_no_embeddings_and_an_absurd_head_overflows_nothing() {
        // A segment of 3 kB cannot hold 1,000 embeddings, although it states 1,000 rows.
        assert_eq!(load_size(&head(1_000, 3_000, 0), None).least, 6_000);
        let size = load_size(&head(u64::MAX, u64::MAX, u64::MAX), Some(100));
        assert_eq!((size.need, size.least), (u64::MAX, u64::MAX));
    }
}
