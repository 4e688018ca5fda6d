//! When graphs are built, merged and stored. Each round of maintenance asks for the one thing that is due next.
//! Invariant: a search goes through O(log n) graphs, each some sixteen times as large as all that came
//! after it, and a few hundred records in none; a record is inserted into O(log n) graphs and stored as part
//! of O(1) of them.

use std::sync::Arc;

use super::graphs::{GraphStorage, GraphView};
use super::snapshot::Snapshot;
use crate::record::Version;

/// A graph is merged with what comes after it while it has at most this many times as many nodes: inserting
/// is most of the work, what grows with the larger graph (copying it) is some thirty times less a node.
const MERGE_RATIO: u64 = 16;
/// Where this many times as many records as are worth a graph are in none, they are put into one step by step, so
/// that each step serves searches as soon as it is done; or half as many as the graph has, if these are more. What
/// is copied with each step comes to a few in a hundred of the work.
const STEP: u64 = 64;
/// The first graph is made of this many times as many records as later additions: fewer are quicker scanned.
const FIRST: u64 = 4;
/// A graph sheds its dead when they are more than one in this many of its nodes. Merging sheds them too.
const MOSTLY_DELETED: u64 = 4;
/// What is in no stored graph is stored when it is one in this many of all records: so a record's part in
/// stored graphs is written about eight times, at a quarter of its own size each.
const UNSTORED: u64 = 8;
/// [`UNSTORED`] when nobody writes.
const UNSTORED_QUIET: u64 = 16;
/// When nobody writes, graphs become one as soon as one in this many records is not in the largest.
const APART_QUIET: u64 = 1024;

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphTask {
    /// A graph is to be built.
    Build(BuildTask),
    /// The graph of this name is to be put into the bucket.
    Store(String),
}

/// A graph to build over all records of a range of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTask {
    pub lo: Version,
    pub hi: Version,
    /// Graphs that it takes the place of.
    pub replaces: Vec<String>,
    /// The one of these that is extended, if any.
    pub extends: Option<String>,
    /// How many of its nodes will be in no stored graph.
    pub new: u64,
}

/// What the policy goes by beside the snapshot.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput {
    /// Records in no graph from which on they are put into one.
    pub rows: u64,
    /// Whether nobody has written for a while.
    pub quiet: bool,
    /// Nodes that a graph may have for there to be memory to build it.
    pub room: u64,
}

/// Decides what to do next, if anything.
pub fn due(snapshot: &Snapshot, input: PolicyInput) -> Option<GraphTask> {
    if snapshot.dimension() == Some(0) {
        return None;
    }
    let mut graphs: Vec<&Arc<GraphView>> = snapshot.graphs.iter().collect();
    graphs.sort_by_key(|view| view.part.graph.header().lo);
    let fits = |view: &GraphView| view.alive.count() as u64 <= input.room;
    let mostly_deleted = graphs.iter().find(|view| is_mostly_deleted(view) && nodes(view) >= input.rows && fits(view));
    let mostly_deleted = mostly_deleted.map(|view| renewed(view));
    let job = mostly_deleted.or_else(|| merged(snapshot, &graphs, input)).map(GraphTask::Build);
    // Where many records are in no graph, searches wait for one now; a start would some day.
    let unindexed = snapshot.unindexed();
    match unindexed >= input.rows * STEP && unindexed * UNSTORED > snapshot.count() {
        true => job.or_else(|| unstored(&graphs, input)),
        false => unstored(&graphs, input).or(job),
    }
}

/// The end of the oldest records of these versions, about `most` of them, and how many these are. A commit is not
/// divided.
fn oldest(snapshot: &Snapshot, lo: Version, hi: Version, most: u64) -> (Version, u64) {
    match snapshot.first_embedded(lo, hi, most) {
        (end, 0) if end < hi => (end.next(), snapshot.count_embedded(lo, end.next()) as u64),
        step => step,
    }
}

fn nodes(view: &GraphView) -> u64 {
    view.part.graph.len() as u64
}

