//! Two servers on one bucket: reads that ask the bucket first, names that both create at once.

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use serde_json::json;

use super::{DB, create};

/// A server on a folder that others use too.
async fn on(folder: &tempfile::TempDir) -> Server {
    Server::with(Settings::new(Storage::Folder(folder.path().to_owned())), HttpSettings::default()).await
}

#[tokio::test]
async fn a_strong_read_sees_what_another_server_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (on(&folder).await, on(&folder).await);
    let path = create(&one, json!({"name": "shared"})).await;
    for n in 0..6 {
        let (writer, reader) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let body = json!({"ids": [format!("n{n}")], "embeddings": [[n, 1]]});
        let added = writer.post(&format!("{path}/add"), &body).await;
        assert_eq!(added.status, 201, "a collection of another server is found: {}", added.text());
        assert_eq!(reader.get(&format!("{path}/count?consistency=strong")).await.json(), json!(n + 1));
        let got = reader.post(&format!("{path}/get?consistency=strong"), &json!({"ids": [format!("n{n}")]})).await;
        assert_eq!(got.json()["ids"].as_array().map(Vec::len), Some(1));
        let query = json!({"query_embeddings": [[n, 1]], "n_results": 1});
        let found = reader.post(&format!("{path}/query?consistency=strong"), &query).await;
        assert_eq!(found.json()["ids"], json!([[format!("n{n}")]]));
    }
    assert_eq!(other.get(&format!("{path}/count?consistency=bogus")).await.status, 400);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn two_servers_that_create_one_name_at_once_make_one_collection() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (on(&folder).await, on(&folder).await);
    for round in 0..5 {
        let body = json!({"name": format!("col{round}"), "get_or_create": true});
        let route = format!("{DB}/collections");
        let (first, second) = tokio::join!(one.post(&route, &body), other.post(&route, &body));
        assert_eq!((first.status, second.status), (200, 200), "{} {}", first.text(), second.text());
        assert_eq!(first.json()["id"], second.json()["id"], "round {round}");
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn everything_is_still_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = on(&folder).await;
    let tenant = server.post("/api/v2/tenants", &json!({"name": "acme"})).await;
    assert_eq!(tenant.status, 200);
    assert_eq!(server.post("/api/v2/tenants/acme/databases", &json!({"name": "base"})).await.status, 200);
    let base = "/api/v2/tenants/acme/databases/base";
    let function = json!({"type": "known", "name": "x", "config": {"a": 1.0}});
    let body = json!({"name": "kept", "metadata": {"m": 1}, "configuration": {"hnsw": {"space": "ip"}, "embedding_function": function}});
    let made = server.post(&format!("{base}/collections"), &body).await.json();
    let path = format!("{base}/collections/{}", made["id"].as_str().unwrap());
    let record =
        json!({"ids": ["a"], "embeddings": [[1, 2]], "metadatas": [{"k": 1}], "documents": ["d"], "uris": ["u"]});
    assert_eq!(server.post(&format!("{path}/add"), &record).await.status, 201);
    let before = server.get(&format!("{base}/collections/kept")).await.json();
    server.stop().await;
    let server = on(&folder).await;
    assert_eq!(server.get(&format!("{base}/collections/kept")).await.json(), before);
    let all = json!({"include": ["embeddings", "documents", "metadatas", "uris"]});
    let got = server.post(&format!("{path}/get"), &all).await.json();
    assert_eq!((&got["embeddings"], &got["metadatas"]), (&json!([[1.0, 2.0]]), &json!([{"k": 1}])));
    assert_eq!((&got["documents"], &got["uris"]), (&json!(["d"]), &json!(["u"])));
    server.stop().await;
}
