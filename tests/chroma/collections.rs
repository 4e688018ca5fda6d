//! Collections: created, listed, found, dropped; what a create may say, and which of it counts.

use std::sync::Arc;

use drumlin_test_support::server::Server;
use serde_json::{Value, json};

use super::{DB, assert_invalid, assert_refused, create, error, start};

async fn created(server: &Server, body: Value) -> Value {
    let created = server.post(&format!("{DB}/collections"), &body).await;
    assert_eq!(created.status, 200, "{body}: {}", created.text());
    created.json()
}

#[tokio::test]
async fn a_collection_shows_every_key_of_chromas() {
    let server = start().await;
    let mut body = created(&server, json!({"name": "col1", "metadata": {"a": 1, "f": 1.0}})).await;
    assert!(body["id"].as_str().is_some_and(|id| id.len() == 36), "{body}");
    let text = server.get(&format!("{DB}/collections/col1")).await.text();
    assert!(text.contains(r#""metadata":{"a":1,"f":1.0}"#), "numbers keep their kind: {text}");
    body["id"] = Value::Null;
    assert_eq!(body["schema"]["keys"]["#document"]["string"]["fts_index"]["enabled"], true);
    body["schema"] = Value::Null;
    let hnsw = json!({
        "space": "l2", "ef_construction": 100, "ef_search": 100, "max_neighbors": 16, "resize_factor": 1.2,
        "sync_threshold": 1000,
    });
    let expected = json!({
        "id": null, "name": "col1", "configuration_json": {"hnsw": hnsw, "spann": null, "embedding_function": null},
        "schema": null, "metadata": {"a": 1, "f": 1.0}, "dimension": null, "tenant": "default_tenant",
        "database": "default_database", "log_position": 0, "version": 0,
    });
    assert_eq!(body, expected);
    server.stop().await;
}

#[tokio::test]
async fn collections_are_found_by_name_or_by_id_each_on_its_own_route() {
    let server = start().await;
    let made = created(&server, json!({"name": "col1"})).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("{DB}/collections/col1")).await.json(), made);
    assert_eq!(server.get(&format!("{DB}/collections/by-id/{id}")).await.json(), made);
    let by_wrong = server.get(&format!("{DB}/collections/{id}")).await;
    assert_refused(&by_wrong, 404, "NotFoundError", &format!("Collection [{id}] does not exist"));
    let nobody = "60bc2f5b-0e94-41af-b7b8-a55b841a6255";
    let missing = server.get(&format!("{DB}/collections/by-id/{nobody}")).await;
    assert_refused(&missing, 404, "NotFoundError", &format!("Collection [{nobody}] does not exist"));
    let no_id = server.get(&format!("{DB}/collections/by-id/xx")).await;
    assert_invalid(&no_id, "Validation error: collection_id: Invalid collection ID format, expected UUID");
    server.stop().await;
}

