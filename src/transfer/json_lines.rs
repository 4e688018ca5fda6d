//! JSON Lines: one record per line, `{"id": …, "embedding": […], "document": …, "uri": …, "metadata": {…}}`;
//! what a record does not have is left out or null. Floats are written with as few digits as bring the same
//! bits back. Invariant: a line that is no record stops the reading with its number.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failed;
use crate::error::{Error, Result};
use crate::record::{Metadata, Record};

/// Records of a page.
const PAGE: usize = 1_000;
/// Bytes of a line at most.
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineIn {
    id: String,
    // Read as f32 from the text itself: by way of f64 a float could be rounded twice.
    embedding: Vec<f32>,
    document: Option<String>,
    uri: Option<String>,
    metadata: Option<Value>,
}

/// Writes records as lines.
#[derive(Debug)]
pub struct JsonLinesWriter {
    out: BufWriter<File>,
}

impl JsonLinesWriter {
    /// Begins a file, in place of one that is there.
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

/// Reads records from lines.
#[derive(Debug)]
pub struct JsonLinesReader {
    lines: BufReader<File>,
    number: u64,
}

impl JsonLinesReader {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<JsonLinesReader> {
        let file = File::open(path).map_err(|e| failed("opened", e))?;
        Ok(JsonLinesReader { lines: BufReader::new(file), number: 0 })
    }

    /// The next records; none at the end.
    ///
    /// # Errors
    /// `Invalid` with the line's number if it is no record.
    pub fn next_page(&mut self) -> Result<Vec<Record>> {
        let (mut records, mut line) = (Vec::new(), Vec::new());
        while records.len() < PAGE {
            line.clear();
            let mut limited = (&mut self.lines).take(LINE_BYTES);
            let read = limited.read_until(b'\n', &mut line).map_err(|e| failed("read", e))?;
            if read == 0 {
                break;
            }
            self.number += 1;
            if read as u64 == LINE_BYTES && line.last() != Some(&b'\n') {
                return Err(Error::limit(format!("line {}: expected at most {LINE_BYTES} bytes", self.number)));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                records.push(record(&line).map_err(|why| Error::invalid(format!("line {}: {why}", self.number)))?);
            }
        }
        Ok(records)
    }
}

fn record(line: &[u8]) -> Result<Record, String> {
    let line: LineIn = serde_json::from_slice(line).map_err(|e| format!("expected a record as JSON: {e}"))?;
    let metadata = line.metadata.as_ref().map(Metadata::from_json).transpose();
    let metadata = metadata.map_err(|e| format!("record {:?}: {e}", line.id))?;
    Ok(Record { id: line.id, embedding: line.embedding, document: line.document, uri: line.uri, metadata })
}
