//! Routes of re-embedding a collection: begin it, watch it, stop it.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::App;
use super::answer::json;
use super::body::{Json, Name, Parameters};
use super::error::ApiError;
use super::middleware::WriteBegun;
use super::wire::{ReadParameters, ReembedBody, ScopeParameters};
use crate::store::reembed::Reembed;

pub(super) async fn begin(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    Name(name): Name,
    Parameters(parameters): Parameters<ScopeParameters>,
    Json(body): Json<ReembedBody>,
) -> Result<Response, ApiError> {
    let wanted = Reembed { embedder: body.embedder, metric: body.metric };
    let store = app.store.with_scope(&parameters.scope());
    let started = begun.run(async move {
        let id = store.collection(&name).await?.id();
        store.reembed_collection(id, wanted).await
    });
    json(StatusCode::ACCEPTED, &started.await?.status())
}

pub(super) async fn status(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<ReadParameters>,
) -> Result<Response, ApiError> {
    let (scope, consistency) = parameters.split();
    let store = app.store.with_scope(&scope);
    let id = store.collection_to_read(&name, consistency).await?.id();
    json(StatusCode::OK, &store.reembedding(id).await?)
}

pub(super) async fn stop(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    Name(name): Name,
    Parameters(parameters): Parameters<ScopeParameters>,
) -> Result<Response, ApiError> {
    let store = app.store.with_scope(&parameters.scope());
    let answer = json!({"stopped": name});
    let stopped = begun.run(async move {
        let id = store.collection(&name).await?.id();
        store.stop_reembedding(id).await
    });
    stopped.await?;
    json(StatusCode::OK, &answer)
}
