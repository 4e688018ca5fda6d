//! Reads of one snapshot: which rows are selected, records in insertion order, and nearest neighbours.
//! Invariant: a read sees one version, and all of it.

pub(super) mod get;
pub(super) mod insertion_order;
mod search;
pub(super) mod select;
