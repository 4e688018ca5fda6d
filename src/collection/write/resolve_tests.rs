//! The outcome of requests, one rule at a time: which records they touch, which rows a commit gets, what is refused
//! and with which words.

use super::change::Change;
use crate::collection::read::select::Matched;
use crate::collection::replay::Replay;
use crate::collection::request::{Found, Get, Include, Selection, Write, WriteOutcome};
use crate::collection::state::KeyType;
use crate::config::Limits;
use crate::error::ErrorKind;
use crate::filter::Filter;
use crate::format::{Row, RowOp};
use crate::interrupt::Interrupt;
use crate::record::{Address, MetaValue, Metadata, MetadataPatch, Metric, Record, RecordUpdate, Version};
use crate::stream::state::{Resolution, State};

fn record(id: &str, x: f32) -> Record {
    Record::new(id, vec![x, 1.0])
}

fn update(id: &str) -> RecordUpdate {
    RecordUpdate { id: id.into(), ..RecordUpdate::default() }
}

fn delete(ids: &[&str]) -> Write {
    Write::Delete(Selection { ids: Some(ids.iter().map(|id| id.to_string()).collect()), ..Selection::default() })
}

/// Records a, b, c in commit 1.
fn abc() -> Replay {
    let mut replay = Replay::new(Metric::L2);
    replay.add([record("a", 1.0), record("b", 2.0), record("c", 3.0)]);
    replay
}

fn all(replay: &Replay) -> Vec<Found> {
    replay.snapshot().get(&Get { include: Include::ALL, ..Get::default() }, &Interrupt::never()).unwrap().records
}

fn ids(replay: &Replay) -> Vec<String> {
    all(replay).into_iter().map(|found| found.id).collect()
}

fn resolved(replay: &Replay, writes: Vec<Write>) -> Resolution<WriteOutcome> {
    let changes: Vec<Change> = writes.into_iter().map(Change::Write).collect();
    replay.state.resolve(&changes.iter().collect::<Vec<_>>())
}

fn outcome(applied: usize, skipped: usize, version: u64) -> WriteOutcome {
    WriteOutcome { applied, skipped, version: Version(version) }
}

#[test]
fn an_add_skips_existing_ids_and_the_first_of_two_equal_ids_wins() {
    let mut replay = abc();
    let added = replay.add([record("b", 9.0), record("d", 4.0), record("d", 5.0)]);
    assert_eq!(added, outcome(1, 2, 2));
    assert_eq!(ids(&replay), ["a", "b", "c", "d"]);
    assert_eq!(all(&replay)[1].embedding, Some(vec![2.0, 1.0]));
    assert_eq!(all(&replay)[3].embedding, Some(vec![4.0, 1.0]));
}

#[test]
fn an_upsert_replaces_the_record_whole_and_keeps_its_place() {
    let mut replay = abc();
    let dressed = record("a", 1.0).with_document("old").with_metadata([("k", 1i64)]);
    replay.write(Write::Upsert(vec![dressed])).unwrap();
    assert_eq!(all(&replay)[0].document.as_deref(), Some("old"));
    assert_eq!(replay.write(Write::Upsert(vec![record("a", 7.0), record("d", 4.0)])).unwrap(), outcome(2, 0, 3));
    assert_eq!(ids(&replay), ["a", "b", "c", "d"]);
    let want = Found { id: "a".into(), embedding: Some(vec![7.0, 1.0]), ..Found::default() };
    assert_eq!(all(&replay)[0], want);
}

#[test]
fn an_embedding_that_is_equal_to_the_bit_keeps_its_address() {
    let mut replay = abc();
    replay.write(Write::Upsert(vec![record("z", 0.0)])).unwrap();
    let of = |replay: &Replay, record: Record| resolved(replay, vec![Write::Upsert(vec![record])]).rows.remove(0);
    let (b, z) = (Address::new(Version(1), 1), Address::new(Version(2), 0));
    assert_eq!((of(&replay, record("b", 2.0)).position, of(&replay, record("b", 2.0)).embedded), (b, b));
    assert_eq!((of(&replay, record("b", 2.5)).position, of(&replay, record("b", 2.5)).embedded), (b, None));
    assert_eq!((of(&replay, record("z", 0.0)).embedded, of(&replay, record("z", -0.0)).embedded), (z, None));
    let there_and_back = vec![Write::Upsert(vec![record("b", 5.0)]), Write::Upsert(vec![record("b", 2.0)])];
    assert_eq!(resolved(&replay, there_and_back).rows[0].embedded, None);
}

