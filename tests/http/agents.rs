//! Tools and resources for agents, over `POST /mcp` and over a pair of streams.

use drumlin::http::{HttpSettings, McpServer};
use drumlin::{CollectionSpec, Metadata, Record, Settings, Storage, Store};
use drumlin_test_support::server::{Answer, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json");

async fn start() -> Server {
    Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await
}

async fn send(server: &Server, message: &Value) -> Answer {
    server.send("POST", "/mcp", &[ACCEPT, JSON], message.to_string().as_bytes()).await
}

/// The result of a request of the protocol.
async fn ask(server: &Server, method: &str, params: Value) -> Value {
    let answer = send(server, &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})).await;
    assert_eq!(answer.status, 200, "{method}: {}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["id"], 7);
    answer["result"].clone()
}

async fn call(server: &Server, tool: &str, arguments: Value) -> Value {
    ask(server, "tools/call", json!({"name": tool, "arguments": arguments})).await
}

/// What a tool answered that did its work.
async fn done(server: &Server, tool: &str, arguments: Value) -> Value {
    let result = call(server, tool, arguments.clone()).await;
    assert_eq!(result["isError"], false, "{tool} {arguments}: {result}");
    let told: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(told, result["structuredContent"]);
    told
}

/// The sentence of a tool that refused.
async fn refused(server: &Server, tool: &str, arguments: Value) -> String {
    let result = call(server, tool, arguments.clone()).await;
    assert_eq!(result["isError"], true, "{tool} {arguments}: {result}");
    result["content"][0]["text"].as_str().unwrap().to_owned()
}

