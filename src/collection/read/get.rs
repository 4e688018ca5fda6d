//! Records of a snapshot as they are returned: in insertion order, or by id.
//! Invariant: an answer shows one version, and all of it.

use super::insertion_order::in_order;
use crate::collection::estimate;
use crate::collection::request::{Found, Get, GetAnswer, Include};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::record::{Address, Metadata};

/// How many records are made between two checks of the interrupt.
const BETWEEN_LOOKS: usize = 256;

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

    /// The rows of the records asked for, in insertion order.
    pub(in crate::collection) fn rows(&self, get: &Get, interrupt: &Interrupt) -> Result<Vec<RowRef>> {
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

    /// Roughly the bytes that the record at `at` takes during an answer.
    pub(in crate::collection) fn weight(&self, at: RowRef, include: Include) -> usize {
        let (chunk, row) = (self.chunk(at), at.row);
        let floats = if include.embedding { chunk.vector(row).len() } else { 0 };
        let texts = [
            Some(chunk.id(row)),
            chunk.document(row).filter(|_| include.document),
            chunk.uri(row).filter(|_| include.uri),
        ];
        let metadata = chunk.metadata(row).filter(|_| include.metadata);
        estimate::answered(floats, texts.into_iter().flatten().map(str::len).sum(), metadata.map_or(0, str::len))
    }
}
