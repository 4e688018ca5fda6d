//! Reads of records in insertion order, and records as they are returned.
//! Invariant: an answer is of one version, whole.

use super::order::in_order;
use super::request::{Found, Get, GetAnswer, Include};
use super::snapshot::{RowRef, Snapshot};
use crate::error::{Error, Result};
use crate::record::Metadata;

impl Snapshot {
    /// The records asked for, in insertion order.
    pub fn get(&self, get: &Get) -> Result<GetAnswer> {
        self.check_alive()?;
        let selected = self.select(get.ids.as_deref(), get.filter.as_ref());
        let rows = in_order(self, &selected).skip(get.offset).take(get.limit.unwrap_or(usize::MAX));
        let records = rows.map(|(_, at)| self.found(at, get.include)).collect::<Result<_>>()?;
        Ok(GetAnswer { records, version: self.version })
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
