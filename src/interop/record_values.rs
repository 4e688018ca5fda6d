//! Records from the columns of a table. Numbers of every width become floats. Ids may be text, integers or UUIDs;
//! metadata may be JSON text, a struct or a map.
//! Invariant: the meter counts each record before the next is made. Few bytes that expand to many are thus stopped at
//! the limit, not after it.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, RecordBatch, StructArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use uuid::Uuid;

use super::record_columns::{ColumnPlan, Part};
use super::record_meta::{meta_value, whole};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::record::{MetaValue, Metadata, Record};

/// Bytes of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordBytes {
    /// Once encoded.
    pub encoded: u64,
    /// In memory until then.
    pub held: u64,
}

impl RecordBytes {
    /// The bytes of a record.
    pub fn of(record: &Record) -> RecordBytes {
        /// A record without its parts, and an entry of a map.
        const RECORD: u64 = 192;
        const ENTRY: u64 = 160;
        let texts =
            record.id.len() + [&record.document, &record.uri].into_iter().flatten().map(String::len).sum::<usize>();
        let plain = (texts + record.embedding.len() * size_of::<f32>()) as u64;
        let entries = record.metadata.iter().flat_map(|metadata| &metadata.0);
        let (count, bytes) =
            entries.fold((0, 0), |(n, sum), (key, value)| (n + 1, sum + key.len() as u64 + value_bytes(value)));
        RecordBytes { encoded: plain + bytes + 16, held: RECORD + plain + 2 * bytes + ENTRY * count }
    }
}

fn value_bytes(value: &MetaValue) -> u64 {
    let bytes = match value {
        MetaValue::Bool(_) | MetaValue::Int(_) | MetaValue::Float(_) => 8,
        MetaValue::Str(text) => text.len(),
        MetaValue::Bools(list) => list.len(),
        MetaValue::Ints(list) => list.len() * 8,
        MetaValue::Floats(list) => list.len() * 8,
        MetaValue::Strs(list) => list.iter().map(|text| text.len() + 24).sum(),
        MetaValue::Sparse(vector) => vector.size_bytes(),
    };
    bytes as u64
}

/// Receives the bytes of each record; its refusal ends the reading.
pub type RecordMeter<'m> = dyn FnMut(RecordBytes) -> Result<()> + 'm;

/// Reads the records of a batch whose columns `plan` knows. `first` is the number of its first row.
///
/// # Errors
/// `Invalid`, naming the row and the column that cannot be what it should; `Limit` for a text or an embedding that is
/// too long; any error of the meter.
pub fn records_within(
    batch: &RecordBatch,
    plan: &ColumnPlan,
    limits: &Limits,
    first: u64,
    meter: &mut RecordMeter<'_>,
) -> Result<Vec<Record>> {
    let table = Table::of(batch, plan, limits, first)?;
    let mut records = Vec::new();
    for row in 0..batch.num_rows() {
        let record = table.record(row)?;
        meter(RecordBytes::of(&record))?;
        records.push(record);
    }
    Ok(records)
}

/// The columns of one batch.
struct Table<'a> {
    /// Queries have none.
    id: Option<RecordColumn<'a>>,
    /// Records may come without.
    embedding: Option<RecordColumn<'a>>,
    /// Whether an embedding may be null.
    texts: bool,
    document: Option<RecordColumn<'a>>,
    uri: Option<RecordColumn<'a>>,
    metadata: Option<RecordColumn<'a>>,
    others: Vec<RecordColumn<'a>>,
    limits: &'a Limits,
    first: u64,
}

impl<'a> Table<'a> {
    fn of(batch: &'a RecordBatch, plan: &'a ColumnPlan, limits: &'a Limits, first: u64) -> Result<Table<'a>> {
        let column = |name: &'a str| {
            let array = batch.column_by_name(name);
            array
                .map(|array| RecordColumn::of(name, array))
                .ok_or_else(|| Error::invalid(format!("column {name:?} is missing")))
        };
        let needed = |part: Part| column(plan.column(part).unwrap_or(part.name()));
        let optional = |part: Part| plan.column(part).map(column).transpose();
        Ok(Table {
            id: optional(Part::Id)?,
            embedding: match plan.takes_texts() {
                true => optional(Part::Embedding)?,
                false => Some(needed(Part::Embedding)?),
            },
            texts: plan.takes_texts(),
            document: optional(Part::Document)?,
            uri: optional(Part::Uri)?,
            metadata: optional(Part::Metadata)?,
            others: plan.into_metadata().iter().map(|name| column(name)).collect::<Result<_>>()?,
            limits,
            first,
        })
    }

