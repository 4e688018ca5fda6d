//! The client for stores behind plain HTTP, its settings, and store time read off an answer. Invariant: a redirect is
//! never followed, since it would hide whose answer this is.

use std::time::Duration;

use super::StoreTime;
use super::attempt::wants_new_connection;
use super::call::attempt_limit;
use super::clock::system_time;
use crate::error::{Error, Result};

/// How calls are made and large objects cut.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct HttpOptions {
    /// How long one attempt may take. A body adds one minute per 64 MiB.
    pub attempt_timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// Objects from this many bytes on are uploaded in parts by `put_large`.
    pub multipart_bytes: usize,
    /// How large a part is, in bytes.
    pub part_bytes: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            attempt_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            multipart_bytes: 64 << 20,
            part_bytes: 16 << 20,
        }
    }
}

impl HttpOptions {
    /// How long an attempt may take with `body_bytes` bytes of body, sent or received.
    pub(super) fn limit(&self, body_bytes: u64) -> Duration {
        attempt_limit(self.attempt_timeout, body_bytes)
    }

    /// Clients with these settings. TLS is rustls with ring unless the process has chosen another provider.
    pub(super) fn clients(&self) -> Result<Clients> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| Error::internal(format!("the HTTP client did not start: {error}")))
        };
        let settings = || {
            reqwest::Client::builder()
                .connect_timeout(self.connect_timeout)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("drumlin/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Clients { keeping: build(settings())?, fresh: build(settings().pool_max_idle_per_host(0))? })
    }
}

/// One client that keeps its connections, and one that does not.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    keeping: reqwest::Client,
    fresh: reqwest::Client,
}

impl Clients {
    /// The client that the call under way wants.
    pub(super) fn of_call(&self) -> &reqwest::Client {
        if wants_new_connection() { &self.fresh } else { &self.keeping }
    }
}

/// A date as HTTP writes it, in one of its headers.
pub(super) fn http_date(headers: &reqwest::header::HeaderMap, name: &str) -> Option<StoreTime> {
    let text = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok().map(system_time)
}
