//! The k nearest records to a query embedding, among those that satisfy ids and a filter.
//! Invariants: no record is answered twice, none is lost; equal distances are ordered by address, so
//! that every instance at one version gives one answer.

use super::request::{Hit, Query, QueryAnswer};
use super::select::Selected;
use super::snapshot::Snapshot;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::index::{PreparedQuery, TopK, scan};
use crate::record::Address;

impl Snapshot {
    /// One list of hits for each query embedding, nearest first.
    pub fn search(&self, query: &Query, limits: &Limits) -> Result<QueryAnswer> {
        self.check_alive()?;
        check(query, self.dimension, limits)?;
        if self.dimension.is_none() || self.live == 0 {
            return Ok(QueryAnswer { results: vec![Vec::new(); query.embeddings.len()], version: self.version });
        }
        let selected = self.select(query.ids.as_deref(), query.filter.as_ref());
        let results = query.embeddings.iter().map(|embedding| {
            let nearest = self.nearest(&PreparedQuery::new(self.metric, embedding), query, &selected);
            self.hits(nearest, query)
        });
        Ok(QueryAnswer { results: results.collect::<Result<_>>()?, version: self.version })
    }

    /// Keys of the answer are addresses.
    fn nearest(&self, prepared: &PreparedQuery, query: &Query, selected: &Selected) -> TopK {
        let mut top = TopK::new(query.k);
        for (chunk, view) in self.chunks.iter().enumerate() {
            let key = |row| view.chunk.address(row).0;
            scan(prepared, view.chunk.vectors(), selected.of(self, chunk), key, &mut top);
        }
        top
    }

    fn hits(&self, nearest: TopK, query: &Query) -> Result<Vec<Hit>> {
        let rows = nearest.into_sorted().into_iter().map(|neighbour| {
            let at = self.row_at(Address(neighbour.key));
            let at = at.ok_or_else(|| Error::internal(format!("no live row at address {}", neighbour.key)))?;
            Ok(Hit { distance: neighbour.distance, record: self.found(at, query.include)? })
        });
        rows.collect()
    }
}

fn check(query: &Query, dimension: Option<usize>, limits: &Limits) -> Result<()> {
    if query.k == 0 {
        return Err(Error::invalid("k: expected at least 1, got 0"));
    }
    if query.k > limits.k {
        return Err(Error::limit(format!("k: expected at most {} (limit k), got {}", limits.k, query.k)));
    }
    let queries = query.embeddings.len();
    if queries == 0 {
        return Err(Error::invalid("embeddings: expected at least one, got none"));
    }
    if queries > limits.queries {
        return Err(Error::limit(format!(
            "embeddings: expected at most {} (limit queries), got {queries}",
            limits.queries
        )));
    }
    if query.ef_search == Some(0) {
        return Err(Error::invalid("ef_search: expected at least 1, got 0"));
    }
    for (i, embedding) in query.embeddings.iter().enumerate() {
        super::validate::check_embedding(&format_args!("embeddings[{i}]"), embedding, dimension, limits)?;
    }
    Ok(())
}
