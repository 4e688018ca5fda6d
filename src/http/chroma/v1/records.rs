//! Routes of the first version about the records of a collection.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::super::super::App;
use super::super::super::answer::json;
use super::super::super::body::bodies;
use super::super::super::bounded::{Floats, Ids, List, Queries, Tree};
use super::super::super::middleware::WriteBegun;
use super::super::super::stream::{self, JsonPieces, append};
use super::super::answer::{ApiVersion, Field};
use super::super::body::{At, ChromaJson, ChromaParameters, InCollection};
use super::super::collections::no_id;
use super::super::columns::{ChromaUpdateBody, RecordColumns, UpsertBody};
use super::super::error::ChromaError;
use super::super::filters::filter;
use super::super::reads::{self, ChromaReadParameters, GetRequest, QueryRequest, get_fields, query_fields};
use super::super::records::{self as v2, ChromaDeleteBody, write_columns};
use super::error::{Subject, of_v1};
use super::extract::{InV1, PartsInV1};
use super::place::V1Access;
use super::server::done;
use crate::collection::answers::Reading;
use crate::collection::request::{Get, Include, Write};
use crate::error::Result as CoreResult;
use crate::memory::Purpose;

/// The extractors of every write beside its body.
type V1WriteTo = (State<App>, Extension<WriteBegun>, V1Access, PartsInV1<At<String>>);
/// The extractors of every read beside its body.
type V1ReadFrom = (State<App>, V1Access, PartsInV1<At<String>>, PartsInV1<ChromaParameters<ChromaReadParameters>>);

async fn write(
    (State(app), begun, access, PartsInV1(At(id))): V1WriteTo,
    columns: RecordColumns,
    make: impl FnOnce(RecordColumns) -> Write,
) -> Result<(), ChromaError> {
    let place = access.collection(&app, &id).await?;
    let written = write_columns((State(app), begun, At(place)), columns, make).await;
    written.map(drop).map_err(|e| of_v1(e, Subject::Collection(&id)))
}

pub(super) async fn add(
    to: V1WriteTo,
    // As in an upsert, null may stand for a key without a value.
    InV1(ChromaJson(body)): InV1<ChromaJson<UpsertBody>>,
) -> Result<Response, ChromaError> {
    let columns = RecordColumns::from(body).without_empty(false);
    write(to, columns, |columns| Write::Add(columns.into_records())).await?;
    Ok(json(StatusCode::CREATED, &true)?)
}

pub(super) async fn upsert(
    to: V1WriteTo,
    InV1(ChromaJson(body)): InV1<ChromaJson<UpsertBody>>,
) -> Result<Response, ChromaError> {
    let columns = RecordColumns::from(body).without_empty(false);
    write(to, columns, |columns| Write::Merge(columns.into_updates())).await?;
    done()
}

pub(super) async fn update(
    to: V1WriteTo,
    InV1(ChromaJson(body)): InV1<ChromaJson<ChromaUpdateBody>>,
) -> Result<Response, ChromaError> {
    let columns = RecordColumns::from(body).without_empty(true);
    write(to, columns, |columns| Write::Update(columns.into_updates())).await?;
    done()
}

/// A filter without a condition counts as none, as the clients of 0.4 send it.
fn unless_empty(clause: Option<Tree>) -> Option<Tree> {
    clause.filter(|clause| !clause.as_object().is_some_and(serde_json::Map::is_empty))
}

/// `POST /api/v1/collections/{id}/delete`.
#[derive(Deserialize)]
#[serde(expecting = "records to delete")]
pub(super) struct V1DeleteBody {
    ids: Option<List<String, Ids>>,
    r#where: Option<Tree>,
    where_document: Option<Tree>,
}

