//! Routes of a collection's history: its versions, comparing two of them, going back to one, forking from one; and its
//! renaming.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::answer::{CollectionBody, json};
use super::body::{Json, Name, Parameters, check_name};
use super::error::ApiError;
use super::middleware::WriteBegun;
use super::past::view;
use super::wire::{ScopeParameters, scope};
use crate::memory::Purpose;
use crate::record::Version;
use crate::store::modify::CollectionChange;
use crate::store::restore::Moment;

/// Versions on one page, unless the request names a number, and the most that it may name.
const PAGE: usize = 50;
const MOST_VERSIONS: usize = 500;
/// Ids of each kind of difference, unless the request names a number, and the most that it may name.
const IDS: usize = 50;
const MOST_IDS: usize = 10_000;
/// Memory for the commits that a page of versions reads at once, and what is decoded of them.
const PAGE_BYTES: u64 = 32 << 20;

/// `?tenant=&database=&limit=&before=`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct VersionsParameters {
    tenant: Option<String>,
    database: Option<String>,
    limit: Option<usize>,
    before: Option<u64>,
}

/// `POST …/compare`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareBody {
    from: u64,
    to: u64,
    limit: Option<usize>,
}

/// `POST …/restore`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RestoreBody {
    version: u64,
}

/// `POST …/fork`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForkAsBody {
    name: String,
    version: Option<u64>,
}

/// `POST …/rename`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RenameBody {
    name: String,
}

super::body::bodies! {
    Query: CompareBody;
    Settings: ForkAsBody, RenameBody, RestoreBody;
}

pub(super) async fn versions(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<VersionsParameters>,
) -> Result<Response, ApiError> {
    let VersionsParameters { tenant, database, limit, before } = parameters;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=MOST_VERSIONS).contains(&limit) {
        return Err(ApiError::invalid(format!("query: limit: expected 1 to {MOST_VERSIONS}, got {limit}")));
    }
    let mut room = app.store.room(Purpose::Read);
    room.grow(PAGE_BYTES.min(room.share())).await?;
    let store = app.store.with_scope(&scope(tenant, database));
    json(StatusCode::OK, &store.admin().versions(&name, before.map(Version), limit).await?)
}

pub(super) async fn compare(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<ScopeParameters>,
    Json(body): Json<CompareBody>,
) -> Result<Response, ApiError> {
    let limit = body.limit.unwrap_or(IDS);
    if limit > MOST_IDS {
        return Err(ApiError::invalid(format!("limit: expected at most {MOST_IDS}, got {limit}")));
    }
    let collection = app.store.with_scope(&parameters.scope()).collection(&name).await?;
    let from = view(&app, &collection, Version(body.from)).await?;
    let to = view(&app, &collection, Version(body.to)).await?;
    json(StatusCode::OK, &from.differences(&to, limit).await?)
}

pub(super) async fn restore(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    Name(name): Name,
    Parameters(parameters): Parameters<ScopeParameters>,
    Json(body): Json<RestoreBody>,
) -> Result<Response, ApiError> {
    let collection = app.store.with_scope(&parameters.scope()).collection(&name).await?;
    let past = view(&app, &collection, Version(body.version)).await?;
    let transaction = app.store.reversal_to(&collection, &past).await?;
    let present = transaction.read;
    let restored = body.version;
    if transaction.writes.is_empty() {
        return json(StatusCode::OK, &json!({"restored": restored, "written": 0, "version": present}));
    }
    let (written, pinned) = (transaction.written_ids().count(), collection.pinned().await?);
    // Nothing was written until here. Another commit, also of a record that is not restored, comes first.
    let version = begun.run(async move { pinned.write_after(transaction.read, transaction.writes).await }).await?;
    json(StatusCode::OK, &json!({"restored": restored, "written": written, "version": version}))
}

pub(super) async fn fork(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    Name(name): Name,
    Parameters(parameters): Parameters<ScopeParameters>,
    Json(body): Json<ForkAsBody>,
) -> Result<Response, ApiError> {
    check_name(&body.name)?;
    let store = app.store.with_scope(&parameters.scope());
    let fork = begun.run(async move {
        match body.version {
            None => {
                let id = store.collection(&name).await?.id();
                store.fork_collection(id, &body.name).await
            }
            Some(version) => {
                // What was dropped is the operator's to bring back.
                store.admin().live_id(&name).await?;
                let moment = Moment::Version(Version(version));
                let restored = store.admin().restore_collection(&name, moment, &body.name).await;
                restored.map(|(collection, _)| collection)
            }
        }
    });
    json(StatusCode::CREATED, &CollectionBody::from(fork.await?.info()))
}

pub(super) async fn rename(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    Name(name): Name,
    Parameters(parameters): Parameters<ScopeParameters>,
    Json(RenameBody { name: new_name }): Json<RenameBody>,
) -> Result<Response, ApiError> {
    check_name(&new_name)?;
    let collection = app.store.with_scope(&parameters.scope()).collection(&name).await?;
    if new_name != name {
        let (id, change) = (collection.id(), CollectionChange { name: Some(new_name), ..CollectionChange::default() });
        begun.run(async move { app.store.modify_collection(id, change).await }).await?;
    }
    json(StatusCode::OK, &CollectionBody::from(collection.info()))
}
