//! Searches by words and sparse vectors, and fusion, over the native API.

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use serde_json::{Value, json};

const SEARCH: &str = "/api/collections/notes/search";

async fn start() -> Server {
    start_with(HttpSettings::default()).await
}

async fn start_with(http: HttpSettings) -> Server {
    let server = Server::with(Settings::new(Storage::Memory), http).await;
    assert_eq!(server.post("/api/collections", &json!({"name": "notes"})).await.status, 201);
    let records = json!({"records": [
        {"id": "fox", "embedding": [1, 0], "document": "The quick brown fox jumps over the lazy dog", "metadata": {"n": 1}},
        {"id": "foxes", "embedding": [0, 1], "document": "Foxes are quick and clever animals", "metadata": {"n": 2}},
        {"id": "dog", "embedding": [1, 1], "document": "A dog sleeps in the sun",
         "metadata": {"n": 1, "terms": {"indices": [3, 17], "values": [0.5, 2]}}},
        {"id": "bare", "embedding": [-1, 0], "metadata": {"terms": {"indices": [17], "values": [1]}}},
    ]});
    assert_eq!(server.post("/api/collections/notes/add", &records).await.status, 201);
    server
}

async fn found(server: &Server, body: Value) -> Vec<Value> {
    let answer = server.post(SEARCH, &body).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.json()["results"][0].as_array().unwrap().clone()
}

