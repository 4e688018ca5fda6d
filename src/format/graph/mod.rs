//! A graph object's content: its header and its columns, one row per node. Invariant, kept by
//! [`GraphColumns::checked`] and so true of every value: all columns agree on the number of nodes; every list lies
//! inside its values; every neighbour is a node of that level; addresses are distinct and inside the version range.
//! Graph walks rely on it.

mod decode;
mod encode;
#[cfg(test)]
mod graph_tests;

use arrow::buffer::ScalarBuffer;

use super::FormatError;
use crate::record::{Address, Metric, Version};

pub use decode::decode_graph;
pub use encode::encode_graph;

/// Highest format number of graph objects; it is independent of [`super::FORMAT`].
pub const GRAPH_FORMAT: u64 = 2;
/// The format number of graphs whose vectors were coded without rotation.
pub const UNROTATED_FORMAT: u64 = 1;

/// Most nodes of a graph: lists have 32-bit offsets, and every node has a link.
pub const MAX_NODES: usize = i32::MAX as usize;

/// Most levels of a node above level 0.
pub const MAX_UPPER_LEVELS: usize = 32;

/// Which vectors a walk of the graph compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traversal {
    /// The int8 codes; the best are re-ranked with exact vectors.
    Codes,
    /// Exact vectors: codes cannot tell this data's neighbours apart.
    Exact,
}

/// The header of a graph: the schema metadata of the object.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphHeader {
    /// The stream whose records these are.
    pub stream: String,
    /// First version covered.
    pub lo: Version,
    /// Last version covered.
    pub hi: Version,
    /// The metric the graph was built for.
    pub metric: Metric,
    /// Components per code.
    pub dim: usize,
    /// The paper's M: links per node and level (2 M on level 0).
    pub m: usize,
    /// The paper's efConstruction.
    pub ef_construction: usize,
    /// Seed of the insertion order.
    pub seed: u64,
    /// The program that built it.
    pub builder: String,
    /// What searches compare.
    pub traversal: Traversal,
    /// The node a search starts at; it has the most levels.
    pub entry: u32,
    /// Seed of the rotation of x − mean; `None`: no rotation.
    pub rotation: Option<u64>,
    /// Codes are x − mean, rotated, / `scale`, rounded and clamped to ±127.
    pub scale: f32,
    /// `dim` floats.
    pub mean: Vec<f32>,
}

/// Lists of u32 in one array: list i is `values[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Lists {
    /// One more entry than there are lists, ascending from 0.
    pub offsets: ScalarBuffer<i32>,
    /// All lists, one after the other.
    pub values: ScalarBuffer<u32>,
}

