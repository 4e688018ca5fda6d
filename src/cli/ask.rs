//! Asking a running server: where it is unless told otherwise, and one GET. Invariant: a server at an `http`
//! address is asked on a machine without CA certificates, too, such as a bare container.

use std::time::Duration;

use drumlin::{Error, Kind, Result};
use reqwest::{Client, Response};

/// The server that is meant: the one named, or the one that listens on this machine as `serve` would.
pub fn server(named: Option<&str>) -> String {
    let own = || format!("http://127.0.0.1:{}", std::env::var("PORT").unwrap_or_else(|_| "8000".to_owned()));
    named.map_or_else(own, |url| url.trim_end_matches('/').to_owned())
}

/// A good answer to a GET of `url`, which shows `key` if there is one.
///
/// # Errors
/// `Unavailable`, with what came instead.
pub async fn get(url: &str, limit: Duration, key: Option<&str>) -> Result<Response> {
    let failed = |what: String| Error::new(Kind::Unavailable, format!("{url}: {what}"));
    let mut client = Client::builder().timeout(limit).no_proxy();
    if url.starts_with("http:") {
        client = client.tls_certs_only([]);
    }
    let client = client.build().map_err(|e| failed(format!("no client: {e}")).with_source(e))?;
    let request = client.get(url);
    let request = match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let answer = request.send().await.map_err(|e| failed(format!("no answer: {e}")))?;
    if answer.status().is_success() { Ok(answer) } else { Err(failed(format!("answered {}", answer.status()))) }
}
