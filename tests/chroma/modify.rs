//! Modification: rename, metadata replaced, configuration merged.

use drumlin_test_support::server::Server;
use serde_json::{Value, json};

use super::{DB, assert_invalid, assert_refused, create, put, start, with_things};

async fn shown(server: &Server, name: &str) -> Value {
    let found = server.get(&format!("{DB}/collections/{name}")).await;
    assert_eq!(found.status, 200, "{}", found.text());
    found.json()
}

#[tokio::test]
async fn a_rename_frees_the_old_name_at_once() {
    let (server, path) = with_things().await;
    let renamed =
        put(&server, &path, &json!({"new_name": "other", "new_metadata": null, "new_configuration": null})).await;
    assert_eq!((renamed.status, renamed.json()), (200, json!({})));
    let old = server.get(&format!("{DB}/collections/things")).await;
    assert_refused(&old, 404, "NotFoundError", "Collection [things] does not exist");
    assert_eq!(super::path_of(&shown(&server, "other").await), path);
    assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(3));
    create(&server, json!({"name": "things"})).await;
    assert_eq!(put(&server, &path, &json!({"new_name": "other"})).await.status, 200, "its own name");
    let taken = put(&server, &path, &json!({"new_name": "things"})).await;
    assert_refused(&taken, 409, "ChromaError", "Collection [things] already exists");
    server.stop().await;
}

#[tokio::test]
async fn new_metadata_replaces_the_old_and_null_drops_a_key() {
    let (server, path) = with_things().await;
    let set = async |metadata: Value| put(&server, &path, &json!({"new_metadata": metadata})).await;
    let metadata = async || shown(&server, "things").await["metadata"].clone();
    assert_eq!(set(json!({"a": 1, "f": 1.0})).await.status, 200);
    assert_eq!(metadata().await, json!({"a": 1, "f": 1.0}));
    assert_eq!(set(json!({"a": null, "q": 1})).await.status, 200);
    assert_eq!(metadata().await, json!({"q": 1}));
    assert_eq!(put(&server, &path, &json!({"new_metadata": null})).await.status, 200);
    assert_eq!(metadata().await, json!({"q": 1}), "null leaves it");
    assert_invalid(&set(json!({})).await, "Validation error: new_metadata: Metadata cannot be empty");
    let reserved = "Validation error: new_metadata: Metadata key cannot start with '#' or '$': #a";
    assert_invalid(&set(json!({"#a": 1})).await, reserved);
    assert_eq!(set(json!({"a": [1, 2]})).await.status, 400);
    assert_eq!(set(json!({"a": {"b": 1}})).await.status, 422);
    assert_eq!(set(json!({"a": null})).await.status, 200);
    assert_eq!(metadata().await, Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn a_new_configuration_is_merged_into_the_present() {
    let server = start().await;
    let function = json!({"type": "known", "name": "n", "config": {"a": 1}});
    let configuration = json!({"hnsw": {"space": "cosine"}, "embedding_function": function});
    let path = create(&server, json!({"name": "col1", "configuration": configuration})).await;
    let set =
        async |configuration: Value| put(&server, &path, &json!({"new_configuration": configuration})).await.status;
    assert_eq!(set(json!({"hnsw": {"ef_search": 33}, "spann": null, "embedding_function": null})).await, 200);
    let hnsw =
        json!({"num_threads": 7, "batch_size": 7, "sync_threshold": 77, "resize_factor": 1.7, "max_neighbors": 9});
    assert_eq!(set(json!({"hnsw": hnsw})).await, 200);
    assert_eq!(set(json!({})).await, 200);
    assert_eq!(set(json!({"spann": {"search_nprobe": 3}})).await, 200, "accepted, without effect");
    let found = shown(&server, "col1").await;
    let expected = json!({
        "space": "cosine", "ef_construction": 100, "ef_search": 33, "max_neighbors": 9, "resize_factor": 1.7,
        "sync_threshold": 77,
    });
    assert_eq!(found["configuration_json"]["hnsw"], expected);
    assert_eq!(found["configuration_json"]["embedding_function"], function, "null leaves it");
    for place in ["/schema/defaults", "/schema/keys/#embedding"] {
        let config = found.pointer(&format!("{place}/float_list/vector_index/config")).unwrap();
        assert_eq!((&config["hnsw"]["ef_search"], &config["hnsw"]["num_threads"]), (&json!(33), &json!(7)), "{place}");
    }
    let other = json!({"type": "legacy"});
    assert_eq!(set(json!({"embedding_function": other})).await, 200);
    assert_eq!(shown(&server, "col1").await["configuration_json"]["embedding_function"], other);
    server.stop().await;
}

#[tokio::test]
async fn what_is_fixed_at_creation_cannot_be_changed() {
    let (server, path) = with_things().await;
    let refused = put(&server, &path, &json!({"new_configuration": {"hnsw": {"space": "l2"}}})).await;
    let words = "Failed to deserialize the JSON body into the target type: new_configuration.hnsw.space: unknown field \
                 `space`, expected one of `ef_search`, `max_neighbors`, `num_threads`, `resize_factor`, `sync_threshold`, \
                 `batch_size` at line 1 column 37";
    assert_refused(&refused, 422, "ChromaError", words);
    let refused = put(&server, &path, &json!({"new_configuration": {"hnsw": {"ef_construction": 1}}})).await;
    assert_eq!(refused.status, 422);
    let both = json!({"new_configuration": {"hnsw": {"ef_search": 44}, "spann": {"search_nprobe": 3}}});
    assert_invalid(&put(&server, &path, &both).await, "Multiple vector index configurations provided");
    server.stop().await;
}

#[tokio::test]
async fn a_collection_that_is_not_there_cannot_be_modified() {
    let server = start().await;
    let nobody = "60bc2f5b-0e94-41af-b7b8-a55b841a6255";
    for body in [json!({}), json!({"new_name": "a"})] {
        let missing = put(&server, &format!("{DB}/collections/{nobody}"), &body).await;
        assert_refused(&missing, 404, "NotFoundError", &format!("Collection [{nobody}] does not exist."));
        let no_id = put(&server, &format!("{DB}/collections/zzz"), &body).await;
        assert_invalid(&no_id, "Collection ID is not a valid UUIDv4");
    }
    let shape = put(&server, &format!("{DB}/collections/zzz"), &json!({"new_name": 1})).await;
    assert_eq!(shape.status, 422);
    server.stop().await;
}

#[tokio::test]
async fn faults_of_a_modification_are_told_together() {
    let (server, path) = with_things().await;
    let refused = put(&server, &path, &json!({"new_name": "ab", "new_metadata": {}})).await;
    let words = "Validation error: new_name: Expected a name containing 3-512 characters from [a-zA-Z0-9._-], starting and \
                 ending with a character in [a-zA-Z0-9]. Got: ab\nnew_metadata: Metadata cannot be empty";
    assert_invalid(&refused, words);
    server.stop().await;
}
