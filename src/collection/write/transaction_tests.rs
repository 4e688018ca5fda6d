//! Transactions beside a flat scan of the log: a seeded life of a few ids, read at every version, whole and reopened
//! from segments; what a refused one leaves in its batch.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::change::Change;
use crate::collection::estimate_tests::peak;
use crate::collection::replay::Replay;
use crate::collection::request::{Selection, Transaction, Write};
use crate::collection::state::KeyType;
use crate::config::Limits;
use crate::error::ErrorKind;
use crate::filter::Filter;
use crate::record::{MetadataPatch, Metric, Record, RecordUpdate, Version};
use crate::stream::state::State;

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn update(id: &str, value: &str) -> Write {
    let metadata = Some(MetadataPatch([("k".to_owned(), Some(value.into()))].into()));
    Write::Update(vec![RecordUpdate { id: id.into(), metadata, ..RecordUpdate::default() }])
}

fn add(id: &str) -> Write {
    Write::Add(vec![Record::new(id, vec![1.0])])
}

fn next_write(random: &mut StdRng) -> Write {
    let id = IDS[random.random_range(0..IDS.len())];
    match random.random_range(0..4) {
        0 => add(id),
        1 => Write::Upsert(vec![Record::new(id, vec![1.0])]),
        2 => update(id, &random.random_range(0..9).to_string()),
        _ => Write::Delete(Selection::by_ids([id])),
    }
}

/// What becomes of transactions from this version: one that read this id, and one that only writes it.
fn outcome(replay: &Replay, id: &str, read: Version) -> &'static str {
    let reader = Transaction { read: Some(read), read_ids: vec![id.to_owned()], writes: Vec::new() };
    let writer = Transaction { read: Some(read), read_ids: Vec::new(), writes: vec![update(id, "new")] };
    let outcome = outcome_of(replay, reader);
    assert_eq!(outcome, outcome_of(replay, writer), "{id} at {read}");
    outcome
}

fn outcome_of(replay: &Replay, transaction: Transaction) -> &'static str {
    let resolved = replay.state.resolve(&[&Change::Transaction(transaction)]);
    match &resolved.answers[0] {
        Ok(_) => "commits",
        Err(error) if error.is_stale_read() => "is stale",
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            assert!(resolved.is_empty());
            "conflicts"
        }
    }
}

/// Whether it conflicts, by a scan of the log. `loaded` is the last version that is in segments.
fn expected(replay: &Replay, id: &str, read: Version, loaded: Version) -> &'static str {
    let rows = |after: Version| {
        let later = replay.commits.iter().filter(move |commit| commit.header.version > after);
        later.flat_map(|commit| (0..commit.rows.len()).map(|row| commit.rows.id(row))).any(|other| other == id)
    };
    let lives = replay.snapshot().find(id).is_some();
    match (lives, rows(read), rows(read.max(loaded))) {
        (true, true, _) | (false, _, true) => "conflicts",
        (false, ..) if read < loaded => "is stale",
        _ => "commits",
    }
}

#[test]
fn a_transaction_commits_where_no_later_commit_has_a_row_of_its_ids() {
    for seed in 0..40 {
        let (mut random, mut replay) = (StdRng::seed_from_u64(seed), Replay::new(Metric::L2));
        for _ in 0..25 {
            replay.write(next_write(&mut random)).unwrap();
        }
        let newest = replay.state.version();
        let loaded = random.random_range(1..newest.0);
        let reopened = replay.reopened(&[loaded]);
        let mut seen = std::collections::BTreeSet::new();
        for read in (0..=newest.0).map(Version) {
            for id in IDS {
                let words = format!("seed {seed}: {id} read at {read} of {newest}, {loaded} loaded");
                assert_eq!(outcome(&replay, id, read), expected(&replay, id, read, Version(0)), "{words}");
                let after = outcome(&reopened, id, read);
                assert_eq!(after, expected(&replay, id, read, Version(loaded)), "{words}");
                seen.insert(after);
            }
        }
        assert!(seen.contains("commits") && seen.contains("conflicts"), "seed {seed}: {seen:?}");
    }
}

#[test]
fn a_transaction_sees_what_the_requests_before_it_in_the_batch_touched() {
    let mut replay = Replay::new(Metric::L2);
    replay.write(add("a")).unwrap();
    let of = |id: &str, read| {
        Change::Transaction(Transaction { read, read_ids: Vec::new(), writes: vec![update(id, "mine"), add("n")] })
    };
    let newest = Some(Version(1));
    let batch = [Change::Write(update("a", "other")), of("a", newest), of("b", newest), of("a", None)];
    let answers = replay.commit(&batch);
    let kinds: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().map(|done| done.applied).map_err(|e| e.kind())).collect();
    // The last one read nothing: it comes after the others.
    assert_eq!(kinds, [Ok(1), Err(ErrorKind::Conflict), Ok(1), Ok(1)]);
    let beyond = replay.commit(&[of("a", Some(Version(3)))]).remove(0).unwrap_err();
    assert_eq!(
        (beyond.kind(), beyond.message()),
        (ErrorKind::Invalid, "read: expected a version up to 2, the newest, got 3")
    );
}

#[test]
fn a_refused_transaction_leaves_none_of_its_writes_in_the_batch() {
    let mut replay = Replay::with_limits(Metric::L2, Limits { metadata_bytes: 20, ..Limits::default() });
    replay.write(add("a")).unwrap();
    let writes = vec![add("n"), Write::Delete(Selection::by_ids(["a", "x"])), update("n", "longer than twenty bytes")];
    let transaction = Transaction { writes, ..Transaction::default() };
    let batch = [Change::Write(add("x")), Change::Transaction(transaction), Change::Write(update("x", "2"))];
    let answers = replay.commit(&batch);
    let refused = answers[1].clone().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limit);
    assert!(refused.message().contains("(limits.metadata_bytes)"), "{refused}");
    let rows = &replay.commits[1].rows;
    assert_eq!((0..rows.len()).map(|row| rows.id(row)).collect::<Vec<_>>(), ["x"]);
    assert_eq!(replay.snapshot().count(), 2);
    assert!(replay.state.current().key_types().has("k", KeyType::String), "the request behind it is whole");
}

