//! JSON Lines: one record per line, `{"id": …, "embedding": […], "document": …, "uri": …, "metadata": {…}}`. Fields
//! that a record does not have are left out or null. Lines of other programs are read according to [`ReadOptions`].
//! Floats are written with the fewest digits that restore the same bits. Invariant: a line that is not a record stops
//! the reading with its number.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{FileName, ReadOptions, failed};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::interop::record_columns::{ColumnPlan, Part};
use crate::interop::record_values::{metadata_of_json, metadata_of_text, numbers_of};
use crate::record::{MetaValue, Metadata, Record, SparseVector};

/// Records of a page.
const PAGE: usize = 1_000;
/// Bytes of lines at which a page ends early.
const PAGE_BYTES: usize = 16 << 20;
/// First bytes of files from some editors, and of compressed files.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// Most bytes of a line.
const LINE_BYTES: u64 = 64 << 20;

#[derive(Serialize)]
struct LineOut<'a> {
    id: &'a str,
    embedding: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Metadata>,
}

/// Writes records as lines.
#[derive(Debug)]
pub struct JsonLinesWriter {
    out: BufWriter<File>,
}

impl JsonLinesWriter {
    /// Begins a file; replaces an existing one.
    pub fn create(path: &Path) -> Result<JsonLinesWriter> {
        let file = File::create(path).map_err(|e| failed("created", e))?;
        Ok(JsonLinesWriter { out: BufWriter::new(file) })
    }

    /// Appends records.
    pub fn push(&mut self, records: &[Record]) -> Result<()> {
        for record in records {
            let line = LineOut {
                id: &record.id,
                embedding: &record.embedding,
                document: record.document.as_deref(),
                uri: record.uri.as_deref(),
                metadata: record.metadata.as_ref(),
            };
            serde_json::to_writer(&mut self.out, &line).map_err(|e| failed("written", e))?;
            self.out.write_all(b"\n").map_err(|e| failed("written", e))?;
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(self) -> Result<()> {
        let file = self.out.into_inner().map_err(|e| failed("written", e.into_error()))?;
        file.sync_all().map_err(|e| failed("written", e))
    }
}

/// Reads records from lines: plain, or compressed with gzip or zstd.
pub struct JsonLinesReader {
    file: FileName,
    lines: Box<dyn BufRead + Send>,
    number: u64,
    options: ReadOptions,
    /// The keys of the previous line, and their columns. Most lines have the same keys.
    seen: Option<(Vec<String>, ColumnPlan)>,
}

impl std::fmt::Debug for JsonLinesReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonLinesReader").field("file", &self.file).field("line", &self.number).finish_non_exhaustive()
    }
}

impl JsonLinesReader {
    /// Opens a file with Drumlin's own keys.
    pub fn open(path: &Path) -> Result<JsonLinesReader> {
        JsonLinesReader::open_with(path, &ReadOptions::default())
    }

