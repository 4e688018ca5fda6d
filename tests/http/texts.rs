//! Texts over the native API: a collection with an embedder takes them, and finds them by meaning, by words and by both.
//! The model is a small random one, so "meaning" is what it makes of the words: equal texts are nearest.

use std::path::Path;

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage, Store};
use drumlin_test_support::server::Server;
use serde_json::{Value, json};

const SEARCH: &str = "/api/collections/notes/search";

/// A server on a store that has the model `tiny`, and a collection that uses it.
async fn start() -> Server {
    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    add_model(&server.store).await;
    let body = json!({"name": "notes", "embedder": {"model": "tiny"}});
    let made = server.post("/api/collections", &body).await;
    assert_eq!((made.status, &made.json()["dimension"]), (201, &json!(16)));
    assert_eq!(made.json()["embedder"], json!({"model": "tiny"}));
    let records = json!({"records": [
        {"id": "river", "document": "a green river", "metadata": {"n": 1}},
        {"id": "stone", "document": "stones, light stones", "metadata": {"n": 2}},
        {"id": "house", "document": "greenhouse"},
        {"id": "own", "embedding": [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]},
    ]});
    let added = server.post("/api/collections/notes/add", &records).await;
    assert_eq!(added.status, 201, "{}", added.text());
    server
}

pub(crate) async fn add_model(store: &Store) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data-fixtures/tiny-bert");
    let files = ["config.json", "tokenizer.json", "model.safetensors"];
    let files = files.map(|name| (name.to_owned(), std::fs::read(folder.join(name)).unwrap().into()));
    store.models().add("tiny", files).await.unwrap();
}

