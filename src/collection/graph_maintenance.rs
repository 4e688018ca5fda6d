//! Graph maintenance of one collection in the background. It takes over what other instances stored, and builds and
//! merges what `graph_policy` says is due. From time to time it stores the result and names it in HEAD
//! (docs/protocol.md#graph-maintenance). Graphs serve searches before they are stored, and most are merged before
//! they ever are.
//! Invariant: a graph is only a cache; whatever goes wrong here costs time, never an answer.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Map;
use tokio::time::Instant;
use ulid::Ulid;

use super::graph_policy::{BuildTask, FIRST, GraphTask, PolicyInput, due};
use super::handle::Collection;
use super::request::IndexSettings;
use super::state::graphs::{self, GraphPart, GraphStorage, Relinked};
use super::state::snapshot::Snapshot;
use crate::compute::{Urgency, off_thread};
use crate::format::graph::encode_graph;
use crate::format::head::{GraphEntry, Head, Life, RetiredEntry};
use crate::format::{Checksum, FormatError};
use crate::head::{HeadRead, Swapped};
use crate::index::{
    BUILDERS, BatchBuilder, Graph, GraphBuilder, GraphParams, GraphRange, build_graph, builder_named, extend_graph,
};
use crate::memory::{Purpose, Reservation};
use crate::record::Version;
use crate::stream::context::StreamError;
use crate::stream::flush::upload_retired;
use crate::stream::open::fetch_graph;
use crate::stream::state::State;
use crate::stream::upload;

/// A collection is quiet after this many rounds of maintenance without a commit.
const QUIET_ROUNDS: u32 = 6;

/// Builds of fewer new nodes are not worth a line of the log.
const LOGGED_NODES: u64 = 8192;
/// The least time over which the share of scans in searches is measured.
const LOOKED: Duration = Duration::from_millis(100);

/// What maintenance of a collection's graphs remembers between rounds.
#[derive(Debug)]
pub struct QuietTimer {
    version: Version,
    /// Since when the collection has been at that version.
    since: Instant,
    /// The last measurement of scans: when it was, and how much time searches had spent on scans until then.
    looked: (std::time::Instant, Duration),
    urgency: Urgency,
    /// Since when a graph is being built.
    building: Option<std::time::Instant>,
}

impl Default for QuietTimer {
    fn default() -> QuietTimer {
        QuietTimer {
            version: Version(0),
            since: Instant::now(),
            looked: (std::time::Instant::now(), Duration::ZERO),
            urgency: Urgency::NONE,
            building: None,
        }
    }
}

/// How far the records of a collection are in graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GraphProgress {
    /// Live records that can be in a graph.
    pub records: u64,
    /// Live records that are in a graph. Searches scan the others.
    pub in_graphs: u64,
    /// Whether a graph is being built now.
    pub building: bool,
    /// How long that build has run, in seconds.
    pub building_seconds: u64,
}

/// How far a round of maintenance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Does what is due, at the lowest priority.
    Due,
    /// Does what is due for a collection that is quiet.
    Settle,
    /// Does what is due for a collection that is quiet, with the whole processor.
    Hurry,
}

impl Collection {
    /// One round of maintenance: adopts graphs that HEAD names, or builds or stores one that is due. Returns whether
    /// anything changed, so that the caller can repeat rounds until nothing does.
    pub(crate) async fn keep_graphs(&self, effort: Effort) -> Result<bool, StreamError> {
        let context = self.stream().context();
        let _turn = self.graph_turn().lock().await;
        let present = self.present();
        let quiet = self.is_quiet() || effort != Effort::Due;
        let urgency = if effort == Effort::Hurry { Urgency::FULL } else { self.urgency(&present) };
        let input = PolicyInput { rows: context.timing.graph_rows as u64, quiet, room: self.room_nodes(&present) };
        if due(&present, input).is_none() {
            if present.unindexed() > input.room {
                context.counters.put_off.count();
            }
            return Ok(false);
        }
        let read = context.read_head().await?;
        if read.head.state == Life::Dropped {
            return Ok(false);
        }
        if self.adopt(&read.head).await? {
            return Ok(true);
        }
        // Adopting may have dropped graphs that HEAD no longer names, so the snapshot is taken here.
        let snapshot = self.present();
        match due(&snapshot, input) {
            Some(GraphTask::Build(job)) => self.build(snapshot, job, urgency).await,
            Some(GraphTask::Store(name)) => self.store(read, &snapshot, name).await,
            None => Ok(false),
        }
    }

