//! `verify` against damage: a sound bucket is called sound, of a bucket damaged in 200 seeded ways every
//! damaged object is named (but for the newest commits deleted, which nothing witnesses), and no store serves
//! what is damaged as if it were right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drumlin::admin::CollectionSelector;
use drumlin::admin::check_report::{BucketCheck, Severity};
use drumlin::answers::Found;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::check;
use drumlin::testing::format::head::{Head, Retired};
use drumlin::{CollectionSpec, ErrorKind, Metric, ServingState, Store};
use drumlin_test_support::bucket_check::Content;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::past::{Past, all_of, settings};

const NAMES: [&str; 2] = ["first", "second"];

async fn open(bucket: &MemoryBucket) -> drumlin::Result<Store> {
    let store = Store::open_on(settings(), Arc::new(bucket.clone())).await?;
    store.wait_until_loaded().await;
    Ok(store)
}

async fn verify(bucket: &MemoryBucket) -> drumlin::Result<BucketCheck> {
    check::verify(Arc::new(bucket.clone()), &CollectionSelector::default(), &settings().timing).await
}

/// A bucket with a past.
struct Ground {
    content: Content,
    /// HEADs as they once stood.
    old_heads: Vec<(String, Bytes)>,
    /// What each collection holds.
    truth: BTreeMap<String, Vec<Found>>,
}

/// Two collections with segments, graphs, lists of what was replaced, a log below the floor and a tail.
async fn ground() -> Ground {
    let bucket = MemoryBucket::new(StoreClock::machine());
    let store = open(&bucket).await.unwrap();
    let (mut old_heads, mut truth) = (Vec::new(), BTreeMap::new());
    for (seed, name) in (40..).zip(NAMES) {
        let spec = CollectionSpec::new(name).metric(Metric::L2);
        let collection = store.create_collection(spec).await.unwrap();
        let mut past = Past::new(seed);
        for _ in 0..7 {
            past.live_on(&collection, 12).await;
            store.sync().await.unwrap();
            past.search_words(&collection).await;
            store.admin().maintain().await.unwrap();
            let content = Content::read(&bucket).await;
            old_heads.extend(content.objects.into_iter().filter(|(key, _)| key.ends_with("/HEAD")));
        }
        past.live_on(&collection, 9).await;
        truth.insert(name.to_owned(), past.now().clone());
    }
    let content = Content::read(&bucket).await;
    content.check().unwrap();
    old_heads.retain(|(key, head)| content.objects[key] != *head);
    Ground { content, old_heads, truth }
}

async fn bucket_of(objects: &BTreeMap<String, Bytes>) -> MemoryBucket {
    let bucket = MemoryBucket::new(StoreClock::machine());
    Content { objects: objects.clone(), date: None }.write(&bucket).await;
    bucket
}

/// The objects whose damage must be seen: all that HEADs name, the log from `gone` on, and what makes it a store.
fn telling(content: &Content) -> Vec<String> {
    let mut telling: BTreeSet<String> = BTreeSet::from(["drumlin.json".to_owned()]);
    telling.extend(content.objects.keys().filter(|key| key.starts_with("probe/")).cloned());
    for stream in content.streams() {
        let head = Head::decode(&content.objects[&format!("{stream}/HEAD")], &stream).unwrap();
        telling.insert(format!("{stream}/HEAD"));
        telling.extend(head.objects().cloned());
        for entry in &head.retired {
            let key = format!("{stream}/retired/{}.json", entry.ulid);
            telling.extend(Retired::decode(&content.objects[&key], &stream, entry.ulid).unwrap().keys());
            telling.insert(key);
        }
        let log = format!("{stream}/log/");
        telling.extend(content.objects.keys().filter(|key| key.starts_with(&log)).cloned());
    }
    telling.retain(|key| content.objects.contains_key(key));
    telling.into_iter().collect()
}

#[derive(Debug)]
enum Harm {
    Flip { at: usize, bit: u8 },
    Truncate { to: usize },
    Swap { with: String },
    Delete,
    OldHead(usize),
}

/// One seeded harm, and the object it is done to.
fn harm(random: &mut StdRng, ground: &Ground, keys: &[String]) -> (String, Harm) {
    let key = keys[random.random_range(0..keys.len())].clone();
    let size = ground.content.objects[&key].len();
    match random.random_range(0..10) {
        0..5 => (key, Harm::Flip { at: random.random_range(0..size), bit: random.random_range(0..8) }),
        5..7 => (key, Harm::Truncate { to: random.random_range(0..size) }),
        7 => {
            let folder = |key: &str| key.rsplit('/').nth(1).unwrap_or_default().to_owned();
            let alike = |other: &&String| {
                let heads = key.ends_with("/HEAD") && other.ends_with("/HEAD");
                **other != key && (heads || (folder(other) == folder(&key) && !other.ends_with("/HEAD")))
            };
            let others: Vec<&String> = keys.iter().filter(alike).collect();
            match others.is_empty() {
                true => (key, Harm::Truncate { to: 0 }),
                false => (key, Harm::Swap { with: others[random.random_range(0..others.len())].clone() }),
            }
        }
        // A mark that is not there is no damage: the next start probes again.
        8 if key.starts_with("probe/") => (key, Harm::Truncate { to: 0 }),
        8 => (key, Harm::Delete),
        _ => {
            let old = random.random_range(0..ground.old_heads.len());
            (ground.old_heads[old].0.clone(), Harm::OldHead(old))
        }
    }
}

