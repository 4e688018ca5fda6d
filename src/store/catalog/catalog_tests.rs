//! The catalog's rules, request by request, each against the state before it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::*;
use crate::collection::request::{IndexSettings, Scope};
use crate::error::ErrorKind;
use crate::format::{CommitHeader, Nonce};
use crate::record::{CollectionId, Metadata, Metric};
use crate::store::modify::CollectionChange;
use crate::text::TextSettings;

fn record(name: &str) -> Box<CollectionRecord> {
    Box::new(CollectionRecord {
        tenant: "default_tenant".to_owned(),
        database: "default_database".to_owned(),
        name: name.to_owned(),
        metadata: None,
        configuration: Configuration {
            metric: Metric::L2,
            dimension: None,
            index: IndexSettings::default(),
            text: TextSettings::default(),
            embedder: None,
            splitting: None,
            extension: Map::new(),
            other: Map::new(),
        },
        state: RecordState::Live,
        forked_from: None,
        fills_in_for: None,
        replaces: None,
        other: Map::new(),
    })
}

fn id(n: u128) -> CollectionId {
    CollectionId(Uuid::from_u128(n))
}

fn run(state: &mut CatalogState, requests: &[CatalogWrite]) -> Vec<Option<ErrorKind>> {
    let resolution = state.resolve(&requests.iter().collect::<Vec<_>>());
    let header = CommitHeader {
        stream: "catalog".to_owned(),
        version: state.version.next(),
        kind: CommitKind::Data,
        writer: String::new(),
        nonce: Nonce(1),
        prev: None,
        config: None,
        handover: None,
    };
    state.apply(&Commit { header, rows: Rows::from_iter(resolution.rows) }).unwrap();
    resolution.answers.into_iter().map(|a| a.err().map(|e| e.kind())).collect()
}

fn catalog() -> CatalogState {
    CatalogState::new(Arc::new(ArcSwap::default()))
}

#[test]
fn a_name_is_taken_within_a_batch_and_after_it_until_its_collection_is_dropped() {
    let mut state = catalog();
    let create = |n, name| CatalogWrite::Create { id: id(n), record: record(name) };
    let answers = run(&mut state, &[create(1, "a"), create(2, "a"), create(3, "b")]);
    assert_eq!(answers, [None, Some(ErrorKind::AlreadyExists), None]);
    assert_eq!(run(&mut state, &[create(4, "a")]), [Some(ErrorKind::AlreadyExists)]);
    let answers = run(&mut state, &[CatalogWrite::MarkDropped { id: id(1) }, create(5, "a")]);
    assert_eq!(answers, [None, None]);
    assert_eq!(state.view.find(&Scope::default(), "a"), Some(id(5)));
    assert_eq!(state.view.collections[&id(1)].state, RecordState::Dropped);
    assert_eq!(run(&mut state, &[CatalogWrite::Remove { id: id(1) }]), [None]);
    assert_eq!(state.view.collections.len(), 2);
    assert_eq!(state.view.find(&Scope::default(), "a"), Some(id(5)), "the name stays with its new holder");
}

#[test]
fn an_id_is_never_used_twice_and_an_unknown_database_is_refused() {
    let mut state = catalog();
    let create = |record| CatalogWrite::Create { id: id(1), record };
    assert_eq!(run(&mut state, &[create(record("a"))]), [None]);
    assert_eq!(run(&mut state, &[create(record("b"))]), [Some(ErrorKind::Conflict)]);
    let mut elsewhere = record("c");
    elsewhere.database = "nowhere".to_owned();
    assert_eq!(run(&mut state, &[CatalogWrite::Create { id: id(2), record: elsewhere }]), [Some(ErrorKind::NotFound)]);
}

#[test]
fn fields_of_newer_versions_survive_a_change_of_state() {
    let mut state = catalog();
    let mut newer = record("a");
    newer.other.insert("owner".to_owned(), "x".into());
    newer.configuration.other.insert("schema".to_owned(), Value::Bool(true));
    run(&mut state, &[CatalogWrite::Create { id: id(1), record: newer }]);
    run(&mut state, &[CatalogWrite::MarkDropped { id: id(1) }]);
    let kept = &state.view.collections[&id(1)];
    assert_eq!(kept.other["owner"], "x");
    assert_eq!(kept.configuration.other["schema"], true);
}

