//! The workload of the fault matrix: phases, each of which opens a store on what the phase before left
//! behind and works through its steps. Together they make every kind of call to the bucket: probe, open,
//! create, append, flush, compaction, aging, letting go, garbage, drop, purge; databases, forks, sweeps.

use std::time::Duration;

use drumlin::answers::Found;
use drumlin::{
    Collection, CollectionChange, CollectionSpec, Consistency, Error, ErrorKind, Get, Include, Metadata, MetadataPatch,
    Metric, Record, RecordUpdate, Scope, Settings, Storage, Store, WriteOutcome,
};

use super::model::{Change, Chosen, Records, Told, World};

/// T_KEEP of the script.
pub const KEEP: Duration = Duration::from_secs(60);

/// Age at which an orphan is swept.
pub const SWEEP_AGE: Duration = Duration::from_secs(30);

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
    /// One round of maintenance.
    Maintain,
    /// Sweeps for orphans.
    Sweep,
    /// Collects garbage and sweeps what is due; flushes nothing.
    Collect,
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

impl Phase {
    /// Whether the number of its calls differs a little from run to run: some collections are still being
    /// loaded while others end.
    pub fn varies(&self) -> bool {
        self.name == "reset"
    }

    /// Whether its cases are checked for orphans: sweeping each time is slow.
    pub fn sweeps(&self) -> bool {
        ["databases", "forks", "sweeps", "reset"].contains(&self.name)
    }
}

/// Settings under which a script runs in seconds what production does in days.
pub fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.sync_interval = Duration::from_secs(1 << 24);
    settings.search_threads = 1;
    settings.index_threads = 1;
    // Longer than the slowest answer: here no attempt has a time-out of its own.
    settings.start_timeout = 3 * KEEP;
    let timing = &mut settings.timing;
    timing.lease = Duration::from_secs(2);
    timing.keep = KEEP;
    timing.garbage = Duration::from_secs(10);
    timing.sweep_age = SWEEP_AGE;
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
        phase("maintenance", maintenance()),
        phase("garbage", garbage()),
        phase("end", end()),
        phase("databases", databases()),
        phase("forks", forks()),
        phase("sweeps", sweeps()),
        phase("reset", reset()),
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

