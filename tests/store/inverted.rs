//! Inverted indexes through the store: built in the background, stored beside their segments, loaded at the next start
//! instead of being built by a search, copied by forks, and never needed for a right answer. Truth is the answer of a
//! store that never stored any.

use std::sync::Arc;
use std::time::Duration;

use drumlin::admin::CollectionSelector;
use drumlin::searches::{Combination, LeafQuery, LeafSearch, RankedSearch, Ranking};
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, PutCondition};
use drumlin::testing::check;
use drumlin::testing::format::head::Head;
use drumlin::text::{QueryOptions, TextQuery};
use drumlin::{
    Collection, CollectionSpec, Include, MetaValue, Metadata, Record, Settings, SparseVector, Storage, Store,
};
use drumlin_test_support::bucket_check::Content;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const WORDS: [&str; 8] = ["quick", "brown", "fox", "lazy", "dog", "sleeps", "runs", "under"];
const QUERIES: [&str; 4] = ["quick fox", "+dog -lazy", "\"brown fox\"", "sleeps under dogs"];

fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    (settings.timing.inverted_rows, settings.timing.fan_out) = (2, 3);
    settings.timing.swap_interval = Duration::ZERO;
    settings
}

async fn open(bucket: &MemoryBucket) -> Store {
    let store = Store::open_on(settings(), Arc::new(bucket.clone())).await.unwrap();
    store.wait_until_loaded().await;
    store
}

fn record(random: &mut StdRng, id: usize) -> Record {
    let words: Vec<&str> = (0..random.random_range(1..9)).map(|_| WORDS[random.random_range(0..8)]).collect();
    let weight = |random: &mut StdRng| random.random_range(0.1..2.0);
    let vector = SparseVector::new(vec![id as u32 % 3, 5, 7 + id as u32 % 5], (0..3).map(|_| weight(random)).collect());
    let mut metadata = Metadata::default();
    if !id.is_multiple_of(7) {
        metadata.0.insert("splade".to_owned(), MetaValue::Sparse(vector.unwrap()));
    }
    Record {
        document: (!id.is_multiple_of(11)).then(|| words.join(" ")),
        metadata: Some(metadata),
        ..Record::new(format!("r{id}"), vec![random.random(), random.random()])
    }
}

/// Ids and scores of the best ten of each query.
async fn answers(collection: &Collection) -> Vec<Vec<(String, f32)>> {
    let analyser = collection.analyser().unwrap();
    let text = |words: &&str| LeafQuery::Text {
        query: TextQuery::parse(words, &analyser, &QueryOptions::default()).unwrap(),
        analyser: analyser.clone(),
    };
    let vector = SparseVector::new(vec![0, 5, 8], vec![1.0, 0.5, 2.0]).unwrap();
    let sparse = LeafQuery::Sparse { key: "splade".to_owned(), vector, idf: true };
    let searches = QUERIES.iter().map(text).chain([sparse]).map(|query| RankedSearch {
        rank: Some(Ranking { combination: Combination::Single, leaves: vec![LeafSearch { query, limit: 10 }] }),
        limit: Some(10),
        ..RankedSearch::default()
    });
    let found = collection.rank(searches.collect(), 10).await.unwrap();
    let row = |rows: &drumlin::searches::RankedRows, place| {
        let found = rows.part(place, Include::default()).unwrap().unwrap();
        (found.id, rows.score(place).unwrap())
    };
    found.iter().map(|rows| (0..rows.len()).map(|place| row(rows, place)).collect()).collect()
}

/// Writes a while: adds, replacements and deletions over several segments and a tail, with maintenance in between.
async fn live(store: &Store, collection: &Collection, random: &mut StdRng) {
    for round in 0..4 {
        let from = round * 60;
        collection.upsert((from..from + 80).map(|id| record(random, id)).collect::<Vec<_>>()).await.unwrap();
        collection
            .delete(drumlin::Selection::by_ids([format!("r{}", from + 3), format!("r{}", from + 70)]))
            .await
            .unwrap();
        if round < 3 {
            store.sync().await.unwrap();
            // Searches say which indexes are of use.
            answers(collection).await;
            store.admin().maintain().await.unwrap();
        }
    }
}

async fn sound(bucket: &MemoryBucket) {
    let check = check::verify(Arc::new(bucket.clone()), &CollectionSelector::default(), &settings().timing).await;
    let check = check.unwrap();
    assert!(check.sound, "{:?}", check.all_findings().collect::<Vec<_>>());
}

/// Keys of the stored inverted indexes.
async fn stored(bucket: &MemoryBucket) -> Vec<String> {
    let keys = Content::read(bucket).await.objects.into_keys();
    keys.filter(|key| key.contains("/inverted/")).collect()
}

/// Keys of the inverted indexes that the collection's HEAD names.
async fn named(bucket: &MemoryBucket) -> Vec<String> {
    let objects = Content::read(bucket).await.objects;
    let (key, head) = objects.iter().find(|(key, _)| key.starts_with("c/") && key.ends_with("/HEAD")).unwrap();
    let head = Head::decode(head, key.strip_suffix("/HEAD").unwrap()).unwrap();
    head.segs.iter().flat_map(|segment| &segment.inverted).map(|entry| entry.key.clone()).collect()
}