/// Answers the ids of the records that were deleted, as 0.4 did: some clients need a list. Another writer may add or
/// delete a record between the list and the deletion.
pub(super) async fn remove(
    (State(app), begun, access, PartsInV1(At(id))): V1WriteTo,
    InV1(ChromaJson(body)): InV1<ChromaJson<V1DeleteBody>>,
) -> Result<Response, ChromaError> {
    let (ids, limit) = (body.ids, None);
    let (r#where, where_document) = (unless_empty(body.r#where), unless_empty(body.where_document));
    if ids.as_ref().is_none_or(|ids| ids.0.is_empty()) && r#where.is_none() && where_document.is_none() {
        return Err(ChromaError::invalid("You must provide either ids, where, or where_document to delete"));
    }
    let place = access.collection(&app, &id).await?;
    let body = ChromaDeleteBody { ids, r#where, where_document, limit };
    let mut room = app.store.room(Purpose::Answer);
    room.grow(ids_bytes(&body).min(room.share())).await?;
    let reading = matching(&app, &place, &body).await.map_err(|e| of_v1(e, Subject::Collection(&id)))?;
    let removed = v2::remove((State(app), begun, At(place)), ChromaJson(body)).await;
    removed.map_err(|e| of_v1(e, Subject::Collection(&id)))?;
    match stream::respond(DeletedIds { reading, next: 0 }, room).await {
        Ok(answer) => Ok(answer),
        // The records are deleted. Without memory for the list, this is the answer of 0.5.23.
        Err(_) => done(),
    }
}

/// Bytes of a copy of the ids that a deletion names.
fn ids_bytes(body: &ChromaDeleteBody) -> u64 {
    let ids = body.ids.iter().flat_map(|ids| &ids.0);
    ids.map(|id| (id.len() + size_of::<String>()) as u64).sum()
}

/// The records that a deletion will find.
async fn matching(app: &App, place: &InCollection, body: &ChromaDeleteBody) -> Result<Reading, ChromaError> {
    let collection = reads::open(app, place, &ChromaReadParameters::default()).await?;
    let get = Get {
        filter: filter(&collection, body.r#where.as_deref(), body.where_document.as_deref())?,
        ids: body.ids.as_ref().map(|ids| ids.0.clone()),
        include: Include::NONE,
        ..Get::default()
    };
    collection.read(get).await.map_err(|e| no_id(e, collection.identity().id))
}

/// The ids of records, as they were before they were deleted.
struct DeletedIds {
    reading: Reading,
    next: usize,
}

impl JsonPieces for DeletedIds {
    fn records(&self) -> usize {
        self.reading.len()
    }

    fn weight(&self) -> usize {
        self.reading.weight(self.next, Include::NONE)
    }

    fn write(&mut self, into: &mut Vec<u8>) -> CoreResult<bool> {
        let found = self.reading.part(self.next, Include::NONE)?;
        if self.next == 0 {
            into.push(b'[');
        }
        let Some(found) = found else {
            into.push(b']');
            return Ok(false);
        };
        if self.next > 0 {
            into.push(b',');
        }
        append(into, &found.id)?;
        self.next += 1;
        Ok(true)
    }
}

/// A name in an `include` list. What a URI leads to (`data`) only clients load.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum V1Field {
    Data,
    Distances,
    Documents,
    Embeddings,
    Metadatas,
    Uris,
}

/// The fields that a server answers.
fn fields(asked: Option<Vec<V1Field>>, default: fn() -> Vec<Field>) -> Vec<Field> {
    let Some(asked) = asked else { return default() };
    let served = |field: V1Field| match field {
        V1Field::Data => None,
        V1Field::Distances => Some(Field::Distances),
        V1Field::Documents => Some(Field::Documents),
        V1Field::Embeddings => Some(Field::Embeddings),
        V1Field::Metadatas => Some(Field::Metadatas),
        V1Field::Uris => Some(Field::Uris),
    };
    asked.into_iter().filter_map(served).collect()
}

/// `POST /api/v1/collections/{id}/get`.
#[derive(Deserialize)]
#[serde(expecting = "records to get")]
pub(super) struct V1GetBody {
    ids: Option<List<String, Ids>>,
    r#where: Option<Tree>,
    where_document: Option<Tree>,
    limit: Option<u32>,
    offset: Option<u32>,
    include: Option<Vec<V1Field>>,
}

pub(super) async fn get(
    (State(app), access, PartsInV1(At(id)), PartsInV1(ChromaParameters(parameters))): V1ReadFrom,
    InV1(ChromaJson(body)): InV1<ChromaJson<V1GetBody>>,
) -> Result<Response, ChromaError> {
    let place = access.collection(&app, &id).await?;
    let mut include = fields(body.include, get_fields);
    include.retain(|field| *field != Field::Distances);
    let body = GetRequest {
        ids: body.ids,
        r#where: unless_empty(body.r#where),
        where_document: unless_empty(body.where_document),
        limit: body.limit,
        offset: body.offset,
        include,
    };
    let answered = async {
        let collection = reads::open(&app, &place, &parameters).await?;
        reads::answer_get(&app, &collection, body, ApiVersion::V1).await
    };
    answered.await.map_err(|e| of_v1(e, Subject::Collection(&id)))
}

/// `POST /api/v1/collections/{id}/query`.
#[derive(Deserialize)]
#[serde(expecting = "a query")]
pub(super) struct V1QueryBody {
    r#where: Option<Tree>,
    where_document: Option<Tree>,
    query_embeddings: List<Floats, Queries>,
    n_results: Option<u32>,
    include: Option<Vec<V1Field>>,
}

bodies! { Query: V1DeleteBody, V1GetBody, V1QueryBody; }

pub(super) async fn query(
    (State(app), access, PartsInV1(At(id)), PartsInV1(ChromaParameters(parameters))): V1ReadFrom,
    InV1(ChromaJson(body)): InV1<ChromaJson<V1QueryBody>>,
) -> Result<Response, ChromaError> {
    let place = access.collection(&app, &id).await?;
    let body = QueryRequest {
        ids: None,
        r#where: unless_empty(body.r#where),
        where_document: unless_empty(body.where_document),
        query_embeddings: body.query_embeddings,
        n_results: body.n_results,
        include: fields(body.include, query_fields),
    };
    let answered = async {
        let collection = reads::open(&app, &place, &parameters).await?;
        reads::answer_query(&app, &collection, body, ApiVersion::V1).await
    };
    answered.await.map_err(|e| of_v1(e, Subject::Collection(&id)))
}

pub(super) async fn count(
    (State(app), access, PartsInV1(At(id)), PartsInV1(parameters)): V1ReadFrom,
) -> Result<Response, ChromaError> {
    let place = access.collection(&app, &id).await?;
    let counted = reads::count(State(app), At(place), parameters).await;
    counted.map_err(|e| of_v1(e, Subject::Collection(&id)))
}
