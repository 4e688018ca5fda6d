//! The answer to one call to S3: status, time, and whether it is provably the store's. Invariant: a success without
//! proof is never taken for one (docs/protocol.md#proof-of-an-answer). A captive portal, a maintenance page or a wrong
//! load balancer answers 200 as well.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use parking_lot::Mutex;

use super::clock::SigningClock;
use super::credentials::Keys;
use crate::bucket::StoreTime;
use crate::bucket::attempt::retry_after;
use crate::bucket::clock::system_time;
use crate::bucket::proof::{is_blank, is_page, is_whole_document, root_element, start_of};

/// The kind of a call. It decides what proves the answer, what 404 means, and which right the call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    Head,
    Put,
    Copy,
    Delete,
    DeleteBatch,
    List,
    BeginUpload,
    Part,
    CompleteUpload,
    AbortUpload,
    ListUploads,
}

impl Operation {
    /// The root element of the answer's document; `None` where there is no document.
    fn document(self) -> Option<&'static str> {
        match self {
            Operation::Copy => Some("CopyObjectResult"),
            Operation::DeleteBatch => Some("DeleteResult"),
            Operation::List => Some("ListBucketResult"),
            Operation::BeginUpload => Some("InitiateMultipartUploadResult"),
            Operation::CompleteUpload => Some("CompleteMultipartUploadResult"),
            Operation::ListUploads => Some("ListMultipartUploadsResult"),
            Operation::Get
            | Operation::Head
            | Operation::Put
            | Operation::Part
            | Operation::Delete
            | Operation::AbortUpload => None,
        }
    }

    /// The rights without which S3 refuses the call.
    pub(super) fn rights(self) -> &'static str {
        match self {
            Operation::Get | Operation::Head => {
                "s3:GetObject, and s3:ListBucket, without which S3 answers 403 for an object that does not exist"
            }
            Operation::Put | Operation::BeginUpload | Operation::Part | Operation::CompleteUpload => "s3:PutObject",
            Operation::Copy => "s3:GetObject and s3:PutObject",
            Operation::Delete | Operation::DeleteBatch => "s3:DeleteObject",
            Operation::List => "s3:ListBucket",
            Operation::AbortUpload => "s3:AbortMultipartUpload",
            Operation::ListUploads => "s3:ListBucketMultipartUploads",
        }
    }
}

/// The properties of the last answer to a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Note {
    /// When the store answered, to the second.
    pub(super) date: Option<StoreTime>,
    /// Why this is no answer of an object store; `None` if it may be one.
    pub(super) flaw: Option<String>,
    /// How long the store asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// The region that the answer names.
    pub(super) region: Option<String>,
    /// The keys have expired, and new ones may be found.
    pub(super) renewing: bool,
}

/// Watches one call. Clones watch the same call.
#[derive(Debug, Clone)]
pub(super) struct ResponseWatch {
    pub(super) asked: Operation,
    note: Arc<Mutex<Note>>,
    clock: SigningClock,
    keys: Option<Keys>,
}

impl ResponseWatch {
    pub(super) fn of(asked: Operation, clock: &SigningClock, keys: Option<&Keys>) -> Self {
        ResponseWatch { asked, note: Arc::default(), clock: clock.clone(), keys: keys.cloned() }
    }

    pub(super) fn note(&self) -> Note {
        self.note.lock().clone()
    }

    /// Whether the store has accepted requests signed with keys of the same origin.
    pub(super) fn had_keys(&self) -> bool {
        self.keys.as_ref().is_some_and(Keys::were_accepted)
    }

    /// The store's time in the answer.
    pub(super) fn date(&self) -> Option<StoreTime> {
        self.note.lock().date
    }
}

impl Intercept for ResponseWatch {
    fn name(&self) -> &'static str {
        "what the store answers"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        let date = headers.get("date").and_then(|text| httpdate::parse_http_date(text).ok()).map(system_time);
        let retry_after = headers.get("retry-after").and_then(|text| retry_after(text, date));
        let region = headers.get("x-amz-bucket-region").map(str::to_owned);
        if let Some(date) = date {
            self.clock.observe(date);
        }
        *self.note.lock() = Note { date, retry_after, region, ..Note::default() };
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let mut note = self.note.lock();
        note.flaw = flaw(self.asked, response);
        if let Some(keys) = self.keys.as_ref().filter(|_| note.flaw.is_none()) {
            match response.body().bytes().and_then(|body| element("Code", body)) {
                Some(code) if !response.status().is_success() => note.renewing = keys.refused(&code),
                _ if response.status().is_success() => keys.accepted(),
                _ => {}
            }
        }
        if note.region.is_none() {
            note.region = response.body().bytes().and_then(|body| named_region(response.status().as_u16(), body));
        }
        Ok(())
    }
}

/// Why a response cannot be an object store's; `None` if it may be one.
fn flaw(asked: Operation, response: &HttpResponse) -> Option<String> {
    let header = |name: &str| response.headers().get(name).map(str::trim).filter(|text| !text.is_empty());
    // Of an object's own content, only the headers are known yet.
    let body = response.body().bytes().unwrap_or_default();
    let kind = header("content-type");
    let came = || format!("content-type {:?}, {}", kind.unwrap_or_default(), start_of(body));
    let lacks = |what: &str| Some(format!("expected {what}, got {}", came()));
    let status = response.status().as_u16();
    if !(200..300).contains(&status) {
        let silent = asked == Operation::Head && is_blank(body);
        let known = silent || root_element(body) == Some("Error");
        return if known { None } else { lacks("an error of S3") };
    }
    match asked {
        // The type of an object's content counts: Drumlin stores no pages. Elsewhere it does not: some servers send a
        // page's type with an empty body.
        Operation::Get | Operation::Head if is_page(kind) => lacks("an object, not a web page"),
        Operation::Get if header("etag").is_none() || !matches!(status, 200 | 206) => lacks("an object with an ETag"),
        Operation::Head if header("etag").is_none() || status != 200 => lacks("an ETag"),
        Operation::Put | Operation::Part if header("etag").is_none() || !is_blank(body) => lacks("an ETag and no body"),
        Operation::Delete | Operation::AbortUpload if !matches!(status, 200 | 202 | 204) || !is_blank(body) => {
            lacks("no body")
        }
        _ => match asked.document() {
            Some(root) if !is_whole_document(body, root) => lacks(&format!("a complete {root}")),
            _ => None,
        },
    }
}

/// The region named in a redirecting error.
fn named_region(status: u16, body: &[u8]) -> Option<String> {
    if matches!(status, 300..=400) { element("Region", body) } else { None }
}

/// The short text of the first element called `name`.
fn element(name: &str, body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text.len() < 64)
}