/// Does it; the keys that are damaged then.
fn hurt(objects: &mut BTreeMap<String, Bytes>, ground: &Ground, key: &str, harm: &Harm) -> Vec<String> {
    let before = objects[key].clone();
    let mut damaged = vec![key.to_owned()];
    match harm {
        Harm::Flip { at, bit } => {
            let mut bytes = before.to_vec();
            bytes[*at] ^= 1 << bit;
            objects.insert(key.to_owned(), bytes.into());
        }
        Harm::Truncate { to } => drop(objects.insert(key.to_owned(), before.slice(..*to))),
        Harm::Swap { with } => {
            let other = objects.insert(with.clone(), before).unwrap();
            objects.insert(key.to_owned(), other);
            damaged.push(with.clone());
        }
        Harm::Delete => drop(objects.remove(key)),
        Harm::OldHead(old) => drop(objects.insert(key.to_owned(), ground.old_heads[*old].1.clone())),
    }
    damaged.retain(|key| objects.get(key) != ground.content.objects.get(key));
    damaged
}

/// Whether the object is the newest commit of its stream: a log that ends before it is a log like any other,
/// unless segments hold it.
fn is_newest_commit(ground: &Ground, key: &str) -> bool {
    let Some((stream, _)) = key.rsplit_once("/log/") else { return false };
    let log = format!("{stream}/log/");
    ground.content.objects.keys().rfind(|other| other.starts_with(&log)).is_some_and(|newest| newest == key)
}

#[tokio::test]
async fn a_sound_bucket_is_sound_and_nothing_is_written_to_it() {
    let ground = ground().await;
    let bucket = bucket_of(&ground.content.objects).await;
    let check = verify(&bucket).await.unwrap();
    let wrong: Vec<_> = check.all_findings().collect();
    assert!(check.sound && wrong.is_empty(), "{wrong:#?}");
    assert_eq!(Content::read(&bucket).await.objects, ground.content.objects);
    let counted = check.streams.iter().filter(|stream| stream.stream != "catalog");
    let counted: BTreeMap<String, u64> = counted.map(|s| (s.name.clone().unwrap(), s.records)).collect();
    let truth = ground.truth.iter();
    let truth = truth.map(|(name, found)| (format!("default_tenant/default_database/{name}"), found.len() as u64));
    assert_eq!(counted, truth.collect());
    let objects = telling(&ground.content).len() as u64;
    assert_eq!(check.checked.objects, objects - 2, "everything is counted but drumlin.json and the probe's mark");
    for part in ["/seg/", "/graph/", "/inverted/", "/retired/", "/log/"] {
        assert!(telling(&ground.content).iter().any(|key| key.starts_with("c/") && key.contains(part)), "{part}");
    }
}

#[tokio::test]
async fn of_200_seeded_damages_every_damaged_object_is_named_and_none_is_served_as_right() {
    let ground = ground().await;
    let keys = telling(&ground.content);
    let mut kinds: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let (key, harm) = harm(&mut random, &ground, &keys);
        let case = format!("seed {seed}: {key} {harm:?}");
        let mut objects = ground.content.objects.clone();
        let damaged = hurt(&mut objects, &ground, &key, &harm);
        let bucket = bucket_of(&objects).await;
        let check = verify(&bucket).await.unwrap_or_else(|e| panic!("{case}: {e}"));
        let told: BTreeSet<&str> =
            check.all_findings().filter(|f| f.severity != Severity::Note).map(|f| f.key.as_str()).collect();
        let unnamed: Vec<&String> = damaged.iter().filter(|key| !told.contains(key.as_str())).collect();
        // Nothing in a bucket can say that there was one commit more.
        let newest = matches!(harm, Harm::Delete) && is_newest_commit(&ground, &key);
        let seen = unnamed.is_empty();
        let findings = || check.all_findings().collect::<Vec<_>>();
        assert!(seen || newest, "{case}: {unnamed:?} not named: {:#?}", findings());
        served_right_or_not_at_all(&bucket, &ground, &case, newest).await;
        assert!(check.all_findings().all(|f| !f.cause.is_empty() && !f.remedy.is_empty()), "{case}");
        let kind = match harm {
            Harm::Flip { .. } => "flip",
            Harm::Truncate { .. } => "truncation",
            Harm::Swap { .. } => "swap",
            Harm::Delete => "deletion",
            Harm::OldHead(_) => "old head",
        };
        *kinds.entry((kind, seen)).or_default() += 1;
    }
    let unwitnessable: usize = kinds.iter().filter(|((_, seen), _)| !seen).map(|(_, n)| n).sum();
    println!("{kinds:?}; unwitnessable, the newest commits deleted: {unwitnessable} of 200");
    assert!(kinds.keys().all(|(kind, seen)| *seen || *kind == "deletion"), "{kinds:?}");
}

