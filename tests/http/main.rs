//! The native API over real HTTP on a store in memory. One program for all of it, since linking takes longer than most
//! of these tests.

mod activity;
mod agents;
mod bad_requests;
mod beside;
mod history;
mod hostile;
mod map;
mod names;
mod native;
mod page;
mod parquet;
mod reembed;
mod texts;
mod words;
