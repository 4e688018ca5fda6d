//! Embedding a collection anew over the native API, and what the name answers meanwhile.

use std::time::Duration;

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use serde_json::{Value, json};

use crate::texts::add_model;

const NOTES: &str = "/api/collections/notes";
const REEMBED: &str = "/api/collections/notes/reembed";

async fn start(records: usize) -> Server {
    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    add_model(&server.store).await;
    let body = json!({"name": "notes", "embedder": {"model": "tiny"}, "metadata": {"of": "rivers"}});
    assert_eq!(server.post("/api/collections", &body).await.status, 201);
    let records: Vec<Value> =
        (0..records).map(|n| json!({"id": format!("r{n}"), "document": format!("green stone {n}")})).collect();
    assert_eq!(server.post("/api/collections/notes/add", &json!({"records": records})).await.status, 201);
    server
}

fn other() -> Value {
    json!({"embedder": {"model": "tiny", "passage_prefix": "a river "}, "metric": "l2"})
}

#[tokio::test]
async fn a_collection_is_embedded_anew_while_its_name_answers_and_takes_writes() {
    let server = start(900).await;
    assert_eq!(server.get(REEMBED).await.json(), json!({"state": "none", "embedded": 0, "of": 0, "texts_per_s": 0.0}));
    let id = server.get(NOTES).await.json()["id"].clone();
    let begun = server.post(REEMBED, &other()).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    assert_eq!(begun.json()["state"], "running");
    let mut written = 900;
    let done = loop {
        let one = json!({"records": [{"id": format!("r{written}"), "document": format!("light {written}")}]});
        let added = server.post("/api/collections/notes/add", &one).await;
        assert_eq!(added.status, 201, "{}", added.text());
        written += 1;
        let search = json!({"text": "green stone 7", "k": 1});
        let found = server.post("/api/collections/notes/search", &search).await;
        assert_eq!(found.status, 200, "{}", found.text());
        assert_eq!(found.json()["results"][0].as_array().map(Vec::len), Some(1));
        let status = server.get(REEMBED).await;
        assert_eq!(status.status, 200, "{}", status.text());
        match status.json()["state"].as_str() {
            Some("running") => tokio::time::sleep(Duration::from_millis(2)).await,
            _ => break status.json(),
        }
    };
    assert_eq!((&done["state"], &done["embedder"]), (&json!("done"), &other()["embedder"]), "{done}");
    let now = server.get(NOTES).await.json();
    assert_eq!((&now["metric"], &now["embedder"]), (&json!("l2"), &other()["embedder"]));
    assert_eq!((&now["metadata"], &now["count"]), (&json!({"of": "rivers"}), &json!(written)));
    assert_ne!(now["id"], id);
    assert_eq!(server.get("/api/collections").await.json().as_array().map(Vec::len), Some(1));
    assert_eq!(server.send("DELETE", REEMBED, &[], b"").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_begun_is_refused_with_its_field() {
    let server = start(3).await;
    for (path, body, status, words) in [
        (REEMBED, json!({}), 400, "embedder"),
        (REEMBED, json!({"embedder": {"model": "absent"}}), 400, "embedder.model: there is no model \"absent\""),
        (REEMBED, json!({"embedder": {"modle": "tiny"}}), 400, "embedder: expected an object with model"),
        (REEMBED, json!({"embedder": {"model": "tiny"}, "metric": "far"}), 400, "metric"),
        (REEMBED, json!({"embedder": {"model": "tiny"}, "dimension": 3}), 400, "dimension"),
        ("/api/collections/gone/reembed", json!({"embedder": {"model": "tiny"}}), 404, "\"gone\""),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{body}: {message}");
    }
    let bare = json!({"records": [{"id": "bare", "embedding": vec![1; 16]}]});
    assert_eq!(server.post("/api/collections/notes/add", &bare).await.status, 201);
    let refused = server.post(REEMBED, &other()).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("1 records of collection"), "{}", refused.text());
    assert_eq!(server.send("DELETE", REEMBED, &[], b"").await.status, 404);
    assert_eq!(server.get("/api/collections/gone/reembed").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_collection_that_was_made_for_words_alone_gets_embeddings() {
    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    add_model(&server.store).await;
    assert_eq!(server.post("/api/collections", &json!({"name": "notes", "dimension": 0})).await.status, 201);
    let records = json!({"records": [{"id": "a", "document": "a green river"}, {"id": "b", "document": "stones"}]});
    assert_eq!(server.post("/api/collections/notes/add", &records).await.status, 201);
    assert_eq!(server.post(REEMBED, &json!({"embedder": {"model": "tiny"}})).await.status, 202);
    while server.get(REEMBED).await.json()["state"] == "running" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let search = json!({"text": "stones", "mode": "meaning", "k": 1});
    let found = server.post("/api/collections/notes/search", &search).await;
    assert_eq!(found.json()["results"][0][0]["id"], "b", "{}", found.text());
    server.stop().await;
}
