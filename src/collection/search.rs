//! The k nearest records to a query embedding, among those that satisfy ids and a filter.
//! Invariants: no record is answered twice, none is lost; equal distances are ordered by address, so
//! that every instance at one version gives one answer.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::graphs::{GraphView, Link};
use super::request::{Hit, Query, QueryAnswer};
use super::select::Selected;
use super::snapshot::Snapshot;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::index::{
    Candidate, Choice, GraphQuery, NodeBitmap, Plan, PreparedQuery, SearchScratch, TopK, default_ef, plan, scan,
    search_graph,
};
use crate::record::Address;

thread_local! {
    /// Memory of graph walks, kept between searches of a thread.
    static SCRATCH: RefCell<SearchScratch> = RefCell::new(SearchScratch::new());
}

/// How a query is answered: every selected row is either scanned or a node that a walk may answer with,
/// never both.
struct Route<'a> {
    /// Rows of each chunk to scan.
    scans: Vec<Cow<'a, RoaringBitmap>>,
    /// Graphs to walk, with the nodes that may be answered.
    walks: Vec<(&'a GraphView, Cow<'a, NodeBitmap>)>,
}

impl Snapshot {
    /// One list of hits for each query embedding, nearest first.
    pub fn search(&self, query: &Query, limits: &Limits) -> Result<QueryAnswer> {
        self.check_alive()?;
        check(query, self.dimension, limits)?;
        if self.dimension.is_none() || self.live == 0 {
            return Ok(QueryAnswer { results: vec![Vec::new(); query.embeddings.len()], version: self.version });
        }
        let selected = self.select(query.ids.as_deref(), query.filter.as_ref());
        let route = self.route(query, &selected);
        let results = query.embeddings.iter().map(|embedding| {
            let nearest = self.nearest(&PreparedQuery::new(self.metric, embedding), query, &route);
            self.hits(nearest, query)
        });
        Ok(QueryAnswer { results: results.collect::<Result<_>>()?, version: self.version })
    }

    fn route<'a>(&'a self, query: &Query, selected: &'a Selected) -> Route<'a> {
        let walks = if query.exact { Vec::new() } else { self.walks(query, selected) };
        let scans = self.chunks.iter().enumerate().map(|(chunk, view)| {
            let rows = selected.of(self, chunk);
            match selected {
                _ if walks.is_empty() || view.links.is_none() => Cow::Borrowed(rows),
                Selected::All if walks.len() == self.graphs.len() => Cow::Borrowed(view.loose()),
                _ if walks.len() == self.graphs.len() => Cow::Owned(rows & view.loose()),
                _ => {
                    let walked = |link: Link| walks.iter().any(|(graph, _)| graph.number == link.graph);
                    Cow::Owned(rows.iter().filter(|row| !view.link(*row).is_some_and(walked)).collect())
                }
            }
        });
        Route { scans: scans.collect(), walks }
    }

    /// The graphs that are quicker walked than their selected rows are scanned.
    fn walks<'a>(&'a self, query: &Query, selected: &'a Selected) -> Vec<(&'a GraphView, Cow<'a, NodeBitmap>)> {
        let allowed: Vec<Cow<'a, NodeBitmap>> = match selected {
            Selected::All => self.graphs.iter().map(|view| Cow::Borrowed(&view.alive)).collect(),
            Selected::Rows(rows) => self.nodes_of(rows).into_iter().map(Cow::Owned).collect(),
        };
        let ef = query.ef_search.unwrap_or_else(|| default_ef(self.metric, query.k)).max(query.k);
        let views = self.graphs.iter().map(Arc::as_ref).zip(allowed);
        let worth = |(view, allowed): &(&GraphView, Cow<'_, NodeBitmap>)| {
            let graph = &view.part.graph;
            let degree = graph.content().columns().neighbours.values.len() / graph.len().max(1);
            plan(Choice { allowed: allowed.count(), nodes: graph.len(), ef, degree }) != Plan::Scan
        };
        views.filter(worth).collect()
    }

    /// How many graphs a query walks.
    #[cfg(test)]
    pub(super) fn walks_of(&self, query: &Query) -> usize {
        self.walks(query, &self.select(query.ids.as_deref(), query.filter.as_ref())).len()
    }

    /// The nodes that these rows link to, for each graph.
    fn nodes_of(&self, rows: &[RoaringBitmap]) -> Vec<NodeBitmap> {
        let mut nodes: Vec<NodeBitmap> =
            self.graphs.iter().map(|view| NodeBitmap::none(view.part.graph.len())).collect();
        for (view, rows) in self.chunks.iter().zip(rows) {
            for link in rows.iter().filter_map(|row| view.link(row)) {
                if let Some(at) = self.graphs.iter().position(|graph| graph.number == link.graph) {
                    nodes[at].insert(link.node);
                }
            }
        }
        nodes
    }

    /// Keys of the answer are addresses.
    fn nearest(&self, prepared: &PreparedQuery, query: &Query, route: &Route<'_>) -> TopK {
        let mut top = TopK::new(query.k);
        for (view, rows) in self.chunks.iter().zip(&route.scans) {
            let key = |row| view.chunk.address(row).0;
            scan(prepared, view.chunk.vectors(), rows.as_ref(), key, &mut top);
        }
        for (view, allowed) in &route.walks {
            let graph = &view.part.graph;
            let row = |node| graph.address(node).and_then(|embedded| self.find_embedded(embedded));
            let vector = |node| row(node).map(|at| self.chunk(at).vector(at.row));
            let walk = GraphQuery { query: prepared, k: query.k, ef: query.ef_search, allowed: Some(allowed.as_ref()) };
            let found = SCRATCH.with_borrow_mut(|scratch| search_graph(graph, walk, vector, scratch));
            for Candidate { node, distance } in found {
                if let Some(at) = row(node) {
                    top.push(distance, self.address(at).0);
                }
            }
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
