//! One call to Dropbox: the token, the place of the arguments for each kind of endpoint, the time-out, and the pause
//! that the store has asked for. Invariant: a call is sent once. Only after 401, by which nothing was done, is it sent
//! once more with a new token.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::answer::Failed;
use super::token::{Credentials, Token};
use crate::bucket::attempt::{chain, timed_out, with_way_out};
use crate::bucket::http_client::{Clients, HttpOptions, http_date};
use crate::bucket::{BucketError, StoreTime};

/// How to reach Dropbox.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) clients: Clients,
    pub(super) credentials: Credentials,
    pub(super) token: Arc<Token>,
    pub(super) api_url: String,
    pub(super) content_url: String,
    pub(super) http: HttpOptions,
    /// Until when the store has asked to be left alone.
    pub(super) hold: Arc<Mutex<Option<Instant>>>,
}

/// What to call.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// For example `files/upload`.
    pub(super) endpoint: &'static str,
    pub(super) argument: Value,
    /// The content of an upload; `None` where the endpoint takes its argument as the body.
    pub(super) content: Option<Bytes>,
    /// Whether the answer carries content.
    pub(super) download: bool,
    /// The wanted range of the content's bytes.
    pub(super) range: Option<Range<u64>>,
}

impl Ask {
    /// A call that takes and gives JSON.
    pub(super) fn rpc(endpoint: &'static str, argument: Value) -> Ask {
        Ask { endpoint, argument, content: None, download: false, range: None }
    }

    /// A call that sends content.
    pub(super) fn upload(endpoint: &'static str, argument: Value, content: Bytes) -> Ask {
        Ask { content: Some(content), ..Ask::rpc(endpoint, argument) }
    }

    /// A call that gets content.
    pub(super) fn download(endpoint: &'static str, argument: Value, range: Option<Range<u64>>) -> Ask {
        Ask { download: true, range, ..Ask::rpc(endpoint, argument) }
    }
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallFailure {
    /// The store answered with a failure.
    Answered(Failed),
    /// There was no answer, or no call.
    Other(BucketError),
}

impl From<CallFailure> for BucketError {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Answered(failed) => failed.sort(),
            CallFailure::Other(error) => error,
        }
    }
}

impl From<BucketError> for CallFailure {
    fn from(error: BucketError) -> Self {
        CallFailure::Other(error)
    }
}

impl Wire {
    /// Makes the call. The body of a success is still to be read.
    pub(super) async fn call(&self, ask: &Ask) -> Result<reqwest::Response, CallFailure> {
        self.wait().await?;
        let limit = self.http.limit(ask.content.as_ref().map_or(0, Bytes::len) as u64);
        match tokio::time::timeout(limit, self.attempt(ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(timed_out(limit).into()),
        }
    }

    /// Makes the call and reads the JSON of its answer.
    pub(super) async fn json<T: DeserializeOwned>(&self, ask: &Ask) -> Result<(T, Option<StoreTime>), CallFailure> {
        let response = self.call(ask).await?;
        let date = http_date(response.headers(), "date");
        let limit = self.http.limit(0);
        let body = tokio::time::timeout(limit, response.bytes()).await.map_err(|_| timed_out(limit))?;
        let body = body.map_err(no_answer)?;
        let value = serde_json::from_slice(&body)
            .map_err(|error| BucketError::unknown(format!("the answer of {} cannot be read: {error}", ask.endpoint)))?;
        Ok((value, date))
    }

    async fn attempt(&self, ask: &Ask) -> Result<reqwest::Response, CallFailure> {
        let url = format!("{}/oauth2/token", self.api_url);
        let mut refused: Option<String> = None;
        loop {
            let token = self.token.get(&self.credentials, self.clients.of_call(), &url, refused.as_deref()).await?;
            let response = self.request(ask, &token).send().await.map_err(no_answer)?;
            if response.status().is_success() {
                return Ok(response);
            }
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            // An error's body only helps to word the message.
            let body = response.bytes().await.unwrap_or_default();
            let failed = Failed::of(status, &headers, &body);
            if let Some(wait) = failed.wait {
                *self.hold.lock() = Some(Instant::now() + wait);
            }
            if !failed.is_token_expired() || refused.is_some() {
                return Err(CallFailure::Answered(failed));
            }
            refused = Some(token);
        }
    }

    fn request(&self, ask: &Ask, token: &str) -> reqwest::RequestBuilder {
        let content = ask.content.is_some() || ask.download;
        let url = if content { &self.content_url } else { &self.api_url };
        let request = self.clients.of_call().post(format!("{url}/2/{}", ask.endpoint)).bearer_auth(token);
        let argument = ascii_json(&ask.argument);
        let request = match &ask.range {
            Some(Range { start, end }) => request.header("range", format!("bytes={start}-{}", end.saturating_sub(1))),
            None => request,
        };
        match &ask.content {
            Some(body) => request
                .header("dropbox-api-arg", argument)
                .header("content-type", "application/octet-stream")
                .body(body.clone()),
            None if ask.download => request.header("dropbox-api-arg", argument),
            None => request.header("content-type", "application/json").body(argument),
        }
    }

    /// Waits as long as the store has asked for. Gives up at once if that is longer than an attempt may take.
    async fn wait(&self) -> Result<(), BucketError> {
        let Some(until) = *self.hold.lock() else { return Ok(()) };
        let wait = until.saturating_duration_since(Instant::now());
        if wait > self.http.attempt_timeout {
            let message = format!("Dropbox asks for a pause of {} more seconds (429)", wait.as_secs());
            return Err(BucketError::unknown_until(message, Some(wait)));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

fn no_answer(error: reqwest::Error) -> BucketError {
    BucketError::unknown(with_way_out(chain(&error.without_url())))
}

/// JSON that may stand in a header: every character beyond ASCII is `\uXXXX`.
fn ascii_json(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        match c {
            ' '..='~' => text.push(c),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_in_a_header_is_ascii_and_reads_the_same() {
        let value = serde_json::json!({"path": "/Büro/日本/😀\u{7f}\"x\\"});
        let text = ascii_json(&value);
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
