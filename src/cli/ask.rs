//! Requests to a running server: its address unless one is given, and one GET. Invariant: a server at an `http`
//! address can be asked on a machine without CA certificates too, such as a bare container.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};

use super::settings;
use crate::{Error, ErrorKind, Result};

/// The server's URL: the named one, or that of a server on this machine as `serve` would start it.
pub fn server(named: Option<&str>) -> String {
    named.map_or_else(own, |url| url.trim_end_matches('/').to_owned())
}

/// The server of this machine: the address in the variables, or the loopback address if that one means all addresses.
fn own() -> String {
    let lookup = |name: &str| std::env::var(name).ok();
    let at = settings::address_from(lookup).unwrap_or_else(|_| ("127.0.0.1".to_owned(), 8000));
    let (host, port) = match at.0.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() && ip.is_ipv4() => ("127.0.0.1".to_owned(), at.1),
        Ok(ip) if ip.is_unspecified() => ("[::1]".to_owned(), at.1),
        Ok(IpAddr::V6(ip)) => (format!("[{ip}]"), at.1),
        _ => at,
    };
    format!("http://{host}:{port}")
}

/// A successful answer to a GET of `url`, sent with `key` if there is one.
///
/// # Errors
/// `Unavailable`, with the answer or failure that came instead.
pub async fn get(url: &str, limit: Duration, key: Option<&str>) -> Result<Response> {
    let failed = |what: String| Error::new(ErrorKind::Unavailable, format!("{url}: {what}"));
    let mut client = Client::builder().timeout(limit).no_proxy();
    if url.starts_with("http:") {
        client = client.tls_certs_only([]);
    }
    let client = client.build().map_err(|e| failed(format!("the HTTP client did not start: {e}")).with_source(e))?;
    let request = client.get(url);
    let request = match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let answer = request.send().await.map_err(|e| failed(format!("no answer: {}", innermost(&e))))?;
    match answer.status() {
        good if good.is_success() => Ok(answer),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let shown = if key.is_some() { "it refused the key in STORAGE_API_KEY" } else { "it needs a key" };
            let status = answer.status();
            let what =
                format!("answered {status}: {shown}; set STORAGE_API_KEY to a key that may read the server's metrics");
            Err(Error::new(ErrorKind::Unauthorized, format!("{url}: {what}")))
        }
        other => Err(failed(format!("answered {other}"))),
    }
}

/// The text of a successful answer; as [`get`].
pub async fn text(url: &str, limit: Duration, key: Option<&str>) -> Result<String> {
    let broken =
        |cause: reqwest::Error| Error::new(ErrorKind::Unavailable, format!("{url}: the answer was cut short: {cause}"));
    get(url, limit, key).await?.text().await.map_err(broken)
}

/// The innermost cause, such as `connection refused`.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
