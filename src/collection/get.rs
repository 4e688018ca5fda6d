//! Reads of records in insertion order, and records as they are returned.
//! Invariant: an answer is of one version, whole.

use std::sync::Arc;

use super::order::in_order;
use super::request::{Found, Get, GetAnswer, Include};
use super::residence::Held;
use super::snapshot::{RowRef, Snapshot};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::record::{Address, Metadata, Version};

/// Records made between two looks at whether they are still wanted.
const BETWEEN_LOOKS: usize = 256;

/// The answer to a get whose records are made one by one, when they are asked for: a reader of a whole collection
/// need not hold it twice. It keeps its version of the collection in memory.
#[derive(Debug)]
pub struct Reading {
    snapshot: Arc<Snapshot>,
    rows: Vec<RowRef>,
    include: Include,
    /// Keeps the collection in memory.
    _held: Option<Held>,
}

impl Reading {
    pub(super) fn of(self, held: Held) -> Reading {
        Reading { _held: Some(held), ..self }
    }

    /// How many records the answer has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no record was found.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The version that was read.
    pub fn version(&self) -> Version {
        self.snapshot.version
    }

    /// The record at this place of the answer, in insertion order, with the fields that the get asked for; `None`
    /// beyond the end.
    ///
    /// # Errors
    /// `Corrupted` names a record whose metadata cannot be read.
    pub fn record(&self, place: usize) -> Result<Option<Found>> {
        self.part(place, self.include)
    }

    /// The same with other fields.
    pub fn part(&self, place: usize, include: Include) -> Result<Option<Found>> {
        self.rows.get(place).map(|at| self.snapshot.found(*at, include)).transpose()
    }
}

impl Snapshot {
    /// The records asked for, in insertion order.
    pub fn get(&self, get: &Get, interrupt: &Interrupt) -> Result<GetAnswer> {
        let mut records = Vec::new();
        for (number, at) in self.rows(get, interrupt)?.into_iter().enumerate() {
            if number % BETWEEN_LOOKS == 0 {
                interrupt.check()?;
            }
            records.push(self.found(at, get.include)?);
        }
        Ok(GetAnswer { records, version: self.version })
    }

    /// The same, to be taken one by one.
    pub fn read(self: Arc<Self>, get: &Get, interrupt: &Interrupt) -> Result<Reading> {
        let rows = self.rows(get, interrupt)?;
        Ok(Reading { snapshot: self, rows, include: get.include, _held: None })
    }

    /// The record of this id with all its fields, and the address of the row that made it.
    ///
    /// # Errors
    /// `Corrupted` if its metadata cannot be read.
    pub fn located(&self, id: &str) -> Result<Option<(Found, Address)>> {
        let Some(at) = self.find(id) else { return Ok(None) };
        Ok(Some((self.found(at, Include::ALL)?, self.address(at))))
    }

    /// The ids of live records, in no order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.chunks.iter().flat_map(|view| view.alive.iter().map(|row| view.chunk.id(row)))
    }

    fn rows(&self, get: &Get, interrupt: &Interrupt) -> Result<Vec<RowRef>> {
        self.check_alive()?;
        let selected = self.select(get.ids.as_deref(), get.filter.as_ref(), interrupt)?;
        let rows = in_order(self, &selected).skip(get.offset).take(get.limit.unwrap_or(usize::MAX));
        let mut found = Vec::new();
        for (number, (_, at)) in rows.enumerate() {
            if number % (64 * BETWEEN_LOOKS) == 0 {
                interrupt.check()?;
            }
            found.push(at);
        }
        Ok(found)
    }

    /// The fields of the record at `at` that are asked for.
    pub(super) fn found(&self, at: RowRef, include: Include) -> Result<Found> {
        let (chunk, row) = (self.chunk(at), at.row);
        let metadata = chunk.metadata(row).filter(|_| include.metadata).map(Metadata::from_json_text).transpose();
        Ok(Found {
            id: chunk.id(row).to_owned(),
            embedding: include.embedding.then(|| chunk.vector(row).to_vec()),
            document: chunk.document(row).filter(|_| include.document).map(str::to_owned),
            uri: chunk.uri(row).filter(|_| include.uri).map(str::to_owned),
            metadata: metadata.map_err(|e| Error::corrupted(format!("record {:?}: {e}", chunk.id(row))))?,
        })
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        if self.dropped { Err(Error::not_found("the collection was deleted")) } else { Ok(()) }
    }
}