async fn found(server: &Server, body: Value) -> Vec<Value> {
    let answer = server.post(SEARCH, &body).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.json()["results"][0].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_text_is_found_by_meaning_by_words_and_by_both() {
    let server = start().await;
    let meaning = found(&server, json!({"text": "stones, light stones", "mode": "meaning"})).await;
    assert_eq!((meaning.len(), &meaning[0]["id"]), (4, &json!("stone")));
    assert!(meaning[0]["distance"].as_f64().unwrap() < 1e-5 && meaning[0].get("parts").is_none(), "{}", meaning[0]);
    let words = found(&server, json!({"text": "stone", "mode": "words"})).await;
    assert_eq!((words.len(), &words[0]["id"]), (1, &json!("stone")));
    for body in [json!({"text": "stones, light stones"}), json!({"text": "stones, light stones", "mode": "both"})] {
        let both = found(&server, body).await;
        assert_eq!(both[0]["id"], "stone");
        assert_eq!(both[0]["parts"]["embedding"]["rank"], 1);
        assert_eq!(both[0]["parts"]["text"]["rank"], 1);
    }
    let filtered = found(&server, json!({"text": "stones, light stones", "mode": "meaning", "where": {"n": 1}})).await;
    assert_eq!((filtered.len(), &filtered[0]["id"]), (1, &json!("river")));
    let shown = json!({"text": "green", "mode": "meaning", "highlight": {"pre": "[", "post": "]"}, "include": []});
    let shown = found(&server, shown).await;
    let river = shown.iter().find(|hit| hit["id"] == "river").unwrap();
    assert_eq!(river["highlights"], json!(["a [green] river"]));
    server.stop().await;
}

#[tokio::test]
async fn a_change_of_a_document_renews_its_embedding() {
    let server = start().await;
    let change = json!({"records": [{"id": "house", "document": "light"}, {"id": "river", "metadata": {"n": 7}}]});
    assert_eq!(server.post("/api/collections/notes/update", &change).await.status, 200);
    let nearest = |text: &str| json!({"text": text, "mode": "meaning", "k": 1});
    assert_eq!(found(&server, nearest("light")).await[0]["id"], "house");
    let river = found(&server, nearest("a green river")).await;
    assert_eq!((&river[0]["id"], &river[0]["metadata"]["n"]), (&json!("river"), &json!(7)));
    let again = json!({"records": [{"id": "own", "document": "水"}]});
    assert_eq!(server.post("/api/collections/notes/upsert", &again).await.status, 200);
    assert_eq!(found(&server, nearest("水")).await[0]["id"], "own");
    server.stop().await;
}

#[tokio::test]
async fn embeddings_alone_are_answered_in_both_forms() {
    let server = start().await;
    let models = server.get("/api/models").await.json();
    assert_eq!((&models[0]["name"], &models[0]["dimension"]), (&json!("tiny"), &json!(16)));
    let texts = json!({"texts": ["light", "a river"], "role": "query"});
    let own = server.post("/api/collections/notes/embed", &texts).await.json();
    assert_eq!(own["embeddings"].as_array().unwrap().len(), 2);
    let asked = json!({"model": "tiny", "input": ["light", "a river"]});
    let openai = server.post("/v1/embeddings", &asked).await.json();
    assert_eq!(openai["data"][1]["embedding"], own["embeddings"][1]);
    assert_eq!(openai["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    let asked = json!({"model": "tiny", "input": "light", "encoding_format": "base64"});
    let coded = server.post("/v1/embeddings", &asked).await.json();
    assert_eq!(coded["data"][0]["embedding"].as_str().unwrap().len(), 16 * 4 / 3 * 4 + 4);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_embedded_or_searched_is_refused_with_its_field() {
    let server = start().await;
    assert_eq!(server.post("/api/collections", &json!({"name": "plain"})).await.status, 201);
    let create = |embedder: Value| ("/api/collections", json!({"name": "x", "embedder": embedder}));
    let search = |body: Value| (SEARCH, body);
    for ((path, body), status, words) in [
        (create(json!({"model": "absent"})), 400, "embedder.model: there is no model \"absent\""),
        (("/api/collections", json!({"name": "x", "dimension": 0, "embedder": {"model": "tiny"}})), 400, "dimension 0"),
        (create(json!({"model": "a/b"})), 400, "embedder.model: expected 1 to 128"),
        (create(json!({"modle": "tiny"})), 400, "embedder: expected an object with model"),
        (create(json!("tiny")), 400, "embedder"),
        (search(json!({"text": "x", "mode": "sense"})), 400, "mode"),
        (search(json!({"embedding": [1], "mode": "meaning"})), 400, "mode: expected a text"),
        (
            search(json!({"text": "x", "mode": "both", "embedding": [1]})),
            400,
            "mode: \"meaning\" and \"both\" make an embedding",
        ),
        (search(json!({"text": {"query": "x", "prefix": true}, "mode": "meaning"})), 400, "text: minimum_match"),
        (search(json!({"text": "x", "rerank": {"model": "tiny"}})), 400, "scores no pairs"),
        (search(json!({"text": "x", "rerank": {"model": "gone"}})), 404, "no model \"gone\""),
        (search(json!({"embedding": [1], "rerank": {"model": "tiny"}})), 400, "rerank: expected a text"),
        (search(json!({"text": "x", "k": 5, "rerank": {"model": "tiny", "candidates": 4}})), 400, "rerank.candidates"),
        (("/api/collections/plain/search", json!({"text": "x", "mode": "meaning"})), 400, "has no embedder"),
        (("/api/collections/plain/embed", json!({"texts": ["x"]})), 400, "has no embedder"),
        (("/api/collections/plain/add", json!({"records": [{"id": "a", "document": "x"}]})), 400, "has no embedder"),
        (("/api/collections/notes/add", json!({"records": [{"id": "a"}]})), 400, "records[0]: expected an embedding"),
        (("/api/collections/notes/embed", json!({"texts": [1]})), 400, "texts[0]"),
        (("/api/collections/notes/embed", json!({"texts": ["x"], "role": "title"})), 400, "role"),
        (("/v1/embeddings", json!({"model": "gone", "input": "x"})), 404, "no model \"gone\""),
        (("/v1/embeddings", json!({"model": "tiny", "input": [[1, 2]]})), 400, "input"),
        (("/v1/embeddings", json!({"model": "tiny", "input": "x", "dimensions": 8})), 400, "dimensions: expected 16"),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{path} {body}: {message}");
    }
    server.stop().await;
}

#[tokio::test]
async fn records_without_embeddings_are_searched_by_words() {
    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    assert_eq!(server.post("/api/collections", &json!({"name": "notes", "dimension": 0})).await.status, 201);
    let records = json!({"records": [{"id": "a", "document": "a green river"}, {"id": "b", "document": "stones"}]});
    assert_eq!(server.post("/api/collections/notes/add", &records).await.status, 201);
    assert_eq!(found(&server, json!({"text": "rivers"})).await[0]["id"], "a");
    assert_eq!(server.post(SEARCH, &json!({"embedding": [1]})).await.status, 400);
    server.stop().await;
}

/// A service that answers OpenAI's route with embeddings of a text's length and of its first byte.
async fn service() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { while answered(&mut stream).await {} });
        }
    });
    address
}

