//! What a store said on the wire: status, time and code of the last answer to a call, caught below `object_store`.
//! Every failure is sorted by that answer (docs/protocol.md#proof-of-an-answer). Invariants: a failure in doubt is
//! `Unknown`; an object counts as missing only if the store says so of the object itself.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use parking_lot::Mutex;
use reqwest::header::HeaderMap;

use crate::bucket::attempt::{retry_after, with_way_out};
use crate::bucket::http_client::{Clients, http_date};
use crate::bucket::proof::{is_blank, is_page, is_whole_document, root_element, start_of};
use crate::bucket::{BucketError, StoreTime};

tokio::task_local! {
    /// Where the answers to the call under way are noted.
    static LAST_RESPONSE: Arc<Mutex<StoreResponse>>;
}

/// The last answer to a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoreResponse {
    /// `None` as long as there is no answer.
    pub(super) status: Option<u16>,
    /// Whether this answers a HEAD request, whose answer has no body and so names nothing.
    pub(super) head: bool,
    /// When the store answered.
    pub(super) date: Option<StoreTime>,
    /// When the object was last written.
    pub(super) last_modified: Option<StoreTime>,
    /// The store's own word for a failure.
    pub(super) code: Option<String>,
    /// The progress of a copy that Azure makes in the background.
    pub(super) copy_status: Option<String>,
    /// How long the store asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// Why this is no answer of an object store; `None` if it may be one.
    pub(super) flaw: Option<String>,
}

/// A failed call.
#[derive(Debug)]
pub(super) struct FailedCall {
    pub(super) response: StoreResponse,
    pub(super) error: BucketError,
}

impl From<FailedCall> for BucketError {
    fn from(failure: FailedCall) -> Self {
        failure.error
    }
}

/// Awaits a call; also returns the last answer on the wire meanwhile.
pub(super) async fn listen<T>(call: impl Future<Output = T>) -> (T, StoreResponse) {
    let response = Arc::new(Mutex::new(StoreResponse::default()));
    let answer = LAST_RESPONSE.scope(response.clone(), call).await;
    let response = response.lock().clone();
    (answer, response)
}

fn note(response: StoreResponse) {
    // A request outside of any call has no reader for its answer.
    let _ = LAST_RESPONSE.try_with(|cell| *cell.lock() = response);
}

/// Makes `object_store` use our client, and notes the answers.
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
        let asked = RequestKind::of(&request);
        let head = asked == RequestKind::Head;
        note(StoreResponse::default());
        let (parts, body) = HttpService::call(self.0.of_call(), request).await?.into_parts();
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let date = http_date(&parts.headers, "date");
        let mut response = StoreResponse {
            status: Some(parts.status.as_u16()),
            head,
            date,
            last_modified: http_date(&parts.headers, "last-modified"),
            code: text("x-ms-error-code"),
            copy_status: text("x-ms-copy-status"),
            retry_after: text("retry-after").and_then(|text| retry_after(&text, date)),
            flaw: None,
        };
        // An object's content is not awaited here.
        if head || (parts.status.is_success() && matches!(asked, RequestKind::Get | RequestKind::Token)) {
            response.flaw = flaw(asked, &response, &parts.headers, &[]);
            note(response);
            return Ok(HttpResponse::from_parts(parts, body));
        }
        note(response.clone());
        let body = body.bytes().await?;
        response.code = response.code.or_else(|| code_in(&body));
        response.flaw = flaw(asked, &response, &parts.headers, &body);
        note(response);
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// What a request asks for, as far as that decides what proves its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestKind {
    Get,
    Head,
    List(&'static str),
    Put,
    /// A block of Azure's; a written block has no tag.
    Block,
    Copy,
    BeginUpload,
    CompleteUpload,
    DeleteBatch,
    Delete,
    /// Credentials, from a server other than the store.
    Token,
}

impl RequestKind {
    fn of(request: &HttpRequest) -> RequestKind {
        let query = request.uri().query().unwrap_or_default();
        let has = |word: &str| query.split('&').any(|pair| pair == word || pair.split('=').next() == Some(word));
        let header = |name: &str| request.headers().contains_key(name);
        let form =
            request.headers().get("content-type").is_some_and(|kind| kind == "application/x-www-form-urlencoded");
        match request.method().as_str() {
            _ if form || header("metadata-flavor") || header("metadata") => RequestKind::Token,
            "HEAD" => RequestKind::Head,
            "GET" if has("list-type") => RequestKind::List("ListBucketResult"),
            "GET" if query.split('&').any(|pair| pair == "comp=list") => RequestKind::List("EnumerationResults"),
            "GET" => RequestKind::Get,
            "PUT" if header("x-ms-copy-source") || header("x-goog-copy-source") => RequestKind::Copy,
            "PUT" if query.split('&').any(|pair| pair == "comp=block") => RequestKind::Block,
            "PUT" => RequestKind::Put,
            "POST" if has("uploads") => RequestKind::BeginUpload,
            "POST" if has("uploadId") => RequestKind::CompleteUpload,
            "POST" if query.split('&').any(|pair| pair == "comp=batch") => RequestKind::DeleteBatch,
            "DELETE" => RequestKind::Delete,
            _ => RequestKind::Token,
        }
    }
}

