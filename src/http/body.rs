//! From a request to a value: reads a body within its limit, checks its media type, decodes JSON strictly and names
//! the field that is wrong. Invariant: nothing a client sends can make this panic.

use std::fmt::{self, Display, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use futures::StreamExt;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::App;
use super::coding::Coding;
use super::error::ApiError;
use super::meter::Meter;
use super::wire::JsonObject;
use crate::compute::off_thread;
use crate::error::{Error, ErrorKind};
use crate::memory::Purpose;
use crate::store::room::Room;

/// Bodies up to this size are decoded on the async thread, larger ones on a blocking thread.
const INLINE_BYTES: usize = 64 << 10;

/// The purpose of a body, which decides its limit and whose share of memory it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// Records to write.
    Records,
    /// What to look for, or to delete.
    Query,
    /// A message of the Model Context Protocol.
    #[cfg(feature = "mcp")]
    Message,
    /// A collection, a database and the like. Not metered while it is decoded: its largest decoded size is reserved
    /// before.
    Settings,
}

/// Most bytes of a body, and what its refusal says to do.
pub(super) type BodyLimit = (usize, &'static str);

/// Limit of a body of settings. Metadata is at most a quarter of it, unless the limit of metadata is raised.
const SETTINGS_BYTES: usize = 1 << 20;
/// Limit of a message: what a model writes at a time is far less.
#[cfg(feature = "mcp")]
const MESSAGE_BYTES: usize = 4 << 20;
/// Bytes that each byte of small JSON objects may take once it is decoded.
const SETTINGS_FACTOR: u64 = 96;

impl BodyKind {
    fn limit(self, app: &App) -> BodyLimit {
        let most = app.settings.max_body_bytes;
        let (limit, way_out, of_any_body) = match self {
            BodyKind::Records => return (most, "send smaller batches (DRUMLIN_MAX_BODY_BYTES)"),
            BodyKind::Query => (
                app.settings.max_query_bytes,
                "ask for less at a time (DRUMLIN_MAX_QUERY_BYTES)",
                "ask for less at a time (DRUMLIN_MAX_BODY_BYTES)",
            ),
            #[cfg(feature = "mcp")]
            BodyKind::Message => (
                MESSAGE_BYTES,
                "remember or change fewer texts at a time",
                "remember or change fewer texts at a time (DRUMLIN_MAX_BODY_BYTES)",
            ),
            BodyKind::Settings => (
                app.store.limits().metadata_bytes.saturating_mul(4).max(SETTINGS_BYTES),
                "it is more than any collection needs (DRUMLIN_MAX_METADATA_BYTES)",
                "it is more than any collection needs (DRUMLIN_MAX_BODY_BYTES)",
            ),
        };
        if most < limit { (most, of_any_body) } else { (limit, way_out) }
    }

    fn purpose(self) -> Purpose {
        match self {
            BodyKind::Query => Purpose::Read,
            BodyKind::Records | BodyKind::Settings => Purpose::Work,
            #[cfg(feature = "mcp")]
            BodyKind::Message => Purpose::Work,
        }
    }
}

/// A type that a body is decoded to.
pub(crate) trait RequestBody: DeserializeOwned + Send + 'static {
    /// What it is for.
    const KIND: BodyKind;
}

/// Names what each type of body is for.
macro_rules! bodies {
    ($($kind:ident: $($body:ty),+;)+) => {$($(
        impl $crate::http::body::RequestBody for $body {
            const KIND: $crate::http::body::BodyKind = $crate::http::body::BodyKind::$kind;
        }
    )+)+};
}
pub(crate) use bodies;

/// Memory of decoded bodies, kept until the handler no longer needs their contents.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms(Arc<Mutex<Vec<Room>>>);

impl Rooms {
    pub(crate) fn keep(&self, room: Room) {
        self.0.lock().push(room);
    }
}

/// A request body and what it claims to be.
pub(crate) struct Payload {
    /// The media type without parameters, lower case; empty if none was given.
    pub(crate) media_type: String,
    /// The whole body, not longer than the limit, decoded if it came coded.
    pub(crate) bytes: Bytes,
    /// Memory for the body and its decoded contents.
    pub(crate) room: Room,
    rooms: Rooms,
}

