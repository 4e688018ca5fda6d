//! Protection from pages of other sites in a browser, where no key keeps them out. Such a page must not reach a
//! server of this machine through a host name of its own (DNS rebinding). Nor may it change anything by requests that
//! a browser sends for it. Invariant: programs other than browsers notice nothing of it, as long as they use this
//! machine's names.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Front;
use super::chroma;
use super::chroma::error::ChromaError;
use super::error::ApiError;
use super::headers::CorsOrigins;
use crate::error::ErrorKind;

/// The browser's statement about the page behind a request; no page can write this header.
const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// Most characters of a header that an answer repeats.
const SHOWN_CHARS: usize = 100;

/// Refuses requests from the pages of other sites, unless keys decide who may do what.
pub(super) async fn keep_out(State(front): State<Front>, request: Request, next: Next) -> Response {
    if front.settings.keys.asks_for_keys() {
        return next.run(request).await;
    }
    let foreign = match front.this_machine_only {
        true => foreign_host(&request),
        false => None,
    };
    let Some(message) = foreign.or_else(|| foreign_page(&request, &front.settings.cors_origins)) else {
        return next.run(request).await;
    };
    match chroma::owns(request.uri().path()) {
        true => ChromaError::refused(StatusCode::FORBIDDEN, message).into_response(),
        false => ApiError::with_status(StatusCode::FORBIDDEN, ErrorKind::Unauthorized, message).into_response(),
    }
}

/// The refusal of a request that names another host than this machine.
fn foreign_host(request: &Request) -> Option<String> {
    let host = host_of(request)?;
    if is_this_machine(&host) {
        return None;
    }
    let host = shortened(&host);
    Some(format!(
        "no key protects this server, so a request must address it by a name of this machine such as localhost, and \
         {host:?} is none: a page in a browser could use such a name. Use localhost, set STORAGE_API_KEY, or set \
         DRUMLIN_ALLOW_PUBLIC=true if something in front protects it"
    ))
}

/// The refusal of a request by which a page of another origin would change something.
fn foreign_page(request: &Request, allowed: &CorsOrigins) -> Option<String> {
    if !may_change(request) {
        return None;
    }
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| allowed.allows(origin)) {
        return None;
    }
    let foreign = match text(headers, SEC_FETCH_SITE) {
        Some("same-origin" | "none") => false,
        Some("cross-site") => true,
        // `same-site` is another port of this machine, whose page is as foreign as any.
        _ => origin.is_some_and(|origin| !is_same_origin(origin, host_of(request).as_deref())),
    };
    let origin = origin.and_then(|origin| origin.to_str().ok()).map_or("another site".to_owned(), shortened);
    foreign.then(|| {
        format!(
            "no key protects this server, so pages of {origin} may change nothing here; name that origin in \
             DRUMLIN_CORS_ORIGINS if they may, or set STORAGE_API_KEY"
        )
    })
}

/// Whether a request can change something; a download counts, since it may delete the file.
fn may_change(request: &Request) -> bool {
    let downloads = ["/download/", "/api/files/"].iter().any(|prefix| request.uri().path().starts_with(prefix));
    match *request.method() {
        Method::HEAD | Method::OPTIONS => false,
        Method::GET => downloads,
        _ => true,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn shortened(text: impl AsRef<str>) -> String {
    text.as_ref().chars().take(SHOWN_CHARS).collect()
}

/// The host and port that a request names; HTTP/2 has them in its target. `None`: no browser sent it.
fn host_of(request: &Request) -> Option<String> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str().to_owned()),
        None => {
            let host = request.headers().get(header::HOST)?;
            Some(String::from_utf8_lossy(host.as_bytes()).into_owned())
        }
    }
}

/// Whether a host, with or without a port, is a name or address of this machine that no DNS server can claim.
fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let loopback = address.is_ok_and(|address| address.to_canonical().is_loopback());
    let plain = !authority.as_str().contains('@');
    plain && (loopback || name == "localhost" || name.ends_with(".localhost"))
}

/// Whether an origin is this server's own, as the request names it.
fn is_same_origin(origin: &HeaderValue, host: Option<&str>) -> bool {
    let own = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let own = own.as_ref().and_then(|origin| origin.authority()).map(Authority::as_str);
    own.zip(host).is_some_and(|(own, host)| own.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_what_only_looks_like_one() {
        for own in
            ["localhost", "localhost:8000", "LOCALHOST.", "127.0.0.1", "127.9.9.9:1", "[::1]:8000", "a.localhost"]
        {
            assert!(is_this_machine(own), "{own}");
        }
        for foreign in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.nip.io:8000",
            "notlocalhost",
            "0.0.0.0:8000",
            "10.0.0.1",
            "[::2]",
            "localhost@example.org",
            "example.org@localhost",
            "local host",
        ] {
            assert!(!is_this_machine(foreign), "{foreign}");
        }
    }

    #[test]
    fn an_origin_is_this_servers_if_host_and_port_are() {
        let same = |origin: &'static str, host: &str| is_same_origin(&HeaderValue::from_static(origin), Some(host));
        assert!(same("http://localhost:8000", "localhost:8000") && same("https://db.example.org", "DB.example.org"));
        for origin in ["null", "", "http://localhost:3000", "http://localhost", "https://evil.example", "localhost"] {
            assert!(!same(origin, "localhost:8000"), "{origin}");
        }
        assert!(!is_same_origin(&HeaderValue::from_static("http://localhost"), None));
    }
}
