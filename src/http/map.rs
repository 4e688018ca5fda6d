//! Routes of a collection's map, and of one record's neighbours.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::App;
use super::answer::json;
use super::arrow::ARROW;
use super::body::{Json, Name, Parameters};
use super::error::ApiError;
use super::middleware::WriteBegun;
use super::past::Readable;
use super::records::embedding_of;
use super::stream;
use super::wire::{ReadParameters, ScopeParameters, default_k};
use crate::collection::request::{Include, Query};
use crate::compute::off_thread;
use crate::error::Error;
use crate::interop::interchange::ipc_from_map;
use crate::memory::Purpose;

/// `POST …/neighbors`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NeighborsBody {
    id: String,
    #[serde(default = "default_k")]
    k: usize,
}

/// A neighbour of a record.
#[derive(Serialize)]
struct NeighborAnswer {
    id: String,
    distance: f32,
}

pub(super) async fn begin(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    Name(name): Name,
    Parameters(parameters): Parameters<ScopeParameters>,
) -> Result<Response, ApiError> {
    let collection = app.store.with_scope(&parameters.scope()).collection(&name).await?;
    let state = begun.run(async move { collection.begin_map().await }).await?;
    match state.running {
        Some(share) => json(StatusCode::ACCEPTED, &json!({"progress": share})),
        None => json(StatusCode::OK, &json!({"progress": 1.0})),
    }
}

pub(super) async fn fetch(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<ReadParameters>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (scope, consistency) = parameters.split();
    let collection = app.store.with_scope(&scope).collection_to_read(&name, consistency).await?;
    let state = collection.map_state().await?;
    let map = match (state.done, state.running, state.failed) {
        (Some(map), ..) => map,
        (None, Some(progress), _) => return json(StatusCode::ACCEPTED, &json!({"progress": progress})),
        (None, None, Some(error)) => return Err(error.into()),
        (None, None, None) => {
            let what = "there is no map of this collection yet; POST to the same path makes one";
            return Err(Error::not_found(what).into());
        }
    };
    let tag = format!("\"{}-{}\"", collection.id(), map.version);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let mut room = app.store.room(Purpose::Answer);
    let bytes: usize = map.records.ids.iter().map(|id| id.len() + 16).sum();
    room.grow(2 * bytes as u64).await?;
    let bytes = off_thread(move || ipc_from_map(&map)).await.map_err(Error::from)??;
    let headers = [(header::CONTENT_TYPE, ARROW.to_owned()), (header::ETAG, tag)];
    Ok((headers, stream::kept(bytes, room)).into_response())
}

pub(super) async fn neighbors(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<ReadParameters>,
    Json(body): Json<NeighborsBody>,
) -> Result<Response, ApiError> {
    let (scope, consistency) = parameters.split();
    let collection = app.store.with_scope(&scope).collection_to_read(&name, consistency).await?;
    let most = app.store.limits().k.saturating_sub(1);
    if !(1..=most).contains(&body.k) {
        return Err(Error::limit(format!("k: expected 1 to {most} (DRUMLIN_MAX_K), got {}", body.k)).into());
    }
    let embedding = embedding_of(&Readable::now(collection.clone()), &body.id).await?;
    let query = Query { include: Include::NONE, ..Query::new(embedding.0).k(body.k + 1) };
    let hits = collection.search(query).await?.into_iter().filter(|hit| hit.id != body.id).take(body.k);
    let neighbors: Vec<NeighborAnswer> =
        hits.map(|hit| NeighborAnswer { id: hit.id, distance: hit.distance }).collect();
    json(StatusCode::OK, &json!({"neighbors": neighbors}))
}
