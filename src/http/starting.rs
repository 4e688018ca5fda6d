//! The routes before the store is open: `/health`, `/ready` and the page answer at once, everything else answers 503
//! and names what the server waits for. Keys, limits and log apply as they do later.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
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
use super::page;
use crate::error::Error;
use crate::store::opening::Opening;

/// The routes while the store opens.
pub(super) fn router(opening: Opening, front: &Front) -> Router {
    let trust_proxy = front.settings.trust_proxy;
    let root = move |uri: Uri, headers: HeaderMap| async move {
        if page::wants_page(&headers) { page::index(&headers, trust_proxy) } else { not_yet(uri).await }
    };
    let routes = Router::new().route("/health", get(health)).route("/ready", get(ready)).route("/", get(root));
    let routes = routes.route(page::FILES, get(page::file)).route("/api/key", get(page::key)).fallback(not_yet);
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