    /// Nodes of the largest graph that memory allows to build.
    fn room_nodes(&self, snapshot: &Snapshot) -> u64 {
        let (room, owed) = (self.stream().context().budget.room_bytes(), snapshot.owed_bytes());
        let (building, built) = (snapshot.build_bytes_of(1), snapshot.graph_bytes_of(1));
        // For records in no graph, the memory of the future graph is counted as used already.
        let fresh = room / (building - built).max(1);
        if owed > 0 && fresh < snapshot.unindexed() { fresh } else { room.saturating_add(owed) / building }
    }

    /// Reserves memory for work on graphs; `None` if the work has to wait.
    fn room_for_graph(&self, bytes: u64) -> Option<Reservation> {
        let context = self.stream().context();
        let room = context.budget.reserve(bytes, Purpose::Work);
        if room.is_none() {
            context.counters.put_off.count();
        }
        room
    }

    /// Puts all records into graphs and the graphs into the bucket, and returns when that is done. It is meant for
    /// the end of a large import, so that no search has to run without a graph. `progress` receives how many records
    /// there are and how many are in graphs. A collection of a thousand records or fewer needs no graph.
    ///
    /// # Errors
    /// `Unavailable` if the bucket does not answer; the work done until then is kept.
    pub async fn build_graphs(&self, progress: impl Fn(GraphProgress)) -> crate::error::Result<()> {
        let pinned = self.pinned().await?;
        progress(pinned.graph_progress());
        while pinned.keep_graphs(Effort::Hurry).await? {
            progress(pinned.graph_progress());
        }
        Ok(())
    }

    /// How far the collection's records are in graphs.
    pub fn graph_progress(&self) -> GraphProgress {
        let (present, building) = (self.present(), self.quiet_timer().lock().building);
        let records = if present.dimension() == Some(0) { 0 } else { present.count() };
        GraphProgress {
            records,
            in_graphs: records.saturating_sub(present.unindexed()),
            building: building.is_some(),
            building_seconds: building.map_or(0, |since| since.elapsed().as_secs()),
        }
    }

