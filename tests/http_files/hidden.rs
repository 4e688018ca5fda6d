//! The collection that holds the records of files is no user's: no listing, count or lookup shows it, nobody writes it,
//! and nobody can make one of that name.

use drumlin::admin::Moment;
use drumlin::{CollectionSpec, ErrorKind, Record, Scope};
use serde_json::json;

use super::*;

const DB: &str = "/api/v2/tenants/default_tenant/databases/default_database";

#[tokio::test]
async fn neither_api_shows_or_writes_it() {
    let server = serve().await;
    server.send("PUT", "/api/files/a", &[], b"x").await;
    let id = server.store.collection(".files").await.unwrap().identity().id;
    assert_eq!(server.get("/api/collections").await.json(), json!([]));
    assert_eq!(server.get(&format!("{DB}/collections")).await.json(), json!([]));
    assert_eq!(server.get(&format!("{DB}/collections_count")).await.json(), json!(0));
    for (method, path, status) in [
        ("GET", "/api/collections/.files".to_owned(), 400),
        ("DELETE", "/api/collections/.files".to_owned(), 400),
        ("POST", "/api/collections/.files/get".to_owned(), 400),
        ("GET", format!("{DB}/collections/.files"), 404),
        ("DELETE", format!("{DB}/collections/.files"), 404),
        ("GET", format!("{DB}/collections/by-id/{id}"), 404),
        ("GET", format!("{DB}/collections/{id}/count"), 404),
        ("POST", format!("{DB}/collections/{id}/get"), 404),
        ("POST", format!("{DB}/collections/{id}/delete"), 404),
        ("PUT", format!("{DB}/collections/{id}"), 404),
        ("POST", format!("{DB}/collections/{id}/fork"), 404),
        ("GET", format!("{DB}/collections/{id}/fork_count"), 404),
    ] {
        let answer =
            server.send(method, &path, &[("content-type", "application/json")], b"{\"new_name\": \"other\"}").await;
        assert!(
            answer.status == status || answer.status == 400,
            "{method} {path}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert_eq!(server.get("/api/files/a").await.body, b"x");
    server.stop().await;
}

#[tokio::test]
async fn no_user_can_give_such_a_name_and_none_can_part_records_from_contents() {
    let server = serve().await;
    let (store, scope) = (&server.store, Scope::default());
    for name in [".files", ".x"] {
        let made = store.with_scope(&scope).create_collection(CollectionSpec::new(name)).await.map(|_| ());
        assert_eq!(made.map_err(|e| e.kind()), Err(ErrorKind::Invalid), "{name}");
        assert_eq!(server.post("/api/collections", &json!({"name": name})).await.status, 400);
        assert_eq!(server.post(&format!("{DB}/collections"), &json!({"name": name})).await.status, 400);
    }
    put(&store.with_scope(&scope).files(), "a", b"x").await.unwrap();
    let other = store.with_scope(&scope).create_collection(CollectionSpec::new("other")).await.unwrap().identity().id;
    let files = store.collection(".files").await.unwrap();
    let id = files.identity().id;
    let named = |name: &str| drumlin::CollectionChange { name: Some(name.to_owned()), ..Default::default() };
    assert_eq!(store.fork_collection(id, "b").await.map(|_| ()).map_err(|e| e.kind()), Err(ErrorKind::Invalid));
    assert_eq!(store.fork_collection(other, ".b").await.map(|_| ()).map_err(|e| e.kind()), Err(ErrorKind::Invalid));
    assert_eq!(store.modify_collection(id, named("b")).await.map_err(|e| e.kind()), Err(ErrorKind::Invalid));
    assert_eq!(store.modify_collection(other, named(".b")).await.map_err(|e| e.kind()), Err(ErrorKind::Invalid));
    for (of, name) in [(".files", "b"), ("other", ".b")] {
        let restored = store.with_scope(&scope).admin().restore_collection(of, Moment::Sound, name).await.map(|_| ());
        assert_eq!(restored.map_err(|e| e.kind()), Err(ErrorKind::Invalid), "{of}");
    }
    // Records with embeddings and records without are never in one collection.
    let mixed = files.add([Record::new("v", vec![1.0])]).await.map(|_| ());
    assert_eq!(mixed.map_err(|e| e.kind()), Err(ErrorKind::Invalid));
    let bare = store.collection("other").await.unwrap().add([Record::new("v", Vec::new())]).await.map(|_| ());
    assert_eq!(bare.map_err(|e| e.kind()), Err(ErrorKind::Invalid));
    let searched = files.search(drumlin::Query::new([1.0])).await.map(|_| ());
    assert_eq!(searched.map_err(|e| e.kind()), Err(ErrorKind::Invalid));
    server.stop().await;
}
