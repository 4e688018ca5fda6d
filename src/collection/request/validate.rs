//! The bounds of writes and queries. Every refusal names the place (`records[i].field`), what was expected and what
//! came. An exceeded limit names its setting.
//! Invariant: a request that passes holds only what the format can store.

use std::fmt::Display;

use super::{Query, Selection, Write};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::record::{MetaValue, Metadata, MetadataPatch, Record, RecordUpdate, SparseVector};

/// The place of a field; formatted only for an error.
type FieldPlace<'a> = &'a dyn Display;

/// Checks a request against the limits and the dimension, where that is fixed. Returns the dimension of its
/// embeddings, if it has any.
pub fn check_write(write: &Write, dimension: Option<usize>, limits: &Limits) -> Result<Option<usize>> {
    match write {
        Write::Add(records) | Write::Upsert(records) => check_records(records, dimension, limits),
        Write::Update(updates) | Write::Merge(updates) => {
            check_count(updates.len(), limits)?;
            let first = updates.iter().find_map(|u| u.embedding.as_ref().map(Vec::len).filter(|len| *len > 0));
            let dimension = dimension.or(first);
            for (i, update) in updates.iter().enumerate() {
                check_update(&format_args!("records[{i}]"), update, dimension, limits)?;
                if matches!(write, Write::Merge(_)) && update.embedding.is_none() {
                    return Err(Error::invalid(format!("records[{i}].embedding: expected numbers, got none")));
                }
            }
            Ok(dimension)
        }
        Write::Delete(selection) => check_selection(selection, limits).map(|()| dimension),
    }
}

/// As [`check_write`], of records that are inserted.
pub fn check_records(records: &[Record], dimension: Option<usize>, limits: &Limits) -> Result<Option<usize>> {
    check_count(records.len(), limits)?;
    let dimension = dimension.or_else(|| records.first().map(|r| r.embedding.len()).filter(|len| *len > 0));
    for (i, record) in records.iter().enumerate() {
        check_record(&format_args!("records[{i}]"), record, dimension, limits)?;
    }
    Ok(dimension)
}

/// Refuses a request whose rows take more bytes than one commit may hold.
pub fn check_bytes(bytes: usize, limits: &Limits) -> Result<()> {
    let limit = limits.batch_bytes;
    match bytes > limit {
        true => Err(Error::limit(format!(
            "records: expected at most {limit} bytes in one request (limits.batch_bytes), got about {bytes}; split it"
        ))
        .of_setting("limits.batch_bytes")),
        false => Ok(()),
    }
}

/// Refuses metadata of record `i` whose JSON text is too long.
pub fn check_metadata_text(i: usize, text: Option<&str>, limits: &Limits) -> Result<()> {
    let bytes = text.map_or(0, str::len);
    check_bytes_of(&format_args!("records[{i}].metadata"), bytes, limits.metadata_bytes, "limits.metadata_bytes")
}

/// Refuses an embedding of another dimension, or one with NaN or infinity.
fn check_embedding(at: FieldPlace<'_>, embedding: &[f32], dimension: Option<usize>, limits: &Limits) -> Result<()> {
    let got = embedding.len();
    if let Some(expected) = dimension.filter(|expected| *expected != got) {
        return Err(Error::invalid(format!("{at}: expected {expected} numbers, got {got}")));
    }
    if got == 0 && dimension.is_none() {
        return Err(Error::invalid(format!("{at}: expected at least one number, got none")));
    }
    if got > limits.dimension {
        let limit = limits.dimension;
        let refused = Error::limit(format!("{at}: expected at most {limit} numbers (limits.dimension), got {got}"));
        return Err(refused.of_setting("limits.dimension"));
    }
    match embedding.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::invalid(format!("{at}[{i}]: expected a finite number, got {}", embedding[i]))),
        None => Ok(()),
    }
}

/// Checks a query against the limits and the dimension, where that is fixed.
pub fn check_query(query: &Query, dimension: Option<usize>, limits: &Limits) -> Result<()> {
    if query.k == 0 {
        return Err(Error::invalid("k: expected at least 1, got 0"));
    }
    if query.k > limits.k {
        let refused = Error::limit(format!("k: expected at most {} (limits.k), got {}", limits.k, query.k));
        return Err(refused.of_setting("limits.k"));
    }
    let queries = query.embeddings.len();
    if queries == 0 {
        return Err(Error::invalid("embeddings: expected at least one, got none"));
    }
    if queries > limits.queries {
        return Err(Error::limit(format!(
            "embeddings: expected at most {} (limits.queries), got {queries}; split the request",
            limits.queries
        ))
        .of_setting("limits.queries"));
    }
    if dimension == Some(0) {
        return Err(Error::invalid("the records of this collection have no embeddings: it cannot be searched"));
    }
    if query.ef_search == Some(0) {
        return Err(Error::invalid("ef_search: expected at least 1, got 0"));
    }
    if let Some(distance) = query.max_distance.filter(|distance| distance.is_nan()) {
        return Err(Error::invalid(format!("max_distance: expected a number, got {distance}")));
    }
    for (i, embedding) in query.embeddings.iter().enumerate() {
        check_embedding(&format_args!("embeddings[{i}]"), embedding, dimension, limits)?;
    }
    Ok(())
}

