//! Chroma's HTTP API, version 2: its own wire types, names of errors and defaults over the core calls of the native
//! routes. It has no write path, filter or store of metadata of its own. Requests become the core's requests, and
//! schema and configuration lie in a collection's `extension`. The collection's own stream records which kinds of
//! values its keys have held. `v1` translates the first version of the API onto this one.

mod answer;
mod body;
mod collections;
mod columns;
mod conditional;
mod configuration;
mod describe;
mod embeddings;
pub(super) mod error;
mod filters;
mod functions;
mod metadata;
mod names;
mod namespaces;
mod reads;
mod records;
pub(super) mod root;
mod schema;
mod search;
mod sparse;
mod v1;

use axum::http::Method;
use axum::routing::{delete, get, patch, post, put};

use super::HttpRoute;

pub use collections::chroma_collection;
#[cfg(all(feature = "embedding", feature = "mcp"))]
pub(super) use configuration::DEFAULT_MODEL;

/// Prefix of every route's path.
const PREFIX: &str = "/api/v2";
/// Prefix of the paths of Chroma's first version.
const FIRST_PREFIX: &str = "/api/v1";

/// Whether the path belongs to Chroma's API, so that all failures are answered in its form.
pub(super) fn owns(path: &str) -> bool {
    lies_below(PREFIX, path) || is_first_version(path)
}

/// Whether the path belongs to the first version of Chroma's API.
pub(super) fn is_first_version(path: &str) -> bool {
    lies_below(FIRST_PREFIX, path)
}

fn lies_below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The reason, as a sentence, why Chroma's API cannot reach a collection of this name.
pub(super) fn out_of_reach(name: &str) -> Option<String> {
    let rule = names::check_name(name).err()?;
    Some(format!("Chroma's API and its clients cannot reach a collection of this name: {rule}"))
}

/// Every route, once.
pub(super) fn routes() -> Vec<HttpRoute> {
    [server_routes(), collection_routes(), record_routes(), transaction_routes(), function_routes(), v1::routes()]
        .into_iter()
        .flatten()
        .collect()
}

/// Routes of the server, tenants and databases.
fn server_routes() -> Vec<HttpRoute> {
    vec![
        (Method::GET, "/api/v2", get(root::heartbeat)),
        (Method::GET, "/api/v2/heartbeat", get(root::heartbeat)),
        (Method::GET, "/api/v2/healthcheck", get(root::healthcheck)),
        (Method::GET, "/api/v2/version", get(root::version)),
        (Method::GET, "/api/v2/pre-flight-checks", get(root::pre_flight_checks)),
        (Method::GET, "/api/v2/auth/identity", get(root::identity)),
        (Method::POST, "/api/v2/reset", post(root::reset)),
        (Method::GET, "/api/v2/collections/{name}", get(root::by_resource_name)),
        (Method::POST, "/api/v2/tenants", post(namespaces::create_tenant)),
        (Method::GET, "/api/v2/tenants/{tenant}", get(namespaces::tenant)),
        (Method::PATCH, "/api/v2/tenants/{tenant}", patch(namespaces::update_tenant)),
        (Method::POST, "/api/v2/tenants/{tenant}/databases", post(namespaces::create_database)),
        (Method::GET, "/api/v2/tenants/{tenant}/databases", get(namespaces::databases)),
        (Method::GET, "/api/v2/tenants/{tenant}/databases/{database}", get(namespaces::database)),
        (Method::DELETE, "/api/v2/tenants/{tenant}/databases/{database}", delete(namespaces::drop_database)),
    ]
}

/// Routes of collections.
fn collection_routes() -> Vec<HttpRoute> {
    vec![
        (Method::POST, "/api/v2/tenants/{tenant}/databases/{database}/collections", post(collections::create)),
        (Method::GET, "/api/v2/tenants/{tenant}/databases/{database}/collections", get(collections::list)),
        (Method::GET, "/api/v2/tenants/{tenant}/databases/{database}/collections_count", get(collections::count)),
        (
            Method::GET,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/by-id/{collection}",
            get(collections::by_id),
        ),
        (
            Method::GET,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}",
            get(collections::by_name),
        ),
        (
            Method::PUT,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}",
            put(collections::modify),
        ),
        (
            Method::DELETE,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}",
            delete(collections::remove),
        ),
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/fork",
            post(collections::fork),
        ),
        (
            Method::GET,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/fork_count",
            get(collections::fork_count),
        ),
        (
            Method::GET,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/indexing_status",
            get(collections::indexing_status),
        ),
    ]
}

/// Routes of records.
fn record_routes() -> Vec<HttpRoute> {
    vec![
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/add",
            post(records::add),
        ),
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/upsert",
            post(records::upsert),
        ),
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/update",
            post(records::update),
        ),
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/delete",
            post(records::remove),
        ),
        (Method::POST, "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/get", post(reads::get)),
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/query",
            post(reads::query),
        ),
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/search",
            post(search::search),
        ),
        (
            Method::GET,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/count",
            get(reads::count),
        ),
    ]
}

/// Routes of transactions.
fn transaction_routes() -> Vec<HttpRoute> {
    vec![
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/conditional/get",
            post(conditional::get),
        ),
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/conditional/commit",
            post(conditional::commit),
        ),
    ]
}

/// Routes of functions, none of which work here.
fn function_routes() -> Vec<HttpRoute> {
    vec![
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/functions/attach",
            post(functions::change),
        ),
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/attached_functions/{function}/add_input",
            post(functions::change),
        ),
        (
            Method::POST,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/attached_functions/{function}/detach",
            post(functions::change),
        ),
        (
            Method::GET,
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}/functions/{function}",
            get(functions::describe),
        ),
    ]
}