    /// Opens a file whose keys are read according to `options`.
    ///
    /// # Errors
    /// `Invalid` if there is no such file, or it is JSON of another form.
    pub fn open_with(path: &Path, options: &ReadOptions) -> Result<JsonLinesReader> {
        let name = FileName::of(path);
        let file = File::open(path).map_err(|e| name.failed("opened", e))?;
        let mut lines = expanded(BufReader::new(file)).map_err(|e| name.failed("read", e))?;
        let start = lines.fill_buf().map_err(|e| name.failed("read", e))?;
        if start.starts_with(BYTE_ORDER_MARK) {
            lines.consume(BYTE_ORDER_MARK.len());
        }
        let start = lines.fill_buf().map_err(|e| name.failed("read", e))?;
        match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => Err(name.says(Error::invalid(
                "expected JSON Lines (an object on each line), got a JSON array; write it as lines, for example with \
                 jq -c '.[]'",
            ))),
            _ if start.starts_with(b"PAR1") => {
                Err(name.says(Error::invalid("expected JSON Lines, got a parquet file: use import parquet")))
            }
            _ => Ok(JsonLinesReader { file: name, lines, number: 0, options: options.clone(), seen: None }),
        }
    }

    /// The column of each key, as in the last line.
    pub fn plan(&self) -> Option<&ColumnPlan> {
        self.seen.as_ref().map(|(_, plan)| plan)
    }

    /// The next records; empty at the end.
    ///
    /// # Errors
    /// `Invalid` with the line's number if it is not a record.
    pub fn next_page(&mut self) -> Result<Vec<Record>> {
        let (mut records, mut line, mut bytes) = (Vec::new(), Vec::new(), 0);
        while records.len() < PAGE && bytes < PAGE_BYTES {
            line.clear();
            let mut limited = (&mut self.lines).take(LINE_BYTES);
            let read = limited.read_until(b'\n', &mut line).map_err(|e| self.file.failed("read", e))?;
            if read == 0 {
                break;
            }
            bytes += read;
            self.number += 1;
            let at = |error: Error, number: u64| error.with_place(&format!("line {number}"));
            if read as u64 == LINE_BYTES && line.last() != Some(&b'\n') {
                let error = Error::limit(format!("expected at most {LINE_BYTES} bytes"));
                return Err(self.file.says(at(error, self.number)));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                let record = self.record(&line);
                records.push(record.map_err(|error| self.file.says(at(error, self.number)))?);
            }
        }
        Ok(records)
    }

    fn record(&mut self, line: &[u8]) -> Result<Record> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(line).map_err(|e| {
            let hint = if e.is_eof() { "; a record must be on one line" } else { "" };
            Error::invalid(format!("expected a record as a JSON object: {e}{hint}"))
        })?;
        let plan = self.plan_of(&fields)?;
        let field = |part: Part| plan.column(part).and_then(|key| Some((key, *fields.get(key)?)));
        let missing = |part: Part| Error::invalid(format!("{} is missing", part.name()));
        let id = field(Part::Id).ok_or_else(|| missing(Part::Id))?;
        let embedding = field(Part::Embedding).ok_or_else(|| missing(Part::Embedding))?;
        let text = |part: Part| field(part).map_or(Ok(None), |(key, value)| text_of(key, value));
        let mut metadata = field(Part::Metadata).map_or(Ok(None), |(_, value)| metadata_of(value))?;
        for key in plan.into_metadata() {
            let Some(value) = fields.get(key) else { continue };
            if let Some(value) = meta_value(key, value)? {
                metadata.get_or_insert_default().0.entry(key.clone()).or_insert(value);
            }
        }
        Ok(Record {
            id: id_of(id.0, id.1)?,
            embedding: numbers(embedding.0, embedding.1, &self.options.limits)?,
            document: text(Part::Document)?,
            uri: text(Part::Uri)?,
            metadata,
        })
    }

    fn plan_of(&mut self, fields: &BTreeMap<String, &RawValue>) -> Result<ColumnPlan> {
        let same = |(keys, _): &&(Vec<String>, ColumnPlan)| keys.iter().eq(fields.keys());
        if let Some((_, plan)) = self.seen.as_ref().filter(same) {
            return Ok(plan.clone());
        }
        let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
        let plan = self.options.columns.plan_of_keys(&keys)?;
        self.seen = Some((fields.keys().cloned().collect(), plan.clone()));
        Ok(plan)
    }
}

/// The decompressed contents of a file, by its first bytes.
fn expanded(mut file: BufReader<File>) -> std::io::Result<Box<dyn BufRead + Send>> {
    let start = file.fill_buf()?;
    if start.starts_with(GZIP) {
        return Ok(Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file))));
    }
    if start.starts_with(ZSTD) {
        return Ok(Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(file)?)));
    }
    Ok(Box::new(file))
}

fn expected(key: &str, expected: &str, got: &RawValue) -> Error {
    let shown: String = got.get().chars().take(60).collect();
    Error::invalid(format!("{key}: expected {expected}, got {shown}"))
}

fn id_of(key: &str, value: &RawValue) -> Result<String> {
    let wrong = || expected(key, "a string or an integer", value);
    match serde_json::from_str(value.get()).map_err(|_| wrong())? {
        Value::String(id) => Ok(id),
        Value::Number(id) if id.is_i64() || id.is_u64() => Ok(id.to_string()),
        _ => Err(wrong()),
    }
}

// Numbers are read as f32 from the text itself: by way of f64 a float could be rounded twice.
fn numbers(key: &str, value: &RawValue, limits: &Limits) -> Result<Vec<f32>> {
    if let Ok(text) = serde_json::from_str::<String>(value.get()) {
        return numbers_of(key, &text, limits.dimension);
    }
    let wrong = |e: serde_json::Error| expected(key, &format!("a list of numbers ({e})"), value);
    serde_json::from_str(value.get()).map_err(wrong)
}

fn text_of(key: &str, value: &RawValue) -> Result<Option<String>> {
    serde_json::from_str(value.get()).map_err(|_| expected(key, "text", value))
}

fn metadata_of(value: &RawValue) -> Result<Option<Metadata>> {
    match serde_json::from_str(value.get()).map_err(|_| expected("metadata", "an object", value))? {
        Value::Null => Ok(None),
        Value::String(text) => metadata_of_text(&text).map(Some),
        json => metadata_of_json(json).map(Some),
    }
}

fn meta_value(key: &str, value: &RawValue) -> Result<Option<MetaValue>> {
    let wrong = || {
        let what = "a string, number, boolean, a list of one of these or a sparse vector for metadata (leave it out \
                    with ignore)";
        expected(key, what, value)
    };
    match serde_json::from_str(value.get()).map_err(|_| wrong())? {
        Value::Null => Ok(None),
        json => MetaValue::from_json(&json).map(Some).map_err(|e| match json {
            Value::Object(object) if SparseVector::is_meant(&object) => {
                Error::invalid(format!("{key}: {}", e.message()))
            }
            _ => wrong(),
        }),
    }
}
