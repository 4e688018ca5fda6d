//! One collection in memory: a core that computes, and a shell around it that waits.
//!
//! The core is synchronous; it knows no bucket and no runtime. [`request`] has the words of requests and answers, and
//! their bounds, and [`estimate`] what all of it will take in memory. [`state`] folds commits into snapshots. [`read`] selects, gets and searches on one snapshot, and
//! [`write`] resolves requests against one. The shell joins the core to the rest: [`stream_state`] to the stream,
//! [`handle`] to callers, the compute pools and the bucket, [`graph_maintenance`] to stored graphs, [`pin`] to the store,
//! which loads and evicts. [`answers`] keep a version in memory while a caller takes its records.
//! Invariant: the state is a fold of commits in order; a published snapshot never changes.

pub mod answers;
pub mod estimate;
pub mod graph_maintenance;
mod graph_policy;
pub mod handle;
pub mod pin;
pub mod read;
pub mod request;
pub mod scan;
pub mod state;
pub mod stream_state;
pub mod version_view;
pub mod write;

#[cfg(test)]
mod estimate_tests;
#[cfg(test)]
mod graph_policy_tests;
#[cfg(test)]
mod graph_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod replay;
