//! The answer to a failed request: `{"error": name, "message": text}`, with the names that Chroma's clients turn into
//! exceptions. JavaScript's client looks at the status only, Python's at the name only, so both must be right in each
//! case. One table maps the core's kinds to them. The first version of the API has names and words of its own
//! (`v1/error.rs`), which follow from the cause.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::error::{ApiError, retry_after_seconds};
use crate::environment::with_variables;
use crate::error::{Error, ErrorKind};

/// The trace id of Chroma's server when nothing is traced; Python's client attaches it to its exceptions.
const NO_TRACE: &str = "00000000000000000000000000000000";

/// A failure on its way to one of Chroma's clients.
#[derive(Debug)]
pub(in crate::http) struct ChromaError {
    pub(super) status: StatusCode,
    pub(super) name: &'static str,
    pub(super) message: String,
    pub(super) cause: Cause,
    /// Seconds until a retry, where a retry helps.
    retry_after: Option<u64>,
}

/// Why a request failed, where the two versions of the API say it in different words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// What the request names does not exist.
    Missing,
    /// The name is taken.
    Taken,
    /// Embeddings of another length than the collection's.
    Dimension {
        expected: usize,
        got: usize,
    },
    Other,
}

impl ChromaError {
    fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> ChromaError {
        ChromaError { status, name, message: message.into(), cause: Cause::Other, retry_after: None }
    }

    fn because(self, cause: Cause) -> ChromaError {
        ChromaError { cause, ..self }
    }

    /// The message for people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// A request that can never succeed as it is.
    pub(super) fn invalid(message: impl Into<String>) -> ChromaError {
        ChromaError::new(StatusCode::BAD_REQUEST, "InvalidArgumentError", message)
    }

    /// A request that can never succeed, and the fields that are wrong.
    pub(super) fn validation(errors: &[String]) -> ChromaError {
        ChromaError::invalid(format!("Validation error: {}", errors.join("\n")))
    }

    /// JSON of another shape than the route accepts.
    pub(super) fn shape(message: impl Into<String>) -> ChromaError {
        ChromaError::new(StatusCode::UNPROCESSABLE_ENTITY, "ChromaError", message)
    }

    /// A body that is not JSON.
    pub(super) fn media_type() -> ChromaError {
        let message = "Expected request with `Content-Type: application/json`";
        ChromaError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ChromaError", message)
    }

    /// The named thing does not exist.
    pub(super) fn not_found(message: impl Into<String>) -> ChromaError {
        ChromaError::new(StatusCode::NOT_FOUND, "NotFoundError", message).because(Cause::Missing)
    }

    /// The name is taken.
    pub(super) fn exists(message: impl Into<String>) -> ChromaError {
        ChromaError::new(StatusCode::CONFLICT, "ChromaError", message).because(Cause::Taken)
    }

    /// An embedding that the collection cannot hold.
    pub(super) fn dimension(expected: usize, got: usize) -> ChromaError {
        let message = format!("Collection expecting embedding with dimension of {expected}, got {got}");
        ChromaError::invalid(message).because(Cause::Dimension { expected, got })
    }

    /// The operation is switched off here.
    pub(super) fn forbidden(message: impl Into<String>) -> ChromaError {
        ChromaError::new(StatusCode::FORBIDDEN, "ChromaError", message)
    }

    /// Chroma's API has this operation, this server does not.
    pub(super) fn unimplemented(message: impl Into<String>) -> ChromaError {
        ChromaError::new(StatusCode::NOT_IMPLEMENTED, "ChromaError", message)
    }

    /// A record that a transaction read or writes was written by another.
    pub(super) fn write_conflict() -> ChromaError {
        ChromaError::new(StatusCode::CONFLICT, "ConditionalWriteConflictError", "conditional write conflict")
    }

    /// What a transaction read is too old.
    pub(super) fn stale_read(message: impl Into<String>) -> ChromaError {
        ChromaError::new(StatusCode::PRECONDITION_FAILED, "StaleReadError", message)
    }

