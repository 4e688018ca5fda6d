//! From a request to a value: reads a body within its limit, checks its media type, decodes JSON
//! strictly and names the field that is wrong. Nothing a client sends can make this panic.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use futures::StreamExt;
use serde::de::DeserializeOwned;

use super::App;
use super::error::ApiError;
use super::wire::Object;
use crate::error::{Error, Kind};
use crate::memory::Reservation;

/// JSON decoded on the async thread up to this size; larger bodies go to a blocking thread.
const INLINE_BYTES: usize = 64 << 10;

/// A request body and what it claims to be.
pub(crate) struct Payload {
    /// The media type without parameters, lower case; empty if none was given.
    pub(crate) media_type: String,
    /// The whole body, not longer than the limit.
    pub(crate) bytes: Bytes,
    /// Memory for the body and what it is decoded to.
    pub(crate) room: Room,
}

impl FromRequest<App> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Payload, ApiError> {
        let header = request.headers().get(header::CONTENT_TYPE);
        let text = header.map_or(Ok(""), |h| h.to_str()).map_err(|_| {
            ApiError::with_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Kind::Invalid,
                "content-type: expected application/json, got bytes that are no text",
            )
        })?;
        let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (bytes, room) = read_body(request.into_body(), app).await?;
        Ok(Payload { media_type, bytes, room })
    }
}

/// Memory taken before a body is read, and for what it turned out to have more.
pub(crate) type Room = [Option<Reservation>; 2];

/// Bytes that a large body takes until it is decoded: it may come in pieces that are joined, and what it says
/// is about as long. Small ones are not counted.
fn roomy(bytes: u64) -> u64 {
    if bytes <= INLINE_BYTES as u64 { 0 } else { bytes.saturating_mul(2) }
}

/// A JSON body, decoded strictly.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Json<T>, ApiError> {
        Payload::from_request(request, app).await?.json().await.map(Json)
    }
}

impl Payload {
    /// Decodes a JSON body.
    pub(crate) async fn json<T: DeserializeOwned + Send + 'static>(self) -> Result<T, ApiError> {
        if self.media_type != "application/json" {
            return Err(unsupported(&self.media_type, "application/json"));
        }
        let room = self.room;
        let decoded =
            decode_off_thread(self.bytes, |bytes| decode_json::<Object<T>>(&bytes).map(|body| body.0)).await?;
        drop(room);
        Ok(decoded)
    }
}

/// The answer to a media type that a route does not take.
pub(crate) fn unsupported(media_type: &str, expected: &str) -> ApiError {
    let got = if media_type.is_empty() { "none".to_owned() } else { format!("{media_type:?}") };
    ApiError::with_status(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Invalid,
        format!("content-type: expected {expected}, got {got}"),
    )
}

/// Runs `decode` here if there is little to do, on a blocking thread otherwise.
pub(crate) async fn decode_off_thread<T: Send + 'static, E: From<Error> + Send + 'static>(
    bytes: Bytes,
    decode: impl FnOnce(Bytes) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    if bytes.len() <= INLINE_BYTES {
        return decode(bytes);
    }
    let decoded = tokio::task::spawn_blocking(move || decode(bytes)).await;
    decoded.map_err(|e| Error::internal("decoding the body failed").with_source(e))?
}

/// Decodes JSON. The first, fast pass knows no place; only where it fails a second one finds the path.
pub(crate) fn decode_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::invalid("body: expected a JSON object, got nothing"));
    }
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let located: Result<T, _> = serde_path_to_error::deserialize(&mut json);
    match located {
        Ok(_) => Err(Error::invalid("body: expected one JSON value, got more after it")),
        Err(e) => {
            // `.` is the whole body, `?` a place inside an object before its key was read.
            let path = e.path().to_string();
            let path = path.trim_end_matches('?').trim_end_matches('.');
            let place = if path.is_empty() { "body" } else { path };
            Err(Error::invalid(format!("{place}: {}", words_of(e.inner()))))
        }
    }
}