    /// Live records that still are to be put into a graph. A collection that has none, and fewer records than are worth
    /// one, stays as it is: its searches scan.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn awaiting_graph(&self) -> u64 {
        let (present, rows) = (self.present(), self.stream().context().timing.graph_rows as u64);
        match present.graphs.is_empty() && present.unindexed() < rows * FIRST {
            true => 0,
            false => present.unindexed(),
        }
    }

    /// How much searches would gain by a graph, judged by the last moments.
    fn urgency(&self, snapshot: &Snapshot) -> Urgency {
        let mut quiet_timer = self.quiet_timer().lock();
        let (at, before) = quiet_timer.looked;
        if at.elapsed() >= LOOKED {
            let spent = snapshot.scanned();
            quiet_timer.urgency =
                Urgency::of(spent.saturating_sub(before), at.elapsed(), self.compute().search_threads());
            quiet_timer.looked = (std::time::Instant::now(), spent);
        }
        quiet_timer.urgency
    }

    fn is_quiet(&self) -> bool {
        let version = self.present().version();
        let mut quiet_timer = self.quiet_timer().lock();
        if quiet_timer.version != version {
            (quiet_timer.version, quiet_timer.since) = (version, Instant::now());
        }
        quiet_timer.since.elapsed() >= self.stream().context().timing.maintenance_interval * QUIET_ROUNDS
    }

    /// Takes over the graphs that HEAD names, and drops the other stored ones. A graph that covers no more than what
    /// this instance has built since is left alone.
    async fn adopt(&self, head: &Head) -> Result<bool, StreamError> {
        let before = self.present();
        let here = before.graph_keys();
        let stored =
            before.graphs.iter().filter(|view| view.part.stored == GraphStorage::Yes).map(|view| &view.part.key);
        let mut replaces: Vec<String> =
            stored.filter(|key| !head.graphs.iter().any(|g| g.key == **key)).cloned().collect();
        if head.graphs.iter().any(|g| g.hi > before.version()) {
            // The graphs cover commits that this instance has not read yet: a later round takes them.
            return Ok(false);
        }
        let mut changed = !replaces.is_empty();
        let context = self.stream().context();
        let ours: Vec<&GraphPart> =
            before.graphs.iter().map(|view| &view.part).filter(|part| part.stored != GraphStorage::Yes).collect();
        for entry in head.graphs.iter().filter(|g| !here.contains(&g.key)) {
            if ours.iter().any(|part| part.covers(entry.lo, entry.hi)) {
                continue;
            }
            let Some(_room) = self.room_for_graph(entry.bytes) else { continue };
            let bytes = match fetch_graph(context, entry).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(key = %entry.key, %error, "a graph cannot be used");
                    continue;
                }
            };
            let named = entry.clone();
            let decoded = off_thread(move || graphs::decode(&named, bytes)).await?;
            match decoded {
                Ok(part) => {
                    let outdone = ours.iter().filter(|part| part.overlaps(entry.lo, entry.hi));
                    replaces.extend(outdone.map(|part| part.key.clone()));
                    self.relink(std::mem::take(&mut replaces), Some(part)).await?;
                    context.counters.graphs_loaded.count();
                    changed = true;
                }
                Err(cause) => tracing::warn!(%cause, "a graph cannot be used"),
            }
        }
        if !replaces.is_empty() {
            self.relink(replaces, None).await?;
        }
        Ok(changed)
    }

    /// Adds a graph, and removes the graphs of `keys`.
    async fn relink(&self, keys: Vec<String>, part: Option<GraphPart>) -> Result<(), StreamError> {
        let (state, before) = (self.stream().shared().state(), self.present());
        let key = part.as_ref().map_or_else(String::new, |part| part.key.clone());
        let done = off_thread(move || {
            if let Some(part) = &part {
                before.check_graph(part)?;
            }
            let relinked = Relinked::prepare(before, keys, part);
            let mut state = state.lock();
            state.relink(&relinked);
            state.publish();
            // IMPORTANT: writers wait for this lock; the replaced state is freed after it.
            drop(state);
            Ok::<(), FormatError>(())
        });
        done.await?.map_err(|cause| StreamError::corrupted(key, &cause))
    }

    /// Builds a graph and uses it, without storing it.
    async fn build(&self, snapshot: Arc<Snapshot>, job: BuildTask, urgency: Urgency) -> Result<bool, StreamError> {
        let context = self.stream().context();
        // The memory of the finished graph is accounted for already.
        let nodes = snapshot.count_embedded(job.lo, job.hi) as u64;
        let owed = snapshot.graph_bytes_of(nodes).min(snapshot.owed_bytes());
        let need = snapshot.build_bytes_of(nodes).saturating_sub(owed);
        let Some(_room) = self.room_for_graph(need) else { return Ok(false) };
        let range = GraphRange { stream: context.stream.to_string(), lo: job.lo, hi: job.hi };
        let (index, extends) = (self.identity().index.clone(), job.extends);
        let _told = Told::begin(self, nodes, job.new);
        let work = move |threads: usize| build(&snapshot, range, extends.as_deref(), &index, threads);
        let built = self.compute().build(urgency, work).await.and_then(|built| built);
        let built = built.map_err(|error| StreamError::Unavailable(format!("building a graph failed: {error}")))?;
        let part = built.map(|graph| GraphPart {
            key: format!("not stored {}", Ulid::generate()),
            graph: Arc::new(graph),
            stored: GraphStorage::NotYet { new: job.new },
        });
        let Some(part) = part else { return Ok(false) };
        context.counters.graphs_built.count();
        self.relink(job.replaces, Some(part)).await?;
        Ok(true)
    }

    /// Puts the graph of this name into the bucket and names it in HEAD.
    async fn store(&self, read: HeadRead, snapshot: &Snapshot, name: String) -> Result<bool, StreamError> {
        let context = self.stream().context();
        let Some(view) = snapshot.graphs.iter().find(|view| view.part.key == name) else { return Ok(false) };
        let graph = view.part.graph.clone();
        let (lo, hi, nodes) = (graph.header().lo, graph.header().hi, graph.len() as u64);
        let replaced: Vec<GraphEntry> = read.head.graphs.iter().filter(|g| g.lo <= hi && g.hi >= lo).cloned().collect();
        if !replaced.iter().all(|g| view.part.covers(g.lo, g.hi)) {
            // Another instance is ahead: its graph is adopted once this instance has read its commits.
            return Ok(false);
        }
        let Some(_room) = self.room_for_graph(graph.size_bytes() as u64) else { return Ok(false) };
        let encoded = self.compute().build(Urgency::NONE, move |_| encode_graph(graph.content())).await;
        let bytes = encoded.map_err(|error| StreamError::Unavailable(format!("storing a graph failed: {error}")))?;
        let key = context.stream.graph(Ulid::generate());
        let bytes = bytes.map_err(|error| StreamError::Unavailable(format!("storing a graph failed: {error}")))?;
        let (size, xxh3) = (bytes.len() as u64, Checksum::of(&bytes));
        upload::put(context.bucket.as_ref(), &key, vec![bytes.into()], context.timing.reread()).await?;
        let entry = GraphEntry { key, lo, hi, nodes, bytes: size, xxh3, other: Map::new() };
        let retired = match replaced.is_empty() {
            true => None,
            false => Some(upload_retired(context, Vec::new(), replaced.clone(), None).await?),
        };
        let named = entry.clone();
        let plan = move |read: &HeadRead| name_graph(read, &replaced, &named, retired);
        let swapped = self.stream().swapper().swap(read, &plan).await;
        match swapped.map_err(|e| StreamError::of_head(e, &context.stream))? {
            Swapped::Done(_) => {
                let state = self.stream().shared().state();
                let mut state = state.lock();
                state.note_stored(&name, &entry.key);
                state.publish();
                Ok(true)
            }
            Swapped::Abandoned(why) => {
                tracing::debug!(%why, "a graph was stored in vain");
                Ok(false)
            }
        }
    }
}

