//! The first version of Chroma's API: what differs from the second. Which answers are right was measured on Chroma
//! 0.5.23's own server, and `tests/clients/test_older_clients.py` compares many more.

use drumlin_test_support::server::Server;
use serde_json::{Value, json};

use super::{DB, assert_invalid, assert_refused, put, start};

const COLLECTIONS: &str = "/api/v1/collections";

async fn made(server: &Server, query: &str, body: Value) -> Value {
    let made = server.post(&format!("{COLLECTIONS}{query}"), &body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    made.json()
}

/// The path of a collection's records.
fn path_of(collection: &Value) -> String {
    format!("{COLLECTIONS}/{}", collection["id"].as_str().expect("an id"))
}

/// A server with a collection of three records, and its path.
async fn with_notes() -> (Server, String) {
    let server = start().await;
    let path = path_of(&made(&server, "", json!({"name": "notes"})).await);
    let body = json!({
        "ids": ["a", "b", "c"],
        "embeddings": [[1, 0], [0, 1], [1, 1.5]],
        "metadatas": [{"k": 1, "gone": null}, null, {"k": 2}],
        "documents": ["d1", null, ""],
    });
    let added = server.post(&format!("{path}/add"), &body).await;
    assert_eq!((added.status, added.text()), (201, "true".to_owned()));
    (server, path)
}

#[tokio::test]
async fn a_server_says_that_it_is_the_last_that_spoke_this_version() {
    let server = start().await;
    assert_eq!(server.get("/api/v1/version").await.text(), "\"0.5.23\"");
    let checks = server.get("/api/v1/pre-flight-checks").await.json();
    assert_eq!(checks.as_object().map(serde_json::Map::len), Some(1));
    assert!(checks["max_batch_size"].as_u64().is_some_and(|most| most >= 5461), "{checks}");
    assert!(server.get("/api/v1").await.json()["nanosecond heartbeat"].is_u64());
    server.stop().await;
}

#[tokio::test]
async fn a_collection_has_its_settings_where_older_clients_look_for_them() {
    let server = start().await;
    let asked = json!({
        "name": "notes",
        "metadata": {"hnsw:space": "cosine", "topic": "birds"},
        "configuration": {
            "_type": "CollectionConfigurationInternal",
            "hnsw_configuration": {"_type": "HNSWConfigurationInternal", "space": "l2", "ef_search": 10, "M": 16},
        },
    });
    let collection = made(&server, "", asked).await;
    let hnsw = &collection["configuration_json"]["hnsw_configuration"];
    assert_eq!(
        (&hnsw["space"], &hnsw["M"], &hnsw["_type"]),
        (&json!("cosine"), &json!(16), &json!("HNSWConfigurationInternal"))
    );
    assert_eq!(collection["configuration_json"]["_type"], "CollectionConfigurationInternal");
    assert_eq!(collection["metadata"], json!({"hnsw:space": "cosine", "topic": "birds"}));
    let keys: Vec<&str> = collection.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec!["configuration_json", "database", "dimension", "id", "log_position", "metadata", "name"];
    expected.extend(["tenant", "version"]);
    assert_eq!(
        keys.iter().copied().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>(),
        expected
    );
    assert_eq!(server.get(COLLECTIONS).await.json(), json!([collection]));
    assert_eq!(server.get("/api/v1/count_collections").await.json(), json!(1));
    let other = json!({"name": "other", "metadata": {}, "configuration": {"hnsw_configuration": {"space": "ip"}}});
    let other = made(&server, "", other).await;
    assert_eq!(
        (&other["metadata"], &other["configuration_json"]["hnsw_configuration"]["space"]),
        (&Value::Null, &json!("ip"))
    );
    server.stop().await;
}

#[tokio::test]
async fn answers_of_reads_end_with_the_fields_of_this_version() {
    let (server, path) = with_notes().await;
    let got = server.post(&format!("{path}/get"), &json!({"where": {}, "where_document": {}, "sort": null})).await;
    let expected = json!({
        "ids": ["a", "b", "c"], "embeddings": null, "documents": ["d1", null, ""], "uris": null,
        "metadatas": [{"k": 1}, null, {"k": 2}], "data": null, "included": ["documents", "metadatas"],
    });
    assert_eq!(got.json(), expected, "an empty filter is none");
    let got = server.post(&format!("{path}/get"), &json!({"include": ["data", "distances", "uris"], "limit": 1})).await;
    assert_eq!((&got.json()["included"], &got.json()["uris"]), (&json!(["uris"]), &json!([null])));
    let query = json!({"query_embeddings": [[1, 0]], "n_results": 1, "where": {}, "include": ["distances"]});
    let expected = json!({
        "ids": [["a"]], "embeddings": null, "documents": null, "uris": null, "metadatas": null,
        "distances": [[0.0]], "data": null, "included": ["distances"],
    });
    assert_eq!(server.post(&format!("{path}/query"), &query).await.json(), expected);
    assert_eq!(server.get(&format!("{path}/count?consistency=strong")).await.json(), json!(3));
    server.stop().await;
}

#[tokio::test]
async fn writes_answer_what_clients_with_types_can_read() {
    let (server, path) = with_notes().await;
    let empty = json!({"ids": ["a"], "embeddings": [[2, 0]], "metadatas": [], "documents": [], "uris": []});
    for (route, body) in [
        ("upsert", empty),
        ("update", json!({"ids": ["a"], "embeddings": [], "documents": ["new"]})),
        ("update", json!({"ids": ["nothing"], "documents": ["new"]})),
    ] {
        let answer = server.post(&format!("{path}/{route}"), &body).await;
        assert_eq!((answer.status, answer.text()), (200, "null".to_owned()), "{route} {body}");
    }
    let got = server.post(&format!("{path}/get"), &json!({"ids": ["a"], "include": ["embeddings", "documents"]})).await;
    assert_eq!((&got.json()["embeddings"], &got.json()["documents"]), (&json!([[2.0, 0.0]]), &json!(["new"])));
    // Dart's client and LangChain4j's take a list only.
    for (body, deleted) in [
        (json!({"ids": ["a", "nothing"], "where": {}}), json!(["a"])),
        (json!({"ids": ["b"], "where": {"k": 2}}), json!([])),
        (json!({"where": {"k": 2}}), json!(["c"])),
    ] {
        let answer = server.post(&format!("{path}/delete"), &body).await;
        assert_eq!((answer.status, answer.json()), (200, deleted), "{body}");
    }
    let words = "You must provide either ids, where, or where_document to delete";
    for body in [json!({}), json!({"ids": []}), json!({"ids": [], "where": {}, "where_document": {}})] {
        assert_invalid(&server.post(&format!("{path}/delete"), &body).await, words);
    }
    assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(1));
    server.stop().await;
}

