//! A collection is embedded anew while others write to it, and while calls fail and processes die: nothing that was
//! acknowledged is lost or doubled, and the name always has a holder that answers.
//! The embedders are one model with several prefixes, so that their embeddings differ.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drumlin::admin::Moment;
use drumlin::models::{Embedder, Reembed, ReembedState, TextRole, is_filler};
use drumlin::testing::bucket::StoreTime;
use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::fault::{Call, Fault, FaultBucket, Hold};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{
    Collection, CollectionSpec, Consistency, ErrorKind, Get, Include, Metadata, Metric, Record, RecordUpdate,
    Selection, Settings, Storage, Store, Version,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(120);

fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    (settings.maintenance, settings.index_threads) = (false, 1);
    settings.sync_interval = Duration::from_secs(3600);
    (settings.timing.backoff, settings.timing.backoff_max) = (Duration::from_millis(1), Duration::from_millis(4));
    settings
}

fn bucket() -> MemoryBucket {
    MemoryBucket::new(StoreClock::starting_at(StoreTime(1_700_000_000_000)))
}

async fn open(bucket: &MemoryBucket) -> Store {
    Store::open_on(settings(), Arc::new(bucket.clone())).await.unwrap()
}

fn old() -> Embedder {
    Embedder::model("tiny")
}

fn new() -> Embedder {
    Embedder::model("tiny").prefixes("query ", "stone ")
}

/// A store with the model and the collection "notes" of `count` records.
async fn filled(bucket: &MemoryBucket, count: usize) -> (Store, Collection) {
    let store = open(bucket).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data-fixtures/tiny-bert");
    let files = ["config.json", "tokenizer.json", "model.safetensors"];
    let files = files.map(|name| (name.to_owned(), std::fs::read(folder.join(name)).unwrap().into()));
    store.models().add("tiny", files).await.unwrap();
    let spec = CollectionSpec::new("notes").embedder(old()).metadata([("kind", "notes")]);
    let notes = store.create_collection(spec).await.unwrap();
    notes.add((0..count).map(record)).await.unwrap();
    (store, notes)
}

fn record(n: usize) -> Record {
    Record {
        id: format!("r{n}"),
        embedding: Vec::new(),
        document: Some(text(n)),
        uri: n.is_multiple_of(3).then(|| format!("file:{n}")),
        metadata: n.is_multiple_of(2).then(|| Metadata::from([("n", n as i64)])),
    }
}

fn text(n: usize) -> String {
    let words = ["river", "stone", "green", "light", "house", "water"];
    format!("{} {} {n}", words[n % words.len()], words[n / 7 % words.len()])
}

async fn all(collection: &Collection) -> Vec<Record> {
    let mut scan = collection.scan(Consistency::Local).await.unwrap();
    scan.next_page(usize::MAX).await.unwrap()
}

fn without_embeddings(records: &[Record]) -> Vec<Record> {
    records.iter().map(|record| Record { embedding: Vec::new(), ..record.clone() }).collect()
}

/// Every embedding is that of its document by the collection's embedder.
async fn check_embeddings(collection: &Collection) {
    let records = all(collection).await;
    let texts = records.iter().map(|record| record.document.clone().unwrap()).collect();
    let expected = collection.embed(texts, TextRole::Passage).await.unwrap();
    for (record, expected) in records.iter().zip(expected) {
        let far = record.embedding.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(record.embedding.len() == expected.len() && far < 1e-4, "{}: {far}", record.id);
    }
}