/// Marks that a graph is being built for as long as this value lives, and logs builds of large ones.
struct Told<'a> {
    collection: &'a Collection,
    begun: std::time::Instant,
    large: bool,
}

impl Told<'_> {
    fn begin(collection: &Collection, nodes: u64, new: u64) -> Told<'_> {
        let begun = std::time::Instant::now();
        collection.quiet_timer().lock().building = Some(begun);
        let large = new >= LOGGED_NODES;
        if large {
            tracing::info!(collection = %collection.identity().name, nodes, new, "a graph is being built");
        }
        Told { collection, begun, large }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.collection.quiet_timer().lock().building = None;
        if self.large {
            let GraphProgress { records, in_graphs, .. } = self.collection.graph_progress();
            let (name, seconds) = (&self.collection.identity().name, self.begun.elapsed().as_secs_f64());
            tracing::info!(collection = %name, in_graphs, records, seconds, "a graph was built");
        }
    }
}

fn build(
    snapshot: &Snapshot,
    range: GraphRange,
    extends: Option<&str>,
    index: &IndexSettings,
    threads: usize,
) -> crate::error::Result<Option<Graph>> {
    let set = snapshot.graph_input(range.lo, range.hi);
    if set.vectors.is_empty() {
        return Ok(None);
    }
    let params = GraphParams { m: index.m, ef_construction: index.ef_construction, threads, ..GraphParams::default() };
    // An index may name a builder of a newer version. The default builder then makes the graph.
    let builder = builder_named(&index.builder).unwrap_or(BUILDERS[0]);
    let extended = snapshot.graphs.iter().find(|view| Some(view.part.key.as_str()) == extends);
    // Only the batch builder extends graphs.
    if let Some(view) = extended.filter(|_| builder.name() == BatchBuilder.name()) {
        let (old, new) = view.part.among(set);
        return extend_graph(&old, &new, range, &params).map(Some);
    }
    build_graph(&set, range, &params, builder).map(Some)
}

/// HEAD with `entry` in place of `replaced`. `None` unless HEAD still names all of these and no other graph overlaps.
fn name_graph(
    read: &HeadRead,
    replaced: &[GraphEntry],
    entry: &GraphEntry,
    retired: Option<Ulid>,
) -> Result<Head, String> {
    if read.head.state == Life::Dropped {
        return Err("the collection has ended".to_owned());
    }
    let mut next = read.head.successor();
    let before = next.graphs.len();
    next.graphs.retain(|g| !replaced.iter().any(|r| r.key == g.key));
    let overlaps = next.graphs.iter().any(|g| g.lo <= entry.hi && g.hi >= entry.lo);
    if before - next.graphs.len() != replaced.len() || overlaps {
        return Err("another instance changed the graphs".to_owned());
    }
    next.graphs.push(entry.clone());
    next.graphs.sort_by_key(|g| g.lo);
    if let Some(ulid) = retired {
        let seen = read.date.ok_or("the store sent no date with HEAD")?;
        next.retired.push(RetiredEntry { ulid, seen, other: Map::new() });
    }
    Ok(next)
}
