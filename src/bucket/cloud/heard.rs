//! What a store said on the wire: the status, time and code of the last answer to a call, caught below
//! `object_store`, and every failure sorted by it (protocol section 1). Its invariant: in doubt a failure
//! is `Unknown`, and an object counts as missing only if the store says so of the object.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use parking_lot::Mutex;

use crate::bucket::transfer::{Clients, http_date, retry_after};
use crate::bucket::{BucketError, StoreTime};

tokio::task_local! {
    /// Where the answers to the call under way are noted.
    static HEARD: Arc<Mutex<Heard>>;
}

/// The last answer to a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// `None` as long as there is no answer.
    pub(super) status: Option<u16>,
    /// Whether it answers a HEAD request, which has no body to name anything.
    pub(super) head: bool,
    /// When the store answered.
    pub(super) date: Option<StoreTime>,
    /// When the object was last written.
    pub(super) last_modified: Option<StoreTime>,
    /// The store's own word for a failure.
    pub(super) code: Option<String>,
    /// How far a copy has come that Azure makes in the background.
    pub(super) copy_status: Option<String>,
    /// How long the store asks to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// A failed call.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) heard: Heard,
    pub(super) error: BucketError,
}

impl From<Failure> for BucketError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Awaits a call and tells what was heard on the wire meanwhile.
pub(super) async fn listen<T>(call: impl Future<Output = T>) -> (T, Heard) {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let answer = HEARD.scope(heard.clone(), call).await;
    let heard = heard.lock().clone();
    (answer, heard)
}

fn note(heard: Heard) {
    // A request outside of any call has nobody who asks.
    let _ = HEARD.try_with(|cell| *cell.lock() = heard);
}

/// Makes `object_store` use our client, and listens in.
#[derive(Debug, Clone)]
pub(super) struct Listening(pub(super) Clients);

impl HttpConnector for Listening {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Listening {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let head = request.method().as_str() == "HEAD";
        note(Heard::default());
        let (parts, body) = HttpService::call(self.0.of_call(), request).await?.into_parts();
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let date = http_date(&parts.headers, "date");
        let mut heard = Heard {
            status: Some(parts.status.as_u16()),
            head,
            date,
            last_modified: http_date(&parts.headers, "last-modified"),
            code: text("x-ms-error-code"),
            copy_status: text("x-ms-copy-status"),
            retry_after: text("retry-after").and_then(|text| retry_after(&text, date)),
        };
        if parts.status.is_success() || head {
            note(heard);
            return Ok(HttpResponse::from_parts(parts, body));
        }
        note(heard.clone());
        let body = body.bytes().await?;
        heard.code = heard.code.or_else(|| code_in(&body));
        note(heard);
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// An error with its innermost cause: the crate's errors already repeat what lies between.
fn told(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let (text, last) = (error.to_string(), cause.to_string());
    if text.contains(&last) { text } else { format!("{text}: {last}") }
}

/// The code in an error's XML body.
fn code_in(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code.trim().to_owned())
}

impl Heard {
    /// Sorts a failed call by the last answer.
    pub(super) fn sort(&self, error: &object_store::Error) -> BucketError {
        let date = self.date;
        let code = self.code.as_deref();
        let Some(status) = self.status else { return BucketError::unknown(told(error)) };
        let message = format!("status {status}, {}", code.unwrap_or("no code"));
        match (status, code) {
            // Azure's word for a failed If-None-Match: *; any other conflict proves nothing.
            (409, Some("BlobAlreadyExists")) => BucketError::Exists { date },
            (412, None | Some("ConditionNotMet" | "TargetConditionNotMet" | "PreconditionFailed")) => {
                BucketError::Exists { date }
            }
            (404, code) if self.is_absent(code) => BucketError::NotFound { date },
            // The upload, or what was uploaded of it, is gone; a new one may succeed.
            (404, Some("NoSuchUpload")) | (400, Some("InvalidBlockList" | "InvalidPart" | "RequestTimeout")) => {
                BucketError::unknown(message)
            }
            (408 | 409 | 425 | 429, _) => BucketError::unknown_until(message, self.retry_after),
            (300..=499 | 501, _) => BucketError::Refused { message },
            // 5xx, and a success that could not be understood.
            _ => BucketError::unknown_until(format!("{message}: {}", told(error)), self.retry_after),
        }
    }

    fn is_absent(&self, code: Option<&str>) -> bool {
        match code {
            Some(code) => ["NoSuchKey", "BlobNotFound", "CannotVerifyCopySource"].contains(&code),
            None => self.head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, code: Option<&str>, head: bool) -> &'static str {
        let heard = Heard { status: Some(status), code: code.map(str::to_owned), head, ..Heard::default() };
        match heard.sort(&object_store::Error::NotImplemented { operation: "x".into(), implementer: "y".into() }) {
            BucketError::Exists { .. } => "exists",
            BucketError::NotFound { .. } => "not found",
            BucketError::Refused { .. } => "refused",
            BucketError::Unknown { .. } => "unknown",
        }
    }

    #[test]
    fn each_answer_is_sorted_as_the_protocol_says() {
        for (status, code, head, expected) in [
            (412, None, false, "exists"),
            (412, Some("PreconditionFailed"), false, "exists"),
            (412, Some("ConditionNotMet"), false, "exists"),
            (412, Some("LeaseIdMissing"), false, "refused"),
            (409, Some("BlobAlreadyExists"), false, "exists"),
            (409, Some("OperationAborted"), false, "unknown"),
            (409, None, false, "unknown"),
            (404, Some("NoSuchKey"), false, "not found"),
            (404, Some("BlobNotFound"), true, "not found"),
            (404, None, true, "not found"),
            (404, None, false, "refused"),
            (404, Some("NoSuchBucket"), false, "refused"),
            (404, Some("ContainerNotFound"), true, "refused"),
            (404, Some("NoSuchUpload"), false, "unknown"),
            (400, Some("InvalidBlockList"), false, "unknown"),
            (400, Some("InvalidArgument"), false, "refused"),
            (401, None, false, "refused"),
            (403, Some("AuthenticationFailed"), false, "refused"),
            (413, None, false, "refused"),
            (307, None, false, "refused"),
            (408, None, false, "unknown"),
            (429, Some("SlowDown"), false, "unknown"),
            (500, Some("InternalError"), false, "unknown"),
            (501, None, false, "refused"),
            (503, Some("ServerBusy"), false, "unknown"),
            (200, None, false, "unknown"),
        ] {
            assert_eq!(outcome(status, code, head), expected, "{status} {code:?} {head}");
        }
    }

    #[test]
    fn a_call_without_an_answer_is_unknown() {
        let error = object_store::Error::NotImplemented { operation: "x".into(), implementer: "y".into() };
        let sorted = Heard::default().sort(&error);
        assert!(matches!(sorted, BucketError::Unknown { .. }), "{sorted:?}");
    }

    #[tokio::test]
    async fn what_is_heard_belongs_to_its_own_call() {
        let call = |status: u16| async move {
            note(Heard { status: Some(status), ..Heard::default() });
            tokio::task::yield_now().await;
        };
        let (one, two) = tokio::join!(listen(call(200)), listen(call(503)));
        assert_eq!((one.1.status, two.1.status), (Some(200), Some(503)));
    }

    #[test]
    fn the_code_is_read_out_of_an_error_body() {
        let body = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>m</Message></Error>";
        assert_eq!(code_in(body).as_deref(), Some("NoSuchKey"));
        for other in [&b"<Error/>"[..], b"<Code>cut", b"\xff<Code>x</Code>", b""] {
            assert_eq!(code_in(other), None);
        }
    }
}
