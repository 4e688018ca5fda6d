//! The workload of the fault matrix: phases, each of which opens a store on what the phase before left
//! behind and works through its steps. Together they make every kind of call to the bucket: probe, open,
//! create, append, flush, compaction, aging, letting go, garbage, drop, burial.

use std::time::Duration;

use drumlin::{
    Collection, CollectionSpec, Consistency, Error, Found, Get, Include, Kind, Metadata, MetadataPatch, Metric, Record,
    RecordUpdate, Scope, Settings, Storage, Store, WriteOutcome,
};

use crate::fault_model::{Change, Chosen, Records, Told, World};

/// T_KEEP of the script.
pub const KEEP: Duration = Duration::from_secs(60);

/// One thing a script does.
#[derive(Debug, Clone)]
pub enum Step {
    /// A change, and its answer is awaited.
    Do(Change),
    /// Changes that are under way at the same time.
    Together(Vec<Change>),
    /// Reads a collection, strongly, and compares.
    Read(&'static str),
    /// Pulls and flushes.
    Sync,
    /// One round of upkeep.
    Maintain,
    /// Lets time pass.
    Wait(Duration),
    /// Ends the store in good order.
    Close,
}

/// A part of the workload.
#[derive(Debug, Clone)]
pub struct Phase {
    pub name: &'static str,
    pub steps: Vec<Step>,
}

/// Settings under which a script runs in seconds what production does in days.
pub fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.sync_interval = Duration::from_secs(1 << 24);
    settings.search_threads = 1;
    settings.index_threads = 1;
    let timing = &mut settings.timing;
    timing.lease = Duration::from_secs(2);
    timing.keep = KEEP;
    timing.garbage = Duration::from_secs(10);
    timing.fan_out = 2;
    timing.graph_rows = 1;
    timing.deadline = Duration::from_secs(5);
    timing.swap_interval = Duration::from_millis(100);
    timing.maintenance_interval = Duration::from_secs(1 << 24);
    settings
}

/// A record whose fields follow from `n`.
pub fn record(id: &str, n: i64) -> Record {
    Record {
        id: id.to_owned(),
        embedding: vec![n as f32, 1.0, -0.5],
        document: (n % 2 == 0).then(|| format!("text {n}")),
        uri: (n % 3 == 0).then(|| format!("file:{n}")),
        metadata: (n % 5 != 0).then(|| Metadata::from([("n", n)])),
    }
}

fn records(ids: &[(&str, i64)]) -> Records {
    ids.iter().map(|(id, n)| record(id, *n)).collect()
}

fn add(name: &'static str, ids: &[(&str, i64)]) -> Step {
    Step::Do(Change::Add(name, records(ids)))
}

fn upsert(name: &'static str, ids: &[(&str, i64)]) -> Step {
    Step::Do(Change::Upsert(name, records(ids)))
}

fn delete(name: &'static str, chosen: Chosen) -> Step {
    Step::Do(Change::Delete(name, chosen))
}

fn create(name: &'static str, dimension: Option<usize>) -> Step {
    Step::Do(Change::Create { name, dimension })
}

fn update(name: &'static str, id: &str, embedding: Option<Vec<f32>>, n: Option<i64>) -> Step {
    let patch = MetadataPatch([("n".to_owned(), n.map(Into::into))].into());
    let update = RecordUpdate { id: id.to_owned(), embedding, metadata: Some(patch), ..RecordUpdate::default() };
    let unknown = RecordUpdate { id: "nobody".to_owned(), ..RecordUpdate::default() };
    Step::Do(Change::Update(name, vec![update, unknown]))
}

fn wait(time: Duration) -> Step {
    Step::Wait(time)
}

/// The whole workload.
pub fn phases() -> Vec<Phase> {
    let phase = |name, steps| Phase { name, steps };
    vec![
        phase("birth", birth()),
        phase("writes", writes()),
        phase("upkeep", upkeep()),
        phase("garbage", garbage()),
        phase("end", end()),
    ]
}

fn birth() -> Vec<Step> {
    vec![
        create("a", None),
        add("a", &[("a1", 1)]),
        create("b", Some(3)),
        add("b", &[("b1", 11), ("b2", 12), ("b3", 15)]),
        create("a", None),
    ]
}