#[test]
fn a_batch_comes_to_the_same_rows_with_and_without_transactions_that_are_refused() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut replay = Replay::with_limits(Metric::L2, Limits { metadata_bytes: 20, ..Limits::default() });
        (0..4).for_each(|_| drop(replay.write(next_write(&mut random))));
        let writes = |random: &mut StdRng| (0..3).map(|_| next_write(random)).collect::<Vec<_>>();
        let (mut whole, mut without) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            let good = Transaction { writes: writes(&mut random), ..Transaction::default() };
            let mut bad = Transaction { writes: writes(&mut random), ..Transaction::default() };
            // A record that surely exists by then, so that the text is surely judged.
            bad.writes.extend([add("z"), update("z", "longer than twenty bytes")]);
            whole.extend([Change::Transaction(bad), Change::Transaction(good.clone())]);
            without.push(Change::Transaction(good));
        }
        let whole = replay.state.resolve(&whole.iter().collect::<Vec<_>>());
        let without = replay.state.resolve(&without.iter().collect::<Vec<_>>());
        let refused = whole.answers.iter().step_by(2).all(|answer| answer.is_err());
        assert!(refused && whole.answers.iter().skip(1).step_by(2).all(|answer| answer.is_ok()), "seed {seed}");
        assert_eq!((whole.rows, whole.config), (without.rows, without.config), "seed {seed}");
    }
}

#[test]
fn the_writes_of_a_transaction_are_measured_together() {
    let mut replay = Replay::with_limits(Metric::L2, Limits { batch_bytes: 300, ..Limits::default() });
    for id in ["a", "b", "c"] {
        replay.write(Write::Add(vec![Record::new(id, vec![1.0]).with_document("d".repeat(100))])).unwrap();
    }
    let mut commit = |ids: &[&str]| {
        let writes = ids.iter().map(|id| update(id, "1")).collect();
        replay.commit(&[Change::Transaction(Transaction { writes, ..Transaction::default() })]).remove(0)
    };
    assert_eq!(commit(&["a", "b", "c"]).unwrap_err().kind(), ErrorKind::Limit);
    // A later write replaces what an earlier one of the same record made.
    assert_eq!(commit(&["a", "b", "a", "b", "a", "b"]).unwrap().applied, 6);
}

/// The most bytes on the heap while a batch is resolved, and the bytes of its rows.
fn peak_of(writes: impl IntoIterator<Item = Change>) -> (u64, u64) {
    let (replay, changes) = (Replay::new(Metric::L2), writes.into_iter().collect::<Vec<_>>());
    let changes: Vec<&Change> = changes.iter().collect();
    let (resolved, most) = peak(|| replay.state.resolve(&changes));
    (most, resolved.rows.iter().map(|row| row.size_bytes() as u64).sum())
}

#[test]
fn transactions_of_a_batch_do_not_copy_what_came_before_them() {
    let large = |id: String| Write::Upsert(vec![Record::new(id, vec![1.0]).with_document("d".repeat(20_000))]);
    let writes = |n: usize| vec![large(n.to_string()), large(format!("other {n}"))];
    let of = |n| Change::Transaction(Transaction { writes: writes(n), ..Transaction::default() });
    let (most, rows) = peak_of((0..100).map(of));
    assert!(rows > 4_000_000 && most < rows + rows / 4, "{most} bytes for rows of {rows}");
}

#[test]
fn a_transaction_that_changes_one_record_often_holds_it_a_few_times_only() {
    let large = Write::Upsert(vec![Record::new("a", vec![1.0]).with_document("d".repeat(100_000))]);
    let often = (0..1_000).map(|n| update("a", &n.to_string()));
    let writes = std::iter::once(large).chain(often).collect();
    let (most, rows) = peak_of([Change::Transaction(Transaction { writes, ..Transaction::default() })]);
    assert!(most < 10 * rows, "{most} bytes for rows of {rows}");
}

#[test]
fn a_transaction_deletes_by_ids_alone_and_keeps_within_the_limit_of_a_request() {
    let mut replay = Replay::with_limits(Metric::L2, Limits { batch_records: 2, ..Limits::default() });
    let mut refused = |read_ids: &[&str], writes| {
        let read_ids = read_ids.iter().map(|id| (*id).to_owned()).collect();
        let transaction = Transaction { read: Some(Version(0)), read_ids, writes };
        replay.commit(&[Change::Transaction(transaction)]).remove(0).unwrap_err().message().to_owned()
    };
    let filtered = Selection { limit: Some(1), ..Selection::by_ids(["a"]) };
    let by_filter = Selection::matching(Filter::eq("k", 1));
    for delete in [filtered, by_filter, Selection::default()] {
        let words = "writes[1]: expected a delete of ids alone, as the ids are compared with the log";
        assert_eq!(refused(&[], vec![add("n"), Write::Delete(delete)]), words);
    }
    let words = "expected at most 2 records in one transaction (limits.batch_records), got 3";
    assert_eq!(refused(&[], vec![add("a"), add("b"), add("c")]), format!("writes: {words}"));
    assert_eq!(refused(&["a", "b", "c"], vec![add("a")]), format!("read_ids: {words}"));
}
