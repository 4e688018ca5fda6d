//! What S3's answers mean to the protocol (docs/protocol.md#outcomes): every failure is sorted by what is known, and
//! some successes prove nothing. Invariants: an answer in doubt is `Unknown`; a slot counts as missing only if the
//! store says so in its own words.

use std::error::Error as StdError;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::credentials::NO_CREDENTIALS;
use super::response::{Note, Operation, ResponseWatch};
use crate::bucket::BucketError;
use crate::bucket::attempt::{chain, with_way_out};

/// Sorts a failed call.
pub(super) fn sort<E>(error: &SdkError<E, HttpResponse>, response: &ResponseWatch) -> BucketError
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        // Nothing was sent.
        SdkError::ConstructionFailure(_) => refused_unless_accepted(chain(error), response),
        SdkError::ServiceError(service) => {
            let (status, meta) = (service.raw().status().as_u16(), service.err().meta());
            let answer = ErrorResponse { status, code: meta.code(), message: meta.message(), note: response.note() };
            answer.sort(response.asked)
        }
        // A response that cannot be read, no response, no connection.
        SdkError::DispatchFailure(_) if chain(error).contains(NO_CREDENTIALS) => {
            refused_unless_accepted(chain(error), response)
        }
        _ => BucketError::unknown_until(with_way_out(chain(error)), response.note().retry_after),
    }
}

/// A call that was never sent for want of keys. If there were keys before, they may come again.
fn refused_unless_accepted(message: String, response: &ResponseWatch) -> BucketError {
    let message = message.find(NO_CREDENTIALS).and_then(|at| message.get(at..)).unwrap_or(&message).to_owned();
    if response.had_keys() { BucketError::unknown(message) } else { BucketError::Refused { message } }
}

/// `Ok` for a success that is provably the store's; otherwise what is known of the call.
pub(super) fn check(response: &ResponseWatch) -> Result<(), BucketError> {
    let Note { flaw, retry_after, .. } = response.note();
    match flaw {
        None => Ok(()),
        Some(flaw) => Err(BucketError::unknown_until(not_the_stores("a success", &flaw), retry_after)),
    }
}

/// The tag in an answer's document. Without a tag nothing is known to be written.
pub(super) fn tag(etag: Option<String>) -> Result<String, BucketError> {
    let lacking = || BucketError::unknown(not_the_stores("a success", "expected an ETag in its document, got none"));
    etag.filter(|etag| !etag.trim().is_empty()).ok_or_else(lacking)
}

fn not_the_stores(what: &str, flaw: &str) -> String {
    format!(
        "{what} that does not come from an object store ({flaw}); check for a proxy, a login page or a load balancer \
         in between"
    )
}

/// An error response.
struct ErrorResponse<'a> {
    status: u16,
    code: Option<&'a str>,
    message: Option<&'a str>,
    note: Note,
}

impl ErrorResponse<'_> {
    fn sort(&self, asked: Operation) -> BucketError {
        let date = self.note.date;
        let unknown = || BucketError::unknown_until(self.text(), self.note.retry_after);
        if let Some(flaw) = &self.note.flaw {
            // A store without batched deletes may answer in words that are not S3's.
            return match (asked, self.status) {
                (Operation::DeleteBatch, 405 | 501) => BucketError::Refused { message: self.text() },
                _ => BucketError::unknown_until(
                    not_the_stores(&format!("an answer of status {}", self.status), flaw),
                    self.note.retry_after,
                ),
            };
        }
        let absent = match asked {
            Operation::Get | Operation::Put | Operation::Copy | Operation::Delete => self.code == Some("NoSuchKey"),
            Operation::Head => self.code != Some("NoSuchBucket"),
            _ => false,
        };
        if self.note.renewing {
            let message = format!("{}; the keys are read again from their source", self.text());
            return BucketError::unknown(message);
        }
        match (self.status, self.code) {
            (412, _) => BucketError::Exists { date },
            (404, _) if absent => BucketError::NotFound { date },
            // The upload was ended by someone else; a new one may succeed.
            (404, Some("NoSuchUpload")) => unknown(),
            // S3 answers 400 when the body did not come in time.
            (400, Some("RequestTimeout")) => unknown(),
            // Cured by the store's own time, which stands in the answer.
            (403, Some("RequestTimeTooSkewed")) => BucketError::unknown(format!(
                "{}; the clocks of this machine and of the store differ; set this machine's clock",
                self.text()
            )),
            (403, Some("AccessDenied")) => {
                BucketError::Refused { message: format!("{}; {}", self.text(), needs(asked)) }
            }
            (501, _) => BucketError::Refused { message: self.text() },
            (300..=399, _) | (400, Some("AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")) => {
                BucketError::Refused { message: self.elsewhere() }
            }
            (408 | 409 | 425 | 429, _) => unknown(),
            (400..=499, _) => BucketError::Refused { message: self.text() },
            // 5xx, and an error inside a 200.
            _ => unknown(),
        }
    }

    fn elsewhere(&self) -> String {
        match &self.note.region {
            Some(region) => format!("{}; the bucket is in the region {region}: set AWS_REGION={region}", self.text()),
            None => format!("{}; check the region (AWS_REGION) and the endpoint", self.text()),
        }
    }

    fn text(&self) -> String {
        let (code, message) = (self.code.unwrap_or("no code"), self.message.unwrap_or("no message"));
        format!("status {}, {code}: {message}", self.status)
    }
}

