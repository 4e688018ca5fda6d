//! What a store may hold, told by something simpler than the store: for each collection a list of
//! records in order. As an unclear answer leaves two possibilities, the model keeps all worlds that the
//! answers so far allow. Invariant: a bucket that holds none of them has lost, doubled or made up data.

use std::collections::{BTreeMap, BTreeSet};

use drumlin::{ErrorKind, Filter, Record, RecordUpdate, Selection};

/// Records of one collection in the order in which they are listed.
pub type Records = Vec<Record>;

/// One possible content of a store. The collection `a` of the database `x` is called `x/a`, one of the
/// default database has no slash.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct World {
    pub collections: BTreeMap<String, Records>,
    /// All databases but the default one.
    pub databases: BTreeSet<String>,
}

/// Collections of one database that a drop of it may leave behind in every combination.
const PARTLY: usize = 6;

/// Which records a delete chooses.
#[derive(Debug, Clone)]
pub enum Chosen {
    Ids(&'static [&'static str]),
    /// Those whose metadata `n` is at least this.
    FromN(i64),
}

impl Chosen {
    /// The choice as the store is asked for it.
    pub fn selection(&self) -> Selection {
        match self {
            Chosen::Ids(ids) => {
                Selection { ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()), ..Selection::default() }
            }
            Chosen::FromN(n) => Selection { filter: Some(Filter::gte("n", *n)), ..Selection::default() },
        }
    }

    fn takes(&self, record: &Record) -> bool {
        match self {
            Chosen::Ids(ids) => ids.contains(&record.id.as_str()),
            Chosen::FromN(from) => {
                let n = record.metadata.as_ref().and_then(|m| m.0.get("n"));
                matches!(n, Some(drumlin::MetaValue::Int(n)) if n >= from)
            }
        }
    }
}

