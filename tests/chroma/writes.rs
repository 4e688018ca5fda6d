//! Add, upsert, update, delete: what becomes of existing and unknown ids, of nulls and of duplicates.

use drumlin_test_support::server::Server;
use serde_json::{Value, json};

use super::{DB, assert_invalid, create, error, ids, start, with_things};

async fn write(server: &Server, path: &str, route: &str, body: Value) {
    let done = server.post(&format!("{path}/{route}"), &body).await;
    assert_eq!(done.status, if route == "add" { 201 } else { 200 }, "{route} {body}: {}", done.text());
    assert_eq!(done.json(), json!({}));
}

/// One record, whole.
async fn record(server: &Server, path: &str, id: &str) -> Value {
    let body = json!({"ids": [id], "include": ["embeddings", "documents", "metadatas", "uris"]});
    let got = server.post(&format!("{path}/get"), &body).await.json();
    json!({
        "embedding": got["embeddings"][0], "document": got["documents"][0],
        "metadata": got["metadatas"][0], "uri": got["uris"][0],
    })
}

#[tokio::test]
async fn lists_and_base64_are_both_accepted_and_mean_the_same() {
    let server = start().await;
    let path = create(&server, json!({"name": "things"})).await;
    write(&server, &path, "add", json!({"ids": ["a"], "embeddings": ["AACAPwAAAAAAAAAA"]})).await;
    write(&server, &path, "upsert", json!({"ids": ["b"], "embeddings": [[1.0, 0, 0]]})).await;
    write(&server, &path, "update", json!({"ids": ["a", "b"], "embeddings": [null, "AAAAAAAAAAAAAIA/"]})).await;
    let body = json!({"include": ["embeddings"]});
    let got = server.post(&format!("{path}/get"), &body).await.json();
    assert_eq!(got["embeddings"], json!([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]));
    server.stop().await;
}

#[tokio::test]
async fn an_add_ignores_existing_ids_and_the_first_of_two_equal_ids_wins() {
    let (server, path) = with_things().await;
    let before = record(&server, &path, "a").await;
    let body = json!({
        "ids": ["a", "n", "n"], "embeddings": [[9, 9], [2, 2], [3, 3]], "documents": ["other", "first", "second"],
        "metadatas": [{"z": 1}, {"n": 1}, {"n": 2}],
    });
    write(&server, &path, "add", body).await;
    assert_eq!(record(&server, &path, "a").await, before);
    assert_eq!(record(&server, &path, "n").await["document"], "first");
    assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(4));
    server.stop().await;
}

#[tokio::test]
async fn empty_batches_succeed_and_change_nothing() {
    let (server, path) = with_things().await;
    write(&server, &path, "add", json!({"ids": [], "embeddings": []})).await;
    write(&server, &path, "upsert", json!({"ids": [], "embeddings": [], "metadatas": []})).await;
    write(&server, &path, "update", json!({"ids": []})).await;
    assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(3));
    server.stop().await;
}

#[tokio::test]
async fn an_upsert_inserts_new_records_and_merges_into_existing_ones() {
    let (server, path) = with_things().await;
    let body = json!({
        "ids": ["a", "n"], "embeddings": [[2, 2], [3, 3]], "metadatas": [{"k": null, "j": 2}, {"x": null, "y": 1}],
        "documents": [null, "nd"],
    });
    write(&server, &path, "upsert", body).await;
    let merged = json!({"embedding": [2.0, 2.0], "document": "d1", "metadata": {"s": "x", "j": 2}, "uri": "u"});
    assert_eq!(record(&server, &path, "a").await, merged);
    let inserted = json!({"embedding": [3.0, 3.0], "document": "nd", "metadata": {"y": 1}, "uri": null});
    assert_eq!(record(&server, &path, "n").await, inserted);
    assert_eq!(ids(&server, &path, json!({})).await, ["a", "b", "c", "n"], "a record keeps its place");
    let twice = json!({"ids": ["m", "m"], "embeddings": [[1, 1], [2, 2]], "metadatas": [{"p": 1}, {"q": 2}]});
    write(&server, &path, "upsert", twice).await;
    let last = record(&server, &path, "m").await;
    assert_eq!((&last["embedding"], &last["metadata"]), (&json!([2.0, 2.0]), &json!({"p": 1, "q": 2})));
    server.stop().await;
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_ignores_unknown_ids() {
    let (server, path) = with_things().await;
    write(&server, &path, "update", json!({"ids": ["a", "nobody"], "documents": [null, "x"]})).await;
    write(&server, &path, "update", json!({"ids": ["a"], "metadatas": [{"k": null, "t": true}], "documents": ["new"]}))
        .await;
    write(&server, &path, "update", json!({"ids": ["a"], "metadatas": [{}]})).await;
    write(&server, &path, "update", json!({"ids": ["a"], "metadatas": [null], "uris": [null]})).await;
    let expected = json!({"embedding": [1.0, 0.0], "document": "new", "metadata": {"s": "x", "t": true}, "uri": "u"});
    assert_eq!(record(&server, &path, "a").await, expected);
    assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(3));
    write(&server, &path, "update", json!({"ids": ["a"], "embeddings": [[5, 5]]})).await;
    assert_eq!(record(&server, &path, "a").await["embedding"], json!([5.0, 5.0]));
    server.stop().await;
}

