//! The page in a browser: the application of `web/`, as part of the program. It loads nothing from elsewhere, uses
//! the public API alone, and works behind a proxy that cuts off a prefix. It is served before the store is open too.

mod assets;

use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::auth::Requester;
use super::client::prefix;
use super::error::ApiError;
use super::headers::PAGE_POLICY;
use crate::error::Error;
use assets::{Asset, INDEX};

/// Where the files of the application are; the router's pattern.
pub(super) const FILES: &str = "/page/{*file}";

/// Whether a request is a browser's for a page, and not a program's.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("text/html")
}

/// The application's first file. Its links begin with the prefix that a proxy has cut off, or else are relative; the
/// modules find everything else from where they were loaded.
pub(super) fn index(headers: &HeaderMap, trust_proxy: bool) -> Response {
    match prefix(headers, trust_proxy) {
        "" => answer(INDEX, headers),
        prefix => {
            // The prefix holds nothing that ends an attribute: `client::prefix` sees to that.
            let page = String::from_utf8_lossy(INDEX.plain()).replace("=\"page/", &format!("=\"{prefix}/page/"));
            (PAGE_HEADERS, [(header::CONTENT_TYPE, INDEX.content_type())], page).into_response()
        }
    }
}

/// One of the application's files.
pub(super) async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    match assets::find(&path) {
        Some(asset) => answer(asset, &headers),
        None => ApiError::from(Error::not_found(format!("the page has no file {path:.200}"))).into_response(),
    }
}

/// The headers of every file: a browser asks each time whether it has the newest, and the answer depends on what it
/// accepts.
const PAGE_HEADERS: [(HeaderName, &str); 3] = [
    (header::CACHE_CONTROL, "no-cache"),
    (header::VARY, "accept, accept-encoding"),
    (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
];

fn answer(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let has = |name: HeaderName, wanted: &str| {
        let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|item| item.trim().split(';').next() == Some(wanted))
    };
    let zipped = has(header::ACCEPT_ENCODING, "gzip");
    // Strong tags differ where the bytes do.
    let tag = format!("\"{}{}\"", asset.sum(), if zipped { "-gzip" } else { "" });
    if has(header::IF_NONE_MATCH, &tag) {
        return (StatusCode::NOT_MODIFIED, PAGE_HEADERS, [(header::ETAG, tag)]).into_response();
    }
    let described = [(header::CONTENT_TYPE, asset.content_type().to_owned()), (header::ETAG, tag)];
    match zipped {
        true => (PAGE_HEADERS, described, [(header::CONTENT_ENCODING, "gzip")], asset.zipped()).into_response(),
        false => (PAGE_HEADERS, described, asset.plain()).into_response(),
    }
}

/// Redirects `/docs` into the console. The target is relative, since a proxy may have cut off a prefix.
pub(super) async fn documentation(request: Request) -> Response {
    let target = if request.uri().path().ends_with('/') { "../#/console" } else { "./#/console" };
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response()
}

/// What the key of a request allows.
#[derive(Serialize)]
pub(super) struct KeyBody {
    /// Whether the server asks for keys at all.
    required: bool,
    /// `None`: the request has no key that the server knows.
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
}

/// Tells what the key of this request allows, so that a program asks a person for one before it is refused.
pub(super) async fn key(Extension(identity): Extension<Requester>) -> Json<KeyBody> {
    let (name, bound) = identity.key().map_or((None, None), |(name, bound)| (Some(name.to_owned()), bound));
    Json(KeyBody {
        required: !matches!(identity, Requester::Anybody),
        scope: identity.scope().map(|scope| scope.name()),
        name,
        tenant: bound.map(|bound| bound.tenant.clone()),
        database: bound.and_then(|bound| bound.database.clone()),
    })
}
