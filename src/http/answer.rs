//! The JSON of answers. Floats print as the shortest decimal that reads back as the same f32. A field is left out if
//! it was not asked for or if the record does not have it. Large answers are written on a blocking thread.

use std::collections::HashSet;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use super::stream::{JsonPieces, append};
use crate::collection::answers::{Matches, Reading};
use crate::collection::request::{CollectionInfo, Embedder, Found, IndexSettings, ServingState};
use crate::error::Error;
use crate::record::{CollectionId, Metadata, Metric, Version};
use crate::text::{Splitting, TextSettings};

/// Answers of up to this many records are written on the async thread.
pub(super) const INLINE_RECORDS: usize = 64;

/// A JSON answer, written on this thread before the function returns.
pub(super) fn json(status: StatusCode, answer: &impl Serialize) -> Result<Response, ApiError> {
    Ok(response(status, encode(answer)?))
}

fn encode(answer: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(answer).map_err(|e| Error::internal("writing the answer failed").with_source(e))
}

/// An answer whose body is JSON.
pub(super) fn response(status: StatusCode, body: impl Into<Body>) -> Response {
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, json, body.into()).into_response()
}

/// A collection.
#[derive(Serialize)]
pub(super) struct CollectionBody {
    id: CollectionId,
    name: String,
    tenant: String,
    database: String,
    metric: Metric,
    dimension: Option<usize>,
    count: u64,
    version: Version,
    metadata: Option<Metadata>,
    index: IndexSettings,
    text: TextSettings,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedder: Option<Embedder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk: Option<Splitting>,
    memory_bytes: u64,
    #[serde(flatten)]
    state: ServingState,
}

impl From<CollectionInfo> for CollectionBody {
    fn from(info: CollectionInfo) -> CollectionBody {
        CollectionBody {
            id: info.id,
            name: info.name,
            tenant: info.scope.tenant,
            database: info.scope.database,
            metric: info.metric,
            dimension: info.dimension,
            count: info.count,
            version: info.version,
            metadata: info.metadata,
            index: info.index,
            text: info.text,
            embedder: info.embedder,
            chunk: info.splitting,
            memory_bytes: info.memory_bytes,
            state: info.state,
        }
    }
}

/// A record in an answer; a neighbour also has a distance.
#[derive(Serialize)]
pub(super) struct RecordAnswer {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<Vec<f32>>,
}

impl RecordAnswer {
    pub(super) fn new(found: Found, distance: Option<f32>) -> RecordAnswer {
        let Found { id, embedding, document, uri, metadata } = found;
        RecordAnswer { id, distance, document, uri, metadata, embedding }
    }
}

/// The records of a get, with the keys of metadata that it asks for.
pub(super) struct ChosenReading {
    reading: Reading,
    /// `None`: all.
    keys: Option<HashSet<String>>,
}

impl ChosenReading {
    pub(super) fn new(reading: Reading, keys: Option<HashSet<String>>) -> ChosenReading {
        ChosenReading { reading, keys }
    }

    pub(super) fn len(&self) -> usize {
        self.reading.len()
    }

    pub(super) fn version(&self) -> Version {
        self.reading.version()
    }

    pub(super) fn weight(&self, place: usize) -> usize {
        self.reading.weight(place, self.reading.include())
    }

    pub(super) fn record(&self, place: usize) -> Result<Option<Found>, Error> {
        let mut found = self.reading.record(place)?;
        if let (Some(keys), Some(metadata)) = (&self.keys, found.as_mut().and_then(|found| found.metadata.as_mut())) {
            metadata.0.retain(|key, _| keys.contains(key));
        }
        Ok(found)
    }
}

/// Answer to a get, record by record.
pub(super) struct GetAnswerBody {
    reading: ChosenReading,
    next: usize,
}

impl From<ChosenReading> for GetAnswerBody {
    fn from(reading: ChosenReading) -> GetAnswerBody {
        GetAnswerBody { reading, next: 0 }
    }
}

/// Estimated bytes of JSON around the fields of a record.
const AROUND_BYTES: usize = 128;

impl JsonPieces for GetAnswerBody {
    fn records(&self) -> usize {
        self.reading.len()
    }

    fn weight(&self) -> usize {
        AROUND_BYTES + self.reading.weight(self.next)
    }

    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool, Error> {
        if self.next == 0 {
            into.extend_from_slice(br#"{"records":["#);
        }
        let Some(found) = self.reading.record(self.next)? else {
            into.extend_from_slice(br#"],"version":"#);
            append(into, &self.reading.version())?;
            into.push(b'}');
            return Ok(false);
        };
        if self.next > 0 {
            into.push(b',');
        }
        append(into, &RecordAnswer::new(found, None))?;
        self.next += 1;
        Ok(true)
    }
}

/// Answer to a search, record by record: one list per query embedding, nearest first.
pub(super) struct SearchAnswerBody {
    matches: Matches,
    query: usize,
    place: usize,
}

impl From<Matches> for SearchAnswerBody {
    fn from(matches: Matches) -> SearchAnswerBody {
        SearchAnswerBody { matches, query: 0, place: 0 }
    }
}

impl JsonPieces for SearchAnswerBody {
    fn records(&self) -> usize {
        self.matches.counts().sum()
    }

    fn weight(&self) -> usize {
        AROUND_BYTES + self.matches.weight(self.query, self.place)
    }

    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool, Error> {
        if (self.query, self.place) == (0, 0) {
            into.extend_from_slice(br#"{"results":["#);
        }
        if self.query >= self.matches.counts().len() {
            into.extend_from_slice(br#"],"version":"#);
            append(into, &self.matches.version())?;
            into.extend_from_slice(br#","compared":"#);
            append(into, &self.matches.compared())?;
            into.push(b'}');
            return Ok(false);
        }
        if self.place == 0 {
            into.extend_from_slice(if self.query == 0 { b"[" } else { b",[" });
        }
        let Some(hit) = self.matches.hit(self.query, self.place)? else {
            into.push(b']');
            (self.query, self.place) = (self.query + 1, 0);
            return Ok(true);
        };
        if self.place > 0 {
            into.push(b',');
        }
        let distance = hit.distance;
        append(into, &RecordAnswer::new(hit.into(), Some(distance)))?;
        self.place += 1;
        Ok(true)
    }
}
