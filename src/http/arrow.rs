//! Arrow and Parquet over HTTP: recognises such bodies, and reads the other options of a search from the query
//! string. A get can be answered as an Arrow IPC stream or a Parquet file, made while the collection is read.

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::Value;

use super::App;
use super::answer::ChosenReading;
use super::body::{Payload, decode_off_thread};
use super::bounded::{List, Tree};
use super::error::ApiError;
use super::past::AsOf;
use super::stream::JsonPieces;
use super::wire::{Component, Embedding, Field, Freshness, SearchBody, default_k, scope};
use crate::collection::request::{Found, Include, Scope};
use crate::error::{Error, Result};
use crate::interop::interchange::{GROUP_BYTES, Intake, ParquetStream, RecordStream};
use crate::interop::record_columns::{ColumnChoice, OtherColumns};
use crate::store::room::Room;

/// Media type of an Arrow IPC stream.
pub(super) const ARROW: &str = "application/vnd.apache.arrow.stream";
/// Media type of a Parquet file.
pub(super) const PARQUET: &str = "application/vnd.apache.parquet";
/// Records of a batch of an answer; a batch also ends once it has `BATCH_BYTES`.
const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 64 << 10;

/// Whether the client asks for an Arrow answer.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    accepts(headers, ARROW)
}

/// Whether the client asks for a Parquet file.
pub(super) fn is_parquet_wanted(headers: &HeaderMap) -> bool {
    accepts(headers, PARQUET)
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| value.to_str().is_ok_and(|text| text.contains(media_type)))
}

/// How a body of records is read.
pub(super) fn intake(app: &App) -> Intake {
    let limits = app.store.limits().clone();
    // The collection refuses what comes without an embedding, unless it has an embedder.
    Intake::new(limits, ColumnChoice::guessing(OtherColumns::Refuse).with_texts(), app.store.budget().clone())
}

/// `?tenant=&database=&consistency=&version=` of a search. Where the body is a table of queries, the query string also has
/// every option that a JSON body would have.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SearchParameters {
    tenant: Option<String>,
    database: Option<String>,
    consistency: Option<Freshness>,
    version: Option<u64>,
    k: Option<usize>,
    ef_search: Option<usize>,
    exact: Option<bool>,
    max_distance: Option<f32>,
    include: Option<String>,
    r#where: Option<String>,
    where_document: Option<String>,
}

impl SearchParameters {
    /// The scope of the search, and which state of the collection it asks for.
    pub(super) fn split(&self) -> Result<(Scope, AsOf), ApiError> {
        Ok((scope(self.tenant.clone(), self.database.clone()), AsOf::new(self.consistency, self.version)?))
    }

    /// The search that a body and these parameters ask for.
    pub(super) async fn body(self, app: &App, payload: Payload) -> Result<SearchBody, ApiError> {
        let table = [ARROW, PARQUET].contains(&payload.media_type.as_str());
        if !table {
            self.check_unsaid()?;
            return payload.json(app).await;
        }
        let (limits, budget) = (app.store.limits().clone(), app.store.budget().clone());
        let (intake, parquet) = (Intake::queries(limits, budget), payload.media_type == PARQUET);
        let queries = decode_off_thread(payload.bytes, move |bytes| match parquet {
            true => intake.records_from_parquet(bytes),
            false => intake.records_from_ipc(bytes),
        });
        let embeddings: Vec<Embedding> = queries.await?.into_iter().map(|record| Embedding(record.embedding)).collect();
        Ok(SearchBody {
            embeddings: Some(List::from(embeddings)),
            k: self.k.unwrap_or(default_k()),
            r#where: json("where", self.r#where)?,
            where_document: json("where_document", self.where_document)?,
            include: self.include.map(|names| fields(&names)).transpose()?,
            ef_search: self.ef_search,
            exact: self.exact.unwrap_or(false),
            max_distance: self.max_distance.map(Component),
            ..SearchBody::default()
        })
    }