fn scope(tenant: &str, database: &str) -> Scope {
    Scope { tenant: tenant.to_owned(), database: database.to_owned() }
}

fn in_database(name: &str, database: &str) -> Box<CollectionRecord> {
    Box::new(CollectionRecord { database: database.to_owned(), ..*record(name) })
}

fn create_database(tenant: &str, database: &str) -> CatalogWrite {
    CatalogWrite::CreateDatabase { scope: scope(tenant, database), id: Uuid::from_u128(77) }
}

fn drop_database(tenant: &str, database: &str, ended: &[u128]) -> CatalogWrite {
    CatalogWrite::DropDatabase { scope: scope(tenant, database), ended: ended.iter().map(|n| id(*n)).collect() }
}

/// The catalog as it is restored from its rows.
fn replayed(state: &CatalogState) -> CatalogView {
    let mut again = catalog();
    for (id, stored) in &state.records {
        again.set(id, Some(stored.clone()));
    }
    again.view
}

#[test]
fn databases_and_tenants_are_unique_and_the_default_ones_need_no_record() {
    let mut state = catalog();
    assert_eq!(state.view.tenant("default_tenant").map(|t| t.resource_name), Some(None));
    assert_eq!(state.view.databases("default_tenant").len(), 1);
    assert!(state.view.database(&Scope::default()).is_some_and(|d| d.id.is_nil()));
    let tenant = |name: &str| CatalogWrite::CreateTenant { name: name.to_owned() };
    let answers =
        run(&mut state, &[tenant("a/b"), tenant("a/b"), tenant("default_tenant"), create_database("a/b", "x y")]);
    let exists = Some(ErrorKind::AlreadyExists);
    assert_eq!(answers, [None, exists, exists, None]);
    let answers = run(&mut state, &[create_database("a/b", "x y"), create_database("nobody", "x")]);
    assert_eq!(answers, [exists, Some(ErrorKind::NotFound)]);
    let answers = run(&mut state, &[create_database("default_tenant", "default_database")]);
    assert_eq!(answers, [exists]);
    assert_eq!(state.records.keys().collect::<Vec<_>>(), ["d:a%2Fb/x%20y", "t:a%2Fb"]);
    let names = |tenant: &str| state.view.databases(tenant).into_iter().map(|d| d.name).collect::<Vec<_>>();
    assert_eq!((names("a/b"), names("nobody")), (vec!["x y".to_owned()], vec![]));
}

#[test]
fn a_tenant_is_updated_even_the_default_one_and_an_unknown_one_is_refused() {
    let mut state = catalog();
    let update = |name: &str, to: Option<&str>| CatalogWrite::UpdateTenant {
        name: name.to_owned(),
        resource_name: to.map(str::to_owned),
    };
    let answers = run(&mut state, &[update("default_tenant", Some("r")), update("x", Some("r"))]);
    assert_eq!(answers, [None, Some(ErrorKind::NotFound)]);
    assert_eq!(state.view.tenant("default_tenant").unwrap().resource_name.as_deref(), Some("r"));
    let again = [update("default_tenant", Some("r"))];
    assert!(state.resolve(&again.iter().collect::<Vec<_>>()).is_empty(), "the same name again writes nothing");
}

#[test]
fn a_name_is_unique_in_its_database_only() {
    let mut state = catalog();
    let create = |n, record| CatalogWrite::Create { id: id(n), record };
    let answers = run(
        &mut state,
        &[create_database("default_tenant", "x"), create(1, in_database("a", "x")), create(2, record("a"))],
    );
    assert_eq!(answers, [None, None, None]);
    assert_eq!(run(&mut state, &[create(3, in_database("a", "x"))]), [Some(ErrorKind::AlreadyExists)]);
    assert_eq!(state.view.find(&scope("default_tenant", "x"), "a"), Some(id(1)));
}