fn ids(answer: &Value, name: &str) -> Vec<String> {
    answer[name].as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_remembered_is_found_read_changed_and_forgotten() {
    let server = start().await;
    let about = json!({"topic": "deploy", "year": 2025});
    let texts = json!({"description": "What the tests know.", "texts": [
        {"text": "The deploy script lives in tools/deploy.sh", "id": "deploy", "metadata": about},
        {"text": "Ada prefers short answers"},
    ]});
    let stored = done(&server, "remember", texts.clone()).await;
    assert_eq!((&stored["remembered"], &stored["made_collection"]), (&json!(2), &json!(true)));
    let ada = stored["ids"][1].as_str().unwrap().to_owned();
    let again = done(&server, "remember", texts).await;
    assert_eq!((&again["ids"], again.get("made_collection")), (&stored["ids"], None));

    let found = done(&server, "search", json!({"query": "where is the deploy script?"})).await;
    assert_eq!(ids(&found, "results"), ["deploy"]);
    assert_eq!(found["results"][0]["text"], "The deploy script lives in tools/deploy.sh");
    assert_eq!(found["results"][0]["metadata"], json!({"topic": "deploy", "year": 2025}));
    let narrow = json!({"year": {"$gte": 2025}});
    let all = json!({"query": "script answers", "mode": "words", "k": 5, "filter": narrow, "collection": "memory"});
    assert_eq!(ids(&done(&server, "search", all).await, "results"), ["deploy"]);

    let update = json!({"updates": [
        {"id": "deploy", "text": "The deploy script moved to ci/", "metadata": {"year": 2026, "topic": null}},
        {"id": "none", "text": "x"},
    ], "collection": "memory"});
    let updated = done(&server, "update", update).await;
    assert_eq!(updated["updated"], 1);
    assert!(updated["notes"][0].as_str().unwrap().contains("1 ids do not exist"), "{updated}");
    let read = done(&server, "read", json!({"ids": ["deploy", "gone"]})).await;
    let moved = json!({"id": "deploy", "text": "The deploy script moved to ci/", "metadata": {"year": 2026}});
    assert_eq!(read["records"][0], moved);
    assert!(read["notes"][0].as_str().unwrap().contains("gone"), "{read}");

    assert_eq!(done(&server, "forget", json!({"ids": [ada, "gone"]})).await["forgotten"], 1);
    assert_eq!(ids(&done(&server, "read", json!({})).await, "records"), ["deploy"]);
    let nothing = done(&server, "search", json!({"query": "Ada"})).await;
    assert!(nothing["notes"][0].as_str().unwrap().contains("nothing was found"), "{nothing}");
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_tells_a_model_what_to_do_differently() {
    let server = start().await;
    let told = refused(&server, "search", json!({"query": "x"})).await;
    assert!(told.contains("there is none yet; remember makes one"), "{told}");
    done(&server, "remember", json!({"texts": [{"text": "a"}]})).await;
    let vectors = server.store.create_collection(CollectionSpec::new("vectors")).await.unwrap();
    vectors.add([Record::new("v", vec![1.0]).with_document("a text with an embedding")]).await.unwrap();
    for (tool, arguments, words) in [
        ("search", json!({"query": "x", "collection": "notes"}), "there are \"memory\", \"vectors\""),
        ("search", json!({"query": "x", "mode": "meaning"}), "mode \"words\""),
        ("search", json!({"query": "x", "mode": "magic"}), "expected one of"),
        ("search", json!({"query": "x", "k": 51}), "k: expected 1 to 50, got 51"),
        ("search", json!({"query": " "}), "query: expected words"),
        (
            "search",
            json!({"query": "x", "filter": {"a": 1, "b": 2}}),
            "filter: expected an object with exactly one key",
        ),
        ("read", json!({"filter": {"$and": [{"a": {"$like": 1}}]}}), "filter.$and[0]"),
        ("search", json!({"text": "x"}), "text"),
        ("search", json!({}), "query"),
        ("read", json!({"limit": 0}), "limit: expected 1 to 100"),
        ("read", json!({"ids": []}), "leave them out to read all"),
        ("remember", json!({"texts": []}), "texts: expected at least one"),
        ("remember", json!({"texts": [{"text": "a"}, {"text": "\n"}]}), "texts[1].text: expected words"),
        ("remember", json!({"texts": ["a"]}), "texts[0]"),
        ("remember", json!({"texts": [{"text": "a", "metadata": {"k": {"n": 1}}}]}), "texts[0].metadata.k"),
        ("remember", json!({"texts": [{"text": "a"}], "collection": "a b"}), "name: expected"),
        ("remember", json!({"texts": [{"text": "a"}], "collection": "vectors"}), "another collection"),
        ("update", json!({"updates": [{"id": "a"}]}), "updates[0]: expected text, metadata or both"),
        ("update", json!({"updates": [{"id": "v", "text": "b"}], "collection": "vectors"}), "embeddings that another"),
        ("forget", json!({}), "nothing was deleted"),
        ("forget", json!({"filter": {}}), "nothing was deleted"),
        ("list_collections", json!({"page": 2}), "page"),
    ] {
        let told = refused(&server, tool, arguments.clone()).await;
        assert!(told.contains(words), "{tool} {arguments}: {told}");
    }
    // A model may name every argument.
    let named = json!({"query": "a", "filter": {}, "k": null, "mode": null, "collection": null});
    assert_eq!(done(&server, "search", named).await["notes"].as_array().unwrap().len(), 1);
    // What others made is searched and read, and its metadata changed.
    let found = done(&server, "search", json!({"query": "text", "mode": "both", "collection": "vectors"})).await;
    assert_eq!(ids(&found, "results"), ["v"]);
    done(&server, "update", json!({"updates": [{"id": "v", "metadata": {"n": 1}}], "collection": "vectors"})).await;
    let unknown =
        send(&server, &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "drop"}})).await;
    assert!(unknown.json()["error"]["message"].as_str().unwrap().contains("there is no tool \"drop\""));
    server.stop().await;
}

#[tokio::test]
async fn a_filter_forgets_no_more_than_was_meant() {
    let server = start().await;
    let text = |n: usize| json!({"text": format!("fact {n}"), "metadata": {"n": n, "old": n < 150}});
    let texts: Vec<Value> = (0..200).map(text).collect();
    let stored = done(&server, "remember", json!({"texts": texts})).await;
    assert!(stored["notes"].is_null() && stored["ids"].as_array().unwrap().len() == 200);
    for (filter, at_most, words) in [
        (json!({"old": true}), None, "it matches 150 texts, more than 100"),
        (json!({"old": true}), Some(149), "it matches 150 texts, more than at_most"),
        (json!({"n": {"$gte": 0}}), None, "at_most"),
    ] {
        let told = refused(&server, "forget", json!({"filter": filter, "at_most": at_most})).await;
        assert!(told.contains(words) && told.contains("nothing was deleted"), "{told}");
    }
    assert_eq!(done(&server, "forget", json!({"filter": {"old": true}, "at_most": 150})).await["forgotten"], 150);
    let told = refused(&server, "forget", json!({"filter": {"n": {"$gte": 0}}})).await;
    assert!(told.contains("it matches all 50 texts of the collection"), "{told}");
    assert_eq!(done(&server, "forget", json!({"filter": {"n": {"$lt": 160}}})).await["forgotten"], 10);
    assert_eq!(done(&server, "forget", json!({"filter": {"n": 1}})).await["forgotten"], 0);
    assert_eq!(server.store.collection("memory").await.unwrap().info().count, 40);
    server.stop().await;
}