#[tokio::test]
async fn a_restart_loads_the_inverted_indexes_and_answers_as_if_it_had_built_them() {
    let bucket = MemoryBucket::new(StoreClock::machine());
    let mut random = StdRng::seed_from_u64(31);
    let store = open(&bucket).await;
    let collection = store.create_collection(CollectionSpec::new("words")).await.unwrap();
    live(&store, &collection, &mut random).await;
    let expected = answers(&collection).await;
    assert!(expected.iter().all(|found| !found.is_empty()), "{expected:?}");
    assert!(store.admin().counters().inverted_stored >= 1, "{:?}", store.admin().counters());
    // Killed: what a close would flush stays in the log.
    drop((collection, store));
    assert!(stored(&bucket).await.len() >= 2, "of documents and of sparse vectors");
    sound(&bucket).await;

    let store = open(&bucket).await;
    let counters = store.admin().counters();
    assert!(counters.inverted_loaded >= 2, "{counters:?}");
    let collection = store.collection("words").await.unwrap();
    assert_eq!(answers(&collection).await, expected);
    let fork = store.fork_collection(collection.identity().id, "copy").await.unwrap();
    assert_eq!(answers(&fork).await, expected);
    drop((fork, collection, store));
    sound(&bucket).await;

    let store = open(&bucket).await;
    let loaded = store.admin().counters().inverted_loaded;
    assert!(loaded >= 2 * counters.inverted_loaded, "the fork has its copies: {loaded}");
    assert_eq!(answers(&store.collection("copy").await.unwrap()).await, expected);
}

#[tokio::test]
async fn what_is_damaged_or_missing_is_built_anew_and_replaced() {
    let bucket = MemoryBucket::new(StoreClock::machine());
    let mut random = StdRng::seed_from_u64(32);
    let store = open(&bucket).await;
    let collection = store.create_collection(CollectionSpec::new("words")).await.unwrap();
    live(&store, &collection, &mut random).await;
    let expected = answers(&collection).await;
    drop((collection, store));
    let keys = named(&bucket).await;
    let (first, others) = keys.split_first().unwrap();
    bucket.delete(std::slice::from_ref(first)).await.unwrap();
    for key in others {
        let mut bytes = bucket.get(key, None).await.unwrap().bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bucket.put(key, bytes.into(), PutCondition::Always).await.unwrap();
    }
    let check = check::verify(Arc::new(bucket.clone()), &CollectionSelector::default(), &settings().timing).await;
    let named: Vec<String> = check.unwrap().all_findings().map(|finding| finding.key.clone()).collect();
    assert!(keys.iter().all(|key| named.contains(key)), "{named:?}");

    let store = open(&bucket).await;
    assert_eq!(store.admin().counters().inverted_loaded, 0);
    let collection = store.collection("words").await.unwrap();
    assert_eq!(answers(&collection).await, expected);
    collection.upsert([record(&mut random, 900)]).await.unwrap();
    let expected = answers(&collection).await;
    store.admin().maintain().await.unwrap();
    drop((collection, store));
    sound(&bucket).await;

    let store = open(&bucket).await;
    assert!(store.admin().counters().inverted_loaded >= 2);
    assert_eq!(answers(&store.collection("words").await.unwrap()).await, expected);
}

#[tokio::test]
async fn collections_that_nobody_searches_by_words_have_no_inverted_index() {
    let bucket = MemoryBucket::new(StoreClock::machine());
    let mut random = StdRng::seed_from_u64(33);
    let store = open(&bucket).await;
    let collection = store.create_collection(CollectionSpec::new("vectors")).await.unwrap();
    collection.add((0..50).map(|id| record(&mut random, id)).collect::<Vec<_>>()).await.unwrap();
    collection.search(drumlin::Query::new(vec![0.5, 0.5])).await.unwrap();
    store.admin().maintain().await.unwrap();
    assert_eq!(stored(&bucket).await, Vec::<String>::new());
    assert_eq!(store.admin().counters().inverted_stored, 0);
}

#[tokio::test]
async fn a_fork_does_without_an_index_that_is_lost() {
    let bucket = MemoryBucket::new(StoreClock::machine());
    let mut random = StdRng::seed_from_u64(35);
    let store = open(&bucket).await;
    let collection = store.create_collection(CollectionSpec::new("words")).await.unwrap();
    live(&store, &collection, &mut random).await;
    let expected = answers(&collection).await;
    let lost = named(&bucket).await;
    assert!(!lost.is_empty());
    bucket.delete(&lost).await.unwrap();
    let fork = store.fork_collection(collection.identity().id, "copy").await.unwrap();
    assert_eq!(answers(&fork).await, expected);
}

#[tokio::test]
async fn searches_under_keys_that_no_record_has_leave_no_index_and_stop_none() {
    let bucket = MemoryBucket::new(StoreClock::machine());
    let mut random = StdRng::seed_from_u64(34);
    let store = open(&bucket).await;
    let collection = store.create_collection(CollectionSpec::new("words")).await.unwrap();
    collection.upsert((0..80).map(|id| record(&mut random, id)).collect::<Vec<_>>()).await.unwrap();
    for typo in 0..70 {
        let vector = SparseVector::new(vec![1], vec![1.0]).unwrap();
        let query = LeafQuery::Sparse { key: format!("typo{typo}"), vector, idf: false };
        collection.rank(vec![RankedSearch::single(query, 1)], 1).await.unwrap();
    }
    answers(&collection).await;
    store.sync().await.unwrap();
    store.admin().maintain().await.unwrap();
    assert_eq!(named(&bucket).await.len(), 2, "of documents and of the key splade");
}
