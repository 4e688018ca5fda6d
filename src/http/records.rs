//! Routes of the records of one collection: add, upsert, update, delete, get, search, count.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::App;
use super::answer::{self, json};
use super::arrow::{self, ARROW, PARQUET, SearchParameters, TableGet};
use super::body::{Json, Name, Parameters, Payload, QueryPayload, decode_off_thread, unsupported};
use super::error::{ApiError, too_many_records};
use super::middleware::WriteBegun;
use super::past::{PastParameters, Readable};
use super::ranked;
use super::stream;
use super::wire::{
    Component, CountBody, DeleteBody, Embedding, GetBody, RecordsBody, ScopeParameters, SearchBody, UpdatesBody,
    filter, include,
};
use crate::collection::answers::Matches;
use crate::collection::handle::Collection;
use crate::collection::request::{Consistency, Get, Include, Query, Scope, Selection, Write, WriteOutcome};
use crate::compute::off_thread;
use crate::config::Limits;
use crate::error::Error;
use crate::interop::interchange::ipc_from_answer;
use crate::memory::Purpose;
use crate::record::Record;
use crate::store::room::Room;

/// The extractors that every write needs beside its body.
type WriteTo = (State<App>, Extension<WriteBegun>, Name, Parameters<ScopeParameters>);

pub(super) async fn add(to: WriteTo, payload: Payload) -> Result<Response, ApiError> {
    let records = records(&to.0, payload).await?;
    let done = write(to, Write::Add(records)).await?;
    json(StatusCode::CREATED, &outcome("added", done))
}

pub(super) async fn upsert(to: WriteTo, payload: Payload) -> Result<Response, ApiError> {
    let records = records(&to.0, payload).await?;
    let done = write(to, Write::Upsert(records)).await?;
    json(StatusCode::OK, &outcome("upserted", done))
}

pub(super) async fn update(to: WriteTo, Json(body): Json<UpdatesBody>) -> Result<Response, ApiError> {
    let updates = body.records.0.into_iter().map(|update| update.0.into()).collect();
    let done = write(to, Write::Update(updates)).await?;
    json(StatusCode::OK, &outcome("updated", done))
}

