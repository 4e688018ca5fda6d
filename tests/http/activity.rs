//! What a store tells of the moment: queues, caches, and how far behind others it may be; and that nothing goes
//! on once nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use drumlin::http::HttpSettings;
use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::fault::{FaultBucket, Hold};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, StoreTime};
use drumlin::{CollectionSpec, Filter, Metadata, Query, Record, Settings, Storage, Store};
use drumlin_test_support::server::Server;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.sync_interval = Duration::from_secs(1 << 24);
    settings
}

fn memory() -> Arc<MemoryBucket> {
    Arc::new(MemoryBucket::new(StoreClock::starting_at(StoreTime(1_700_000_000_000))))
}

fn record(id: &str) -> Record {
    Record::new(id, vec![1.0, 2.0]).with_metadata(Metadata::from([("n", 1)]))
}

async fn open(bucket: Arc<dyn Bucket>) -> Store {
    let store = Store::open_on(settings(), bucket).await.unwrap();
    store.wait_until_loaded().await;
    store
}

#[tokio::test(start_paused = true)]
async fn the_lag_grows_until_the_log_was_read_to_its_end_or_written_at_it() {
    let bucket = memory();
    let writer = open(bucket.clone()).await;
    let notes = writer.create_collection(CollectionSpec::new("notes")).await.unwrap();
    let reader = open(bucket).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    for store in [&writer, &reader] {
        let now = store.admin().activity();
        assert!(now.lag_seconds >= 299.0 && now.catalog_lag_seconds >= 299.0, "{now:?}");
    }
    notes.add([record("a")]).await.unwrap();
    assert!(writer.admin().activity().lag_seconds < 1.0 && reader.admin().activity().lag_seconds >= 299.0);
    reader.sync().await.unwrap();
    let now = reader.admin().activity();
    assert!(now.lag_seconds < 1.0 && now.catalog_lag_seconds < 1.0, "{now:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_until_it_is_durable_and_is_in_no_segment_until_a_flush() {
    let bucket = Arc::new(FaultBucket::new(memory()));
    let store = open(bucket.clone()).await;
    let notes = store.create_collection(CollectionSpec::new("notes")).await.unwrap();
    let (idle, gate) = (store.admin().activity(), bucket.hold(Hold::Before, |call| call.op == Op::Create));
    assert_eq!(idle.writes_waiting, 0);
    let write = tokio::spawn(async move { notes.add([record("a")]).await });
    while gate.held() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.admin().activity().writes_waiting, 1);
    gate.release();
    write.await.unwrap().unwrap();
    let now = store.admin().activity();
    assert_eq!((now.writes_waiting, now.commits_unflushed), (0, idle.commits_unflushed + 1));
    store.sync().await.unwrap();
    assert_eq!(store.admin().activity().commits_unflushed, 0);
}

#[tokio::test]
async fn the_first_filter_arranges_metadata_and_graphs_tell_what_they_took() {
    let mut settings = settings();
    (settings.maintenance, settings.timing.graph_rows) = (true, 8);
    settings.timing.maintenance_interval = Duration::from_millis(10);
    let store = Store::open_on(settings, memory()).await.unwrap();
    let notes = store.create_collection(CollectionSpec::new("notes")).await.unwrap();
    let records: Vec<Record> = (0..200).map(|n| record(&n.to_string())).collect();
    notes.add(records.clone()).await.unwrap();
    let before = store.admin().activity();
    assert_eq!((before.chunks_arranged, before.filter_bytes), (0, 0));
    notes.search(Query::new([1.0, 2.0]).filter(Filter::gte("n", 1))).await.unwrap();
    let after = store.admin().activity();
    assert!(after.chunks_arranged > 0 && after.chunks_arranged <= after.chunks && after.filter_bytes > 0, "{after:?}");
    while store.admin().counters().graphs_built == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(store.admin().activity().build_seconds > 0.0);
}

/// A server with one search thread, and a collection of records with documents of so many letters.
async fn with_documents(records: usize, letters: usize, request_timeout: Duration) -> Server {
    let settings = Settings { search_threads: 1, ..settings() };
    let server = Server::with(settings, HttpSettings { request_timeout, ..HttpSettings::default() }).await;
    let notes = server.store.create_collection(CollectionSpec::new("notes")).await.unwrap();
    let document = "x".repeat(letters);
    let records = (0..records).map(|n| Record { document: Some(document.clone()), ..record(&n.to_string()) });
    notes.add(records).await.unwrap();
    server
}

/// A server and a get that it would compute for minutes.
async fn with_much_to_do(request_timeout: Duration) -> (Server, Value) {
    let get = json!({"where_document": {"$regex": "x{5000}y"}, "include": []});
    (with_documents(3000, 5000, request_timeout).await, get)
}

/// Waits until no search thread computes.
async fn idle(server: &Server) {
    let waited = async {
        while server.store.admin().activity().search_threads_busy > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect("a search goes on though nobody waits for it");
}

#[tokio::test]
async fn a_search_ends_with_the_time_of_its_request() {
    let (server, get) = with_much_to_do(Duration::from_millis(200)).await;
    let answer = server.post("/api/collections/notes/get", &get).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    idle(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_search_ends_when_its_client_is_gone() {
    let (server, get) = with_much_to_do(Duration::from_secs(600)).await;
    let body = get.to_string();
    let head = format!(
        "POST /api/collections/notes/get HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    while server.store.admin().activity().search_threads_busy == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(client);
    idle(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_pattern_that_is_too_large_for_a_document_is_refused_by_both_apis_and_by_a_delete() {
    let server = with_documents(1, 100_000, Duration::from_secs(600)).await;
    let pattern = json!({"where_document": {"$regex": "x{100000}"}});
    let id = server.get("/api/collections/notes").await.json()["id"].as_str().unwrap().to_owned();
    let chroma = format!("/api/v2/tenants/default_tenant/databases/default_database/collections/{id}/get");
    for path in ["/api/collections/notes/get", "/api/collections/notes/delete", &chroma] {
        let answer = server.post(path, &pattern).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(answer.text().contains("100000 bytes") && answer.text().contains("states"), "{}", answer.text());
    }
    let kept = server.store.collection("notes").await.unwrap();
    assert_eq!(kept.count(drumlin::Consistency::Local).await.unwrap(), 1);
    server.stop().await;
}
