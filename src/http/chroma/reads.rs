//! Routes that read the records of a collection: get, query, count. Beyond Chroma's own API, each accepts
//! `consistency=strong`: then it first reads from the bucket what other servers wrote.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::super::App;
use super::super::answer::json;
use super::super::body::bodies;
use super::super::bounded::{Floats, Ids, List, Queries, Tree};
use super::super::error::too_many_records;
use super::super::records::room_for_rows;
use super::super::stream;
use super::super::wire::Freshness;
use super::answer::{ApiVersion, ChromaGetAnswer, Field, QueryBody, include};
use super::body::{At, ChromaJson, ChromaParameters, InCollection};
use super::collections::{find, no_id};
use super::columns::check_dimensions;
use super::error::ChromaError;
use super::filters::{check_indexed, filter, parse};
use crate::collection::handle::Collection;
use crate::collection::request::{Consistency, Get, Query};
use crate::memory::Purpose;

/// Number of neighbours where the request has none.
const DEFAULT_RESULTS: u32 = 10;

/// The query string of a read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ChromaReadParameters {
    #[serde(default)]
    consistency: Freshness,
    /// Every level includes all acknowledged writes here.
    #[serde(default, rename = "read_level")]
    _read_level: ReadLevel,
}

/// How much of the log Chroma's cloud is to read; here every read sees all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub(super) enum ReadLevel {
    #[default]
    #[serde(rename = "index_and_wal")]
    Whole,
    #[serde(rename = "index_only")]
    Index,
    #[serde(rename = "index_and_bounded_wal")]
    Bounded,
}

/// The collection of a read, brought up to date if the request asks for that.
pub(super) async fn open(
    app: &App,
    place: &InCollection,
    parameters: &ChromaReadParameters,
) -> Result<Collection, ChromaError> {
    let collection = find(&app.store, place).await?;
    if Consistency::from(parameters.consistency) == Consistency::Strong {
        collection.count(Consistency::Strong).await.map_err(|e| no_id(e, collection.identity().id))?;
    }
    Ok(collection)
}

/// What a get answers where the request does not say.
pub(super) fn get_fields() -> Vec<Field> {
    vec![Field::Documents, Field::Metadatas]
}

/// What a query answers where the request does not say.
pub(super) fn query_fields() -> Vec<Field> {
    vec![Field::Documents, Field::Metadatas, Field::Distances]
}

/// `POST …/get`.
#[derive(Deserialize)]
#[serde(expecting = "struct GetRequestPayload")]
pub(super) struct GetRequest {
    pub(super) ids: Option<List<String, Ids>>,
    pub(super) r#where: Option<Tree>,
    pub(super) where_document: Option<Tree>,
    pub(super) limit: Option<u32>,
    pub(super) offset: Option<u32>,
    #[serde(default = "get_fields")]
    pub(super) include: Vec<Field>,
}

pub(super) async fn get(
    State(app): State<App>,
    At(place): At<InCollection>,
    ChromaParameters(parameters): ChromaParameters<ChromaReadParameters>,
    ChromaJson(body): ChromaJson<GetRequest>,
) -> Result<Response, ChromaError> {
    let collection = open(&app, &place, &parameters).await?;
    answer_get(&app, &collection, body, ApiVersion::V2).await
}

