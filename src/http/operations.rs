//! Routes for operators: sync and status, health and readiness, metrics.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::answer::json;
use super::auth::Requester;
use super::body::{Parameters, Payload};
use super::error::ApiError;
use super::wire::{EmptyBody, NoParameters};
use crate::environment::words_with_variables;
use crate::store::report::{Health, SyncReport};

pub(super) async fn sync(
    State(app): State<App>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    payload: Payload,
) -> Result<Response, ApiError> {
    if !payload.bytes.is_empty() {
        let EmptyBody {} = payload.json(&app).await?;
    }
    // A flush that was begun is finished whether or not the client waits for the report.
    let store = app.store.clone();
    let report = tokio::spawn(async move { store.sync().await }).await;
    let report = report.map_err(|e| crate::Error::internal("the sync's task ended early").with_source(e))??;
    json(StatusCode::OK, &with_variables_in(report))
}

pub(super) async fn status(
    State(app): State<App>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Response, ApiError> {
    json(StatusCode::OK, &with_variables_in(app.store.admin().status()))
}

/// The report, with the variables of a server in its errors.
fn with_variables_in(mut report: SyncReport) -> SyncReport {
    for collection in &mut report.collections {
        collection.error = collection.error.as_deref().map(words_with_variables);
    }
    report
}

/// Always 200 while the process can answer; the body says what is wrong.
pub(super) async fn health(
    State(app): State<App>,
    Extension(identity): Extension<Requester>,
) -> Result<Response, ApiError> {
    app.store.admin().check_bucket().await;
    let health = app.store.admin().health();
    json(StatusCode::OK, &if identity.sees_everything() { health } else { without_names(health) })
}

/// The health for any requester: how the server is doing, without what it holds or where.
pub(super) fn without_names(mut health: Health) -> Health {
    const HIDDEN: &str = "(shown with a key)";
    let hidden = || HIDDEN.to_owned();
    let place = &mut health.storage.place;
    (place.location, place.endpoint, place.bucket) = (hidden(), hidden(), hidden());
    health.storage.last_error = health.storage.last_error.map(|_| hidden());
    health.waiting_for = health.waiting_for.map(|_| "the bucket".to_owned());
    for behind in &mut health.graphs {
        behind.collection = hidden();
    }
    for damage in &mut health.damaged {
        (damage.collection, damage.key, damage.cause) = (hidden(), hidden(), hidden());
    }
    health
}

/// 200 once every collection is loaded, 503 before.
pub(super) async fn ready(State(app): State<App>) -> Result<Response, ApiError> {
    let health = app.store.admin().health();
    let loaded = app.store.is_loaded();
    let status = if loaded { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &serde_json::json!({"ready": loaded, "loading": health.loading}))
}

pub(super) async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let text = app.metrics.text(&app.store)?;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
