//! Upkeep of a collection's graphs in the background: take over what other instances built, build what
//! no graph covers yet, merge graphs of like size, and name the result in HEAD (protocol section 7).
//! Invariant: a graph is only a cache; whatever goes wrong here costs time, never an answer.

use std::sync::Arc;

use serde_json::Map;
use ulid::Ulid;

use super::graphs::{self, GraphPart, GraphView};
use super::handle::Collection;
use super::request::IndexSettings;
use super::snapshot::Snapshot;
use crate::format::graph::encode_graph;
use crate::format::head::{GraphEntry, Head, Life, RetiredEntry};
use crate::format::{Checksum, FormatError};
use crate::head::{HeadRead, Swapped};
use crate::index::{BUILDERS, Graph, GraphParams, GraphRange, build_graph, builder_named};
use crate::record::Version;
use crate::stream::context::StreamError;
use crate::stream::flush::upload_retired;
use crate::stream::open::{fetch_graph, off_thread};
use crate::stream::state::State;

/// A graph is merged with what comes after it while it has at most this many times as many nodes.
const MERGE_RATIO: u64 = 2;

/// What to build, and which graphs it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    lo: Version,
    hi: Version,
    replaces: Vec<String>,
}

/// The versions a graph covers.
struct Range {
    lo: Version,
    hi: Version,
}

fn range(view: &GraphView) -> Range {
    let header = view.part.graph.header();
    Range { lo: header.lo, hi: header.hi }
}

/// Decides what to build: a graph over all versions after the last one, once they hold `threshold`
/// loose records, taking in graphs before it of like size; or a graph anew of which half is dead.
fn plan(snapshot: &Snapshot, threshold: u64) -> Option<Job> {
    let graphs = &snapshot.graphs;
    let nodes = |view: &GraphView| view.part.graph.len() as u64;
    let ended = |view: &GraphView| nodes(view) - view.alive.count() as u64;
    if let Some(worn) =
        graphs.iter().find(|view| view.alive.count() > 0 && ended(view) * 2 > nodes(view) && nodes(view) >= threshold)
    {
        let Range { lo, hi } = range(worn);
        return Some(Job { lo, hi, replaces: vec![worn.part.key.clone()] });
    }
    let mut ordered: Vec<&Arc<GraphView>> = graphs.iter().collect();
    ordered.sort_by_key(|view| range(view).lo);
    let mut lo = ordered.last().map_or(Version(1), |view| range(view).hi.next());
    let hi = snapshot.version();
    if lo > hi {
        return None;
    }
    let mut records = snapshot.count_embedded(lo, hi) as u64;
    if records < threshold.max(1) {
        return None;
    }
    let mut replaces = Vec::new();
    for view in ordered.into_iter().rev() {
        if nodes(view) > MERGE_RATIO * records {
            break;
        }
        records += nodes(view);
        lo = range(view).lo;
        replaces.push(view.part.key.clone());
    }
    Some(Job { lo, hi, replaces })
}

impl Collection {
    /// One round of upkeep: adopts graphs that HEAD names, or builds one that is due. Answers whether
    /// anything changed, so that the caller may go on until nothing does.
    pub(crate) async fn keep_graphs(&self) -> Result<bool, StreamError> {
        let threshold = self.stream().context().timing.graph_rows as u64;
        let snapshot = self.present();
        if plan(&snapshot, threshold).is_none() {
            return Ok(false);
        }
        let stream = &self.stream().context().stream;
        let read = self.stream().swapper().read().await.map_err(|e| StreamError::of_head(e, stream))?;
        if read.head.state == Life::Dropped {
            return Ok(false);
        }
        if self.adopt(&read.head).await? {
            return Ok(true);
        }
        // Adopting may have dropped graphs that HEAD no longer names.
        let snapshot = self.present();
        match plan(&snapshot, threshold) {
            Some(job) => self.build(read, snapshot, job).await,
            None => Ok(false),
        }
    }

