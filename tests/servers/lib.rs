//! Small servers in this process after what the providers have published of their APIs, errors and limits
//! included: for tests of what cannot be reached from a build machine. One file for each.

pub mod azure_server;
pub mod dropbox_server;
pub mod gcs_server;
mod s3_front;
mod s3_objects;
mod s3_server;
pub mod tls;
pub mod web;

pub use s3_front::{Asked, Instead, Mischief};
pub use s3_server::*;
