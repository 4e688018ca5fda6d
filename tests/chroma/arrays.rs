//! Lists as values of metadata: stored whole, matched by membership.

use serde_json::{Value, json};

use super::{ids, with_things};

#[tokio::test]
async fn an_empty_list_removes_its_key_and_a_key_may_change_its_kind() {
    let (server, path) = with_things().await;
    let update = async |metadata: Value| {
        let body = json!({"ids": ["c"], "metadatas": [metadata]});
        assert_eq!(server.post(&format!("{path}/update"), &body).await.status, 200);
        server.post(&format!("{path}/get"), &json!({"ids": ["c"]})).await.json()["metadatas"][0].clone()
    };
    assert_eq!(update(json!({"l": []})).await, json!({"f": 1.0, "b": true}));
    assert_eq!(update(json!({"f": "now", "b": [1, 2]})).await, json!({"f": "now", "b": [1, 2]}));
    assert_eq!(update(json!({"b": [3]})).await, json!({"f": "now", "b": [3]}), "replaced whole");
    assert_eq!(update(json!({"b": 1.5})).await, json!({"f": "now", "b": 1.5}));
    server.stop().await;
}

#[tokio::test]
async fn lists_keep_their_kind_and_a_mixed_list_of_numbers_is_one_of_floats() {
    let (server, path) = with_things().await;
    let metadata = json!({"i": [1, 2], "f": [1.5], "s": ["a", ""], "b": [true, false]});
    let body = json!({"ids": ["n"], "embeddings": [[1, 1]], "metadatas": [metadata]});
    assert_eq!(server.post(&format!("{path}/add"), &body).await.status, 201);
    let mixed = r#"{"ids":["n"],"metadatas":[{"m":[1,2.5]}]}"#;
    assert_eq!(server.send("POST", &format!("{path}/update"), &[], mixed.as_bytes()).await.status, 200);
    let text = server.post(&format!("{path}/get"), &json!({"ids": ["n"]})).await.text();
    assert!(text.contains(r#"{"b":[true,false],"f":[1.5],"i":[1,2],"m":[1.0,2.5],"s":["a",""]}"#), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn membership_is_strict_in_kind_and_scalars_never_match_a_list() {
    let (server, path) = with_things().await;
    let body = json!({"ids": ["n"], "embeddings": [[1, 1]], "metadatas": [{"i": [1, 2], "f": [1.5, 2.0], "b": [true], "s": "ab"}]});
    assert_eq!(server.post(&format!("{path}/add"), &body).await.status, 201);
    let cases = [
        (json!({"l": {"$contains": "p"}}), vec!["c"]),
        (json!({"l": {"$contains": "pq"}}), vec![]),
        (json!({"l": {"$not_contains": "p"}}), vec!["a", "b", "n"]),
        (json!({"i": {"$contains": 1}}), vec!["n"]),
        (json!({"i": {"$contains": 1.0}}), vec![]),
        (json!({"f": {"$contains": 2.0}}), vec!["n"]),
        (json!({"b": {"$contains": true}}), vec!["n"]),
        (json!({"s": {"$contains": "a"}}), vec![]),
        (json!({"l": "p"}), vec![]),
        (json!({"l": {"$in": ["p", "q"]}}), vec![]),
        (json!({"l": {"$ne": "p"}}), vec!["a", "b", "c", "n"]),
        (json!({"l": {"$nin": ["p"]}}), vec!["a", "b", "c", "n"]),
    ];
    for (clause, expected) in cases {
        assert_eq!(ids(&server, &path, json!({"where": clause})).await, expected, "{clause}");
    }
    server.stop().await;
}
