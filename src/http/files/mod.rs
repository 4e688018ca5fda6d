//! Files over HTTP: `/api/files` and the routes of worker storage. Invariants: no body is ever held whole, on its way
//! in or out; a truncated body never passes for a whole one.

mod body;
mod condition;
mod describe;
mod form;
mod kinds;
mod range;
mod read;
mod send;
mod worker;
mod write;

use axum::http::Method;
use axum::routing::{delete, get, post, put};

use super::HttpRoute;

pub use kinds::FileKinds;

/// Every route, once.
pub(super) fn routes() -> Vec<HttpRoute> {
    vec![
        (Method::GET, "/api/files", get(read::list)),
        (Method::PUT, "/api/files/{*name}", put(write::put)),
        (Method::GET, "/api/files/{*name}", get(read::get).head(read::head)),
        (Method::DELETE, "/api/files/{*name}", delete(write::remove)),
        (Method::POST, "/upload", post(worker::upload)),
        (Method::GET, "/download/{job_id}", get(worker::download).head(worker::head)),
        (Method::DELETE, "/delete/{job_id}", delete(worker::remove)),
        (Method::GET, "/list", get(worker::list)),
    ]
}

/// Whether a path belongs to worker storage, whose routes are outside `/api`.
pub(super) fn owns(path: &str) -> bool {
    matches!(path, "/upload" | "/list") || path.starts_with("/download/") || path.starts_with("/delete/")
}

/// Whether a request uploads a file: its time is not bounded as long as bytes keep coming.
pub(super) fn brings_a_file(method: &Method, path: &str) -> bool {
    (method == Method::PUT && path.starts_with("/api/files/")) || (method == Method::POST && path == "/upload")
}
