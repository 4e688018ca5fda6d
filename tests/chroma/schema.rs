//! Schemas: what a create says, what is discovered, what may not be filtered by.

use serde_json::{Value, json};

use super::{DB, assert_invalid, create, error, ids, start, with_things};

fn plain(enabled: bool) -> Value {
    json!({"enabled": enabled, "config": {}})
}

#[tokio::test]
async fn kinds_of_values_are_discovered_as_they_are_written_and_never_forgotten() {
    let (server, path) = with_things().await;
    let keys = async || server.get(&format!("{DB}/collections/things")).await.json()["schema"]["keys"].clone();
    let strings = json!({"string": {"fts_index": plain(false), "string_inverted_index": plain(true)}});
    let found = keys().await;
    assert_eq!(found["k"], json!({"int": {"int_inverted_index": plain(true)}}));
    assert_eq!((&found["s"], &found["l"]), (&strings, &strings), "a list counts as its elements");
    assert_eq!(found["f"], json!({"float": {"float_inverted_index": plain(true)}}));
    assert_eq!(found["b"], json!({"bool": {"bool_inverted_index": plain(true)}}));
    let update = json!({"ids": ["a", "nobody"], "metadatas": [{"k": 1.5}, {"unknown": 1}]});
    assert_eq!(server.post(&format!("{path}/update"), &update).await.status, 200);
    assert_eq!(server.post(&format!("{path}/delete"), &json!({"ids": ["a", "b", "c"]})).await.status, 200);
    server.store.admin().maintain().await.unwrap();
    let found = keys().await;
    let both = json!({"int": {"int_inverted_index": plain(true)}, "float": {"float_inverted_index": plain(true)}});
    assert_eq!((&found["k"], &found["unknown"]), (&both, &Value::Null));
    let listed = server.get(&format!("{DB}/collections")).await.json();
    assert_eq!(listed[0]["schema"]["keys"], found);
    server.stop().await;
}

#[tokio::test]
async fn a_schema_is_filled_in_remembered_and_decides_the_space() {
    let server = start().await;
    let schema = json!({
        "defaults": {"string": {"string_inverted_index": plain(false)}},
        "keys": {
            "k1": {"int": {"int_inverted_index": plain(false)}},
            "#embedding": {"float_list": {"vector_index": {"enabled": true, "config": {"space": "cosine", "hnsw": {"ef_search": 7}}}}},
        },
    });
    let path = create(&server, json!({"name": "sss2", "schema": schema, "configuration": null})).await;
    let shown = server.get(&format!("{DB}/collections/sss2")).await.json();
    assert_eq!(shown["configuration_json"]["hnsw"]["space"], "cosine");
    assert_eq!(shown["configuration_json"]["hnsw"]["ef_search"], 7);
    assert_eq!(shown["schema"]["keys"]["k1"], json!({"int": {"int_inverted_index": plain(false)}}));
    assert_eq!(shown["schema"]["defaults"]["string"]["fts_index"], plain(false));
    let get = async |clause: Value| server.post(&format!("{path}/get"), &json!({"where": clause})).await;
    let disabled = |key: &str, kind: &str| {
        format!("Cannot filter using metadata key '{key}' with type '{kind}' because indexing is disabled")
    };
    assert_invalid(&get(json!({"k1": 1})).await, &disabled("k1", "Int"));
    assert_invalid(&get(json!({"k1": {"$in": [1, 2]}})).await, &disabled("k1", "Int"));
    assert_invalid(&get(json!({"$or": [{"k2": 1}, {"s": "x"}]})).await, &disabled("s", "Str"));
    assert_eq!(get(json!({"k1": 1.5})).await.status, 200);
    let body = json!({"ids": ["a"], "embeddings": [[1, 2]], "metadatas": [{"k1": 1, "s": "x"}], "documents": ["text"]});
    assert_eq!(server.post(&format!("{path}/add"), &body).await.status, 201);
    let got = server.post(&format!("{path}/get"), &json!({})).await.json();
    assert_eq!(got["metadatas"], json!([{"k1": 1, "s": "x"}]), "stored and returned all the same");
    let refused = server.post(&format!("{path}/delete"), &json!({"where": {"k1": 1}})).await;
    assert_invalid(&refused, &disabled("k1", "Int"));
    server.stop().await;
}