#[tokio::test]
async fn where_documents_are_split_ids_of_documents_and_of_their_parts_forget_whole_documents_once() {
    let server = start().await;
    let split = json!({"name": "long", "dimension": 0, "chunk": {"by": "sentences", "size": 1}});
    assert_eq!(server.post("/api/collections", &split).await.status, 201);
    let texts =
        ["a", "b", "c"].map(|id| json!({"id": id, "text": "It rains. It snows. It is dry.", "metadata": {"of": id}}));
    done(&server, "remember", json!({"texts": texts, "collection": "long"})).await;
    let count = async || server.store.collection("long").await.unwrap().info().count;
    assert_eq!(count().await, 9);
    let forgotten = done(&server, "forget", json!({"ids": ["a#1", "a", "a", "a#2"], "collection": "long"})).await;
    assert_eq!((&forgotten["forgotten"], count().await), (&json!(1), 6));
    let forgotten = done(&server, "forget", json!({"filter": {"of": "b"}, "collection": "long"})).await;
    assert_eq!((&forgotten["forgotten"], count().await), (&json!(1), 3));
    let none = done(&server, "forget", json!({"ids": ["c#7", "d"], "collection": "long"})).await;
    assert_eq!((&none["forgotten"], count().await), (&json!(0), 3), "{none}");
    server.stop().await;
}

#[tokio::test]
async fn an_answer_is_bounded_and_says_how_to_read_on() {
    let server = start().await;
    let long = format!("start {} needle {}", "hay ".repeat(10_000), "straw ".repeat(2_000));
    let mut texts = vec![json!({"text": long, "id": "long", "metadata": {"big": "x".repeat(5_000), "n": 1}})];
    texts.extend((0..60).map(|n| json!({"text": format!("{n} {}", "filler ".repeat(200)), "id": format!("t{n}")})));
    done(&server, "remember", json!({"texts": texts})).await;
    let found = done(&server, "search", json!({"query": "needle"})).await;
    let shown = &found["results"][0];
    assert!(shown["passages"][0].as_str().unwrap().contains("needle") && shown["text"].is_null(), "{found}");
    assert_eq!((&shown["text_characters"], &shown["metadata"]), (&json!(long.chars().count()), &json!({"n": 1})));
    assert_eq!(shown["metadata_left_out"], json!(["big"]));
    assert!(found["notes"].to_string().contains("read with its id"), "{found}");

    let mut whole = String::new();
    while whole.len() < long.len() {
        let part = done(&server, "read", json!({"ids": ["long"], "start": whole.len()})).await;
        whole.push_str(part["records"][0]["text"].as_str().unwrap());
    }
    assert_eq!(whole, long);

    let (mut seen, mut offset) = (Vec::new(), json!(0));
    while !offset.is_null() {
        let page = done(&server, "read", json!({"limit": 25, "offset": offset})).await;
        assert!(page.to_string().len() < 50_000);
        seen.extend(ids(&page, "records"));
        offset = page["next_offset"].clone();
    }
    assert_eq!(seen.len(), 61);
    let full = done(&server, "search", json!({"query": "filler", "k": 50})).await;
    assert!(full["notes"].to_string().contains("more results were left out"), "{}", full["notes"]);
    server.stop().await;
}

