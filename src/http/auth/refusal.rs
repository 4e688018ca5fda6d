//! The answer to a request that may not pass: a fixed sentence in the form of the API to which its path belongs.
//! Missing, wrong and expired keys get one and the same sentence.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::chroma;
use super::super::chroma::error::ChromaError;
use super::super::error::ApiError;
use super::rate::Rate;
use crate::error::ErrorKind;

const STRANGER: &str = "a valid key is needed: send it as X-API-Key, X-Chroma-Token, Authorization: Bearer, or as the \
                        password of Authorization: Basic";
const FORBIDDEN: &str = "this key does not allow this request";
const CHALLENGE: &str = "Bearer realm=\"drumlin\", Basic realm=\"drumlin\", charset=\"UTF-8\"";

/// Why a request does not pass.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The request has no valid key.
    Stranger,
    /// The key allows less than the route needs, or is bound to another place.
    Forbidden,
    /// Its key, or its address, has asked too often.
    TooOften { wait: Duration, rate: Rate },
}

impl Refusal {
    /// The answer to a request of this path.
    pub(super) fn response(self, path: &str) -> Response {
        let (status, kind, message) = match &self {
            Refusal::Stranger => (StatusCode::UNAUTHORIZED, ErrorKind::Unauthorized, STRANGER.to_owned()),
            Refusal::Forbidden => (StatusCode::FORBIDDEN, ErrorKind::Unauthorized, FORBIDDEN.to_owned()),
            Refusal::TooOften { rate, .. } => {
                let Rate { per_second, burst } = rate;
                let message = format!(
                    "more than {per_second} requests a second (DRUMLIN_RATE_PER_SECOND), {burst} at once \
                     (DRUMLIN_RATE_BURST); wait as Retry-After says"
                );
                (StatusCode::TOO_MANY_REQUESTS, ErrorKind::Limit, message)
            }
        };
        let mut response = match chroma::owns(path) {
            true => ChromaError::refused(status, message).into_response(),
            false => ApiError::with_status(status, kind, message).into_response(),
        };
        match self {
            Refusal::Stranger => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            }
            Refusal::TooOften { wait, .. } => {
                // Whole seconds, rounded up: an earlier attempt would fail.
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            }
            Refusal::Forbidden => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_status_and_headers_in_both_apis() {
        for path in ["/api/collections", "/api/v2/reset"] {
            let stranger = Refusal::Stranger.response(path);
            assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(stranger.headers().get(header::WWW_AUTHENTICATE).unwrap(), CHALLENGE);
            assert_eq!(Refusal::Forbidden.response(path).status(), StatusCode::FORBIDDEN);
            let rate = Rate { per_second: 0.5, burst: 1.0 };
            for (wait_ms, seconds) in [(1, "1"), (1_000, "1"), (1_001, "2")] {
                let often = Refusal::TooOften { wait: Duration::from_millis(wait_ms), rate }.response(path);
                assert_eq!(often.status(), StatusCode::TOO_MANY_REQUESTS);
                assert_eq!(often.headers().get(header::RETRY_AFTER).unwrap(), seconds);
            }
        }
    }
}