pub(super) async fn remove(to: WriteTo, Json(body): Json<DeleteBody>) -> Result<Response, ApiError> {
    let filter = filter(body.r#where.as_ref(), body.where_document.as_ref())?;
    if body.ids.is_none() && filter.is_none() {
        return Err(ApiError::invalid(
            "ids: expected ids, where or where_document, got none of them; to delete everything drop the collection",
        ));
    }
    let done =
        write(to, Write::Delete(Selection { ids: body.ids.map(|ids| ids.0), filter, limit: body.limit })).await?;
    json(StatusCode::OK, &outcome("deleted", done))
}

/// The records of a body: JSON, an Arrow IPC stream or a Parquet file.
async fn records(app: &App, payload: Payload) -> Result<Vec<Record>, ApiError> {
    let intake = arrow::intake(app);
    match payload.media_type.as_str() {
        "application/json" => {
            let body: RecordsBody = payload.json(app).await?;
            Ok(body.records.0.into_iter().map(|record| record.0.into()).collect())
        }
        ARROW => Ok(decode_off_thread(payload.bytes, move |bytes| intake.records_from_ipc(bytes)).await?),
        PARQUET => Ok(decode_off_thread(payload.bytes, move |bytes| intake.records_from_parquet(bytes)).await?),
        other => Err(unsupported(other, &format!("application/json, {ARROW} or {PARQUET}"))),
    }
}

async fn write(to: WriteTo, write: Write) -> Result<WriteOutcome, ApiError> {
    let (State(app), Extension(begun), Name(name), Parameters(parameters)) = to;
    let scope: Scope = parameters.scope();
    // Opening may have to wait while the collection loads; nothing has been written by then.
    let collection = app.store.with_scope(&scope).collection(&name).await?;
    // Until here nothing was written: who stops waiting stops the embedding.
    let change = collection.completed(write).await?;
    let store = app.store;
    Ok(begun.run(async move { store.with_scope(&scope).write_by_name(&name, &collection, change).await }).await?)
}

fn outcome(verb: &str, done: WriteOutcome) -> Value {
    json!({verb: done.applied, "skipped": done.skipped, "version": done.version})
}

pub(super) async fn fetch(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<PastParameters>,
    headers: HeaderMap,
    Json(body): Json<GetBody>,
) -> Result<Response, ApiError> {
    let (scope, as_of) = parameters.split()?;
    let include = include(body.include);
    let get = Get {
        filter: filter(body.r#where.as_ref(), body.where_document.as_ref())?,
        ids: body.ids.map(|ids| ids.0),
        limit: body.limit,
        offset: body.offset,
        include,
        ..Get::default()
    };
    let readable = Readable::open(&app, &scope, &name, as_of).await?;
    let keys = body.metadata_keys.map(|keys| keys.into_iter().collect());
    let reading = answer::ChosenReading::new(readable.read(get).await?, keys);
    let (mut room, dimension) = (app.store.room(Purpose::Answer), readable.dimension().unwrap_or(0));
    if arrow::is_wanted(&headers) {
        return Ok(stream::respond(TableGet::arrow(reading, include, dimension)?, room).await?);
    }
    if arrow::is_parquet_wanted(&headers) {
        let table = TableGet::parquet(reading, include, dimension, &mut room).await?;
        return Ok(stream::respond(table, room).await?);
    }
    Ok(stream::respond(answer::GetAnswerBody::from(reading), room).await?)
}

pub(super) async fn search(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<SearchParameters>,
    headers: HeaderMap,
    QueryPayload(payload): QueryPayload,
) -> Result<Response, ApiError> {
    let (scope, as_of) = parameters.split()?;
    let mut body = parameters.body(&app, payload).await?;
    let readable = Readable::open(&app, &scope, &name, as_of).await?;
    let collection = &readable.collection;
    name_document(collection, &mut body);
    let like = named_record(&mut body, app.store.limits())?;
    if let Some((id, _)) = &like {
        body.embedding = Some(embedding_of(&readable, id).await?);
    }
    if body.ranks() || (ranks(collection, &body) && !arrow::is_wanted(&headers)) {
        if arrow::is_wanted(&headers) {
            return Err(ApiError::invalid(
                "expected no answer in Arrow beside text, sparse, groups, facets and the like, got one",
            ));
        }
        return ranked::search(&app, &readable, body).await;
    }
    let query = query(body, app.settings.max_answer_records)?;
    let room = room_for_rows(&app, query.embeddings.len().saturating_mul(query.k)).await?;
    let mut found = readable.find(query).await?;
    if let Some((id, k)) = like {
        found = found.without(&id, k);
    }
    if arrow::is_wanted(&headers) {
        return Ok(arrow_answer(&app, found).await?);
    }
    Ok(stream::respond(answer::SearchAnswerBody::from(found), room).await?)
}

/// Whether the search is more than one of embeddings among records.
pub(super) fn ranks(collection: &Collection, body: &SearchBody) -> bool {
    body.ranks() || (collection.identity().splitting.is_some() && body.embeddings.is_none())
}

/// Where documents are split, what is like a document is like all of its parts.
pub(super) fn name_document(collection: &Collection, body: &mut SearchBody) {
    if collection.identity().splitting.is_some() && body.like.is_none() && body.embedding.is_none() {
        body.like = body.id.take().map(|id| vec![id].into());
    }
}

/// Bytes of a found row before it is answered.
const ROW_BYTES: usize = 32;
/// Rows up to this number are not counted.
const FREE_ROWS: usize = 512;

/// Memory for the rows of an answer.
pub(super) async fn room_for_rows(app: &App, rows: usize) -> Result<Room, Error> {
    let mut room = app.store.room(Purpose::Answer);
    if rows > FREE_ROWS {
        room.grow((rows.saturating_mul(ROW_BYTES) as u64).min(room.share())).await?;
    }
    Ok(room)
}

/// The answer as an Arrow IPC stream. It is made whole before it is sent.
async fn arrow_answer(app: &App, found: Matches) -> Result<Response, Error> {
    let weights = found
        .counts()
        .enumerate()
        .map(|(query, count)| (0..count).map(|place| found.weight(query, place)).sum::<usize>());
    let mut room = app.store.room(Purpose::Read);
    room.grow(weights.sum::<usize>() as u64).await?;
    let bytes = off_thread(move || ipc_from_answer(&found.answer()?)).await??;
    Ok(([(header::CONTENT_TYPE, ARROW)], stream::kept(bytes, room)).into_response())
}

/// The record that a search names instead of an embedding, and how many others are wanted. The search also finds the
/// record itself, and leaves it out.
pub(super) fn named_record(body: &mut SearchBody, limits: &Limits) -> Result<Option<(String, usize)>, ApiError> {
    let Some(id) = body.id.take() else { return Ok(None) };
    if body.embedding.is_some() || body.embeddings.is_some() {
        return Err(ApiError::invalid("expected one of id, embedding and embeddings, got more than one"));
    }
    if body.ranks() {
        return Err(ApiError::invalid(
            "expected no id beside text, sparse, groups, facets and the like, got one; like searches by a record",
        ));
    }
    let (k, most) = (body.k, limits.k.saturating_sub(1));
    if k > most {
        return Err(Error::limit(format!("k: expected at most {most} beside id (DRUMLIN_MAX_K), got {k}")).into());
    }
    body.k += usize::from(k > 0);
    Ok(Some((id, k)))
}

pub(super) async fn embedding_of(readable: &Readable, id: &str) -> Result<Embedding, ApiError> {
    let include = Include { embedding: true, ..Include::NONE };
    let get = Get { ids: Some(vec![id.to_owned()]), include, ..Get::default() };
    let found = readable.read(get).await?.record(0)?.and_then(|record| record.embedding);
    let missing = || Error::not_found(format!("id: there is no record {id:?} in the collection"));
    Ok(found.map(Embedding).ok_or_else(missing)?)
}

/// The query of a search by embeddings alone, which answers at most `most` records.
pub(super) fn query(body: SearchBody, most: usize) -> Result<Query, ApiError> {
    let embeddings = match (body.embedding, body.embeddings) {
        (Some(one), None) => vec![one.0],
        (None, Some(many)) => many.0.into_iter().map(|e| e.0).collect(),
        (Some(_), Some(_)) => return Err(ApiError::invalid("expected embedding or embeddings, got both")),
        (None, None) => return Err(ApiError::invalid("expected embedding, embeddings or id, got none of them")),
    };
    if embeddings.len() > 1 && embeddings.len().saturating_mul(body.k) > most {
        return Err(too_many_records("k", most).into());
    }
    Ok(Query {
        embeddings,
        k: body.k,
        filter: filter(body.r#where.as_ref(), body.where_document.as_ref())?,
        ids: body.ids.map(|ids| ids.0),
        ef_search: body.ef_search,
        exact: body.exact,
        max_distance: body.max_distance.map(|Component(distance)| distance),
        include: include(body.include),
        consistency: Consistency::Local,
    })
}

pub(super) async fn count(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<PastParameters>,
) -> Result<Response, ApiError> {
    let (scope, as_of) = parameters.split()?;
    let count = Readable::open(&app, &scope, &name, as_of).await?.count().await?;
    json(StatusCode::OK, &json!({"count": count}))
}

pub(super) async fn count_matching(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<PastParameters>,
    Json(body): Json<CountBody>,
) -> Result<Response, ApiError> {
    let (scope, as_of) = parameters.split()?;
    let filter = filter(body.r#where.as_ref(), body.where_document.as_ref())?;
    let get = Get { filter, ids: body.ids.map(|ids| ids.0), include: Include::NONE, ..Get::default() };
    let count = Readable::open(&app, &scope, &name, as_of).await?.read(get).await?.len();
    json(StatusCode::OK, &json!({"count": count}))
}
