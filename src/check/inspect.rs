//! The contents of a bucket, stream by stream, without reading the objects themselves: versions, segments, graphs,
//! the log's tail, replaced objects, and how far back restoring reaches.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::host::CheckHost;
use super::inventory::{Inventory, StreamObjects};
use super::names::{CollectionSelector, Names};
use super::objects::Reader;
use super::report::{Amount, Finding};
use super::stream_check::{self, Expected};
use super::verify::no_store;
use crate::bucket::keys::StreamId;
use crate::bucket::reread::Reread;
use crate::bucket::{Bucket, Place};
use crate::error::Result;
use crate::format::head::{GraphEntry, Head, InvertedEntry, Life, MapEntry, SegmentEntry};
use crate::record::Version;
use crate::stream::context::StreamError;
use crate::stream::history::{History, Reach};

/// A segment, as HEAD names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentLine {
    /// Its key.
    pub key: String,
    /// First version it holds.
    pub lo: Version,
    /// Last version it holds.
    pub hi: Version,
    /// Rows, tombstones included.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// How often its rows were merged.
    pub level: u32,
    /// Its inverted indexes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inverted: Vec<InvertedLine>,
}

/// An inverted index of a segment, as HEAD names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InvertedLine {
    /// Its key.
    pub key: String,
    /// `text` or `sparse`.
    pub kind: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A map, as HEAD names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MapLine {
    /// Its key.
    pub key: String,
    /// The version whose records are on it.
    pub version: Version,
    /// How many there are.
    pub records: u64,
    /// Size in bytes.
    pub bytes: u64,
}

/// A graph, as HEAD names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphLine {
    /// Its key.
    pub key: String,
    /// First version whose embeddings it covers.
    pub lo: Version,
    /// Last version whose embeddings it covers.
    pub hi: Version,
    /// Nodes in it.
    pub nodes: u64,
    /// Size in bytes.
    pub bytes: u64,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamLine {
    /// `catalog`, or `c/` and the collection's id.
    pub stream: String,
    /// Tenant, database and name of the collection, as the catalog has them.
    pub name: Option<String>,
    /// `live` or `dropped`.
    pub state: &'static str,
    /// The last commit.
    pub version: Version,
    /// Commits below are in segments.
    pub floor: Version,
    /// Commits below may have been deleted.
    pub gone: Version,
    /// Swaps of HEAD so far.
    pub swaps: u64,
    /// Commits in no segment yet.
    pub tail: Amount,
    /// Commits that segments also hold, kept for readers and for restoring.
    pub kept_log: Amount,
    /// The segments.
    pub segments: Vec<SegmentLine>,
    /// The graphs.
    pub graphs: Vec<GraphLine>,
    /// The map, if one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<MapLine>,
    /// Replaced objects that are kept for readers and for restoring.
    pub retired: Amount,
    /// Objects that nothing names, and log objects below `gone`.
    pub garbage: Amount,
    /// The versions that can be restored, if any.
    pub reach: Option<Reach>,
    /// Why it could not be inspected, if it could not.
    pub error: Option<String>,
}

/// A store, seen from outside.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BucketView {
    /// The bucket.
    pub place: Place,
    /// Its streams, the catalog first.
    pub streams: Vec<StreamLine>,
    /// Findings about the catalog; `verify` checks the rest.
    pub findings: Vec<Finding>,
}

/// Inspects the bucket, or only the chosen ones of its collections.
///
/// # Errors
/// `Unavailable` if the bucket does not answer, `NotFound` if there is no store or the selector fits nothing.
pub async fn inspect(bucket: Arc<dyn Bucket>, selector: &CollectionSelector) -> Result<BucketView> {
    let seen = SeenStreams::look(bucket.clone(), selector).await?;
    let mut streams = Vec::new();
    for (id, expected, objects) in seen.streams {
        streams.push(line(bucket.as_ref(), &id, &expected, &objects).await?);
    }
    Ok(BucketView { place: bucket.place(), streams, findings: seen.findings })
}

/// The streams of a bucket with their records in the catalog.
pub struct SeenStreams {
    pub streams: Vec<(StreamId, Expected, StreamObjects)>,
    pub findings: Vec<Finding>,
}

