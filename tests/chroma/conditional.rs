//! Conditional reads and commits: the bodies as the newest client prints them, what conflicts and what does not, two
//! servers that race on one bucket, and every refusal.

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::{Answer, Server};
use serde_json::{Value, json};

use super::{DB, assert_invalid, assert_refused, create, error, with_things};

/// A server on a folder that others use too. Nothing happens there by itself.
async fn on(folder: &tempfile::TempDir) -> Server {
    let settings = Settings { maintenance: false, ..Settings::new(Storage::Folder(folder.path().to_owned())) };
    Server::with(settings, HttpSettings::default()).await
}

async fn read(server: &Server, path: &str, body: Value) -> Value {
    let got = server.post(&format!("{path}/conditional/get"), &body).await;
    assert_eq!(got.status, 200, "{body}: {}", got.text());
    got.json()
}

/// The token of a read of these ids.
async fn token(server: &Server, path: &str, ids: &[&str]) -> u64 {
    read(server, path, json!({"ids": ids})).await["read_token"].as_u64().unwrap()
}

async fn commit(server: &Server, path: &str, token: Option<u64>, ids: &[&str], operations: Value) -> Answer {
    let body = json!({"read_token": token, "read_ids": ids, "operations": operations});
    server.post(&format!("{path}/conditional/commit"), &body).await
}

fn add(ids: &[&str]) -> Value {
    let embeddings: Vec<Value> = ids.iter().map(|_| json!([5, 5])).collect();
    json!({"operation": "add", "payload": {"ids": ids, "embeddings": embeddings}})
}

fn update(id: &str, metadata: Value) -> Value {
    json!({"operation": "update", "payload": {"ids": [id], "metadatas": [metadata]}})
}

#[track_caller]
fn assert_conflict(answer: &Answer) {
    assert_refused(answer, 409, "ConditionalWriteConflictError", "conditional write conflict");
}

#[track_caller]
fn assert_stale(answer: &Answer) {
    let (status, name, _) = error(answer);
    assert_eq!((status, name.as_str()), (412, "StaleReadError"), "{}", answer.text());
}

#[track_caller]
fn assert_committed(answer: &Answer, position: impl Into<Value>, records: u64) {
    let expected = json!({"first_inserted_record_offset": position.into(), "record_count": records});
    assert_eq!((answer.status, answer.json()), (200, expected), "{}", answer.text());
}

async fn count(server: &Server, path: &str) -> Value {
    server.get(&format!("{path}/count?consistency=strong")).await.json()
}

#[tokio::test]
async fn the_clients_own_bodies_read_and_commit() {
    let (server, path) = with_things().await;
    let names = json!(["metadatas", "documents"]);
    let body = json!({"ids": ["id1"], "where": null, "limit": null, "offset": null, "where_document": null,
        "include": names, "read_token": null});
    let expected = json!({"ids": [], "embeddings": null, "documents": [], "uris": null, "metadatas": [],
        "include": names, "read_token": 2});
    assert_eq!(read(&server, &path, body).await, expected);
    assert_eq!(server.post(&format!("{path}/add"), &json!({"ids": ["id2"], "embeddings": [[1, 2]]})).await.status, 201);
    let operations = json!([
        {"operation": "add", "payload": {"ids": ["id1"], "embeddings": [[1.0, 2.0]], "documents": ["d"], "uris": null,
            "metadatas": null}},
        {"operation": "delete", "payload": {"ids": ["id2"], "where": null, "where_document": null, "limit": null}},
    ]);
    let done = commit(&server, &path, Some(3), &["id1", "id2"], operations).await;
    assert_committed(&done, 3, 2);
    let got = read(&server, &path, json!({"include": ["documents"]})).await;
    assert_eq!((&got["ids"], &got["documents"][3]), (&json!(["a", "b", "c", "id1"]), &json!("d")));
    assert_eq!(got["read_token"], 4);
    let base64 =
        json!([{"payload": {"ids": ["z"], "embeddings": ["AACAPwAAAAA="]}, "operation": "upsert", "extra": 1}]);
    assert_committed(&commit(&server, &path, None, &[], base64).await, 4, 1);
    let got = read(&server, &path, json!({"ids": ["z"], "include": ["embeddings"]})).await;
    assert_eq!(got["embeddings"], json!([[1.0, 0.0]]));
    server.stop().await;
}

