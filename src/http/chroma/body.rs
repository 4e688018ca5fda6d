//! From a request to a value: media type, JSON, path and query string, each refused with the status and
//! the words of Chroma's server. Unknown fields are ignored, as its clients expect.
//! Order: media type → JSON syntax → shape; the handler checks the values later.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use uuid::Uuid;

use super::super::App;
use super::super::body::{
    RequestBody, decode_off_thread, grow_for_escapes, keep, read_body, rooms, shortened, words_of,
};
use super::super::meter::Meter;
use super::error::ChromaError;
use crate::collection::request::Scope;
use crate::error::{Error, ErrorKind};
use crate::record::CollectionId;

/// A JSON body.
pub(super) struct ChromaJson<T>(pub(super) T);

impl<T: RequestBody> FromRequest<App> for ChromaJson<T> {
    type Rejection = ChromaError;

    async fn from_request(request: Request, app: &App) -> Result<ChromaJson<T>, ChromaError> {
        if !is_json(request.headers()) {
            return Err(ChromaError::media_type());
        }
        let rooms = rooms(&request);
        let (bytes, mut room) = read_body(request, app, T::KIND).await?;
        let before = room.bytes();
        grow_for_escapes(&bytes, &mut room).await?;
        let gone = bytes.len() as u64 + room.bytes() - before;
        let mut meter = Meter::new(app.store.limits().clone(), Some(room));
        let (decoded, room) = decode_off_thread(bytes, move |bytes| {
            let decoded = decode(&bytes, &mut meter);
            Ok::<_, Error>((decoded, meter.into_room()))
        })
        .await?;
        keep(&rooms, room, gone);
        decoded.map(ChromaJson)
    }
}

/// Whether the body claims to be JSON, or has no media type.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Decodes JSON. The first, fast pass does not track the path; if it fails, a second pass finds the path.
fn decode<T: DeserializeOwned>(bytes: &[u8], meter: &mut Meter) -> Result<T, ChromaError> {
    if let Ok(value) = meter.run(|| serde_json::from_slice(bytes)) {
        return Ok(value);
    }
    if let Some(fault) = meter.fault().filter(|fault| fault.kind() == ErrorKind::NoRoom) {
        return Err(fault.into());
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let located: Result<T, _> = meter.run(|| serde_path_to_error::deserialize(&mut json));
    match (located, meter.fault()) {
        (Err(_), Some(fault)) if fault.kind() == ErrorKind::NoRoom => Err(fault.into()),
        (Err(e), Some(fault)) => Err(fault.with_place(&shortened(e.path())).into()),
        (Err(e), None) if e.inner().classify() == Category::Data => {
            let told = shortened(&e);
            Err(ChromaError::shape(format!("Failed to deserialize the JSON body into the target type: {told}")))
        }
        (Err(e), None) => {
            let words = words_of(e.inner());
            let words = if words.starts_with("recursion") { words } else { shortened(&e) };
            Err(ChromaError::invalid(format!("Failed to parse the request body as JSON: {words}")))
        }
        (Ok(_), _) => {
            let rest = json.end().err().map(|e| e.to_string()).unwrap_or_default();
            Err(ChromaError::invalid(format!("Failed to parse the request body as JSON: {rest}")))
        }
    }
}

/// The parts of a path.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for At<T> {
    type Rejection = ChromaError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<At<T>, ChromaError> {
        let path = Path::<T>::from_request_parts(parts, app).await;
        path.map(|Path(place)| At(place)).map_err(|e| ChromaError::invalid(e.body_text()))
    }
}

/// `…/tenants/{tenant}/databases/{database}/…`
#[derive(Debug, Deserialize)]
pub(super) struct InDatabase {
    pub(super) tenant: String,
    pub(super) database: String,
}

impl InDatabase {
    pub(super) fn scope(self) -> Scope {
        Scope { tenant: self.tenant, database: self.database }
    }
}

/// `…/collections/{collection}…`: a name or an id, depending on the route.
#[derive(Debug, Deserialize)]
pub(super) struct InCollection {
    pub(super) tenant: String,
    pub(super) database: String,
    pub(super) collection: String,
}

impl InCollection {
    pub(super) fn scope(&self) -> Scope {
        Scope { tenant: self.tenant.clone(), database: self.database.clone() }
    }

    /// Whether this scope is the database that the path names.
    pub(super) fn holds(&self, scope: &Scope) -> bool {
        scope.tenant == self.tenant && scope.database == self.database
    }

    /// The collection as an id.
    pub(super) fn id(&self) -> Option<CollectionId> {
        Uuid::try_parse(&self.collection).ok().map(CollectionId)
    }
}

/// The query string.
pub(super) struct ChromaParameters<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for ChromaParameters<T> {
    type Rejection = ChromaError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<ChromaParameters<T>, ChromaError> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(values)| ChromaParameters(values)).map_err(|e| ChromaError::invalid(e.body_text()))
    }
}

/// `?limit=&offset=` of a list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PageParameters {
    limit: Option<u32>,
    offset: Option<u32>,
}

impl PageParameters {
    /// The items on this page.
    pub(super) fn of<T>(&self, items: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        items.into_iter().skip(self.offset.unwrap_or(0) as usize).take(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        ids: Vec<String>,
    }

    fn refusal(bytes: &str) -> String {
        let mut meter = Meter::new(crate::config::Limits::default(), None);
        format!("{:?}", decode::<Body>(bytes.as_bytes(), &mut meter).map(|body| body.ids))
    }

    #[test]
    fn broken_syntax_is_400_and_another_shape_422_with_the_place() {
        let syntax = refusal(r#"{"ids":["a"]"#);
        assert!(syntax.contains("400") && syntax.contains("as JSON: EOF while parsing an object"), "{syntax}");
        let shape = refusal(r#"{"ids":[1]}"#);
        assert!(shape.contains("422") && shape.contains("ids[0]: invalid type: integer `1`"), "{shape}");
        let rest = refusal(r#"{"ids":[]} x"#);
        assert!(rest.contains("400") && rest.contains("trailing characters"), "{rest}");
    }

    #[test]
    fn a_body_without_a_media_type_is_taken_as_json() {
        let with = |value: &'static str| HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]);
        assert!(is_json(&HeaderMap::new()));
        assert!(is_json(&with("application/json")) && is_json(&with("Application/JSON; charset=utf-8")));
        assert!(!is_json(&with("text/plain")) && !is_json(&with("application/jsonp")));
    }
}