    fn record(&self, row: usize) -> Result<Record> {
        let at = |error: Error| error.with_place(&format!("row {}", self.first + row as u64));
        let limits = self.limits;
        let text = |column: &Option<RecordColumn<'_>>, most: usize, limit: &'static str| match column {
            Some(column) => column.text(row, most, limit),
            None => Ok(None),
        };
        Ok(Record {
            id: self.id.as_ref().map_or(Ok(String::new()), |column| column.id(row, limits)).map_err(at)?,
            embedding: self.embedding(row).map_err(at)?,
            document: text(&self.document, limits.document_bytes, "limits.document_bytes").map_err(at)?,
            uri: text(&self.uri, limits.document_bytes, "limits.document_bytes").map_err(at)?,
            metadata: self.metadata(row).map_err(at)?,
        })
    }

    /// Empty where there is none.
    fn embedding(&self, row: usize) -> Result<Vec<f32>> {
        match &self.embedding {
            Some(column) if !self.texts || column.place(row).is_some() => column.embedding(row, self.limits),
            _ => Ok(Vec::new()),
        }
    }

    fn metadata(&self, row: usize) -> Result<Option<Metadata>> {
        let own = match &self.metadata {
            Some(column) => column.metadata(row, self.limits)?,
            None => None,
        };
        let mut others = BTreeMap::new();
        for column in &self.others {
            if let Some(at) = column.place(row)
                && let Some(value) = meta_value(column.name, &column.array, at, self.limits.metadata_bytes)?
            {
                others.insert(column.name.to_owned(), value);
            }
        }
        // The record's own metadata takes precedence.
        match own {
            Some(Metadata(own)) => {
                others.extend(own);
                Ok(Some(Metadata(others)))
            }
            None => Ok((!others.is_empty()).then_some(Metadata(others))),
        }
    }
}

/// One column; `array` has the values of its dictionary, where it has one.
struct RecordColumn<'a> {
    name: &'a str,
    outer: &'a ArrayRef,
    array: ArrayRef,
}