impl FromRequest<App> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Payload, ApiError> {
        Payload::read(request, app, BodyKind::Records).await
    }
}

/// The body of a read.
pub(crate) struct QueryPayload(pub(crate) Payload);

impl FromRequest<App> for QueryPayload {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<QueryPayload, ApiError> {
        Payload::read(request, app, BodyKind::Query).await.map(QueryPayload)
    }
}

/// A JSON body, decoded strictly.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: RequestBody> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Json<T>, ApiError> {
        Payload::read(request, app, T::KIND).await?.json(app).await.map(Json)
    }
}

impl Payload {
    async fn read(request: Request, app: &App, kind: BodyKind) -> Result<Payload, ApiError> {
        let header = request.headers().get(header::CONTENT_TYPE);
        let text = header.map_or(Ok(""), |h| h.to_str()).map_err(|_| {
            ApiError::with_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ErrorKind::Invalid,
                "content-type: expected application/json, got bytes that are not text",
            )
        })?;
        let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let rooms = rooms(&request);
        let (bytes, room) = read_body(request, app, kind).await?;
        Ok(Payload { media_type, bytes, room, rooms })
    }

    /// Decodes a JSON body.
    pub(crate) async fn json<T: DeserializeOwned + Send + 'static>(self, app: &App) -> Result<T, ApiError> {
        if self.media_type != "application/json" {
            return Err(unsupported(&self.media_type, "application/json"));
        }
        let Payload { bytes, mut room, rooms, .. } = self;
        let before = room.bytes();
        grow_for_escapes(&bytes, &mut room).await?;
        let gone = bytes.len() as u64 + room.bytes() - before;
        let mut meter = Meter::new(app.store.limits().clone(), Some(room));
        let (decoded, room) = decode_off_thread(bytes, move |bytes| {
            let decoded = decode_json_metered::<JsonObject<T>>(&bytes, &mut meter).map(|body| body.0);
            Ok::<_, Error>((decoded, meter.into_room()))
        })
        .await?;
        keep(&rooms, room, gone);
        Ok(decoded?)
    }
}

/// The [`Rooms`] that count a request's decoded bodies.
pub(super) fn rooms(request: &Request) -> Rooms {
    request.extensions().get::<Rooms>().cloned().unwrap_or_default()
}

/// Keeps the memory of a decoded body; `gone` bytes of it are freed.
pub(super) fn keep(rooms: &Rooms, room: Option<Room>, gone: u64) {
    if let Some(mut room) = room {
        room.shrink(gone);
        rooms.keep(room);
    }
}

/// The answer to a media type that a route does not take.
pub(crate) fn unsupported(media_type: &str, expected: &str) -> ApiError {
    let got = if media_type.is_empty() { "none".to_owned() } else { format!("{media_type:?}") };
    ApiError::with_status(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::Invalid,
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
    off_thread(move || decode(bytes)).await.map_err(Error::from)?
}

/// Decodes JSON under the default limits.
#[cfg(test)]
pub(crate) fn decode_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    decode_json_metered(bytes, &mut Meter::new(crate::config::Limits::default(), None))
}

/// Decodes JSON. The first, fast pass does not track the path; if it fails, a second pass finds the path.
fn decode_json_metered<T: DeserializeOwned>(bytes: &[u8], meter: &mut Meter) -> Result<T, Error> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::invalid("body: expected a JSON object, got nothing"));
    }
    if let Ok(value) = meter.run(|| serde_json::from_slice(bytes)) {
        return Ok(value);
    }
    if let Some(fault) = meter.fault().filter(|fault| fault.kind() == ErrorKind::NoRoom) {
        return Err(fault);
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let located: Result<T, _> = meter.run(|| serde_path_to_error::deserialize(&mut json));
    match located {
        Ok(_) => Err(Error::invalid("body: expected one JSON value, got more after it")),
        Err(e) => {
            let place = place_of(e.path());
            Err(match meter.fault() {
                Some(fault) if fault.kind() == ErrorKind::NoRoom => fault,
                Some(fault) => fault.with_place(&place),
                None => Error::invalid(format!("{place}: {}", words_of(e.inner()))),
            })
        }
    }
}