#[tokio::test]
async fn a_schema_comes_with_the_configuration_that_pythons_client_always_sends() {
    let server = start().await;
    let function = json!({"type": "known", "name": "default", "config": {}});
    let configuration = json!({"hnsw": {"space": "l2"}, "spann": null, "embedding_function": function});
    let keys = json!({"k": {"int": {"int_inverted_index": plain(false)}}});
    let body = json!({"name": "both", "schema": {"defaults": {}, "keys": keys}, "configuration": configuration});
    create(&server, body).await;
    let shown = server.get(&format!("{DB}/collections/both")).await.json();
    assert_eq!(shown["schema"]["keys"]["k"], keys["k"]);
    server.stop().await;
}

#[tokio::test]
async fn full_text_search_may_be_switched_off_and_documents_are_still_stored() {
    let server = start().await;
    let schema = json!({"defaults": {}, "keys": {"#document": {"string": {"fts_index": plain(false)}}}});
    let path = create(&server, json!({"name": "sss3", "schema": schema})).await;
    let body = json!({"ids": ["a"], "embeddings": [[1, 2]], "documents": ["text"]});
    assert_eq!(server.post(&format!("{path}/add"), &body).await.status, 201);
    let words = "Cannot filter using full-text search because FTS indexing is disabled";
    let contains = json!({"$contains": "x"});
    assert_invalid(&server.post(&format!("{path}/get"), &json!({"where_document": contains})).await, words);
    assert_invalid(&server.post(&format!("{path}/get"), &json!({"where": {"#document": contains}})).await, words);
    assert_invalid(&server.post(&format!("{path}/delete"), &json!({"where_document": contains})).await, words);
    let query = json!({"query_embeddings": [[1, 2]], "where_document": contains});
    assert_invalid(&server.post(&format!("{path}/query"), &query).await, words);
    assert_eq!(server.post(&format!("{path}/get"), &json!({})).await.json()["documents"], json!(["text"]));
    server.stop().await;
}

#[tokio::test]
async fn the_document_is_found_by_its_text_but_not_compared_as_a_whole() {
    let (server, path) = with_things().await;
    let words = "Cannot filter using metadata key '#document' with type 'Str' because indexing is disabled";
    assert_invalid(&server.post(&format!("{path}/get"), &json!({"where": {"#document": "d1"}})).await, words);
    assert_eq!(ids(&server, &path, json!({"where": {"#document": {"$contains": "d1"}}})).await, ["a"]);
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_schema_is_named() {
    let server = start().await;
    let post = async |body: Value| server.post(&format!("{DB}/collections"), &body).await;
    let shape = post(json!({"name": "sss", "schema": {}})).await;
    let words = "Failed to deserialize the JSON body into the target type: schema: missing field `defaults`";
    assert!(shape.status == 422 && error(&shape).2.starts_with(words), "{}", shape.text());
    let with = |key: &str, types: Value| json!({"name": "sss", "schema": {"defaults": {}, "keys": {key: types}}});
    let sparse =
        json!({"sparse_vector": {"sparse_vector_index": {"enabled": true, "config": {"source_key": "#document"}}}});
    let words =
        "Validation error: schema: a source_key needs an embedding_function, which computes the sparse vectors: x";
    assert_invalid(&post(with("x", sparse)).await, words);
    let reserved =
        "Validation error: schema: key cannot begin with '#'. Keys starting with '#' are reserved for system use: #x";
    assert_invalid(&post(with("#x", json!({"int": {}}))).await, reserved);
    let mut both = with("k", json!({"int": {"int_inverted_index": plain(true)}}));
    both["configuration"] = json!({"hnsw": {"ef_search": 3}});
    let words = "Failed to reconcile schema: Cannot set both collection config and schema simultaneously";
    assert_invalid(&post(both).await, words);
    let default = json!({"name": "sss", "schema": {"defaults": {}, "keys": {}}, "metadata": {"hnsw:space": "ip"}});
    assert_eq!(
        post(default).await.json()["configuration_json"]["hnsw"]["space"],
        "ip",
        "a default schema says nothing"
    );
    server.stop().await;
}
