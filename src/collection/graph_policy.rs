//! Graph policy: when graphs are built, merged and stored. Each round of maintenance asks for the one task that is
//! due next.
//! Invariants: a search goes through O(log n) graphs, each some sixteen times as large as all that came after it. It
//! scans a few hundred records that are in none. A record is inserted into O(log n) graphs, and stored as part of O(1)
//! of them.

use std::sync::Arc;

use super::state::graphs::{GraphStorage, GraphView};
use super::state::snapshot::Snapshot;
use crate::record::Version;

/// A graph is merged with its successors while it has at most this many times as many nodes. Inserting is most of the
/// work. The work that grows with the larger graph (copying it) is some thirty times less per node.
const MERGE_RATIO: u64 = 16;
/// When the records in no graph are this many times the number worth a graph, they are added step by step. Each step
/// serves searches as soon as it is done. A step takes half as many records as the graph has, if that is more.
/// Copying the graph with each step costs a few per cent of the work.
const STEP: u64 = 64;
/// The first graph needs this many times as many records as later additions: fewer are scanned more quickly.
pub(super) const FIRST: u64 = 4;
/// A graph drops its dead nodes when they are more than one in this many. Merging drops them too.
const MOSTLY_DELETED: u64 = 4;
/// Unstored graphs are stored when they hold one in this many of all records. A record's part in stored graphs is
/// thus written about eight times, at a quarter of the record's size each.
const UNSTORED: u64 = 8;
/// [`UNSTORED`] for a quiet collection.
const UNSTORED_QUIET: u64 = 16;
/// In a quiet collection, graphs become one as soon as one in this many records is not in the largest.
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
    /// Graphs that it replaces.
    pub replaces: Vec<String>,
    /// The replaced graph that is extended, if any.
    pub extends: Option<String>,
    /// How many of its nodes are in no stored graph.
    pub new: u64,
}

/// What the policy knows beside the snapshot.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput {
    /// How many records in no graph are worth one.
    pub rows: u64,
    /// Whether nobody has written for a while.
    pub quiet: bool,
    /// The most nodes of a graph that memory allows to build.
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
    // Many unindexed records slow searches now, so building comes first. Storing only helps some later start.
    let unindexed = snapshot.unindexed();
    match unindexed >= input.rows * STEP && unindexed * UNSTORED > snapshot.count() {
        true => job.or_else(|| unstored(&graphs, input)),
        false => unstored(&graphs, input).or(job),
    }
}

/// Splits versions after about `most` of their oldest records: returns the version where these end, and their number.
/// A commit is not divided.
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
    // All nodes count as new, so that the graph is stored at once: a start should not find the old one.
    let new = view.alive.count() as u64;
    let key = &view.part.key;
    BuildTask { lo: header.lo, hi: header.hi, replaces: vec![key.clone()], extends: Some(key.clone()), new }
}

/// A graph over the records at the end that are in none, which takes in earlier graphs of similar size. For a quiet
/// collection, one graph over everything.
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
        // Takes as many of the oldest records as memory allows; the next rounds take the others.
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
        // Memory allows fewer than two graphs to be merged, so there is nothing to do.
        return None;
    }
    if taken.len() == graphs.len() {
        // A graph that could not be used may have left unindexed records before the first graph.
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

/// The oldest unstored graph, once enough of the records are in no stored graph.
fn unstored(graphs: &[&Arc<GraphView>], input: PolicyInput) -> Option<GraphTask> {
    let oldest = graphs.iter().find(|view| view.part.stored != GraphStorage::Yes)?;
    let new: u64 = graphs.iter().map(|view| new_nodes(view)).sum();
    let total: u64 = graphs.iter().map(|view| nodes(view)).sum();
    let due = new >= (input.rows * UNSTORED).max(total / UNSTORED)
        || input.quiet && new >= input.rows.max(total / UNSTORED_QUIET);
    due.then(|| GraphTask::Store(oldest.part.key.clone()))
}