#[tokio::test]
async fn collections_are_listed_by_id_in_pages() {
    let server = start().await;
    for name in ["ccc", "aaa", "bbb", "ddd"] {
        create(&server, json!({"name": name})).await;
    }
    let ids = async |query: &str| {
        let listed = server.get(&format!("{DB}/collections{query}")).await.json();
        listed.as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ids("").await;
    assert!(all.len() == 4 && all.is_sorted(), "{all:?}");
    assert_eq!(ids("?limit=100&offset=0").await, all);
    assert_eq!(ids("?limit=2&offset=1").await, all[1..3]);
    assert_eq!(ids("?offset=3").await, all[3..]);
    assert_eq!(ids("?limit=0").await, [""; 0]);
    assert_eq!(server.get(&format!("{DB}/collections_count")).await.json(), json!(4));
    server.stop().await;
}

#[tokio::test]
async fn a_name_is_taken_until_its_collection_is_deleted() {
    let server = start().await;
    create(&server, json!({"name": "col1"})).await;
    let twice = server.post(&format!("{DB}/collections"), &json!({"name": "col1"})).await;
    assert_refused(&twice, 409, "ChromaError", "Collection [col1] already exists");
    let drop = async |name: &str| server.send("DELETE", &format!("{DB}/collections/{name}"), &[], b"").await;
    let dropped = drop("col1").await;
    assert_eq!((dropped.status, dropped.json()), (200, json!({})));
    assert_refused(&drop("col1").await, 404, "NotFoundError", "Collection [col1] does not exist");
    create(&server, json!({"name": "col1"})).await;
    server.stop().await;
}

#[tokio::test]
async fn get_or_create_answers_the_existing_collection_unchanged() {
    let server = start().await;
    let made = created(&server, json!({"name": "col1"})).await;
    let again = json!({
        "name": "col1", "get_or_create": true, "metadata": {"hnsw:space": "ip"},
        "configuration": {"embedding_function": {"type": "legacy"}},
    });
    assert_eq!(created(&server, again).await, made);
    let body = json!({"name": "col1", "get_or_create": true, "metadata": {}});
    let bad = server.post(&format!("{DB}/collections"), &body).await;
    assert_invalid(&bad, "Validation error: metadata: Metadata cannot be empty");
    let new = created(&server, json!({"name": "col2", "get_or_create": true, "metadata": {"a": 1}})).await;
    assert_eq!(new["metadata"], json!({"a": 1}));
    let null = server.post(&format!("{DB}/collections"), &json!({"name": "col3", "get_or_create": null})).await;
    assert_eq!(null.status, 422);
    server.stop().await;
}

#[tokio::test]
async fn many_who_get_or_create_one_name_get_one_collection() {
    let server = Arc::new(start().await);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(
                async move { created(&server, json!({"name": "one", "get_or_create": true})).await["id"].clone() },
            )
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(server.get(&format!("{DB}/collections_count")).await.json(), json!(1));
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test]
async fn names_are_checked_by_the_server() {
    let server = start().await;
    let charset = "Expected a name containing 3-512 characters from [a-zA-Z0-9._-], starting and ending with a character in [a-zA-Z0-9]. Got: ";
    let cases = [
        ("ab", format!("{charset}ab")),
        ("a b", format!("{charset}a b")),
        ("a+b", format!("{charset}a")),
        ("a..b", "Expected a name that does not contains two consecutive periods (..). Got a..b".to_owned()),
        ("1.2.3.4", "Expected a name that is not a valid ip address. Got 1.2.3.4".to_owned()),
        ("abc+def+ghi", "Expected a name to contain at most one topology:  Got two `+` characters.".to_owned()),
    ];
    for (name, words) in cases {
        let refused = server.post(&format!("{DB}/collections"), &json!({"name": name})).await;
        assert_invalid(&refused, &format!("Validation error: name: {words}"));
    }
    create(&server, json!({"name": "abc+def"})).await;
    server.stop().await;
}

#[tokio::test]
async fn a_collections_metadata_holds_scalars_under_keys_of_the_users_own() {
    let server = start().await;
    let post = async |metadata: Value| {
        server.post(&format!("{DB}/collections"), &json!({"name": "col1", "metadata": metadata})).await
    };
    assert_invalid(&post(json!({})).await, "Validation error: metadata: Metadata cannot be empty");
    assert_invalid(&post(json!({"": 1})).await, "Validation error: metadata: Metadata key cannot be empty");
    let reserved = "Validation error: metadata: Metadata key cannot start with '#' or '$': #a";
    assert_invalid(&post(json!({"#a": 1})).await, reserved);
    for shape in [json!({"a": null}), json!({"a": {}}), json!({"a": [1, "b"]})] {
        let refused = post(shape).await;
        let words =
            "Failed to deserialize the JSON body into the target type: metadata.a: data did not match any variant";
        assert!(error(&refused).0 == 422 && error(&refused).2.starts_with(words), "{}", refused.text());
    }
    assert_eq!(post(json!({"a": [1, 2]})).await.status, 400, "Chroma's own server breaks the connection");
    let made = post(json!({"s": "x", "i": 1, "f": 1.5, "b": true, "chroma:document": "x"})).await;
    assert_eq!(made.json()["metadata"], json!({"s": "x", "i": 1, "f": 1.5, "b": true, "chroma:document": "x"}));
    server.stop().await;
}

#[tokio::test]
async fn several_faults_of_a_create_are_told_together() {
    let server = start().await;
    let refused = server.post(&format!("{DB}/collections"), &json!({"name": "ab", "metadata": {}})).await;
    let (status, _, message) = error(&refused);
    assert_eq!(status, 400);
    assert!(
        message.contains("name: Expected a name") && message.contains("\nmetadata: Metadata cannot be empty"),
        "{message}"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_space_of_a_configuration_and_of_old_metadata_keys_is_honoured() {
    let server = start().await;
    let cases = [
        ("metadata", json!({"metadata": {"hnsw:space": "cosine"}}), "cosine"),
        ("default-config", json!({"configuration": {"hnsw": {"space": "l2"}}, "metadata": {"hnsw:space": "ip"}}), "ip"),
        (
            "config-wins",
            json!({"configuration": {"hnsw": {"space": "cosine"}}, "metadata": {"hnsw:space": "ip"}}),
            "cosine",
        ),
        (
            "any-config-wins",
            json!({"configuration": {"hnsw": {"ef_search": 7}}, "metadata": {"hnsw:space": "ip"}}),
            "l2",
        ),
        ("spann", json!({"configuration": {"spann": {"space": "cosine", "ef_search": 33}}}), "cosine"),
        ("null-space", json!({"configuration": {"hnsw": {"space": null}}}), "l2"),
    ];
    for (name, mut body, space) in cases {
        body["name"] = name.into();
        let made = created(&server, body).await;
        let hnsw = &made["configuration_json"]["hnsw"];
        assert_eq!((&hnsw["space"], &made["configuration_json"]["spann"]), (&json!(space), &Value::Null), "{name}");
        let mirrored = made.pointer("/schema/keys/#embedding/float_list/vector_index/config/space");
        assert_eq!(mirrored, Some(&json!(space)), "{name}");
        let native = server.get(&format!("/api/collections/{name}")).await.json();
        assert_eq!(native["metric"], json!(space), "{name}: the core measures by it");
    }
    server.stop().await;
}

#[tokio::test]
async fn old_metadata_keys_set_the_index_and_stay_in_the_metadata() {
    let server = start().await;
    let metadata = json!({
        "hnsw:space": "ip", "hnsw:M": 8, "hnsw:construction_ef": 50, "hnsw:search_ef": 20, "hnsw:num_threads": 3,
        "hnsw:batch_size": 10, "hnsw:sync_threshold": 99, "hnsw:resize_factor": 1.5,
    });
    let made = created(&server, json!({"name": "col1", "metadata": metadata})).await;
    let hnsw = json!({
        "space": "ip", "ef_construction": 50, "ef_search": 20, "max_neighbors": 8, "resize_factor": 1.5,
        "sync_threshold": 99,
    });
    assert_eq!(made["configuration_json"]["hnsw"], hnsw);
    assert_eq!(made["metadata"], metadata);
    let native = server.get("/api/collections/col1").await.json();
    assert_eq!((&native["index"]["m"], &native["index"]["ef_search"]), (&json!(8), &json!(20)));
    for bad in [json!({"hnsw:space": "bogus"}), json!({"hnsw:M": "x"}), json!({"hnsw:bogus": 3})] {
        let refused = server.post(&format!("{DB}/collections"), &json!({"name": "col2", "metadata": bad})).await;
        assert_invalid(&refused, "Failed to parse hnsw parameters from segment metadata");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_configuration_is_named() {
    let server = start().await;
    let post = async |configuration: Value| {
        server.post(&format!("{DB}/collections"), &json!({"name": "col1", "configuration": configuration})).await
    };
    let cases = [
        (
            json!({"hnsw": {"bogus": 1}}),
            "configuration.hnsw.bogus: unknown field `bogus`, expected one of `space`, `ef_construction`",
        ),
        (
            json!({"hnsw": {"space": "bogus"}}),
            "configuration.hnsw.space: unknown variant `bogus`, expected one of `l2`, `cosine`, `ip`",
        ),
        (
            json!({"hnsw": {"ef_search": -1}}),
            "configuration.hnsw.ef_search: invalid value: integer `-1`, expected usize",
        ),
        (
            json!({"spann": {"bogus": 1}}),
            "configuration.spann.bogus: unknown field `bogus`, expected one of `search_nprobe`",
        ),
        (json!({"embedding_function": {"type": "bogus"}}), "configuration.embedding_function"),
        (
            json!({"embedding_function": {"type": "known", "name": "x"}}),
            "configuration.embedding_function: missing field `config`",
        ),
        (json!(1), "configuration: invalid type: integer `1`, expected struct CollectionConfiguration"),
    ];
    for (configuration, words) in cases {
        let (status, name, message) = error(&post(configuration.clone()).await);
        assert_eq!((status, name.as_str()), (422, "ChromaError"), "{configuration}: {message}");
        let expected = format!("Failed to deserialize the JSON body into the target type: {words}");
        assert!(message.starts_with(&expected), "{configuration}: {message}");
    }
    let both = post(json!({"hnsw": {"space": "l2"}, "spann": {"space": "l2"}})).await;
    assert_invalid(&both, "Multiple vector index configurations provided");
    assert_eq!(post(json!({"bogus": 1})).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn an_embedding_function_is_echoed_as_it_was() {
    let server = start().await;
    let functions = [
        json!({"type": "legacy"}),
        json!({"type": "unknown"}),
        json!({"type": "known", "name": "default", "config": {}}),
        json!({"type": "known", "name": "x", "config": {"z": 1, "a": 2.0, "deep": {"list": [1, null]}}}),
    ];
    for (number, function) in functions.into_iter().enumerate() {
        let body =
            json!({"name": format!("col{number}"), "configuration": {"hnsw": null, "embedding_function": function}});
        create(&server, body).await;
        let found = server.get(&format!("{DB}/collections/col{number}")).await.json();
        assert_eq!(found["configuration_json"]["embedding_function"], function);
        let mirrored = found.pointer("/schema/defaults/float_list/vector_index/config/embedding_function");
        assert_eq!(mirrored, Some(&function));
    }
    server.stop().await;
}

#[tokio::test]
async fn settings_beyond_what_the_core_follows_are_shown_as_they_were_said() {
    let server = start().await;
    let hnsw = json!({"batch_size": 1, "ef_search": 0, "ef_construction": 0, "max_neighbors": 0, "resize_factor": 0.0});
    let path = create(&server, json!({"name": "col1", "configuration": {"hnsw": hnsw}})).await;
    let shown = server.get(&format!("{DB}/collections/col1")).await.json();
    let expected = json!({
        "space": "l2", "ef_construction": 0, "ef_search": 0, "max_neighbors": 0, "resize_factor": 0.0,
        "sync_threshold": 1000,
    });
    assert_eq!(shown["configuration_json"]["hnsw"], expected);
    let added = server.post(&format!("{path}/add"), &json!({"ids": ["a"], "embeddings": [[1, 2]]})).await;
    assert_eq!(added.status, 201);
    let found = server.post(&format!("{path}/query"), &json!({"query_embeddings": [[1, 2]]})).await;
    assert_eq!(found.json()["ids"], json!([["a"]]));
    server.stop().await;
}

#[tokio::test]
async fn a_collection_of_the_native_api_is_chromas_too() {
    let server = start().await;
    let spec = json!({"name": "native", "metric": "cosine", "index": {"m": 8}});
    assert_eq!(server.post("/api/collections", &spec).await.status, 201);
    let found = server.get(&format!("{DB}/collections/native")).await.json();
    assert_eq!(found["configuration_json"]["hnsw"]["space"], "cosine");
    assert_eq!(found["configuration_json"]["hnsw"]["max_neighbors"], 8);
    let path = super::path_of(&found);
    let added = server.post(&format!("{path}/add"), &json!({"ids": ["a"], "embeddings": [[1, 2]]})).await;
    assert_eq!(added.status, 201);
    assert_eq!(server.get("/api/collections/native/count").await.json(), json!({"count": 1}));
    server.stop().await;
}