async fn answered(stream: &mut tokio::net::TcpStream) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut request = Vec::new();
    let body = loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        let length = |head: &str| head.to_lowercase().split("content-length: ").nth(1)?.lines().next()?.parse().ok();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && length(head).is_some_and(|length: usize| body.len() >= length)
        {
            break body.to_owned();
        }
        match stream.read_buf(&mut request).await {
            Ok(read) if read > 0 => {}
            _ => return false,
        }
    };
    let asked: Value = serde_json::from_str(&body).unwrap();
    let vector = |text: &str| json!([text.len(), text.as_bytes()[0], 1]);
    let texts = asked["input"].as_array().unwrap().iter().enumerate();
    let data: Vec<Value> =
        texts.map(|(i, text)| json!({"index": i, "embedding": vector(text.as_str().unwrap())})).collect();
    let body = json!({"object": "list", "data": data, "model": asked["model"]}).to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.is_ok()
}

#[tokio::test]
async fn a_service_makes_the_embeddings_where_the_operator_allows_its_address() {
    let address = service().await;
    let provider = json!({"kind": "openai", "url": format!("http://{address}/v1"), "model": "m"});
    let create = json!({"name": "notes", "metric": "l2", "embedder": {"provider": provider, "query_prefix": "q"}});
    let strict = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    let refused = strict.post("/api/collections", &create).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("DRUMLIN_PROVIDER_ALLOW_PRIVATE"), "{}", refused.text());
    strict.stop().await;

    let mut settings = Settings::new(Storage::Memory);
    settings.provider.allow_private_addresses = true;
    let server = Server::with(settings, HttpSettings::default()).await;
    let made = server.post("/api/collections", &create).await;
    assert_eq!((made.status, &made.json()["dimension"]), (201, &json!(3)), "{}", made.text());
    assert_eq!(made.json()["embedder"], create["embedder"]);
    let records = json!({"records": [{"id": "a", "document": "qx"}, {"id": "b", "document": "zzzzzz"}]});
    assert_eq!(server.post("/api/collections/notes/add", &records).await.status, 201);
    let hit = found(&server, json!({"text": "y", "mode": "meaning", "k": 1})).await;
    assert_eq!((&hit[0]["id"], &hit[0]["distance"]), (&json!("a"), &json!(0.0)), "q and y are as long as qx");
    for (wrong, words) in [
        (json!({"kind": "cohere", "url": "http://x/v1", "model": "m"}), "embedder.provider: unknown variant"),
        (json!({"kind": "openai", "url": "ftp://x/v1", "model": "m"}), "url"),
        (
            json!({"kind": "openai", "url": "http://x/v1", "model": "m", "key": "s3cret"}),
            "embedder.provider: unknown field",
        ),
        (
            json!({"kind": "openai", "url": format!("http://{address}/v1"), "model": "m", "key_variable": "AWS_SECRET_ACCESS_KEY"}),
            "DRUMLIN_PROVIDER_KEYS",
        ),
    ] {
        let answer = server.post("/api/collections", &json!({"name": "x", "embedder": {"provider": wrong}})).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(words) && !answer.text().contains("s3cret"), "{}", answer.text());
    }
    server.stop().await;
}

const BOOK: &str = "A green river runs. Stones lie in it. The house is light. 水 falls on stones. Nobody looks.";

/// A server with a collection that splits documents into parts of two sentences.
async fn start_with_chunk(chunk: Value) -> Server {
    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    add_model(&server.store).await;
    let body = json!({"name": "notes", "embedder": {"model": "tiny"}, "chunk": chunk});
    let made = server.post("/api/collections", &body).await;
    assert_eq!((made.status, &made.json()["chunk"]["by"]), (201, &chunk["by"]), "{}", made.text());
    let records = json!({"records": [
        {"id": "book", "document": BOOK, "uri": "b.txt", "metadata": {"year": 1999}},
        {"id": "leaf", "document": "Light stones.", "metadata": {"year": 2020}},
    ]});
    let added = server.post("/api/collections/notes/add", &records).await;
    assert_eq!((added.status, &added.json()["added"]), (201, &json!(2)), "{}", added.text());
    server
}