#[test]
fn a_database_is_dropped_with_all_its_collections_or_not_at_all() {
    let mut state = catalog();
    let create = |n, record| CatalogWrite::Create { id: id(n), record };
    let created = [
        create_database("default_tenant", "x"),
        create(1, in_database("a", "x")),
        create(2, in_database("b", "x")),
        create(3, record("a")),
    ];
    run(&mut state, &created);
    assert_eq!(run(&mut state, &[drop_database("default_tenant", "x", &[1])]), [Some(ErrorKind::Conflict)]);
    assert!(state.view.is_live(id(1)) && state.view.is_live(id(2)), "a refusal changes nothing");
    let answers =
        run(&mut state, &[drop_database("default_tenant", "x", &[1, 2, 3]), create(4, in_database("late", "x"))]);
    assert_eq!(answers, [None, Some(ErrorKind::NotFound)]);
    let live: Vec<CollectionId> = state.view.live().map(|(id, _)| id).collect();
    assert_eq!(live, [id(3)], "what is not in the database lives on");
    assert_eq!(run(&mut state, &[drop_database("default_tenant", "x", &[])]), [Some(ErrorKind::NotFound)]);
    assert!(!state.records.contains_key("d:default_tenant/x"));
    run(&mut state, &[create_database("default_tenant", "x")]);
    assert_eq!(state.view.find(&scope("default_tenant", "x"), "a"), None, "a database created anew is empty");
}

#[test]
fn the_default_database_can_be_dropped_and_created_anew() {
    let mut state = catalog();
    run(&mut state, &[CatalogWrite::Create { id: id(1), record: record("a") }]);
    assert_eq!(run(&mut state, &[drop_database("default_tenant", "default_database", &[1])]), [None]);
    assert_eq!(state.view.database(&Scope::default()), None);
    assert_eq!(replayed(&state).database(&Scope::default()), None, "it is remembered");
    let create = CatalogWrite::Create { id: id(2), record: record("a") };
    assert_eq!(run(&mut state, std::slice::from_ref(&create)), [Some(ErrorKind::NotFound)]);
    assert_eq!(run(&mut state, &[create_database("default_tenant", "default_database"), create]), [None, None]);
    assert_eq!(state.view.find(&Scope::default(), "a"), Some(id(2)));
}

#[test]
fn a_reset_leaves_the_default_tenant_and_database_and_nothing_else() {
    let mut state = catalog();
    let created = [
        CatalogWrite::CreateTenant { name: "t".to_owned() },
        create_database("t", "x"),
        CatalogWrite::Create { id: id(1), record: record("a") },
        drop_database("default_tenant", "default_database", &[1]),
        CatalogWrite::Create {
            id: id(2),
            record: Box::new(CollectionRecord { tenant: "t".into(), ..*in_database("b", "x") }),
        },
    ];
    assert_eq!(run(&mut state, &created), [None; 5]);
    assert_eq!(run(&mut state, &[CatalogWrite::Reset { ended: BTreeSet::new() }]), [Some(ErrorKind::Conflict)]);
    assert_eq!(run(&mut state, &[CatalogWrite::Reset { ended: BTreeSet::from([id(2)]) }]), [None]);
    assert_eq!(state.view.live().count(), 0);
    assert_eq!(state.view.tenant("t"), None);
    assert_eq!(state.view.databases("t"), []);
    assert!(state.view.database(&Scope::default()).is_some_and(|d| d.id.is_nil()));
    let kinds: Vec<&str> = state.records.keys().map(|id| &id[..2]).collect();
    assert_eq!(kinds, ["c:", "c:"], "records of dropped collections stay until they are purged");
}