#[test]
fn an_update_merges_metadata_key_by_key_and_leaves_an_empty_map_where_the_last_key_goes() {
    let mut replay = Replay::new(Metric::L2);
    replay.add([record("a", 1.0).with_metadata([("k", 1i64), ("l", 2i64)]), record("b", 2.0)]);
    let patch = |id: &str, entries: &[(&str, Option<i64>)]| RecordUpdate {
        metadata: Some(MetadataPatch(entries.iter().map(|(k, v)| (k.to_string(), v.map(MetaValue::Int))).collect())),
        ..update(id)
    };
    let metadata = |replay: &Replay, at: usize| all(replay)[at].metadata.clone();
    replay.write(Write::Update(vec![patch("a", &[("k", None), ("m", Some(3))])])).unwrap();
    assert_eq!(metadata(&replay, 0), Some(Metadata::from([("l", 2i64), ("m", 3i64)])));
    replay.write(Write::Update(vec![patch("a", &[("l", None), ("m", None)]), patch("b", &[("k", None)])])).unwrap();
    assert_eq!((metadata(&replay, 0), metadata(&replay, 1)), (Some(Metadata::default()), None));
    replay.write(Write::Update(vec![patch("b", &[("k", Some(1))]), patch("b", &[("l", Some(2))])])).unwrap();
    assert_eq!(metadata(&replay, 1), Some(Metadata::from([("k", 1i64), ("l", 2i64)])));
}

#[test]
fn updates_and_deletes_of_unknown_ids_are_skipped_and_commit_nothing() {
    let mut replay = abc();
    assert_eq!(replay.write(Write::Update(vec![update("x"), update("y")])).unwrap(), outcome(0, 2, 1));
    assert_eq!(replay.write(delete(&["x", "x", "y"])).unwrap(), outcome(0, 2, 1));
    assert_eq!(replay.state.version(), Version(1));
}

#[test]
fn a_delete_with_a_limit_takes_the_oldest_that_match() {
    let mut replay = Replay::new(Metric::L2);
    replay.add((0..6).map(|n| record(&format!("r{n}"), 1.0).with_metadata([("even", n % 2 == 0)])));
    // An update moves the row, not the record.
    replay.write(Write::Update(vec![update("r0")])).unwrap();
    let selection = Selection { filter: Some(Filter::eq("even", true)), limit: Some(2), ..Selection::default() };
    assert_eq!(replay.write(Write::Delete(selection)).unwrap(), outcome(2, 0, 3));
    assert_eq!(ids(&replay), ["r1", "r3", "r4", "r5"]);
}

#[test]
fn a_delete_sees_what_the_requests_before_it_in_the_batch_wrote() {
    let mut replay = abc();
    let marked = record("d", 4.0).with_metadata([("k", 1i64)]);
    let mark = RecordUpdate { metadata: Some(MetadataPatch([("k".into(), Some(1i64.into()))].into())), ..update("b") };
    let selection = Selection { filter: Some(Filter::eq("k", 1i64)), ..Selection::default() };
    let writes = [Write::Add(vec![marked]), Write::Update(vec![mark]), Write::Delete(selection)];
    let answers = replay.commit(&writes.map(Change::Write));
    assert_eq!(
        answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [outcome(1, 0, 2), outcome(1, 0, 2), outcome(2, 0, 2)]
    );
    assert_eq!(ids(&replay), ["a", "c"]);
}

