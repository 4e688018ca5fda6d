//! Routes of tenants and databases.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::super::App;
use super::super::answer::json;
use super::super::middleware::WriteBegun;
use super::body::{At, ChromaJson, ChromaParameters, InDatabase, PageParameters};
use super::error::ChromaError;
use super::names::check_name;
use crate::error::{Error, ErrorKind};
use crate::store::namespaces::Database;

/// Least characters of a tenant's name.
const TENANT_CHARS: usize = 3;

#[derive(Deserialize)]
#[serde(expecting = "struct CreateTenantPayload")]
pub(super) struct NewTenant {
    pub(super) name: String,
}

#[derive(Deserialize)]
#[serde(expecting = "struct UpdateTenantPayload")]
pub(super) struct TenantChange {
    resource_name: String,
}

#[derive(Deserialize)]
#[serde(expecting = "struct CreateDatabasePayload")]
pub(super) struct NewDatabase {
    pub(super) name: String,
}

super::super::body::bodies! { Settings: NewTenant, TenantChange, NewDatabase; }

/// A database in an answer.
#[derive(Serialize)]
struct DatabaseBody {
    id: Uuid,
    name: String,
    tenant: String,
}

impl From<Database> for DatabaseBody {
    fn from(Database { id, name, tenant }: Database) -> DatabaseBody {
        DatabaseBody { id, name, tenant }
    }
}

/// The refusal in Chroma's words, if the failure is of this kind.
fn worded(error: Error, kind: ErrorKind, words: impl FnOnce() -> String) -> ChromaError {
    match error.kind() {
        ErrorKind::NotFound if kind == ErrorKind::NotFound => ChromaError::not_found(words()),
        ErrorKind::AlreadyExists if kind == ErrorKind::AlreadyExists => ChromaError::exists(words()),
        _ => error.into(),
    }
}

fn no_tenant(error: Error, name: &str) -> ChromaError {
    worded(error, ErrorKind::NotFound, || format!("Tenant [{name}] not found"))
}

fn done() -> Result<Response, ChromaError> {
    Ok(json(StatusCode::OK, &json!({}))?)
}

pub(super) async fn create_tenant(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    ChromaJson(NewTenant { name }): ChromaJson<NewTenant>,
) -> Result<Response, ChromaError> {
    if name.chars().count() < TENANT_CHARS {
        // The odd wording is that of Chroma's server.
        let length = format!("length [{{\"min\": Number({TENANT_CHARS}), \"value\": String({name:?})}}]");
        return Err(ChromaError::validation(&[format!("name: Validation error: {length}")]));
    }
    let created = {
        let name = name.clone();
        begun.run(async move { app.store.namespaces().create_tenant(&name).await }).await
    };
    created.map_err(|e| worded(e, ErrorKind::AlreadyExists, || format!("Tenant [{name}] already exists")))?;
    done()
}

pub(super) async fn tenant(State(app): State<App>, At(name): At<String>) -> Result<Response, ChromaError> {
    let tenant = app.store.namespaces().tenant(&name).await.map_err(|e| no_tenant(e, &name))?;
    Ok(json(StatusCode::OK, &json!({"name": tenant.name, "resource_name": tenant.resource_name}))?)
}

pub(super) async fn update_tenant(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    At(name): At<String>,
    ChromaJson(change): ChromaJson<TenantChange>,
) -> Result<Response, ChromaError> {
    let changed = {
        let name = name.clone();
        begun.run(async move { app.store.namespaces().update_tenant(&name, Some(change.resource_name)).await }).await
    };
    changed.map_err(|e| no_tenant(e, &name))?;
    done()
}

pub(super) async fn create_database(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    At(tenant): At<String>,
    ChromaJson(NewDatabase { name }): ChromaJson<NewDatabase>,
) -> Result<Response, ChromaError> {
    check_name(&name).map_err(ChromaError::invalid)?;
    let created = {
        let (tenant, name) = (tenant.clone(), name.clone());
        begun.run(async move { app.store.namespaces().create_database(&tenant, &name).await }).await
    };
    created.map_err(|e| match e.kind() {
        ErrorKind::NotFound => no_tenant(e, &tenant),
        _ => worded(e, ErrorKind::AlreadyExists, || format!("Database [{name}] already exists")),
    })?;
    done()
}

pub(super) async fn databases(
    State(app): State<App>,
    At(tenant): At<String>,
    ChromaParameters(page): ChromaParameters<PageParameters>,
) -> Result<Response, ChromaError> {
    let databases = app.store.namespaces().databases(&tenant).await?;
    let bodies: Vec<DatabaseBody> = page.of(databases).map(DatabaseBody::from).collect();
    Ok(json(StatusCode::OK, &bodies)?)
}

pub(super) async fn database(State(app): State<App>, At(place): At<InDatabase>) -> Result<Response, ChromaError> {
    let InDatabase { tenant, database } = place;
    let found = app.store.namespaces().database(&tenant, &database).await;
    let words = || format!("Database [{database}] not found. Are you sure it exists?");
    let found = found.map_err(|e| worded(e, ErrorKind::NotFound, words))?;
    Ok(json(StatusCode::OK, &DatabaseBody::from(found))?)
}

pub(super) async fn drop_database(
    State(app): State<App>,
    Extension(begun): Extension<WriteBegun>,
    At(place): At<InDatabase>,
) -> Result<Response, ChromaError> {
    let InDatabase { tenant, database } = place;
    let dropped = {
        let (tenant, database) = (tenant, database.clone());
        begun.run(async move { app.store.namespaces().drop_database(&tenant, &database).await }).await
    };
    dropped.map_err(|e| worded(e, ErrorKind::NotFound, || format!("Database [{database}] not found")))?;
    done()
}