#[tokio::test]
async fn collections_are_listed_as_tools_and_as_resources() {
    let server = start().await;
    let none = done(&server, "list_collections", json!({})).await;
    assert!(none["notes"][0].as_str().unwrap().contains("remember makes one"), "{none}");
    let texts = json!([{"text": "a", "metadata": {"topic": "x"}}]);
    let remember = json!({"texts": texts, "collection": "notes", "description": "For notes."});
    done(&server, "remember", remember).await;
    for n in 0..24 {
        server.store.create_collection(format!("other-{n:02}")).await.unwrap();
    }
    let odd = CollectionSpec::new("zwei Wörter").metadata(Metadata::from([("description", "odd")]));
    server.store.create_collection(odd).await.unwrap();
    let told = json!({
        "name": "notes", "description": "For notes.", "texts": 1, "searched_by": ["words"],
        "metadata_keys": {"topic": ["string"]}
    });
    let listed = done(&server, "list_collections", json!({})).await;
    assert_eq!((&listed["count"], &listed["next_offset"], &listed["collections"][0]), (&json!(26), &json!(20), &told));
    let rest = done(&server, "list_collections", json!({"offset": 20})).await;
    assert_eq!((rest["collections"].as_array().unwrap().len(), rest.get("next_offset")), (6, None));

    let resources = ask(&server, "resources/list", json!({})).await["resources"].as_array().unwrap().clone();
    assert_eq!(resources.len(), 26);
    assert_eq!(
        (&resources[0]["uri"], &resources[0]["description"]),
        (&json!("drumlin://collections/notes"), &json!("For notes."))
    );
    for (uri, words) in [(&resources[0]["uri"], "For notes."), (&resources[25]["uri"], "zwei Wörter")] {
        let read = ask(&server, "resources/read", json!({"uri": uri})).await;
        let text = read["contents"][0]["text"].as_str().unwrap();
        assert!(text.contains(words) && read["contents"][0]["mimeType"] == "application/json", "{read}");
    }
    let templates = ask(&server, "resources/templates/list", json!({})).await;
    assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "drumlin://collections/{name}");
    for uri in ["drumlin://collections/none", "file:///etc/passwd", ""] {
        let read = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri}});
        assert!(send(&server, &read).await.json()["error"]["message"].is_string(), "{uri}");
    }
    server.stop().await;
}

