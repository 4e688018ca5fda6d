//! The first version of Chroma's HTTP API, as version 0.5.23 of its server speaks it: a translation onto the handlers
//! of the second. Its paths name no database: tenant and database are in the query string, or they are the default
//! ones, and records are reached by the id of their collection alone.
//! Invariant: nothing here reads or writes a record, a filter or a default; a request becomes one of the second
//! version's, in a place that the requester may see, and only answers and errors take their older form.

mod collections;
mod describe;
mod error;
mod extract;
mod place;
mod records;
mod server;

use axum::http::Method;
use axum::routing::{delete, get, post, put};

use super::super::HttpRoute;
use super::root;

/// Every route of the first version, once.
pub(super) fn routes() -> Vec<HttpRoute> {
    vec![
        (Method::GET, "/api/v1", get(root::heartbeat)),
        (Method::GET, "/api/v1/heartbeat", get(root::heartbeat)),
        (Method::GET, "/api/v1/version", get(server::version)),
        (Method::GET, "/api/v1/pre-flight-checks", get(server::pre_flight_checks)),
        (Method::POST, "/api/v1/reset", post(server::reset)),
        (Method::POST, "/api/v1/tenants", post(server::create_tenant)),
        (Method::GET, "/api/v1/tenants/{tenant}", get(server::tenant)),
        (Method::POST, "/api/v1/databases", post(server::create_database)),
        (Method::GET, "/api/v1/databases/{database}", get(server::database)),
        (Method::POST, "/api/v1/collections", post(collections::create)),
        (Method::GET, "/api/v1/collections", get(collections::list)),
        (Method::GET, "/api/v1/count_collections", get(collections::count)),
        (Method::GET, "/api/v1/collections/{collection}", get(collections::by_name)),
        (Method::PUT, "/api/v1/collections/{collection}", put(collections::modify)),
        (Method::DELETE, "/api/v1/collections/{collection}", delete(collections::remove)),
        (Method::POST, "/api/v1/collections/{collection}/add", post(records::add)),
        (Method::POST, "/api/v1/collections/{collection}/upsert", post(records::upsert)),
        (Method::POST, "/api/v1/collections/{collection}/update", post(records::update)),
        (Method::POST, "/api/v1/collections/{collection}/delete", post(records::remove)),
        (Method::POST, "/api/v1/collections/{collection}/get", post(records::get)),
        (Method::POST, "/api/v1/collections/{collection}/query", post(records::query)),
        (Method::GET, "/api/v1/collections/{collection}/count", get(records::count)),
    ]
}