#[tokio::test]
async fn an_empty_collection_has_the_token_1_and_two_first_writers_do_not_both_win() {
    let server = super::start().await;
    let path = create(&server, json!({"name": "empty"})).await;
    assert_eq!(token(&server, &path, &["a"]).await, 1);
    assert_committed(&commit(&server, &path, Some(1), &["a"], json!([add(&["a"])])).await, 1, 1);
    assert_conflict(&commit(&server, &path, Some(1), &["a"], json!([add(&["a"])])).await);
    let before = read(&server, &path, json!({"read_token": 1})).await;
    assert_eq!((&before["ids"], &before["read_token"]), (&json!([]), &json!(1)));
    server.stop().await;
}

#[tokio::test]
async fn whatever_another_client_does_to_a_record_that_was_read_conflicts() {
    let vector = json!([[1, 0]]);
    let writes = [
        ("n", "add", json!({"ids": ["n"], "embeddings": vector})),
        ("n", "upsert", json!({"ids": ["n"], "embeddings": vector})),
        ("a", "upsert", json!({"ids": ["a"], "embeddings": vector})),
        ("a", "update", json!({"ids": ["a"], "metadatas": [{"k": 2}]})),
        ("a", "update", json!({"ids": ["a"], "embeddings": vector})),
        ("a", "delete", json!({"ids": ["a"]})),
        ("a", "delete", json!({"where": {"k": 1}})),
    ];
    for (id, route, body) in writes {
        // As an id that was read, and as one that is only written.
        for (ids, operation) in [(vec![id], update("c", json!({"x": 1}))), (vec![], update(id, json!({"x": 1})))] {
            let (server, path) = with_things().await;
            let token = token(&server, &path, &["a", "n"]).await;
            let other = server.post(&format!("{path}/{route}"), &body).await;
            assert!(matches!(other.status, 200 | 201), "{}", other.text());
            let before = server.post(&format!("{path}/get"), &json!({})).await.json();
            assert_conflict(&commit(&server, &path, Some(token), &ids, json!([operation, add(&["new"])])).await);
            assert_eq!(server.post(&format!("{path}/get"), &json!({})).await.json(), before, "{route} {body}");
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn a_record_that_was_added_and_deleted_again_conflicts_with_a_read_that_missed_it() {
    let (server, path) = with_things().await;
    let token = token(&server, &path, &["n"]).await;
    assert_eq!(server.post(&format!("{path}/add"), &json!({"ids": ["n"], "embeddings": [[1, 0]]})).await.status, 201);
    assert_eq!(server.post(&format!("{path}/delete"), &json!({"ids": ["n"]})).await.status, 200);
    assert_conflict(&commit(&server, &path, Some(token), &["n"], json!([add(&["m"])])).await);
    server.stop().await;
}

#[tokio::test]
async fn writes_of_other_records_and_writes_that_change_nothing_do_not_conflict() {
    let (server, path) = with_things().await;
    let token = token(&server, &path, &["a", "n"]).await;
    for (route, body) in [
        ("update", json!({"ids": ["b"], "metadatas": [{"k": 2}]})),
        ("add", json!({"ids": ["o"], "embeddings": [[1, 0]]})),
        ("delete", json!({"ids": ["o", "n"]})),
        ("update", json!({"ids": ["n"], "metadatas": [{"k": 2}]})),
        ("add", json!({"ids": ["a"], "embeddings": [[7, 7]]})),
    ] {
        let other = server.post(&format!("{path}/{route}"), &body).await;
        assert!(matches!(other.status, 200 | 201), "{}", other.text());
    }
    let done =
        commit(&server, &path, Some(token), &["a", "n"], json!([update("a", json!({"k": 5})), add(&["n"])])).await;
    assert_committed(&done, 5, 2);
    let got = read(&server, &path, json!({"ids": ["a", "n"]})).await;
    assert_eq!((&got["ids"], &got["metadatas"][0]["k"]), (&json!(["a", "n"]), &json!(5)));
    server.stop().await;
}

#[tokio::test]
async fn reads_with_a_token_see_the_state_of_the_first_read() {
    let (server, path) = with_things().await;
    let first = read(&server, &path, json!({"where": {"k": 1}})).await;
    let token = first["read_token"].clone();
    let changed = json!({"ids": ["a"], "embeddings": [[9, 9]], "documents": ["other"], "metadatas": [{"k": 2}]});
    assert_eq!(server.post(&format!("{path}/upsert"), &changed).await.status, 200);
    assert_eq!(server.post(&format!("{path}/delete"), &json!({"ids": ["b"]})).await.status, 200);
    assert_eq!(read(&server, &path, json!({"where": {"k": 1}, "read_token": token})).await, first);
    let all = read(&server, &path, json!({"limit": 2, "include": ["documents"], "read_token": token})).await;
    assert_eq!((&all["ids"], &all["documents"]), (&json!(["a", "b"]), &json!(["d1", null])));
    assert_eq!(all["read_token"], token);
    let now = read(&server, &path, json!({})).await;
    assert_eq!((&now["ids"], &now["read_token"]), (&json!(["a", "c"]), &json!(token.as_u64().unwrap() + 2)));
    server.stop().await;
}

#[tokio::test]
async fn another_server_loads_the_state_of_a_token_from_the_bucket_even_after_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (on(&folder).await, on(&folder).await);
    let path = create(&one, json!({"name": "shared"})).await;
    for n in 0..3 {
        let body = json!({"ids": ["a"], "embeddings": [[n, 1]], "metadatas": [{"n": n}]});
        assert_eq!(one.post(&format!("{path}/upsert"), &body).await.status, 200);
    }
    for flushed in [false, true] {
        if flushed {
            one.store.admin().maintain().await.unwrap();
        }
        for (token, n) in [(2, json!([{"n": 0}])), (3, json!([{"n": 1}])), (1, json!([])), (4, json!([{"n": 2}]))] {
            let got = read(&other, &path, json!({"read_token": token})).await;
            assert_eq!((&got["metadatas"], &got["read_token"]), (&n, &json!(token)), "flushed: {flushed}");
        }
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_token_from_another_server_is_not_beyond_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (on(&folder).await, on(&folder).await);
    let path = create(&one, json!({"name": "shared"})).await;
    assert_eq!(count(&other, &path).await, json!(0));
    for n in 0..4 {
        let body = json!({"ids": [format!("n{n}")], "embeddings": [[n, 1]]});
        assert_eq!(one.post(&format!("{path}/add"), &body).await.status, 201);
    }
    let token = token(&one, &path, &["x"]).await;
    assert_eq!(token, 5);
    assert_committed(&commit(&other, &path, Some(token), &["n3", "x"], json!([add(&["x"])])).await, 5, 1);
    let beyond = commit(&other, &path, Some(7), &["y"], json!([add(&["y"])])).await;
    assert_invalid(&beyond, "read_token: expected at most 6, the next position of the log, got 7");
    one.stop().await;
    other.stop().await;
}

/// Adds 1 to the counter of the record `c` by reading, computing and committing, until no other writer is faster.
/// Returns how often that took another try.
async fn increment(server: &Server, path: &str) -> u64 {
    for tries in 0..2_000 {
        let got = read(server, path, json!({"ids": ["c"]})).await;
        let (n, token) = (got["metadatas"][0]["n"].as_u64().unwrap(), got["read_token"].as_u64());
        let done = commit(server, path, token, &["c"], json!([update("c", json!({"n": n + 1}))])).await;
        match done.status {
            200 => return tries,
            409 => assert_conflict(&done),
            _ => assert_eq!(error(&done).1, "Backoff"),
        }
    }
    panic!("2,000 tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_increment_is_lost_between_two_servers_that_race() {
    const CLIENTS: usize = 6;
    const EACH: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let servers = [on(&folder).await, on(&folder).await];
    let path = create(&servers[0], json!({"name": "counter"})).await;
    let record = json!({"ids": ["c"], "embeddings": [[1, 1]], "metadatas": [{"n": 0}]});
    assert_eq!(servers[0].post(&format!("{path}/add"), &record).await.status, 201);
    let clients = (0..CLIENTS).map(async |client| {
        let mut tries = 0;
        for _ in 0..EACH {
            tries += increment(&servers[client % 2], &path).await;
        }
        tries
    });
    let tries: u64 = futures::future::join_all(clients).await.into_iter().sum();
    let total = (CLIENTS * EACH) as u64;
    for server in &servers {
        let got = read(server, &path, json!({"ids": ["c"]})).await;
        assert_eq!(got["metadatas"][0]["n"], json!(total));
        assert_eq!(got["read_token"], json!(total + 2), "one commit for each increment, and none besides");
    }
    assert!(tries > 0, "the clients met");
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn of_clients_that_add_one_record_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (on(&folder).await, on(&folder).await);
    let path = create(&one, json!({"name": "shared"})).await;
    for round in 0..5 {
        let id = format!("r{round}");
        let token = token(&one, &path, &[&id]).await;
        let body = |embedding: u64| json!([{"operation": "add", "payload": {"ids": [id], "embeddings": [[embedding, round]]}}]);
        let ids = [id.as_str()];
        let (first, second) = tokio::join!(
            commit(&one, &path, Some(token), &ids, body(1)),
            commit(&other, &path, Some(token), &ids, body(2))
        );
        let winner = match (first.status, second.status) {
            (200, 409) => 1.0,
            (409, 200) => 2.0,
            both => panic!("{both:?}"),
        };
        for server in [&one, &other] {
            let got = read(server, &path, json!({"ids": [id], "include": ["embeddings"]})).await;
            assert_eq!(got["embeddings"], json!([[winner, f64::from(round)]]));
        }
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_commit_is_whole_or_not_at_all() {
    let (server, path) = with_things().await;
    let token = token(&server, &path, &["a", "n", "m"]).await;
    let long = "x".repeat(drumlin::settings::Limits::default().metadata_bytes);
    let cases = [
        (json!({"operation": "add", "payload": {"ids": ["m"], "embeddings": [[1, 2, 3]]}}), "dimension of 2, got 3"),
        (json!({"operation": "upsert", "payload": {"ids": ["m"], "embeddings": []}}), "Inconsistent number of IDs"),
        (json!({"operation": "update", "payload": {"ids": [""]}}), "Empty ID"),
        (json!({"operation": "delete", "payload": {"where": {"k": 1}}}), "ids alone"),
        (json!({"operation": "delete", "payload": {"ids": ["a"], "limit": 1}}), "ids alone"),
        (json!({"operation": "delete", "payload": {"ids": []}}), "needs ids"),
        (json!({"operation": "delete", "payload": {}}), "needs ids"),
        (update("a", json!({"": 1})), "Invalid metadata at index 0"),
        // Only the merged record is too long: the fault shows when the first operation is resolved already.
        (update("a", json!({"long": long})), "DRUMLIN_MAX_METADATA_BYTES"),
    ];
    let before = server.post(&format!("{path}/get"), &json!({})).await.json();
    for (operation, words) in cases {
        let operations = json!([add(&["n"]), {"operation": "delete", "payload": {"ids": ["b"]}}, operation]);
        let refused = commit(&server, &path, Some(token), &["a"], operations).await;
        let (status, name, message) = error(&refused);
        assert_eq!((status, name.as_str()), (400, "InvalidArgumentError"), "{message}");
        assert!(message.contains(words), "{message}, not {words}");
        assert_eq!(server.post(&format!("{path}/get"), &json!({})).await.json(), before, "{words}");
    }
    let operations = json!([add(&["n"]), update("n", json!({"k": 1})), {"operation": "delete", "payload": {"ids": ["b", "zz"]}},
        add(&["b"]), {"operation": "upsert", "payload": {"ids": ["a", "a"], "embeddings": [[2, 2], [3, 3]]}}]);
    assert_committed(&commit(&server, &path, Some(token), &["a"], operations).await, token, 7);
    let got = read(&server, &path, json!({"include": ["embeddings", "metadatas"]})).await;
    assert_eq!(got["ids"], json!(["a", "c", "n", "b"]));
    assert_eq!(got["embeddings"], json!([[3.0, 3.0], [1.0, 1.0], [5.0, 5.0], [5.0, 5.0]]));
    assert_eq!(got["metadatas"][2], json!({"k": 1}));
    server.stop().await;
}

#[tokio::test]
async fn the_first_embeddings_of_a_commit_fix_the_dimension_for_the_rest_of_it() {
    let server = super::start().await;
    let path = create(&server, json!({"name": "empty"})).await;
    let wide = json!({"operation": "add", "payload": {"ids": ["w"], "embeddings": [[1, 2, 3]]}});
    let refused = commit(&server, &path, Some(1), &[], json!([add(&["a"]), wide])).await;
    assert_invalid(&refused, "Collection expecting embedding with dimension of 2, got 3");
    let name = server.get(&format!("{DB}/collections/empty")).await.json();
    assert_eq!((&name["dimension"], count(&server, &path).await), (&Value::Null, json!(0)));
    assert_committed(&commit(&server, &path, Some(1), &[], json!([wide])).await, 1, 1);
    server.stop().await;
}

#[tokio::test]
async fn nothing_to_do_is_done_without_a_look_at_the_log() {
    let (server, path) = with_things().await;
    for token in [None, Some(1), Some(99)] {
        assert_committed(&commit(&server, &path, token, &[], json!([])).await, Value::Null, 0);
    }
    let nothing = json!([{"operation": "delete", "payload": {"ids": ["no"]}}, update("no", json!({"k": 1}))]);
    assert_committed(&commit(&server, &path, Some(2), &["no"], nothing).await, Value::Null, 2);
    assert_eq!(token(&server, &path, &[]).await, 2, "no commit was made");
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_is_too_old_is_stale_only_where_nobody_can_know_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = on(&folder).await;
    let path = create(&server, json!({"name": "kept"})).await;
    let body = json!({"ids": ["a", "b"], "embeddings": [[1, 0], [2, 0]], "metadatas": [{"k": 1}, null]});
    assert_eq!(server.post(&format!("{path}/add"), &body).await.status, 201);
    let token = token(&server, &path, &["a", "b", "n"]).await;
    let other = json!({"ids": ["b"], "metadatas": [{"k": 3}]});
    assert_eq!(server.post(&format!("{path}/update"), &other).await.status, 200);
    // A flush alone forgets nothing.
    server.store.admin().maintain().await.unwrap();
    assert_conflict(&commit(&server, &path, Some(token), &["b"], json!([update("a", json!({"k": 2}))])).await);
    assert_committed(&commit(&server, &path, Some(token), &["n"], json!([update("a", json!({"k": 2}))])).await, 3, 1);
    server.store.admin().maintain().await.unwrap();
    server.stop().await;
    // A server that starts reads the deletions since the last flush only.
    let server = on(&folder).await;
    assert_stale(&commit(&server, &path, Some(token), &["n"], json!([add(&["m"])])).await);
    assert_conflict(&commit(&server, &path, Some(token), &["a"], json!([update("a", json!({"k": 9}))])).await);
    let token = read(&server, &path, json!({"ids": ["n"]})).await["read_token"].as_u64();
    assert_eq!(token, Some(4));
    assert_committed(&commit(&server, &path, token, &["n"], json!([add(&["n"])])).await, 4, 1);
    assert_eq!(server.post(&format!("{path}/delete"), &json!({"ids": ["n"]})).await.status, 200);
    // These commits are in no segment yet.
    let other = on(&folder).await;
    assert_conflict(&commit(&other, &path, token, &["n"], json!([add(&["m"])])).await);
    assert_committed(&commit(&other, &path, token, &["x", "a"], json!([add(&["m"])])).await, 6, 1);
    let got = read(&other, &path, json!({})).await;
    assert_eq!((&got["ids"], &got["metadatas"][0]["k"]), (&json!(["a", "b", "m"]), &json!(2)));
    server.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_state_that_left_the_bucket_is_stale() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings { maintenance: false, ..Settings::new(Storage::Folder(folder.path().to_owned())) };
    let none = std::time::Duration::ZERO;
    (settings.timing.keep, settings.timing.garbage, settings.timing.swap_interval) = (none, none, none);
    let server = Server::with(settings, HttpSettings::default()).await;
    let path = create(&server, json!({"name": "short"})).await;
    for n in 0..3 {
        let body = json!({"ids": ["a"], "embeddings": [[n, 1]]});
        assert_eq!(server.post(&format!("{path}/upsert"), &body).await.status, 200);
    }
    for _ in 0..4 {
        server.store.admin().maintain().await.unwrap();
    }
    assert_stale(&server.post(&format!("{path}/conditional/get"), &json!({"read_token": 2})).await);
    assert_eq!(read(&server, &path, json!({"read_token": 4})).await["ids"], json!(["a"]));
    server.stop().await;
}

#[tokio::test]
async fn every_malformed_request_is_refused_in_the_order_of_the_other_routes() {
    let (server, path) = with_things().await;
    let missing = path.replace(path.rsplit('/').next().unwrap(), "60bc2f5b-0e94-41af-b7b8-a55b841a6255");
    let no_uuid = path.replace(path.rsplit('/').next().unwrap(), "zzz");
    let send = async |path: &str, route: &str, media_type: &str, body: &str| {
        let path = format!("{path}/conditional/{route}");
        server.send("POST", &path, &[("content-type", media_type)], body.as_bytes()).await
    };
    let good = r#"{"operations":[{"operation":"delete","payload":{"ids":["a"]}}]}"#;
    for path in [&path, &missing, &no_uuid] {
        for route in ["get", "commit"] {
            assert_eq!(error(&send(path, route, "text/plain", "{").await).0, 415);
            assert_eq!(error(&send(path, route, "application/json", "{").await).0, 400);
        }
        for (route, body) in [
            ("get", r#"{"read_token":"1"}"#),
            ("get", r#"{"read_token":-1}"#),
            ("get", r#"{"read_token":1.5}"#),
            ("get", r#"{"include":null}"#),
            ("get", r#"{"include":["x"]}"#),
            ("get", r#"{"limit":-1}"#),
            ("commit", "{}"),
            ("commit", r#"{"operations":null}"#),
            ("commit", r#"{"operations":{}}"#),
            ("commit", r#"{"operations":[{}]}"#),
            ("commit", r#"{"operations":[{"operation":"add"}]}"#),
            ("commit", r#"{"operations":[{"operation":"merge","payload":{"ids":["a"]}}]}"#),
            ("commit", r#"{"operations":[{"operation":"add","payload":{"ids":["a"]}}]}"#),
            ("commit", r#"{"operations":[{"operation":"add","payload":{"ids":[1],"embeddings":[[1,2]]}}]}"#),
            ("commit", r#"{"operations":[{"operation":"update","payload":{}}]}"#),
            ("commit", r#"{"operations":[],"read_ids":["a",1]}"#),
            ("commit", r#"{"operations":[],"read_token":"2"}"#),
        ] {
            let refused = error(&send(path, route, "application/json", body).await);
            assert_eq!((refused.0, refused.1.as_str()), (422, "ChromaError"), "{route} {body}");
        }
    }
    for (route, body) in [("get", r#"{"read_token":0}"#), ("commit", good)] {
        assert_invalid(&send(&no_uuid, route, "application/json", body).await, "Collection ID is not a valid UUIDv4");
        assert_eq!(error(&send(&missing, route, "application/json", body).await).1, "NotFoundError");
    }
    let placed = r#"{"operations":[{"operation":"add","payload":{"ids":[1]}}]}"#;
    let refused = error(&send(&path, "commit", "application/json", placed).await).2;
    assert!(refused.contains("operations[0].payload.ids[0]: invalid type: integer `1`"), "{refused}");
    let one = json!([add(&["n"])]);
    let words = "read_token: expected the token of the read, as there are read_ids";
    assert_invalid(&commit(&server, &path, None, &["a"], one.clone()).await, words);
    let words = "read_ids[1]: expected at least one character, got none";
    assert_invalid(&commit(&server, &path, Some(2), &["a", ""], one.clone()).await, words);
    assert_stale(&commit(&server, &path, Some(0), &["a"], one.clone()).await);
    assert_stale(&server.post(&format!("{path}/conditional/get"), &json!({"read_token": 0})).await);
    let words = "read_token: expected at most 2, the next position of the log, got 3";
    assert_invalid(&commit(&server, &path, Some(3), &["a"], one).await, words);
    assert_invalid(&server.post(&format!("{path}/conditional/get"), &json!({"read_token": 3})).await, words);
    let refused = error(&server.post(&format!("{path}/conditional/get"), &json!({"where": {}})).await);
    assert!(refused.0 == 400 && refused.2.starts_with("Invalid where clause"), "{refused:?}");
    assert_eq!(count(&server, &path).await, json!(3));
    server.stop().await;
}

#[tokio::test]
async fn too_many_operations_or_ids_are_refused_with_the_limit() {
    let mut settings = Settings::new(Storage::Memory);
    settings.limits.batch_records = 3;
    let server = Server::with(settings, HttpSettings::default()).await;
    let path = create(&server, json!({"name": "small"})).await;
    let many: Vec<Value> = (0..1_001).map(|n| add(&[&format!("r{n}")])).collect();
    let refused = error(&commit(&server, &path, None, &[], json!(many)).await);
    assert!(refused.0 == 400 && refused.2.contains("at most 1000 in one transaction"), "{refused:?}");
    let refused = error(&commit(&server, &path, Some(1), &["a", "b", "c", "d"], json!([])).await);
    assert!(refused.0 == 400 && refused.2.contains("DRUMLIN_MAX_BATCH_RECORDS"), "{refused:?}");
    let refused = error(&commit(&server, &path, Some(1), &[], json!([add(&["a", "b"]), add(&["c", "d"])])).await);
    assert!(refused.0 == 400 && refused.2.contains("at most 3 records in one transaction"), "{refused:?}");
    assert_eq!(count(&server, &path).await, json!(0));
    assert_committed(&commit(&server, &path, Some(1), &[], json!([add(&["a", "b"]), add(&["c"])])).await, 1, 3);
    server.stop().await;
}