#[tokio::test]
async fn messages_that_are_none_are_refused_and_the_server_goes_on() {
    let server = start().await;
    let huge = format!("{{\"jsonrpc\": \"2.0\", \"a\": \"{}\"}}", "a".repeat(5 << 20));
    for (body, status) in [("", 415), ("{", 415), ("[]", 415), ("null", 415), (huge.as_str(), 413)] {
        let answer = server.send("POST", "/mcp", &[ACCEPT, JSON], body.as_bytes()).await;
        assert!((400..500).contains(&answer.status), "{status} {}: {}", answer.status, answer.text());
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {
        "query": "x", "filter": "DEEP"
    }}});
    let call = call.to_string().replace("\"DEEP\"", &deep);
    assert!((400..500).contains(&server.send("POST", "/mcp", &[ACCEPT, JSON], call.as_bytes()).await.status));
    for (method, status) in [("GET", 405), ("DELETE", 405)] {
        assert_eq!(server.send(method, "/mcp", &[ACCEPT], b"").await.status, status);
    }
    let accept_nothing =
        server.send("POST", "/mcp", &[JSON], br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    assert_eq!(accept_nothing.status, 406);
    let notified = send(&server, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    assert_eq!(notified.status, 202);
    let asked = server.send("POST", "/mcp?collection=x", &[ACCEPT, JSON], b"{}").await;
    assert_eq!(asked.status, 400, "{}", asked.text());
    assert_eq!(ask(&server, "tools/list", json!({})).await["tools"].as_array().unwrap().len(), 6);
    server.stop().await;
}

#[tokio::test]
async fn any_server_on_the_bucket_answers_the_next_message() {
    let bucket = tempfile::tempdir().unwrap();
    let open = || Server::with(Settings::new(Storage::Folder(bucket.path().to_owned())), HttpSettings::default());
    let (first, second) = (open().await, open().await);
    let hello =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let answered = ask(&first, "initialize", hello).await;
    assert_eq!(
        (&answered["serverInfo"]["name"], &answered["protocolVersion"]),
        (&json!("drumlin"), &json!("2025-06-18"))
    );
    for n in 0..5 {
        let (writer, reader) = if n % 2 == 0 { (&first, &second) } else { (&second, &first) };
        done(writer, "remember", json!({"texts": [{"text": format!("fact {n}"), "id": format!("f{n}")}]})).await;
        let found = done(reader, "search", json!({"query": format!("{n}")})).await;
        assert_eq!(ids(&found, "results"), [format!("f{n}")], "what was remembered is found by every server at once");
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_pair_of_streams_is_served_until_its_end() {
    let store = Store::open(Settings::new(Storage::Memory)).await.unwrap();
    for read_only in [false, true] {
        let (client, server) = tokio::io::duplex(1 << 16);
        let (input, output) = tokio::io::split(server);
        let served = tokio::spawn(McpServer::new(store.clone()).read_only(read_only).serve(input, output));
        let (answers, mut messages) = tokio::io::split(client);
        let mut answers = BufReader::new(answers).lines();
        let hello =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let remember = json!({"name": "remember", "arguments": {"texts": [{"text": "a"}]}});
        let mut replies = Vec::new();
        for (id, method, params) in
            [(1, "initialize", hello), (2, "tools/list", json!({})), (3, "tools/call", remember)]
        {
            let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
            messages.write_all(format!("{message}\n").as_bytes()).await.unwrap();
            let reply: Value = serde_json::from_str(&answers.next_line().await.unwrap().unwrap()).unwrap();
            assert_eq!(reply["id"], id);
            replies.push(reply["result"].clone());
        }
        assert_eq!(replies[1]["tools"].as_array().unwrap().len(), if read_only { 3 } else { 6 });
        assert_eq!(replies[2]["isError"], read_only, "{}", replies[2]);
        messages.shutdown().await.unwrap();
        drop((messages, answers));
        served.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn with_a_model_in_the_bucket_texts_are_found_by_what_they_mean() {
    let server = start().await;
    let before = json!({"collection": "before", "texts": [{"text": "a green river", "id": "r"}]});
    done(&server, "remember", before).await;
    super::texts::add_model(&server.store).await;
    let texts = json!({"texts": [{"text": "a green river", "id": "r"}, {"text": "stones", "id": "s"}]});
    done(&server, "remember", texts).await;
    let found = done(&server, "search", json!({"query": "stones", "mode": "meaning", "k": 1})).await;
    assert_eq!((ids(&found, "results"), &found["searched_by"]), (vec!["s".to_owned()], &json!("meaning")));
    assert_eq!(found["results"][0]["score"], 1.0);
    let found = done(&server, "search", json!({"query": "rivers"})).await;
    // The model is a random one: by what it makes of the words, either may be first.
    assert!(ids(&found, "results").contains(&"r".to_owned()) && found["searched_by"] == "both", "{found}");
    let words = refused(&server, "search", json!({"query": "x", "mode": "meaning", "collection": "before"})).await;
    assert!(words.contains("words only"), "{words}");
    let change = json!({"updates": [{"id": "r", "text": "light"}]});
    done(&server, "update", change).await;
    let found = done(&server, "search", json!({"query": "light", "mode": "meaning", "k": 1})).await;
    assert_eq!(ids(&found, "results"), ["r"]);
    server.stop().await;
}

#[tokio::test]
async fn the_collections_that_hold_records_of_files_and_models_do_not_exist_for_agents() {
    let server = start().await;
    super::texts::add_model(&server.store).await;
    let put = server.send("PUT", "/api/files/notes.txt", &[], b"kept").await;
    assert_eq!(put.status, 201, "{}", put.text());
    for collection in [".files", ".models"] {
        for (tool, arguments) in [
            ("remember", json!({"collection": collection, "texts": [{"text": "x", "id": "notes.txt"}]})),
            ("update", json!({"collection": collection, "updates": [{"id": "notes.txt", "text": "x"}]})),
            ("forget", json!({"collection": collection, "ids": ["notes.txt"]})),
            ("read", json!({"collection": collection})),
            ("search", json!({"collection": collection, "query": "x"})),
        ] {
            let words = refused(&server, tool, arguments).await;
            assert!(words.contains(collection) || words.contains("name"), "{tool}: {words}");
        }
    }
    let kept = server.get("/api/files/notes.txt").await;
    assert_eq!((kept.status, kept.text()), (200, "kept".to_owned()));
    assert_eq!(server.store.models().list().await.unwrap().len(), 1);
    server.stop().await;
}
