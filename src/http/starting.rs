//! The routes before the store is open: `/health` and `/ready` answer at once, everything else answers 503 and names
//! what the server waits for. Keys, limits and log apply as they do later.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::json;

use super::Front;
use super::answer::json as answer;
use super::auth::Requester;
use super::chroma;
use super::chroma::error::ChromaError;
use super::error::ApiError;
use super::operations::without_names;
use crate::error::Error;
use crate::store::opening::Opening;

/// The routes while the store opens.
pub(super) fn router(opening: Opening, front: &Front) -> Router {
    let routes = Router::new().route("/health", get(health)).route("/ready", get(ready)).fallback(not_yet);
    front.before(routes).with_state(opening)
}

async fn health(
    State(opening): State<Opening>,
    Extension(identity): Extension<Requester>,
) -> Result<Response, ApiError> {
    let health = opening.health();
    answer(StatusCode::OK, &if identity.sees_everything() { health } else { without_names(health) })
}

async fn ready(State(opening): State<Opening>) -> Result<Response, ApiError> {
    let health = opening.health();
    answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"ready": false, "loading": health.loading}))
}

async fn not_yet(uri: Uri) -> Response {
    let error = Error::unavailable("the server is starting and waits for its bucket; GET /health says what for");
    if chroma::owns(uri.path()) {
        ChromaError::from(error).into_response()
    } else {
        ApiError::from(error).into_response()
    }
}
