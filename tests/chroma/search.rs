//! What Chroma's local server lacks: search, forks, the state of indexing.

use std::time::Duration;

use drumlin::http::HttpSettings;
use drumlin::settings::MemoryLimit;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use serde_json::{Value, json};

use super::{DB, assert_invalid, assert_refused, create, path_of, start, with_things};

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
        "select": [["#document", "#embedding", "#metadata", "#score"]],
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
    assert_eq!(
        (&found["ids"], &found["scores"]),
        (&json!([["b"], ["a"]]), &json!([[0.0], null])),
        "its place on the page"
    );
    let none = server.post(&format!("{path}/search"), &json!({"searches": []})).await;
    assert_eq!((none.status, &none.json()["ids"]), (200, &json!([])));
    server.stop().await;
}

#[tokio::test]
async fn a_rank_that_finds_more_than_memory_holds_is_refused_before_it_is_computed() {
    let mut settings = Settings::new(Storage::Memory);
    settings.memory_limit = Some(MemoryLimit { bytes: 128 << 20, whole_process: false });
    settings.timing.room_patience = Duration::ZERO;
    let server = Server::with(settings, HttpSettings::default()).await;
    let path = create(&server, json!({"name": "many"})).await;
    let ids: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let records = json!({"ids": ids, "embeddings": vec![json!([1, 0]); ids.len()]});
    assert_eq!(server.post(&format!("{path}/add"), &records).await.status, 201);
    let knn = json!({"$knn": {"query": [1, 0], "limit": 4_294_967_295_u32}});
    let search = async |leaves: usize, searches: usize| {
        let search = json!({"rank": {"$sum": vec![knn.clone(); leaves]}, "limit": {"limit": 1}});
        server.post(&format!("{path}/search"), &json!({"searches": vec![search; searches]})).await.status
    };
    assert_eq!((search(1, 1).await, search(4, 1).await), (200, 200));
    assert_eq!(search(64, 1).await, 507, "a limit of 1 is of the page alone");
    assert_eq!(search(1, 1).await, 200, "nothing stays reserved");
    server.stop().await;
}

#[tokio::test]
async fn sparse_vectors_are_searched_where_the_schema_has_an_index_of_them() {
    let server = start().await;
    let index = |config: Value| json!({"sparse_vector": {"sparse_vector_index": {"enabled": true, "config": config}}});
    let keys = json!({"sp": index(json!({})), "bm": index(json!({"bm25": true}))});
    let body = json!({"name": "sparse", "schema": {"defaults": {}, "keys": keys}});
    let path = path_of(&server.post(&format!("{DB}/collections"), &body).await.json());
    let vector = |entries: &[(u32, f32)]| {
        let (indices, values): (Vec<u32>, Vec<f32>) = entries.iter().copied().unzip();
        json!({"indices": indices, "values": values})
    };
    let metadatas = json!([
        {"sp": vector(&[(1, 1.0), (2, 0.5)]), "bm": vector(&[(1, 1.0), (2, 1.0)])},
        {"sp": vector(&[(2, 2.0)]), "bm": vector(&[(2, 1.0)])},
        {"sp": vector(&[(1, -1.0), (3, 1.0)])},
    ]);
    let records = json!({"ids": ["a", "b", "c"], "embeddings": [[0, 0], [1, 0], [0, 2]], "metadatas": metadatas});
    assert_eq!(server.post(&format!("{path}/add"), &records).await.status, 201);
    let search = async |rank: Value| {
        let body = json!({"searches": [{"rank": rank, "select": {"keys": ["#score"]}}]});
        let answer = server.post(&format!("{path}/search"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.json()["ids"][0].clone(), answer.json()["scores"][0].clone())
    };
    let sparse = |key: &str| json!({"$knn": {"query": vector(&[(1, 1.0), (2, 1.0)]), "key": key}});
    assert_eq!(search(sparse("sp")).await, (json!(["b", "a", "c"]), json!([-1.0, -0.5, 2.0])));
    let hybrid = json!({"$sum": [{"$knn": {"query": [0, 0]}}, sparse("sp")]});
    assert_eq!(search(hybrid).await, (json!(["a", "b", "c"]), json!([-0.5, 0.0, 6.0])));
    // Of three records one has index 1 under `bm`, and two have index 2.
    let idf = |with: f32| ((3.0 - with + 0.5) / (with + 0.5)).ln_1p();
    let (ids, scores) = search(sparse("bm")).await;
    assert_eq!(ids, json!(["a", "b"]));
    for (score, expected) in scores.as_array().unwrap().iter().zip([1.0 - idf(1.0) - idf(2.0), 1.0 - idf(2.0)]) {
        assert!((score.as_f64().unwrap() as f32 - expected).abs() < 1e-6, "{score}, not {expected}");
    }
    let unknown = json!({"searches": [{"rank": sparse("other")}]});
    let words = "Cannot filter using metadata key 'other' with type 'SparseVector' because indexing is disabled";
    assert_invalid(&server.post(&format!("{path}/search"), &unknown).await, words);
    let short = json!({"searches": [{"rank": {"$knn": {"query": [1]}}}]});
    let words = "Collection expecting embedding with dimension of 2, got 1";
    assert_invalid(&server.post(&format!("{path}/search"), &short).await, words);
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
async fn the_state_of_indexing_is_done_once_nothing_is_to_be_put_into_a_graph() {
    let (server, path) = with_things().await;
    let status = async || server.get(&format!("{path}/indexing_status")).await.json();
    // So few are scanned for good.
    let scanned = json!({"num_indexed_ops": 3, "num_unindexed_ops": 0, "total_ops": 3, "op_indexing_progress": 1.0});
    assert_eq!(status().await, scanned);
    let ids: Vec<String> = (0..1_021).map(|n| n.to_string()).collect();
    let embeddings: Vec<[f32; 2]> = (0..1_021).map(|n| [n as f32, 1.0]).collect();
    let more = json!({"ids": ids, "embeddings": embeddings});
    assert_eq!(server.post(&format!("{path}/add"), &more).await.status, 201);
    let waiting = status().await;
    assert_eq!((&waiting["num_unindexed_ops"], &waiting["op_indexing_progress"]), (&json!(1_024), &json!(0.0)));
    assert_eq!(server.post(&format!("{path}/delete"), &json!({"ids": ids})).await.status, 200);
    assert_eq!(server.post(&format!("{path}/delete"), &json!({"ids": ["a", "b", "c"]})).await.status, 200);
    let empty = json!({"num_indexed_ops": 0, "num_unindexed_ops": 0, "total_ops": 0, "op_indexing_progress": 1.0});
    assert_eq!(status().await, empty);
    server.stop().await;
}
