//! Which commits, segments and reads are refused, and the cost of taking them in.

use std::sync::Arc;

use arrow::array::UInt64Array;

use super::chunk::CHUNK_ROWS;
use super::snapshot::Snapshot;
use crate::collection::replay::{Replay, stored};
use crate::collection::request::{Get, Include, Query, Write};
use crate::collection::write::change::Change;
use crate::config::Limits;
use crate::error::ErrorKind;
use crate::format::{Commit, Embeddings, Row, RowOp, Rows, StreamConfig};
use crate::interrupt::Interrupt;
use crate::record::{Address, Metric, Record, Version};
use crate::stream::state::{Resolution, State};

fn record(n: usize) -> Record {
    Record::new(format!("r{n}"), vec![n as f32, 1.0])
}

fn put(id: &str, embedding: Vec<f32>) -> Row {
    Row { op: RowOp::Put, embedding: Some(embedding), ..Row::delete(id) }
}

fn commit(version: u64, rows: Vec<Row>) -> Commit {
    stored(Version(version), &Resolution { rows, ..Resolution::default() })
}

fn two() -> Replay {
    let mut replay = Replay::new(Metric::L2);
    replay.add([record(0), record(1)]);
    replay
}

#[test]
fn a_commit_that_cannot_be_is_refused_and_changes_nothing() {
    let mut replay = two();
    let address = |version, row| Address::new(Version(version), row);
    let mut reconfigured = commit(2, vec![]);
    reconfigured.header.config = Some(StreamConfig::of_dimension(3));
    let mut bare = commit(2, vec![put("x", vec![1.0, 2.0])]);
    bare.rows.embeddings = Embeddings::none(1);
    let cases = [
        (commit(3, vec![]), "expected commit 2, got 3"),
        (commit(1, vec![]), "expected commit 2, got 1"),
        (reconfigured, "config: the dimension is 2 and cannot become 3"),
        (commit(2, vec![put("x", vec![1.0; 3])]), "embeddings: expected 1 of dimension 2, got 3 floats of dimension 3"),
        (bare, "expected an embedding on every put row and on no other"),
        (
            commit(2, vec![Row { position: address(1, 0), ..put("x", vec![1.0; 2]) }]),
            "row 0: names an earlier row of \"x\", which does not exist",
        ),
        (
            commit(2, vec![Row { position: address(1, 0), ..put("r1", vec![1.0; 2]) }]),
            "row 0: position: expected 16777217, the record's, got 16777216",
        ),
        (
            commit(2, vec![Row { embedded: address(1, 0), ..put("r1", vec![1.0; 2]) }]),
            "row 0: embedded: expected 16777217, the record's, got 16777216",
        ),
    ];
    let before = replay.snapshot().get(&Get::default(), &Interrupt::never()).unwrap();
    for (commit, message) in cases {
        assert_eq!(replay.state.apply(&commit).unwrap_err().to_string(), message);
        replay.state.publish();
        assert_eq!(replay.snapshot().get(&Get::default(), &Interrupt::never()).unwrap(), before);
        replay.snapshot().check_invariants().unwrap();
    }
    replay.commit(&[Change::Drop]);
    let error = replay.state.apply(&commit(3, vec![])).unwrap_err();
    assert_eq!(error.to_string(), "expected commit 3, got 3, and the stream has ended");
}

#[test]
fn of_two_rows_of_one_id_in_a_commit_the_last_counts() {
    let mut replay = two();
    let rows = vec![put("x", vec![1.0, 1.0]), put("y", vec![2.0, 2.0]), Row::delete("y"), put("x", vec![3.0, 3.0])];
    replay.state.apply(&commit(2, rows)).unwrap();
    replay.state.current().check_invariants().unwrap();
    let get = Get { include: Include::ALL, ..Get::default() };
    let found = replay.state.current().get(&get, &Interrupt::never()).unwrap().records;
    assert_eq!(found.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["r0", "r1", "x"]);
    assert_eq!(found[2].embedding, Some(vec![3.0, 3.0]));
}

#[test]
fn row_groups_without_addresses_or_out_of_order_are_refused() {
    let fresh = || two().loaded(&[1]);
    let group = |addresses: Option<Vec<u64>>, ids: &[&str]| {
        let rows: Rows = ids.iter().map(|id| put(id, vec![1.0, 1.0])).collect();
        Rows { addresses: addresses.map(UInt64Array::from), ..rows }
    };
    let cases = [
        (vec![group(None, &["x"])], "a segment's rows lack addresses"),
        (vec![group(Some(vec![5]), &["x"])], "addresses of row groups do not ascend"),
        (vec![group(Some(vec![2 << 24 | 1, 2 << 24]), &["x", "y"])], "addresses of rows do not ascend"),
        (
            vec![group(Some(vec![3 << 24]), &["x"]), group(Some(vec![2 << 24]), &["y"])],
            "addresses of row groups do not ascend",
        ),
    ];
    for (groups, message) in cases {
        let mut replay = fresh();
        assert_eq!(replay.state.load(groups, Version(3), Vec::new()).unwrap_err().to_string(), message);
        assert_eq!((replay.state.version(), replay.state.current().count()), (Version(1), 2));
    }
}

#[test]
fn a_loaded_row_group_is_used_where_it_lies() {
    let rows: Rows = (0..10_000).map(|n| put(&format!("r{n}"), vec![n as f32, 1.0])).collect();
    let addresses = UInt64Array::from((0..10_000u64).map(|n| 1 << 24 | n).collect::<Vec<_>>());
    let rows = Rows { addresses: Some(addresses), ..rows };
    let (vectors, texts) = (rows.embeddings.values.as_ptr(), rows.ids.value_data().as_ptr());
    let mut replay = Replay::new(Metric::Cosine);
    replay.state.configure(&StreamConfig::of_dimension(2)).unwrap();
    replay.state.load(vec![rows], Version(1), Vec::new()).unwrap();
    let chunk = &replay.state.current().chunks[0].chunk;
    assert_eq!((chunk.vectors().values.as_ptr(), chunk.id(0).as_ptr()), (vectors, texts));
}

