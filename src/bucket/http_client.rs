//! What the stores that are reached by plain HTTP have in common: the client, how long a call may take,
//! and how store time is read off an answer. Its invariant: a redirect is never followed, since it would
//! hide whose answer this is.

use std::future::Future;
use std::time::{Duration, SystemTime};

use super::clock::system_time;
use super::{BucketError, StoreTime};
use crate::error::{Error, Result};

/// Added to the time of an attempt for each this many bytes of body, and how much.
const SLOW_LINK_BYTES: u64 = 64 << 20;
const SLOW_LINK_TIME: Duration = Duration::from_secs(60);

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

tokio::task_local! {
    /// Set while a call wants connections that no earlier answer came over.
    static NEW_CONNECTIONS: ();
}

/// Makes the call, and whatever it asks of the store, over connections that no earlier answer came over.
pub(super) async fn over_new_connections<T>(call: impl Future<Output = T>) -> T {
    NEW_CONNECTIONS.scope((), call).await
}

/// Whether the call under way was made by [`over_new_connections`].
pub(super) fn wants_new_connection() -> bool {
    NEW_CONNECTIONS.try_with(|()| ()).is_ok()
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

/// What `Retry-After` says: seconds, or a moment, which is taken from the answer's own `date`.
pub(super) fn retry_after(value: &str, date: Option<StoreTime>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = system_time(httpdate::parse_http_date(value.trim()).ok()?);
    let now = date.unwrap_or_else(|| system_time(SystemTime::now()));
    Some(Duration::from_millis(u64::try_from(until.since_ms(now)).unwrap_or_default()))
}

/// `timeout`, and more for a body that may come over a slow link.
pub fn attempt_limit(timeout: Duration, body_bytes: u64) -> Duration {
    timeout.saturating_add(SLOW_LINK_TIME.mul_f64(body_bytes as f64 / SLOW_LINK_BYTES as f64))
}

/// The outcome of an attempt that was given up.
pub(super) fn timed_out(limit: Duration) -> BucketError {
    BucketError::unknown(format!("no answer within {} s", limit.as_secs_f64()))
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

/// A failure to reach a store, with the variables that may help.
pub(super) fn with_way_out(failure: String) -> String {
    let holds = |words: &[&str]| words.iter().any(|word| failure.contains(word));
    let way_out = if holds(&["not valid for name", "NotValidForName"]) {
        "the certificate is of another host: the endpoint (for S3 AWS_ENDPOINT_URL) must name one of the certificate's"
    } else if holds(&["certificate expired", "certificate not valid yet"]) {
        "the certificate's dates do not hold by the clock of this machine"
    } else if holds(&["invalid peer certificate", "UnknownIssuer", "CaUsedAsEndEntity"]) {
        "the server's certificate is signed by nobody known: AWS_CA_BUNDLE (for S3) or SSL_CERT_FILE (for all) names \
         a PEM file with an authority of your own, or for S3 with the server's certificate itself"
    } else if holds(&["unsuccessful tunnel", "tunnel error", "proxy"]) {
        "the proxy is that of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; NO_PROXY names hosts that are reached without"
    } else if holds(&["dns error", "failed to lookup address"]) {
        "is the endpoint or the region right (for S3 AWS_ENDPOINT_URL, AWS_REGION), or is a proxy needed (HTTPS_PROXY)?"
    } else {
        return failure;
    };
    format!("{failure}; {way_out}")
}

/// A prefix as it is put before keys: without a slash in front, with one at the end, or empty.
pub(super) fn root_of(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        inner => format!("{inner}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_moment() {
        let date = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:30 GMT").ok().map(system_time);
        for (text, expected) in [
            ("7", Some(7_000)),
            (" 0.5 ", Some(500)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7_000)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("-3", None),
            ("soon", None),
            ("nan", None),
            ("1e300", None),
        ] {
            assert_eq!(retry_after(text, date), expected.map(Duration::from_millis), "{text:?}");
        }
    }
}
