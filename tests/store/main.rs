//! The store through the library's API: what is kept over a restart, its catalog and graphs, what writes cost, limits of
//! memory, formats of earlier versions, its tools, and how well it ranks. Buckets here are without faults.

mod catalog;
mod cost;
mod durable_path;
mod format_compat;
mod graphs;
mod inverted;
mod judged;
mod memory_limit;
mod past;
mod restore;
mod sentences;
mod verify;
mod without_embeddings;