impl SeenStreams {
    /// Lists the bucket and reads the catalog.
    pub async fn look(bucket: Arc<dyn Bucket>, selector: &CollectionSelector) -> Result<SeenStreams> {
        let mut inventory = Inventory::of_bucket(bucket.as_ref()).await.map_err(StreamError::from)?;
        let Some(catalog) = inventory.streams.remove(&StreamId::Catalog) else { return Err(no_store(bucket.as_ref())) };
        let expected = Expected::catalog();
        let reader = Reader::new(bucket, Reread::default(), CheckHost::Alone);
        let checked = stream_check::check(&reader, &StreamId::Catalog, &expected, Some(catalog.clone())).await?;
        let mut findings = checked.report.findings;
        let names = Names::of_records(&checked.texts, &mut findings);
        let chosen = names.chosen(selector)?;
        let mut streams: Vec<_> = inventory
            .streams
            .into_iter()
            .filter(|(id, _)| chosen.as_ref().is_none_or(|chosen| chosen.contains(id)))
            .map(|(id, objects)| (id.clone(), names.expected(&id), objects))
            .collect();
        streams.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        streams.insert(0, (StreamId::Catalog, expected, catalog));
        Ok(SeenStreams { streams, findings: findings.0 })
    }
}

async fn line(bucket: &dyn Bucket, id: &StreamId, expected: &Expected, objects: &StreamObjects) -> Result<StreamLine> {
    let mut line = StreamLine {
        stream: id.to_string(),
        name: expected.name.clone(),
        state: "unreadable",
        version: Version(0),
        floor: Version(0),
        gone: Version(0),
        swaps: 0,
        tail: Amount::default(),
        kept_log: Amount::default(),
        segments: Vec::new(),
        graphs: Vec::new(),
        map: None,
        retired: Amount::default(),
        garbage: Amount::default(),
        reach: None,
        error: None,
    };
    match History::read(bucket, id, Reread::default()).await {
        Ok(history) => fill(&mut line, &history.beginning_at(expected.complete_at), objects),
        Err(error @ StreamError::Unavailable(_)) => return Err(error.into()),
        Err(error) => line.error = Some(error.to_string()),
    }
    Ok(line)
}

fn fill(line: &mut StreamLine, history: &History, objects: &StreamObjects) {
    let head: &Head = &history.head;
    line.state = if head.state == Life::Live { "live" } else { "dropped" };
    (line.version, line.floor, line.gone, line.swaps) = (history.newest(), head.floor, head.gone, head.r#gen - 1);
    let log = |range| objects.log.range::<Version, _>(range).map(|(_, object)| object.size_bytes).collect::<Amount>();
    line.tail = objects.log.range(head.floor..).map(|(_, object)| object.size_bytes).collect();
    line.kept_log = log(head.gone..head.floor.max(head.gone));
    line.garbage = log(Version(0)..head.gone);
    let of_inverted = |InvertedEntry { key, kind, bytes, .. }: &InvertedEntry| InvertedLine {
        key: key.clone(),
        kind: kind.clone(),
        bytes: *bytes,
    };
    let of_segment = |SegmentEntry { key, lo, hi, rows, bytes, level, inverted, .. }: &SegmentEntry| SegmentLine {
        key: key.clone(),
        lo: *lo,
        hi: *hi,
        rows: *rows,
        bytes: *bytes,
        level: *level,
        inverted: inverted.iter().map(of_inverted).collect(),
    };
    let of_graph = |GraphEntry { key, lo, hi, nodes, bytes, .. }: &GraphEntry| GraphLine {
        key: key.clone(),
        lo: *lo,
        hi: *hi,
        nodes: *nodes,
        bytes: *bytes,
    };
    line.segments = head.segs.iter().map(of_segment).collect();
    line.graphs = head.graphs.iter().map(of_graph).collect();
    line.map = head.map.as_ref().map(|MapEntry { key, version, records, bytes, .. }| MapLine {
        key: key.clone(),
        version: *version,
        records: *records,
        bytes: *bytes,
    });
    let named: BTreeSet<&String> = head.objects().collect();
    let kept: BTreeSet<&String> = history.segments.iter().map(|s| &s.key).chain(&history.retired_caches).collect();
    for object in objects.named() {
        match (named.contains(&object.key), kept.contains(&object.key)) {
            (true, _) => {}
            (false, true) => line.retired.add(object.size_bytes),
            (false, false) => line.garbage.add(object.size_bytes),
        }
    }
    line.reach = history.reach();
}
