//! Routes about the server as a whole: the first requests of Chroma's clients, and `reset`.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::App;
use super::super::answer::json;
use super::super::auth::{Bound, Requester};
use super::super::middleware::WriteBegun;
use super::body::At;
use super::error::ChromaError;
use crate::collection::request::Scope;

/// The version of Chroma's API that this server speaks, as Chroma's own server reports it.
const VERSION: &str = "1.0.0";
/// Estimated bytes of a batch's record in a body: 1,536 dimensions as base64.
const RECORD_BYTES: usize = 8 << 10;

pub(super) async fn heartbeat() -> Result<Response, ChromaError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    Ok(json(StatusCode::OK, &json!({"nanosecond heartbeat": nanoseconds}))?)
}

/// Ready once every collection is loaded.
pub(super) async fn healthcheck(State(app): State<App>) -> Result<Response, ChromaError> {
    let loaded = app.store.is_loaded();
    let status = if loaded { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json(status, &json!({"is_executor_ready": loaded, "is_log_client_ready": true}))?)
}

pub(super) async fn version() -> Result<Response, ChromaError> {
    Ok(json(StatusCode::OK, &VERSION)?)
}

/// The size by which clients split their batches: this server's limit, as far as a body has room for usual
/// embeddings.
pub(super) fn max_batch_size(app: &App) -> usize {
    app.store.limits().batch_records.min(app.settings.max_body_bytes / RECORD_BYTES).max(1)
}

pub(super) async fn pre_flight_checks(State(app): State<App>) -> Result<Response, ChromaError> {
    let most = max_batch_size(&app);
    Ok(json(StatusCode::OK, &json!({"max_batch_size": most, "supports_base64_encoding": true}))?)
}

/// The holder of the key and its place. A key that is bound to nothing gets the place where clients work by default.
pub(super) async fn identity(
    State(app): State<App>,
    Extension(identity): Extension<Requester>,
) -> Result<Response, ChromaError> {
    let (name, bound) = identity.key().unwrap_or_default();
    let (tenant, databases) = match bound {
        None => {
            let Scope { tenant, database } = Scope::default();
            (tenant, vec![database])
        }
        Some(Bound { tenant, database: Some(database) }) => (tenant.clone(), vec![database.clone()]),
        Some(Bound { tenant, database: None }) => {
            let databases = app.store.namespaces().databases(tenant).await?;
            (tenant.clone(), databases.into_iter().map(|database| database.name).collect())
        }
    };
    Ok(json(StatusCode::OK, &json!({"user_id": name, "tenant": tenant, "databases": databases}))?)
}

/// Drops everything, if the settings allow that.
pub(super) async fn reset(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
) -> Result<Response, ChromaError> {
    if !app.settings.allow_reset {
        return Err(ChromaError::forbidden("Reset is disabled by config"));
    }
    begun.run(async move { app.store.namespaces().reset().await }).await?;
    Ok(json(StatusCode::OK, &true)?)
}

/// A collection by its resource name, which only Chroma's cloud assigns.
pub(super) async fn by_resource_name(At(name): At<String>) -> ChromaError {
    let parts: Vec<&str> = name.split(':').collect();
    if parts.len() != 3 || parts.iter().any(|part| part.is_empty()) {
        return ChromaError::invalid(
            "Validation error: crn: CRN must be in the format \
             <tenant_resource_name>:<database_name>:<collection_name> with non-empty parts",
        );
    }
    let shown: String = name.chars().take(200).collect();
    ChromaError::not_found(format!(
        "Collection [{shown}] does not exist; it is found by tenant, database and name here"
    ))
}

/// The answer to the first version of the API where it is switched off: that of servers which no longer have it.
pub(in crate::http) async fn first_version(method: Method) -> Response {
    match method {
        Method::POST => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        _ => ChromaError::gone().into_response(),
    }
}
