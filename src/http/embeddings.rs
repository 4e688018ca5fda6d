//! The route of embeddings by a collection's embedder.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::App;
use super::answer::json;
use super::body::{Json, Name, Parameters};
use super::error::ApiError;
use super::wire::{EmbedBody, ReadParameters};

pub(super) async fn embed(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<ReadParameters>,
    Json(body): Json<EmbedBody>,
) -> Result<Response, ApiError> {
    let (scope, consistency) = parameters.split();
    let collection = app.store.with_scope(&scope).collection_to_read(&name, consistency).await?;
    let embeddings = collection.embed(body.texts.0, body.role).await?;
    json(StatusCode::OK, &json!({"embeddings": embeddings}))
}
