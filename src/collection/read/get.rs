//! Reads of records in insertion order, and records as they are returned.
//! Invariant: an answer shows one version, and all of it.

use std::sync::Arc;

use super::insertion_order::in_order;
use crate::collection::pin::PinGuard;
use crate::collection::request::{Found, Get, GetAnswer, Hit, Include, QueryAnswer};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::record::{Address, Metadata, Version};

/// How many records are made between two checks of the interrupt.
const BETWEEN_LOOKS: usize = 256;

/// The answer to a get. Its records are made one by one, on demand, so a reader of a whole collection need not hold
/// it twice. The answer keeps its version of the collection in memory.
#[derive(Debug)]
pub struct Reading {
    snapshot: Arc<Snapshot>,
    rows: Vec<RowRef>,
    include: Include,
    /// Keeps the collection in memory.
    _pin: Option<PinGuard>,
}

impl Reading {
    pub(in crate::collection) fn of(self, pin: PinGuard) -> Reading {
        Reading { _pin: Some(pin), ..self }
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

    /// About how many bytes a record takes in an answer with these fields; 0 beyond the end.
    pub fn weight(&self, place: usize, include: Include) -> usize {
        self.rows.get(place).map_or(0, |at| self.snapshot.weight(*at, include))
    }

    /// The fields that the get asked for.
    pub fn include(&self) -> Include {
        self.include
    }

    /// The record at a place, with fields other than those of the get.
    pub fn part(&self, place: usize, include: Include) -> Result<Option<Found>> {
        self.rows.get(place).map(|at| self.snapshot.found(*at, include)).transpose()
    }
}

/// The answer to a search. Its records are made one by one, on demand. The answer keeps its version of the collection
/// in memory.
#[derive(Debug)]
pub struct Matches {
    snapshot: Arc<Snapshot>,
    results: Vec<Vec<(RowRef, f32)>>,
    include: Include,
    /// Keeps the collection in memory.
    _pin: PinGuard,
}

impl Matches {
    pub(in crate::collection) fn of(
        snapshot: Arc<Snapshot>,
        results: Vec<Vec<(RowRef, f32)>>,
        include: Include,
        pin: PinGuard,
    ) -> Matches {
        Matches { snapshot, results, include, _pin: pin }
    }

    /// These matches without the record of this id, at most `k` of each query embedding.
    pub fn without(mut self, id: &str, k: usize) -> Matches {
        for rows in &mut self.results {
            rows.retain(|(at, _)| self.snapshot.chunk(*at).id(at.row) != id);
            rows.truncate(k);
        }
        self
    }

    /// How many neighbours each query embedding has.
    pub fn counts(&self) -> impl ExactSizeIterator<Item = usize> {
        self.results.iter().map(Vec::len)
    }

    /// The version that was searched.
    pub fn version(&self) -> Version {
        self.snapshot.version
    }

    /// How far this neighbour of a query embedding is; `None` beyond the end.
    pub fn distance(&self, query: usize, place: usize) -> Option<f32> {
        self.at(query, place).map(|(_, distance)| *distance)
    }

    /// A neighbour of a query embedding, nearest first, with the fields that the search asked for; `None` beyond the
    /// end.
    ///
    /// # Errors
    /// `Corrupted` names a record whose metadata cannot be read.
    pub fn hit(&self, query: usize, place: usize) -> Result<Option<Hit>> {
        let Some((at, distance)) = self.at(query, place) else { return Ok(None) };
        Ok(Some(Hit::new(self.snapshot.found(*at, self.include)?, *distance)))
    }

    /// The record of a match, with other fields.
    ///
    /// # Errors
    /// `Corrupted` names a record whose metadata cannot be read.
    pub fn part(&self, query: usize, place: usize, include: Include) -> Result<Option<Found>> {
        self.at(query, place).map(|(at, _)| self.snapshot.found(*at, include)).transpose()
    }

    /// About how many bytes a record takes in an answer with the fields that the search asked for; 0 beyond the end.
    pub fn weight(&self, query: usize, place: usize) -> usize {
        self.weight_of(query, place, self.include)
    }

    /// Bytes that a match takes in an answer with these fields.
    pub fn weight_of(&self, query: usize, place: usize, include: Include) -> usize {
        self.at(query, place).map_or(0, |(at, _)| self.snapshot.weight(*at, include))
    }

    /// All records at once.
    ///
    /// # Errors
    /// `Corrupted` names a record whose metadata cannot be read.
    pub fn answer(&self) -> Result<QueryAnswer> {
        let hits = |query: usize| {
            let count = self.results.get(query).map_or(0, Vec::len);
            (0..count).filter_map(|place| self.hit(query, place).transpose()).collect::<Result<Vec<_>>>()
        };
        let results = (0..self.results.len()).map(hits).collect::<Result<_>>()?;
        Ok(QueryAnswer { results, version: self.version() })
    }

    fn at(&self, query: usize, place: usize) -> Option<&(RowRef, f32)> {
        self.results.get(query)?.get(place)
    }
}

/// Bytes of a number as JSON.
const NUMBER_BYTES: usize = 16;

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

    /// Opens a reading whose records are made one by one.
    pub fn read(self: Arc<Self>, get: &Get, interrupt: &Interrupt) -> Result<Reading> {
        let rows = self.rows(get, interrupt)?;
        Ok(Reading { snapshot: self, rows, include: get.include, _pin: None })
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
    pub(in crate::collection) fn found(&self, at: RowRef, include: Include) -> Result<Found> {
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

    /// Roughly the bytes that the record at `at` takes during an answer: its fields once more, and as JSON.
    fn weight(&self, at: RowRef, include: Include) -> usize {
        let (chunk, row) = (self.chunk(at), at.row);
        let embedding = if include.embedding { chunk.vector(row).len() * (size_of::<f32>() + NUMBER_BYTES) } else { 0 };
        let texts = [
            Some(chunk.id(row)),
            chunk.document(row).filter(|_| include.document),
            chunk.uri(row).filter(|_| include.uri),
        ];
        let texts: usize = texts.into_iter().flatten().map(|text| 2 * text.len()).sum();
        // Metadata becomes a map before it becomes text again.
        let metadata = chunk.metadata(row).filter(|_| include.metadata).map_or(0, |text| 16 * text.len());
        embedding + texts + metadata
    }

    pub(in crate::collection) fn check_alive(&self) -> Result<()> {
        if self.dropped { Err(Error::not_found("the collection was deleted")) } else { Ok(()) }
    }
}
