//! The resolution of writes: the rows that a batch of requests comes to, computed against one snapshot.
//! Invariant: nothing is changed here; the commit that carries the rows changes the state.

pub mod change;
mod documents;
mod overlay;
pub(super) mod resolve;
mod transaction;

#[cfg(test)]
mod documents_tests;
#[cfg(test)]
mod resolve_tests;
#[cfg(test)]
mod transaction_tests;
