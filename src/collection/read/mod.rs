//! Reads of one snapshot: which rows are selected, records in insertion order, and nearest neighbours.
//! Invariant: a read sees one version, and all of it.

pub(super) mod compared;
pub mod difference;
mod diversified;
mod examples;
mod facets;
mod fused;
pub(super) mod get;
mod groups;
pub(super) mod insertion_order;
mod leaf;
#[cfg(feature = "server")]
pub mod map;
pub(super) mod ranked;
mod search;
pub(super) mod select;
mod short;
mod text;
mod value_key;
