//! Names over HTTP where two servers share a bucket and neither follows the other: a request by name goes to whoever has
//! the name.

use std::time::Duration;

use drumlin::Settings;
use drumlin::http::HttpSettings;
use drumlin_test_support::server::Server;
use serde_json::json;

const C: &str = "/api/collections/things";

/// A server on a bucket that others use too; it does not follow them unless asked.
async fn beside(folder: &tempfile::TempDir) -> Server {
    let mut settings = Settings::folder(folder.path());
    settings.sync_interval = Duration::from_secs(1 << 24);
    Server::with(settings, HttpSettings::default()).await
}

/// Drops the collection and makes it anew, with one record.
async fn remake(server: &Server) {
    server.send("DELETE", C, &[], b"").await;
    assert_eq!(server.post("/api/collections", &json!({"name": "things"})).await.status, 201);
    let records = json!({"records": [{"id": "new", "embedding": [1, 0]}]});
    assert_eq!(server.post(&format!("{C}/add"), &records).await.status, 201);
}

#[tokio::test]
async fn a_request_by_name_finds_the_collection_that_another_server_has_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (beside(&folder).await, beside(&folder).await);
    let record = json!({"records": [{"id": "x", "embedding": [0, 1]}]});
    let requests = [
        ("add", record.clone(), json!({"added": 1, "skipped": 0, "version": 2})),
        ("upsert", record.clone(), json!({"upserted": 1, "skipped": 0, "version": 2})),
        (
            "update",
            json!({"records": [{"id": "new", "document": "d"}]}),
            json!({"updated": 1, "skipped": 0, "version": 2}),
        ),
        ("delete", json!({"ids": ["new"]}), json!({"deleted": 1, "skipped": 0, "version": 2})),
        ("count?consistency=strong", json!({}), json!({"count": 1})),
    ];
    for (verb, body, told) in requests {
        remake(&one).await;
        assert_eq!(other.get(&format!("{C}/count?consistency=strong")).await.json(), json!({"count": 1}));
        remake(&one).await;
        let answer = other.post(&format!("{C}/{verb}"), &body).await;
        assert_eq!(answer.json(), told, "{verb}: {}", answer.status);
    }
    for (verb, body, field) in [
        ("get", json!({}), "records"),
        ("search", json!({"id": "new", "k": 1}), "results"),
        ("search", json!({"embedding": [1, 0]}), "results"),
    ] {
        remake(&one).await;
        let answer = other.post(&format!("{C}/{verb}?consistency=strong"), &body).await;
        assert!(answer.status == 200 && answer.json().get(field).is_some(), "{verb}: {}", answer.text());
    }
    remake(&one).await;
    assert_eq!(other.get(&format!("{C}?consistency=strong")).await.json()["count"], json!(1));
    one.send("DELETE", C, &[], b"").await;
    assert_eq!(other.post(&format!("{C}/add"), &record).await.status, 404, "nobody has the name");
    one.stop().await;
    other.stop().await;
}