fn maintenance() -> Vec<Step> {
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

fn databases() -> Vec<Step> {
    vec![
        // Answered once they are loaded, so that no load is cut short by the end of the phase.
        add("a", &[("a12", 66)]),
        add("b", &[("b10", 26)]),
        Step::Do(Change::CreateDatabase("x")),
        create("x/a", None),
        add("x/a", &[("x1", 1), ("x2", 2)]),
        create("x/b", None),
        Step::Do(Change::CreateDatabase("x")),
        Step::Do(Change::Rename { from: "x/a", to: "x/c" }),
        Step::Do(Change::Rename { from: "x/c", to: "x/b" }),
        add("x/c", &[("x3", 3)]),
        Step::Do(Change::DropDatabase("x")),
        create("x/a", None),
        Step::Do(Change::CreateDatabase("x")),
        create("x/c", None),
        add("x/c", &[("x4", 4)]),
    ]
}

fn forks() -> Vec<Step> {
    vec![
        Step::Do(Change::Fork { from: "a", to: "f" }),
        add("f", &[("f1", 71)]),
        add("a", &[("a10", 62)]),
        Step::Do(Change::Fork { from: "x/c", to: "x/d" }),
        Step::Maintain,
        Step::Do(Change::Fork { from: "f", to: "a" }),
        Step::Do(Change::Fork { from: "f", to: "g" }),
        delete("g", Chosen::Ids(&["f1", "a5"])),
        Step::Read("f"),
        Step::Do(Change::Drop("f")),
        Step::Maintain,
    ]
}

fn sweeps() -> Vec<Step> {
    vec![
        wait(SWEEP_AGE + Duration::from_secs(1)),
        add("a", &[("a11", 63)]),
        Step::Sweep,
        Step::Maintain,
        wait(KEEP + Duration::from_secs(1)),
        Step::Maintain,
        add("g", &[("g1", 72)]),
        // Never flushed: due once its HEAD is old.
        create("n", None),
        add("n", &[("n1", 81)]),
        wait(settings().timing.sweep_interval + Duration::from_secs(1)),
        Step::Collect,
        add("n", &[("n2", 82)]),
    ]
}

fn reset() -> Vec<Step> {
    vec![
        Step::Do(Change::Drop("g")),
        Step::Do(Change::Reset),
        create("x/c", None),
        create("a", None),
        add("a", &[("r1", 1)]),
    ]
}

/// The database and the name in it that a script's name stands for.
pub fn place(path: &str) -> (Scope, &str) {
    match path.split_once('/') {
        Some((database, name)) => (Scope { database: database.to_owned(), ..Scope::default() }, name),
        None => (Scope::default(), path),
    }
}

/// The collection that a script's name stands for.
pub async fn collection(store: &Store, path: &str) -> Result<Collection, Error> {
    let (scope, name) = place(path);
    store.with_scope(&scope).collection(name).await
}

/// Makes one change on a store.
pub async fn change(store: &Store, change: &Change) -> Told {
    match make(store, change).await {
        Ok(outcome) => Told::Done(outcome.applied, outcome.skipped),
        Err(error) => Told::Failed(error.kind(), error.to_string()),
    }
}

async fn make(store: &Store, change: &Change) -> Result<WriteOutcome, Error> {
    let tenant = Scope::default().tenant;
    match change {
        Change::Create { name, dimension } => {
            let (scope, name) = place(name);
            let spec = CollectionSpec { dimension: *dimension, ..CollectionSpec::new(name).metric(Metric::L2) };
            store.with_scope(&scope).create_collection(spec).await?;
        }
        Change::Drop(name) => {
            let (scope, name) = place(name);
            store.with_scope(&scope).drop_collection(name).await?;
        }
        Change::Rename { from, to } => {
            let id = collection(store, from).await?.info().id;
            let change = CollectionChange { name: Some(place(to).1.to_owned()), ..CollectionChange::default() };
            store.modify_collection(id, change).await?;
        }
        Change::Fork { from, to } => {
            let id = collection(store, from).await?.info().id;
            store.fork_collection(id, place(to).1).await?;
        }
        Change::CreateDatabase(name) => drop(store.namespaces().create_database(&tenant, name).await?),
        Change::DropDatabase(name) => store.namespaces().drop_database(&tenant, name).await?,
        Change::Reset => store.namespaces().reset().await?,
        Change::Add(name, records) => return collection(store, name).await?.add(records.clone()).await,
        Change::Upsert(name, records) => return collection(store, name).await?.upsert(records.clone()).await,
        Change::Update(name, updates) => return collection(store, name).await?.update(updates.clone()).await,
        Change::Delete(name, chosen) => return collection(store, name).await?.delete(chosen.selection()).await,
    }
    Ok(WriteOutcome::default())
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
    let mut scopes = vec![Scope::default()];
    for database in store.namespaces().databases(&Scope::default().tenant).await? {
        if database.name != Scope::default().database {
            scopes.push(Scope { tenant: database.tenant, database: database.name.clone() });
            world.databases.insert(database.name);
        }
    }
    for scope in scopes {
        for info in store.with_scope(&scope).collections(Consistency::Local).await? {
            let read = match store.with_scope(&scope).collection(&info.name).await {
                Ok(collection) => read(&collection, Consistency::Strong).await,
                Err(error) => Err(error),
            };
            let path = match scope == Scope::default() {
                true => info.name,
                false => format!("{}/{}", scope.database, info.name),
            };
            match read {
                Ok(records) => drop(world.collections.insert(path, records)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(world)
}
