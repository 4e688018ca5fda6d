//! Each route's happy path and the shape of its answer, over real HTTP on a store in memory; then what
//! surrounds the routes: limits on time and number, many clients at once, stopping in order.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, UInt32Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

const C: &str = "/api/collections/things";
const ARROW: &str = "application/vnd.apache.arrow.stream";

async fn start() -> Server {
    Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await
}

/// A server with a collection of three records in the plane, by squared Euclidean distance.
async fn with_things() -> Server {
    let server = start().await;
    let created = server.post("/api/collections", &json!({"name": "things", "metric": "l2"})).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let records = json!({"records": [
        {"id": "a", "embedding": [0, 0], "document": "origin", "metadata": {"n": 1, "f": 1.0, "tags": ["x", "y"]}},
        {"id": "b", "embedding": [1, 0], "uri": "file:///b", "metadata": {"n": 2}},
        {"id": "c", "embedding": [0.1, 3], "document": "far"},
    ]});
    let added = server.post(&format!("{C}/add"), &records).await;
    assert_eq!((added.status, added.json()), (201, json!({"added": 3, "skipped": 0, "version": 1})));
    server
}

#[tokio::test]
async fn a_collection_is_created_listed_described_and_dropped() {
    let server = start().await;
    let spec = json!({"name": "one", "metric": "ip", "dimension": 4, "metadata": {"owner": "me"}, "index": {"m": 8}});
    let created = server.post("/api/collections", &spec).await;
    assert_eq!(created.status, 201);
    let mut body = created.json();
    assert!(body["id"].as_str().is_some_and(|id| id.len() == 36), "{body}");
    body["id"] = Value::Null;
    let index = json!({"builder": "drumlin", "m": 8, "ef_construction": 100, "ef_search": null});
    let expected = json!({
        "id": null, "name": "one", "tenant": "default_tenant", "database": "default_database", "metric": "ip",
        "dimension": 4, "count": 0, "version": 0, "memory_bytes": 0, "metadata": {"owner": "me"}, "index": index,
        "state": "ready",
        "text": {
            "language": "english", "stemming": true, "stemmer": "snowball3", "k1": 1.2, "b": 0.75, "avg_doc_length": 256.0,
            "token_max_length": 40,
        },
    });
    assert_eq!(body, expected);
    assert_eq!(server.get("/api/collections/one").await.json(), created.json());
    assert_eq!(server.get("/api/collections").await.json(), json!([created.json()]));
    let dropped = server.send("DELETE", "/api/collections/one", &[], b"").await;
    assert_eq!((dropped.status, dropped.json()), (200, json!({"dropped": "one"})));
    assert_eq!(server.get("/api/collections/one").await.status, 404);
    assert_eq!(server.get("/api/collections").await.json(), json!([]));
    assert_eq!(server.post("/api/collections", &spec).await.status, 201, "the name is free again");
    server.stop().await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_has_no_collections_and_takes_none() {
    let server = with_things().await;
    for elsewhere in ["?tenant=t", "?database=d", "?tenant=t&database=d"] {
        let created = server.post(&format!("/api/collections{elsewhere}"), &json!({"name": "things"})).await;
        assert_eq!((created.status, &created.json()["error"]["kind"]), (404, &json!("not_found")), "{elsewhere}");
        assert_eq!(server.get(&format!("/api/collections{elsewhere}")).await.json(), json!([]));
        assert_eq!(server.get(&format!("{C}/count{elsewhere}")).await.status, 404);
    }
    let here = "?tenant=default_tenant&database=default_database";
    assert_eq!(server.get(&format!("{C}/count{here}")).await.json(), json!({"count": 3}));
    server.stop().await;
}

#[tokio::test]
async fn what_was_written_is_read_at_once_exactly_as_it_was() {
    let server = with_things().await;
    let get = json!({"include": ["embedding", "document", "uri", "metadata"]});
    let got = server.post(&format!("{C}/get"), &get).await;
    assert_eq!(got.status, 200);
    let text = got.text();
    assert!(text.contains(r#""f":1.0,"n":1,"#), "1 and 1.0 are kept apart: {text}");
    assert!(text.contains("[0.1,3.0]"), "floats print as the shortest f32: {text}");
    let records = json!([
        {"id": "a", "embedding": [0.0, 0.0], "document": "origin", "metadata": {"n": 1, "f": 1.0, "tags": ["x", "y"]}},
        {"id": "b", "embedding": [1.0, 0.0], "uri": "file:///b", "metadata": {"n": 2}},
    ]);
    assert_eq!(got.json()["records"].as_array().unwrap()[..2], records.as_array().unwrap()[..]);
    assert_eq!(got.json()["version"], 1);
    server.stop().await;
}

#[tokio::test]
async fn get_selects_by_ids_and_filters_and_pages_in_insertion_order() {
    let server = with_things().await;
    let cases = [
        (json!({}), vec!["a", "b", "c"]),
        (json!({"ids": ["c", "a", "nobody"]}), vec!["a", "c"]),
        (json!({"where": {"n": {"$gte": 2}}}), vec!["b"]),
        (json!({"where_document": {"$contains": "rig"}}), vec!["a"]),
        (json!({"where": {"n": 1}, "where_document": {"$contains": "far"}}), vec![]),
        (json!({"limit": 1, "offset": 1}), vec!["b"]),
        (json!({"limit": 0}), vec![]),
        (json!({"offset": 9}), vec![]),
        (json!({"where": null, "ids": null, "limit": null}), vec!["a", "b", "c"]),
    ];
    for (body, expected) in cases {
        let got = server.post(&format!("{C}/get"), &body).await.json();
        let ids: Vec<&str> = got["records"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{body}");
    }
    let bare = server.post(&format!("{C}/get"), &json!({"ids": ["a"], "include": []})).await.json();
    assert_eq!(bare["records"], json!([{"id": "a"}]));
    server.stop().await;
}

#[tokio::test]
async fn search_finds_the_nearest_of_what_matches_for_each_query() {
    let server = with_things().await;
    let one = server.post(&format!("{C}/search"), &json!({"embedding": [0.9, 0], "k": 2, "include": []})).await.json();
    let hits = one["results"][0].as_array().unwrap();
    assert_eq!((one["results"].as_array().unwrap().len(), hits.len()), (1, 2));
    assert_eq!((&hits[0]["id"], &hits[1]["id"]), (&json!("b"), &json!("a")));
    assert!((hits[1]["distance"].as_f64().unwrap() - 0.81).abs() < 1e-6, "{one}");
    assert_eq!(hits[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["distance", "id"]);
    assert_eq!(one["compared"], 3);
    let many = json!({"embeddings": [[0, 0], [0, 3]], "k": 1, "exact": true, "where": {"n": {"$ne": 1}}});
    let many = server.post(&format!("{C}/search"), &many).await.json();
    assert_eq!((&many["results"][0][0]["id"], &many["results"][1][0]["id"]), (&json!("b"), &json!("c")));
    assert_eq!((&many["version"], &many["compared"]), (&json!(1), &json!(4)), "two records with each of two queries");
    let ids = json!({"embedding": [0, 0], "ids": ["c"], "ef_search": 50, "include": ["embedding"]});
    let ids = server.post(&format!("{C}/search"), &ids).await.json();
    assert_eq!(ids["results"][0][0]["embedding"].as_array().unwrap().len(), 2);
    assert_eq!(ids["results"][0].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn records_are_upserted_updated_and_deleted() {
    let server = with_things().await;
    let upsert = json!({"records": [{"id": "c", "embedding": [5, 5]}, {"id": "d", "embedding": [6, 6]}]});
    let done = server.post(&format!("{C}/upsert"), &upsert).await;
    assert_eq!((done.status, done.json()), (200, json!({"upserted": 2, "skipped": 0, "version": 2})));
    let again = json!({"records": [{"id": "a", "embedding": [9, 9]}]});
    assert_eq!(server.post(&format!("{C}/add"), &again).await.json()["skipped"], 1);
    let update =
        json!({"records": [{"id": "a", "metadata": {"n": null, "new": true}}, {"id": "nobody", "document": "x"}]});
    let done = server.post(&format!("{C}/update"), &update).await.json();
    assert_eq!((&done["updated"], &done["skipped"]), (&json!(1), &json!(1)));
    let a = server.post(&format!("{C}/get"), &json!({"ids": ["a"]})).await.json();
    assert_eq!(a["records"][0]["metadata"], json!({"f": 1.0, "tags": ["x", "y"], "new": true}));
    assert_eq!(a["records"][0]["document"], "origin");
    let deleted = server.post(&format!("{C}/delete"), &json!({"where": {"new": true}})).await.json();
    assert_eq!(deleted["deleted"], 1);
    let deleted = server.post(&format!("{C}/delete"), &json!({"ids": ["b", "nobody"]})).await.json();
    assert_eq!((&deleted["deleted"], &deleted["skipped"]), (&json!(1), &json!(1)));
    assert_eq!(server.get(&format!("{C}/count?consistency=strong")).await.json(), json!({"count": 2}));
    server.stop().await;
}

#[tokio::test]
async fn every_read_takes_strong_consistency() {
    let server = with_things().await;
    let strong = "?consistency=strong";
    assert_eq!(server.get(&format!("{C}{strong}")).await.json()["count"], 3);
    assert_eq!(server.get(&format!("{C}/count{strong}")).await.status, 200);
    let got = server.post(&format!("{C}/get{strong}"), &json!({"limit": 1})).await.json();
    assert_eq!(got["records"][0]["id"], "a");
    let found = server.post(&format!("{C}/search{strong}"), &json!({"embedding": [0, 0]})).await.json();
    assert_eq!(found["results"][0][0]["id"], "a");
    server.stop().await;
}

#[tokio::test]
async fn sync_and_status_report_on_every_collection() {
    let server = with_things().await;
    let status = server.get("/api/s3/status").await.json();
    assert_eq!(
        (&status["collections"][0]["name"], &status["collections"][0]["version_after"]),
        (&json!("things"), &json!(1))
    );
    for body in ["", "{}"] {
        let synced =
            server.send("POST", "/api/s3/sync", &[("content-type", "application/json")], body.as_bytes()).await;
        assert_eq!(synced.status, 200, "{}", synced.text());
        let report = synced.json();
        assert_eq!(report["collections"][0]["error"], Value::Null);
        assert!(report["catalog_version"].as_u64().is_some_and(|v| v >= 1), "{report}");
    }
    assert_eq!(server.get("/api/s3/status").await.json()["collections"][0]["commits_unflushed"], 0, "sync flushes");
    server.stop().await;
}

#[tokio::test]
async fn the_server_tells_how_it_is_doing() {
    let server = with_things().await;
    server.store.wait_until_loaded().await;
    let health = server.get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
    assert_eq!((&health.json()["records"], &health.json()["storage"]["kind"]), (&json!(3), &json!("memory")));
    assert_eq!(server.get("/ready").await.status, 200);
    server.get("/no/such/route").await;
    let metrics = server.get("/metrics").await;
    assert!(metrics.headers.contains("text/plain; version=0.0.4"), "{}", metrics.headers);
    let text = metrics.text();
    for line in [
        "drumlin_requests_total{method=\"POST\",route=\"/api/collections/{name}/add\",status=\"201\"} 1",
        "drumlin_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "drumlin_request_seconds_count{method=\"POST\",route=\"/api/collections/{name}/add\"} 1",
        "drumlin_requests_under_way 1",
        "drumlin_collections 1",
        "drumlin_records 3",
        "drumlin_writes_acknowledged_total",
        "drumlin_bucket_calls_total{operation=\"create\",outcome=\"ok\"}",
        "drumlin_bucket_sent_bytes_total{operation=\"create\"}",
        "drumlin_memory_resident_bytes",
        "drumlin_writes_waiting 0",
        "drumlin_searches_under_way 0",
        "drumlin_graph_builds_under_way",
        "drumlin_graph_build_seconds_total",
        "drumlin_filter_cache_bytes",
        "drumlin_lag_seconds",
        "drumlin_catalog_lag_seconds",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_api_describes_itself() {
    let server = start().await;
    assert_eq!(server.get("/openapi.json").await.json()["openapi"], "3.1.0");
    assert!(server.get("/").await.text().contains("/docs"));
    assert_eq!(server.send("HEAD", "/health", &[], b"").await.status, 200);
    let wrong = server.send("DELETE", "/api/collections", &[], b"").await;
    assert!(wrong.status == 405 && wrong.headers.contains("allow:"), "{}", wrong.headers);
    server.stop().await;
}

/// Rows `p0`, `p1`, … at (i, 0).
fn points(rows: usize) -> RecordBatch {
    let ids: StringArray = (0..rows).map(|i| Some(format!("p{i}"))).collect();
    let floats: Float32Array = (0..rows).flat_map(|i| [i as f32, 0.0]).collect::<Vec<_>>().into();
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let embeddings = FixedSizeListArray::try_new(item, 2, Arc::new(floats), None).unwrap();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("embedding", Arc::new(embeddings))];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test]
async fn arrow_and_parquet_bodies_are_taken_and_arrow_is_answered_when_asked_for() {
    let server = start().await;
    server.post("/api/collections", &json!({"name": "things", "metric": "l2"})).await;
    let batch = points(20_000);
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let added = server.send("POST", &format!("{C}/add"), &[("content-type", ARROW)], &stream).await;
    assert_eq!((added.status, added.json()), (201, json!({"added": 20_000, "skipped": 0, "version": 1})));
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch.slice(0, 10)).unwrap();
    writer.close().unwrap();
    let kind = ("content-type", "application/vnd.apache.parquet");
    let upserted = server.send("POST", &format!("{C}/upsert"), &[kind], &file).await;
    assert_eq!((upserted.status, &upserted.json()["upserted"]), (200, &json!(10)));

    let query = json!({"embeddings": [[7, 0], [19_000, 0]], "k": 2, "include": ["embedding"]}).to_string();
    let headers = [("content-type", "application/json"), ("accept", ARROW)];
    let found = server.send("POST", &format!("{C}/search"), &headers, query.as_bytes()).await;
    assert!(found.headers.contains(ARROW), "{}", found.headers);
    let mut reader = StreamReader::try_new(found.body.as_slice(), None).unwrap();
    assert_eq!(reader.schema().metadata().get("version").map(String::as_str), Some("2"));
    let hits = reader.next().unwrap().unwrap();
    assert_eq!(hits["query"].as_primitive::<UInt32Type>().values().as_ref(), [0, 0, 1, 1]);
    assert_eq!(hits["id"].as_string::<i32>().value(0), "p7");
    assert_eq!(hits["id"].as_string::<i32>().value(2), "p19000");
    assert_eq!(hits["distance"].as_primitive::<Float32Type>().values().as_ref(), [0.0, 1.0, 0.0, 1.0]);
    assert_eq!(hits["embedding"].as_fixed_size_list().value_length(), 2);
    server.stop().await;
}

#[tokio::test]
async fn queries_come_as_tables_and_whole_collections_go_out_as_one() {
    let server = start().await;
    server.post("/api/collections", &json!({"name": "things", "metric": "l2"})).await;
    let batch = points(3_000);
    let stream = ipc(&batch);
    server.send("POST", &format!("{C}/add"), &[("content-type", ARROW)], &stream).await;

    let queries = ipc(&batch.slice(7, 2));
    let path = format!("{C}/search?k=1&include=&consistency=strong");
    let found = server.send("POST", &path, &[("content-type", ARROW)], &queries).await;
    let expected = json!([[{"id": "p7", "distance": 0.0}], [{"id": "p8", "distance": 0.0}]]);
    assert_eq!((found.status, &found.json()["results"]), (200, &expected));
    let wrong = server.send("POST", &format!("{C}/search?k=1"), &[("content-type", "application/json")], b"{}").await;
    assert!(wrong.status == 400 && wrong.json().to_string().contains("k belongs in the body"), "{}", wrong.json());

    let headers = [("content-type", "application/json"), ("accept", ARROW)];
    let whole = server.send("POST", &format!("{C}/get"), &headers, br#"{"include": ["embedding"]}"#).await;
    let reader = StreamReader::try_new(whole.body.as_slice(), None).unwrap();
    assert_eq!(reader.schema().metadata().get("version").map(String::as_str), Some("1"));
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3_000);
    assert_eq!(batches[0]["id"].as_string::<i32>().value(1), "p1");
    assert_eq!(batches[0]["embedding"].as_fixed_size_list().value_length(), 2);
    server.stop().await;
}

#[tokio::test]
async fn the_nearest_to_a_record_are_found_by_its_id_and_matching_ones_are_counted() {
    let server = start().await;
    server.post("/api/collections", &json!({"name": "things", "metric": "l2"})).await;
    let record = |i: i32| json!({"id": format!("p{i}"), "embedding": [i, 0], "metadata": {"even": i % 2 == 0}});
    let records: Vec<Value> = (0..5).map(record).collect();
    server.post(&format!("{C}/add"), &json!({"records": records})).await;
    let near = server.post(&format!("{C}/search"), &json!({"id": "p0", "k": 2, "include": []})).await;
    assert_eq!(near.json()["results"], json!([[{"id": "p1", "distance": 1.0}, {"id": "p2", "distance": 4.0}]]));
    let most = server.post(&format!("{C}/search"), &json!({"id": "p0", "k": 10_000})).await;
    assert!(most.status == 422 && most.text().contains("at most 9999 beside id"), "{}", most.text());
    let missing = server.post(&format!("{C}/search"), &json!({"id": "nobody"})).await;
    assert_eq!(missing.status, 404, "{}", missing.json());
    let counted = server.post(&format!("{C}/count"), &json!({"where": {"even": true}})).await;
    assert_eq!((counted.status, counted.json()), (200, json!({"count": 3})));
    let listed = server.get("/api/collections?consistency=strong").await;
    assert_eq!(listed.json()[0]["name"], "things");
    server.stop().await;
}

fn ipc(batch: &RecordBatch) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    stream
}

#[tokio::test]
async fn a_large_json_batch_goes_in_whole_and_comes_out_whole() {
    let server = start().await;
    server.post("/api/collections", &json!({"name": "things"})).await;
    let record =
        |i: usize| json!({"id": format!("r{i}"), "embedding": vec![i as f32 + 0.5; 16], "document": "x".repeat(50)});
    let records: Vec<Value> = (0..5_000).map(record).collect();
    let added = server.post(&format!("{C}/add"), &json!({"records": records})).await;
    assert_eq!(added.json(), json!({"added": 5_000, "skipped": 0, "version": 1}), "one request is one commit");
    let got = server.post(&format!("{C}/get"), &json!({"include": ["embedding", "document"]})).await.json();
    assert_eq!(got["records"], json!(records));
    server.stop().await;
}

#[tokio::test]
async fn many_clients_at_once_each_read_their_own_write() {
    let server = Arc::new(start().await);
    server.post("/api/collections", &json!({"name": "things"})).await;
    let clients = (0..32).map(|client| {
        let server = server.clone();
        tokio::spawn(async move {
            for i in 0..5 {
                let id = format!("{client}-{i}");
                let record = json!({"records": [{"id": id, "embedding": [client, i]}]});
                assert_eq!(server.post(&format!("{C}/add"), &record).await.status, 201);
                let got = server.post(&format!("{C}/get"), &json!({"ids": [id]})).await.json();
                assert_eq!(got["records"][0]["id"], id);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(server.get(&format!("{C}/count")).await.json(), json!({"count": 160}));
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_back_and_health_still_answers() {
    let http = HttpSettings { max_concurrent_requests: 1, ..HttpSettings::default() };
    let server = Arc::new(Server::with(Settings::new(Storage::Memory), http).await);
    // A request that has sent its headers and not its body keeps the one place.
    let slow = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = "POST /api/collections HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    slow.try_write(head.as_bytes()).unwrap();
    let mut refused = server.get("/api/collections").await;
    for _ in 0..200 {
        if refused.status == 503 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        refused = server.get("/api/collections").await;
    }
    assert_eq!((refused.status, &refused.json()["error"]["kind"]), (503, &json!("unavailable")));
    assert!(refused.headers.contains("retry-after: 1"), "{}", refused.headers);
    assert_eq!(server.get("/health").await.status, 200);
    assert_eq!(server.get("/metrics").await.status, 200);
    drop(slow);
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_says_that_nothing_was_changed() {
    let http = HttpSettings { request_timeout: Duration::from_millis(300), ..HttpSettings::default() };
    let server = Server::with(Settings::new(Storage::Memory), http).await;
    let head = "POST /api/collections HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 20\r\n\r\n{\"name\"";
    let answer = server.send_raw(head.as_bytes()).await.expect("an answer");
    assert_eq!((answer.status, &answer.json()["error"]["kind"]), (503, &json!("unavailable")));
    assert!(answer.text().contains("nothing was changed"), "{}", answer.text());
    assert_eq!(server.get("/api/collections").await.json(), json!([]));
    server.stop().await;
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_does_not_wait_for_a_stuck_one_for_ever() {
    let http = HttpSettings { drain_timeout: Duration::from_millis(300), ..HttpSettings::default() };
    let server = Server::with(Settings::new(Storage::Memory), http).await;
    let stuck = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stuck.try_write(b"POST /api/collections HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n").unwrap();
    let address = server.address;
    let stopped = tokio::time::timeout(Duration::from_secs(10), server.stop()).await;
    assert_eq!(stopped, Ok(()));
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is free again");
    drop(stuck);
}

#[tokio::test]
async fn a_newcomer_finds_links_and_collections() {
    let server = start().await;
    server.post("/api/collections", &json!({"name": "things"})).await;
    let text = server.get("/").await.text();
    assert!(
        text.contains("/docs") && text.contains("/api/collections") && text.contains("things (0 records)"),
        "{text}"
    );
    let icon = server.get("/favicon.ico").await;
    assert!(icon.status == 200 && icon.headers.contains("image/svg+xml"), "{}", icon.headers);
    server.stop().await;
}

#[tokio::test]
async fn a_name_that_chromas_api_cannot_reach_is_said_at_create() {
    let server = start().await;
    for (name, noted) in [("a", true), ("ab", true), ("a..b", true), ("1.2.3.4", true), ("abc", false)] {
        let created = server.post("/api/collections", &json!({"name": name})).await;
        assert_eq!(created.status, 201, "{}", created.text());
        let note = created.json()["notes"][0].as_str().unwrap_or_default().to_owned();
        assert_eq!(note.starts_with("Chroma's API and its clients cannot reach"), noted, "{name}: {note}");
    }
    server.stop().await;
}

#[tokio::test]
async fn tables_of_texts_are_embedded_where_there_is_an_embedder() {
    let server = start().await;
    crate::texts::add_model(&server.store).await;
    let body = json!({"name": "texts", "embedder": {"model": "tiny"}});
    assert_eq!(server.post("/api/collections", &body).await.status, 201);
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let documents: ArrayRef = Arc::new(StringArray::from(vec!["a green river", "stones, light stones"]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("document", documents)]).unwrap();
    let stream = ipc(&batch);
    let added = server.send("POST", "/api/collections/texts/add", &[("content-type", ARROW)], &stream).await;
    assert_eq!((added.status, &added.json()["added"]), (201, &json!(2)), "{}", added.text());
    let found = json!({"text": "stones, light stones", "mode": "meaning", "k": 1});
    let found = server.post("/api/collections/texts/search", &found).await.json();
    assert_eq!(found["results"][0][0]["id"], "b");
    server.post("/api/collections", &json!({"name": "things", "metric": "l2"})).await;
    let refused = server.send("POST", &format!("{C}/add"), &[("content-type", ARROW)], &stream).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("has no embedder"), "{}", refused.text());
    server.stop().await;
}
