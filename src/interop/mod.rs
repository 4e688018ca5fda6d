//! Records as other programs hold them: matrices and Arrow batches in memory, Arrow IPC and Parquet in requests and
//! answers, Parquet and JSON Lines in files. It owns no state, and only uses what a collection offers to everybody;
//! which column is what and how rows become records, for all of these, is in `collection/record_columns.rs` and
//! `collection/record_values.rs`.

mod columnar;
pub mod interchange;
pub mod transfer;

pub use columnar::{batch_from_hits, records_from_batch};
