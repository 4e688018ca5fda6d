//! What the stores that are reached by plain HTTP have in common: the client, how long a call may take,
//! and how store time is read off an answer. Its invariant: a redirect is never followed, since it would
//! hide whose answer this is.

use std::time::Duration;

use super::clock::system_time;
use super::{BucketError, StoreTime};
use crate::error::{Error, Result};

/// Added to the time of an attempt for each this many bytes of body, and how much.
const SLOW_LINK_BYTES: u64 = 64 << 20;
const SLOW_LINK_TIME: Duration = Duration::from_secs(60);

/// How calls are made and large objects cut.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// How long one attempt may take; a minute more is given per 64 MiB of a body.
    pub attempt_timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// From how many bytes on `put_large` uploads in parts.
    pub multipart_bytes: usize,
    /// How large a part is, in bytes.
    pub part_bytes: usize,
}

impl Default for Transfer {
    fn default() -> Self {
        Transfer {
            attempt_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            multipart_bytes: 64 << 20,
            part_bytes: 16 << 20,
        }
    }
}

impl Transfer {
    /// How long an attempt may take whose body, there or back, has so many bytes.
    pub(super) fn limit(&self, body_bytes: u64) -> Duration {
        attempt_limit(self.attempt_timeout, body_bytes)
    }

    /// A client of the settings. TLS is rustls with ring unless the process has chosen another provider.
    pub(super) fn client(&self) -> Result<reqwest::Client> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .connect_timeout(self.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("drumlin/", env!("CARGO_PKG_VERSION")));
        builder.build().map_err(|error| Error::internal(format!("the http client was not made: {error}")))
    }
}

/// `timeout`, and more for a body that may come over a slow link.
pub(super) fn attempt_limit(timeout: Duration, body_bytes: u64) -> Duration {
    timeout.saturating_add(SLOW_LINK_TIME.mul_f64(body_bytes as f64 / SLOW_LINK_BYTES as f64))
}

/// The outcome of an attempt that was given up.
pub(super) fn timed_out(limit: Duration) -> BucketError {
    BucketError::Unknown { message: format!("no answer within {} s", limit.as_secs_f64()) }
}

/// A date as HTTP writes it, in one of its headers.
pub(super) fn http_date(headers: &reqwest::header::HeaderMap, name: &str) -> Option<StoreTime> {
    let text = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok().map(system_time)
}

/// An error with its causes, the outermost first.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(now) = cause {
        text.push_str(": ");
        text.push_str(&now.to_string());
        cause = now.source();
    }
    text
}

/// A prefix as it is put before keys: without a slash in front, with one at the end, or empty.
pub(super) fn root_of(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        inner => format!("{inner}/"),
    }
}
