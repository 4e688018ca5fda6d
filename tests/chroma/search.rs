//! What Chroma's local server lacks: search, forks, the state of indexing.

use serde_json::{Value, json};

use super::{DB, assert_refused, path_of, with_things};

#[tokio::test]
async fn a_search_ranks_by_one_knn_with_filter_limit_and_select() {
    let (server, path) = with_things().await;
    let search = async |search: Value| server.post(&format!("{path}/search"), &json!({"searches": [search]})).await;
    let knn = json!({"$knn": {"query": [1, 0], "key": "#embedding", "limit": 10}});
    let body = json!({
        "filter": null, "rank": knn, "group_by": {}, "limit": {"offset": 0, "limit": 2},
        "select": {"keys": ["#document", "#score", "#metadata", "#embedding"]},
    });
    let found = search(body).await;
    let expected = json!({
        "ids": [["a", "c"]], "documents": [["d1", ""]], "embeddings": [[[1.0, 0.0], [1.0, 1.0]]],
        "metadatas": [[{"k": 1, "s": "x"}, {"l": ["p", "q"], "f": 1.0, "b": true}]], "scores": [[0.0, 1.0]],
        "select": [["#document", "#score", "#metadata", "#embedding"]],
    });
    assert_eq!((found.status, found.json()), (200, expected));
    let filtered = json!({"filter": {"k": {"$ne": 1}}, "rank": knn, "limit": {"offset": 1}, "select": {"keys": ["k"]}});
    let found = search(filtered).await.json();
    assert_eq!(
        (&found["ids"], &found["scores"], &found["documents"]),
        (&json!([["b"]]), &json!([null]), &json!([null]))
    );
    let one_key = json!({"rank": knn, "limit": {"limit": 1}, "select": {"keys": ["k"]}});
    assert_eq!(search(one_key).await.json()["metadatas"], json!([[{"k": 1}]]), "only the selected key");
    let by_rank = json!({"rank": {"$knn": {"query": [1, 0], "return_rank": true}}, "select": {"keys": ["#score"]}});
    assert_eq!(search(by_rank).await.json()["scores"], json!([[0.0, 1.0, 2.0]]));
    let by_id = json!({"filter": {"$and": [{"#id": {"$in": ["b", "c"]}}, {"k": {"$ne": 1}}]}, "rank": knn});
    assert_eq!(search(by_id).await.json()["ids"], json!([["c", "b"]]));
    server.stop().await;
}

#[tokio::test]
async fn a_search_without_a_rank_lists_in_insertion_order() {
    let (server, path) = with_things().await;
    let body = json!({"searches": [{"limit": {"offset": 1, "limit": 1}, "select": {"keys": ["#score"]}}, {"filter": {"k": 1}}]});
    let found = server.post(&format!("{path}/search"), &body).await.json();
    assert_eq!((&found["ids"], &found["scores"]), (&json!([["b"], ["a"]]), &json!([[null], null])));
    let none = server.post(&format!("{path}/search"), &json!({"searches": []})).await;
    assert_eq!((none.status, &none.json()["ids"]), (200, &json!([])));
    server.stop().await;
}

#[tokio::test]
async fn a_search_that_is_not_there_says_what() {
    let (server, path) = with_things().await;
    let cases = [
        json!({"rank": {"$sum": [{"$val": 1}, {"$val": 2}]}}),
        json!({"rank": {"$knn": {"query": {"indices": [1], "values": [1]}, "key": "sparse"}}}),
        json!({"rank": {"$knn": {"query": [1, 0], "default": 5.0}}}),
        json!({"group_by": {"keys": ["k"]}}),
        json!({"filter": {"#id": {"$nin": ["a"]}}}),
    ];
    for case in cases {
        let refused = server.post(&format!("{path}/search"), &json!({"searches": [case]})).await;
        assert_eq!((refused.status, &refused.json()["error"]), (501, &json!("ChromaError")), "{case}");
        assert!(refused.text().contains("Search does not support"), "{}", refused.text());
    }
    let dimension =
        server.post(&format!("{path}/search"), &json!({"searches": [{"rank": {"$knn": {"query": [1]}}}]})).await;
    assert_eq!(dimension.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn a_fork_has_the_records_of_its_origin_and_goes_its_own_way() {
    let (server, path) = with_things().await;
    let forked = server.post(&format!("{path}/fork"), &json!({"new_name": "forked"})).await;
    assert_eq!(forked.status, 200, "{}", forked.text());
    let fork = path_of(&forked.json());
    assert_eq!(forked.json()["name"], "forked");
    assert_eq!(server.get(&format!("{fork}/count")).await.json(), json!(3));
    let added = json!({"ids": ["n"], "embeddings": [[5, 5]]});
    assert_eq!(server.post(&format!("{fork}/add"), &added).await.status, 201);
    assert_eq!(server.get(&format!("{path}/count")).await.json(), json!(3));
    assert_eq!(server.get(&format!("{path}/fork_count")).await.json(), json!({"count": 1}));
    let taken = server.post(&format!("{path}/fork"), &json!({"new_name": "forked"})).await;
    assert_refused(&taken, 409, "ChromaError", "Collection [forked] already exists");
    assert_eq!(server.post(&format!("{path}/fork"), &json!({"new_name": "ab"})).await.status, 400);
    assert_eq!(server.get(&format!("{DB}/collections/forked")).await.json()["schema"], forked.json()["schema"]);
    server.stop().await;
}

#[tokio::test]
async fn the_state_of_indexing_tells_what_is_in_a_graph() {
    let (server, path) = with_things().await;
    let status = async || server.get(&format!("{path}/indexing_status")).await.json();
    let scanned = json!({"num_indexed_ops": 0, "num_unindexed_ops": 3, "total_ops": 3, "op_indexing_progress": 0.0});
    assert_eq!(status().await, scanned);
    assert_eq!(server.post(&format!("{path}/delete"), &json!({"ids": ["a", "b", "c"]})).await.status, 200);
    let empty = json!({"num_indexed_ops": 0, "num_unindexed_ops": 0, "total_ops": 0, "op_indexing_progress": 1.0});
    assert_eq!(status().await, empty);
    server.stop().await;
}
