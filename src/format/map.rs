//! A map object's content (docs/format-map.md): where the records of one version of a collection are in two dimensions,
//! and what a later map needs to continue it. Invariant, kept by [`MapColumns::checked`] and so true of every value: all
//! columns have one entry per record, no id stands there twice, and every number is finite.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, RecordBatch, StringArray, UInt64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;

use super::FormatError;
use super::arrow_file::ArrowFile;
use crate::error::{Error, Result};
use crate::record::{Metric, Version};

/// Format number of map objects; it is independent of [`super::FORMAT`].
pub const MAP_FORMAT: u64 = 1;

const WHAT: &str = "map";

/// The header of a map: the schema metadata of the object.
#[derive(Debug, Clone, PartialEq)]
pub struct MapHeader {
    /// The stream whose records these are.
    pub stream: String,
    /// The version of which they are.
    pub version: Version,
    /// The metric of their neighbours.
    pub metric: Metric,
    /// Floats of an embedding.
    pub dim: usize,
    /// How many neighbours of each record counted, and the seed.
    pub neighbours: usize,
    pub seed: u64,
    /// Records that came or went since all were laid out together.
    pub changes: u64,
    /// Trustworthiness and continuity, if there were records enough to measure them.
    pub faithfulness: Option<[f64; 2]>,
    /// The projection that places records without neighbours: components are divided by `unit`, less `mean`, and
    /// multiplied with each axis.
    pub unit: f32,
    /// `dim` floats.
    pub mean: Vec<f32>,
    /// `dim` floats each.
    pub axes: [Vec<f32>; 2],
}

/// The columns, one row per record.
#[derive(Debug, Clone, PartialEq)]
pub struct MapColumns {
    pub ids: StringArray,
    pub x: ScalarBuffer<f32>,
    pub y: ScalarBuffer<f32>,
    /// XXH3-64 of each record's embedding, its floats in little-endian order.
    pub embeddings: ScalarBuffer<u64>,
}

/// A whole map, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMap {
    header: MapHeader,
    columns: MapColumns,
}

impl StoredMap {
    /// Checks everything that the invariant names.
    pub fn checked(header: MapHeader, columns: MapColumns) -> Result<StoredMap, FormatError> {
        check_header(&header)?;
        let records = columns.ids.len();
        let lengths = [columns.x.len(), columns.y.len(), columns.embeddings.len()];
        if lengths.iter().any(|length| *length != records) || u32::try_from(records).is_err() {
            return damaged(format!("{records} ids with columns of {lengths:?} entries"));
        }
        if !columns.x.iter().chain(columns.y.iter()).all(|x| x.is_finite()) {
            return damaged("a place is not finite");
        }
        let mut order: Vec<u32> = (0..records as u32).collect();
        order.sort_unstable_by_key(|row| columns.ids.value(*row as usize));
        let twice = order.windows(2).find(|pair| match pair {
            [a, b] => columns.ids.value(*a as usize) == columns.ids.value(*b as usize),
            _ => false,
        });
        match twice {
            Some(rows) => damaged(format!("the id of rows {rows:?} stands there twice")),
            None => Ok(StoredMap { header, columns }),
        }
    }

    /// The header.
    pub fn header(&self) -> &MapHeader {
        &self.header
    }

    /// How many records are on it.
    pub fn records(&self) -> u64 {
        self.columns.ids.len() as u64
    }

    /// The header and the columns.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub fn into_parts(self) -> (MapHeader, MapColumns) {
        (self.header, self.columns)
    }
}

fn damaged<T>(message: impl Display) -> Result<T, FormatError> {
    Err(FormatError::Damaged(format!("{WHAT}: {message}")))
}

fn check_header(header: &MapHeader) -> Result<(), FormatError> {
    let [a, b] = header.axes.each_ref().map(Vec::len);
    if header.dim == 0 || [header.mean.len(), a, b].iter().any(|length| *length != header.dim) {
        return damaged(format!(
            "dimension {} with a mean of {} and axes of {a} and {b}",
            header.dim,
            header.mean.len()
        ));
    }
    let numbers = header.mean.iter().chain(header.axes.iter().flatten());
    if !(header.unit.is_finite() && header.unit > 0.0 && numbers.clone().all(|x| x.is_finite())) {
        return damaged("the projection is not finite");
    }
    match header.faithfulness.into_iter().flatten().all(|share| (0.0..=1.0).contains(&share)) {
        true => Ok(()),
        false => damaged("trustworthiness and continuity are not between 0 and 1"),
    }
}

