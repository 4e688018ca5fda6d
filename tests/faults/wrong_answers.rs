//! One wrong answer of the bucket is an answer, not a verdict: reads that bring other bytes than are stored leave
//! nothing damaged, writes that are answered with success and do nothing lose nothing, and what was called damaged
//! heals by itself once the bucket answers truly again. Only what is really damaged stays so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use drumlin::admin::CollectionSelector;
use drumlin::files::PutFile;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, PutCondition};
use drumlin::testing::format::head::Head;
use drumlin::{Collection, CollectionSpec, Consistency, ErrorKind, Metric, Query, Record, Settings, Storage, Store};
use drumlin_test_support::bucket_check::Content;
use tokio::time::sleep;

use super::lying_bucket::{Call, Lie, LyingBucket};

const WRONG_READS: [Lie; 5] = [Lie::Page, Lie::Flipped, Lie::Half, Lie::Empty, Lie::Missing];
/// Longer than what does not check out is read again.
const LONG: Duration = Duration::from_secs(30);
const KEEP: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.sync_interval = Duration::from_secs(1 << 24);
    let timing = &mut settings.timing;
    (timing.lease, timing.keep, timing.garbage) = (Duration::from_secs(2), KEEP, Duration::from_secs(10));
    (timing.fan_out, timing.graph_rows) = (2, 1);
    timing.swap_interval = Duration::ZERO;
    settings
}

async fn open(bucket: &Arc<LyingBucket>) -> drumlin::Result<Store> {
    let store = Store::open_on(settings(), bucket.clone()).await?;
    store.wait_until_loaded().await;
    Ok(store)
}

async fn create(store: &Store, name: &str) -> Collection {
    store.create_collection(CollectionSpec::new(name).metric(Metric::L2)).await.unwrap()
}

async fn fill(collection: &Collection, first: usize, count: usize) {
    for i in first..first + count {
        assert_eq!(collection.add([record(i)]).await.unwrap().applied, 1);
    }
}

fn record(i: usize) -> Record {
    Record::new(format!("r{i}"), vec![i as f32, 1.0])
}

/// A bucket with one collection, `good`, of 12 records in segments, a graph and a tail.
async fn ground() -> Arc<LyingBucket> {
    let bucket = LyingBucket::new(MemoryBucket::new(StoreClock::machine()));
    let store = open(&bucket).await.unwrap();
    let good = create(&store, "good").await;
    for round in 0..3 {
        fill(&good, round * 3, 3).await;
        store.admin().maintain().await.unwrap();
    }
    fill(&good, 9, 3).await;
    store.close(Duration::from_secs(1)).await.ok();
    let store = open(&bucket).await.unwrap();
    fill(&store.collection("good").await.unwrap(), 12, 3).await;
    bucket
}

async fn stream_of(store: &Store) -> String {
    format!("c/{}", store.collection("good").await.unwrap().info().id)
}