/// A change that a script asks for.
#[derive(Debug, Clone)]
pub enum Change {
    Create { name: &'static str, dimension: Option<usize> },
    Drop(&'static str),
    Rename { from: &'static str, to: &'static str },
    Fork { from: &'static str, to: &'static str },
    CreateDatabase(&'static str),
    DropDatabase(&'static str),
    Reset,
    Add(&'static str, Records),
    Upsert(&'static str, Records),
    Update(&'static str, Vec<RecordUpdate>),
    Delete(&'static str, Chosen),
}

/// How a change is answered: records applied and skipped, or the kind of refusal.
pub type Answer = Result<(usize, usize), ErrorKind>;

impl World {
    /// What the change makes of this world, and how it is answered.
    pub fn after(&self, change: &Change) -> (World, Answer) {
        let mut next = self.clone();
        let answer = next.apply(change);
        (if answer.is_ok() { next } else { self.clone() }, answer)
    }

    fn apply(&mut self, change: &Change) -> Answer {
        match change {
            Change::Create { name, .. } if self.collections.contains_key(*name) => Err(ErrorKind::AlreadyExists),
            Change::Create { name, .. } if !self.has_database_of(name) => Err(ErrorKind::NotFound),
            Change::Create { name, .. } => {
                self.collections.insert((*name).to_owned(), Records::new());
                Ok((0, 0))
            }
            Change::Drop(name) => self.collections.remove(*name).map(|_| (0, 0)).ok_or(ErrorKind::NotFound),
            Change::Rename { from, to } | Change::Fork { from, to } => {
                let records = self.records(from)?.clone();
                if self.collections.contains_key(*to) {
                    return Err(ErrorKind::AlreadyExists);
                }
                if matches!(change, Change::Rename { .. }) {
                    self.collections.remove(*from);
                }
                self.collections.insert((*to).to_owned(), records);
                Ok((0, 0))
            }
            Change::CreateDatabase(name) => match self.databases.insert((*name).to_owned()) {
                true => Ok((0, 0)),
                false => Err(ErrorKind::AlreadyExists),
            },
            Change::DropDatabase(name) if !self.databases.remove(*name) => Err(ErrorKind::NotFound),
            Change::DropDatabase(name) => {
                self.collections.retain(|path, _| database_of(path) != Some(name));
                Ok((0, 0))
            }
            Change::Reset => {
                *self = World::default();
                Ok((0, 0))
            }
            Change::Add(name, records) => put(self.records(name)?, records, false),
            Change::Upsert(name, records) => put(self.records(name)?, records, true),
            Change::Update(name, updates) => update(self.records(name)?, updates),
            Change::Delete(name, chosen) => {
                let records = self.records(name)?;
                let before = records.len();
                records.retain(|record| !chosen.takes(record));
                let applied = before - records.len();
                let named = match chosen {
                    Chosen::Ids(ids) => ids.len(),
                    Chosen::FromN(_) => applied,
                };
                Ok((applied, named - applied))
            }
        }
    }

    /// What the change may have come to when it was cut short: an end of many collections is not atomic.
    fn partly(&self, change: &Change) -> Vec<World> {
        let ends = |path: &String| match change {
            Change::DropDatabase(name) => database_of(path) == Some(name),
            Change::Reset => true,
            _ => false,
        };
        let ending: Vec<&String> = self.collections.keys().filter(|path| ends(path)).collect();
        assert!(ending.len() <= PARTLY, "the script ends too many collections at once: {ending:?}");
        let left = |choice: usize| {
            let mut world = self.clone();
            let gone = ending.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1);
            gone.for_each(|(_, path)| drop(world.collections.remove(*path)));
            world
        };
        (0..1 << ending.len()).map(left).collect()
    }

    fn has_database_of(&self, path: &str) -> bool {
        database_of(path).is_none_or(|database| self.databases.contains(database))
    }

    fn records(&mut self, name: &str) -> Result<&mut Records, ErrorKind> {
        self.collections.get_mut(name).ok_or(ErrorKind::NotFound)
    }
}

fn database_of(path: &str) -> Option<&str> {
    path.split_once('/').map(|(database, _)| database)
}

fn put(records: &mut Records, given: &[Record], replace: bool) -> Answer {
    let dim = records.first().or(given.first()).map_or(0, |r| r.embedding.len());
    if given.iter().any(|r| r.embedding.len() != dim) {
        return Err(ErrorKind::Invalid);
    }
    let mut applied = 0;
    for record in given {
        match records.iter_mut().find(|r| r.id == record.id) {
            Some(present) if replace => *present = record.clone(),
            Some(_) => continue,
            None => records.push(record.clone()),
        }
        applied += 1;
    }
    Ok((applied, given.len() - applied))
}

fn update(records: &mut Records, updates: &[RecordUpdate]) -> Answer {
    let mut applied = 0;
    for update in updates {
        let Some(record) = records.iter_mut().find(|r| r.id == update.id) else { continue };
        applied += 1;
        record.embedding = update.embedding.clone().unwrap_or(std::mem::take(&mut record.embedding));
        record.document = update.document.clone().or(record.document.take());
        record.uri = update.uri.clone().or(record.uri.take());
        for (key, value) in update.metadata.iter().flat_map(|patch| &patch.0) {
            let metadata = record.metadata.get_or_insert_default();
            match value {
                Some(value) => metadata.0.insert(key.clone(), value.clone()),
                None => metadata.0.remove(key),
            };
        }
    }
    Ok((applied, updates.len() - applied))
}

/// What a caller was told about a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Done(usize, usize),
    Failed(ErrorKind, String),
    /// The process died before it could answer.
    Nothing,
}

impl Told {
    /// Whether the answer says that the bucket was in the way, not that the change cannot be made.
    pub fn is_trouble(&self) -> bool {
        matches!(self, Told::Nothing | Told::Failed(ErrorKind::Unavailable | ErrorKind::OutcomeUnknown, _))
    }
}

/// All contents that the answers so far allow.
#[derive(Debug, Clone, PartialEq)]
pub struct Worlds(Vec<World>);

impl Worlds {
    /// Exactly this content.
    pub fn only(world: World) -> Worlds {
        Worlds(vec![world])
    }

    /// The only content left, if there is one.
    pub fn sole(&self) -> Option<&World> {
        match self.0.as_slice() {
            [world] => Some(world),
            _ => None,
        }
    }

    /// Takes in an answer. An error tells that no allowed content explains it.
    pub fn settle(&mut self, change: &Change, told: &Told) -> Result<(), String> {
        let before = std::mem::take(&mut self.0);
        let expected: Vec<Answer> = before.iter().map(|world| world.after(change).1).collect();
        for world in before {
            let (after, answer) = world.after(change);
            match told {
                Told::Done(applied, skipped) if answer == Ok((*applied, *skipped)) => self.allow(after),
                Told::Done(..) => {}
                Told::Failed(ErrorKind::OutcomeUnknown, _) | Told::Nothing => {
                    world.partly(change).into_iter().for_each(|partly| self.allow(partly));
                    self.allow(after);
                }
                Told::Failed(ErrorKind::Unavailable, _) => self.allow(world),
                Told::Failed(kind, _) if answer == Err(*kind) => self.allow(world),
                Told::Failed(..) => {}
            }
        }
        match self.0.is_empty() {
            true => Err(format!("{change:?} was answered {told:?}, expected one of {expected:?}")),
            false => Ok(()),
        }
    }

    fn allow(&mut self, world: World) {
        if !self.0.contains(&world) {
            self.0.push(world);
        }
    }

    /// Checks that the records of one collection, or its absence, are as some allowed content has them.
    pub fn check(&self, name: &str, found: Option<&Records>) -> Result<(), String> {
        match self.0.iter().any(|world| world.collections.get(name) == found) {
            true => Ok(()),
            false => Err(format!("collection {name} holds {found:#?}, which the answers do not allow: {self:#?}")),
        }
    }

    /// Checks that a whole content is allowed.
    pub fn check_all(&self, found: &World) -> Result<(), String> {
        match self.0.contains(found) {
            true => Ok(()),
            false => Err(format!("the store holds {found:#?}, which the answers do not allow: {self:#?}")),
        }
    }
}