#[tokio::test]
async fn every_old_head_that_is_put_back_after_a_flush_is_named() {
    let ground = ground().await;
    assert!(ground.old_heads.len() > 12, "{}", ground.old_heads.len());
    for (key, head) in &ground.old_heads {
        let mut objects = ground.content.objects.clone();
        objects.insert(key.clone(), head.clone());
        let check = verify(&bucket_of(&objects).await).await.unwrap();
        let mut told = check.all_findings().filter(|finding| finding.severity != Severity::Note);
        assert!(told.any(|finding| finding.key == *key), "{key}: {}", String::from_utf8_lossy(head));
    }
}

/// What the excuse of the test above is worth: the newest commits can go one by one without a trace, back to
/// the floor, and not one of those that are in segments.
#[tokio::test]
async fn of_deleted_objects_only_the_newest_commits_of_an_unflushed_tail_are_missed() {
    let ground = ground().await;
    let mut missed = 0;
    for stream in ground.content.streams() {
        let head = Head::decode(&ground.content.objects[&format!("{stream}/HEAD")], &stream).unwrap();
        let covered = head.graphs.last().map_or(0, |graph| graph.hi.0).max(head.floor.0 - 1);
        let prefix = format!("{stream}/log/");
        let log: Vec<&String> = ground.content.objects.keys().filter(|key| key.starts_with(&prefix)).collect();
        let mut objects = ground.content.objects.clone();
        for key in log.into_iter().rev() {
            let version: u64 = key[prefix.len()..].strip_suffix(".parquet").unwrap().parse().unwrap();
            objects.remove(key);
            let check = verify(&bucket_of(&objects).await).await.unwrap();
            let of = check.streams.iter().find(|of| of.stream == stream).unwrap();
            if version > covered {
                missed += 1;
                assert!(check.sound && check.all_findings().count() == 0, "{key}: {:#?}", of.findings);
                assert_eq!(of.version.0, version - 1, "{key}");
            } else {
                assert!(of.findings.damaged_keys().any(|damaged| damaged == key), "{key}: {:#?}", of.findings);
                break;
            }
        }
    }
    assert!(missed >= 3, "only {missed} commits were in a tail");
}

/// Opens a store there: what it serves is the truth, or it is called damaged. `newest`: the newest commit is
/// missing, so that the truth is one commit further.
async fn served_right_or_not_at_all(bucket: &MemoryBucket, ground: &Ground, case: &str, newest: bool) {
    let store = match open(bucket).await {
        Ok(store) => store,
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Corrupted, "{case}: {error}"),
    };
    for name in NAMES {
        let collection = match store.collection(name).await {
            Ok(collection) => collection,
            Err(error) => {
                assert!(newest || error.kind() == ErrorKind::Corrupted, "{case}: {error}");
                continue;
            }
        };
        assert_eq!(collection.info().state, ServingState::Ready, "{case}");
        assert!(
            newest || all_of(&collection).await == ground.truth[name],
            "{case}: {name} is served with other records"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_written_flushed_and_cleaned_meanwhile_is_sound() {
    let bucket = MemoryBucket::new(StoreClock::machine());
    let mut busy = settings();
    busy.timing.garbage = Duration::from_millis(500);
    let store = Store::open_on(busy, Arc::new(bucket.clone())).await.unwrap();
    let spec = CollectionSpec::new("busy").metric(Metric::L2);
    let collection = store.create_collection(spec).await.unwrap();
    let mut past = Past::new(70);
    let writing = tokio::spawn(async move {
        for _ in 0..60 {
            past.live_on(&collection, 5).await;
            store.sync().await.unwrap();
            store.admin().maintain().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut versions = BTreeSet::new();
    while !writing.is_finished() {
        let check = verify(&bucket).await.unwrap();
        assert!(check.sound, "{:#?}", check.all_findings().collect::<Vec<_>>());
        versions.extend(check.streams.iter().map(|stream| stream.version));
    }
    writing.await.unwrap();
    assert!(versions.len() > 5, "{versions:?}");
}

#[tokio::test]
async fn what_is_no_store_is_not_called_sound() {
    let bucket = MemoryBucket::new(StoreClock::machine());
    assert_eq!(verify(&bucket).await.unwrap_err().kind(), ErrorKind::NotFound);
    let chosen = CollectionSelector { collection: Some("third".to_owned()), ..CollectionSelector::default() };
    let ground = ground().await;
    let bucket = bucket_of(&ground.content.objects).await;
    let error = check::verify(Arc::new(bucket.clone()), &chosen, &settings().timing).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("third"), "{error}");
    let chosen = CollectionSelector { collection: Some("second".to_owned()), ..CollectionSelector::default() };
    let check = check::verify(Arc::new(bucket), &chosen, &settings().timing).await.unwrap();
    let names: Vec<Option<&str>> = check.streams.iter().map(|stream| stream.name.as_deref()).collect();
    assert_eq!(names, [Some("the catalog"), Some("default_tenant/default_database/second")]);
}
