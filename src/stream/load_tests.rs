//! A segment loaded in several pieces equals the segment decoded whole, and damage to any part of it is noticed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Map;
use ulid::Ulid;

use super::Loader;
use crate::bucket::clock::StoreClock;
use crate::bucket::fetch::PIECE_BYTES;
use crate::bucket::keys::StreamId;
use crate::bucket::memory::MemoryBucket;
use crate::bucket::{Bucket, PutCondition};
use crate::config::Timing;
use crate::format::head::SegmentEntry;
use crate::format::segment::{SegmentHeader, encode_segment};
use crate::format::{Checksum, Row, Rows, decode_segment};
use crate::head;
use crate::memory::Budget;
use crate::record::Version;
use crate::stream::anchor::Moments;
use crate::stream::context::{Context, StreamCounters, StreamError};
use crate::stream::heal::KnownDamage;

const DIM: usize = 300;
/// Two row groups and a part of a third, in more than six pieces.
const ROWS: usize = 40_000;

/// A segment's object and its entry in HEAD.
fn segment() -> (SegmentEntry, Bytes) {
    let header = SegmentHeader { stream: StreamId::Catalog.to_string(), lo: Version(1), hi: Version(1), dim: DIM };
    let row = |n: usize| Row {
        op: crate::format::RowOp::Put,
        embedding: Some((0..DIM).map(|i| (n * 31 + i) as f32).collect()),
        document: n.is_multiple_of(3).then(|| format!("document {n}")),
        ..Row::delete(format!("record {n}"))
    };
    let rows = Rows::from_iter((0..ROWS).map(row)).resolve_addresses(Version(1)).unwrap();
    let encoded = encode_segment(header, &[rows]).unwrap();
    assert!(encoded.bytes > 5 * PIECE_BYTES);
    let entry = SegmentEntry {
        key: StreamId::Catalog.segment(Ulid::nil()),
        lo: Version(1),
        hi: Version(1),
        rows: encoded.rows,
        bytes: encoded.bytes,
        xxh3: encoded.xxh3,
        level: 0,
        inverted: Vec::new(),
        other: Map::new(),
    };
    (entry, encoded.pieces.concat().into())
}

/// Loads the segment `entry` from a bucket where `object` stands in its place.
async fn load(entry: &SegmentEntry, object: Bytes) -> Result<Vec<Rows>, StreamError> {
    let bucket = MemoryBucket::new(StoreClock::machine());
    bucket.put(&entry.key, object, PutCondition::Always).await.unwrap();
    let bucket: Arc<dyn Bucket> = Arc::new(bucket);
    let context = Context {
        serve_damaged: false,
        head: Arc::new(head::HeadReader::new(bucket.clone(), StreamId::Catalog)),
        damage: KnownDamage::default(),
        unusable: Default::default(),
        bucket,
        stream: StreamId::Catalog,
        timing: Timing { reread_limit: Duration::ZERO, ..Timing::default() },
        commit_bytes: 1 << 20,
        waiting_writes: 1,
        writer: "test".to_owned(),
        moments: Moments::default(),
        counters: Arc::new(StreamCounters::default()),
        budget: Budget::new(None),
    };
    Loader::new(Arc::new(context)).segment(entry).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_of_many_pieces_loads_as_it_decodes_in_one() {
    let (entry, object) = segment();
    let groups = load(&entry, object.clone()).await.unwrap();
    assert_eq!(groups.len(), 3);
    assert!(groups == decode_segment(&object).unwrap().groups);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn harm_to_any_part_of_a_segment_is_told_with_its_key() {
    let (entry, object) = segment();
    let len = object.len();
    let flipped = |at: usize| {
        let mut bytes = object.to_vec();
        bytes[at] ^= 4;
        Bytes::from(bytes)
    };
    let mut cases: Vec<(String, Bytes, &str)> = Vec::new();
    for at in [0, 4, len / 7, len / 2, len - PIECE_BYTES as usize, len - 5_000, len - 8, len - 6, len - 1] {
        cases.push((format!("bit at {at} flipped"), flipped(at), "object has checksum"));
    }
    for left in [0, 8, PIECE_BYTES as usize, len / 2, len - 1] {
        cases.push((format!("cut to {left} bytes"), object.slice(..left), "HEAD names"));
    }
    cases.push(("one byte more".to_owned(), [&object[..], b"x"].concat().into(), "HEAD names"));
    for (case, bytes, expected) in cases {
        match load(&entry, bytes).await {
            Err(StreamError::Corrupted { key, cause }) => {
                assert_eq!(key, entry.key, "{case}");
                assert!(cause.contains(expected), "{case}: {cause}");
            }
            other => panic!("{case}: {:?}", other.map(|groups| groups.len())),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_segment_that_is_not_the_one_head_names_is_refused() {
    let (entry, object) = segment();
    let other_rows = SegmentEntry { rows: entry.rows + 1, ..entry.clone() };
    let other_range = SegmentEntry { hi: Version(2), ..entry.clone() };
    let no_parquet = Bytes::from(vec![7; 3 * PIECE_BYTES as usize]);
    let garbage = SegmentEntry { bytes: no_parquet.len() as u64, xxh3: Checksum::of(&no_parquet), ..entry.clone() };
    for (entry, object, expected) in [
        (other_rows, object.clone(), "HEAD names 40001 rows"),
        (other_range, object, "catalog 1..=2"),
        (garbage, no_parquet, "not a readable parquet file"),
    ] {
        let error = load(&entry, object).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}
