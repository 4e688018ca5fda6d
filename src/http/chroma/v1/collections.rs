//! Routes of the first version about collections as a whole.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::super::super::App;
use super::super::super::answer::json;
use super::super::super::body::bodies;
use super::super::super::middleware::WriteBegun;
use super::super::body::{At, ChromaJson, ChromaParameters, InCollection, InDatabase, PageParameters};
use super::super::collections::{self as v2, ChangeBody, ChromaCreateBody};
use super::super::describe::ChromaCollection;
use super::super::error::{Cause, ChromaError};
use super::super::metadata::Fields;
use super::describe::{V1Collection, V1Configuration};
use super::error::{Subject, of_v1};
use super::extract::{InV1, PartsInV1};
use super::place::{Named, V1Access};
use super::server::done;
use crate::collection::handle::Collection;
use crate::collection::request::Scope;

/// `POST /api/v1/collections`.
#[derive(Deserialize)]
#[serde(expecting = "a collection to create")]
pub(super) struct V1CreateBody {
    name: String,
    configuration: Option<V1Configuration>,
    metadata: Option<Fields<false>>,
    #[serde(default)]
    get_or_create: bool,
}

/// `PUT /api/v1/collections/{id}`.
#[derive(Deserialize)]
#[serde(expecting = "changes of a collection")]
pub(super) struct V1ChangeBody {
    new_name: Option<String>,
    new_metadata: Option<Fields<true>>,
}

bodies! { Settings: V1CreateBody, V1ChangeBody; }

/// Metadata without a key counts as none: some clients send it where their user gave none.
fn unless_empty<const NULLS: bool>(metadata: Option<Fields<NULLS>>) -> Option<Fields<NULLS>> {
    metadata.filter(|fields| !fields.0.is_empty())
}

fn described(collection: &Collection) -> Result<Response, ChromaError> {
    Ok(json(StatusCode::OK, &V1Collection::from(ChromaCollection::of(collection)?))?)
}

pub(super) async fn create(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    PartsInV1(ChromaParameters(named)): Named,
    InV1(ChromaJson(body)): InV1<ChromaJson<V1CreateBody>>,
) -> Result<Response, ChromaError> {
    let V1CreateBody { name, configuration, metadata, get_or_create } = body;
    let body = ChromaCreateBody {
        name: name.clone(),
        schema: None,
        configuration: configuration.and_then(V1Configuration::into_v2),
        metadata: unless_empty(metadata),
        get_or_create,
    };
    let created = v2::created(&app, &begun, named.scope(), body).await;
    described(&created.map_err(|e| of_v1(e, Subject::Collection(&name)))?)
}

pub(super) async fn list(
    State(app): State<App>,
    PartsInV1(ChromaParameters(named)): Named,
    PartsInV1(ChromaParameters(page)): PartsInV1<ChromaParameters<PageParameters>>,
) -> Result<Response, ChromaError> {
    let collections = v2::listed(&app, &named.scope(), &page).await?;
    let bodies: Vec<V1Collection> = collections.into_iter().map(V1Collection::from).collect();
    Ok(json(StatusCode::OK, &bodies)?)
}

pub(super) async fn count(app: State<App>, PartsInV1(ChromaParameters(named)): Named) -> Result<Response, ChromaError> {
    let Scope { tenant, database } = named.scope();
    v2::count(app, At(InDatabase { tenant, database })).await
}

pub(super) async fn by_name(
    State(app): State<App>,
    PartsInV1(ChromaParameters(named)): Named,
    PartsInV1(At(name)): PartsInV1<At<String>>,
) -> Result<Response, ChromaError> {
    let found = v2::named(&app, &named.scope(), &name).await;
    described(&found.map_err(|e| of_v1(e, Subject::Collection(&name)))?)
}

pub(super) async fn modify(
    State(app): State<App>,
    begun: Extension<WriteBegun>,
    access: V1Access,
    PartsInV1(At(id)): PartsInV1<At<String>>,
    InV1(ChromaJson(body)): InV1<ChromaJson<V1ChangeBody>>,
) -> Result<Response, ChromaError> {
    let place = access.collection(&app, &id).await?;
    let V1ChangeBody { new_name, new_metadata } = body;
    let wanted = new_name.clone().unwrap_or_default();
    let body = ChangeBody { new_name, new_metadata: unless_empty(new_metadata), new_configuration: None };
    let changed = v2::modify(State(app), begun, At(place), ChromaJson(body)).await;
    changed.map_err(|e| match e.cause {
        Cause::Taken => of_v1(e, Subject::Collection(&wanted)),
        _ => of_v1(e, Subject::Collection(&id)),
    })?;
    done()
}

pub(super) async fn remove(
    app: State<App>,
    begun: Extension<WriteBegun>,
    PartsInV1(ChromaParameters(named)): Named,
    PartsInV1(At(name)): PartsInV1<At<String>>,
) -> Result<Response, ChromaError> {
    let Scope { tenant, database } = named.scope();
    let place = InCollection { tenant, database, collection: name.clone() };
    let removed = v2::remove(app, begun, At(place)).await;
    removed.map_err(|e| of_v1(e, Subject::CollectionToDelete(&name)))?;
    done()
}