    /// A transaction that other writers outran; nothing was written.
    pub(super) fn back_off(message: impl Into<String>) -> ChromaError {
        let refused = ChromaError::new(StatusCode::TOO_MANY_REQUESTS, "Backoff", message);
        ChromaError { retry_after: Some(1), ..refused }
    }

    /// The key may not do this, or not now: 401, 403 or 429.
    pub(in crate::http) fn refused(status: StatusCode, message: impl Into<String>) -> ChromaError {
        let name = match status {
            StatusCode::UNAUTHORIZED => "AuthError",
            StatusCode::TOO_MANY_REQUESTS => "RateLimitError",
            _ => "AuthorizationError",
        };
        ChromaError::new(status, name, message)
    }

    /// A request to the first version of the API.
    pub(super) fn gone() -> ChromaError {
        let message = "The v1 API is deprecated. Please use /v2 apis";
        ChromaError::new(StatusCode::GONE, "Unimplemented", message)
    }
}

/// The status and name of each kind.
const fn wire(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::Invalid | ErrorKind::Limit => (StatusCode::BAD_REQUEST, "InvalidArgumentError"),
        ErrorKind::Unauthorized => (StatusCode::UNAUTHORIZED, "AuthError"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "NotFoundError"),
        ErrorKind::Gone => (StatusCode::GONE, "NotFoundError"),
        ErrorKind::AlreadyExists | ErrorKind::Conflict => (StatusCode::CONFLICT, "ChromaError"),
        ErrorKind::Corrupted | ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ChromaError"),
        ErrorKind::NoRoom => (StatusCode::INSUFFICIENT_STORAGE, "ChromaError"),
        ErrorKind::OutcomeUnknown => (StatusCode::GATEWAY_TIMEOUT, "ChromaError"),
    }
}

impl From<Error> for ChromaError {
    fn from(error: Error) -> ChromaError {
        let error = with_variables(error);
        let (status, name) = wire(error.kind());
        if status.is_server_error() {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(status = status.as_u16(), kind = error.kind().name(), %cause, "{error}");
        }
        let cause = match error.kind() {
            ErrorKind::NotFound => Cause::Missing,
            ErrorKind::AlreadyExists => Cause::Taken,
            _ => Cause::Other,
        };
        let retry_after = retry_after_seconds(&error);
        ChromaError { retry_after, ..ChromaError::new(status, name, error.message()).because(cause) }
    }
}

/// Refusals from before a body is read: too large, or cut off.
impl From<ApiError> for ChromaError {
    fn from(error: ApiError) -> ChromaError {
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ChromaError::new(StatusCode::PAYLOAD_TOO_LARGE, "", "Payload too large"),
            status @ (StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::REQUEST_TIMEOUT) => {
                ChromaError::new(status, "ChromaError", error.into_error().message())
            }
            _ => error.into_error().into(),
        }
    }
}

impl IntoResponse for ChromaError {
    fn into_response(self) -> Response {
        let ChromaError { status, name, message, retry_after, .. } = self;
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return (status, message).into_response();
        }
        let mut response = (status, axum::Json(json!({"error": name, "message": message}))).into_response();
        response.headers_mut().insert("chroma-trace-id", HeaderValue::from_static(NO_TRACE));
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names for which Python's client has an exception.
    const KNOWN: [&str; 6] =
        ["InvalidArgumentError", "NotFoundError", "ChromaError", "InternalError", "AuthError", "RateLimitError"];

    #[test]
    fn a_failure_carries_a_trace_id() {
        let response = ChromaError::not_found("nothing").into_response();
        assert_eq!(response.headers().get("chroma-trace-id").unwrap(), NO_TRACE);
    }

    #[test]
    fn every_kind_has_a_name_that_pythons_client_knows_and_blames_the_right_side() {
        use ErrorKind::*;
        for kind in [NotFound, AlreadyExists, Invalid, Conflict, Unauthorized, Limit] {
            let (status, name) = wire(kind);
            assert!(status.is_client_error() && KNOWN.contains(&name), "{}", kind.name());
        }
        for kind in [Unavailable, OutcomeUnknown, NoRoom, Corrupted, Internal] {
            let (status, name) = wire(kind);
            assert!(status.is_server_error() && KNOWN.contains(&name), "{}", kind.name());
        }
    }
}