impl<'a> RecordColumn<'a> {
    fn of(name: &'a str, outer: &'a ArrayRef) -> RecordColumn<'a> {
        let dictionary = outer.as_any_dictionary_opt();
        let array = dictionary.map_or(outer, |dictionary| dictionary.values()).clone();
        RecordColumn { name, outer, array }
    }

    /// Where the value of a row is; `None` for a null.
    fn place(&self, row: usize) -> Option<usize> {
        if row >= self.outer.len() || self.outer.is_null(row) {
            return None;
        }
        let at = match self.outer.as_any_dictionary_opt() {
            Some(dictionary) => usize::try_from(whole(dictionary.keys(), row)?).ok()?,
            None => row,
        };
        (at < self.array.len() && !self.array.is_null(at) && !self.array.data_type().is_null()).then_some(at)
    }

    fn null(&self) -> Error {
        Error::invalid(format!("{} is null, expected a value", self.name))
    }

    fn wrong(&self, expected: &str) -> Error {
        let got = self.outer.data_type();
        Error::invalid(format!("column {:?}: expected {expected}, got {got}", self.name))
    }

    fn id(&self, row: usize, limits: &Limits) -> Result<String> {
        let at = self.place(row).ok_or_else(|| self.null())?;
        if let Some(number) = whole(self.array.as_ref(), at) {
            return Ok(number.to_string());
        }
        if let Some(bytes) = self.array.as_fixed_size_binary_opt() {
            let uuid = Uuid::from_slice(bytes.value(at));
            return uuid.map(|uuid| uuid.hyphenated().to_string()).map_err(|_| self.wrong("text, integers or UUIDs"));
        }
        let text = text_at(&self.array, at).ok_or_else(|| self.wrong("text, integers or UUIDs"))?;
        check_length(self.name, text.len(), limits.id_bytes, "limits.id_bytes")?;
        Ok(text.to_owned())
    }

    fn text(&self, row: usize, most: usize, limit: &'static str) -> Result<Option<String>> {
        if *self.array.data_type() != DataType::Null && !is_text(&self.array) {
            return Err(self.wrong("UTF-8 text"));
        }
        let Some(text) = self.place(row).and_then(|at| text_at(&self.array, at)) else { return Ok(None) };
        check_length(self.name, text.len(), most, limit)?;
        Ok(Some(text.to_owned()))
    }

    fn embedding(&self, row: usize, limits: &Limits) -> Result<Vec<f32>> {
        let wrong = || self.wrong("a list of numbers, or text such as [0.1, 0.2]");
        if self.array.data_type().is_null() {
            return Err(self.null());
        }
        let place = self.place(row);
        let (items, range) = match self.array.data_type() {
            DataType::List(_) => {
                let list = self.array.as_list::<i32>();
                (list.values().clone(), place.map(|at| span(list.value_offsets(), at)))
            }
            DataType::LargeList(_) => {
                let list = self.array.as_list::<i64>();
                (list.values().clone(), place.map(|at| span(list.value_offsets(), at)))
            }
            DataType::FixedSizeList(_, width) => {
                let list = self.array.as_fixed_size_list();
                let width = usize::try_from(*width).unwrap_or(0);
                (list.values().clone(), place.map(|at| at * width..(at + 1) * width))
            }
            _ if is_text(&self.array) => {
                let at = place.ok_or_else(|| self.null())?;
                let text = text_at(&self.array, at).ok_or_else(wrong)?;
                return numbers_of(self.name, text, limits.dimension);
            }
            _ => return Err(wrong()),
        };
        let range = range.ok_or_else(|| self.null())?;
        check_dimension(self.name, range.len(), limits.dimension)?;
        let items = items.slice(range.start, range.len());
        if items.null_count() > 0 {
            return Err(Error::invalid(format!("{} has a null, expected numbers", self.name)));
        }
        floats(&items).ok_or_else(wrong)
    }

    fn metadata(&self, row: usize, limits: &Limits) -> Result<Option<Metadata>> {
        let most = limits.metadata_bytes;
        let typed = self.array.data_type();
        let Some(at) = self.place(row) else {
            let fits =
                is_text(&self.array) || matches!(typed, DataType::Null | DataType::Struct(_) | DataType::Map(..));
            return if fits { Ok(None) } else { Err(self.wrong("JSON text, a struct or a map")) };
        };
        if let Some(text) = text_at(&self.array, at) {
            check_length(self.name, text.len(), most, "limits.metadata_bytes")?;
            return metadata_of_text(text).map(Some);
        }
        match typed {
            DataType::Struct(_) => struct_metadata(self.array.as_struct(), at, most).map(Some),
            DataType::Map(..) => {
                map_metadata(self.array.as_map(), at, most, || self.wrong("a map with keys of text")).map(Some)
            }
            _ => Err(self.wrong("JSON text, a struct or a map")),
        }
    }
}

fn struct_metadata(values: &StructArray, at: usize, most: usize) -> Result<Metadata> {
    let mut metadata = BTreeMap::new();
    for (field, column) in values.fields().iter().zip(values.columns()) {
        let column = RecordColumn::of(field.name(), column);
        if let Some(place) = column.place(at)
            && let Some(value) = meta_value(column.name, &column.array, place, most)?
        {
            metadata.insert(field.name().clone(), value);
        }
    }
    Ok(Metadata(metadata))
}

fn map_metadata(map: &MapArray, at: usize, most: usize, wrong: impl Fn() -> Error) -> Result<Metadata> {
    let range = span(map.value_offsets(), at);
    check_length("metadata", range.len(), most, "limits.metadata_bytes")?;
    let (keys, values) = (RecordColumn::of("metadata", map.keys()), RecordColumn::of("metadata", map.values()));
    let mut metadata = BTreeMap::new();
    for entry in range {
        let key = keys.place(entry).and_then(|at| text_at(&keys.array, at)).ok_or_else(&wrong)?;
        if let Some(place) = values.place(entry)
            && let Some(value) = meta_value(key, &values.array, place, most)?
        {
            metadata.insert(key.to_owned(), value);
        }
    }
    Ok(Metadata(metadata))
}