fn writes() -> Vec<Step> {
    let wrong = Record::new("wrong", vec![1.0]);
    vec![
        upsert("a", &[("a1", 2), ("a2", 3)]),
        update("a", "a1", None, Some(40)),
        update("a", "a2", Some(vec![9.0, 9.0, 9.0]), None),
        add("a", &[("a2", 7)]),
        Step::Do(Change::Add("a", vec![wrong])),
        Step::Together(vec![
            Change::Add("a", records(&[("a3", 4), ("a4", 5)])),
            Change::Upsert("a", records(&[("a4", 6)])),
            Change::Delete("a", Chosen::Ids(&["a1"])),
        ]),
        add("a", &[("a1", 21)]),
        delete("b", Chosen::FromN(12)),
        Step::Read("a"),
    ]
}

fn upkeep() -> Vec<Step> {
    vec![
        Step::Sync,
        add("a", &[("a5", 51), ("a6", 52)]),
        delete("a", Chosen::Ids(&["a2", "a2x"])),
        Step::Maintain,
        upsert("a", &[("a5", 53)]),
        add("b", &[("b4", 14)]),
        Step::Maintain,
        add("a", &[("a7", 57)]),
    ]
}

fn garbage() -> Vec<Step> {
    vec![
        wait(KEEP + Duration::from_secs(1)),
        Step::Maintain,
        add("a", &[("a8", 58)]),
        delete("a", Chosen::FromN(50)),
        Step::Sync,
        wait(KEEP + Duration::from_secs(1)),
        add("a", &[("a5", 61)]),
        Step::Maintain,
    ]
}

fn end() -> Vec<Step> {
    vec![
        Step::Do(Change::Drop("b")),
        add("b", &[("lost", 1)]),
        create("b", None),
        add("b", &[("b9", 19)]),
        Step::Maintain,
        wait(KEEP + Duration::from_secs(1)),
        Step::Maintain,
        add("a", &[("a9", 59)]),
        Step::Close,
    ]
}

/// Makes one change on a store.
pub async fn change(store: &Store, change: &Change) -> Told {
    let done = match change {
        Change::Create { name, dimension } => {
            let spec = CollectionSpec { dimension: *dimension, ..CollectionSpec::new(*name).metric(Metric::L2) };
            store.create_collection(&Scope::default(), spec).await.map(|_| WriteOutcome::default())
        }
        Change::Drop(name) => store.drop_collection(&Scope::default(), name).await.map(|()| WriteOutcome::default()),
        Change::Add(name, records) => match store.collection(name).await {
            Ok(collection) => collection.add(records).await,
            Err(error) => Err(error),
        },
        Change::Upsert(name, records) => match store.collection(name).await {
            Ok(collection) => collection.upsert(records).await,
            Err(error) => Err(error),
        },
        Change::Update(name, updates) => match store.collection(name).await {
            Ok(collection) => collection.update(updates).await,
            Err(error) => Err(error),
        },
        Change::Delete(name, chosen) => match store.collection(name).await {
            Ok(collection) => collection.delete(chosen.selection()).await,
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(outcome) => Told::Done(outcome.applied, outcome.skipped),
        Err(error) => Told::Failed(error.kind(), error.to_string()),
    }
}

/// All records of a collection in their order.
pub async fn read(collection: &Collection, consistency: Consistency) -> Result<Records, Error> {
    let get = Get { include: Include::ALL, consistency, ..Get::default() };
    Ok(collection.get(get).await?.records.into_iter().map(as_record).collect())
}

fn as_record(found: Found) -> Record {
    let Found { id, embedding, document, uri, metadata } = found;
    Record { id, embedding: embedding.unwrap_or_default(), document, uri, metadata }
}

/// Everything that a store holds, or why it cannot be read.
pub async fn read_all(store: &Store) -> Result<World, Error> {
    let mut world = World::default();
    for info in store.collections(&Scope::default()) {
        let read = match store.collection(&info.name).await {
            Ok(collection) => read(&collection, Consistency::Strong).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(records) => drop(world.collections.insert(info.name, records)),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(world)
}
