//! What S3's answers mean to the protocol (protocol section 1): the store's time off every response, and
//! every failure sorted by what is known. Its invariant: in doubt a failure is `Unknown`, and a slot
//! counts as missing only if the store says so in its own words.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::bucket::clock::system_time;
use crate::bucket::transfer::{chain, retry_after};
use crate::bucket::{BucketError, StoreTime};

/// Catches the `Date` header of one call's response, be it a success or an error. One second fine.
#[derive(Debug, Clone)]
pub(super) struct Date(Arc<AtomicI64>);

/// No response so far, or one without a date.
const NONE: i64 = i64::MIN;

impl Date {
    pub(super) fn new() -> Self {
        Date(Arc::new(AtomicI64::new(NONE)))
    }

    pub(super) fn time(&self) -> Option<StoreTime> {
        Some(self.0.load(Ordering::SeqCst)).filter(|ms| *ms != NONE).map(StoreTime)
    }
}

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "store time"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").and_then(|text| httpdate::parse_http_date(text).ok());
        if let Some(date) = date {
            self.0.store(system_time(date).0, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// What the request was about, as far as it bears on the meaning of 404.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// About an object: 404 must name the key to count as its absence.
    Object,
    /// About an object, by a method whose error answers have no body to name anything.
    Head,
    /// About the bucket or an upload: 404 never means an absent object.
    Other,
}

/// Sorts a failed call.
pub(super) fn sort<E>(error: &SdkError<E, HttpResponse>, asked: Asked, date: Option<StoreTime>) -> BucketError
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => BucketError::Refused { message: chain(error) },
        SdkError::ServiceError(service) => {
            let (raw, meta) = (service.raw(), service.err().meta());
            let retry_after = raw.headers().get("retry-after").and_then(|text| retry_after(text, date));
            let status = raw.status().as_u16();
            let answer = Answered { status, code: meta.code(), message: meta.message(), retry_after };
            answer.sort(asked, date)
        }
        // A response that cannot be read, no response, no connection.
        _ => BucketError::unknown(chain(error)),
    }
}

/// An error response.
struct Answered<'a> {
    status: u16,
    code: Option<&'a str>,
    message: Option<&'a str>,
    retry_after: Option<Duration>,
}

impl Answered<'_> {
    fn sort(&self, asked: Asked, date: Option<StoreTime>) -> BucketError {
        let absent = match asked {
            Asked::Object => self.code == Some("NoSuchKey"),
            Asked::Head => self.code != Some("NoSuchBucket"),
            Asked::Other => false,
        };
        match (self.status, self.code) {
            (412, _) => BucketError::Exists { date },
            (404, _) if absent => BucketError::NotFound { date },
            // The upload was ended by someone else; a new one may succeed.
            (404, Some("NoSuchUpload")) => BucketError::unknown(self.text()),
            // S3 says 400 when the body did not come in time.
            (400, Some("RequestTimeout")) => BucketError::unknown(self.text()),
            (501, _) => BucketError::Refused { message: self.text() },
            (300..=399, _) => BucketError::Refused { message: format!("{}; check the region", self.text()) },
            (408 | 409 | 425 | 429, _) => BucketError::unknown_until(self.text(), self.retry_after),
            (400..=499, _) => BucketError::Refused { message: self.text() },
            // 5xx, and an error inside a 200.
            _ => BucketError::unknown_until(self.text(), self.retry_after),
        }
    }

    fn text(&self) -> String {
        let (code, message) = (self.code.unwrap_or("no code"), self.message.unwrap_or("no message"));
        format!("status {}, {code}: {message}", self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome's name alone.
    fn outcome(status: u16, code: Option<&str>, asked: Asked) -> &'static str {
        match (Answered { status, code, message: None, retry_after: None }).sort(asked, None) {
            BucketError::Exists { .. } => "exists",
            BucketError::NotFound { .. } => "not found",
            BucketError::Refused { .. } => "refused",
            BucketError::Unknown { .. } => "unknown",
        }
    }

    #[test]
    fn each_status_is_sorted_as_the_protocol_says() {
        for (status, code, asked, expected) in [
            (412, Some("PreconditionFailed"), Asked::Object, "exists"),
            (404, Some("NoSuchKey"), Asked::Object, "not found"),
            (404, Some("NoSuchBucket"), Asked::Object, "refused"),
            (404, None, Asked::Object, "refused"),
            (404, None, Asked::Head, "not found"),
            (404, Some("NotFound"), Asked::Head, "not found"),
            (404, Some("NoSuchKey"), Asked::Other, "refused"),
            (404, Some("NoSuchUpload"), Asked::Other, "unknown"),
            (400, Some("InvalidArgument"), Asked::Object, "refused"),
            (400, Some("ExpiredToken"), Asked::Object, "refused"),
            (400, Some("RequestTimeout"), Asked::Object, "unknown"),
            (401, None, Asked::Object, "refused"),
            (403, Some("AccessDenied"), Asked::Object, "refused"),
            (405, Some("MethodNotAllowed"), Asked::Object, "refused"),
            (413, Some("EntityTooLarge"), Asked::Object, "refused"),
            (301, Some("PermanentRedirect"), Asked::Object, "refused"),
            (408, None, Asked::Object, "unknown"),
            (409, Some("ConditionalRequestConflict"), Asked::Object, "unknown"),
            (429, None, Asked::Object, "unknown"),
            (500, Some("InternalError"), Asked::Object, "unknown"),
            (501, Some("NotImplemented"), Asked::Other, "refused"),
            (503, Some("SlowDown"), Asked::Object, "unknown"),
            (200, Some("InternalError"), Asked::Object, "unknown"),
        ] {
            assert_eq!(outcome(status, code, asked), expected, "{status} {code:?} {asked:?}");
        }
    }
}
