//! Conditional requests for files (RFC 9110, section 13). A file's tag is its SHA-256: strong, and equal wherever the
//! bytes are equal.

use axum::http::{HeaderMap, HeaderName, header};

use crate::error::Error;
use crate::file::{FileCondition, FileInfo};

/// A file's tag as headers write it.
pub(super) fn etag(file: &FileInfo) -> String {
    format!("\"{}\"", file.sha256)
}

/// The time of a file's upload as headers write it.
pub(super) fn modified(file: &FileInfo) -> String {
    let ms = u64::try_from(file.uploaded_at_ms).unwrap_or(0);
    // A time that no HTTP date can hold is cut to the last that one can.
    let at = std::time::Duration::from_millis(ms.min(253_402_300_799_000));
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + at)
}

/// The tags that a header lists; `*` alone means any.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<String>),
}

/// The tags of a header, which may come in several lines.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    let lines: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    if lines.is_empty() {
        return None;
    }
    let tags = lines.iter().flat_map(|line| line.split(',')).map(|tag| tag.trim().to_owned());
    let tags: Vec<String> = tags.filter(|tag| !tag.is_empty()).collect();
    Some(if tags == ["*"] { Tags::Any } else { Tags::These(tags) })
}

/// The condition of an upload.
///
/// # Errors
/// `Invalid` for a condition that an upload cannot have.
pub(super) fn of_upload(headers: &HeaderMap) -> Result<FileCondition, Error> {
    match (tags(headers, &header::IF_MATCH), tags(headers, &header::IF_NONE_MATCH)) {
        (None, None) => Ok(FileCondition::Any),
        (None, Some(Tags::Any)) => Ok(FileCondition::Absent),
        (Some(Tags::Any), None) => Ok(FileCondition::Matches(Vec::new())),
        // A weak tag never matches; its placeholder here is no sum.
        (Some(Tags::These(tags)), None) => {
            let sums = tags.iter().map(|tag| tag.trim_matches('"').to_owned());
            let sums: Vec<String> = if tags.is_empty() { vec![String::new()] } else { sums.collect() };
            Ok(FileCondition::Matches(sums))
        }
        (None, Some(_)) => Err(Error::invalid("if-none-match: expected * on an upload, got tags; use if-match")),
        (Some(_), Some(_)) => Err(Error::invalid("expected if-match or if-none-match, got both")),
    }
}

/// The result of a read's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadVerdict {
    Send,
    /// Answered 304: the client has this file already.
    Known,
    /// Answered 412: a condition does not hold.
    Failed,
}

/// Evaluates the conditions of a read.
pub(super) fn of_read(headers: &HeaderMap, file: &FileInfo) -> ReadVerdict {
    let own = etag(file);
    match tags(headers, &header::IF_MATCH) {
        Some(Tags::These(tags)) if !tags.contains(&own) => return ReadVerdict::Failed,
        _ => {}
    }
    match tags(headers, &header::IF_NONE_MATCH) {
        Some(Tags::Any) => ReadVerdict::Known,
        Some(Tags::These(tags)) if tags.iter().any(|tag| tag.trim_start_matches("W/") == own) => ReadVerdict::Known,
        _ => ReadVerdict::Send,
    }
}

/// Whether a `Range` counts: `If-Range` names this file, or is absent.
pub(super) fn range_counts(headers: &HeaderMap, file: &FileInfo) -> bool {
    let said = headers.get(header::IF_RANGE).map(|value| value.to_str().unwrap_or_default().trim());
    said.is_none_or(|said| said == etag(file) || said == modified(file))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::record::Version;

    fn file() -> FileInfo {
        FileInfo {
            name: "a".to_owned(),
            size: 3,
            sha256: "ab".repeat(32),
            content_type: None,
            content_encoding: None,
            uploaded_at_ms: 784_111_777_000,
            auto_delete: None,
            version: Version(1),
        }
    }

    fn with(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn conditions_of_reads_compare_tags() {
        let own = etag(&file());
        let (matching, none) = (header::IF_MATCH, header::IF_NONE_MATCH);
        let weak = format!("W/{own}");
        let list = format!("\"x\", {own}");
        for (name, value, expected) in [
            (&matching, "*", ReadVerdict::Send),
            (&matching, own.as_str(), ReadVerdict::Send),
            (&matching, list.as_str(), ReadVerdict::Send),
            (&matching, weak.as_str(), ReadVerdict::Failed),
            (&matching, "\"x\"", ReadVerdict::Failed),
            (&none, "*", ReadVerdict::Known),
            (&none, weak.as_str(), ReadVerdict::Known),
            (&none, list.as_str(), ReadVerdict::Known),
            (&none, "\"x\"", ReadVerdict::Send),
        ] {
            assert_eq!(of_read(&with(&[(name.clone(), value)]), &file()), expected, "{name}: {value}");
        }
        assert_eq!(of_read(&HeaderMap::new(), &file()), ReadVerdict::Send);
    }

    #[test]
    fn conditions_of_uploads_are_absence_or_tags() {
        let (matching, none) = (header::IF_MATCH, header::IF_NONE_MATCH);
        let of = |pairs: &[(HeaderName, &str)]| of_upload(&with(pairs)).map_err(|e| e.to_string());
        assert_eq!(of(&[]), Ok(FileCondition::Any));
        assert_eq!(of(&[(none.clone(), "*")]), Ok(FileCondition::Absent));
        assert_eq!(of(&[(matching.clone(), "*")]), Ok(FileCondition::Matches(Vec::new())));
        assert_eq!(of(&[(matching.clone(), "\"ab\"")]), Ok(FileCondition::Matches(vec!["ab".to_owned()])));
        assert_eq!(of(&[(matching.clone(), "W/\"ab\"")]), Ok(FileCondition::Matches(vec!["W/\"ab".to_owned()])));
        assert_eq!(of(&[(matching.clone(), "")]), Ok(FileCondition::Matches(vec![String::new()])));
        assert!(of(&[(none.clone(), "\"ab\"")]).is_err() && of(&[(none, "*"), (matching, "*")]).is_err());
    }

    #[test]
    fn a_range_counts_for_the_file_that_it_was_asked_of() {
        assert_eq!(modified(&file()), "Sun, 06 Nov 1994 08:49:37 GMT");
        for (value, expected) in
            [(etag(&file()), true), (modified(&file()), true), ("\"x\"".to_owned(), false), (String::new(), false)]
        {
            assert_eq!(range_counts(&with(&[(header::IF_RANGE, &value)]), &file()), expected, "{value}");
        }
        assert!(range_counts(&HeaderMap::new(), &file()));
    }
}