fn is_mostly_deleted(view: &GraphView) -> bool {
    view.alive.count() > 0 && view.ended() as u64 * MOSTLY_DELETED > nodes(view)
}

fn new_nodes(view: &GraphView) -> u64 {
    match view.part.stored {
        GraphStorage::Yes => 0,
        GraphStorage::NotYet { new } => new,
    }
}

/// A graph without its deleted nodes.
fn renewed(view: &GraphView) -> BuildTask {
    let header = view.part.graph.header();
    // All count as new, so that it is stored at once: a start should not find the old one.
    let new = view.alive.count() as u64;
    let key = &view.part.key;
    BuildTask { lo: header.lo, hi: header.hi, replaces: vec![key.clone()], extends: Some(key.clone()), new }
}

/// A graph over what no graph covers at the end, taking in graphs before it of like size; when nobody writes,
/// one over everything.
fn merged(snapshot: &Snapshot, graphs: &[&Arc<GraphView>], input: PolicyInput) -> Option<BuildTask> {
    let (mut lo, mut hi) =
        (graphs.last().map_or(Version(1), |view| view.part.graph.header().hi.next()), snapshot.version());
    let mut unindexed = if lo > hi { 0 } else { snapshot.count_embedded(lo, hi) as u64 };
    let largest = graphs.iter().map(|view| nodes(view)).max().unwrap_or(0);
    let apart = unindexed + graphs.iter().map(|view| nodes(view)).sum::<u64>() - largest;
    let enough = if graphs.is_empty() { input.rows * FIRST } else { input.rows }.max(1);
    let fold = input.quiet
        && largest > 0
        && snapshot.count() > 0
        && apart >= (input.rows / 4).max(largest / APART_QUIET).max(1);
    let short = unindexed > input.room;
    if short {
        // As many of the oldest as there is memory for; the others come next.
        (hi, unindexed) = snapshot.first_embedded(lo, hi, input.room);
    }
    if unindexed < enough && (short || !fold) {
        return None;
    }
    let step = (input.rows * STEP).max(largest / 2);
    if unindexed > step + step / 2 {
        let (end, some) = oldest(snapshot, lo, hi, step);
        if some <= input.room {
            (hi, unindexed) = (end, some);
        }
    }
    let (mut records, mut new) = (unindexed, unindexed);
    let mut taken: Vec<&Arc<GraphView>> = Vec::new();
    for view in graphs.iter().rev() {
        if (nodes(view) > MERGE_RATIO * records && !fold) || records + nodes(view) > input.room {
            break;
        }
        records += nodes(view);
        new += new_nodes(view);
        lo = view.part.graph.header().lo;
        taken.push(view);
    }
    if unindexed == 0 && taken.len() < 2 {
        // Without room for more than one graph there is nothing to make one of.
        return None;
    }
    if taken.len() == graphs.len() {
        // A graph that could not be used may have left records before the first one.
        lo = Version(1);
    }
    let extends = taken.iter().max_by_key(|view| nodes(view)).filter(|view| nodes(view) * 2 >= records);
    Some(BuildTask {
        lo,
        hi,
        extends: extends.map(|view| view.part.key.clone()),
        replaces: taken.iter().map(|view| view.part.key.clone()).collect(),
        new,
    })
}

/// The oldest graph that is not stored, once enough of the records are in no stored graph.
fn unstored(graphs: &[&Arc<GraphView>], input: PolicyInput) -> Option<GraphTask> {
    let oldest = graphs.iter().find(|view| view.part.stored != GraphStorage::Yes)?;
    let new: u64 = graphs.iter().map(|view| new_nodes(view)).sum();
    let total: u64 = graphs.iter().map(|view| nodes(view)).sum();
    let due = new >= (input.rows * UNSTORED).max(total / UNSTORED)
        || input.quiet && new >= input.rows.max(total / UNSTORED_QUIET);
    due.then(|| GraphTask::Store(oldest.part.key.clone()))
}
