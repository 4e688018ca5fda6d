//! The frozen graph: checked columns, ready to search; nothing in it changes. It holds codes and neighbour lists, no
//! vectors. The caller knows which of its nodes are alive.

use super::entry_points::sample_of;
use super::kernel::{CodeRows, prefer_large_pages};
use super::quantiser::{Coded, Quantiser};
use crate::format::graph::{GraphColumns, GraphHeader, NodeColumns, Traversal};
use crate::record::{Address, Metric};

/// A graph over the embeddings of a version range.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    content: GraphColumns,
    quantiser: Quantiser,
    /// See [`sample_of`]; not stored.
    sample: Vec<u32>,
}

#[allow(clippy::len_without_is_empty, reason = "a graph has at least one node")]
impl Graph {
    /// Makes a graph of checked columns, built or read from the bucket.
    pub fn new(content: GraphColumns) -> Graph {
        let header = content.header();
        let quantiser = Quantiser::new(header.metric, header.mean.clone(), header.scale, header.rotation);
        let columns = content.columns();
        prefer_large_pages(columns.codes.inner().as_ptr(), columns.codes.inner().len());
        prefer_large_pages(columns.neighbours.values.inner().as_ptr(), columns.neighbours.values.inner().len());
        let mut graph = Graph { content, quantiser, sample: Vec::new() };
        graph.sample = sample_of(&graph);
        graph
    }

    /// The stored content: header and columns.
    pub fn content(&self) -> &GraphColumns {
        &self.content
    }

    /// The graph's header.
    pub fn header(&self) -> &GraphHeader {
        self.content.header()
    }

    /// How distance is measured.
    pub fn metric(&self) -> Metric {
        self.header().metric
    }

    /// How many nodes, alive or not.
    pub fn len(&self) -> usize {
        self.content.len()
    }

    /// Bytes of memory that the columns take.
    pub fn size_bytes(&self) -> usize {
        let c = self.columns();
        let per_node = c.addresses.len() * 8 + c.address_order.len() * 4 + c.biases.len() * 4 + c.codes.len();
        let lists = c.neighbours.offsets.len() + c.neighbours.values.len() + c.upper.offsets.len();
        per_node + 4 * (self.sample.len() + lists + c.upper.values.len() + c.levels.len())
    }

    /// The address of `node`; `None` past the end.
    #[inline]
    pub fn address(&self, node: u32) -> Option<Address> {
        self.columns().addresses.get(node as usize).copied().map(Address)
    }

    /// The node of `address`, if the graph covers it.
    pub fn node_of(&self, address: Address) -> Option<u32> {
        let order = &self.columns().address_order;
        let found = order.binary_search_by_key(&Some(address), |node| self.address(*node)).ok()?;
        order.get(found).copied()
    }

    /// All nodes in ascending address order, which is the order of vectors in chunks.
    pub fn nodes_by_address(&self) -> impl ExactSizeIterator<Item = (Address, u32)> + '_ {
        let columns = self.columns();
        columns.address_order.iter().map(|node| (Address(columns.addresses[*node as usize]), *node))
    }

    /// Checks everything that searches rely on: the columns' own invariant, and that every node is reached from the
    /// entry point on level 0. Linear in the graph's size.
    #[cfg(test)]
    pub fn check_invariants(&self) -> Result<(), String> {
        GraphColumns::checked(self.header().clone(), self.columns().clone()).map_err(|e| e.to_string())?;
        let mut reached = vec![false; self.len()];
        let mut open = vec![self.header().entry];
        let mut count = 0;
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut reached[node as usize], true) {
                count += 1;
                open.extend(self.neighbours(node));
            }
        }
        if count == self.len() { Ok(()) } else { Err(format!("{} nodes are unreachable", self.len() - count)) }
    }

    pub(super) fn columns(&self) -> &NodeColumns {
        self.content.columns()
    }

    pub(super) fn quantiser(&self) -> &Quantiser {
        &self.quantiser
    }

    pub(super) fn is_exact(&self) -> bool {
        self.header().traversal == Traversal::Exact
    }

    #[inline]
    pub(super) fn code(&self, node: u32) -> &[i8] {
        self.coded().codes.get(node)
    }

    #[inline]
    pub(super) fn bias(&self, node: u32) -> f32 {
        self.columns().biases.get(node as usize).copied().unwrap_or(0.0)
    }

    /// The codes and biases of all nodes.
    #[inline]
    pub(super) fn coded(&self) -> Coded<'_> {
        Coded { codes: CodeRows::new(&self.columns().codes, self.header().dim), biases: &self.columns().biases }
    }

    #[inline]
    pub(super) fn neighbours(&self, node: u32) -> &[u32] {
        self.columns().neighbours.get(node as usize)
    }

    /// The nodes that every walk compares first; empty where walks have one entry point.
    pub(super) fn sample(&self) -> &[u32] {
        &self.sample
    }

    /// Levels of `node` above level 0.
    pub(super) fn top_level(&self, node: u32) -> usize {
        match self.columns().levels.get(node as usize..node as usize + 2) {
            Some([start, end]) => (end - start) as usize,
            _ => 0,
        }
    }

    /// The neighbours of `node` on `level` ≥ 1; empty if the node is not on that level.
    pub(super) fn upper_neighbours(&self, node: u32, level: usize) -> &[u32] {
        match self.columns().levels.get(node as usize) {
            Some(first) if (1..=self.top_level(node)).contains(&level) => {
                self.columns().upper.get(*first as usize + level - 1)
            }
            _ => &[],
        }
    }
}