#[test]
fn an_update_is_refused_as_soon_as_its_records_are_too_large_together() {
    let mut replay = Replay::with_limits(Metric::L2, Limits { batch_bytes: 400, ..Limits::default() });
    for n in 0..50 {
        replay.add([record(&n.to_string(), 1.0).with_document("d".repeat(100))]);
    }
    let updates = (0..50).map(|n| update(&n.to_string())).collect();
    let refused = replay.write(Write::Update(updates)).unwrap_err();
    let got = refused.message().split("got about ").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
    assert_eq!(refused.kind(), ErrorKind::Limit, "{refused}");
    assert!(got.parse::<usize>().unwrap() < 600, "all fifty were made: {refused}");
    let one = (0..50).map(|_| update("1")).collect();
    assert_eq!(replay.write(Write::Update(one)).unwrap().applied, 50, "of one record one row is made");
}

#[test]
fn requests_that_are_too_large_together_are_not_all_made() {
    let mut replay = Replay::with_limits(Metric::L2, Limits { batch_bytes: 400, ..Limits::default() });
    for n in 0..50 {
        replay.add([record(&n.to_string(), 1.0).with_document("d".repeat(100))]);
    }
    let writes = |count: usize| (0..count).map(|n| Write::Update(vec![update(&n.to_string())])).collect::<Vec<_>>();
    let few = resolved(&replay, writes(3));
    assert_eq!((few.too_large, few.rows.len(), few.answers.len()), (false, 3, 3));
    let many = resolved(&replay, writes(50));
    assert!(many.too_large && many.rows.is_empty() && many.answers.is_empty());
}

#[test]
fn a_record_put_and_deleted_in_one_batch_leaves_no_row() {
    let replay = abc();
    let resolution = resolved(&replay, vec![Write::Add(vec![record("d", 4.0)]), delete(&["d"])]);
    assert!(resolution.is_empty());
    assert_eq!(resolution.answers[1].clone().unwrap(), outcome(1, 0, 1));
    let resolution = resolved(&replay, vec![Write::Upsert(vec![record("a", 4.0)]), delete(&["a"])]);
    assert_eq!(resolution.rows, [Row::delete("a")]);
}

#[test]
fn delete_then_add_in_one_batch_is_one_row_and_a_new_place() {
    let mut replay = abc();
    let writes = vec![delete(&["a"]), Write::Add(vec![record("d", 4.0)]), Write::Add(vec![record("a", 1.0)])];
    let rows = resolved(&replay, writes.clone()).rows;
    assert_eq!(
        rows.iter().map(|row| (row.op, row.id.as_str())).collect::<Vec<_>>(),
        [(RowOp::Put, "d"), (RowOp::Put, "a")]
    );
    assert_eq!((rows[1].position, rows[1].embedded), (None, None));
    replay.commit(&writes.into_iter().map(Change::Write).collect::<Vec<_>>());
    assert_eq!(ids(&replay), ["b", "c", "d", "a"]);
    replay.snapshot().check_invariants().unwrap();
}

#[test]
fn the_first_records_fix_the_dimension_for_the_batch_and_for_good() {
    let mut replay = Replay::new(Metric::Cosine);
    let three = Record::new("x", vec![1.0; 3]);
    let answers = replay.commit(&[vec![record("a", 1.0)], vec![three.clone()]].map(|r| Change::Write(Write::Add(r))));
    assert_eq!(answers[0].clone().unwrap(), outcome(1, 0, 1));
    let refused = answers[1].clone().unwrap_err();
    assert_eq!(
        (refused.kind(), refused.message()),
        (ErrorKind::Invalid, "records[0].embedding: expected 2 numbers, got 3")
    );
    assert_eq!(replay.commits[0].header.config.as_ref().unwrap().dimension, Some(2));
    replay.delete(&["a"]);
    assert_eq!(replay.write(Write::Add(vec![three])).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(replay.commits.len(), 2);
}

#[test]
fn a_refused_request_leaves_nothing_of_itself_and_harms_no_other() {
    let limits = Limits { metadata_bytes: 20, ..Limits::default() };
    let mut replay = Replay::with_limits(Metric::L2, limits);
    replay.add([record("a", 1.0), record("b", 2.0).with_metadata([("k", "0123456789")])]);
    let longer = MetadataPatch([("l".to_owned(), Some("0123456789".into()))].into());
    let halves = vec![
        RecordUpdate { document: Some("new".into()), ..update("a") },
        RecordUpdate { metadata: Some(longer), ..update("b") },
    ];
    let answers =
        replay.commit(&[Change::Write(Write::Update(halves)), Change::Write(Write::Add(vec![record("c", 3.0)]))]);
    let refused = answers[0].clone().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limit);
    assert_eq!(refused.message(), "records[1].metadata: expected at most 20 bytes (limits.metadata_bytes), got 35");
    assert_eq!(answers[1].clone().unwrap(), outcome(1, 0, 2));
    assert_eq!((ids(&replay).len(), all(&replay)[0].document.clone()), (3, None));
}