#[allow(clippy::len_without_is_empty, reason = "a graph has at least one node")]
impl Lists {
    /// How many lists.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// List `i`; empty past the end.
    #[inline]
    pub fn get(&self, i: usize) -> &[u32] {
        match (self.offsets.get(i), self.offsets.get(i + 1)) {
            (Some(start), Some(end)) => self.values.get(*start as usize..*end as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// The columns, one row per node; nodes are numbered 0..n in row order.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeColumns {
    /// `Address` of the commit row that set the node's embedding.
    pub addresses: ScalarBuffer<u64>,
    /// Row i holds the i-th node in ascending address order.
    pub address_order: ScalarBuffer<u32>,
    /// What the metric adds to a node's code product; see the quantiser.
    pub biases: ScalarBuffer<f32>,
    /// n × `dim` codes, row-major.
    pub codes: ScalarBuffer<i8>,
    /// Level 0: one list per node.
    pub neighbours: Lists,
    /// Node i's lists above level 0 are `upper` lists `levels[i]..levels[i + 1]`, level 1 first.
    pub levels: ScalarBuffer<i32>,
    /// The lists above level 0.
    pub upper: Lists,
}

/// A whole graph, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphColumns {
    header: GraphHeader,
    columns: NodeColumns,
}

#[allow(clippy::len_without_is_empty, reason = "a graph has at least one node")]
impl GraphColumns {
    /// Checks everything that the invariant names. Linear in the graph's size.
    pub fn checked(header: GraphHeader, columns: NodeColumns) -> Result<GraphColumns, FormatError> {
        check_header(&header, columns.addresses.len())?;
        check_lengths(&header, &columns)?;
        check_lists("neighbours", &columns.neighbours)?;
        check_lists("upper", &columns.upper)?;
        check_addresses(&header, &columns)?;
        check_links(&header, &columns)?;
        Ok(GraphColumns { header, columns })
    }

    /// The header.
    pub fn header(&self) -> &GraphHeader {
        &self.header
    }

    /// The columns.
    pub fn columns(&self) -> &NodeColumns {
        &self.columns
    }

    /// How many nodes.
    pub fn len(&self) -> usize {
        self.columns.addresses.len()
    }
}

fn damaged<T>(message: impl Into<String>) -> Result<T, FormatError> {
    Err(FormatError::Damaged(format!("graph: {}", message.into())))
}

fn check_header(header: &GraphHeader, nodes: usize) -> Result<(), FormatError> {
    if header.dim == 0 || header.mean.len() != header.dim {
        return damaged(format!("dimension {} with a mean of {}", header.dim, header.mean.len()));
    }
    if !(header.scale.is_finite() && header.scale > 0.0 && header.mean.iter().all(|x| x.is_finite())) {
        return damaged("the quantiser is not finite and positive");
    }
    if header.lo > header.hi {
        return damaged(format!("version range {}..={} is empty", header.lo, header.hi));
    }
    if nodes == 0 || nodes > MAX_NODES || header.entry as usize >= nodes {
        return damaged(format!("entry point {} of {nodes} nodes", header.entry));
    }
    Ok(())
}

fn check_lengths(header: &GraphHeader, columns: &NodeColumns) -> Result<(), FormatError> {
    let nodes = columns.addresses.len();
    let codes = nodes.checked_mul(header.dim);
    let lengths = [
        ("address_order", columns.address_order.len(), Some(nodes)),
        ("bias", columns.biases.len(), Some(nodes)),
        ("code", columns.codes.len(), codes),
        ("neighbours", columns.neighbours.len(), Some(nodes)),
        ("upper", columns.levels.len(), nodes.checked_add(1)),
    ];
    for (column, found, expected) in lengths {
        if expected != Some(found) {
            return damaged(format!("column {column} has {found} entries for {nodes} nodes"));
        }
    }
    if !columns.biases.iter().all(|bias| bias.is_finite()) {
        return damaged("a bias is not finite");
    }
    check_offsets("upper", &columns.levels, columns.upper.len())
}

fn check_lists(column: &str, lists: &Lists) -> Result<(), FormatError> {
    check_offsets(column, &lists.offsets, lists.values.len())
}

/// Offsets start at 0, never fall and end at `end`.
fn check_offsets(column: &str, offsets: &[i32], end: usize) -> Result<(), FormatError> {
    let rising = offsets.is_sorted();
    let ends = offsets.first() == Some(&0) && offsets.last().is_some_and(|last| usize::try_from(*last) == Ok(end));
    if rising && ends { Ok(()) } else { damaged(format!("offsets of column {column} do not rise from 0 to {end}")) }
}

fn check_addresses(header: &GraphHeader, columns: &NodeColumns) -> Result<(), FormatError> {
    let mut previous = None;
    for node in columns.address_order.iter() {
        let Some(address) = columns.addresses.get(*node as usize).copied() else {
            return damaged(format!("address_order names node {node} of {}", columns.addresses.len()));
        };
        // Strictly rising over n entries: every node is named exactly once.
        if previous.is_some_and(|previous| previous >= address) {
            return damaged(format!("address_order does not rise at address {address}"));
        }
        let version = Address(address).version();
        if version < header.lo || version > header.hi {
            return damaged(format!("address {address} is outside versions {}..={}", header.lo, header.hi));
        }
        previous = Some(address);
    }
    Ok(())
}

fn check_links(header: &GraphHeader, columns: &NodeColumns) -> Result<(), FormatError> {
    let nodes = columns.addresses.len() as u32;
    // The largest id is all that matters: a loop without branches, over the longest column.
    if columns.neighbours.values.iter().fold(0, |most, node| most.max(*node)) >= nodes {
        return damaged(format!("a neighbour on level 0 is not one of {nodes} nodes"));
    }
    // `check_lengths` has checked that levels rise, so the differences are not negative.
    let height = |node: u32| match columns.levels.get(node as usize..node as usize + 2) {
        Some([start, end]) => (end - start) as usize,
        _ => 0,
    };
    let top = height(header.entry);
    if top > MAX_UPPER_LEVELS {
        return damaged(format!("the entry point has {top} upper levels, more than {MAX_UPPER_LEVELS}"));
    }
    for node in (0..nodes).filter(|node| height(*node) > 0) {
        if height(node) > top {
            return damaged(format!("node {node} is above the entry point"));
        }
        let first = columns.levels.get(node as usize).map_or(0, |start| *start as usize);
        for level in 1..=height(node) {
            let list = columns.upper.get(first + level - 1);
            if let Some(stranger) = list.iter().find(|other| **other >= nodes || height(**other) < level) {
                return damaged(format!("node {node} links to {stranger} on level {level}, where it is not"));
            }
        }
    }
    Ok(())
}
