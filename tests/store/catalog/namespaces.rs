//! Tenants, databases, and what can be done to collections as a whole: found by id, changed, forked,
//! dropped with their database. Two stores on one bucket, so that what one does holds for the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use drumlin::admin::Moment;
use drumlin::testing::bucket::Bucket;
use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::fault::{FaultBucket, Hold};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{
    Collection, CollectionChange, CollectionId, CollectionSpec, Consistency, ErrorKind, Get, Include, Metadata, Metric,
    Query, Record, Scope, Store,
};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{KEEP, memory, settings};

async fn open(bucket: Arc<dyn Bucket>) -> Store {
    let mut settings = settings();
    (settings.timing.fan_out, settings.timing.graph_rows) = (2, 8);
    Store::open_on(settings, bucket).await.unwrap()
}

/// Two stores on one bucket, neither of which follows the other unless asked.
async fn two() -> (Store, Store, MemoryBucket) {
    let memory = memory();
    let first = open(Arc::new(memory.clone())).await;
    (first, open(Arc::new(memory.clone())).await, memory)
}

fn scope(tenant: &str, database: &str) -> Scope {
    Scope { tenant: tenant.to_owned(), database: database.to_owned() }
}

async fn create(store: &Store, name: &str) -> Collection {
    store.create_collection(CollectionSpec::new(name).metric(Metric::L2)).await.unwrap()
}

fn record(n: usize) -> Record {
    Record::new(format!("r{n}"), vec![n as f32, 1.0]).with_document(format!("text {n}"))
}

async fn fill(collection: &Collection, numbers: std::ops::Range<usize>) {
    collection.upsert(numbers.map(record).collect::<Vec<_>>()).await.unwrap();
}

async fn ids(collection: &Collection) -> Vec<String> {
    let get = Get { consistency: Consistency::Strong, include: Include::NONE, ..Get::default() };
    collection.get(get).await.unwrap().records.into_iter().map(|found| found.id).collect()
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("r{n}")).collect()
}

fn rename(name: &str) -> CollectionChange {
    CollectionChange { name: Some(name.to_owned()), ..CollectionChange::default() }
}

async fn names(store: &Store, scope: &Scope) -> Vec<String> {
    let infos = store.with_scope(scope).collections(Consistency::Strong).await.unwrap();
    infos.into_iter().map(|info| info.name).collect()
}

#[tokio::test(start_paused = true)]
async fn tenants_and_databases_made_by_one_store_are_known_to_the_other_at_once() {
    let (first, second, _) = two().await;
    first.namespaces().create_tenant("acme").await.unwrap();
    let made = first.namespaces().create_database("acme", "shop").await.unwrap();
    assert_eq!(second.namespaces().database("acme", "shop").await.unwrap(), made);
    assert!(!made.id.is_nil());
    assert_eq!(second.namespaces().tenant("acme").await.unwrap().resource_name, None);
    second.namespaces().update_tenant("acme", Some("acme-1".to_owned())).await.unwrap();
    assert_eq!(second.namespaces().tenant("acme").await.unwrap().resource_name.as_deref(), Some("acme-1"));
    let names = |found: Vec<drumlin::admin::Database>| found.into_iter().map(|d| d.name).collect::<Vec<_>>();
    second.namespaces().create_database("acme", "attic").await.unwrap();
    assert_eq!(names(second.namespaces().databases("acme").await.unwrap()), ["attic", "shop"]);
    assert_eq!(names(second.namespaces().databases("nobody").await.unwrap()), Vec::<String>::new());
    assert_eq!(names(second.namespaces().databases("default_tenant").await.unwrap()), ["default_database"]);
}

