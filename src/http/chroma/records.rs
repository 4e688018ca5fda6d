//! Routes that change the records of a collection: add, upsert, update, delete.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::super::App;
use super::super::answer::json;
use super::super::body::bodies;
use super::super::bounded::{Ids, List, Tree};
use super::super::middleware::WriteBegun;
use super::body::{At, ChromaJson, InCollection};
use super::collections::{find, no_id};
use super::columns::{AddBody, ChromaUpdateBody, RecordColumns, UpsertBody};
use super::error::ChromaError;
use super::filters::filter;
use crate::collection::handle::Collection;
use crate::collection::request::{Selection, Write, WriteOutcome};
use crate::error::ErrorKind;

/// The extractors that every write needs beside its body.
pub(super) type ChromaWriteTo = (State<App>, Extension<WriteBegun>, At<InCollection>);

pub(super) async fn add(to: ChromaWriteTo, ChromaJson(body): ChromaJson<AddBody>) -> Result<Response, ChromaError> {
    write_columns(to, body.into(), |columns| Write::Add(columns.into_records())).await?;
    Ok(json(StatusCode::CREATED, &json!({}))?)
}

pub(super) async fn upsert(
    to: ChromaWriteTo,
    ChromaJson(body): ChromaJson<UpsertBody>,
) -> Result<Response, ChromaError> {
    write_columns(to, body.into(), |columns| Write::Merge(columns.into_updates())).await?;
    Ok(json(StatusCode::OK, &json!({}))?)
}

pub(super) async fn update(
    to: ChromaWriteTo,
    ChromaJson(body): ChromaJson<ChromaUpdateBody>,
) -> Result<Response, ChromaError> {
    write_columns(to, body.into(), |columns| Write::Update(columns.into_updates())).await?;
    Ok(json(StatusCode::OK, &json!({}))?)
}

/// Writes columns to the collection.
pub(super) async fn write_columns(
    to: ChromaWriteTo,
    columns: RecordColumns,
    make: impl FnOnce(RecordColumns) -> Write,
) -> Result<WriteOutcome, ChromaError> {
    let (State(app), Extension(begun), At(place)) = to;
    let collection = find(&app.store, &place).await?;
    columns.check(collection.dimension())?;
    let dimension = columns.dimension();
    match write(&begun, &collection, make(columns)).await {
        // Another write may have fixed the dimension after this one looked at it.
        Err(error) => match (collection.dimension(), dimension) {
            (Some(expected), Some(got)) if expected != got => Err(ChromaError::dimension(expected, got)),
            _ => Err(error),
        },
        done => done,
    }
}

async fn write(begun: &WriteBegun, collection: &Collection, write: Write) -> Result<WriteOutcome, ChromaError> {
    let writing = collection.clone();
    let done = begun.run(async move { writing.write(write).await }).await;
    done.map_err(|e| match e.kind() {
        ErrorKind::NotFound => no_id(e, collection.identity().id),
        _ => e.into(),
    })
}

/// `POST …/delete`.
#[derive(Deserialize)]
#[serde(expecting = "struct DeleteCollectionRecordsPayload")]
pub(super) struct ChromaDeleteBody {
    pub(super) ids: Option<List<String, Ids>>,
    pub(super) r#where: Option<Tree>,
    pub(super) where_document: Option<Tree>,
    pub(super) limit: Option<u32>,
}

bodies! { Query: ChromaDeleteBody; }

pub(super) async fn remove(
    to: ChromaWriteTo,
    ChromaJson(body): ChromaJson<ChromaDeleteBody>,
) -> Result<Response, ChromaError> {
    let (State(app), Extension(begun), At(place)) = to;
    let collection = find(&app.store, &place).await?;
    let ChromaDeleteBody { ids, r#where, where_document, limit } = body;
    let filter = filter(&collection, r#where.as_deref(), where_document.as_deref())?;
    if limit.is_some() && filter.is_none() {
        let fault = "limit, where: limit can only be specified when a where clause is provided";
        return Err(ChromaError::validation(&[fault.to_owned()]));
    }
    let ids = ids.map(|ids| ids.0);
    let (named, filtered) = (ids.as_ref().map(Vec::len), filter.is_some());
    let deleted = match (named, filtered) {
        (None, false) => 0,
        (Some(0), false) => {
            let fault = "ids, where: Either ids or where must be specified";
            return Err(ChromaError::validation(&[fault.to_owned()]));
        }
        _ => {
            let ids = ids.map(|ids| ids.into_iter().filter(|id| !id.is_empty()).collect());
            let selection = Selection { ids, filter, limit: limit.map(|limit| limit as usize) };
            let applied = write(&begun, &collection, Write::Delete(selection)).await?.applied;
            // A delete by ids alone counts the ids that were named, even those without a record.
            if filtered { applied } else { named.unwrap_or_default() }
        }
    };
    Ok(json(StatusCode::OK, &json!({"deleted": deleted}))?)
}
