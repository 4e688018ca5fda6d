//! What Dropbox's answers mean to the protocol (docs/protocol.md#outcomes). In its HTTP API, 409 carries the
//! endpoint's own error as JSON; 429 and 503 ask for patience. Invariant: a failure in doubt is `Unknown`.

use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;

use crate::bucket::http_client::http_date;
use crate::bucket::proof::is_page;
use crate::bucket::{BucketError, Stamp, StoreTime};

/// The wait when Dropbox asks for one without saying how long.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest wait that is obeyed to the letter.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A file as Dropbox describes it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct FileMetadata {
    /// `file`, `folder` or `deleted`; left out where only a file can be meant.
    #[serde(rename = ".tag", default)]
    pub(super) tag: Option<String>,
    #[serde(default)]
    pub(super) path_lower: Option<String>,
    #[serde(default)]
    pub(super) rev: Option<String>,
    #[serde(default)]
    pub(super) size: Option<u64>,
    #[serde(default)]
    pub(super) server_modified: Option<String>,
}

impl FileMetadata {
    pub(super) fn is_file(&self) -> bool {
        self.tag.as_deref().is_none_or(|tag| tag == "file")
    }

    pub(super) fn last_modified(&self) -> Option<StoreTime> {
        let time = DateTime::parse_from_rfc3339(self.server_modified.as_deref()?).ok()?;
        Some(StoreTime(time.timestamp_millis()))
    }

    /// This metadata, if it describes a version of a file as Dropbox does. The size must be `size` bytes where that is
    /// known.
    pub(super) fn proven(self, size: Option<u64>) -> Result<FileMetadata, BucketError> {
        let fits = self.size.is_some_and(|told| size.is_none_or(|size| size == told));
        match fits && self.rev.as_ref().is_some_and(|rev| !rev.is_empty()) {
            true => Ok(self),
            false => Err(BucketError::unknown(format!(
                "an answer that does not come from Dropbox: expected a file's revision and {} bytes, got size {:?} and \
                 revision {:?}",
                size.map_or("its".to_owned(), |size| size.to_string()),
                self.size,
                self.rev
            ))),
        }
    }

    pub(super) fn stamp(&self, date: Option<StoreTime>) -> Stamp {
        Stamp { etag: self.rev.clone(), date, last_modified: self.last_modified() }
    }
}

/// A failed answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) status: u16,
    pub(super) date: Option<StoreTime>,
    /// How long the store asks to be left alone.
    pub(super) wait: Option<Duration>,
    /// The endpoint's own error, as a path of words: `path/not_found/…`.
    pub(super) summary: String,
    /// Whether Dropbox itself has answered: with its error as JSON, or with a line of text for a malformed request.
    pub(super) spoken: bool,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    error_summary: String,
}