/// The place that the path of a decoder's error names.
pub(super) fn place_of(path: &serde_path_to_error::Path) -> String {
    // `.` means the whole body, `?` a place inside an object whose key was not read yet.
    let path = shortened(path);
    let path = path.trim_end_matches('?').trim_end_matches('.');
    if path.is_empty() { "body".to_owned() } else { path.to_owned() }
}

/// The error of a JSON body in serde's words; adds the limit where those words do not name it.
pub(crate) fn words_of(error: &serde_json::Error) -> String {
    let words = shortened(error);
    match words.starts_with("recursion limit exceeded") {
        true => format!(
            "{words}: at most 127 lists and objects may be nested; put conditions of one $and or $or into one list"
        ),
        false => words,
    }
}

/// Characters of a decoder's message that an answer repeats: the message may quote the body, at any length.
const SHOWN_CHARS: usize = 500;

/// A message, cut to a length that a person reads.
pub(super) fn shortened(told: &impl Display) -> String {
    struct Short(String, usize);

    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for c in text.chars() {
                if self.1 == 0 {
                    self.0.push('…');
                    return Err(fmt::Error);
                }
                self.0.push(c);
                self.1 -= 1;
            }
            Ok(())
        }
    }

    let mut short = Short(String::new(), SHOWN_CHARS);
    // `write!` returns an error where the text was cut.
    let _ = write!(short, "{told}");
    short.0
}

/// Takes memory for the unescaped text that a decoder may have to make beside the body.
pub(super) async fn grow_for_escapes(bytes: &[u8], room: &mut Room) -> Result<(), Error> {
    if bytes.len() > INLINE_BYTES && memchr::memchr(b'\\', bytes).is_some() {
        room.grow(2 * bytes.len() as u64).await?;
    }
    Ok(())
}

/// Reads a body within its limit, decodes its content coding, and takes memory for it and for its decoded contents.
pub(super) async fn read_body(request: Request, app: &App, kind: BodyKind) -> Result<(Bytes, Room), ApiError> {
    let coding = Coding::of(request.headers())?;
    let limit = kind.limit(app);
    let mut room = app.store.room(kind.purpose());
    let read = ReadWithin { limit, idle: app.settings.body_idle, room: &mut room };
    let mut bytes = read.all(request.into_body()).await?;
    if let Some(coding) = coding {
        let coded = std::mem::take(&mut bytes);
        let before = room.bytes();
        let decoding = off_thread(move || {
            let decoded = coding.decode(&coded, limit, &mut room);
            (decoded, room)
        });
        let (decoded, decoded_room) = decoding.await.map_err(Error::from)?;
        room = decoded_room;
        room.shrink(before);
        bytes = decoded?.into();
    }
    if kind == BodyKind::Settings && bytes.len() > SETTINGS_FREE_BYTES {
        room.grow(SETTINGS_FACTOR.saturating_mul(bytes.len() as u64)).await?;
    }
    Ok((bytes, room))
}

/// Bodies of settings up to this size take no extra memory from the budget.
const SETTINGS_FREE_BYTES: usize = 4 << 10;

/// How a body is read.
struct ReadWithin<'r> {
    limit: BodyLimit,
    idle: Duration,
    room: &'r mut Room,
}