#[tokio::test]
async fn the_new_collection_has_all_of_the_old_one_but_its_embeddings_and_takes_its_name() {
    let bucket = bucket();
    let (store, notes) = filled(&bucket, 700).await;
    notes
        .update([RecordUpdate { id: "r5".into(), document: Some("a green river".into()), ..RecordUpdate::default() }])
        .await
        .unwrap();
    notes.delete(Selection::by_ids(["r7", "r8"])).await.unwrap();
    notes.add([record(8)]).await.unwrap();
    let before = all(&notes).await;
    let made = store.reembed_collection(notes.id(), Reembed::new(new()).metric(Metric::L2)).await.unwrap();
    let after = timeout(LIMIT, made.wait()).await.unwrap().unwrap();
    let status = made.status();
    assert_eq!((status.state, status.embedded, status.of, status.error), (ReembedState::Done, 699, 699, None));
    assert!(status.texts_per_s > 0.0);
    assert_eq!(without_embeddings(&all(&after).await), without_embeddings(&before));
    check_embeddings(&after).await;
    let info = store.collection("notes").await.unwrap().info();
    assert_eq!((info.id, info.name.as_str(), info.metric), (after.id(), "notes", Metric::L2));
    assert_eq!((info.embedder, info.metadata), (Some(new()), Some(Metadata::from([("kind", "notes")]))));
    assert_ne!(after.id(), notes.id());
    assert_eq!(store.reembedding(after.id()).await.unwrap().state, ReembedState::Done);
    let refused = notes.add([record(900)]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert_eq!(store.collections(Consistency::Strong).await.unwrap().len(), 1);
    let other = open(&bucket).await;
    let there = other.collection("notes").await.unwrap();
    assert_eq!(all(&there).await, all(&after).await);
    assert_eq!(other.reembedding(there.id()).await.unwrap().state, ReembedState::None);
    // Once more, from what was made so.
    let again = store.reembed_collection(after.id(), Reembed::new(old())).await.unwrap();
    let again = timeout(LIMIT, again.wait()).await.unwrap().unwrap();
    assert_eq!(without_embeddings(&all(&again).await), without_embeddings(&before));
    check_embeddings(&again).await;
}

/// Writes by name until it is told to stop; what the records are after it, as far as it was told.
async fn write_on(store: Store, writer: usize, stop: Arc<AtomicBool>) -> BTreeMap<String, Option<String>> {
    let mut random = StdRng::seed_from_u64(writer as u64);
    let mut model = BTreeMap::new();
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let n = random.random_range(0..40) * 2 + writer;
        let (id, document) = (format!("w{n}"), format!("{} {number}", text(n)));
        let one = Record { id: id.clone(), document: Some(document.clone()), ..record(n) };
        let notes = store.collection("notes").await.expect("the name has a holder at every moment");
        notes.count(Consistency::Local).await.expect("which answers");
        let (done, state) = match random.random_range(0..4) {
            0 => (notes.delete(Selection::by_ids([id.as_str()])).await, None),
            1 => {
                // A record that is added again comes to another place.
                let deleted = notes.delete(Selection::by_ids([id.as_str()])).await;
                match deleted {
                    Ok(_) => {
                        model.insert(id.clone(), None);
                        (notes.add([one]).await, Some(document))
                    }
                    refused => (refused, None),
                }
            }
            _ => (notes.upsert([one]).await, Some(document)),
        };
        match done {
            Ok(_) => drop(model.insert(id, state)),
            // The handle was that of the old collection.
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..3))).await;
    }
    model
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_stores_write_meanwhile_is_there_once_and_in_order() {
    let bucket = bucket();
    let (store, notes) = filled(&bucket, 2000).await;
    let other = open(&bucket).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [store.clone(), other.clone()];
    let writers: Vec<_> =
        writers.into_iter().enumerate().map(|(n, store)| tokio::spawn(write_on(store, n, stop.clone()))).collect();
    let mut embedders = vec![new(), old(), new()];
    let mut held = notes;
    while let Some(embedder) = embedders.pop() {
        let made = store.reembed_collection(held.id(), Reembed::new(embedder)).await.unwrap();
        let after = timeout(LIMIT, made.wait()).await.unwrap().unwrap();
        // In the moment of the handover both had the same records; requests that began before end there.
        held = after;
    }
    stop.store(true, Ordering::SeqCst);
    let mut expected: BTreeMap<String, String> = (0..2000).map(|n| (format!("r{n}"), text(n))).collect();
    for writer in writers {
        for (id, document) in writer.await.unwrap() {
            match document {
                Some(document) => drop(expected.insert(id, document)),
                None => drop(expected.remove(&id)),
            }
        }
    }
    other.sync().await.unwrap();
    let other = other.collection("notes").await.unwrap();
    other.count(Consistency::Strong).await.unwrap();
    held.count(Consistency::Strong).await.unwrap();
    let found = all(&other).await;
    assert_eq!(other.id(), held.id());
    assert!(found == all(&held).await, "both stores have the same records");
    let found: Vec<(String, String)> = found.into_iter().map(|r| (r.id, r.document.unwrap())).collect();
    assert_eq!(found.len(), expected.len());
    assert_eq!(found.iter().cloned().collect::<BTreeMap<_, _>>(), expected);
    // The first records were never touched: they stand first, in their order.
    let first: Vec<String> = found.iter().take(2000).map(|(id, _)| id.clone()).collect();
    assert_eq!(first, (0..2000).map(|n| format!("r{n}")).collect::<Vec<_>>());
    check_embeddings(&other).await;
}