fn needs(asked: Operation) -> String {
    format!("the credentials need {} (docs/aws.md has a policy to copy)", asked.rights())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome's name alone.
    fn outcome(status: u16, code: Option<&str>, asked: Operation) -> &'static str {
        match (ErrorResponse { status, code, message: None, note: Note::default() }).sort(asked) {
            BucketError::Exists { .. } => "exists",
            BucketError::NotFound { .. } => "not found",
            BucketError::Refused { .. } => "refused",
            BucketError::Unknown { .. } => "unknown",
        }
    }

    #[test]
    fn an_error_that_does_not_prove_itself_is_unknown_whatever_its_status() {
        for status in [301, 400, 401, 403, 404, 405, 412, 413, 500, 501] {
            let note = Note { flaw: Some("a page".into()), ..Note::default() };
            let sorted = ErrorResponse { status, code: None, message: None, note }.sort(Operation::Put);
            assert!(
                matches!(&sorted, BucketError::Unknown { message, .. } if message.contains("a page")),
                "{sorted:?}"
            );
        }
    }

    #[test]
    fn what_the_credentials_need_and_where_the_bucket_is_stand_in_the_message() {
        let note = Note { region: Some("eu-central-1".into()), ..Note::default() };
        let moved =
            ErrorResponse { status: 301, code: Some("PermanentRedirect"), message: None, note }.sort(Operation::Get);
        assert!(moved.to_string().contains("AWS_REGION=eu-central-1"), "{moved}");
        let denied = |asked| {
            ErrorResponse { status: 403, code: Some("AccessDenied"), message: None, note: Note::default() }.sort(asked)
        };
        for (asked, right) in [
            (Operation::Get, "s3:ListBucket"),
            (Operation::Put, "s3:PutObject"),
            (Operation::Delete, "s3:DeleteObject"),
        ] {
            assert!(denied(asked).to_string().contains(right), "{asked:?}");
        }
    }

    #[test]
    fn each_status_is_sorted_as_the_protocol_says() {
        for (status, code, asked, expected) in [
            (412, Some("PreconditionFailed"), Operation::Get, "exists"),
            (404, Some("NoSuchKey"), Operation::Get, "not found"),
            (404, Some("NoSuchBucket"), Operation::Get, "refused"),
            (404, None, Operation::Head, "not found"),
            (404, Some("NotFound"), Operation::Head, "not found"),
            (404, Some("NoSuchKey"), Operation::Part, "refused"),
            (404, Some("NoSuchUpload"), Operation::CompleteUpload, "unknown"),
            (400, Some("InvalidArgument"), Operation::Get, "refused"),
            (400, Some("ExpiredToken"), Operation::Get, "refused"),
            (400, Some("RequestTimeout"), Operation::Get, "unknown"),
            (401, None, Operation::Get, "refused"),
            (403, Some("AccessDenied"), Operation::Get, "refused"),
            (403, Some("RequestTimeTooSkewed"), Operation::Put, "unknown"),
            (405, Some("MethodNotAllowed"), Operation::Get, "refused"),
            (413, Some("EntityTooLarge"), Operation::Get, "refused"),
            (301, Some("PermanentRedirect"), Operation::Get, "refused"),
            (408, None, Operation::Get, "unknown"),
            (409, Some("ConditionalRequestConflict"), Operation::Get, "unknown"),
            (429, None, Operation::Get, "unknown"),
            (500, Some("InternalError"), Operation::Get, "unknown"),
            (501, Some("NotImplemented"), Operation::DeleteBatch, "refused"),
            (503, Some("SlowDown"), Operation::Get, "unknown"),
            (200, Some("InternalError"), Operation::Get, "unknown"),
        ] {
            assert_eq!(outcome(status, code, asked), expected, "{status} {code:?} {asked:?}");
        }
    }
}