async fn ids(server: &Server, body: Value) -> Vec<String> {
    found(server, body).await.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn words_phrases_and_signs_find_what_people_expect() {
    let server = start().await;
    for (text, expected) in [
        (json!("fox"), vec!["foxes", "fox"]),
        (json!("\"lazy dog\""), vec!["fox"]),
        (json!("+dog -lazy"), vec!["dog"]),
        (json!("the of and"), vec![]),
        (json!(""), vec![]),
        (json!("dog sun"), vec!["dog", "fox"]),
        (json!({"query": "dog sun", "minimum_match": 2}), vec!["dog"]),
        (json!({"query": "dog sun", "minimum_match": "100%"}), vec!["dog"]),
        (json!({"query": "clev", "prefix": true}), vec!["foxes"]),
        (json!({"query": "quikc", "typos": "auto"}), vec!["foxes", "fox"]),
        (json!({"query": "quikc"}), vec![]),
    ] {
        assert_eq!(ids(&server, json!({"text": text})).await, expected, "{text}");
    }
    assert_eq!(ids(&server, json!({"text": "fox", "where": {"n": 1}})).await, ["fox"]);
    assert_eq!(ids(&server, json!({"text": "fox", "ids": ["foxes"]})).await, ["foxes"]);
    assert_eq!(ids(&server, json!({"text": "fox", "k": 1})).await, ["foxes"]);
    server.stop().await;
}

#[tokio::test]
async fn a_single_search_is_bounded_by_k_alone_and_not_cut_in_silence() {
    let server = start_with(HttpSettings { max_answer_records: 1, ..HttpSettings::default() }).await;
    assert_eq!(ids(&server, json!({"text": "dog fox", "k": 3})).await.len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn the_words_found_are_shown_and_what_was_written_or_deleted_is_seen_at_once() {
    let server = start().await;
    let shown =
        found(&server, json!({"text": "lazy fox", "highlight": {"pre": "[", "post": "]"}, "include": []})).await;
    assert_eq!(shown[0]["highlights"], json!(["The quick brown [fox] jumps over the [lazy] dog"]));
    assert_eq!(shown[0].get("document"), None, "it was not asked for");
    let update = json!({"records": [{"id": "dog", "document": "A cat sleeps"}]});
    assert_eq!(server.post("/api/collections/notes/update", &update).await.status, 200);
    assert_eq!(server.post("/api/collections/notes/delete", &json!({"ids": ["fox"]})).await.status, 200);
    assert_eq!(ids(&server, json!({"text": "dog"})).await, [""; 0]);
    assert_eq!(ids(&server, json!({"text": "cats"})).await, ["dog"]);
    server.stop().await;
}

#[tokio::test]
async fn sparse_vectors_are_scored_by_their_inner_product() {
    let server = start().await;
    let search = |idf: bool| json!({"sparse": {"key": "terms", "indices": [3, 17], "values": [1, 1], "idf": idf}});
    let plain = found(&server, search(false)).await;
    assert_eq!((&plain[0]["id"], &plain[0]["score"]), (&json!("dog"), &json!(2.5)));
    assert_eq!((&plain[1]["id"], &plain[1]["score"]), (&json!("bare"), &json!(1.0)));
    let weighted = found(&server, search(true)).await;
    // Of four records two have index 17, whose idf is ln(1 + 2.5 / 2.5).
    assert!((weighted[1]["score"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 1e-6, "{weighted:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_fusion_says_how_each_search_ranked_a_record() {
    let server = start().await;
    let body =
        json!({"text": "dog", "embedding": [0, 1], "include": [], "fusion": {"rrf": {"k": 1, "weights": [1, 3]}}});
    let fused = found(&server, body).await;
    let (first, second) = (&fused[0], &fused[1]);
    assert_eq!((&first["id"], &first["parts"]["text"]["rank"]), (&json!("dog"), &json!(1)));
    assert_eq!(first["parts"]["embedding"]["rank"], json!(2));
    assert!((first["score"].as_f64().unwrap() - (1.0 / 3.0 + 3.0 / 2.0)).abs() < 1e-6, "{first}");
    assert_eq!(second["id"], json!("fox"), "second by its words, third by its embedding");
    let sum = json!({"text": "dog", "embedding": [0, 1], "fusion": {"weighted_sum": {"weights": [0.5, 0.5]}}});
    assert_eq!(found(&server, sum).await[0]["id"], json!("dog"));
    let three = json!({"text": "sun", "embedding": [0, 1], "sparse": {"key": "terms", "indices": [17], "values": [1]}});
    let three = found(&server, three).await;
    assert_eq!(three[0]["id"], json!("dog"));
    assert_eq!(three[0]["parts"]["sparse"], json!({"rank": 1, "score": 2.0}));
    server.stop().await;
}

#[tokio::test]
async fn words_count_by_how_much_of_the_query_they_are_and_records_beyond_a_list_by_their_own_distance() {
    let server = start().await;
    // The farthest are at a right angle, 1 by the cosine. Of three documents two have the dog, and none has the unicorn.
    let fused = found(&server, json!({"text": "dog unicorn", "embedding": [0, 1], "include": []})).await;
    let bound = 2.2 * ((1.5f64 / 2.5).ln_1p() + (3.5f64 / 0.5).ln_1p());
    assert_eq!(fused.len(), 4);
    for record in &fused {
        let distance = record["parts"]["embedding"]["distance"].as_f64().unwrap();
        let words = record["parts"]["text"]["score"].as_f64().unwrap_or_default();
        let (score, expected) = (record["score"].as_f64().unwrap(), 1.0 - distance + words / bound);
        assert!((score - expected).abs() < 1e-5, "{record}, not {expected}");
    }
    assert_eq!(fused[0]["id"], json!("foxes"), "one common word of two is little: {fused:?}");
    let named = json!({"weighted_sum": {"normalisation": "theoretical_min_max"}});
    let named = json!({"text": "dog unicorn", "embedding": [0, 1], "include": [], "fusion": named});
    assert_eq!(found(&server, named).await, fused, "the default");

    let fusion = json!({"weighted_sum": {"weights": [0.1, 1]}});
    let few = json!({"text": "lazy", "embedding": [0, 1], "k": 2, "candidates": 2, "include": [], "fusion": fusion});
    let few = found(&server, few).await;
    assert_eq!((&few[0]["id"], &few[1]["id"]), (&json!("fox"), &json!("foxes")));
    assert_eq!(few[0]["parts"]["embedding"], json!({"rank": null, "distance": 1.0}), "third of two candidates");
    assert_eq!((&few[0]["parts"]["text"]["rank"], &few[1]["parts"]["text"]), (&json!(1), &Value::Null));

    // Farther than the limit, fox counts by its words alone.
    let near = json!({"text": "lazy", "embedding": [0, 1], "max_distance": 0.5, "include": []});
    let near = found(&server, near).await;
    let fox = near.iter().find(|record| record["id"] == "fox").unwrap();
    assert_eq!(fox["parts"]["embedding"], Value::Null, "{near:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_collection_chooses_how_its_documents_become_words() {
    let server = start().await;
    let german = json!({"name": "notizen", "text": {"language": "german", "stopwords": ["nur"]}});
    let created = server.post("/api/collections", &german).await;
    assert_eq!((created.status, &created.json()["text"]["language"]), (201, &json!("german")));
    let records = json!({"records": [{"id": "a", "embedding": [1], "document": "Nur alte Häuser"}]});
    assert_eq!(server.post("/api/collections/notizen/add", &records).await.status, 201);
    for (text, count) in [("Haus", 1), ("nur", 0), ("altes", 1)] {
        let answer = server.post("/api/collections/notizen/search", &json!({"text": text})).await.json();
        assert_eq!(answer["results"][0].as_array().unwrap().len(), count, "{text}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_search_by_words_is_named() {
    let server = start().await;
    let sparse =
        |indices: Value, values: Value| json!({"sparse": {"key": "terms", "indices": indices, "values": values}});
    let fusion = |fusion: Value| json!({"text": "a", "embedding": [1, 0], "fusion": fusion});
    let cases = [
        (json!({"text": 5}), "text: "),
        (json!({"text": null, "highlight": true}), "expected embedding, like, sparse or text, got none of them"),
        (json!({"text": ["a"]}), "expected words, or an object of query, minimum_match, prefix and typos"),
        (json!({"text": {"query": "a", "foo": 1}}), "foo"),
        (json!({"text": {"minimum_match": 1}}), "query"),
        (json!({"text": {"query": "a", "minimum_match": -1}}), "minimum_match"),
        (json!({"text": {"query": "a", "minimum_match": "101%"}}), "101"),
        (json!({"text": {"query": "a", "minimum_match": "many"}}), "many"),
        (json!({"text": {"query": "a", "typos": 3}}), "typos"),
        (json!({"text": {"query": "a", "typos": "some"}}), "typos"),
        (json!({"text": {"query": "a", "prefix": 1}}), "prefix"),
        (json!({"text": "a", "embeddings": [[1, 0]]}), "embeddings: expected one embedding"),
        (json!({"text": "a", "exact": true}), "exact: expected an embedding"),
        (json!({"text": "a", "ef_search": 10}), "ef_search and exact: expected an embedding"),
        (json!({"text": "a", "id": "fox"}), "expected no id"),
        (json!({"text": "a", "embedding": [1]}), "expected 2 numbers, got 1"),
        (json!({"text": "a", "k": -1}), "k"),
        (json!({"text": "a", "candidates": "x"}), "candidates"),
        (json!({"text": "a", "highlight": 5}), "highlight"),
        (json!({"text": "a", "highlight": {"length": 1}}), "highlight.length: expected 20 to 10000"),
        (json!({"text": "a", "highlight": {"fragments": 0}}), "highlight.fragments: expected 1 to 100"),
        (json!({"text": "a", "highlight": {"pre": "x".repeat(300)}}), "highlight.pre"),
        (json!({"text": "a", "highlight": {"color": "red"}}), "highlight"),
        (sparse(json!([2, 1]), json!([1, 1])), "sparse.indices: expected strictly ascending ones, got 1 after 2"),
        (sparse(json!([1, 1]), json!([1, 1])), "sparse.indices: expected strictly ascending ones, got 1 after 1"),
        (sparse(json!([1]), json!([1, 1])), "sparse.values: expected as many as indices (1), got 2"),
        (
            sparse(json!(vec![1; 65_537]), json!([1])),
            "at most 65536 entries of a sparse vector (DRUMLIN_MAX_SPARSE_ENTRIES)",
        ),
        (sparse(json!([-1]), json!([1])), "-1"),
        (sparse(json!([4_294_967_296_u64]), json!([1])), "4294967296"),
        (sparse(json!([1.5]), json!([1])), "1.5"),
        (sparse(json!(["a"]), json!([1])), "string"),
        (sparse(json!([1]), json!([null])), "null"),
        (json!({"sparse": {"indices": [1], "values": [1]}}), "key"),
        (json!({"sparse": {"key": "terms", "indices": [1], "values": [1], "more": 1}}), "more"),
        (json!({"sparse": []}), "sparse"),
        (fusion(json!({"rrf": {"k": -1}})), "fusion.rrf.k: expected a number of at least 0, got -1"),
        (fusion(json!({"rrf": {"weights": [1]}})), "fusion.rrf.weights: expected one for each search (2, in the order"),
        (fusion(json!({"rrf": {"weights": [1, -1]}})), "fusion.rrf.weights: expected numbers of at least 0, got -1"),
        (fusion(json!({"weighted_sum": {"normalisation": "z"}})), "normalisation"),
        (fusion(json!({"weighted_sum": {"weights": [1, 2, 3]}})), "fusion.weighted_sum.weights"),
        (fusion(json!({"other": {}})), "other"),
        (fusion(json!({"rrf": {}, "weighted_sum": {}})), "fusion"),
        (fusion(json!("rrf")), "fusion"),
        (json!({"embedding": [1, 0], "fusion": {"rrf": {"weights": [1, 2]}}}), "fusion.rrf.weights"),
    ];
    let mut wrong = Vec::new();
    for (body, words) in cases {
        let refused = server.post(SEARCH, &body).await;
        if !(400..=422).contains(&refused.status) || !refused.text().contains(words) {
            wrong.push(format!("{body}: {} {}, not {words:?}", refused.status, refused.text()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (text, words) in [
        (json!({"language": "klingon"}), "klingon"),
        (json!({"k1": -1}), "text.k1: expected a number from 0"),
        (json!({"b": 2}), "text.b: expected a number from 0 to 1, got 2"),
        (json!({"stopwords": [""]}), "text.stopwords[0]"),
        (json!({"stopwords": "the"}), "stopwords"),
        (json!({"stemmer": "porter"}), "porter"),
        (json!({"token_max_length": 0}), "text.token_max_length"),
        (json!({"other": 1}), "other"),
        (json!([]), "text"),
    ] {
        let refused = server.post("/api/collections", &json!({"name": "bad", "text": text})).await;
        assert_eq!(refused.status, 400, "{text}: {}", refused.text());
        assert!(refused.text().contains(words), "{text}: {}, not {words:?}", refused.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn an_answer_tells_how_many_records_were_scored_and_compared() {
    let server = start().await;
    for (body, compared) in [
        (json!({"text": "fox"}), 2),
        (json!({"text": "fox", "where": {"n": 1}}), 1),
        (json!({"text": "nowhere"}), 0),
        (json!({"embedding": [1, 0]}), 4),
        (json!({"sparse": {"key": "terms", "indices": [17], "values": [1]}}), 2),
        (json!({"like": ["fox"], "strategy": "best_score"}), 3),
    ] {
        let answer = server.post(SEARCH, &body).await;
        assert_eq!(answer.json()["compared"], compared, "{body}: {}", answer.text());
    }
    server.stop().await;
}