#[tokio::test]
async fn the_order_of_records_that_were_deleted_and_added_again_is_that_of_the_old_collection() {
    let bucket = bucket();
    let (_store, notes) = filled(&bucket, 600).await;
    let (faulty, stalled) = dying_store(&bucket).await;
    let old_log = format!("c/{}/log/", notes.id());
    let mut gate = faulty.hold(Hold::Before, move |call| {
        call.op == Op::Create
            && call.key.starts_with("c/")
            && call.key.contains("/log/")
            && !call.key.starts_with(&old_log)
    });
    let made = stalled.reembed_collection(notes.id(), Reembed::new(new())).await.unwrap();
    gate.reached().await;
    for n in (0..600).step_by(37) {
        notes.delete(Selection::by_ids([format!("r{n}")])).await.unwrap();
        notes.add([record(n)]).await.unwrap();
        notes.upsert([Record { document: Some("light".into()), ..record((n + 1) % 600) }]).await.unwrap();
    }
    let before = all(&notes).await;
    gate.release();
    let after = timeout(LIMIT, made.wait()).await.unwrap().unwrap();
    assert_eq!(without_embeddings(&all(&after).await), without_embeddings(&before));
    check_embeddings(&after).await;
}

#[tokio::test]
async fn what_cannot_be_embedded_is_refused_at_once_and_begun_work_is_not_begun_otherwise() {
    let bucket = bucket();
    let (store, notes) = filled(&bucket, 300).await;
    let embedding = vec![1.0; 16];
    notes.add([Record::new("bare", embedding.clone()), Record::new("naked", embedding)]).await.unwrap();
    let refused = store.reembed_collection(notes.id(), Reembed::new(new())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().starts_with("2 records of collection \"notes\" have no document"), "{refused}");
    notes.delete(Selection::by_ids(["bare", "naked"])).await.unwrap();
    let absent = Reembed::new(Embedder::model("absent").optional());
    let refused = store.reembed_collection(notes.id(), absent).await.unwrap_err();
    assert!(refused.message().contains("there is no model \"absent\""), "{refused}");
    assert_eq!(store.stop_reembedding(notes.id()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.reembedding(notes.id()).await.unwrap().state, ReembedState::None);
    assert_eq!(store.admin().all_collections().await.unwrap().len(), 2, "notes and the models");
}

/// Another store begins to re-embed the collection, and dies with its first batch in the bucket.
async fn leave_half_made(bucket: &MemoryBucket, notes: &Collection) {
    let (faulty, dying) = dying_store(bucket).await;
    let mut puts = 0;
    faulty.set_plan(move |call| {
        puts += u32::from(call.key.contains("/log/") && call.op == Op::Create);
        if puts > 2 { Fault::Die { applied: false } } else { Fault::None }
    });
    let _made = dying.reembed_collection(notes.id(), Reembed::new(new())).await.unwrap();
    while !faulty.is_dead() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn begun_work_can_be_stopped_and_what_was_made_is_dropped() {
    let bucket = bucket();
    let (store, notes) = filled(&bucket, 300).await;
    leave_half_made(&bucket, &notes).await;
    store.sync().await.unwrap();
    let status = store.reembedding(notes.id()).await.unwrap();
    assert_eq!((status.state, status.of, &status.embedder), (ReembedState::Elsewhere, 300, &Some(new())));
    assert!(status.embedded > 0 && status.embedded < 300, "{status:?}");
    let refused = store.reembed_collection(notes.id(), Reembed::new(old())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(store.collections(Consistency::Strong).await.unwrap().len(), 1, "the half-made one is hidden");
    let all = store.admin().all_collections().await.unwrap();
    assert_eq!(all.iter().filter(|info| is_filler(&info.name)).count(), 1);
    store.stop_reembedding(notes.id()).await.unwrap();
    assert_eq!(store.reembedding(notes.id()).await.unwrap().state, ReembedState::None);
    assert_eq!(store.admin().all_collections().await.unwrap().len(), 2, "notes and the models");
    assert_eq!(notes.count(Consistency::Strong).await.unwrap(), 300);
    notes.add([record(300)]).await.unwrap();
}

#[tokio::test]
async fn a_collection_that_is_dropped_meanwhile_leaves_nothing() {
    let bucket = bucket();
    let (store, notes) = filled(&bucket, 300).await;
    leave_half_made(&bucket, &notes).await;
    store.drop_collection("notes").await.unwrap();
    store.admin().maintain().await.unwrap();
    let left = store.admin().all_collections().await.unwrap();
    assert_eq!(left.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), [".models"]);
}

async fn dying_store(bucket: &MemoryBucket) -> (Arc<FaultBucket>, Store) {
    let faulty = Arc::new(FaultBucket::new(Arc::new(bucket.clone())));
    let store = Store::open_on(settings(), faulty.clone()).await.unwrap();
    store.wait_until_loaded().await;
    (faulty, store)
}

/// What happens to one call. The process dies at the end of each case.
const FAULTS: [Fault; 5] = [
    Fault::RefuseBefore,
    Fault::UnknownBefore,
    Fault::UnknownAfter,
    Fault::Die { applied: false },
    Fault::Die { applied: true },
];

/// The faults that a call meets: one, in turn; all of them if `DRUMLIN_FAULT_MATRIX` is `whole`, which takes minutes.
fn faults_of(nth: u64) -> Vec<Fault> {
    match std::env::var("DRUMLIN_FAULT_MATRIX").as_deref() {
        Ok("whole") => FAULTS.to_vec(),
        _ => FAULTS.into_iter().skip(nth as usize % FAULTS.len()).take(1).collect(),
    }
}

/// One case: call number `nth` of the job meets `fault`, while another store writes. Returns how many calls there were.
async fn case(base: &MemoryBucket, nth: u64, fault: Fault) -> u64 {
    let bucket = base.fork();
    let (faulty, store) = dying_store(&bucket).await;
    let writer = open(&bucket).await;
    let notes = store.collection("notes").await.unwrap();
    let theirs = writer.collection("notes").await.unwrap();
    let first = faulty.log().len() as u64;
    faulty.set_plan(move |call: &Call| if call.index == first + nth { fault } else { Fault::None });
    let started = store.clone();
    let source = notes.id();
    let job = tokio::spawn(async move {
        let made = started.reembed_collection(source, Reembed::new(new())).await?;
        made.wait().await
    });
    let changed = || [Record { document: Some("light".into()), ..record(3) }, record(1000)];
    if theirs.upsert(changed()).await.is_err() {
        writer.collection("notes").await.unwrap().upsert(changed()).await.unwrap();
    }
    if theirs.delete(Selection::by_ids(["r4"])).await.is_err() {
        writer.collection("notes").await.unwrap().delete(Selection::by_ids(["r4"])).await.unwrap();
    }
    let ended = async {
        while !faulty.is_dead() && !job.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, ended).await.unwrap_or_else(|_| panic!("call {nth} {fault:?}: no end"));
    let calls = faulty.log().len() as u64 - first;
    faulty.kill();
    job.abort();
    drop((notes, store));
    finish(&bucket, &theirs, (nth, fault)).await;
    calls
}

/// Goes on with it in another store, and looks at what is there then.
async fn finish(bucket: &MemoryBucket, old_handle: &Collection, at: (u64, Fault)) {
    let store = open(bucket).await;
    let mut now = store.collection("notes").await.unwrap();
    if now.info().embedder != Some(new()) {
        let made = store.reembed_collection(now.id(), Reembed::new(new())).await.unwrap();
        now = timeout(LIMIT, made.wait()).await.unwrap().unwrap_or_else(|error| panic!("{at:?}: {error}"));
    }
    let mut expected: Vec<Record> = (0..300).filter(|n| *n != 4).map(record).collect();
    expected[3].document = Some("light".into());
    expected.push(record(1000));
    assert_eq!(without_embeddings(&all(&now).await), expected, "{at:?}");
    check_embeddings(&now).await;
    assert_eq!(old_handle.add([record(7)]).await.unwrap_err().kind(), ErrorKind::NotFound, "{at:?}");
    assert_eq!(now.add([record(2000)]).await.unwrap().applied, 1, "{at:?}");
    store.admin().maintain().await.unwrap();
    let names: Vec<String> = store.admin().all_collections().await.unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, [".models", "notes"], "{at:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whichever_call_of_a_re_embedding_fails_in_whichever_way() {
    let base = bucket();
    let (store, _) = filled(&base, 300).await;
    store.close(LIMIT).await.unwrap();
    let undisturbed = case(&base, u64::MAX / 2, Fault::None).await;
    assert!(undisturbed > 20, "only {undisturbed} calls");
    let mut cases = 0;
    for nth in 0..undisturbed {
        for fault in faults_of(nth) {
            case(&base, nth, fault).await;
            cases += 1;
        }
    }
    println!("{cases} cases, {undisturbed} calls");
}

#[tokio::test]
async fn two_stores_that_do_the_same_work_do_no_harm() {
    let bucket = bucket();
    let (store, notes) = filled(&bucket, 300).await;
    let other = open(&bucket).await;
    let (first, second) = tokio::join!(
        store.reembed_collection(notes.id(), Reembed::new(new())),
        other.reembed_collection(notes.id(), Reembed::new(new()))
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    let (first, second) = tokio::join!(timeout(LIMIT, first.wait()), timeout(LIMIT, second.wait()));
    let (first, second) = (first.unwrap().unwrap(), second.unwrap().unwrap());
    assert_eq!(first.id(), second.id());
    assert_eq!(all(&first).await, all(&second).await);
    assert_eq!(all(&first).await.len(), 300);
    check_embeddings(&first).await;
}

#[tokio::test]
async fn what_was_before_is_restored_from_the_old_collection_and_nothing_that_was_being_filled() {
    let clock = StoreClock::starting_at(StoreTime(1_700_000_000_000));
    let bucket = MemoryBucket::new(clock.clone());
    let (store, notes) = filled(&bucket, 300).await;
    let (before, then) = (all(&notes).await, clock.now().0);
    clock.set_skew_ms(60_000);
    let made = store.reembed_collection(notes.id(), Reembed::new(new())).await.unwrap();
    let after = timeout(LIMIT, made.wait()).await.unwrap().unwrap();
    clock.set_skew_ms(120_000);
    let (whole, at) = (after.info().version, clock.now().0);
    clock.set_skew_ms(180_000);
    after.delete(Selection::by_ids(["r1"])).await.unwrap();

    let admin = store.admin();
    let page = admin.versions("notes", None, 100).await.unwrap();
    let versions: Vec<u64> = page.versions.iter().map(|line| line.version.0).collect();
    assert_eq!((versions, page.oldest), (vec![whole.0 + 1, whole.0], whole));
    assert_eq!(admin.past_of("notes").await.unwrap().unwrap().oldest, whole);
    let half = Version(whole.0 - 1);
    for version in [Version(1), half] {
        let refused = admin.restore_collection("notes", Moment::Version(version), "half").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
        assert!(refused.message().contains(&format!("versions {whole} to ")), "{refused}");
        assert_eq!(store.collection_at("notes", Some(version)).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let (restored, version) = admin.restore_collection("notes", Moment::Time(at), "whole").await.unwrap();
    assert_eq!((version, restored.count(Consistency::Local).await.unwrap()), (whole, 300));
    let (restored, _) = admin.restore_collection("notes", Moment::Time(then), "before").await.unwrap();
    assert_eq!(all(&restored).await, before, "with the embeddings of then");
    assert_eq!(restored.info().embedder, Some(old()));
    let (restored, version) = admin.restore_collection("notes", Moment::Version(whole), "again").await.unwrap();
    assert_eq!((version, restored.count(Consistency::Local).await.unwrap()), (whole, 300));
}

#[tokio::test]
async fn reads_of_the_old_handle_go_on_during_the_handover() {
    let bucket = bucket();
    let (store, notes) = filled(&bucket, 300).await;
    let (faulty, slow) = dying_store(&bucket).await;
    // Once it has asked writers to wait, the catalog never hears of it from this store.
    let (log, mut asked) = (format!("c/{}/log/", notes.id()), false);
    faulty.set_plan(move |call| {
        asked |= call.op == Op::Create && call.key.starts_with(&log);
        match asked && call.op == Op::Create && call.key.starts_with("catalog/log/") {
            true => Fault::RefuseBefore,
            false => Fault::None,
        }
    });
    let _made = slow.reembed_collection(notes.id(), Reembed::new(new())).await.unwrap();
    let held = slow.collection("notes").await.unwrap();
    let get = || Get { include: Include::ALL, ..Get::by_ids(["r1"]) };
    // The first was that of the new collection.
    while faulty.log().iter().filter(|call| call.key.starts_with("catalog/log") && call.op == Op::Create).count() < 2 {
        assert_eq!(held.get(get()).await.unwrap().records.len(), 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(held.get(get()).await.unwrap().records.len(), 1, "it has ended, and still answers");
    // Another store finishes it when it meets the name.
    let there = store.collection("notes").await.unwrap();
    assert_eq!(there.count(Consistency::Strong).await.unwrap_err().kind(), ErrorKind::NotFound);
    let there = store.collection("notes").await.unwrap();
    assert_eq!((there.count(Consistency::Strong).await.unwrap(), there.info().embedder), (300, Some(new())));
}
