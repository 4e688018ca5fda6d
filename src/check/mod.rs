//! Checking a bucket from outside, without opening a store: whether every object is valid, and which objects there
//! are. It reads objects as `docs/format.md` describes them and folds them with its own code, so that it can judge
//! what the store reads. Invariant: nothing here writes.

// Bytes from outside are never indexed unchecked.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

#[cfg(feature = "server")]
pub mod beside;
mod commits;
mod file_check;
mod fold;
pub mod garbage;
mod host;
pub mod inspect;
mod inventory;
pub mod kinds;
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub mod levels;
mod names;
mod objects;
pub mod report;
mod root;
pub mod stored;
mod stream_check;
mod verify;

#[cfg(feature = "server")]
pub use host::CheckHost;
pub use names::CollectionSelector;
pub use verify::verify;
#[cfg(feature = "server")]
pub use verify::verify_in;