    fn check_unsaid(&self) -> Result<(), ApiError> {
        let said = [
            ("k", self.k.is_some()),
            ("ef_search", self.ef_search.is_some()),
            ("exact", self.exact.is_some()),
            ("max_distance", self.max_distance.is_some()),
            ("include", self.include.is_some()),
            ("where", self.r#where.is_some()),
            ("where_document", self.where_document.is_some()),
        ];
        match said.into_iter().find(|(_, said)| *said) {
            Some((name, _)) => Err(ApiError::invalid(format!(
                "query: {name} belongs in the body, unless the body is an Arrow stream or a Parquet file"
            ))),
            None => Ok(()),
        }
    }
}

fn json(name: &str, text: Option<String>) -> Result<Option<Tree>, ApiError> {
    let read = |text: String| {
        serde_json::from_str(&text)
            .map_err(|e| ApiError::invalid(format!("query: {name}: expected JSON, got {text:?}: {e}")))
    };
    text.map(read).transpose()
}

fn fields(names: &str) -> Result<Vec<Field>, ApiError> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let field = |name: &str| {
        serde_json::from_value(Value::from(name)).map_err(|e| ApiError::invalid(format!("query: include: {e}")))
    };
    names.map(field).collect()
}

/// What a get is written as.
enum TableWriter {
    Arrow(Box<RecordStream>),
    /// With bytes of row groups that were not sent yet.
    Parquet(Box<ParquetStream>, Vec<u8>),
}

/// Answer to a get as a table, batch by batch.
pub(super) struct TableGet {
    reading: ChosenReading,
    writer: TableWriter,
    next: usize,
    is_over: bool,
}

impl TableGet {
    /// As an Arrow IPC stream.
    pub(super) fn arrow(reading: ChosenReading, include: Include, dimension: usize) -> Result<TableGet> {
        let stream = RecordStream::begin(include, dimension, reading.version())?;
        Ok(TableGet { reading, writer: TableWriter::Arrow(Box::new(stream)), next: 0, is_over: false })
    }

    /// As a Parquet file; `room` grows by what its row groups take.
    pub(super) async fn parquet(
        reading: ChosenReading,
        include: Include,
        dimension: usize,
        room: &mut Room,
    ) -> Result<TableGet> {
        // One that is being filled, and one that is being sent.
        room.grow((2 * GROUP_BYTES as u64).min(room.share())).await?;
        let stream = ParquetStream::begin(include, dimension, reading.version())?;
        let writer = TableWriter::Parquet(Box::new(stream), Vec::new());
        Ok(TableGet { reading, writer, next: 0, is_over: false })
    }

    /// The next batch; empty at the end.
    fn batch(&mut self) -> Result<Vec<Found>> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            let Some(found) = self.reading.record(self.next)? else { break };
            self.next += 1;
            bytes += bytes_of(&found);
            records.push(found);
        }
        Ok(records)
    }
}

impl JsonPieces for TableGet {
    fn media_type(&self) -> &'static str {
        match self.writer {
            TableWriter::Arrow(_) => ARROW,
            TableWriter::Parquet(..) => PARQUET,
        }
    }

    fn records(&self) -> usize {
        self.reading.len()
    }

    fn weight(&self) -> usize {
        BATCH_BYTES + self.reading.weight(self.next)
    }

    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool, Error> {
        if let TableWriter::Parquet(_, pending) = &mut self.writer
            && !pending.is_empty()
        {
            into.extend(pending.drain(..pending.len().min(BATCH_BYTES)));
            return Ok(!self.is_over || !pending.is_empty());
        }
        let records = self.batch()?;
        self.is_over = records.is_empty();
        match (&mut self.writer, self.is_over) {
            (TableWriter::Arrow(stream), true) => stream.finish(into)?,
            (TableWriter::Arrow(stream), false) => stream.push(&records, into)?,
            (TableWriter::Parquet(stream, pending), true) => stream.finish(pending)?,
            (TableWriter::Parquet(stream, pending), false) => stream.push(&records, pending)?,
        }
        Ok(!self.is_over || matches!(&self.writer, TableWriter::Parquet(_, pending) if !pending.is_empty()))
    }
}

fn bytes_of(found: &Found) -> usize {
    let texts = [&found.document, &found.uri].into_iter().flatten().map(String::len).sum::<usize>();
    texts + found.id.len() + found.embedding.as_ref().map_or(0, |embedding| embedding.len() * size_of::<f32>()) + 64
}