async fn ids(server: &Server, body: Value) -> Vec<String> {
    let answer = server.post("/api/collections/notes/get", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let records = answer.json()["records"].as_array().unwrap().clone();
    records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_long_document_is_split_and_found_by_its_best_part() {
    let server = start_with_chunk(json!({"by": "sentences", "size": 2, "overlap": 0})).await;
    assert_eq!(ids(&server, json!({"ids": ["book"]})).await, ["book#0", "book#1", "book#2"]);
    assert_eq!(ids(&server, json!({"ids": ["book#1", "leaf"]})).await, ["book#1", "leaf#0"]);
    let best = json!({"text": "The house is light. 水 falls on stones.", "mode": "meaning"});
    let hits = found(&server, best.clone()).await;
    assert_eq!(hits.iter().map(|hit| &hit["id"]).collect::<Vec<_>>(), ["book#1", "leaf#0"]);
    let metadata = json!({"document_id": "book", "part": 1, "start": 38, "year": 1999});
    assert_eq!((&hits[0]["metadata"], &hits[0]["uri"]), (&metadata, &json!("b.txt")));
    // The same by an embedding, by words, and with more parts of each document.
    let embedding = server.post("/api/collections/notes/embed", &json!({"texts": [best["text"]]})).await.json();
    let by_embedding = found(&server, json!({"embedding": embedding["embeddings"][0]})).await;
    assert_eq!(by_embedding.iter().map(|hit| &hit["id"]).collect::<Vec<_>>(), ["book#1", "leaf#0"]);
    let by_words = found(&server, json!({"text": "stones", "mode": "words"})).await;
    assert_eq!(by_words.len(), 2);
    let both = found(&server, json!({"text": "stones", "k": 1})).await;
    assert_eq!(both.len(), 1);
    let body = json!({"text": "stones", "mode": "words", "parts": 2});
    let groups = server.post(SEARCH, &body).await.json()["groups"].clone();
    let book = groups.as_array().unwrap().iter().find(|group| group["value"] == "book").unwrap();
    assert_eq!(book["results"].as_array().unwrap().len(), 2);
    let like = found(&server, json!({"id": "book"})).await;
    assert_eq!(like.iter().map(|hit| &hit["id"]).collect::<Vec<_>>(), ["leaf#0"]);
    server.stop().await;
}

#[tokio::test]
async fn documents_are_changed_and_deleted_whole() {
    let server = start_with_chunk(json!({"by": "sentences", "size": 2, "overlap": 0})).await;
    let change = json!({"records": [{"id": "book", "metadata": {"year": 2000, "shelf": "a"}}, {"id": "gone"}]});
    let changed = server.post("/api/collections/notes/update", &change).await.json();
    assert_eq!((&changed["updated"], &changed["skipped"]), (&json!(1), &json!(1)));
    assert_eq!(ids(&server, json!({"where": {"year": 2000}})).await.len(), 3);
    let change = json!({"records": [{"id": "book", "document": "One light. Two lights. Three rivers."}]});
    assert_eq!(server.post("/api/collections/notes/update", &change).await.json()["updated"], 1);
    assert_eq!(ids(&server, json!({"where": {"shelf": "a"}})).await, ["book#0", "book#1"]);
    let again = json!({"records": [{"id": "book", "document": "Nothing."}, {"id": "new", "document": BOOK}]});
    assert_eq!(server.post("/api/collections/notes/add", &again).await.json()["skipped"], 1);
    assert_eq!(server.post("/api/collections/notes/upsert", &again).await.json()["upserted"], 2);
    assert_eq!(ids(&server, json!({"ids": ["book"]})).await, ["book#0"]);
    // A document goes as a whole, also where only one part matches.
    let matching = json!({"where_document": {"$contains": "水"}});
    assert_eq!(server.post("/api/collections/notes/delete", &matching).await.json()["deleted"], 1);
    assert_eq!(ids(&server, json!({})).await, ["book#0", "leaf#0"]);
    let deleted = server.post("/api/collections/notes/delete", &json!({"ids": ["leaf", "book#0"]})).await.json();
    assert_eq!((&deleted["deleted"], &deleted["skipped"]), (&json!(1), &json!(1)));
    assert_eq!(ids(&server, json!({})).await, ["book#0"]);
    server.stop().await;
}

#[tokio::test]
async fn parts_may_be_counted_in_tokens_of_the_model() {
    let server = start_with_chunk(json!({"by": "tokens", "size": 8, "overlap": 2})).await;
    let parts = ids(&server, json!({"ids": ["book"]})).await;
    assert!(parts.len() > 2, "{parts:?}");
    let body = json!({"name": "wide", "embedder": {"model": "tiny"}, "chunk": {"by": "tokens", "size": 900}});
    let refused = server.post("/api/collections", &body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("chunk.size: expected at most"), "{}", refused.text());
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_split_is_refused_with_its_field() {
    let server = start_with_chunk(json!({"by": "sentences"})).await;
    assert_eq!(server.post("/api/collections", &json!({"name": "plain"})).await.status, 201);
    let create =
        |chunk: Value| ("/api/collections", json!({"name": "x", "embedder": {"model": "tiny"}, "chunk": chunk}));
    let add = |record: Value| ("/api/collections/notes/add", json!({"records": [record]}));
    let own = [1.0; 16];
    for ((path, body), words) in [
        (create(json!({"by": "pages"})), "chunk.by: expected"),
        (create(json!({"by": "sentences", "size": 0})), "chunk.size: expected 1 to 1000, got 0"),
        (create(json!({"by": "sentences", "size": 4, "overlap": 3})), "chunk.overlap: expected at most half"),
        (create(json!("sentences")), "chunk"),
        (("/api/collections", json!({"name": "x", "chunk": {"by": "sentences"}})), "chunk: expected an embedder"),
        (
            ("/api/collections", json!({"name": "x", "dimension": 0, "chunk": {"by": "tokens"}})),
            "only the tokens of a model",
        ),
        (add(json!({"id": "a"})), "records[0].document: expected a text"),
        (add(json!({"id": "a", "document": "x", "embedding": own})), "splits documents"),
        (add(json!({"id": "a", "document": "x", "metadata": {"part": 1}})), "records[0].metadata.part"),
        (("/api/collections/notes/update", json!({"records": [{"id": "leaf", "embedding": own}]})), "splits documents"),
        ((SEARCH, json!({"text": "x", "parts": 0})), "parts: expected at least 1"),
        ((SEARCH, json!({"text": "x", "parts": 1, "facets": {"year": {}}})), "parts: expected a collection with chunk"),
        (("/api/collections/plain/search", json!({"embedding": [1], "parts": 1})), "parts: expected a collection"),
        (
            (
                "/api/v2/tenants/default_tenant/databases/default_database/collections/notes/add",
                json!({"ids": ["x"], "documents": ["x"], "embeddings": [own]}),
            ),
            "",
        ),
    ] {
        let answer = server.post(path, &body).await;
        assert!((400..500).contains(&answer.status), "{path} {body}: {}", answer.text());
        assert!(answer.text().contains(words), "{path} {body}: {}", answer.text());
    }
    // A search for words alone needs no model.
    let words = json!({"name": "words", "dimension": 0, "chunk": {"by": "sentences", "size": 1, "overlap": 0}});
    assert_eq!(server.post("/api/collections", &words).await.status, 201);
    let book = json!({"records": [{"id": "book", "document": BOOK}]});
    assert_eq!(server.post("/api/collections/words/add", &book).await.status, 201);
    let hits = server.post("/api/collections/words/search", &json!({"text": "river", "k": 3})).await.json();
    assert_eq!(hits["results"][0][0]["id"], "book#0");
    assert_eq!(hits["results"][0].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn parts_travel_as_they_are_stored() {
    let server = start_with_chunk(json!({"by": "sentences", "size": 2, "overlap": 0})).await;
    let include = json!({"include": ["embedding", "document", "metadata", "uri"]});
    let records = server.post("/api/collections/notes/get", &include).await.json()["records"].clone();
    let body = json!({"name": "copy", "embedder": {"model": "tiny"}, "chunk": {"by": "sentences"}});
    assert_eq!(server.post("/api/collections", &body).await.status, 201);
    let added = server.post("/api/collections/copy/add", &json!({"records": records})).await;
    assert_eq!((added.status, &added.json()["added"]), (201, &json!(4)), "{}", added.text());
    assert_eq!(server.post("/api/collections/copy/get", &include).await.json()["records"], records);
    let mixed = json!({"records": [records[0], {"id": "x", "document": "x"}]});
    let refused = server.post("/api/collections/copy/add", &mixed).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("records[1]: expected a part"), "{}", refused.text());
    server.stop().await;
}
