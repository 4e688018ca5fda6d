//! The description of a file in answers: as JSON, and in headers.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::body::X_CONTENT_SHA256;
use super::condition::{etag, modified};
use crate::file::FileInfo;
use crate::record::Version;
use crate::store::report;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// A file as JSON.
#[derive(Serialize)]
pub(super) struct FileBody {
    name: String,
    size: u64,
    sha256: String,
    etag: String,
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    /// RFC 3339, by the object store's clock.
    uploaded_at: String,
    /// The wish of the upload; null where it had none.
    auto_delete: Option<bool>,
    version: Version,
}

impl From<FileInfo> for FileBody {
    fn from(file: FileInfo) -> FileBody {
        let (etag, uploaded_at) = (etag(&file), report::time(file.uploaded_at_ms));
        let FileInfo { name, size, sha256, content_type, content_encoding, auto_delete, version, .. } = file;
        FileBody { name, size, sha256, etag, content_type, content_encoding, uploaded_at, auto_delete, version }
    }
}

/// The headers of every answer about a file's bytes.
pub(super) fn headers_of(file: &FileInfo) -> HeaderMap {
    let kind = file.content_type.as_deref().unwrap_or("application/octet-stream");
    let coding = file.content_encoding.iter().map(|coding| (header::CONTENT_ENCODING, coding.clone()));
    let texts = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::ETAG, etag(file)),
        (header::LAST_MODIFIED, modified(file)),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        (header::CONTENT_DISPOSITION, disposition(&file.name)),
        (REPR_DIGEST, digest(&file.sha256)),
        (X_CONTENT_SHA256, file.sha256.clone()),
    ];
    let valid =
        texts.into_iter().chain(coding).filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?)));
    valid.collect()
}

/// A hex sum in the form of RFC 9530.
fn digest(sha256: &str) -> String {
    let digits: Vec<u8> = sha256.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    format!("sha-256=:{}:", STANDARD.encode(bytes))
}

/// Makes a browser save the file instead of showing it: anybody may have made its contents.
fn disposition(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    let plain = |c: char| if c.is_ascii_alphanumeric() || " ._-+()".contains(c) { c } else { '_' };
    let ascii: String = last.chars().map(plain).collect();
    let kept = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let encoded: String =
        last.bytes().map(|b| if kept(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        let cases = [
            ("a/b.txt", "attachment; filename=\"b.txt\"; filename*=UTF-8''b.txt"),
            ("x\"; y=\"z", "attachment; filename=\"x__ y__z\"; filename*=UTF-8''x%22%3B%20y%3D%22z"),
            ("ü", "attachment; filename=\"_\"; filename*=UTF-8''%C3%BC"),
        ];
        for (name, expected) in cases {
            assert_eq!(disposition(name), expected);
        }
    }

    #[test]
    fn a_sum_is_told_as_the_rfc_wants_it() {
        let hex = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert_eq!(digest(hex), "sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:");
    }
}