impl ReadWithin<'_> {
    async fn all(self, body: Body) -> Result<Bytes, ApiError> {
        let said = body.size_hint().lower();
        if said > self.limit.0 as u64 {
            return Err(self.too_long());
        }
        let mut stream = body.into_data_stream();
        let mut first = Bytes::new();
        let mut joined = Vec::new();
        loop {
            let next = tokio::time::timeout(self.idle, stream.next()).await.map_err(|_| stands_still(self.idle))?;
            let Some(piece) = next else { break };
            let piece = piece.map_err(|e| {
                let cause = std::io::Error::other(e);
                ApiError::from(Error::invalid("body: ended before it was complete").with_source(cause))
            })?;
            let len = first.len() + joined.len() + piece.len();
            if len > self.limit.0 {
                return Err(self.too_long());
            }
            // Twice the length: pieces are joined, and the decoded contents are about as long. Small bodies are not
            // counted.
            let need = if len <= INLINE_BYTES { 0 } else { 2 * len as u64 };
            if need > self.room.bytes() {
                let step = ROOM_STEP_BYTES.max(need - self.room.bytes());
                self.room.grow(step).await?;
            }
            // A single piece, the usual case, is used as it is; several pieces are joined.
            if joined.is_empty() && first.is_empty() {
                first = piece;
            } else {
                joined.extend_from_slice(&std::mem::take(&mut first));
                joined.extend_from_slice(&piece);
            }
        }
        Ok(if joined.is_empty() { first } else { joined.into() })
    }

    fn too_long(&self) -> ApiError {
        let (limit, way_out) = self.limit;
        let message = format!("body: at most {limit} bytes, got more; {way_out}");
        ApiError::with_status(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::Limit, message)
    }
}

/// The least step by which the room of a body grows.
const ROOM_STEP_BYTES: u64 = 256 << 10;

fn stands_still(idle: Duration) -> ApiError {
    let seconds = idle.as_secs_f64();
    let message = format!("body: no byte came for {seconds} s (DRUMLIN_BODY_IDLE_S); nothing was changed");
    ApiError::with_status(StatusCode::REQUEST_TIMEOUT, ErrorKind::Unavailable, message)
}

/// Query parameters, decoded strictly.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Parameters<T>, ApiError> {
        let query = Query::try_from_uri(&parts.uri).map_err(|e| {
            // axum's sentence opens with its own words; the rest names the parameter.
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

/// Refuses an invalid collection name: 1 to 512 of `[A-Za-z0-9._-]`, alphanumeric at both ends.
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
            assert_eq!(check_name(bad).map_err(|e| e.kind()), Err(ErrorKind::Invalid), "{bad}");
        }
    }

    #[test]
    fn what_a_decoder_quotes_is_cut_short() {
        let long = "ü".repeat(SHOWN_CHARS + 1);
        assert_eq!(shortened(&"ü".repeat(SHOWN_CHARS)), "ü".repeat(SHOWN_CHARS));
        assert_eq!(shortened(&long), format!("{}…", "ü".repeat(SHOWN_CHARS)));
        let body = format!(r#"{{"{long}": "{long}"}}"#);
        let told = decode_json::<super::super::wire::DeleteBody>(body.as_bytes()).map(drop).unwrap_err();
        assert!(told.message().chars().count() < 2 * SHOWN_CHARS + 10, "{told}");
        let body = format!(r#"{{"ids": "{long}"}}"#);
        let told = decode_json::<super::super::wire::DeleteBody>(body.as_bytes()).map(drop).unwrap_err();
        assert!(told.message().starts_with("ids: ") && told.message().ends_with('…'), "{told}");
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined_and_one_over_the_limit_is_refused() {
        use crate::config::{Settings, Storage};
        let store = crate::store::Store::open(Settings::new(Storage::Memory)).await.unwrap();
        let pieces = |n: usize| {
            let items = (0..n).map(|i| Ok::<_, std::io::Error>(Bytes::from(vec![i as u8; 10])));
            Body::from_stream(futures::stream::iter(items.collect::<Vec<_>>()))
        };
        let read = async |body: Body| {
            let mut room = store.room(Purpose::Work);
            let read = ReadWithin { limit: (30, "ask less"), idle: Duration::from_millis(50), room: &mut room };
            read.all(body).await.map_err(|e| e.status().as_u16())
        };
        for n in [0, 1, 2, 3] {
            let expected: Vec<u8> = (0..n).flat_map(|i| vec![i as u8; 10]).collect();
            assert_eq!(read(pieces(n)).await, Ok(Bytes::from(expected)), "{n} pieces");
        }
        assert_eq!(read(pieces(4)).await, Err(413));
        let silent = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(silent).await, Err(408));
    }
}
