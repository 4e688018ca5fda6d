//! Routes of the first version about the server, tenants and databases.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::super::super::App;
use super::super::super::answer::json;
use super::super::super::middleware::WriteBegun;
use super::super::body::{At, ChromaJson, ChromaParameters, InDatabase};
use super::super::error::ChromaError;
use super::super::namespaces::{self, NewDatabase, NewTenant};
use super::super::root;
use super::error::{Subject, of_v1};
use super::extract::{InV1, PartsInV1};
use super::place::Named;

/// The version of Chroma's server whose API this is.
const VERSION: &str = "0.5.23";

/// The answer to what has nothing to answer.
pub(super) fn done() -> Result<Response, ChromaError> {
    Ok(json(StatusCode::OK, &())?)
}

pub(super) async fn version() -> Result<Response, ChromaError> {
    Ok(json(StatusCode::OK, &VERSION)?)
}

pub(super) async fn pre_flight_checks(State(app): State<App>) -> Result<Response, ChromaError> {
    Ok(json(StatusCode::OK, &json!({"max_batch_size": root::max_batch_size(&app)}))?)
}

pub(super) async fn reset(app: State<App>, begun: Extension<WriteBegun>) -> Result<Response, ChromaError> {
    root::reset(app, begun).await.map_err(|e| of_v1(e, Subject::Other))
}

pub(super) async fn create_tenant(
    app: State<App>,
    begun: Extension<WriteBegun>,
    InV1(ChromaJson(body)): InV1<ChromaJson<NewTenant>>,
) -> Result<Response, ChromaError> {
    let name = body.name.clone();
    let created = namespaces::create_tenant(app, begun, ChromaJson(body)).await;
    created.map_err(|e| of_v1(e, Subject::Tenant(&name)))?;
    done()
}

pub(super) async fn tenant(
    State(app): State<App>,
    PartsInV1(At(name)): PartsInV1<At<String>>,
) -> Result<Response, ChromaError> {
    let tenant = app.store.namespaces().tenant(&name).await.map_err(|e| of_v1(e.into(), Subject::Tenant(&name)))?;
    Ok(json(StatusCode::OK, &json!({"name": tenant.name}))?)
}

pub(super) async fn create_database(
    app: State<App>,
    begun: Extension<WriteBegun>,
    PartsInV1(ChromaParameters(named)): Named,
    InV1(ChromaJson(body)): InV1<ChromaJson<NewDatabase>>,
) -> Result<Response, ChromaError> {
    let (tenant, name) = (named.tenant(), body.name.clone());
    let created = namespaces::create_database(app, begun, At(tenant.clone()), ChromaJson(body)).await;
    created.map_err(|e| match e.status {
        // It is the tenant that is missing.
        StatusCode::NOT_FOUND => of_v1(e, Subject::Tenant(&tenant)),
        _ => of_v1(e, Subject::Database { name: &name, tenant: &tenant }),
    })?;
    done()
}

pub(super) async fn database(
    app: State<App>,
    PartsInV1(ChromaParameters(named)): Named,
    PartsInV1(At(name)): PartsInV1<At<String>>,
) -> Result<Response, ChromaError> {
    let (tenant, database) = (named.tenant(), name.clone());
    let found = namespaces::database(app, At(InDatabase { tenant: tenant.clone(), database })).await;
    found.map_err(|e| of_v1(e, Subject::Database { name: &name, tenant: &tenant }))
}
