//! Routes of a check of the bucket: begin one, watch it.

use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::App;
use super::answer::json;
use super::body::{Parameters, Payload};
use super::error::ApiError;
use super::wire::NoParameters;
use crate::store::verification::{CheckState, CollectionSelector};

/// `POST /api/verify`: which collections to check; all of them, and the catalog, without any.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyBody {
    collection: Option<String>,
    tenant: Option<String>,
    database: Option<String>,
}

pub(super) async fn begin(
    State(app): State<App>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    payload: Payload,
) -> Result<Response, ApiError> {
    let body = if payload.bytes.is_empty() { VerifyBody::default() } else { payload.json(&app).await? };
    let VerifyBody { collection, tenant, database } = body;
    let selector = CollectionSelector { collection, tenant, database };
    let state = app.store.admin().begin_check(selector, SystemTime::now()).await?;
    json(StatusCode::ACCEPTED, &with_variables_in(state))
}

pub(super) async fn state(
    State(app): State<App>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Response, ApiError> {
    json(StatusCode::OK, &with_variables_in(app.store.admin().check_state()))
}

/// The state, with the variables of a server in its error.
fn with_variables_in(mut state: CheckState) -> CheckState {
    state.error = state.error.as_deref().map(crate::environment::words_with_variables);
    state
}
