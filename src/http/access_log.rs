//! The log line of each request, and the request's id. Invariant: nothing secret is in a line. It has no query
//! string, no header except the id, and only the name of the key. A request that its client gave up on also has a
//! line, with the status 499.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use ulid::Ulid;

use super::client::Client;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of a request id that a client may choose.
const ID_BYTES: usize = 128;
/// Status of a request whose client hung up before the answer; nginx introduced the number.
const CLIENT_GONE: u16 = 499;

/// The name of the key that a request showed, once that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller(Arc<OnceLock<String>>);

impl Caller {
    pub(super) fn is(&self, name: &str) {
        // A request has one key: setting it again would change nothing.
        let _ = self.0.set(name.to_owned());
    }
}

/// The log line of a request, written when this value is dropped.
pub(super) struct Line {
    began: Instant,
    pub(super) method: Method,
    /// The pattern of the route, `none` for a path without one.
    pub(super) route: String,
    pub(super) path: String,
    client: Client,
    caller: Caller,
    id: HeaderValue,
    answered: Option<(u16, Option<u64>)>,
}

impl Line {
    /// Begins the line, and gives the request its [`Client`] and [`Caller`].
    pub(super) fn begin(request: &mut Request, trust_proxy: bool) -> Line {
        let client = Client::of(request, trust_proxy);
        let caller = Caller::default();
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(caller.clone());
        Line {
            began: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned(),
            path: request.uri().path().to_owned(),
            client,
            caller,
            id: request_id(request.headers()),
            answered: None,
        }
    }

    /// Ends the line with the request's answer, and gives the answer the id.
    pub(super) fn end(&mut self, response: &mut Response) -> Duration {
        response.headers_mut().insert(X_REQUEST_ID, self.id.clone());
        let told = response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = told.or_else(|| response.body().size_hint().exact());
        self.answered = Some((response.status().as_u16(), bytes));
        self.began.elapsed()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let (status, bytes) = self.answered.unwrap_or((CLIENT_GONE, None));
        tracing::info!(
            target: "drumlin::access",
            method = self.method.as_str(),
            route = self.route.as_str(),
            path = self.path.as_str(),
            status,
            ms = (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
            bytes,
            key = self.caller.0.get().map(String::as_str),
            peer = self.client.address.map(tracing::field::display),
            scheme = self.client.scheme,
            request_id = self.id.to_str().unwrap_or_default(),
            "request"
        );
    }
}

/// The id that the client chose, if it is valid, or one made here.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:/+=@-".contains(byte);
        (1..=ID_BYTES).contains(&value.len()) && value.as_bytes().iter().all(allowed)
    };
    let made = || HeaderValue::try_from(Ulid::generate().to_string());
    match headers.get(X_REQUEST_ID).filter(sane) {
        Some(value) => value.clone(),
        // A ULID consists of letters and digits, so it is always valid in a header.
        None => made().unwrap_or(HeaderValue::from_static("none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let id = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            request_id(&HeaderMap::from_iter([(X_REQUEST_ID, value)])).to_str().unwrap().to_owned()
        };
        for sane in ["a", "7f3c-11.x_Y", "Root=1-67891233-abcdef012345678912345678", &"x".repeat(128)] {
            assert_eq!(id(sane.as_bytes()), sane);
        }
        for other in ["", "two words", "\"quoted\"", "a\tb", "é", &"x".repeat(129)] {
            assert_eq!(id(other.as_bytes()).len(), 26, "{other:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
