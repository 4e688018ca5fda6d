//! What must hold of every snapshot, stated as a check that tests call after each change.

use std::collections::HashSet;

use super::snapshot::{ChunkView, Snapshot};
use crate::record::Address;

impl Snapshot {
    /// The first broken invariant, in words. Chunks ascend by address, and none is all dead. Live rows have distinct
    /// ids, positions and embeddings' addresses, each of which finds its row. Their number is the stored count.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut newest = None;
        let dead = |view: &ChunkView| view.chunk.len() as u64 - view.alive.len();
        ensure(!self.chunks.iter().any(|view| dead(view) > view.alive.len()), || "a chunk is mostly dead".to_owned())?;
        let mut ids = HashSet::new();
        let mut positions = HashSet::new();
        let mut embedded = HashSet::new();
        for (number, view) in self.chunks.iter().enumerate() {
            let chunk = &view.chunk;
            ensure(newest < Some(chunk.first()), || format!("chunk {number} begins before the one before it ends"))?;
            newest = Some(chunk.last());
            ensure(!view.alive.is_empty(), || format!("chunk {number} is all dead"))?;
            ensure(view.alive.max() < Some(chunk.len() as u32), || format!("chunk {number} has live rows it lacks"))?;
            let dim = chunk.vectors().dim;
            ensure(Some(dim) == self.dimension, || format!("chunk {number} has dimension {dim}"))?;
            for row in &view.alive {
                let (id, address) = (chunk.id(row), chunk.address(row));
                ensure(ids.insert(id), || format!("{id:?} is live twice"))?;
                ensure(positions.insert(chunk.position(row)), || format!("two records have the position of {id:?}"))?;
                ensure(embedded.insert(chunk.embedded(row)), || format!("two records have the embedding of {id:?}"))?;
                let is = |found: Option<Address>, by: &str| {
                    ensure(found == Some(address), || format!("{id:?} at {address:?} by {by}: found {found:?}"))
                };
                is(self.find(id).map(|at| self.address(at)), "id")?;
                is(self.row_at(address).map(|at| self.address(at)), "address")?;
                is(self.find_embedded(chunk.embedded(row)).map(|at| self.address(at)), "embedding")?;
                ensure(chunk.position(row) <= address, || format!("{id:?} comes after its update"))?;
            }
        }
        self.check_graphs()?;
        ensure(ids.len() as u64 == self.live, || format!("{} live records, {} counted", ids.len(), self.live))?;
        ensure(newest.is_none_or(|newest| newest.version() <= self.version), || "rows of a later version".to_owned())
    }

    /// Checks links. A live row whose embedding is a node of some graph links to one such node, and no other row
    /// does. All other live rows, and only they, are unindexed. The linked nodes, and only they, are alive.
    fn check_graphs(&self) -> Result<(), String> {
        let mut linked = HashSet::new();
        for view in &self.chunks {
            for row in &view.alive {
                let (id, embedded, link) = (view.chunk.id(row), view.chunk.embedded(row), view.link(row));
                let is_node = self.graphs.iter().any(|graph| graph.part.graph.node_of(embedded).is_some());
                ensure(link.is_some() == is_node, || format!("{id:?}: a node: {is_node}, linked: {link:?}"))?;
                ensure(view.unindexed().contains(row) != is_node, || {
                    format!("{id:?} is a node and unindexed, or neither")
                })?;
                let Some(link) = link else { continue };
                ensure(linked.insert((link.graph, link.node)), || format!("{id:?}: {link:?} is taken"))?;
                let graph = self.graphs.iter().find(|graph| graph.number == link.graph);
                let named = graph.and_then(|graph| graph.part.graph.address(link.node));
                ensure(named == Some(embedded), || format!("{id:?}: {link:?} is of {named:?}, not {embedded:?}"))?;
                let alive = graph.is_some_and(|graph| graph.alive.contains(link.node));
                ensure(alive, || format!("{id:?}: {link:?} is dead"))?;
            }
            ensure(view.unindexed().is_subset(&view.alive), || "a dead row is unindexed".to_owned())?;
        }
        let alive: usize = self.graphs.iter().map(|graph| graph.alive.count()).sum();
        ensure(alive == linked.len(), || format!("{alive} nodes alive, {} linked to", linked.len()))
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}