#[tokio::test]
async fn an_id_is_enough_in_every_database_and_a_database_that_is_named_counts() {
    let server = start().await;
    for (path, name) in [("/api/v1/tenants", "gardeners"), ("/api/v1/databases?tenant=gardeners", "beds")] {
        let answer = server.post(path, &json!({"name": name})).await;
        assert_eq!((answer.status, answer.text()), (200, "null".to_owned()));
    }
    let there = "?tenant=gardeners&database=beds";
    let roses = made(&server, there, json!({"name": "roses"})).await;
    assert_eq!((&roses["tenant"], &roses["database"]), (&json!("gardeners"), &json!("beds")));
    let path = path_of(&roses);
    let added = server.post(&format!("{path}/add"), &json!({"ids": ["a"], "embeddings": [[1]]})).await;
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(server.get(&format!("{path}/count{there}")).await.json(), json!(1));
    let id = roses["id"].as_str().unwrap();
    let words = format!("Collection {id} does not exist.");
    for query in ["?tenant=default_tenant", "?database=default_database", "?tenant=gardeners&database=paths"] {
        assert_refused(&server.get(&format!("{path}/count{query}")).await, 400, "InvalidCollection", &words);
    }
    assert_eq!(server.get(COLLECTIONS).await.json(), json!([]));
    let second = "/api/v2/tenants/gardeners/databases/beds/collections/roses";
    assert_eq!(server.get(second).await.json()["id"], id, "both versions show one store");
    assert_eq!(server.get("/api/v1/tenants/gardeners").await.json(), json!({"name": "gardeners"}));
    assert_eq!(server.get("/api/v1/databases/beds?tenant=gardeners").await.json()["tenant"], "gardeners");
    server.stop().await;
}

