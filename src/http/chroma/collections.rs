//! Routes of collections as a whole: create, list, count, find, modify, drop, fork. A collection's `extension` stores
//! its schema, and with it its configuration.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::App;
use super::super::answer::json;
use super::super::auth::Requester;
use super::super::middleware::WriteBegun;
use super::body::{At, ChromaJson, ChromaParameters, InCollection, InDatabase, PageParameters};
use super::configuration::{
    ConfigurationBody, ConfigurationChange, EmbeddingFunction, RequestedConfiguration, core_ef_search,
};
use super::describe::{ChromaCollection, SCHEMA, schema_of};
use super::error::ChromaError;
use super::metadata::{self, Fields};
use super::names::check_name;
use super::schema::Schema;
use crate::collection::handle::Collection;
use crate::collection::request::{CollectionSpec, Consistency, Scope, ServingState};
use crate::error::{Error, ErrorKind};
use crate::record::CollectionId;
use crate::store::Store;
use crate::store::modify::CollectionChange;
use crate::text::TextSettings;

/// How often a get-or-create starts again after interference by others.
const ATTEMPTS: usize = 50;

/// `POST …/collections`.
#[derive(Deserialize)]
#[serde(expecting = "struct CreateCollectionPayload")]
pub(super) struct ChromaCreateBody {
    pub(super) name: String,
    pub(super) schema: Option<Schema>,
    pub(super) configuration: Option<ConfigurationBody>,
    pub(super) metadata: Option<Fields<false>>,
    #[serde(default)]
    pub(super) get_or_create: bool,
}

/// `PUT …/collections/{id}`.
#[derive(Deserialize)]
#[serde(expecting = "struct UpdateCollectionPayload")]
pub(super) struct ChangeBody {
    pub(super) new_name: Option<String>,
    pub(super) new_metadata: Option<Fields<true>>,
    pub(super) new_configuration: Option<ConfigurationChange>,
}

/// `POST …/fork`.
#[derive(Deserialize)]
#[serde(expecting = "struct ForkCollectionPayload")]
pub(super) struct ForkBody {
    new_name: String,
}

super::super::body::bodies! { Settings: ChromaCreateBody, ChangeBody, ForkBody; }

pub(super) fn no_name(error: Error, name: &str) -> ChromaError {
    match error.kind() {
        ErrorKind::NotFound => ChromaError::not_found(format!("Collection [{name}] does not exist")),
        _ => error.into(),
    }
}

/// The refusal of a route for the id of a collection.
pub(super) fn no_id(error: Error, id: CollectionId) -> ChromaError {
    match error.kind() {
        ErrorKind::NotFound => ChromaError::not_found(format!("Collection [{id}] does not exist.")),
        _ => error.into(),
    }
}

fn taken(name: &str) -> ChromaError {
    ChromaError::exists(format!("Collection [{name}] already exists"))
}

/// The collection of a route that takes an id: it must be in the database that the path names.
pub(super) async fn find(store: &Store, place: &InCollection) -> Result<Collection, ChromaError> {
    let id = place.id().ok_or_else(|| ChromaError::invalid("Collection ID is not a valid UUIDv4"))?;
    let may_see = |scope: &Scope, name: &str| place.holds(scope) && !is_reserved(name);
    store.collection_by_id_if(id, may_see).await.map_err(|e| no_id(e, id))
}

/// Whether a collection is Drumlin's own; the API does not show such collections.
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with('.')
}

/// Refuses a name reserved for Drumlin, in the words for a collection that does not exist.
fn check_shown(name: &str) -> Result<(), ChromaError> {
    match is_reserved(name) {
        true => Err(no_name(Error::not_found("reserved"), name)),
        false => Ok(()),
    }
}

/// The collection that a create asks for.
fn spec(body: ChromaCreateBody) -> Result<CollectionSpec, ChromaError> {
    let ChromaCreateBody { name, schema, configuration, metadata, .. } = body;
    let mut faults = Vec::new();
    if let Err(fault) = check_name(&name) {
        faults.push(format!("name: {fault}"));
    }
    let metadata = metadata.map(|fields| metadata::of_collection(fields.0)).transpose();
    let metadata = metadata.map(Option::flatten).unwrap_or_else(|fault| {
        faults.push(format!("metadata: {fault}"));
        None
    });
    if let Some(fault) = schema.as_ref().and_then(Schema::fault) {
        faults.push(format!("schema: {fault}"));
    }
    if !faults.is_empty() {
        return Err(ChromaError::validation(&faults));
    }
    let configuration = RequestedConfiguration::of(configuration, metadata.as_ref())?;
    let schema = Schema::of(schema, &configuration)?;
    let configuration = schema.configuration();
    Ok(CollectionSpec {
        name,
        metric: configuration.space.into(),
        dimension: None,
        metadata,
        index: configuration.hnsw.index(),
        text: TextSettings::default(),
        embedder: configuration.embedding_function.as_ref().and_then(EmbeddingFunction::embedder),
        splitting: None,
        extension: remembered(&schema, Map::new())?,
    })
}

