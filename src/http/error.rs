//! What a failed request answers: one table from [`ErrorKind`] to status, and the JSON body
//! `{"error": {"kind", "message"}}`. A few failures exist only in HTTP (media type, method, body size):
//! they keep a kind of the core and bring a status of their own.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::environment::with_variables;
use crate::error::{Error, ErrorKind};

/// The status of each kind.
///
/// 422 for a limit: the request is well-formed and will never be accepted as it is. A body over its limit gets 413
/// before it is parsed. 504 for an unknown outcome: the bucket behind this server gave no definite answer. Damage is
/// 500, not 503: waiting does not heal it.
pub(crate) const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Gone => StatusCode::GONE,
        ErrorKind::AlreadyExists | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Limit => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Corrupted | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// A failure on its way to the client.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    error: Error,
}

impl ApiError {
    /// An error whose status is not the one of its kind.
    pub(crate) fn with_status(status: StatusCode, kind: ErrorKind, message: impl Into<String>) -> ApiError {
        ApiError { status, error: Error::new(kind, message) }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn into_error(self) -> Error {
        self.error
    }

    pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
        Error::invalid(message).into()
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        ApiError { status: status(error.kind()), error: with_variables(error) }
    }
}

/// The seconds of `Retry-After` for an error, if it has any.
pub(super) fn retry_after_seconds(error: &Error) -> Option<u64> {
    error.retry_after().map(|wait| wait.as_secs().max(1))
}

/// Refuses a search whose answer would have too many records, in both APIs.
pub(super) fn too_many_records(field: &str, most: usize) -> Error {
    Error::limit(format!(
        "{field}: a search answers at most {most} records (DRUMLIN_MAX_ANSWER_RECORDS), and this one would answer \
         more; ask for less at a time"
    ))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let ApiError { status, error } = self;
        if status.is_server_error() {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(status = status.as_u16(), kind = error.kind().name(), %cause, "{error}");
        }
        let body = Json(json!({"error": {"kind": error.kind().name(), "message": error.message()}}));
        let mut response = (status, body).into_response();
        if let Some(seconds) = retry_after_seconds(&error) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_fault_is_4xx_and_everything_else_is_5xx() {
        for kind in [
            ErrorKind::Invalid,
            ErrorKind::Unauthorized,
            ErrorKind::NotFound,
            ErrorKind::AlreadyExists,
            ErrorKind::Conflict,
            ErrorKind::Limit,
        ] {
            assert!(status(kind).is_client_error(), "{}", kind.name());
        }
        for kind in [
            ErrorKind::Corrupted,
            ErrorKind::Internal,
            ErrorKind::Unavailable,
            ErrorKind::OutcomeUnknown,
            ErrorKind::NoRoom,
        ] {
            assert!(status(kind).is_server_error(), "{}", kind.name());
        }
    }

    #[test]
    fn a_write_of_unknown_outcome_is_told_from_one_that_was_not_applied() {
        assert_ne!(status(ErrorKind::OutcomeUnknown), status(ErrorKind::Unavailable));
    }

    #[tokio::test]
    async fn an_error_is_json_with_kind_and_message_and_unavailable_says_when_to_retry() {
        let response = ApiError::from(Error::unavailable("the bucket does not answer")).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(header::RETRY_AFTER).map(HeaderValue::as_bytes), Some(&b"1"[..]));
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({"error": {"kind": "unavailable", "message": "the bucket does not answer"}}));
    }
}
