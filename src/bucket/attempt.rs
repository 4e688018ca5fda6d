//! One attempt of a call over HTTP, for every client: whether it wants new connections, when it is given up, how the
//! body of its answer is read, and how its failure is worded.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::body::Body;
use super::clock::system_time;
use super::{BucketError, StoreTime};

/// The prefix of a store whose settings name none.
pub const DEFAULT_PREFIX: &str = "vector_db/";

tokio::task_local! {
    /// Set while a call wants connections that no earlier answer came over.
    static NEW_CONNECTIONS: ();
}

/// Makes the call over connections that no earlier answer came over. This holds for all its requests to the store.
pub(super) async fn over_new_connections<T>(call: impl Future<Output = T>) -> T {
    NEW_CONNECTIONS.scope((), call).await
}

/// Whether the call under way was made by [`over_new_connections`].
pub(super) fn wants_new_connection() -> bool {
    NEW_CONNECTIONS.try_with(|()| ()).is_ok()
}

/// The pause that `Retry-After` asks for: seconds, or a moment, measured from the answer's own `date`.
pub(super) fn retry_after(value: &str, date: Option<StoreTime>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = system_time(httpdate::parse_http_date(value.trim()).ok()?);
    let now = date.unwrap_or_else(|| system_time(SystemTime::now()));
    Some(Duration::from_millis(u64::try_from(until.since_ms(now)).unwrap_or_default()))
}

/// The outcome of an attempt that was given up.
pub(super) fn timed_out(limit: Duration) -> BucketError {
    BucketError::unknown(format!("no answer within {} s", limit.as_secs_f64()))
}

/// Reads the chunks of a body into one buffer, within `limit`. The answer announced `length` bytes.
pub(super) async fn collect(
    chunks: impl Stream<Item = Result<Bytes, String>>,
    length: u64,
    limit: Duration,
) -> Result<Bytes, BucketError> {
    let broken = |message: String| BucketError::unknown(format!("reading the body failed: {message}"));
    let mut body = Body::with_capacity(length).map_err(|error| broken(error.to_string()))?;
    let reading = async {
        let mut chunks = pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            body.buffer().extend_from_slice(&chunk.map_err(broken)?);
        }
        Ok::<(), BucketError>(())
    };
    tokio::time::timeout(limit, reading).await.map_err(|_| timed_out(limit))??;
    if body.len() != length {
        return Err(broken(format!("{} bytes came, {length} were announced", body.len())));
    }
    Ok(body.finish())
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

/// A failure to reach a store, with advice where its cause is known.
pub(super) fn with_way_out(failure: String) -> String {
    let holds = |words: &[&str]| words.iter().any(|word| failure.contains(word));
    let way_out = if holds(&["not valid for name", "NotValidForName"]) {
        "the certificate is for another host: the endpoint (for S3 AWS_ENDPOINT_URL) must be a host that it names"
    } else if holds(&["certificate expired", "certificate not valid yet"]) {
        "the certificate is out of date by this machine's clock: renew the certificate, or set the clock"
    } else if holds(&["invalid peer certificate", "UnknownIssuer", "CaUsedAsEndEntity"]) {
        "no known authority signed the server's certificate: put your authority into a PEM file, and name it in \
         AWS_CA_BUNDLE (for S3) or SSL_CERT_FILE (for all); for S3 the server's own certificate will do too"
    } else if holds(&["unsuccessful tunnel", "tunnel error", "proxy"]) {
        "check the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; NO_PROXY names hosts to reach without it"
    } else if holds(&["dns error", "failed to lookup address"]) {
        "check the endpoint and the region (for S3 AWS_ENDPOINT_URL, AWS_REGION); set HTTPS_PROXY if a proxy is needed"
    } else {
        return failure;
    };
    format!("{failure}; {way_out}")
}

/// A prefix in the form that is put before keys: no slash in front, one at the end; or empty.
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