pub fn check_count(count: usize, limits: &Limits) -> Result<()> {
    let limit = limits.batch_records;
    match count > limit {
        true => Err(Error::limit(format!(
            "records: expected at most {limit} in one request (limits.batch_records), got {count}; split it"
        ))
        .of_setting("limits.batch_records")),
        false => Ok(()),
    }
}

fn check_record(at: FieldPlace<'_>, record: &Record, dimension: Option<usize>, limits: &Limits) -> Result<()> {
    check_id(&format_args!("{at}.id"), &record.id, limits)?;
    check_embedding(&format_args!("{at}.embedding"), &record.embedding, dimension, limits)?;
    check_texts(at, record.document.as_deref(), record.uri.as_deref(), limits)?;
    match &record.metadata {
        Some(metadata) => check_metadata(at, metadata, limits),
        None => Ok(()),
    }
}

pub fn check_update(
    at: FieldPlace<'_>,
    update: &RecordUpdate,
    dimension: Option<usize>,
    limits: &Limits,
) -> Result<()> {
    check_id(&format_args!("{at}.id"), &update.id, limits)?;
    if let Some(embedding) = &update.embedding {
        check_embedding(&format_args!("{at}.embedding"), embedding, dimension, limits)?;
    }
    check_texts(at, update.document.as_deref(), update.uri.as_deref(), limits)?;
    match &update.metadata {
        Some(MetadataPatch(patch)) => {
            patch.iter().try_for_each(|(key, value)| check_entry(at, (key, value.as_ref()), limits))
        }
        None => Ok(()),
    }
}

pub fn check_selection(selection: &Selection, limits: &Limits) -> Result<()> {
    let ids = selection.ids.as_deref().unwrap_or_default();
    let limit = limits.batch_records;
    if ids.len() > limit {
        let got = ids.len();
        return Err(Error::limit(format!(
            "ids: expected at most {limit} in one request (limits.batch_records), got {got}; split it"
        ))
        .of_setting("limits.batch_records"));
    }
    ids.iter().enumerate().try_for_each(|(i, id)| check_id(&format_args!("ids[{i}]"), id, limits))
}

pub fn check_id(at: FieldPlace<'_>, id: &str, limits: &Limits) -> Result<()> {
    if id.is_empty() {
        return Err(Error::invalid(format!("{at}: expected at least one character, got none")));
    }
    check_bytes_of(at, id.len(), limits.id_bytes, "limits.id_bytes")
}

fn check_texts(at: FieldPlace<'_>, document: Option<&str>, uri: Option<&str>, limits: &Limits) -> Result<()> {
    for (field, text) in [("document", document), ("uri", uri)] {
        let bytes = text.map_or(0, str::len);
        check_bytes_of(&format_args!("{at}.{field}"), bytes, limits.document_bytes, "limits.document_bytes")?;
    }
    Ok(())
}

fn check_metadata(at: FieldPlace<'_>, metadata: &Metadata, limits: &Limits) -> Result<()> {
    metadata.0.iter().try_for_each(|(key, value)| check_entry(at, (key, Some(value)), limits))
}

/// Refuses a sparse vector with too many entries.
pub fn check_sparse(at: FieldPlace<'_>, vector: &SparseVector, limits: &Limits) -> Result<()> {
    let (most, got) = (limits.sparse_entries, vector.len());
    match got > most {
        true => Err(Error::limit(format!(
            "{at}: expected at most {most} entries of a sparse vector (limits.sparse_entries), got {got}"
        ))
        .of_setting("limits.sparse_entries")),
        false => Ok(()),
    }
}

fn check_entry(at: FieldPlace<'_>, (key, value): (&str, Option<&MetaValue>), limits: &Limits) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid(format!(
            "{at}.metadata: expected keys of at least one character, got an empty one"
        )));
    }
    let odd = match value {
        Some(MetaValue::Float(f)) => Some(*f).filter(|f| !f.is_finite()),
        Some(MetaValue::Floats(list)) => list.iter().copied().find(|f| !f.is_finite()),
        Some(MetaValue::Sparse(vector)) => {
            return check_sparse(&format_args!("{at}.metadata.{key}"), vector, limits);
        }
        _ => None,
    };
    match odd {
        Some(f) => Err(Error::invalid(format!("{at}.metadata.{key}: expected a finite number, got {f}"))),
        None => Ok(()),
    }
}

fn check_bytes_of(at: FieldPlace<'_>, got: usize, limit: usize, setting: &'static str) -> Result<()> {
    match got > limit {
        true => {
            Err(Error::limit(format!("{at}: expected at most {limit} bytes ({setting}), got {got}"))
                .of_setting(setting))
        }
        false => Ok(()),
    }
}