#[test]
fn a_collection_is_renamed_only_to_a_free_name_and_its_old_name_is_free() {
    let mut state = catalog();
    let create = |n, name| CatalogWrite::Create { id: id(n), record: record(name) };
    run(&mut state, &[create(1, "a"), create(2, "b")]);
    let rename = |n, name: &str| CatalogWrite::Modify {
        id: id(n),
        change: Box::new(CollectionChange { name: Some(name.to_owned()), ..CollectionChange::default() }),
    };
    let answers = run(&mut state, &[rename(1, "b"), rename(9, "c"), rename(1, "c"), create(3, "a"), rename(2, "b")]);
    assert_eq!(answers, [Some(ErrorKind::AlreadyExists), Some(ErrorKind::NotFound), None, None, None]);
    let find = |view: &CatalogView, name| view.find(&Scope::default(), name);
    for view in [&state.view, &replayed(&state)] {
        let found = ["a", "b", "c"].map(|name| find(view, name));
        assert_eq!(found, [Some(id(3)), Some(id(2)), Some(id(1))]);
    }
}

#[test]
fn a_modification_changes_what_it_names_and_nothing_else() {
    let mut state = catalog();
    let mut before = record("a");
    before.configuration.extension.insert("schema".to_owned(), 1.into());
    before.other.insert("newer".to_owned(), 2.into());
    run(&mut state, &[CatalogWrite::Create { id: id(1), record: before.clone() }]);
    let change = CollectionChange {
        metadata: Some(Some(Metadata::from([("year", 2024)]))),
        ef_search: Some(50),
        ..CollectionChange::default()
    };
    assert_eq!(run(&mut state, &[CatalogWrite::Modify { id: id(1), change: Box::new(change) }]), [None]);
    before.metadata = Some(Map::from_iter([("year".to_owned(), 2024.into())]));
    before.configuration.index.ef_search = Some(50);
    assert_eq!(*state.view.collections[&id(1)], *before);
    let change = CollectionChange {
        metadata: Some(None),
        extension: Some(Map::from_iter([("other".to_owned(), Value::Null)])),
        ..CollectionChange::default()
    };
    assert_eq!(run(&mut state, &[CatalogWrite::Modify { id: id(1), change: Box::new(change) }]), [None]);
    before.metadata = None;
    before.configuration.extension = Map::from_iter([("other".to_owned(), Value::Null)]);
    assert_eq!(*state.view.collections[&id(1)], *before);
}

#[test]
fn a_condemned_id_cannot_be_created_and_a_created_one_cannot_be_condemned() {
    let mut state = catalog();
    let condemn = |n| CatalogWrite::Condemn { id: id(n) };
    let create = |n, name| CatalogWrite::Create { id: id(n), record: record(name) };
    let conflict = Some(ErrorKind::Conflict);
    assert_eq!(run(&mut state, &[condemn(1), create(1, "a"), condemn(1)]), [None, conflict, conflict]);
    assert_eq!(run(&mut state, &[create(2, "a"), condemn(2)]), [None, conflict]);
    assert!(!state.view.is_live(id(1)) && state.view.is_live(id(2)));
    assert_eq!(state.view.collections[&id(1)].state, RecordState::Dropped, "it is purged like a dropped one");
}

#[test]
fn records_of_unknown_kinds_stay_and_records_under_a_wrong_id_are_damage() {
    let text = r#"{"id":"00000000-0000-0000-0000-000000000001","tenant":"t","name":"x","state":"live","color":"red"}"#;
    assert!(CatalogRecord::parse("z:whatever", Some("no JSON")).unwrap().is_none());
    let Some(CatalogRecord::Database(database)) = CatalogRecord::parse("d:t/x", Some(text)).unwrap() else {
        panic!("expected a database")
    };
    assert_eq!(database.other["color"], "red");
    let error = CatalogRecord::parse("d:t/y", Some(text)).unwrap_err();
    assert!(error.to_string().contains("its content belongs to the id \"d:t/x\""), "{error}");
    for (id, text) in [("d:t/x", None), ("t:t", Some("{}")), ("c:no-uuid", Some("{}")), ("c:", None)] {
        let error = CatalogRecord::parse(id, text).unwrap_err();
        assert!(error.to_string().contains(id), "{error}");
    }
}