    /// Takes over the graphs that HEAD names and lets go of the others.
    async fn adopt(&self, head: &Head) -> Result<bool, StreamError> {
        let here = self.present().graph_keys();
        let gone: Vec<String> =
            here.iter().filter(|key| !head.graphs.iter().any(|g| &&g.key == key)).cloned().collect();
        let mut changed = !gone.is_empty();
        let mut replaces = gone;
        let context = self.stream().context();
        for entry in head.graphs.iter().filter(|g| !here.contains(&g.key)) {
            if entry.hi > self.present().version() {
                // It covers commits that we have not read yet: the next round takes it.
                continue;
            }
            let bytes = match fetch_graph(context, entry).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(key = %entry.key, %error, "a graph cannot be used");
                    continue;
                }
            };
            let entry = entry.clone();
            let decoded = off_thread(move || graphs::decode(&entry, bytes)).await?;
            match decoded {
                Ok(part) => {
                    self.attach(part, std::mem::take(&mut replaces)).await?;
                    context.counters.graphs_loaded.count();
                    changed = true;
                }
                Err(cause) => tracing::warn!(%cause, "a graph cannot be used"),
            }
        }
        if !replaces.is_empty() {
            let state = self.stream().shared().state();
            off_thread(move || {
                let mut state = state.lock();
                state.detach_graphs(&replaces);
                state.publish();
            })
            .await?;
        }
        Ok(changed)
    }

    async fn attach(&self, part: GraphPart, replaces: Vec<String>) -> Result<(), StreamError> {
        let state = self.stream().shared().state();
        let key = part.key.clone();
        let attached = off_thread(move || {
            let mut state = state.lock();
            state.attach_graph(part, &replaces)?;
            state.publish();
            Ok::<(), FormatError>(())
        });
        attached.await?.map_err(|cause| StreamError::corrupted(key, &cause))
    }

    async fn build(&self, read: HeadRead, snapshot: Arc<Snapshot>, job: Job) -> Result<bool, StreamError> {
        let context = self.stream().context().clone();
        let replaced: Vec<GraphEntry> =
            read.head.graphs.iter().filter(|g| g.lo <= job.hi && g.hi >= job.lo).cloned().collect();
        let range = GraphRange { stream: context.stream.to_string(), lo: job.lo, hi: job.hi };
        let (index, threads) = (self.identity().index.clone(), self.compute().index_threads());
        let built = self.compute().build(move || build_encoded(&snapshot, range, &index, threads)).await;
        let built = built.and_then(|built| built);
        let built = built.map_err(|error| StreamError::Unavailable(format!("building a graph failed: {error}")))?;
        let Some((graph, bytes)) = built else { return Ok(false) };
        context.counters.graphs_built.count();

        let key = context.stream.graph(Ulid::generate());
        let (size, xxh3) = (bytes.len() as u64, Checksum::of(&bytes));
        let nodes = graph.len() as u64;
        context.bucket.put_large(&key, vec![bytes.into()]).await?;
        let entry = GraphEntry { key, lo: job.lo, hi: job.hi, nodes, bytes: size, xxh3, other: Map::new() };
        let retired = match replaced.is_empty() {
            true => None,
            false => Some(upload_retired(&context, Vec::new(), replaced.clone()).await?),
        };
        let replaces: Vec<String> = job.replaces.into_iter().chain(replaced.iter().map(|g| g.key.clone())).collect();
        let named = entry.clone();
        let plan = move |read: &HeadRead| name_graph(read, &replaced, &named, retired);
        let swapped = self.stream().swapper().swap(read, &plan).await;
        match swapped.map_err(|e| StreamError::of_head(e, &context.stream))? {
            Swapped::Done(_) => {
                let part = GraphPart { key: entry.key, graph: Arc::new(graph) };
                self.attach(part, replaces).await?;
                Ok(true)
            }
            Swapped::Abandoned(why) => {
                tracing::debug!(%why, "a graph was built in vain");
                Ok(false)
            }
        }
    }
}

fn build_encoded(
    snapshot: &Snapshot,
    range: GraphRange,
    index: &IndexSettings,
    threads: usize,
) -> crate::error::Result<Option<(Graph, Vec<u8>)>> {
    let set = snapshot.graph_input(range.lo, range.hi);
    if set.vectors.is_empty() {
        return Ok(None);
    }
    let params = GraphParams { m: index.m, ef_construction: index.ef_construction, threads, ..GraphParams::default() };
    // A name of a newer version's builder is no reason to have no graph.
    let builder = builder_named(&index.builder).unwrap_or(BUILDERS[0]);
    let graph = build_graph(&set, range, &params, builder)?;
    let bytes = encode_graph(graph.content())?;
    Ok(Some((graph, bytes)))
}

/// HEAD with `entry` in place of `replaced`, if these all still stand there and nothing else overlaps.
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