impl Failed {
    /// The meaning of an answer's status, headers and body.
    pub(super) fn of(status: u16, headers: &reqwest::header::HeaderMap, body: &[u8]) -> Failed {
        let asked = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let asked = asked.map(|seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(PATIENCE));
        let busy = matches!(status, 429 | 503);
        let wait = busy.then(|| asked.unwrap_or(PATIENCE).min(LONGEST_WAIT));
        let page = is_page(headers.get("content-type").and_then(|kind| kind.to_str().ok()));
        let (summary, spoken) = match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => (body.error_summary.clone(), !body.error_summary.is_empty() && !page),
            // 400 may come as text; one line of it is enough to show the fault.
            Err(_) => {
                let line: String = String::from_utf8_lossy(body).chars().take(200).collect();
                let plain = status == 400 && !page && !line.trim().is_empty() && !line.trim_start().starts_with('<');
                (line, plain)
            }
        };
        Failed { status, date: http_date(headers, "date"), wait, summary, spoken }
    }

    /// Whether the access token has run out: nothing was done, and a new token cures it.
    pub(super) fn is_token_expired(&self) -> bool {
        self.status == 401 && self.spoken
    }

    /// Sorts the failure.
    pub(super) fn sort(&self) -> BucketError {
        let date = self.date;
        let message = format!("status {}, {}", self.status, self.summary);
        if !self.spoken && !matches!(self.status, 408 | 425 | 429 | 500..) {
            let message =
                format!("an answer that does not come from Dropbox: {message}; check for a proxy or a login page");
            return BucketError::unknown_until(message, self.wait);
        }
        match self.status {
            409 => self.sort_own(message),
            408 | 425 | 429 => BucketError::unknown_until(message, self.wait),
            300..=499 | 501 => BucketError::Refused { message },
            _ => BucketError::unknown_until(format!("{message} at {date:?}"), self.wait),
        }
    }

    /// Sorts an error of the endpoint itself.
    fn sort_own(&self, message: String) -> BucketError {
        let date = self.date;
        let words: Vec<&str> = self.summary.split('/').filter(|word| !word.is_empty() && *word != "...").collect();
        match words.as_slice() {
            ["path" | "path_lookup" | "from_lookup" | "path_write", "not_found", ..] => BucketError::NotFound { date },
            ["path" | "to", "conflict", "file", ..] => BucketError::Exists { date },
            [
                "path" | "to" | "path_write",
                "conflict" | "malformed_path" | "no_write_permission" | "disallowed_name",
                ..,
            ]
            | ["path" | "path_lookup" | "from_lookup", "malformed_path" | "not_file" | "not_folder", ..]
            | ["path" | "to", "insufficient_space", ..]
            | ["path" | "path_lookup" | "from_lookup", "restricted_content", ..]
            | ["payload_too_large", ..] => BucketError::Refused { message },
            // too_many_write_operations, lost upload sessions, internal errors and words that Dropbox may yet add.
            _ => BucketError::unknown(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    fn failed(status: u16, body: &str) -> Failed {
        Failed::of(status, &HeaderMap::new(), body.as_bytes())
    }

    fn own(summary: &str) -> String {
        format!(r#"{{"error_summary": "{summary}", "error": {{".tag": "path"}}}}"#)
    }

    #[test]
    fn each_answer_is_sorted_as_the_protocol_says() {
        for (status, body, expected) in [
            (409, own("path/conflict/file/.."), "exists"),
            (409, own("path/conflict/folder/..."), "refused"),
            (409, own("path/not_found/"), "not found"),
            (409, own("path_lookup/not_found/.."), "not found"),
            (409, own("from_lookup/not_found/..."), "not found"),
            (409, own("to/conflict/file/."), "exists"),
            (409, own("path/malformed_path/"), "refused"),
            (409, own("path/insufficient_space/"), "refused"),
            (409, own("path/too_many_write_operations/"), "unknown"),
            (409, own("lookup_failed/incorrect_offset/"), "unknown"),
            (409, own("something/new/"), "unknown"),
            (409, "no json".to_owned(), "unknown"),
            (400, "Error in call to API function".to_owned(), "refused"),
            (401, own("expired_access_token/"), "refused"),
            (403, own("access_denied"), "refused"),
            (429, own("too_many_requests/"), "unknown"),
            (500, String::new(), "unknown"),
            (503, String::new(), "unknown"),
            (302, String::new(), "unknown"),
            (404, "<html>not here</html>".to_owned(), "unknown"),
            (403, "<html>sign in</html>".to_owned(), "unknown"),
            (401, String::new(), "unknown"),
        ] {
            let sorted = match failed(status, &body).sort() {
                BucketError::Exists { .. } => "exists",
                BucketError::NotFound { .. } => "not found",
                BucketError::Refused { .. } => "refused",
                BucketError::Unknown { .. } => "unknown",
            };
            assert_eq!(sorted, expected, "{status} {body}");
        }
    }

    #[test]
    fn the_time_to_wait_is_what_the_store_asks_for_within_reason() {
        for (status, asked, wait_s) in [
            (429, Some("7"), Some(7)),
            (503, Some("2"), Some(2)),
            (429, None, Some(1)),
            (429, Some("soon"), Some(1)),
            (429, Some("-5"), Some(1)),
            (429, Some("86400"), Some(300)),
            (409, Some("7"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(asked) = asked {
                headers.insert("retry-after", HeaderValue::from_static(asked));
            }
            let wait = Failed::of(status, &headers, b"").wait;
            assert_eq!(wait, wait_s.map(Duration::from_secs), "{status} {asked:?}");
        }
    }

    #[test]
    fn times_are_read_as_dropbox_writes_them() {
        let text = r#"{".tag": "file", "rev": "a1c10ce0dd78", "size": 7, "server_modified": "2015-05-12T15:50:38Z"}"#;
        let metadata: FileMetadata = serde_json::from_str(text).unwrap();
        assert_eq!(metadata.last_modified(), Some(StoreTime(1_431_445_838_000)));
        assert!(metadata.is_file());
    }
}