/// What is wrong with JSON, in serde's words; where those name no limit, with the limit.
pub(crate) fn words_of(error: &serde_json::Error) -> String {
    let words = error.to_string();
    match words.starts_with("recursion limit exceeded") {
        true => format!(
            "{words}: at most 127 lists and objects may lie within each other; put conditions of one $and or $or into \
             one list"
        ),
        false => words,
    }
}

/// Reads a body within its limit, and takes memory for it and for what it is decoded to.
pub(super) async fn read_body(body: Body, app: &App) -> Result<(Bytes, Room), ApiError> {
    let limit = app.settings.max_body_bytes;
    // One that is too long is refused for that, and takes no memory.
    let said = body.size_hint().lower().min(limit as u64);
    let room = app.store.room_for_request(roomy(said)).await?;
    let bytes = read_within(body, limit).await?;
    // A body whose length was not said is seen only now.
    let rest = app.store.room_for_request(roomy(bytes.len() as u64).saturating_sub(roomy(said))).await?;
    Ok((bytes, [room, rest]))
}

async fn read_within(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut first = Bytes::new();
    let mut joined = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|e| {
            ApiError::from(Error::invalid("body: ended before it was complete").with_source(std::io::Error::other(e)))
        })?;
        if first.len() + joined.len() + piece.len() > limit {
            return Err(ApiError::with_status(
                StatusCode::PAYLOAD_TOO_LARGE,
                Kind::Limit,
                format!("body: at most {limit} bytes, got more; send smaller batches (DRUMLIN_MAX_BODY_BYTES)"),
            ));
        }
        // One piece, the usual case, is taken as it is; more are joined.
        if joined.is_empty() && first.is_empty() {
            first = piece;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&piece);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.into() })
}

/// Query parameters, decoded strictly.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Parameters<T>, ApiError> {
        let query = Query::try_from_uri(&parts.uri).map_err(|e| {
            // axum's sentence opens with its own words; what follows names the parameter.
            let text = e.body_text();
            let detail = text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest);
            ApiError::invalid(format!("query: {detail}"))
        })?;
        Ok(Parameters(query.0))
    }
}

/// The collection's name in the path, checked.
pub(crate) struct Name(pub(crate) String);

impl FromRequestParts<App> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Name, ApiError> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        let Path(name) = path.map_err(|e| ApiError::invalid(format!("collection name: {}", e.body_text())))?;
        check_name(&name)?;
        Ok(Name(name))
    }
}

/// Refuses what cannot be a collection's name: 1 to 512 of `[A-Za-z0-9._-]`, alphanumeric at both ends.
///
/// # Errors
/// `Invalid` with the rule.
pub fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let end = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    if bytes.len() <= 512 && bytes.iter().copied().all(allowed) && end(bytes.first()) && end(bytes.last()) {
        return Ok(());
    }
    let shown: String = name.chars().take(64).collect();
    Err(Error::invalid(format!(
        "name: expected 1 to 512 of the characters a-z A-Z 0-9 . _ - that start and end with a letter or digit, got {shown:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_and_inner_punctuation() {
        for good in ["a", "7", "a.b", "A_b-c.9", &"x".repeat(512)] {
            assert_eq!(check_name(good).map_err(|e| e.to_string()), Ok(()), "{good}");
        }
        for bad in ["", ".", "-a", "a-", "a b", "a/b", "ä", "a\0b", "..", &"x".repeat(513)] {
            assert_eq!(check_name(bad).map_err(|e| e.kind()), Err(Kind::Invalid), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined_and_one_over_the_limit_is_refused() {
        let pieces = |n: usize| {
            let items = (0..n).map(|i| Ok::<_, std::io::Error>(Bytes::from(vec![i as u8; 10])));
            Body::from_stream(futures::stream::iter(items.collect::<Vec<_>>()))
        };
        for n in [0, 1, 2, 3] {
            let expected: Vec<u8> = (0..n).flat_map(|i| vec![i as u8; 10]).collect();
            assert_eq!(read_within(pieces(n), 30).await.ok(), Some(Bytes::from(expected)), "{n} pieces");
        }
        assert!(read_within(pieces(4), 30).await.is_err());
    }
}