/// The collection that a create with this body would make, for callers that are not a server.
///
/// # Errors
/// `Invalid` where the API would refuse it.
pub fn chroma_collection(body: Value) -> Result<CollectionSpec, Error> {
    let body = serde_json::from_value(body).map_err(|e| Error::invalid(format!("a collection of Chroma's: {e}")))?;
    spec(body).map_err(|error| Error::invalid(error.message()))
}

/// The extension with this schema in it.
fn remembered(schema: &Schema, mut extension: Map<String, Value>) -> Result<Map<String, Value>, ChromaError> {
    let schema = serde_json::to_value(schema);
    let schema = schema.map_err(|e| Error::internal("the schema could not be written").with_source(e))?;
    extension.insert(SCHEMA.to_owned(), schema);
    Ok(extension)
}

pub(super) async fn create(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    At(place): At<InDatabase>,
    ChromaJson(body): ChromaJson<ChromaCreateBody>,
) -> Result<Response, ChromaError> {
    let created = created(&app, &begun, place.scope(), body).await?;
    Ok(json(StatusCode::OK, &ChromaCollection::of(&created)?)?)
}

/// The collection that a create made, or found.
pub(super) async fn created(
    app: &App,
    begun: &WriteBegun,
    scope: Scope,
    body: ChromaCreateBody,
) -> Result<Collection, ChromaError> {
    let get = body.get_or_create;
    let spec = spec(body)?;
    for _ in 0..ATTEMPTS {
        let created = {
            let (store, scope, spec) = (app.store.clone(), scope.clone(), spec.clone());
            begun.run(async move { store.with_scope(&scope).create_collection(spec).await }).await
        };
        let found = match created {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && get => {
                app.store.with_scope(&scope).collection(&spec.name).await
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(taken(&spec.name)),
            // There is no such database, or the collection was dropped as soon as it stood.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if app.store.namespaces().database(&scope.tenant, &scope.database).await.is_err() {
                    return Err(ChromaError::invalid(format!("Database [{}] does not exist", scope.database)));
                }
                Err(error)
            }
            created => created,
        };
        match found {
            // The collection was dropped meanwhile, so the name is free again.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return Ok(found?),
        }
    }
    Err(Error::unavailable(format!("concurrent creates and drops of collection {:?}: try again", spec.name)).into())
}

pub(super) async fn list(
    State(app): State<App>,
    At(place): At<InDatabase>,
    ChromaParameters(page): ChromaParameters<PageParameters>,
) -> Result<Response, ChromaError> {
    Ok(json(StatusCode::OK, &listed(&app, &place.scope(), &page).await?)?)
}

/// The collections on a page, by id.
pub(super) async fn listed(
    app: &App,
    scope: &Scope,
    page: &PageParameters,
) -> Result<Vec<ChromaCollection>, ChromaError> {
    let mut infos = app.store.with_scope(scope).collections(Consistency::Local).await?;
    infos.sort_by_key(|info| info.id);
    let mut bodies = Vec::with_capacity(infos.len());
    for info in page.of(infos) {
        // A collection that is still loading is described from the catalog.
        let body = match info.state {
            ServingState::Ready => match app.store.collection_by_id(info.id).await {
                Ok(collection) => ChromaCollection::of(&collection)?,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            },
            _ => ChromaCollection::of_info(info)?,
        };
        bodies.push(body);
    }
    Ok(bodies)
}

pub(super) async fn count(State(app): State<App>, At(place): At<InDatabase>) -> Result<Response, ChromaError> {
    Ok(json(StatusCode::OK, &app.store.with_scope(&place.scope()).collections(Consistency::Local).await?.len())?)
}

pub(super) async fn by_name(State(app): State<App>, At(place): At<InCollection>) -> Result<Response, ChromaError> {
    let collection = named(&app, &place.scope(), &place.collection).await?;
    Ok(json(StatusCode::OK, &ChromaCollection::of(&collection)?)?)
}

/// The collection of this name.
pub(super) async fn named(app: &App, scope: &Scope, name: &str) -> Result<Collection, ChromaError> {
    check_shown(name)?;
    app.store.with_scope(scope).collection(name).await.map_err(|e| no_name(e, name))
}