/// Everything that was acknowledged is there for a store that opens anew, and can be written to.
async fn all_is_well(bucket: &Arc<LyingBucket>, records: u64, case: &str) {
    bucket.be_honest();
    Content::read(&bucket.inner).await.check().unwrap_or_else(|e| panic!("{case}: {e}"));
    let store = open(bucket).await.unwrap_or_else(|e| panic!("{case}: {e}"));
    let good = store.collection("good").await.unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(good.count(Consistency::Strong).await.unwrap(), records, "{case}");
    assert_eq!(store.admin().health().damaged, vec![], "{case}");
    good.upsert([record(0)]).await.unwrap_or_else(|e| panic!("{case}: {e}"));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_was_answered_with_success_and_not_stored_is_put_again_before_anything_names_it() {
    for part in ["/seg/", "/graph/", "/retired/"] {
        let bucket = ground().await;
        let store = open(&bucket).await.unwrap();
        let good = store.collection("good").await.unwrap();
        bucket.lie_once(Call::Put, part, Lie::Nothing);
        fill(&good, 100, 3).await;
        for _ in 0..3 {
            store.admin().maintain().await.unwrap_or_else(|e| panic!("{part}: {e}"));
        }
        sleep(2 * KEEP).await;
        store.admin().maintain().await.unwrap();
        all_is_well(&bucket, 18, part).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_whose_segment_never_comes_to_stand_names_and_deletes_nothing() {
    let bucket = ground().await;
    let store = open(&bucket).await.unwrap();
    let before = Content::read(&bucket.inner).await.objects;
    bucket.set_plan(|call, key| (call == Call::Put && key.contains("/seg/")).then_some(Lie::Nothing));
    let error = store.admin().maintain().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("put again and again, but it is missing"), "{error}");
    sleep(2 * KEEP).await;
    assert!(store.admin().maintain().await.is_err());
    let after = Content::read(&bucket.inner).await.objects;
    // The catalog has nothing to flush, and goes on.
    let lost: Vec<&String> = before.keys().filter(|key| key.starts_with("c/") && !after.contains_key(*key)).collect();
    assert!(lost.iter().all(|key| !key.contains("/log/")), "{lost:?}");
    all_is_well(&bucket, 15, "never stored").await;
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_file_and_a_copy_of_a_fork_are_seen_before_they_are_named() {
    let bucket = ground().await;
    let store = open(&bucket).await.unwrap();
    let files = store.files();
    bucket.lie_once(Call::Put, "/file/", Lie::Nothing);
    let body = futures::stream::iter([Ok(Bytes::from_static(b"what is in it"))]);
    files.put("a.bin", PutFile::default(), body).await.unwrap();
    let mut download = files.get("a.bin", Consistency::Strong).await.unwrap();
    assert_eq!(download.next().await.unwrap().unwrap(), "what is in it");

    let good = store.collection("good").await.unwrap();
    for part in ["/seg/", "/graph/"] {
        bucket.lie_once(Call::Copy, part, Lie::Nothing);
        let name = format!("fork {}", part.len());
        let fork = store.fork_collection(good.info().id, &name).await.unwrap();
        assert_eq!(fork.count(Consistency::Strong).await.unwrap(), 15, "{part}");
    }
    all_is_well(&bucket, 15, "files and forks").await;
}

#[tokio::test(start_paused = true)]
async fn a_collection_whose_head_was_not_stored_is_made_all_the_same_and_one_without_head_can_be_dropped() {
    let bucket = ground().await;
    let store = open(&bucket).await.unwrap();
    bucket.lie_once(Call::Put, "/HEAD", Lie::Nothing);
    let new = create(&store, "new").await;
    fill(&new, 0, 1).await;
    let head = format!("c/{}/HEAD", new.info().id);
    bucket.inner.delete(&[head]).await.unwrap();
    let store = open(&bucket).await.unwrap();
    assert_eq!(store.collection("new").await.unwrap_err().kind(), ErrorKind::Corrupted);
    store.drop_collection("new").await.unwrap();
    fill(&create(&store, "new").await, 0, 1).await;
    all_is_well(&bucket, 15, "a lost HEAD").await;
}

#[tokio::test(start_paused = true)]
async fn commits_stay_while_a_segment_that_holds_them_is_not_there() {
    let bucket = ground().await;
    let store = open(&bucket).await.unwrap();
    store.sync().await.unwrap();
    let stream = stream_of(&store).await;
    let head = bucket.inner.get(&format!("{stream}/HEAD"), None).await.unwrap().bytes;
    let last = Head::decode(&head, &stream).unwrap().segs.pop().unwrap().key;
    let segment = bucket.inner.get(&last, None).await.unwrap().bytes;
    bucket.inner.delete(std::slice::from_ref(&last)).await.unwrap();
    let commits = |content: &Content| content.objects.keys().filter(|key| key.contains("/log/")).count();
    for _ in 0..3 {
        sleep(2 * KEEP).await;
        let _ = store.admin().maintain().await;
    }
    let collected = store.admin().collect_garbage(true).await.unwrap_err();
    assert!(collected.kind() == ErrorKind::Corrupted && collected.message().contains(&last), "{collected}");
    let there = Content::read(&bucket.inner).await;
    let of_last = (13..=15).map(|version| format!("{stream}/log/{version:020}.parquet"));
    assert!(of_last.into_iter().all(|key| there.objects.contains_key(&key)), "{:?}", there.objects.keys());
    bucket.inner.put(&last, segment, PutCondition::Always).await.unwrap();
    sleep(LONG).await;
    store.admin().collect_garbage(true).await.unwrap();
    assert!(commits(&Content::read(&bucket.inner).await) < commits(&there), "they go once it is back");
    all_is_well(&bucket, 15, "a segment that came back").await;
}

/// Counts the reads of an opening, or answers one of them wrongly.
fn lie_at(bucket: &LyingBucket, index: usize, lie: Lie) -> Arc<AtomicUsize> {
    let reads = Arc::new(AtomicUsize::new(0));
    let count = reads.clone();
    bucket.set_plan(move |call, _| {
        let number = if call == Call::Get { count.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
        (number == index).then_some(lie)
    });
    reads
}

#[tokio::test(start_paused = true)]
async fn no_single_wrong_answer_at_a_start_leaves_anything_damaged_or_ends_the_start() {
    let bucket = ground().await;
    let reads = lie_at(&bucket, usize::MAX - 1, Lie::Empty);
    open(&bucket).await.unwrap();
    let reads = reads.load(Ordering::SeqCst);
    assert!(reads > 10, "{reads} reads");
    for index in 0..reads {
        // Neighbouring reads, which are often of one kind, get different ones.
        for lie in WRONG_READS.into_iter().skip(index % 2).step_by(2) {
            let case = format!("read {index} of {reads}, {lie:?}");
            lie_at(&bucket, index, lie);
            let store = open(&bucket).await.unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(store.admin().health().damaged, vec![], "{case}");
            let good = store.collection("good").await.unwrap_or_else(|e| panic!("{case}: {e}"));
            bucket.be_honest();
            assert_eq!(good.count(Consistency::Strong).await.unwrap(), 15, "{case}");
            good.upsert([record(3)]).await.unwrap_or_else(|e| panic!("{case}: {e}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_single_wrong_answer_while_running_makes_a_collection_or_the_catalog_read_only() {
    let bucket = ground().await;
    let store = open(&bucket).await.unwrap();
    let good = store.collection("good").await.unwrap();
    let other = open(&bucket).await.unwrap();
    let mut next = 1_000;
    for part in ["/c/", "catalog/log/", "/HEAD"] {
        for lie in WRONG_READS {
            let case = format!("{part} {lie:?}");
            let part = part.trim_start_matches('/');
            // Beyond the lease, so that HEAD is read beside the log.
            sleep(LONG).await;
            fill(&other.collection("good").await.unwrap(), next, 1).await;
            bucket.lie_once(Call::Get, part, lie);
            assert!(good.count(Consistency::Strong).await.is_ok(), "{case}");
            bucket.lie_once(Call::Get, part, lie);
            fill(&good, next + 1, 1).await;
            bucket.lie_once(Call::Get, part, lie);
            create(&store, &format!("new {next}")).await;
            bucket.be_honest();
            assert_eq!(store.admin().health().damaged, vec![], "{case}");
            next += 2;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_counted_as_damaged_while_running_heals_with_the_next_request_and_reads_are_served_meanwhile() {
    let bucket = ground().await;
    let store = open(&bucket).await.unwrap();
    let good = store.collection("good").await.unwrap();
    for part in ["/log/", "/HEAD"] {
        for lie in [Lie::Page, Lie::Flipped] {
            let case = format!("{part} {lie:?}");
            fill(&open(&bucket).await.unwrap().collection("good").await.unwrap(), 100, 1).await;
            sleep(LONG).await;
            bucket.set_plan(move |call, key| (call == Call::Get && key.contains(part)).then_some(lie));
            let refused = good.count(Consistency::Strong).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupted, "{case}: {refused}");
            assert!(good.add([record(500)]).await.is_err(), "{case}");
            let answer = good.search(Query::new(vec![5.1, 1.0]).k(1)).await.unwrap();
            assert_eq!(answer[0].id, "r5", "{case}");
            bucket.be_honest();
            sleep(LONG).await;
            good.delete(drumlin::Selection { ids: Some(vec!["r100".to_owned()]), ..Default::default() })
                .await
                .unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(store.admin().health().damaged, vec![], "{case}");
            store.admin().maintain().await.unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(good.count(Consistency::Strong).await.unwrap(), 15, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_could_not_be_opened_is_opened_by_a_later_request_or_poll() {
    let bucket = ground().await;
    let mut polling = settings();
    polling.sync_interval = Duration::from_secs(60);
    for part in ["/log/", "/HEAD", "/seg/"] {
        for by_request in [true, false] {
            let case = format!("{part}, by request: {by_request}");
            bucket.set_plan(move |call, key| {
                (call == Call::Get && key.starts_with("c/") && key.contains(part)).then_some(Lie::Half)
            });
            let chosen = if by_request { settings() } else { polling.clone() };
            let store = Store::open_on(chosen, bucket.clone()).await.unwrap();
            store.wait_until_loaded().await;
            assert_eq!(store.admin().health().damaged.len(), 1, "{case}");
            let refused = store.collection("good").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupted, "{case}: {refused}");
            bucket.be_honest();
            sleep(Duration::from_secs(150)).await;
            if by_request {
                let good = store.collection("good").await.unwrap_or_else(|e| panic!("{case}: {e}"));
                assert_eq!(good.count(Consistency::Strong).await.unwrap(), 15, "{case}");
            }
            assert_eq!(store.admin().health().damaged, vec![], "{case}");
            assert_eq!(store.admin().health().records, 15, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_and_whose_read_back_is_wrong_is_never_called_corrupted() {
    let bucket = ground().await;
    let store = open(&bucket).await.unwrap();
    let good = store.collection("good").await.unwrap();
    // Once wrong: it is read again, and acknowledged.
    let mut wrong_reads = 1;
    bucket.set_plan(move |call, key| match call {
        Call::Put if key.contains("/log/") && wrong_reads == 1 => Some(Lie::Lost),
        Call::Get if key.contains("/log/") && wrong_reads > 0 => {
            wrong_reads -= 1;
            Some(Lie::Page)
        }
        _ => None,
    });
    fill(&good, 200, 1).await;
    // Wrong for long: nothing is known.
    let mut lost = 1;
    bucket.set_plan(move |call, key| match call {
        Call::Put if key.contains("/log/") && lost == 1 => {
            lost = 0;
            Some(Lie::Lost)
        }
        Call::Get if key.contains("/log/") => Some(Lie::Page),
        _ => None,
    });
    let unknown = good.add([record(201)]).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::OutcomeUnknown, "{unknown}");
    bucket.be_honest();
    sleep(LONG).await;
    fill(&good, 202, 1).await;
    assert_eq!(good.count(Consistency::Strong).await.unwrap(), 18);
    all_is_well(&bucket, 18, "lost and wrong").await;
}

#[tokio::test(start_paused = true)]
async fn bytes_in_a_slot_after_the_end_of_the_log_are_no_sign_of_a_gap() {
    let bucket = ground().await;
    // The slots after the last are read ahead at a start, and all but the first of them are answered by a page.
    bucket.set_plan(|call, key| {
        let beyond = ["17.parquet", "18.parquet", "19.parquet", "20.parquet"];
        (call == Call::Get && key.contains("/log/") && beyond.iter().any(|end| key.ends_with(end))).then_some(Lie::Page)
    });
    let store = open(&bucket).await.unwrap();
    assert_eq!(store.admin().health().damaged, vec![]);
    fill(&store.collection("good").await.unwrap(), 300, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_names_what_is_not_its_own_is_damaged_alone_and_verify_tells_of_the_others() {
    let bucket = ground().await;
    let store = open(&bucket).await.unwrap();
    let other = create(&store, "other").await;
    fill(&other, 0, 3).await;
    store.sync().await.unwrap();
    let (stream, mine) = (stream_of(&store).await, format!("c/{}", other.info().id));
    let theirs =
        Head::decode(&bucket.inner.get(&format!("{stream}/HEAD"), None).await.unwrap().bytes, &stream).unwrap();
    let own = Head::decode(&bucket.inner.get(&format!("{mine}/HEAD"), None).await.unwrap().bytes, &mine).unwrap();
    let foreign = theirs.segs[0].clone();
    let hostile = [
        ("a key outside its stream", foreign.clone()),
        ("a copy outside its stream", foreign.copied(&stream, foreign.key.clone())),
        (
            "no key at all",
            drumlin::testing::format::head::SegmentEntry { key: "../../x".to_owned(), ..foreign.clone() },
        ),
    ];
    for (case, entry) in hostile {
        let mut head = own.successor();
        head.segs = vec![entry];
        head.floor = head.segs[0].hi.next();
        head.prev = theirs.prev;
        let bytes = Bytes::from(head.encode().unwrap());
        bucket.inner.put(&format!("{mine}/HEAD"), bytes, PutCondition::Always).await.unwrap();
        let store = open(&bucket).await.unwrap();
        let error = store.collection("other").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{case}: {error}");
        let good = store.collection("good").await.unwrap();
        assert_eq!(good.count(Consistency::Strong).await.unwrap(), 15, "{case}");
        assert_eq!(store.admin().health().damaged.len(), 1, "{case}");
        let check = drumlin::testing::check::verify(bucket.clone(), &CollectionSelector::default(), &settings().timing)
            .await
            .unwrap();
        assert!(!check.sound, "{case}");
        assert_eq!(check.streams.iter().filter(|s| s.findings.any_damage()).count(), 1, "{case}");
        assert!(check.streams.iter().any(|s| s.stream == stream && s.records == 15), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_listing_shows_nothing_outside_of_a_stream_is_deleted() {
    let bucket = ground().await;
    let store = open(&bucket).await.unwrap();
    let doomed = create(&store, "doomed").await;
    fill(&doomed, 0, 3).await;
    store.sync().await.unwrap();
    let stream = stream_of(&store).await;
    store.drop_collection("doomed").await.unwrap();
    let mine: Vec<String> =
        Content::read(&bucket.inner).await.objects.into_keys().filter(|key| key.starts_with(&stream)).collect();
    *bucket.invented.lock() =
        mine.iter().cloned().chain(["drumlin.json".to_owned(), "catalog/HEAD".to_owned()]).collect();
    for _ in 0..3 {
        sleep(2 * KEEP).await;
        let _ = store.admin().maintain().await;
        let _ = store.admin().sweep().await;
    }
    bucket.invented.lock().clear();
    let left = Content::read(&bucket.inner).await;
    assert!(left.objects.contains_key("drumlin.json") && left.objects.contains_key("catalog/HEAD"));
    assert!(left.objects.contains_key(&format!("{stream}/HEAD")));
    all_is_well(&bucket, 15, "a listing that lies").await;
}