#[tokio::test]
async fn failures_have_the_names_and_words_that_older_clients_look_for() {
    const NO_ID: &str = "00000000-0000-4000-8000-00000000dead";
    let (server, path) = with_notes().await;
    made(&server, "", json!({"name": "taken"})).await;
    let missing = server.get(&format!("{COLLECTIONS}/nothing")).await;
    assert_refused(&missing, 400, "InvalidCollection", "Collection nothing does not exist.");
    let missing = server.get(&format!("{COLLECTIONS}/{NO_ID}/count")).await;
    assert_refused(&missing, 400, "InvalidCollection", &format!("Collection {NO_ID} does not exist."));
    let missing = server.send("DELETE", &format!("{COLLECTIONS}/nothing"), &[], b"").await;
    assert_invalid(&missing, "Collection nothing does not exist.");
    let no_id = server.get(&format!("{COLLECTIONS}/notes/count")).await;
    assert_refused(&no_id, 400, "InvalidUUID", "Could not parse notes as a UUID");
    let again = server.post(COLLECTIONS, &json!({"name": "notes"})).await;
    assert_refused(&again, 409, "UniqueConstraintError", "Collection notes already exists");
    let taken = put(&server, &path, &json!({"new_name": "taken"})).await;
    assert_refused(&taken, 409, "UniqueConstraintError", "Collection taken already exists");
    let words = "Embedding dimension 3 does not match collection dimensionality 2";
    for (route, body) in [
        ("add", json!({"ids": ["x"], "embeddings": [[1, 2, 3]]})),
        ("update", json!({"ids": ["a"], "embeddings": [[1, 2, 3]]})),
        ("query", json!({"query_embeddings": [[1, 2, 3]]})),
    ] {
        assert_refused(&server.post(&format!("{path}/{route}"), &body).await, 400, "InvalidDimension", words);
    }
    let tenant = server.get("/api/v1/tenants/nobody").await;
    assert_refused(&tenant, 404, "NotFoundError", "Tenant nobody not found");
    let database = server.get("/api/v1/databases/nothing").await;
    let words = "Database nothing not found for tenant default_tenant. Are you sure it exists?";
    assert_refused(&database, 404, "NotFoundError", words);
    let shape = server.post(&format!("{path}/add"), &json!({"ids": ["x"]})).await;
    assert_eq!((shape.status, &shape.json()["error"]), (422, &json!("InvalidArgumentError")));
    assert_eq!(server.get(DB).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_collection_is_changed_by_its_id_and_dropped_by_its_name() {
    let (server, path) = with_notes().await;
    for change in [
        json!({"new_name": "birds"}),
        json!({"new_metadata": {"topic": "birds"}}),
        json!({}),
        json!({"new_metadata": {}}),
    ] {
        let changed = put(&server, &path, &change).await;
        assert_eq!((changed.status, changed.text()), (200, "null".to_owned()), "{change}");
    }
    let birds = server.get(&format!("{COLLECTIONS}/birds")).await.json();
    assert_eq!((&birds["metadata"], &birds["dimension"]), (&json!({"topic": "birds"}), &json!(2)));
    let got = made(&server, "", json!({"name": "birds", "get_or_create": true, "metadata": {"topic": "fish"}})).await;
    assert_eq!(got, birds);
    let dropped = server.send("DELETE", &format!("{COLLECTIONS}/birds"), &[], b"").await;
    assert_eq!((dropped.status, dropped.text()), (200, "null".to_owned()));
    assert_eq!(server.get(&format!("{path}/count")).await.status, 400);
    let reset = server.send("POST", "/api/v1/reset", &[], b"").await;
    assert_eq!((reset.status, reset.text()), (200, "true".to_owned()));
    server.stop().await;
}
