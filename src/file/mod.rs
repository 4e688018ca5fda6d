//! Files of a database. Their records are a collection whose records have no embeddings; their bytes are immutable
//! parts beside it.
//! Invariants (docs/protocol.md#files): the parts of a content are in the bucket before the one commit that names it.
//! A content that a sweep has seen unnamed is never named again, since that commit would have to come before the
//! sweep's own. Memory holds no more bytes of files than the budget allows.

mod budget;
mod download;
mod file_store;
mod name;
mod request;
mod sweep;
mod upload;

pub use budget::FileCounts;
pub use download::Download;
pub use file_store::{FileShare, FileStore, no_file};
#[cfg(feature = "server")]
pub use file_store::{PendingDelete, Received};
pub use name::check_file_name;
pub use request::{FileCondition, FileInfo, FilePage, ListFiles, PutFile, PutOutcome};

pub use crate::format::file_record::FILES;