#[tokio::test]
async fn the_first_embeddings_fix_the_dimension_even_in_an_update_that_finds_nothing() {
    let server = start().await;
    let path = create(&server, json!({"name": "things"})).await;
    let dimension = async || server.get(&format!("{DB}/collections/things")).await.json()["dimension"].clone();
    assert_eq!(dimension().await, Value::Null);
    write(&server, &path, "update", json!({"ids": ["nobody"], "embeddings": [[1, 2]]})).await;
    assert_eq!(dimension().await, json!(2));
    let other = server.post(&format!("{path}/add"), &json!({"ids": ["x"], "embeddings": [[1, 2, 3]]})).await;
    assert_invalid(&other, "Collection expecting embedding with dimension of 2, got 3");
    write(&server, &path, "add", json!({"ids": ["a"], "embeddings": [[1, 2]]})).await;
    assert_eq!(server.post(&format!("{path}/delete"), &json!({"ids": ["a"]})).await.json(), json!({"deleted": 1}));
    assert_eq!(dimension().await, json!(2), "deleting everything does not clear it");
    server.stop().await;
}

#[tokio::test]
async fn a_record_without_metadata_shows_null_or_where_it_has_a_uri_an_empty_object() {
    let server = start().await;
    let path = create(&server, json!({"name": "things"})).await;
    let body = json!({
        "ids": ["none", "empty", "lists", "full", "uri"], "embeddings": [[1], [1], [1], [1], [1]],
        "metadatas": [null, {}, {"e": []}, {"k": 1}, {"k": 1}], "uris": [null, null, null, null, "u"],
    });
    write(&server, &path, "add", body).await;
    write(&server, &path, "upsert", json!({"ids": ["nulls"], "embeddings": [[1]], "metadatas": [{"x": null}]})).await;
    let gone = json!({"k": null});
    write(&server, &path, "update", json!({"ids": ["full", "none", "uri"], "metadatas": [gone, gone, gone]})).await;
    for id in ["none", "empty", "lists", "nulls", "full"] {
        assert_eq!(record(&server, &path, id).await["metadata"], Value::Null, "{id}");
    }
    assert_eq!(record(&server, &path, "uri").await["metadata"], json!({}));
    let query = json!({"query_embeddings": [[1]], "ids": ["uri", "full"], "include": ["metadatas"]});
    let found = server.post(&format!("{path}/query"), &query).await.json();
    assert_eq!((&found["metadatas"], &found["uris"]), (&json!([[null, {}]]), &Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn numbers_of_metadata_keep_their_kind() {
    let server = start().await;
    let path = create(&server, json!({"name": "things"})).await;
    let body = r#"{"ids":["a"],"embeddings":[[0.1,1e-7,1e20]],"metadatas":[{"i":1,"f":1.0,"big":18446744073709551615,
        "neg":-9223372036854775809,"max":9223372036854775807,"e":1e16,"s":1e-7}]}"#;
    let added = server.send("POST", &format!("{path}/add"), &[], body.as_bytes()).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let text = server.post(&format!("{path}/get"), &json!({"include": ["metadatas", "embeddings"]})).await.text();
    for expected in [
        r#""i":1,"#,
        r#""f":1.0,"#,
        r#""big":1.8446744073709552e+19"#,
        r#""neg":-9.223372036854776e+18"#,
        r#""max":9223372036854775807"#,
        r#""e":1e+16"#,
        r#""s":1e-7"#,
        "[[0.1,1e-7,1e+20]]",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_reserved_key_of_the_document_is_the_document() {
    let server = start().await;
    let path = create(&server, json!({"name": "things"})).await;
    let metadatas = json!([{"chroma:document": "hidden", "z": 1}]);
    write(&server, &path, "add", json!({"ids": ["q"], "embeddings": [[1, 2]], "metadatas": metadatas})).await;
    let found = record(&server, &path, "q").await;
    assert_eq!((&found["document"], &found["metadata"]), (&json!("hidden"), &json!({"z": 1})));
    assert_eq!(ids(&server, &path, json!({"where_document": {"$contains": "hid"}})).await, ["q"]);
    server.stop().await;
}

#[tokio::test]
async fn long_ids_and_odd_texts_are_fine() {
    let server = start().await;
    let path = create(&server, json!({"name": "things"})).await;
    let id = "ж".repeat(1500);
    let body = json!({"ids": [id, "\u{0}"], "embeddings": [[1], [2]], "documents": ["", "😀"], "uris": ["", null]});
    write(&server, &path, "add", body).await;
    assert_eq!(ids(&server, &path, json!({})).await, [id.as_str(), "\u{0}"]);
    assert_eq!(record(&server, &path, &id).await["document"], "", "the empty document is one");
    server.stop().await;
}

#[tokio::test]
async fn a_delete_by_ids_counts_what_was_named() {
    let (server, path) = with_things().await;
    let delete = async |body: Value| server.post(&format!("{path}/delete"), &body).await;
    assert_eq!(delete(json!({"ids": ["a", "nosuch"]})).await.json(), json!({"deleted": 2}));
    assert_eq!(delete(json!({"ids": ["zz", "zz", ""]})).await.json(), json!({"deleted": 3}));
    assert_eq!(ids(&server, &path, json!({})).await, ["b", "c"]);
    for nothing in [json!({}), json!({"ids": null, "where": null, "where_document": null})] {
        assert_eq!(delete(nothing).await.json(), json!({"deleted": 0}));
    }
    let words = "Validation error: ids, where: Either ids or where must be specified";
    assert_invalid(&delete(json!({"ids": []})).await, words);
    server.stop().await;
}

#[tokio::test]
async fn a_delete_by_filter_counts_what_was_deleted() {
    let (server, path) = with_things().await;
    let delete = async |body: Value| server.post(&format!("{path}/delete"), &body).await;
    assert_eq!(delete(json!({"where": {"k": 1}, "ids": []})).await.json(), json!({"deleted": 0}));
    assert_eq!(delete(json!({"where": {"k": 1}, "limit": 0})).await.json(), json!({"deleted": 0}));
    assert_eq!(
        delete(json!({"where": {"k": 1}, "where_document": {"$contains": "no"}})).await.json(),
        json!({"deleted": 0})
    );
    assert_eq!(
        delete(json!({"ids": ["b", "c", "zz"], "where": {"k": {"$ne": 3}}, "limit": 1})).await.json(),
        json!({"deleted": 1})
    );
    assert_eq!(ids(&server, &path, json!({})).await, ["a", "c"], "in the order of insertion");
    assert_eq!(delete(json!({"where_document": {"$contains": ""}})).await.json(), json!({"deleted": 2}));
    for limited in [json!({"limit": 1}), json!({"ids": ["a"], "limit": 1})] {
        let words = "Validation error: limit, where: limit can only be specified when a where clause is provided";
        assert_invalid(&delete(limited).await, words);
    }
    let refused = error(&delete(json!({"where": {}})).await);
    assert!(refused.0 == 400 && refused.2.starts_with("Invalid where clause: where: expected"), "{refused:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_record_that_is_deleted_and_added_again_moves_to_the_end() {
    let (server, path) = with_things().await;
    assert_eq!(server.post(&format!("{path}/delete"), &json!({"ids": ["a"]})).await.status, 200);
    write(&server, &path, "add", json!({"ids": ["a"], "embeddings": [[1, 1]]})).await;
    assert_eq!(ids(&server, &path, json!({})).await, ["b", "c", "a"]);
    assert_eq!(record(&server, &path, "a").await["metadata"], Value::Null, "nothing of the old one is left");
    server.stop().await;
}
