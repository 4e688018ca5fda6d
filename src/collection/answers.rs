//! Answers whose records are made one by one, as a caller takes them. So the reader of a whole collection does not hold
//! a second copy of it.
//! Invariant: an answer keeps its version of the collection in memory, and pins the collection.

use std::sync::Arc;

use super::pin::PinGuard;
use super::read::ranked::RankedPage;
#[cfg(feature = "server")]
use super::read::ranked::RankedRow;
use super::request::{FacetAnswer, Found, Get, GroupSize, Hit, Include, QueryAnswer};
use super::state::snapshot::{RowRef, Snapshot};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::ranking::FusedPart;
use crate::record::Version;

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
    pub(super) fn of(self, pin: PinGuard) -> Reading {
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
    compared: u64,
    include: Include,
    /// Keeps the collection in memory.
    _pin: PinGuard,
}

impl Matches {
    pub(super) fn of(
        snapshot: Arc<Snapshot>,
        (results, compared): (Vec<Vec<(RowRef, f32)>>, u64),
        include: Include,
        pin: PinGuard,
    ) -> Matches {
        Matches { snapshot, results, compared, include, _pin: pin }
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

    /// How many records were compared, with all query embeddings together: those of walks through graphs, and those that
    /// were scanned. The exact distance of one that its codes had found is not counted again.
    pub fn compared(&self) -> u64 {
        self.compared
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

/// The records of a ranked search, each made when it is asked for. They keep their version in memory.
#[derive(Debug)]
pub struct RankedRows {
    snapshot: Arc<Snapshot>,
    page: RankedPage,
    /// Keeps the collection in memory.
    _pin: Arc<PinGuard>,
}

impl RankedRows {
    pub(super) fn of(snapshot: Arc<Snapshot>, page: RankedPage, pin: Arc<PinGuard>) -> RankedRows {
        RankedRows { snapshot, page, _pin: pin }
    }

    /// The records at these places, in this order.
    #[cfg(feature = "server")]
    pub(crate) fn chosen(mut self, places: &[usize]) -> RankedRows {
        let mut rows: Vec<Option<RankedRow>> = self.page.rows.drain(..).map(Some).collect();
        self.page.rows = places.iter().filter_map(|place| rows.get_mut(*place)?.take()).collect();
        self
    }

    /// The facets that the search asked for: of all ranked records, also of those beyond the limit.
    pub fn facets(&self) -> &[FacetAnswer] {
        &self.page.facets
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.page.rows.len()
    }

    /// Whether no record was found.
    pub fn is_empty(&self) -> bool {
        self.page.rows.is_empty()
    }

    /// The record at a place, with these fields; `None` beyond the end.
    ///
    /// # Errors
    /// `Corrupted` names a record whose metadata cannot be read.
    pub fn part(&self, place: usize, include: Include) -> Result<Option<Found>> {
        self.page.rows.get(place).map(|row| self.snapshot.found(row.at, include)).transpose()
    }

    /// About how many bytes a record takes in an answer with these fields; 0 beyond the end.
    pub fn weight(&self, place: usize, include: Include) -> usize {
        self.page.rows.get(place).map_or(0, |row| self.snapshot.weight(row.at, include))
    }

    /// The record's score; `None` where there was no rank.
    pub fn score(&self, place: usize) -> Option<f32> {
        self.page.rows.get(place).and_then(|row| row.score)
    }

    /// The record's rank and score in each search that was fused; none where there was no fusion.
    pub fn parts(&self, place: usize) -> &[Option<FusedPart>] {
        self.page.rows.get(place).map_or(&[], |row| row.parts.as_slice())
    }

    /// The version that was searched.
    pub fn version(&self) -> Version {
        self.snapshot.version
    }

    /// How many records were compared with what was searched for, or scored by it, in all searches of the rank
    /// together. The exact distance of one that its codes had found is not counted again.
    pub fn compared(&self) -> u64 {
        self.page.compared
    }
}

/// The best groups of a ranked search.
#[derive(Debug)]
pub struct RankedGroups {
    /// The groups, best first.
    pub groups: Vec<GroupSize>,
    /// Their records, group by group.
    pub rows: RankedRows,
}

impl Snapshot {
    /// Opens a reading whose records are made one by one.
    pub fn read(self: Arc<Self>, get: &Get, interrupt: &Interrupt) -> Result<Reading> {
        let rows = self.rows(get, interrupt)?;
        Ok(Reading { snapshot: self, rows, include: get.include, _pin: None })
    }
}