/// The answer to a get.
pub(super) async fn answer_get(
    app: &App,
    collection: &Collection,
    body: GetRequest,
    version: ApiVersion,
) -> Result<Response, ChromaError> {
    let get = Get {
        filter: filter(collection, body.r#where.as_deref(), body.where_document.as_deref())?,
        ids: body.ids.map(|ids| ids.0),
        limit: body.limit.map(|limit| limit as usize),
        offset: body.offset.unwrap_or(0) as usize,
        ..Get::default()
    };
    let reading = collection.read(get).await.map_err(|e| no_id(e, collection.identity().id))?;
    let answer = ChromaGetAnswer::new(reading, body.include, version);
    Ok(stream::respond(answer, app.store.room(Purpose::Answer)).await?)
}

/// `POST …/query`.
#[derive(Deserialize)]
#[serde(expecting = "struct QueryRequestPayload")]
pub(super) struct QueryRequest {
    pub(super) ids: Option<List<String, Ids>>,
    pub(super) r#where: Option<Tree>,
    pub(super) where_document: Option<Tree>,
    pub(super) query_embeddings: List<Floats, Queries>,
    pub(super) n_results: Option<u32>,
    #[serde(default = "query_fields")]
    pub(super) include: Vec<Field>,
}

bodies! { Query: GetRequest, QueryRequest; }

pub(super) async fn query(
    State(app): State<App>,
    At(place): At<InCollection>,
    ChromaParameters(parameters): ChromaParameters<ChromaReadParameters>,
    ChromaJson(body): ChromaJson<QueryRequest>,
) -> Result<Response, ChromaError> {
    let collection = open(&app, &place, &parameters).await?;
    answer_query(&app, &collection, body, ApiVersion::V2).await
}

/// The answer to a query.
pub(super) async fn answer_query(
    app: &App,
    collection: &Collection,
    body: QueryRequest,
    version: ApiVersion,
) -> Result<Response, ChromaError> {
    let (metadata, document) = (body.r#where.as_deref(), body.where_document.as_deref());
    let filter = parse(metadata, document)?;
    let embeddings: Vec<Vec<f32>> = body.query_embeddings.0.into_iter().map(|floats| floats.0).collect();
    let ids = body.ids.map(|ids| ids.0);
    check_query(&embeddings, collection.dimension())?;
    let wanted = body.n_results.unwrap_or(DEFAULT_RESULTS);
    check_indexed(collection, metadata, document)?;
    if let (Some(ids), None) = (&ids, &filter) {
        check_known(collection, ids).await?;
    }
    let fields = body.include;
    let queries = embeddings.len();
    let (matches, room) = if embeddings.is_empty() || wanted == 0 || collection.dimension().is_none() {
        (None, app.store.room(Purpose::Answer))
    } else {
        let count = collection.count(Consistency::Local).await?;
        let k = neighbours(app, wanted, count, queries)?;
        let query = Query { k, filter, ids, include: include(&fields), ..Query::batch(embeddings) };
        let room = room_for_rows(app, queries.saturating_mul(k)).await?;
        (Some(collection.find(query).await.map_err(|e| no_id(e, collection.identity().id))?), room)
    };
    Ok(stream::respond(QueryBody::new(matches, queries, fields, version), room).await?)
}

/// Refuses a query among ids that no record has. As in Chroma's server, only a query without a filter is refused so;
/// Chroma's own tests require it.
async fn check_known(collection: &Collection, ids: &[String]) -> Result<(), ChromaError> {
    let get = Get { ids: Some(ids.to_vec()), include: include(&[]), ..Get::default() };
    let records = collection.get(get).await.map_err(|e| no_id(e, collection.identity().id))?.records;
    let known: HashSet<&str> = records.iter().map(|record| record.id.as_str()).collect();
    match ids.iter().find(|id| !known.contains(id.as_str())) {
        Some(id) => Err(ChromaError::invalid(format!("Error finding id {id:?}: no record has it"))),
        None => Ok(()),
    }
}

/// Refuses query embeddings that the collection cannot be searched for.
pub(super) fn check_query(embeddings: &[Vec<f32>], dimension: Option<usize>) -> Result<(), ChromaError> {
    check_dimensions(embeddings.iter(), dimension)?;
    if embeddings.iter().flatten().any(|x| !x.is_finite()) {
        let fault = "query_embeddings: Embeddings must not contain NaN or Infinity values";
        return Err(ChromaError::validation(&[fault.to_owned()]));
    }
    Ok(())
}

/// How many neighbours to look for: a number beyond the collection's size stands for all its records.
pub(super) fn neighbours(app: &App, wanted: u32, count: u64, queries: usize) -> Result<usize, ChromaError> {
    let k = u64::from(wanted).min(count.max(1)) as usize;
    let most = app.settings.max_answer_records;
    match queries > 1 && queries.saturating_mul(k) > most {
        true => Err(too_many_records("n_results", most).into()),
        false => Ok(k),
    }
}

pub(super) async fn count(
    State(app): State<App>,
    At(place): At<InCollection>,
    ChromaParameters(parameters): ChromaParameters<ChromaReadParameters>,
) -> Result<Response, ChromaError> {
    let collection = open(&app, &place, &parameters).await?;
    let count = collection.count(Consistency::Local).await.map_err(|e| no_id(e, collection.identity().id))?;
    Ok(json(StatusCode::OK, &count)?)
}