/// Metadata as JSON text. A key whose value is null counts as absent, as in a write of Chroma's API.
pub fn metadata_of_text(text: &str) -> Result<Metadata> {
    let json = serde_json::from_str(text).map_err(|e| Error::invalid(format!("metadata: not JSON: {e}")))?;
    metadata_of_json(json)
}

/// Metadata of JSON that was parsed before.
pub fn metadata_of_json(mut json: serde_json::Value) -> Result<Metadata> {
    if let Some(object) = json.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    Metadata::from_json(&json)
}

/// Numbers as text: in brackets, with commas between.
pub fn numbers_of(name: &str, text: &str, dimension: usize) -> Result<Vec<f32>> {
    let wrong = |got: &str| {
        let shown: String = got.chars().take(40).collect();
        Error::invalid(format!("{name}: expected numbers such as [0.1, 0.2], got {shown:?}"))
    };
    let inner = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']')).ok_or_else(|| wrong(text))?;
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    check_dimension(name, memchr::memchr_iter(b',', inner.as_bytes()).count() + 1, dimension)?;
    inner.split(',').map(|number| number.trim().parse().map_err(|_| wrong(number))).collect()
}

fn span<O: arrow::array::OffsetSizeTrait>(offsets: &[O], at: usize) -> Range<usize> {
    let offset = |at: usize| offsets.get(at).map_or(0, |offset| offset.as_usize());
    let (start, end) = (offset(at), offset(at + 1));
    start..end.max(start)
}

/// Numbers of any width as floats.
fn floats(items: &ArrayRef) -> Option<Vec<f32>> {
    fn narrowed<T: ArrowPrimitiveType>(items: &ArrayRef, narrow: impl Fn(T::Native) -> f32) -> Option<Vec<f32>> {
        Some(items.as_primitive_opt::<T>()?.values().iter().map(|number| narrow(*number)).collect())
    }
    match items.data_type() {
        DataType::Float32 => Some(items.as_primitive_opt::<Float32Type>()?.values().to_vec()),
        DataType::Float64 => narrowed::<Float64Type>(items, |number| number as f32),
        DataType::Float16 => narrowed::<Float16Type>(items, |number| number.to_f32()),
        DataType::Int8 => narrowed::<Int8Type>(items, f32::from),
        DataType::Int16 => narrowed::<Int16Type>(items, f32::from),
        DataType::Int32 => narrowed::<Int32Type>(items, |number| number as f32),
        DataType::Int64 => narrowed::<Int64Type>(items, |number| number as f32),
        DataType::UInt8 => narrowed::<UInt8Type>(items, f32::from),
        DataType::UInt16 => narrowed::<UInt16Type>(items, f32::from),
        DataType::UInt32 => narrowed::<UInt32Type>(items, |number| number as f32),
        DataType::UInt64 => narrowed::<UInt64Type>(items, |number| number as f32),
        _ => None,
    }
}

pub(super) fn is_text(array: &ArrayRef) -> bool {
    matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The text at a place, if the array holds text.
pub(super) fn text_at(array: &ArrayRef, at: usize) -> Option<&str> {
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(at)),
        DataType::Utf8View => Some(array.as_string_view().value(at)),
        _ => None,
    }
}

pub(super) fn check_length(name: &str, got: usize, limit: usize, setting: &'static str) -> Result<()> {
    match got > limit {
        true => {
            Err(Error::limit(format!("{name}: expected at most {limit} bytes ({setting}), got {got}"))
                .of_setting(setting))
        }
        false => Ok(()),
    }
}

pub(super) fn check_dimension(name: &str, got: usize, limit: usize) -> Result<()> {
    match got > limit {
        true => Err(Error::limit(format!("{name}: expected at most {limit} numbers (limits.dimension), got {got}"))
            .of_setting("limits.dimension")),
        false => Ok(()),
    }
}
