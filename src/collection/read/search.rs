//! The k nearest records to a query embedding, among those that satisfy ids and a filter.
//! Invariants: no record is returned twice, none is lost; equal distances are ordered by address, so that all
//! instances at one version give one answer.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use roaring::RoaringBitmap;

use super::compared::Compared;
use super::select::Selected;
use crate::collection::request::validate::check_query;
use crate::collection::request::{Hit, Query, QueryAnswer};
use crate::collection::state::graphs::{GraphView, Link};
use crate::collection::state::selections::SelectedRows;
use crate::collection::state::snapshot::{ChunkView, RowRef, Snapshot};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::index::{
    Candidate, GraphFacts, GraphPlan, GraphQuery, NodeBitmap, Plan, Planned, PreparedQuery, QueryMatrix, SearchScratch,
    TopK, plan_graphs, scan, search_planned,
};
use crate::interrupt::Interrupt;
use crate::record::Address;

thread_local! {
    /// Memory of graph walks, reused by the searches of a thread.
    static SCRATCH: RefCell<SearchScratch> = RefCell::new(SearchScratch::new());
}

/// For each embedding the rows that were found, nearest first, with their distances.
type RowsByEmbedding = Vec<Vec<(RowRef, f32)>>;

/// How a query is answered: every selected row is either scanned or a node that a walk may return, never both. One
/// route serves all embeddings of the query, and only the snapshot that it was made on.
#[derive(Debug, Default)]
pub struct Route {
    /// Rows of each chunk to scan; empty where nothing is selected.
    scans: Vec<Scanned>,
    walks: Vec<Walk>,
    /// The nodes that walks may return, where these are not all that are alive.
    selected: Option<Arc<SelectedRows>>,
}

impl Route {
    /// The number of parts that `queries` embeddings are divided into. All `threads` get work. Where rows are
    /// scanned, there are no more parts than that, since the queries of one part share the reading of each row.
    pub fn parts(&self, queries: usize, threads: usize) -> usize {
        let together = if self.scans.iter().any(|rows| !matches!(rows, Scanned::Unindexed)) { TOGETHER } else { 1 };
        queries.div_ceil(together).max(threads.min(queries))
    }
}

/// The most queries that share the reading of a row.
const TOGETHER: usize = 64;