#[test]
fn after_a_drop_every_request_finds_nothing() {
    let mut replay = abc();
    let add = || Change::Write(Write::Add(vec![record("d", 4.0)]));
    let answers = replay.commit(&[add(), Change::Drop, add(), Change::Drop]);
    let kinds: Vec<Option<ErrorKind>> = answers.iter().map(|answer| answer.as_ref().err().map(|e| e.kind())).collect();
    assert_eq!(kinds, [None, None, Some(ErrorKind::NotFound), Some(ErrorKind::NotFound)]);
    assert_eq!((answers[0].clone().unwrap(), answers[1].clone().unwrap()), (outcome(1, 0, 2), outcome(0, 0, 2)));
    assert!(replay.state.dropped() && replay.commits[1].rows.is_empty());
    assert_eq!(replay.write(Write::Add(vec![record("d", 4.0)])).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(replay.snapshot().get(&Get::default(), &Interrupt::never()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_cannot_be_stored_is_refused_by_name() {
    let limits = Limits {
        dimension: 4,
        id_bytes: 8,
        metadata_bytes: 30,
        document_bytes: 10,
        batch_records: 3,
        batch_bytes: 120,
        ..Limits::default()
    };
    let mut replay = Replay::with_limits(Metric::L2, limits);
    let refused = |replay: &mut Replay, write: Write, kind: ErrorKind, message: &str| {
        let error = replay.write(write).unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, message));
    };
    let add = |records: Vec<Record>| Write::Add(records);
    let (a, invalid, limit) = (record("a", 1.0), ErrorKind::Invalid, ErrorKind::Limit);
    let with = |change: fn(&mut Record)| {
        let mut record = record("a", 1.0);
        change(&mut record);
        record
    };
    let cases: Vec<(Write, ErrorKind, &str)> = vec![
        (
            add(vec![with(|r| r.embedding = vec![1.0; 5])]),
            limit,
            "records[0].embedding: expected at most 4 numbers (limits.dimension), got 5",
        ),
        (
            add(vec![with(|r| r.embedding.clear())]),
            invalid,
            "records[0].embedding: expected at least one number, got none",
        ),
        (
            add(vec![a.clone(), with(|r| r.embedding = vec![1.0])]),
            invalid,
            "records[1].embedding: expected 2 numbers, got 1",
        ),
        (
            Write::Upsert(vec![with(|r| r.embedding[1] = f32::NAN)]),
            invalid,
            "records[0].embedding[1]: expected a finite number, got NaN",
        ),
        (
            add(vec![with(|r| r.embedding[0] = f32::NEG_INFINITY)]),
            invalid,
            "records[0].embedding[0]: expected a finite number, got -inf",
        ),
        (
            add(vec![a.clone(), with(|r| r.id.clear())]),
            invalid,
            "records[1].id: expected at least one character, got none",
        ),
        (
            add(vec![with(|r| r.id = "123456789".into())]),
            limit,
            "records[0].id: expected at most 8 bytes (limits.id_bytes), got 9",
        ),
        (
            add(vec![with(|r| r.document = Some("x".repeat(11)))]),
            limit,
            "records[0].document: expected at most 10 bytes (limits.document_bytes), got 11",
        ),
        (
            add(vec![with(|r| r.uri = Some("x".repeat(11)))]),
            limit,
            "records[0].uri: expected at most 10 bytes (limits.document_bytes), got 11",
        ),
        (
            add(vec![with(|r| r.metadata = Some(Metadata::from([("", 1i64)])))]),
            invalid,
            "records[0].metadata: expected keys of at least one character, got an empty one",
        ),
        (
            add(vec![with(|r| r.metadata = Some(Metadata::from([("k", f64::NAN)])))]),
            invalid,
            "records[0].metadata.k: expected a finite number, got NaN",
        ),
        (
            add(vec![with(|r| r.metadata = Some(Metadata::from([("k", "x".repeat(30))])))]),
            limit,
            "records[0].metadata: expected at most 30 bytes (limits.metadata_bytes), got 38",
        ),
        (
            add(vec![a.clone(); 4]),
            limit,
            "records: expected at most 3 in one request (limits.batch_records), got 4; split it",
        ),
        (
            Write::Update(vec![RecordUpdate { embedding: Some(vec![f32::INFINITY, 0.0]), ..update("a") }]),
            invalid,
            "records[0].embedding[0]: expected a finite number, got inf",
        ),
        (Write::Update(vec![update("")]), invalid, "records[0].id: expected at least one character, got none"),
        (delete(&["a", ""]), invalid, "ids[1]: expected at least one character, got none"),
        (
            delete(&["a", "b", "c", "d"]),
            limit,
            "ids: expected at most 3 in one request (limits.batch_records), got 4; split it",
        ),
    ];
    for (write, kind, message) in cases {
        refused(&mut replay, write, kind, message);
    }
    assert_eq!(replay.state.version(), Version(0));
    // The size of the rows counts. An update fills its rows up from the stored records.
    let long = |id: &str| record(id, 1.0).with_document("0123456789");
    replay.add([long("a"), long("b")]);
    replay.add([long("c")]);
    let error = replay.write(Write::Update(vec![update("a"), update("b"), update("c")])).map(|_| ());
    assert_eq!(error.map_err(|e| e.kind()), Ok(()));
    let longer = |id: &str| RecordUpdate { uri: Some("0123456789".into()), ..update(id) };
    let message = "records: expected at most 120 bytes in one request (limits.batch_bytes), got about 135; split it";
    refused(&mut replay, Write::Update(vec![longer("a"), longer("b"), longer("c")]), limit, message);
}

#[test]
fn a_merge_changes_the_records_there_are_and_inserts_the_others_in_order() {
    let mut replay = abc();
    let merged = |id: &str, x: f32, patch: &[(&str, Option<MetaValue>)]| RecordUpdate {
        embedding: Some(vec![x, 1.0]),
        metadata: Some(MetadataPatch(patch.iter().map(|(key, value)| (key.to_string(), value.clone())).collect())),
        ..update(id)
    };
    let first = merged("d", 4.0, &[("k", Some(1.into())), ("gone", None)]);
    let second = RecordUpdate { document: Some("late".into()), ..merged("d", 5.0, &[("m", Some("x".into()))]) };
    let bare = merged("e", 6.0, &[("gone", None)]);
    let write = Write::Merge(vec![merged("b", 9.0, &[("k", Some(true.into()))]), first, second, bare]);
    assert_eq!(replay.write(write).unwrap(), outcome(4, 0, 2));
    assert_eq!(ids(&replay), ["a", "b", "c", "d", "e"], "a changed record keeps its place");
    let found = all(&replay);
    assert_eq!(found[1].embedding, Some(vec![9.0, 1.0]));
    assert_eq!(found[3].metadata, Some(Metadata::from([("k", MetaValue::Int(1)), ("m", "x".into())])));
    assert_eq!((&found[3].embedding, found[3].document.as_deref()), (&Some(vec![5.0, 1.0]), Some("late")));
    assert_eq!(found[4].metadata, None, "nothing but removals sets no metadata");
    let lacking = replay.write(Write::Merge(vec![update("f")])).unwrap_err();
    assert_eq!(lacking.message(), "records[0].embedding: expected numbers, got none");
}

#[test]
fn an_update_that_finds_none_of_its_ids_fixes_the_dimension_too() {
    let mut replay = Replay::new(Metric::L2);
    let unknown = RecordUpdate { embedding: Some(vec![1.0, 2.0]), ..update("nobody") };
    assert_eq!(replay.write(Write::Update(vec![unknown])).unwrap(), outcome(0, 1, 1));
    assert_eq!((replay.snapshot().dimension(), replay.snapshot().count()), (Some(2), 0));
    let other = Record::new("a", vec![1.0; 3]);
    assert_eq!(replay.write(Write::Add(vec![other])).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(replay.reopened(&[1]).snapshot().dimension(), Some(2));
}

#[test]
fn kinds_of_metadata_values_are_remembered_beyond_deletion_and_segments() {
    let mut replay = Replay::new(Metric::L2);
    let list = MetaValue::Strs(vec!["x".into()]);
    let dressed =
        record("a", 1.0).with_metadata([("k", MetaValue::Int(1)), ("l", list), ("e", MetaValue::Strs(vec![]))]);
    replay.add([dressed.clone()]);
    let kinds = |replay: &Replay| {
        let snapshot = replay.snapshot();
        snapshot.key_types().iter().map(|(key, kinds)| (key.to_owned(), kinds)).collect::<Vec<_>>()
    };
    let expected = [("k".to_owned(), vec![KeyType::Int]), ("l".to_owned(), vec![KeyType::String])];
    assert_eq!(kinds(&replay), expected);
    assert_eq!(replay.add([dressed]), outcome(0, 1, 1), "nothing new, so no commit");
    let changed = |id: &str, key: &str| RecordUpdate {
        metadata: Some(MetadataPatch([(key.to_owned(), Some(0.5.into())), ("z".to_owned(), None)].into())),
        ..update(id)
    };
    replay.write(Write::Update(vec![changed("a", "k"), changed("nobody", "n")])).unwrap();
    replay.delete(&["a"]);
    let expected = [("k".to_owned(), vec![KeyType::Int, KeyType::Float]), expected[1].clone()];
    assert_eq!(kinds(&replay), expected);
    for ends in [&[][..], &[1], &[2], &[3], &[1, 3]] {
        assert_eq!(kinds(&replay.reopened(ends)), expected, "read back with segments {ends:?}");
    }
}

#[test]
fn what_was_matched_before_a_delete_waited_counts_for_the_rows_that_were_looked_at_only() {
    let filter = Filter::document_contains("old");
    let with = |id: &str, document: &str| Record { document: Some(document.to_owned()), ..record(id, 1.0) };
    let mut replay = Replay::new(Metric::L2);
    replay.add([with("a", "old"), with("b", "new"), with("c", "old")]);
    let never = Interrupt::never();
    let some = replay.snapshot().matched(Some(&["b".to_owned()]), &filter, &never).unwrap();
    let all = replay.snapshot().matched(None, &filter, &never).unwrap();
    // Changes while the delete waits: one matching record ends, one no longer matches, two begin to match.
    replay.write(delete(&["a"])).unwrap();
    replay.write(Write::Update(vec![RecordUpdate { document: Some("new".to_owned()), ..update("c") }])).unwrap();
    replay.write(Write::Update(vec![RecordUpdate { document: Some("old".to_owned()), ..update("b") }])).unwrap();
    replay.add([with("d", "old"), with("e", "new")]);
    for matched in [Matched::default(), some, all] {
        let selection = Selection { filter: Some(filter.clone()), ..Selection::default() };
        let change = Change::Prepared(matched, Write::Delete(selection));
        let resolution = replay.state.resolve(&[&change]);
        let mut deleted: Vec<&str> = resolution.rows.iter().map(|row| row.id.as_str()).collect();
        deleted.sort_unstable();
        assert_eq!(deleted, ["b", "d"]);
    }
}