/// As in Chroma's server, this finds a collection in any database. A key that is bound to a place finds only
/// collections there.
pub(super) async fn by_id(
    State(app): State<App>,
    Extension(identity): Extension<Requester>,
    At(place): At<InCollection>,
) -> Result<Response, ChromaError> {
    let id = place.id().ok_or_else(|| {
        ChromaError::validation(&["collection_id: Invalid collection ID format, expected UUID".to_owned()])
    })?;
    let everywhere = identity.sees_everything();
    let may_see = |scope: &Scope, name: &str| (everywhere || place.holds(scope)) && !is_reserved(name);
    let found = app.store.collection_by_id_if(id, may_see).await;
    let collection = found.map_err(|e| no_name(e, &id.to_string()))?;
    Ok(json(StatusCode::OK, &ChromaCollection::of(&collection)?)?)
}

pub(super) async fn modify(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    At(place): At<InCollection>,
    ChromaJson(body): ChromaJson<ChangeBody>,
) -> Result<Response, ChromaError> {
    let collection = find(&app.store, &place).await?;
    let identity = collection.identity();
    let (id, new_name) = (identity.id, body.new_name.clone());
    let schema = schema_of(&identity.extension, identity.metric, &identity.index)?;
    let change = change(body, &identity.name, schema, &identity.extension)?;
    if change != CollectionChange::default() {
        let changed = begun.run(async move { app.store.modify_collection(id, change).await }).await;
        changed.map_err(|e| match (e.kind(), &new_name) {
            (ErrorKind::AlreadyExists, Some(name)) => taken(name),
            _ => no_id(e, id),
        })?;
    }
    Ok(json(StatusCode::OK, &json!({}))?)
}

/// The changes that a modification asks for.
fn change(
    body: ChangeBody,
    name: &str,
    mut schema: Schema,
    extension: &Map<String, Value>,
) -> Result<CollectionChange, ChromaError> {
    let ChangeBody { new_name, new_metadata, new_configuration } = body;
    let mut faults = Vec::new();
    if let Some(Err(fault)) = new_name.as_deref().map(check_name) {
        faults.push(format!("new_name: {fault}"));
    }
    let metadata = new_metadata.map(|fields| metadata::of_collection(fields.0)).transpose();
    let metadata = metadata.unwrap_or_else(|fault| {
        faults.push(format!("new_metadata: {fault}"));
        None
    });
    if !faults.is_empty() {
        return Err(ChromaError::validation(&faults));
    }
    let mut change = CollectionChange { name: new_name.filter(|new| new != name), metadata, ..Default::default() };
    if let Some(configuration) = new_configuration {
        let (hnsw, function) = configuration.split()?;
        let before = schema.clone();
        schema.change(&hnsw, function.as_ref());
        if schema != before {
            change.extension = Some(remembered(&schema, extension.clone())?);
        }
        change.ef_search = hnsw.ef_search.map(core_ef_search);
    }
    Ok(change)
}

pub(super) async fn remove(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    At(place): At<InCollection>,
) -> Result<Response, ChromaError> {
    let scope: Scope = place.scope();
    let InCollection { collection: name, .. } = place;
    check_shown(&name)?;
    let dropped = {
        let name = name.clone();
        begun.run(async move { app.store.with_scope(&scope).drop_collection(&name).await }).await
    };
    dropped.map_err(|e| no_name(e, &name))?;
    Ok(json(StatusCode::OK, &json!({}))?)
}

pub(super) async fn fork(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    At(place): At<InCollection>,
    ChromaJson(ForkBody { new_name }): ChromaJson<ForkBody>,
) -> Result<Response, ChromaError> {
    let id = find(&app.store, &place).await?.identity().id;
    check_name(&new_name).map_err(|fault| ChromaError::validation(&[format!("new_name: {fault}")]))?;
    let forked = {
        let name = new_name.clone();
        begun.run(async move { app.store.fork_collection(id, &name).await }).await
    };
    let forked = forked.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => taken(&new_name),
        _ => no_id(e, id),
    })?;
    Ok(json(StatusCode::OK, &ChromaCollection::of(&forked)?)?)
}

pub(super) async fn fork_count(State(app): State<App>, At(place): At<InCollection>) -> Result<Response, ChromaError> {
    let id = find(&app.store, &place).await?.identity().id;
    let count = app.store.fork_count(id).await.map_err(|e| no_id(e, id))?;
    Ok(json(StatusCode::OK, &json!({"count": count}))?)
}

/// How far the records are in graphs. A collection that needs no graph is done: clients wait until progress is 1.
pub(super) async fn indexing_status(
    State(app): State<App>,
    At(place): At<InCollection>,
) -> Result<Response, ChromaError> {
    let collection = find(&app.store, &place).await?;
    let total = collection.info().count;
    let indexed = total.saturating_sub(collection.awaiting_graph());
    let progress = if total == 0 { 1.0 } else { indexed as f64 / total as f64 };
    let status = json!({
        "num_indexed_ops": indexed, "num_unindexed_ops": total - indexed, "total_ops": total,
        "op_indexing_progress": progress,
    });
    Ok(json(StatusCode::OK, &status)?)
}
