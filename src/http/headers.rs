//! Headers of every answer that keep browsers from doing harm with it, and what pages of other sites may do (CORS):
//! nothing, unless their origins are named.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::response::Response;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::access_log::X_REQUEST_ID;
use super::auth::{X_API_KEY, X_CHROMA_TOKEN};
use crate::error::{Error, Result};

/// How long a browser may cache the answer to a preflight.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The origins whose pages may use this server; by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsOrigins(Vec<HeaderValue>);

impl CorsOrigins {
    /// A list of origins such as `https://app.example.org`, separated by commas, or `*` for all.
    ///
    /// # Errors
    /// `Invalid` for an item that is not an origin.
    pub fn parse(list: &str) -> Result<CorsOrigins> {
        let items: Vec<&str> = list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        let wrong = |item: &str| {
            Error::invalid(format!(
                "expected origins such as https://app.example.org, separated by commas, or * alone, got {item:?}"
            ))
        };
        if items.contains(&"*") && items.len() > 1 {
            return Err(wrong(list));
        }
        let origin = |item: &&str| {
            let value = HeaderValue::try_from(*item).ok().filter(|_| *item == "*" || is_origin(item));
            value.ok_or_else(|| wrong(item))
        };
        items.iter().map(origin).collect::<Result<_>>().map(CorsOrigins)
    }

    /// Whether pages of `origin` may use this server.
    pub(super) fn allows(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// The layer that answers for these origins; `None` if there are none.
    pub(super) fn layer(&self) -> Option<CorsLayer> {
        let origin = match self.0.as_slice() {
            [] => return None,
            [all] if all == "*" => AllowOrigin::any(),
            named => AllowOrigin::list(named.iter().cloned()),
        };
        let headers = [
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::RANGE,
            X_API_KEY,
            X_CHROMA_TOKEN,
            X_REQUEST_ID,
            // Of the Model Context Protocol.
            HeaderName::from_static("mcp-protocol-version"),
            HeaderName::from_static("mcp-method"),
            HeaderName::from_static("mcp-name"),
        ];
        let shown = [header::ETAG, header::RETRY_AFTER, X_REQUEST_ID, HeaderName::from_static("chroma-trace-id")];
        let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let layer = CorsLayer::new().allow_origin(origin).allow_methods(methods).allow_headers(headers);
        Some(layer.expose_headers(shown).max_age(REMEMBERED))
    }
}

/// Whether the text is an origin as browsers write it: scheme, host, optionally a port, nothing more.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let plain = uri.path() == "/" && !text.ends_with('/') && uri.query().is_none();
    let named = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    plain && named && matches!(uri.scheme_str(), Some("http" | "https")) && text == text.to_ascii_lowercase()
}

/// Adds those security headers that are not there yet.
pub(super) fn secure(response: &mut Response) {
    const HEADERS: [(HeaderName, HeaderValue); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
}

/// The policy of the page: files of this server alone, nothing inline. Pictures may also be made by the page itself.
pub(super) const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                                      img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; \
                                      frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_told_from_what_only_looks_like_one() {
        for good in ["", "*", "https://app.example.org", "http://localhost:5173", "https://a.b, https://c.d ,"] {
            assert!(CorsOrigins::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "app.example.org",
            "https://app.example.org/",
            "https://app.example.org/path",
            "https://App.example.org",
            "https://user@app.example.org",
            "ftp://app.example.org",
            "null",
            "*, https://a.b",
            "https://a b",
        ] {
            let refused = CorsOrigins::parse(bad).unwrap_err();
            assert!(refused.message().contains("https://app.example.org"), "{bad}: {refused}");
        }
        assert!(CorsOrigins::default().layer().is_none() && CorsOrigins::parse("*").unwrap().layer().is_some());
    }
}
