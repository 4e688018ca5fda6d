//! Records in the forms of other programs: matrices and Arrow batches in memory, Arrow IPC and Parquet in requests
//! and answers, Parquet and JSON Lines in files. This code owns no state, and uses only the public interface of a
//! collection. The choice of columns and the conversion of rows to records, for all these forms, are in
//! `record_columns.rs` and `record_values.rs`.

mod columnar;
pub mod interchange;
pub mod record_columns;
mod record_meta;
mod record_values;
pub mod transfer;

pub use columnar::{batch_from_hits, records_from_batch, records_from_batch_with};