/// Why an answer cannot be an object store's; `None` if it may be one.
fn flaw(asked: RequestKind, response: &StoreResponse, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = header("content-type");
    let came = || format!("content-type {:?}, {}", kind.unwrap_or_default(), start_of(body));
    let lacks = |what: &str| Some(format!("expected {what}, got {}", came()));
    let status = response.status.unwrap_or_default();
    let tagged = header("etag").is_some_and(|tag| !tag.trim().is_empty());
    if asked == RequestKind::Token {
        return None;
    }
    if !(200..300).contains(&status) {
        let known = asked == RequestKind::Head || response.code.is_some() || root_element(body) == Some("Error");
        return if known { None } else { lacks("an error of the store") };
    }
    match asked {
        // The type of an object's content counts: Drumlin stores no pages. Elsewhere it does not: some servers send a
        // page's type with an empty body.
        RequestKind::Get | RequestKind::Head if is_page(kind) => lacks("an object, not a web page"),
        RequestKind::Get | RequestKind::Head if !tagged || !matches!(status, 200 | 206) => {
            lacks("an object with an ETag")
        }
        RequestKind::Put if !tagged || !is_blank(body) => lacks("an ETag and no body"),
        RequestKind::Block if status != 201 || !is_blank(body) => lacks("status 201 and no body"),
        RequestKind::Copy if response.copy_status.is_none() && !is_whole_document(body, "CopyObjectResult") => {
            lacks("the outcome of a copy")
        }
        RequestKind::List(root) if !is_whole_document(body, root) => lacks(&format!("a complete {root}")),
        RequestKind::BeginUpload if !is_whole_document(body, "InitiateMultipartUploadResult") => {
            lacks("the start of an upload")
        }
        RequestKind::CompleteUpload if !is_whole_document(body, "CompleteMultipartUploadResult") => {
            lacks("the end of an upload")
        }
        RequestKind::DeleteBatch if !kind.is_some_and(|kind| kind.starts_with("multipart/mixed")) => {
            lacks("a multipart answer")
        }
        RequestKind::Delete if !matches!(status, 200 | 202 | 204) || !is_blank(body) => lacks("no body"),
        _ => None,
    }
}

/// An error with its innermost cause: the crate's errors already repeat the causes in between.
fn with_cause(error: &object_store::Error) -> String {
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

impl StoreResponse {
    /// Sorts a failed call by the last answer.
    pub(super) fn sort(&self, error: &object_store::Error) -> BucketError {
        let date = self.date;
        let code = self.code.as_deref();
        let Some(status) = self.status else { return BucketError::unknown(with_way_out(with_cause(error))) };
        if let Some(unproven) = self.unproven() {
            return unproven;
        }
        let message = format!("status {status}, {}", code.unwrap_or("no code"));
        match (status, code) {
            // Azure's word for a failed If-None-Match: *; any other conflict proves nothing.
            (409, Some("BlobAlreadyExists")) => BucketError::Exists { date },
            (412, Some("ConditionNotMet" | "TargetConditionNotMet" | "PreconditionFailed")) => {
                BucketError::Exists { date }
            }
            (404, code) if self.is_absent(code) => BucketError::NotFound { date },
            // The upload, or its uploaded blocks, are gone; a new upload may succeed.
            (404, Some("NoSuchUpload")) | (400, Some("InvalidBlockList" | "InvalidPart" | "RequestTimeout")) => {
                BucketError::unknown(message)
            }
            (408 | 409 | 425 | 429, _) => BucketError::unknown_until(message, self.retry_after),
            (300..=499 | 501, _) => BucketError::Refused { message },
            // 5xx, and a success that could not be understood.
            _ => BucketError::unknown_until(format!("{message}: {}", with_cause(error)), self.retry_after),
        }
    }

    /// What is known when nothing proves that the store itself has answered.
    pub(super) fn unproven(&self) -> Option<BucketError> {
        let flaw = self.flaw.as_ref()?;
        let message = format!(
            "an answer of status {} that does not come from an object store ({flaw}); check for a proxy, a login page \
             or a load balancer in between",
            self.status.unwrap_or_default()
        );
        Some(BucketError::unknown_until(message, self.retry_after))
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
        let response =
            StoreResponse { status: Some(status), code: code.map(str::to_owned), head, ..StoreResponse::default() };
        match response.sort(&object_store::Error::NotImplemented { operation: "x".into(), implementer: "y".into() }) {
            BucketError::Exists { .. } => "exists",
            BucketError::NotFound { .. } => "not found",
            BucketError::Refused { .. } => "refused",
            BucketError::Unknown { .. } => "unknown",
        }
    }

    #[test]
    fn each_answer_is_sorted_as_the_protocol_says() {
        for (status, code, head, expected) in [
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
        let sorted = StoreResponse::default().sort(&error);
        assert!(matches!(sorted, BucketError::Unknown { .. }), "{sorted:?}");
    }

    #[tokio::test]
    async fn what_is_heard_belongs_to_its_own_call() {
        let call = |status: u16| async move {
            note(StoreResponse { status: Some(status), ..StoreResponse::default() });
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
