//! Routes of collections as a whole: create, list, describe, drop.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::App;
use super::answer::{CollectionBody, json};
use super::body::{Json, Name, Parameters, check_name};
use super::chroma;
use super::error::ApiError;
use super::middleware::WriteBegun;
use super::wire::{CreateBody, ReadParameters, ScopeParameters};
use crate::collection::request::CollectionSpec;

/// The answer to a create.
#[derive(Serialize)]
struct CreatedBody {
    #[serde(flatten)]
    collection: CollectionBody,
    /// What the creator of the collection should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

pub(super) async fn create(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    Parameters(parameters): Parameters<ScopeParameters>,
    Json(body): Json<CreateBody>,
) -> Result<Response, ApiError> {
    check_name(&body.name)?;
    let notes = chroma::out_of_reach(&body.name).into_iter().collect();
    let spec = CollectionSpec {
        name: body.name,
        metric: body.metric,
        dimension: body.dimension,
        metadata: body.metadata.map(|m| m.0),
        index: body.index.0.into(),
        text: body.text.0,
        embedder: body.embedder,
        splitting: body.chunk,
        ..CollectionSpec::default()
    };
    let scope = parameters.scope();
    let created = begun.run(async move { app.store.with_scope(&scope).create_collection(spec).await }).await?;
    json(StatusCode::CREATED, &CreatedBody { collection: created.info().into(), notes })
}

pub(super) async fn list(
    State(app): State<App>,
    Parameters(parameters): Parameters<ReadParameters>,
) -> Result<Response, ApiError> {
    let (scope, consistency) = parameters.split();
    let collections = app.store.with_scope(&scope).collections(consistency).await?;
    json(StatusCode::OK, &collections.into_iter().map(CollectionBody::from).collect::<Vec<_>>())
}

pub(super) async fn describe(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<ReadParameters>,
) -> Result<Response, ApiError> {
    let (scope, consistency) = parameters.split();
    let collection = app.store.with_scope(&scope).collection_to_read(&name, consistency).await?;
    json(StatusCode::OK, &CollectionBody::from(collection.info()))
}

pub(super) async fn remove(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    Name(name): Name,
    Parameters(parameters): Parameters<ScopeParameters>,
) -> Result<Response, ApiError> {
    let scope = parameters.scope();
    let answer = json!({"dropped": name});
    begun.run(async move { app.store.with_scope(&scope).drop_collection(&name).await }).await?;
    json(StatusCode::OK, &answer)
}
