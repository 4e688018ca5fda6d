//! The client of the stores that are reached by plain HTTP, its settings, and how store time is read off an answer.
//! Its invariant: a redirect is never followed, since it would hide whose answer this is.

use std::time::Duration;

use super::StoreTime;
use super::attempt::wants_new_connection;
use super::call::attempt_limit;
use super::clock::system_time;
use crate::error::{Error, Result};

/// How calls are made and large objects cut.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How long one attempt may take; a minute more is given per 64 MiB of a body.
    pub attempt_timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// From how many bytes on `put_large` uploads in parts.
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
    /// How long an attempt may take whose body, there or back, has so many bytes.
    pub(super) fn limit(&self, body_bytes: u64) -> Duration {
        attempt_limit(self.attempt_timeout, body_bytes)
    }

    /// Clients of the settings. TLS is rustls with ring unless the process has chosen another provider.
    pub(super) fn clients(&self) -> Result<Clients> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| Error::internal(format!("the http client was not made: {error}")))
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

/// A client that keeps its connections, and the same without.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    keeping: reqwest::Client,
    fresh: reqwest::Client,
}

impl Clients {
    /// The one that the call under way wants.
    pub(super) fn of_call(&self) -> &reqwest::Client {
        if wants_new_connection() { &self.fresh } else { &self.keeping }
    }
}

/// A date as HTTP writes it, in one of its headers.
pub(super) fn http_date(headers: &reqwest::header::HeaderMap, name: &str) -> Option<StoreTime> {
    let text = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok().map(system_time)
}
