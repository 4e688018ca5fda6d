//! Pages of Parquet files, read within bounds. The claimed size of a page or a dictionary is checked against a limit
//! before memory is taken. So is the size of its decoded values. The parquet crate decodes values, but never gets an
//! unchecked page. Used for files that others wrote and for stored objects alike.
//!
//! Invariant: between two calls of [`PageBounds::begin_step`], the pages handed out and their decoded values take at
//! most [`PageBounds::step_bytes`]. Pages begun before may take as much again.

mod compression;
mod footer;
mod header;
#[cfg(test)]
mod pages_bounds_tests;
mod source;
mod thrift;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parquet::arrow::arrow_reader::RowGroups;
use parquet::column::page::{PageIterator, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};

use self::source::PageSource;

/// The end of a Parquet file: the footer's length (u32, little-endian) and the magic.
const FOOTER_END_BYTES: u64 = 8;

/// How values of a step are counted before they are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Texts point into their page or its dictionary.
    Shared,
    /// Texts are copied at each occurrence.
    Copied,
}

/// Makes sure that there is memory for this many bytes of a step; false where there is none.
pub type StepRoom = Box<dyn Fn(u64) -> bool + Send + Sync>;

/// The bounds of decoding, and how much of them is taken.
pub struct PageBounds {
    /// Bytes of one page once expanded.
    pub page_bytes: u64,
    /// Bytes of all pages of one step, and of what they are decoded to.
    pub step_bytes: u64,
    /// Rows that are decoded at once.
    pub step_rows: u64,
    /// Whether texts are shared or copied.
    pub values: Values,
    room: Option<StepRoom>,
    taken: AtomicU64,
    passed: AtomicBool,
}

impl PageBounds {
    /// Bounds with nothing taken yet.
    pub fn new(page_bytes: u64, step_bytes: u64, step_rows: usize, values: Values) -> PageBounds {
        PageBounds {
            page_bytes,
            step_bytes,
            step_rows: step_rows as u64,
            values,
            room: None,
            taken: AtomicU64::new(0),
            passed: AtomicBool::new(false),
        }
    }

    /// These bounds, with memory reserved as steps grow.
    pub fn with_room(mut self, room: StepRoom) -> PageBounds {
        self.room = Some(room);
        self
    }

    /// Begins a step: gives back what the last step took.
    pub fn begin_step(&self) {
        self.taken.store(0, Ordering::Relaxed);
    }

    /// Whether something was refused for passing these bounds rather than for damage.
    pub fn passed(&self) -> bool {
        self.passed.load(Ordering::Relaxed)
    }

    /// Takes `bytes` of a step.
    fn take(&self, bytes: u64) -> Result<()> {
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if taken > self.step_bytes {
            return Err(self.pass(format!("expected at most {} bytes of rows at once, got more", self.step_bytes)));
        }
        match &self.room {
            // Pages begun in the last step are still held as well.
            Some(room) if !room(taken.saturating_mul(2)) => Err(self.pass("there is no memory for it".to_owned())),
            _ => Ok(()),
        }
    }

    /// Refuses what passes a bound.
    fn pass(&self, what: String) -> ParquetError {
        self.passed.store(true, Ordering::Relaxed);
        ParquetError::General(what)
    }
}

fn contradiction(what: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(format!("its parts contradict each other: {what}"))
}

/// Reads the metadata of a file, if it takes at most `most` bytes.
pub fn read_metadata<R: ChunkReader>(file: &R, most: u64) -> Result<ParquetMetaData> {
    let length = Length::len(file);
    let end = length.checked_sub(FOOTER_END_BYTES).ok_or_else(|| contradiction("it is shorter than a footer"))?;
    let end_bytes = file.get_bytes(end, FOOTER_END_BYTES as usize)?;
    if !end_bytes.ends_with(b"PAR1") {
        return Err(ParquetError::General("it does not end as a parquet file does".to_owned()));
    }
    let footer = end_bytes.first_chunk().map_or(0, |length| u64::from(u32::from_le_bytes(*length)));
    if footer > most {
        return Err(ParquetError::General(format!("expected a footer of at most {most} bytes, got {footer}")));
    }
    let start = end.checked_sub(footer).ok_or_else(|| contradiction("its footer is longer than the file"))?;
    footer::check_footer(&file.get_bytes(start, usize::try_from(footer).unwrap_or(usize::MAX))?)?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file)?;
    for group in metadata.row_groups() {
        check_group(group, length)?;
    }
    Ok(metadata)
}

/// Whether the numbers of a row group are possible: counts are not negative, and its columns lie in the file.
fn check_group(group: &RowGroupMetaData, length: u64) -> Result<()> {
    if group.num_rows() < 0 {
        return Err(contradiction(format_args!("a row group of {} rows", group.num_rows())));
    }
    for column in group.columns() {
        let start = chunk_start(column);
        let end = start.checked_add(column.compressed_size()).and_then(|end| u64::try_from(end).ok());
        let fits = start >= 0 && column.compressed_size() >= 0 && end.is_some_and(|end| end <= length);
        if !fits || column.num_values() < 0 || column.uncompressed_size() < 0 {
            return Err(contradiction(format_args!("column {} lies outside of the file", column.column_path())));
        }
    }
    Ok(())
}

/// Where the pages of a column begin. Some writers store 0 if there is no dictionary.
fn chunk_start(column: &ColumnChunkMetaData) -> i64 {
    column.dictionary_page_offset().filter(|offset| *offset > 0).unwrap_or(column.data_page_offset())
}

/// Bytes that the columns of a row group claim to expand to.
pub fn declared_bytes(group: &RowGroupMetaData) -> u64 {
    group.columns().iter().fold(0, |sum, column| sum.saturating_add(column.uncompressed_size().unsigned_abs()))
}

/// One row group of a file, its pages read within bounds.
pub struct BoundedGroup<R: ChunkReader> {
    file: Arc<R>,
    metadata: Arc<ParquetMetaData>,
    group: usize,
    bounds: Arc<PageBounds>,
}

impl<R: ChunkReader + 'static> BoundedGroup<R> {
    /// Row group `group` of a file whose metadata was read by [`read_metadata`].
    pub fn new(
        file: Arc<R>,
        metadata: Arc<ParquetMetaData>,
        group: usize,
        bounds: Arc<PageBounds>,
    ) -> Result<BoundedGroup<R>> {
        match metadata.row_groups().get(group) {
            Some(_) => Ok(BoundedGroup { file, metadata, group, bounds }),
            None => Err(contradiction(format_args!("there is no row group {group}"))),
        }
    }

    /// The pages of one column.
    pub fn pages(&self, column: usize) -> Result<PageSource<R>> {
        let chunk = self.metadata.row_groups().get(self.group).and_then(|group| group.columns().get(column));
        let chunk = chunk.ok_or_else(|| contradiction(format_args!("there is no column {column}")))?;
        Ok(PageSource::new(self.file.clone(), chunk, self.bounds.clone()))
    }
}

impl<R: ChunkReader + 'static> RowGroups for BoundedGroup<R> {
    fn num_rows(&self) -> usize {
        self.row_groups().map(|group| usize::try_from(group.num_rows()).unwrap_or(0)).sum()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        Ok(Box::new(OneChunk(Some(Box::new(self.pages(column)?)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().get(self.group).into_iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The pages of the one chunk that a column has in one row group.
struct OneChunk(Option<Box<dyn PageReader>>);

impl Iterator for OneChunk {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for OneChunk {}
