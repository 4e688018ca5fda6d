//! The records of a collection: the fold of its commits, and the snapshots of it that readers see. All of it is pure:
//! a change is computed from a snapshot and a commit, and nothing waits.
//! Invariant: the state is a fold of commits in order; a published snapshot never changes.

pub(super) mod apply;
pub(super) mod chunk;
pub(super) mod chunk_merge;
mod fold;
pub mod graphs;
mod id_table;
#[cfg(test)]
mod invariants;
pub(super) mod inverted;
pub mod recent_deletions;
pub mod selections;
pub mod snapshot;

pub use crate::format::key_types::{KeyType, KeyTypes};

#[cfg(test)]
mod fold_tests;
