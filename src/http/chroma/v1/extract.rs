//! Extractors of the second version whose refusals have the names of the first.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;

use super::super::super::App;
use super::super::error::ChromaError;
use super::error::{Subject, of_v1};

/// An extractor of the second version.
pub(super) struct InV1<E>(pub(super) E);

impl<E: FromRequest<App, Rejection = ChromaError>> FromRequest<App> for InV1<E> {
    type Rejection = ChromaError;

    async fn from_request(request: Request, app: &App) -> Result<InV1<E>, ChromaError> {
        E::from_request(request, app).await.map(InV1).map_err(|e| of_v1(e, Subject::Other))
    }
}

/// An extractor of the parts of a request.
pub(super) struct PartsInV1<E>(pub(super) E);

impl<E: FromRequestParts<App, Rejection = ChromaError>> FromRequestParts<App> for PartsInV1<E> {
    type Rejection = ChromaError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<PartsInV1<E>, ChromaError> {
        E::from_request_parts(parts, app).await.map(PartsInV1).map_err(|e| of_v1(e, Subject::Other))
    }
}
