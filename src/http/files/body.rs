//! The body of an upload as a stream that the store takes. It may take any time, as long as bytes keep coming.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{Stream, StreamExt, stream};

use crate::environment::with_variables;
use crate::error::{Error, ErrorKind, Result};
use crate::http::App;
use crate::http::error::ApiError;

pub(super) const X_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-content-sha256");
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// Most bytes of a media type.
const TYPE_BYTES: usize = 255;

/// The body's pieces. Ends with an error where the client stalls or hangs up.
pub(super) fn pieces(body: Body, idle: Duration) -> impl Stream<Item = Result<Bytes>> + Send {
    stream::try_unfold(body.into_data_stream(), move |mut body| async move {
        let Ok(next) = tokio::time::timeout(idle, body.next()).await else {
            let seconds = idle.as_secs_f64();
            let refused = format!("no byte of the body came for {seconds} s (files.idle_timeout); nothing was stored");
            return Err(Error::unavailable(refused).of_setting("files.idle_timeout"));
        };
        match next {
            None => Ok(None),
            Some(Ok(piece)) => Ok(Some((piece, body))),
            Some(Err(e)) => {
                Err(Error::invalid("body: ended before it was complete; nothing was stored").with_source(e))
            }
        }
    })
}

/// The text of a header, if the header is present.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| Error::invalid(format!("{name}: expected printable ASCII")))
}

/// The media type that the upload states.
pub(super) fn content_type(text: Option<&str>) -> Result<Option<String>> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    match text {
        Some(text) if text.len() > TYPE_BYTES => {
            Err(Error::invalid(format!("content-type: expected at most {TYPE_BYTES} bytes, got {}", text.len())))
        }
        other => Ok(other.map(str::to_owned)),
    }
}

/// The content coding that the upload states; the bytes are stored as they come.
pub(super) fn content_encoding(headers: &HeaderMap) -> Result<Option<String>> {
    let text = text(headers, &header::CONTENT_ENCODING)?.map(str::trim).unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_., ".contains(&byte);
    if text.len() > TYPE_BYTES || !text.bytes().all(allowed) {
        return Err(Error::invalid(format!("{}: expected names of codings such as gzip", header::CONTENT_ENCODING)));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("identity")))
}

/// The SHA-256 that the upload states for its body, in lower-case hex.
///
/// # Errors
/// `Invalid` for a malformed sum, and for two that differ.
pub(super) fn expected_sum(headers: &HeaderMap) -> Result<Option<String>> {
    let plain = text(headers, &X_CONTENT_SHA256)?.map(|sum| sum.trim().to_ascii_lowercase());
    let structured = text(headers, &CONTENT_DIGEST)?.map(of_digest).transpose()?.flatten();
    match (plain, structured) {
        (Some(plain), Some(structured)) if plain != structured => {
            Err(Error::invalid(format!("{X_CONTENT_SHA256} and {CONTENT_DIGEST} name different checksums")))
        }
        (plain, structured) => Ok(plain.or(structured)),
    }
}

/// The sum in `sha-256=:…:` (RFC 9530), in hex; other algorithms are ignored.
fn of_digest(header: &str) -> Result<Option<String>> {
    let entries = header.split(',').filter_map(|entry| entry.trim().split_once('='));
    let Some((_, value)) = entries.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("sha-256")) else {
        return Ok(None);
    };
    let inner = value.trim().strip_prefix(':').and_then(|value| value.strip_suffix(':'));
    let bytes = inner.and_then(|inner| STANDARD.decode(inner).ok()).filter(|bytes| bytes.len() == 32);
    let bytes = bytes.ok_or_else(|| {
        Error::invalid(format!("{CONTENT_DIGEST}: expected sha-256=:base64 of 32 bytes:, got {header:?}"))
    })?;
    Ok(Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// The length that the upload states. Refuses a file that is too large before a byte of it is read.
pub(super) fn length(app: &App, headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let length = text(headers, &header::CONTENT_LENGTH)?.and_then(|length| length.parse::<u64>().ok());
    let limit = app.store.file_settings().max_bytes;
    match length.filter(|length| *length > limit) {
        Some(got) => Err(too_large(format!("body: at most {limit} bytes, got {got} (DRUMLIN_FILE_MAX_BYTES)"))),
        None => Ok(length),
    }
}

fn too_large(message: String) -> ApiError {
    ApiError::with_status(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::Limit, message)
}

/// Refuses a kind of file that is not on the list.
pub(super) fn check_kind(app: &App, name: &str, content_type: Option<&str>) -> Result<(), ApiError> {
    if app.settings.file_kinds.allow(name, content_type) {
        return Ok(());
    }
    let shown: String = content_type.unwrap_or("none").chars().take(100).collect();
    let message =
        format!("files of this kind are not accepted (DRUMLIN_FILE_TYPES): name {name:?}, content-type {shown:?}");
    Err(ApiError::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorKind::Invalid, message))
}

/// The status of an upload that failed.
pub(super) fn refused(error: Error) -> ApiError {
    let error = with_variables(error);
    match error.kind() {
        ErrorKind::Limit => too_large(error.message().to_owned()),
        ErrorKind::Conflict => {
            ApiError::with_status(StatusCode::PRECONDITION_FAILED, ErrorKind::Conflict, error.message().to_owned())
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn sums_are_read_in_both_spellings() {
        // From `printf 'x' | openssl dgst -sha256` in hex and in base64.
        let hex = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        let digest = "sha-512=:AAAA:, sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:";
        let of = |pairs: &[(&HeaderName, &str)]| {
            let headers = pairs.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_str(value).unwrap()));
            expected_sum(&headers.collect()).map_err(|e| e.kind())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[(&X_CONTENT_SHA256, &hex.to_uppercase())]), Ok(Some(hex.to_owned())));
        assert_eq!(of(&[(&CONTENT_DIGEST, digest)]), Ok(Some(hex.to_owned())));
        assert_eq!(of(&[(&X_CONTENT_SHA256, hex), (&CONTENT_DIGEST, digest)]), Ok(Some(hex.to_owned())));
        assert_eq!(of(&[(&CONTENT_DIGEST, "sha-512=:AAAA:")]), Ok(None));
        for bad in ["sha-256=x", "sha-256=:AAAA:", "sha-256=::"] {
            assert_eq!(of(&[(&CONTENT_DIGEST, bad)]), Err(ErrorKind::Invalid), "{bad}");
        }
        assert_eq!(of(&[(&X_CONTENT_SHA256, &"0".repeat(64)), (&CONTENT_DIGEST, digest)]), Err(ErrorKind::Invalid));
    }
}
