//! One collection in memory: the fold of its commits, the snapshots that readers see, the resolution of writes, and
//! the reads. That core is synchronous and touches no bucket. Around it stand the parts that do: [`handle`] waits for
//! the stream and the pools, [`graph_maintenance`] stores graphs, [`pin`] asks the store to load.
//! Invariant: the state is a fold of commits in order; a published snapshot never changes.

mod apply;
mod chunk;
mod chunk_merge;
pub mod get;
pub mod graph_maintenance;
mod graph_policy;
pub mod graphs;
pub mod handle;
mod id_table;
mod insertion_order;
#[cfg(test)]
mod invariants;
pub mod key_types;
mod overlay;
pub mod pin;
pub mod record_columns;
mod record_meta;
pub mod record_values;
pub mod request;
mod resolve;
pub mod scan;
mod search;
mod select;
pub mod snapshot;
pub mod state;
mod validate;
pub mod version_view;

#[cfg(test)]
mod graph_policy_tests;
#[cfg(test)]
mod graph_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod resolve_tests;
#[cfg(test)]
mod state_tests;