fn fields() -> [Field; 4] {
    let columns =
        [("id", DataType::Utf8), ("x", DataType::Float32), ("y", DataType::Float32), ("embedding", DataType::UInt64)];
    columns.map(|(name, kind)| Field::new(name, kind, false))
}

/// The object of a map.
///
/// # Errors
/// `Internal` only.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
pub fn encode_map(map: &StoredMap) -> Result<Vec<u8>> {
    write(map).map_err(|e| Error::internal("a map could not be encoded").with_source(e))
}

fn write(map: &StoredMap) -> Result<Vec<u8>, ArrowError> {
    let columns = &map.columns;
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(columns.ids.clone()),
        Arc::new(Float32Array::new(columns.x.clone(), None)),
        Arc::new(Float32Array::new(columns.y.clone(), None)),
        Arc::new(UInt64Array::new(columns.embeddings.clone(), None)),
    ];
    let schema = Arc::new(Schema::new_with_metadata(fields().to_vec(), metadata(&map.header)));
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    let mut writer = FileWriter::try_new(Vec::with_capacity(batch.get_array_memory_size() + 4096), &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}

/// The schema's key-value metadata: numbers in decimal, floats in a form that reads back exactly.
fn metadata(header: &MapHeader) -> HashMap<String, String> {
    let joined = |floats: &[f32]| floats.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
    let [axis_x, axis_y] = header.axes.each_ref().map(|axis| joined(axis));
    let pairs = [
        ("map_format", MAP_FORMAT.to_string()),
        ("stream", header.stream.clone()),
        ("version", header.version.to_string()),
        ("metric", header.metric.to_string()),
        ("dim", header.dim.to_string()),
        ("neighbours", header.neighbours.to_string()),
        ("seed", header.seed.to_string()),
        ("changes", header.changes.to_string()),
        ("unit", header.unit.to_string()),
        ("mean", joined(&header.mean)),
        ("axis_x", axis_x),
        ("axis_y", axis_y),
    ];
    let measured = header.faithfulness.map(|[trustworthiness, continuity]| {
        [("trustworthiness", trustworthiness.to_string()), ("continuity", continuity.to_string())]
    });
    let pairs = pairs.into_iter().chain(measured.into_iter().flatten());
    pairs.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Reads a map object and checks all of it. [`FormatError::Newer`]: another version's format; make the map anew.
pub fn decode_map(bytes: &[u8]) -> Result<StoredMap, FormatError> {
    let file = ArrowFile::open(WHAT, bytes)?;
    let header = read_header(&file)?;
    file.check_fields(&fields())?;
    let mut batches = file.batches();
    let (Some(batch), None) = (batches.next(), batches.next()) else {
        return damaged("it does not have exactly one record batch");
    };
    let mut arrays = batch?;
    let columns =
        MapColumns { ids: arrays.texts()?, x: arrays.plain()?, y: arrays.plain()?, embeddings: arrays.plain()? };
    StoredMap::checked(header, columns)
}

fn read_header(file: &ArrowFile<'_>) -> Result<MapHeader, FormatError> {
    let format: u64 = file.value("map_format")?;
    if format != MAP_FORMAT {
        return Err(FormatError::Newer { found: format, known: MAP_FORMAT });
    }
    let floats = |key: &str| {
        let read = file.text(key)?.split(',').map(f32::from_str).collect::<Result<Vec<f32>, _>>();
        read.or_else(|e| damaged(format!("{key}: {e}")))
    };
    let faithfulness = match file.text("trustworthiness") {
        Ok(_) => Some([file.value("trustworthiness")?, file.value("continuity")?]),
        Err(_) => None,
    };
    Ok(MapHeader {
        stream: file.text("stream")?.to_owned(),
        version: Version(file.value("version")?),
        metric: file.value("metric")?,
        dim: file.value("dim")?,
        neighbours: file.value("neighbours")?,
        seed: file.value("seed")?,
        changes: file.value("changes")?,
        faithfulness,
        unit: file.value("unit")?,
        mean: floats("mean")?,
        axes: [floats("axis_x")?, floats("axis_y")?],
    })
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
