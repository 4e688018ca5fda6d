//! Models in a bucket, and collections that embed texts with them: a small random encoder, in a bucket in memory.

use std::sync::Arc;

use bytes::Bytes;

use super::Store;
use crate::bucket::memory::MemoryBucket;
use crate::collection::request::{CollectionSpec, Embedder, Get, Include, Selection, TextRole, Transaction, Write};
use crate::config::Settings;
use crate::embedding::tiny_model::{HIDDEN, TinyModel};
use crate::error::ErrorKind;
use crate::record::{Record, RecordUpdate};
use crate::{Query, Storage};

fn files(seed: u64) -> Vec<(String, Bytes)> {
    let files = TinyModel::new(seed).files();
    files.iter().map(|(path, bytes)| (path.to_owned(), bytes.clone())).collect()
}

async fn store_on(bucket: &Arc<MemoryBucket>) -> Store {
    Store::open_on(Settings::new(Storage::Memory), bucket.clone()).await.unwrap()
}

async fn with_model() -> Store {
    let store = Store::open("memory://").await.unwrap();
    store.models().add("tiny", files(1)).await.unwrap();
    store
}

fn text(id: &str, document: &str) -> Record {
    Record::new(id, Vec::new()).with_document(document)
}

#[tokio::test]
async fn a_model_is_added_listed_replaced_and_removed_and_every_instance_sees_it() {
    let bucket = Arc::new(MemoryBucket::new(crate::bucket::clock::StoreClock::machine()));
    let (one, two) = (store_on(&bucket).await, store_on(&bucket).await);
    assert!(one.models().list().await.unwrap().is_empty());
    let around = files(1).into_iter().map(|(path, bytes)| (format!("package/weights/{path}"), bytes));
    let more = [("package/__init__.py".to_owned(), Bytes::new()), ("package/README.json".to_owned(), "{}".into())];
    let info = one.models().add("tiny", around.chain(more)).await.unwrap();
    assert_eq!((info.name.as_str(), info.dimension, info.scores_pairs), ("tiny", HIDDEN, false));
    assert_eq!(two.models().list().await.unwrap(), std::slice::from_ref(&info));
    assert_eq!(two.models().get("tiny").await.unwrap(), info);
    let mut stored = two.models().read("tiny").await.unwrap();
    let mut given = files(1);
    stored.sort();
    given.sort();
    assert_eq!(stored, given);
    let vector = |store: Store| async move {
        let texts = (Arc::new(vec!["river".to_owned()]), TextRole::Query);
        store.embed_by_model("tiny", None, texts).await.unwrap().pop().unwrap()
    };
    let before = vector(two.clone()).await;
    assert_eq!(one.models().add("tiny", files(1)).await.unwrap(), info, "the same again is no other");
    let other = one.models().add("tiny", files(2)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::AlreadyExists, "{other}");
    one.models().remove("tiny").await.unwrap();
    one.models().add("tiny", files(2)).await.unwrap();
    two.sync().await.unwrap();
    assert_ne!(vector(two.clone()).await, before, "another model has the name now");
    two.models().remove("tiny").await.unwrap();
    assert_eq!(two.models().get("tiny").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(two.models().remove("tiny").await.unwrap_err().kind(), ErrorKind::NotFound);
    one.sync().await.unwrap();
    assert!(one.models().list().await.unwrap().is_empty());
    assert!(one.collections(Default::default()).await.unwrap().is_empty(), "nobody sees where models are kept");
}

#[tokio::test]
async fn what_is_no_model_is_refused_and_leaves_nothing_behind() {
    let store = Store::open("memory://").await.unwrap();
    for (name, files) in [
        ("tiny", Vec::new()),
        ("../tiny", files(1)),
        ("tiny", files(1).into_iter().filter(|(path, _)| !path.ends_with("safetensors")).collect()),
        ("tiny", files(1).into_iter().map(|(path, bytes)| (path, bytes.slice(..bytes.len() / 2))).collect()),
    ] {
        let refused = store.models().add(name, files).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    assert!(store.models().list().await.unwrap().is_empty());
}

#[tokio::test]
async fn texts_become_embeddings_in_every_kind_of_write() {
    let store = with_model().await;
    let spec = CollectionSpec::new("notes").embedder(Embedder::model("tiny"));
    let notes = store.create_collection(spec).await.unwrap();
    assert_eq!(notes.dimension(), Some(HIDDEN));
    let of = |document: &str| {
        let (notes, document) = (notes.clone(), document.to_owned());
        async move { notes.embed(vec![document], TextRole::Passage).await.unwrap().pop().unwrap() }
    };
    let held = |id: &str| {
        let (notes, id) = (notes.clone(), id.to_owned());
        async move {
            let found = notes.get(Get::by_ids([id]).include(Include::ALL)).await.unwrap().records.pop().unwrap();
            (found.embedding.unwrap(), found.document)
        }
    };
    let own = vec![0.5; HIDDEN];
    let mixed = [text("a", "river stones"), Record::new("b", own.clone()), text("c", "green light")];
    assert_eq!(notes.add(mixed).await.unwrap().applied, 3);
    assert_eq!(held("a").await.0, of("river stones").await);
    assert_eq!(held("b").await.0, own);
    notes.upsert([text("b", "a greenhouse")]).await.unwrap();
    assert_eq!(held("b").await.0, of("a greenhouse").await);
    let change = |id: &str, document: Option<&str>| RecordUpdate {
        id: id.to_owned(),
        document: document.map(str::to_owned),
        ..RecordUpdate::default()
    };
    notes.update([change("a", Some("light")), change("c", None)]).await.unwrap();
    assert_eq!(held("a").await, (of("light").await, Some("light".to_owned())));
    assert_eq!(held("c").await.0, of("green light").await, "a change of no document renews nothing");
    notes.merge([change("a", Some("a stone")), change("d", Some("水"))]).await.unwrap();
    assert_eq!(held("a").await.0, of("a stone").await);
    assert_eq!(held("d").await.0, of("水").await);
    let writes = vec![Write::Add(vec![text("e", "river")]), Write::Delete(Selection::by_ids(["d"]))];
    notes.commit(Transaction { writes, ..Transaction::default() }).await.unwrap();
    assert_eq!(held("e").await.0, of("river").await);
    let hits = notes.search(Query::new(of("river").await).k(1)).await.unwrap();
    assert_eq!(hits[0].id, "e");
    let refused = notes.add([Record::new("x", Vec::new())]).await.unwrap_err();
    assert!(refused.to_string().contains("records[0]: expected an embedding, or a document"), "{refused}");
}

#[tokio::test]
async fn many_texts_keep_their_order() {
    let store = with_model().await;
    let words = ["river", "stone", "light", "green", "a", "水"];
    let texts: Vec<String> = (0..300).map(|i| format!("{} ", words[i % 6]).repeat(1 + i * 7 % 13)).collect();
    let all = store.embed_by_model("tiny", None, (Arc::new(texts.clone()), TextRole::Passage)).await.unwrap();
    assert_eq!(all.len(), texts.len());
    for i in [0, 1, 77, 150, 299] {
        let alone =
            store.embed_by_model("tiny", None, (Arc::new(vec![texts[i].clone()]), TextRole::Query)).await.unwrap();
        let far = alone[0].iter().zip(&all[i]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-5, "text {i} differs by {far}");
    }
}

#[tokio::test]
async fn an_embedder_that_cannot_be_used_refuses_texts_and_nothing_else() {
    let store = with_model().await;
    let spec = |name: &str, embedder: Embedder| CollectionSpec::new(name).embedder(embedder);
    let absent = store.create_collection(spec("x", Embedder::model("absent"))).await.unwrap_err();
    assert!(absent.kind() == ErrorKind::Invalid && absent.to_string().contains("there is no model \"absent\""));
    let other = store.create_collection(spec("x", Embedder::model("tiny")).dimension(3)).await.unwrap_err();
    assert!(other.to_string().contains("dimension: expected 16, that of the embedder's model, got 3"), "{other}");
    let plain = store.create_collection("plain").await.unwrap();
    let refused = plain.add([text("a", "river")]).await.unwrap_err();
    assert!(refused.to_string().contains("records[0].embedding: expected numbers, got none: collection \"plain\" has"));
    assert!(plain.embed(vec!["river".to_owned()], TextRole::Query).await.is_err());

    let notes = store.create_collection(spec("notes", Embedder::model("tiny"))).await.unwrap();
    notes.add([text("a", "river")]).await.unwrap();
    store.models().remove("tiny").await.unwrap();
    let refused = notes.add([text("b", "stone")]).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains("there is no model \"tiny\""));
    notes.add([Record::new("b", vec![0.1; HIDDEN])]).await.unwrap();
    assert_eq!(notes.count(Default::default()).await.unwrap(), 2);
    let lax = store.create_collection(spec("lax", Embedder::model("later").optional())).await.unwrap();
    lax.add([Record::new("a", vec![1.0, 0.0])]).await.unwrap();
    let change = RecordUpdate { id: "a".to_owned(), document: Some("river".to_owned()), ..RecordUpdate::default() };
    assert_eq!(lax.update([change]).await.unwrap().applied, 1, "its user's own embedding stays");
    let copied = store.create_collection(spec("copied", Embedder::model("absent")).dimension(3)).await.unwrap();
    copied.add([Record::new("a", vec![1.0, 0.0, 0.0])]).await.unwrap();
    let bare = store.create_collection(spec("bare", Embedder::model("absent")).dimension(0)).await.unwrap_err();
    assert!(bare.to_string().contains("embedder: expected none beside dimension 0"), "{bare}");
}

#[tokio::test]
async fn an_embedder_stays_with_its_collection_across_restarts_and_forks() {
    let bucket = Arc::new(MemoryBucket::new(crate::bucket::clock::StoreClock::machine()));
    let embedder = Embedder::model("tiny").prefixes("query: ", "a ");
    {
        let store = store_on(&bucket).await;
        store.models().add("tiny", files(1)).await.unwrap();
        let notes = store.create_collection(CollectionSpec::new("notes").embedder(embedder.clone())).await.unwrap();
        notes.add([text("a", "river")]).await.unwrap();
    }
    let store = store_on(&bucket).await;
    let notes = store.collection("notes").await.unwrap();
    assert_eq!(notes.info().embedder, Some(embedder.clone()));
    let plain = store
        .embed_by_model("tiny", Some(""), (Arc::new(vec!["a river".to_owned()]), TextRole::Passage))
        .await
        .unwrap();
    let found = notes.get(Get::by_ids(["a"]).include(Include::ALL)).await.unwrap().records.pop().unwrap();
    assert_eq!(found.embedding.as_ref(), plain.first(), "the prefix of passages is before it");
    let fork = store.fork_collection(notes.id(), "fork").await.unwrap();
    assert_eq!(fork.info().embedder, Some(embedder));
    fork.add([text("b", "stone")]).await.unwrap();
}

#[tokio::test]
async fn a_collection_without_embeddings_is_searched_by_words_and_checks_as_one_of_records() {
    let store = Store::open("memory://").await.unwrap();
    let notes = store.create_collection(CollectionSpec::new("notes").dimension(0)).await.unwrap();
    notes.add([text("a", "river stones"), text("b", "green light")]).await.unwrap();
    let refused = notes.search(Query::new([1.0])).await.unwrap_err();
    assert!(refused.to_string().contains("have no embeddings"), "{refused}");
    let refused = notes.add([Record::new("c", vec![1.0])]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn the_fixture_is_the_small_model() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data-fixtures/tiny-bert");
    for (path, bytes) in files(1) {
        if std::env::var_os("DRUMLIN_WRITE_FIXTURES").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(&path), &bytes).unwrap();
        }
        assert_eq!(std::fs::read(folder.join(&path)).unwrap(), bytes, "{path}; DRUMLIN_WRITE_FIXTURES=1 writes it");
    }
}