#[tokio::test(start_paused = true)]
async fn what_there_is_not_is_refused_by_name_and_what_there_is_cannot_be_made_again() {
    let (first, second, _) = two().await;
    let missing = first.namespaces().tenant("acme").await.unwrap_err();
    assert_eq!((missing.kind(), missing.message()), (ErrorKind::NotFound, r#"tenant "acme" does not exist"#));
    let missing = first.namespaces().create_database("acme", "shop").await.unwrap_err();
    assert_eq!((missing.kind(), missing.message()), (ErrorKind::NotFound, r#"tenant "acme" does not exist"#));
    first.namespaces().create_tenant("acme").await.unwrap();
    assert_eq!(second.namespaces().create_tenant("acme").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    second.namespaces().create_database("acme", "shop").await.unwrap();
    assert_eq!(first.namespaces().create_database("acme", "shop").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let nowhere = scope("acme", "cellar");
    let error = first.with_scope(&nowhere).create_collection(CollectionSpec::new("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.message(), r#"database "cellar" of tenant "acme" does not exist"#);
    assert_eq!(first.namespaces().drop_database("acme", "cellar").await.unwrap_err().kind(), ErrorKind::NotFound);
    for name in ["", "a\nb", &"x".repeat(513)] {
        assert_eq!(first.namespaces().create_tenant(name).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(first.namespaces().create_database("acme", name).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_collection_is_found_by_its_id_wherever_it_is_and_by_a_store_that_did_not_know_it() {
    let (first, second, _) = two().await;
    first.namespaces().create_database("default_tenant", "shop").await.unwrap();
    let spec = CollectionSpec::new("a");
    let made = first.with_scope(&scope("default_tenant", "shop")).create_collection(spec).await.unwrap();
    fill(&made, 0..3).await;
    let found = second.collection_by_id(made.info().id).await.unwrap();
    assert_eq!(found.info().scope, scope("default_tenant", "shop"));
    assert_eq!(ids(&found).await, numbered(0..3));
    first.with_scope(&scope("default_tenant", "shop")).drop_collection("a").await.unwrap();
    fill(&create(&first, "other").await, 0..1).await;
    // What is dropped elsewhere is known here once the log was read.
    assert_eq!(found.count(Consistency::Strong).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(second.collection_by_id(made.info().id).await.unwrap_err().kind(), ErrorKind::NotFound);
    let nobody = CollectionId(uuid::Uuid::from_u128(1));
    let error = second.collection_by_id(nobody).await.unwrap_err();
    assert_eq!((error.kind(), error.message().contains(&nobody.to_string())), (ErrorKind::NotFound, true));
}

#[tokio::test(start_paused = true)]
async fn a_rename_shows_in_handles_at_once_here_and_after_a_sync_there() {
    let (first, second, memory) = two().await;
    let here = create(&first, "a").await;
    let there = second.collection("a").await.unwrap();
    first.modify_collection(here.info().id, rename("b")).await.unwrap();
    assert_eq!((here.info().name.as_str(), there.info().name.as_str()), ("b", "a"));
    assert_eq!(first.collection("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(second.collection("b").await.unwrap().info().id, here.info().id);
    assert_eq!(there.info().name, "b");
    let new = create(&second, "a").await;
    assert_eq!(
        first.modify_collection(here.info().id, rename("a")).await.unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    // A drop by name goes to who has it now, whatever this store knew.
    first.drop_collection("a").await.unwrap();
    assert_eq!(new.count(Consistency::Strong).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(names(&open(Arc::new(memory)).await, &Scope::default()).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_a_rename_elsewhere_has_freed_can_be_taken_at_once() {
    for make in 0..3 {
        let (first, second, _) = two().await;
        let (here, other) = (create(&first, "a").await, create(&first, "other").await);
        fill(&other, 0..3).await;
        for name in ["a", "other"] {
            second.collection(name).await.unwrap();
        }
        first.modify_collection(here.info().id, rename("b")).await.unwrap();
        let made = match make {
            0 => create(&second, "a").await,
            1 => second.fork_collection(other.info().id, "a").await.unwrap(),
            _ => second.admin().restore_collection("other", Moment::Sound, "a").await.unwrap().0,
        };
        assert_eq!(first.collection("a").await.unwrap().info().id, made.info().id);
        let taken = second.create_collection(CollectionSpec::new("b")).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_free_for_a_rename_as_soon_as_its_holder_was_dropped_elsewhere() {
    let (first, second, _) = two().await;
    let (a, _) = (create(&first, "a").await, create(&first, "b").await);
    second.drop_collection("b").await.unwrap();
    first.modify_collection(a.info().id, rename("b")).await.unwrap();
    assert_eq!(names(&second, &Scope::default()).await, ["b"]);
    second.drop_collection("b").await.unwrap();
    assert_eq!(first.modify_collection(a.info().id, rename("c")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn metadata_extension_and_search_width_change_and_come_back_after_a_restart() {
    let (first, _, memory) = two().await;
    let extension = |text: Value| -> Map<String, Value> { Map::from_iter([("schema".to_owned(), text)]) };
    let spec = CollectionSpec { extension: extension(json!({"keys": [1, 1.0, null]})), ..CollectionSpec::new("a") };
    let collection = first.create_collection(spec).await.unwrap();
    assert_eq!(collection.info().extension, extension(json!({"keys": [1, 1.0, null]})));
    let id = collection.info().id;
    let change = CollectionChange {
        metadata: Some(Some(Metadata::from([("year", 2024)]))),
        ef_search: Some(77),
        extension: Some(extension(json!("new"))),
        ..CollectionChange::default()
    };
    first.modify_collection(id, change).await.unwrap();
    let again = open(Arc::new(memory)).await;
    for info in [collection.info(), again.collection("a").await.unwrap().info()] {
        assert_eq!(info.metadata, Some(Metadata::from([("year", 2024)])));
        assert_eq!((info.index.ef_search, info.extension), (Some(77), extension(json!("new"))));
    }
    let none = CollectionChange { metadata: Some(None), ..CollectionChange::default() };
    first.modify_collection(id, none).await.unwrap();
    assert_eq!((collection.info().metadata, collection.info().index.ef_search), (None, Some(77)));
    let wrong = CollectionChange { ef_search: Some(0), ..CollectionChange::default() };
    assert_eq!(first.modify_collection(id, wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
    let wrong = first.modify_collection(id, rename("")).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn many_creates_of_one_name_at_once_make_one_collection_that_all_find() {
    let (first, second, _) = two().await;
    let tasks = (0..16).map(|n| {
        let store = if n % 2 == 0 { first.clone() } else { second.clone() };
        tokio::spawn(async move {
            match store.create_collection(CollectionSpec::new("one")).await {
                Ok(collection) => (true, collection.info().id),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                    (false, store.collection("one").await.unwrap().info().id)
                }
            }
        })
    });
    let told: Vec<(bool, CollectionId)> =
        futures::future::join_all(tasks).await.into_iter().map(|told| told.unwrap()).collect();
    assert_eq!(told.iter().filter(|(made, _)| *made).count(), 1);
    assert_eq!(told.iter().map(|(_, id)| *id).collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_database_takes_its_collections_along_and_comes_back_empty() {
    let (first, second, _) = two().await;
    let shop = scope("default_tenant", "shop");
    first.namespaces().create_database("default_tenant", "shop").await.unwrap();
    let kept = create(&first, "kept").await;
    for name in ["a", "b"] {
        let made = first.with_scope(&shop).create_collection(CollectionSpec::new(name)).await.unwrap();
        fill(&made, 0..2).await;
    }
    let there = second.with_scope(&shop).collection("a").await.unwrap();
    second.namespaces().drop_database("default_tenant", "shop").await.unwrap();
    assert_eq!(there.add([record(9)]).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(names(&first, &shop).await, Vec::<String>::new());
    assert_eq!(first.namespaces().database("default_tenant", "shop").await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = first.with_scope(&shop).create_collection(CollectionSpec::new("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    first.namespaces().create_database("default_tenant", "shop").await.unwrap();
    let again = second.with_scope(&shop).create_collection(CollectionSpec::new("a")).await.unwrap();
    assert_eq!(ids(&again).await, Vec::<String>::new());
    fill(&kept, 0..1).await;
}

#[tokio::test(start_paused = true)]
async fn the_default_database_can_be_dropped_and_created_anew() {
    let (first, second, memory) = two().await;
    create(&first, "a").await;
    second.namespaces().drop_database("default_tenant", "default_database").await.unwrap();
    let again = open(Arc::new(memory)).await;
    assert_eq!(
        again.namespaces().database("default_tenant", "default_database").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(first.create_collection(CollectionSpec::new("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
    first.namespaces().create_database("default_tenant", "default_database").await.unwrap();
    create(&again, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_collection_born_while_its_database_is_dropped_is_dropped_too() {
    let memory = memory();
    let faulty = Arc::new(FaultBucket::new(Arc::new(memory.clone())));
    let (first, second) = (open(faulty.clone()).await, open(Arc::new(memory)).await);
    let shop = scope("default_tenant", "shop");
    first.namespaces().create_database("default_tenant", "shop").await.unwrap();
    first.with_scope(&shop).create_collection(CollectionSpec::new("a")).await.unwrap();
    let is_catalog_commit =
        |call: &drumlin::testing::bucket::fault::Call| call.op == Op::Create && call.key.starts_with("catalog/log/");
    let mut gate = faulty.hold(Hold::Before, is_catalog_commit);
    let dropping = tokio::spawn({
        let first = first.clone();
        async move { first.namespaces().drop_database("default_tenant", "shop").await }
    });
    gate.reached().await;
    let late = second.with_scope(&shop).create_collection(CollectionSpec::new("late")).await.unwrap();
    fill(&late, 0..1).await;
    gate.release();
    dropping.await.unwrap().unwrap();
    assert_eq!(late.add([record(1)]).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(names(&second, &shop).await, Vec::<String>::new());
    assert_eq!(second.namespaces().database("default_tenant", "shop").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_reset_leaves_nothing_for_any_store_and_all_can_be_made_anew() {
    let (first, second, _) = two().await;
    first.namespaces().create_tenant("acme").await.unwrap();
    first.namespaces().create_database("acme", "shop").await.unwrap();
    let made = first.with_scope(&scope("acme", "shop")).create_collection(CollectionSpec::new("a")).await.unwrap();
    let there = create(&second, "b").await;
    first.namespaces().reset().await.unwrap();
    assert_eq!(made.count(Consistency::Local).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(there.add([record(1)]).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(names(&second, &Scope::default()).await, Vec::<String>::new());
    assert_eq!(second.namespaces().tenant("acme").await.unwrap_err().kind(), ErrorKind::NotFound);
    second.namespaces().create_tenant("acme").await.unwrap();
    create(&second, "b").await;
    first.namespaces().reset().await.unwrap();
    first.namespaces().reset().await.unwrap();
    assert_eq!(first.admin().health().collections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_fork_has_every_acknowledged_record_and_goes_its_own_way() {
    let (first, second, memory) = two().await;
    let source = create(&first, "a").await;
    // Segments, a stored graph, and a tail.
    fill(&source, 0..40).await;
    first.admin().maintain().await.unwrap();
    fill(&source, 40..50).await;
    first.admin().maintain().await.unwrap();
    fill(&second.collection("a").await.unwrap(), 50..53).await;
    let fork = first.fork_collection(source.info().id, "b").await.unwrap();
    assert_eq!(ids(&fork).await, numbered(0..53));
    assert_eq!((fork.info().metric, fork.info().version), (Metric::L2, source.info().version));
    fill(&fork, 53..54).await;
    fill(&source, 60..61).await;
    assert_eq!(ids(&fork).await, numbered(0..54));
    // What the original does and how it ends is nothing to the fork.
    first.drop_collection("a").await.unwrap();
    for _ in 0..2 {
        first.admin().maintain().await.unwrap();
        sleep(KEEP + Duration::from_secs(1)).await;
    }
    first.admin().maintain().await.unwrap();
    let again = open(Arc::new(memory)).await;
    let fork = again.collection("b").await.unwrap();
    assert_eq!(ids(&fork).await, numbered(0..54));
    assert_eq!(again.admin().counters().graphs_loaded, 1, "the graph was copied and can be used");
    let nearest = fork.search(Query::new([7.2, 1.0]).k(2)).await.unwrap();
    assert_eq!(nearest.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>(), ["r7", "r8"]);
}

#[tokio::test(start_paused = true)]
async fn forks_of_forks_are_flushed_compacted_and_reopened_like_any_collection() {
    let (first, _, memory) = two().await;
    let mut last = create(&first, "0").await;
    for generation in 1..4 {
        fill(&last, 0..generation * 10).await;
        first.admin().maintain().await.unwrap();
        last.delete(drumlin::Selection { ids: Some(vec!["r1".to_owned()]), ..Default::default() }).await.unwrap();
        last = first.fork_collection(last.info().id, &generation.to_string()).await.unwrap();
    }
    fill(&last, 30..40).await;
    first.admin().maintain().await.unwrap();
    assert!(first.admin().counters().compactions > 0);
    let again = open(Arc::new(memory)).await;
    let expected: Vec<String> = numbered(0..40).into_iter().filter(|id| id != "r1").collect();
    assert_eq!(ids(&again.collection("3").await.unwrap()).await, expected);
    let health = again.admin().health();
    assert!(health.damaged.is_empty(), "{health:?}");
}

#[tokio::test(start_paused = true)]
async fn forks_are_counted_while_they_live_and_an_empty_collection_can_be_forked() {
    let (first, second, _) = two().await;
    let source = create(&first, "a").await;
    let id = source.info().id;
    assert_eq!(first.fork_count(id).await.unwrap(), 0);
    let fork = first.fork_collection(id, "b").await.unwrap();
    second.fork_collection(id, "c").await.unwrap();
    let grandchild = first.fork_collection(fork.info().id, "d").await.unwrap();
    assert_eq!(second.fork_count(id).await.unwrap(), 2);
    assert_eq!(second.fork_collection(id, "c").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    second.drop_collection("b").await.unwrap();
    assert_eq!(second.fork_count(id).await.unwrap(), 1);
    let nobody = CollectionId(uuid::Uuid::from_u128(1));
    assert_eq!(second.fork_count(nobody).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(second.fork_collection(nobody, "x").await.unwrap_err().kind(), ErrorKind::NotFound);
    fill(&grandchild, 0..2).await;
}