#[test]
fn records_added_one_by_one_end_in_few_chunks() {
    let mut replay = Replay::new(Metric::L2);
    for n in 0..3000 {
        replay.state.apply(&commit_of(&replay, n)).unwrap();
        assert!(replay.state.current().chunks.len() <= 7 * 4 + 1, "{} chunks", replay.state.current().chunks.len());
    }
    replay.state.current().check_invariants().unwrap();
    assert_eq!(replay.state.current().count(), 3000);
}

#[test]
fn no_commit_copies_more_than_two_full_chunks() {
    let mut replay = Replay::new(Metric::L2);
    let mut before: Vec<usize> = Vec::new();
    for n in 0..70_u64 {
        let rows = (0..1000).map(|row| put(&format!("r{n}.{row}"), vec![n as f32, row as f32])).collect();
        let mut commit = commit(n + 1, rows);
        commit.header.config = (n == 0).then(|| StreamConfig::of_dimension(2));
        replay.state.apply(&commit).unwrap();
        let chunks = || replay.state.current().chunks.iter().map(|view| (Arc::as_ptr(&view.chunk) as usize, view));
        let copied: usize = chunks().filter(|(at, _)| !before.contains(at)).map(|(_, view)| view.chunk.len()).sum();
        assert!(copied < 2 * CHUNK_ROWS, "commit {n} copied {copied} rows");
        before = chunks().map(|(at, _)| at).collect();
    }
    let chunks: Vec<usize> = replay.state.current().chunks.iter().map(|view| view.chunk.len()).collect();
    assert!(chunks.len() < 14 && chunks[..3] == [CHUNK_ROWS; 3], "{chunks:?}");
    replay.state.current().check_invariants().unwrap();
}

fn commit_of(replay: &Replay, n: usize) -> Commit {
    let change = Change::Write(Write::Add(vec![record(n)]));
    let resolution = replay.state.resolve(&[&change]);
    let mut commit = commit(replay.state.version().next().0, resolution.rows);
    commit.header.config = resolution.config;
    commit
}

#[test]
fn memory_of_dead_records_is_given_back() {
    let mut replay = Replay::new(Metric::L2);
    for from in [0, 9000] {
        replay.add((from..from + 9000).map(record));
    }
    let full = replay.state.current().footprint();
    let ids: Vec<String> = (0..18_000).filter(|n| n % 10 != 0).map(|n| format!("r{n}")).collect();
    replay.delete(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    replay.state.current().check_invariants().unwrap();
    let left = replay.state.current().footprint();
    assert_eq!(left.vectors_bytes * 10, full.vectors_bytes);
    assert!(left.records_bytes * 5 < full.records_bytes, "{} of {}", left.records_bytes, full.records_bytes);
}

#[test]
fn searches_that_cannot_be_answered_are_refused_by_name() {
    let replay = two();
    let limits = Limits { k: 100, queries: 2, ..Limits::default() };
    let good = || Query::new([1.0, 2.0]);
    let cases = [
        (good().k(0), ErrorKind::Invalid, "k: expected at least 1, got 0"),
        (good().k(101), ErrorKind::Limit, "k: expected at most 100 (limits.k), got 101"),
        (Query::batch(Vec::<Vec<f32>>::new()), ErrorKind::Invalid, "embeddings: expected at least one, got none"),
        (
            Query::batch(vec![vec![1.0; 2]; 3]),
            ErrorKind::Limit,
            "embeddings: expected at most 2 (limits.queries), got 3; split the request",
        ),
        (Query::new([1.0]), ErrorKind::Invalid, "embeddings[0]: expected 2 numbers, got 1"),
        (
            Query::batch(vec![vec![1.0; 2], vec![f32::NAN; 2]]),
            ErrorKind::Invalid,
            "embeddings[1][0]: expected a finite number, got NaN",
        ),
        (Query { ef_search: Some(0), ..good() }, ErrorKind::Invalid, "ef_search: expected at least 1, got 0"),
    ];
    for (query, kind, message) in cases {
        let error = replay.snapshot().search(&query, &limits, &Interrupt::never()).unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, message));
    }
}

#[test]
fn an_empty_collection_answers_every_query_with_an_empty_list() {
    let snapshot = Snapshot::empty(Metric::Cosine);
    let answer =
        snapshot.search(&Query::batch(vec![vec![1.0; 7]; 3]), &Limits::default(), &Interrupt::never()).unwrap();
    assert_eq!((answer.results, answer.version), (vec![Vec::new(); 3], Version(0)));
}

#[test]
fn no_ids_select_nothing_and_limits_count_after_offsets() {
    let replay = two();
    let ids = |get: Get| {
        replay.snapshot().get(&get, &Interrupt::never()).unwrap().records.into_iter().map(|f| f.id).collect::<Vec<_>>()
    };
    assert!(ids(Get { ids: Some(vec![]), ..Get::default() }).is_empty());
    assert!(ids(Get { limit: Some(0), ..Get::default() }).is_empty());
    assert_eq!(ids(Get { offset: 1, limit: Some(5), ..Get::default() }), ["r1"]);
    let backwards = Some(["r1", "x", "r0", "r1"].map(String::from).to_vec());
    assert_eq!(ids(Get { ids: backwards, ..Get::default() }), ["r0", "r1"]);
}