/// Offers the rows of a chunk to each of the answers. `matrix` holds the queries where they are several.
fn scan_chunk(
    (view, may_code): (&ChunkView, bool),
    rows: &Scanned,
    (prepared, matrix): (&[PreparedQuery], Option<&QueryMatrix<'_>>),
    exact: bool,
    tops: &mut [TopK],
    interrupt: &Interrupt,
) -> Result<()> {
    let (vectors, key) = (view.chunk.vectors(), |row| view.chunk.address(row).0);
    let rows = rows.of(view);
    // Codes are not worth making for a few rows. An exact search does not need them: it would read each row twice.
    let codes =
        (!exact && view.links.is_none() && rows.len() >= FEW_ROWS).then(|| view.codes.wanted(vectors, may_code));
    match (codes.flatten(), matrix) {
        (Some(codes), _) => {
            for (query, top) in prepared.iter().zip(tops) {
                codes.scan(query, vectors, rows, key, top);
            }
        }
        (None, Some(matrix)) => matrix.scan(vectors, rows, key, tops, interrupt)?,
        (None, None) => {
            for (query, top) in prepared.iter().zip(tops) {
                scan(query, vectors, rows, key, top);
            }
        }
    }
    Ok(())
}

/// A chunk with fewer rows to scan is compared without codes.
const FEW_ROWS: u64 = 1024;

/// Rows of a chunk.
#[derive(Debug)]
enum Scanned {
    Alive,
    Unindexed,
    These(RoaringBitmap),
}

impl Scanned {
    fn of<'a>(&'a self, view: &'a ChunkView) -> &'a RoaringBitmap {
        match self {
            Scanned::Alive => &view.alive,
            Scanned::Unindexed => view.unindexed(),
            Scanned::These(rows) => rows,
        }
    }
}

/// A graph to walk.
#[derive(Debug)]
struct Walk {
    /// Its index among the snapshot's graphs.
    graph: usize,
    plan: GraphPlan,
}

impl Snapshot {
    /// One list of hits for each query embedding, nearest first.
    pub fn search(&self, query: &Query, limits: &Limits, interrupt: &Interrupt) -> Result<QueryAnswer> {
        let route = self.route(query, limits, interrupt)?;
        let found = self.answer(query, &route, 0..query.embeddings.len(), interrupt)?;
        let hit = |(at, distance)| Ok(Hit::new(self.found(at, query.include)?, distance));
        let results = found.into_iter().map(|rows| rows.into_iter().map(hit).collect());
        Ok(QueryAnswer { results: results.collect::<Result<_>>()?, version: self.version })
    }

    /// Checks a query and decides its route.
    pub fn route(&self, query: &Query, limits: &Limits, interrupt: &Interrupt) -> Result<Route> {
        self.check_alive()?;
        check_query(query, self.dimension, limits)?;
        if self.dimension.is_none() || self.live == 0 {
            return Ok(Route::default());
        }
        Ok(self.route_among(query, self.select(query.ids.as_deref(), query.filter.as_ref(), interrupt)?))
    }

    /// Decides the route of a query among selected records, which may be others than those of its own conditions.
    pub(super) fn route_among(&self, query: &Query, selected: Selected) -> Route {
        let selected = match selected {
            Selected::All => None,
            Selected::Rows(selected) => Some(selected),
        };
        let walks = if query.exact { Vec::new() } else { self.walks(query, selected.as_deref()) };
        let scans = match &selected {
            None => self.chunks.iter().map(|view| self.unwalked(view, None, &walks)).collect(),
            Some(selected) => {
                let rows = self.chunks.iter().zip(selected.rows());
                rows.map(|(view, rows)| self.unwalked(view, Some(rows), &walks)).collect()
            }
        };
        Route { scans, walks, selected }
    }

    /// The rows nearest to each of some of the query's embeddings, with their distances. A row is read once for all
    /// of them. `route` must be this query's on this snapshot.
    pub fn answer(
        &self,
        query: &Query,
        route: &Route,
        numbers: Range<usize>,
        interrupt: &Interrupt,
    ) -> Result<RowsByEmbedding> {
        Ok(self.counted_answer(query, route, numbers, interrupt)?.0)
    }

    /// As [`answer`](Snapshot::answer), and how many records were compared.
    pub fn counted_answer(
        &self,
        query: &Query,
        route: &Route,
        numbers: Range<usize>,
        interrupt: &Interrupt,
    ) -> Result<(RowsByEmbedding, u64)> {
        let compared = Compared::default();
        let embeddings = query.embeddings.get(numbers).unwrap_or_default();
        let prepared = embeddings.iter().map(|embedding| PreparedQuery::new(self.metric, embedding));
        let nearest = self.nearest(&prepared.collect::<Vec<_>>(), query, route, (interrupt, &compared))?;
        let mut found = nearest.into_iter().map(|top| self.found_rows(top)).collect::<Result<Vec<_>>>()?;
        if let Some(most) = query.max_distance {
            for rows in &mut found {
                rows.truncate(rows.partition_point(|(_, distance)| *distance <= most));
            }
        }
        Ok((found, compared.get()))
    }

    /// The rows of a chunk that no walk covers, of those `selected` (`None`: all that are alive).
    fn unwalked(&self, view: &ChunkView, selected: Option<&RoaringBitmap>, walks: &[Walk]) -> Scanned {
        if walks.is_empty() || view.links.is_none() {
            return selected.map_or(Scanned::Alive, |rows| Scanned::These(rows.clone()));
        }
        if walks.len() == self.graphs.len() {
            return selected.map_or(Scanned::Unindexed, |rows| Scanned::These(rows & view.unindexed()));
        }
        let walked = |link: Link| walks.iter().any(|walk| self.graphs[walk.graph].number == link.graph);
        let rows = selected.unwrap_or(&view.alive);
        Scanned::These(rows.iter().filter(|row| !view.link(*row).is_some_and(walked)).collect())
    }

    /// The graphs where a walk is quicker than a scan of the selected rows.
    fn walks(&self, query: &Query, selected: Option<&SelectedRows>) -> Vec<Walk> {
        let nodes = selected.map(|selected| selected.nodes(self));
        let facts = |(number, view): (usize, &Arc<GraphView>)| {
            let allowed = nodes.and_then(|nodes| nodes.get(number)).unwrap_or(&view.alive);
            GraphFacts::of(&view.part.graph, allowed.count())
        };
        let facts: Vec<GraphFacts> = self.graphs.iter().enumerate().map(facts).collect();
        let plans = plan_graphs(self.metric, query.k, query.ef_search, &facts);
        let walks = plans.into_iter().enumerate().map(|(graph, plan)| Walk { graph, plan });
        // What would be compared exactly is scanned with the rows of chunks, without the way through the graph.
        walks.filter(|walk| walk.plan.plan != Plan::Scan).collect()
    }

    /// The nodes that a walk may return.
    fn allowed<'a>(&'a self, walk: &Walk, selected: Option<&'a SelectedRows>) -> &'a NodeBitmap {
        let nodes = selected.and_then(|selected| selected.nodes(self).get(walk.graph));
        nodes.unwrap_or(&self.graphs[walk.graph].alive)
    }

    /// How many graphs a query walks.
    #[cfg(test)]
    pub(in crate::collection) fn walks_of(&self, query: &Query) -> usize {
        self.route(query, &Limits::default(), &Interrupt::never()).map_or(0, |route| route.walks.len())
    }

    /// The nearest rows of each prepared query; keys of the answers are addresses.
    fn nearest(
        &self,
        prepared: &[PreparedQuery],
        query: &Query,
        route: &Route,
        (interrupt, compared): (&Interrupt, &Compared),
    ) -> Result<Vec<TopK>> {
        let mut tops: Vec<TopK> = prepared.iter().map(|_| TopK::new(query.k)).collect();
        let mut scanned = self.chunks.iter().zip(&route.scans);
        let matrix = match (prepared, self.dimension) {
            ([_, _, ..], Some(dim)) if scanned.any(|(view, rows)| rows.of(view).len() >= QueryMatrix::FEWEST_ROWS) => {
                Some(QueryMatrix::new(prepared, dim)?)
            }
            _ => None,
        };
        let may_code = !self.codes_put_off.load(Ordering::Relaxed);
        for (view, rows) in self.chunks.iter().zip(&route.scans) {
            interrupt.check()?;
            let begun = Instant::now();
            compared.add(rows.of(view).len().saturating_mul(prepared.len() as u64));
            scan_chunk((view, may_code), rows, (prepared, matrix.as_ref()), query.exact, &mut tops, interrupt)?;
            // A graph saves time neither for exact searches nor for searches among a few rows.
            if !query.exact && !matches!(rows, Scanned::These(_)) {
                let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.scanned_us.fetch_add(us, Ordering::Relaxed);
            }
        }
        for (prepared, top) in prepared.iter().zip(&mut tops) {
            for walk in &route.walks {
                interrupt.check()?;
                compared.add(self.walk(prepared, query, (walk, self.allowed(walk, route.selected.as_deref())), top));
            }
        }
        Ok(tops)
    }

    /// Offers what a graph has; returns how many of its nodes were compared.
    fn walk(&self, prepared: &PreparedQuery, query: &Query, walk: (&Walk, &NodeBitmap), top: &mut TopK) -> u64 {
        let (walk, allowed) = walk;
        let graph = &self.graphs[walk.graph].part.graph;
        let row = |node| graph.address(node).and_then(|embedded| self.find_embedded(embedded));
        let vector = |node| row(node).map(|at| self.chunk(at).vector(at.row));
        let search = GraphQuery { query: prepared, k: query.k, ef: Some(walk.plan.ef), allowed: Some(allowed) };
        let Some(planned) = Planned::by(graph, search, walk.plan.plan) else { return 0 };
        let (found, compared) = SCRATCH.with_borrow_mut(|scratch| {
            let found = search_planned(graph, planned, vector, scratch);
            (found, scratch.take_compared())
        });
        for Candidate { node, distance } in found {
            if let Some(at) = row(node) {
                top.push(distance, self.address(at).0);
            }
        }
        compared
    }

    fn found_rows(&self, nearest: TopK) -> Result<Vec<(RowRef, f32)>> {
        let rows = nearest.into_sorted().into_iter().map(|neighbour| {
            let at = self.row_at(Address(neighbour.key));
            let at = at.ok_or_else(|| Error::internal(format!("no live row at address {}", neighbour.key)))?;
            Ok((at, neighbour.distance))
        });
        rows.collect()
    }
}
