//! One collection in memory: a core that computes, and a shell around it that waits.
//!
//! The core is synchronous; it knows no bucket and no runtime:
//! - [`request`]: the types of requests and answers, and the bounds of requests.
//! - [`estimate`]: the bytes that records, graphs and collections will take in memory.
//! - [`state`]: commits folded into snapshots.
//! - [`read`]: selection, get and search on one snapshot.
//! - [`write`]: requests resolved against one snapshot.
//!
//! The shell joins the core to the rest:
//! - [`stream_state`]: to the stream that commits come from.
//! - [`handle`]: to callers, the compute pools and the bucket.
//! - [`graph_maintenance`] and [`inverted_maintenance`]: to stored indexes.
//! - `map`: to threads that lay it out in two dimensions.
//! - [`pin`]: to the store, which loads and evicts.
//! - [`answers`], [`scan`], [`version_view`]: to callers who take records piece by piece, or read one version often.
//! - [`differences`]: to callers who compare two versions.
//!
//! Invariant: the state is a fold of commits in order; a published snapshot never changes.

pub mod answers;
pub mod differences;
pub mod estimate;
pub mod graph_maintenance;
mod graph_policy;
pub mod handle;
pub mod inverted_maintenance;
#[cfg(feature = "server")]
pub mod map;
pub mod pin;
pub mod read;
pub mod request;
pub mod scan;
pub mod state;
#[cfg(feature = "server")]
mod stored_map;
pub mod stream_state;
pub mod version_view;
pub mod write;

#[cfg(test)]
pub mod estimate_tests;
#[cfg(test)]
mod graph_policy_tests;
#[cfg(test)]
mod graph_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod ranked_tests;
#[cfg(test)]
mod replay;
