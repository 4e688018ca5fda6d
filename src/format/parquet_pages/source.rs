//! The pages of one column of one row group, in order: each has its header checked, is expanded, and is counted.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::Result;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader;

use super::compression::expand;
use super::header::{PageHeader, PageKind, read_header};
use super::{PageBounds, Values, chunk_start, contradiction};

/// Bytes in which most headers fit; longer ones hold statistics of long values.
const HEADER_BYTES: u64 = 4 << 10;
/// Most bytes of a header.
const MOST_HEADER_BYTES: u64 = 16 << 20;
/// Bytes of a text that is shared, not copied: a view of its place.
const VIEW_BYTES: u64 = 16;
/// Bytes of the levels of a value.
const LEVEL_BYTES: u64 = 4;

/// The pages of a column chunk.
pub struct PageSource<R: ChunkReader> {
    file: Arc<R>,
    bounds: Arc<PageBounds>,
    codec: Compression,
    physical: Type,
    /// Bytes of a value. For texts the count depends on the page.
    width: u64,
    /// Whether a row may have several values.
    repeated: bool,
    at: u64,
    end: u64,
    /// Values still to come.
    left: u64,
    /// The header at `at`, if it was read ahead.
    peeked: Option<PageHeader>,
    /// Bytes of the longest text of the dictionary.
    longest: u64,
}

impl<R: ChunkReader> PageSource<R> {
    pub(super) fn new(file: Arc<R>, chunk: &ColumnChunkMetaData, bounds: Arc<PageBounds>) -> PageSource<R> {
        let start = chunk_start(chunk).max(0).cast_unsigned();
        let column = chunk.column_descr();
        let width = match column.physical_type() {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::BYTE_ARRAY => VIEW_BYTES,
            Type::FIXED_LEN_BYTE_ARRAY => u64::from(column.type_length().max(0).cast_unsigned()),
        };
        PageSource {
            file,
            bounds,
            codec: chunk.compression(),
            physical: column.physical_type(),
            width,
            repeated: column.max_rep_level() > 0,
            at: start,
            end: start.saturating_add(chunk.compressed_size().max(0).cast_unsigned()),
            left: chunk.num_values().max(0).cast_unsigned(),
            peeked: None,
            longest: 0,
        }
    }

    /// The header of the next page that holds values or a dictionary; `None` at the end.
    fn header(&mut self) -> Result<Option<PageHeader>> {
        loop {
            if self.peeked.is_some() {
                return Ok(self.peeked);
            }
            if self.left == 0 || self.at >= self.end {
                return match self.left {
                    0 => Ok(None),
                    left => Err(contradiction(format_args!("a column ends {left} values early"))),
                };
            }
            let header = self.read_header()?;
            let stored = header.header_bytes.saturating_add(header.stored_bytes);
            if stored > self.end - self.at {
                return Err(contradiction("a page goes on past the end of its column"));
            }
            match header.kind {
                PageKind::Other => self.at += stored,
                _ => self.peeked = Some(header),
            }
        }
    }

    fn read_header(&self) -> Result<PageHeader> {
        let most = (self.end - self.at).min(MOST_HEADER_BYTES);
        let mut wanted = most.min(HEADER_BYTES);
        loop {
            let bytes = self.file.get_bytes(self.at, usize::try_from(wanted).unwrap_or(usize::MAX))?;
            if let Some(header) = read_header(&bytes)? {
                return Ok(header);
            }
            if wanted == most {
                return Err(contradiction("a page's header does not end"));
            }
            wanted = wanted.saturating_mul(8).min(most);
        }
    }

    /// Skips the page of `header`.
    fn advance(&mut self, header: &PageHeader) -> Result<()> {
        self.peeked = None;
        self.at += header.header_bytes + header.stored_bytes;
        if !matches!(header.kind, PageKind::Dictionary { .. }) {
            let left = self.left.checked_sub(header.values.into());
            self.left = left.ok_or_else(|| contradiction("a column has more values than it says"))?;
        }
        Ok(())
    }

    /// Reads and expands the page of `header`.
    fn page(&mut self, header: &PageHeader) -> Result<Page> {
        if header.expanded_bytes > self.bounds.page_bytes {
            let (most, got) = (self.bounds.page_bytes, header.expanded_bytes);
            return Err(self.bounds.pass(format!("expected pages of at most {most} bytes once expanded, got {got}")));
        }
        self.bounds.take(header.expanded_bytes)?;
        let start = self.at + header.header_bytes;
        let stored = self.file.get_bytes(start, usize::try_from(header.stored_bytes).unwrap_or(usize::MAX))?;
        let bytes = self.expanded(header, stored)?;
        self.count(header, &bytes)?;
        let num_values = header.values;
        Ok(match header.kind {
            PageKind::Dictionary { encoding, sorted } => {
                Page::DictionaryPage { buf: bytes, num_values, encoding, is_sorted: sorted }
            }
            PageKind::Data { encoding, definition, repetition } => Page::DataPage {
                buf: bytes,
                num_values,
                encoding,
                def_level_encoding: definition,
                rep_level_encoding: repetition,
                statistics: None,
            },
            PageKind::DataV2 { encoding, nulls, rows, definition_bytes, repetition_bytes, compressed } => {
                Page::DataPageV2 {
                    buf: bytes,
                    num_values,
                    encoding,
                    num_nulls: nulls,
                    num_rows: rows,
                    def_levels_byte_len: definition_bytes,
                    rep_levels_byte_len: repetition_bytes,
                    is_compressed: compressed,
                    statistics: None,
                }
            }
            PageKind::Other => return Err(contradiction("a page of no known kind")),
        })
    }

    fn expanded(&self, header: &PageHeader, stored: Bytes) -> Result<Bytes> {
        let length = usize::try_from(header.expanded_bytes).unwrap_or(usize::MAX);
        // Levels of the second version lie before the values, and are never compressed.
        let (levels, compressed) = match header.kind {
            PageKind::DataV2 { definition_bytes, repetition_bytes, compressed, nulls, .. } => {
                let levels = u64::from(definition_bytes) + u64::from(repetition_bytes);
                if levels > header.stored_bytes.min(header.expanded_bytes) || nulls > header.values {
                    return Err(contradiction("a page has more levels or nulls than it is long"));
                }
                (usize::try_from(levels).unwrap_or(usize::MAX), compressed)
            }
            _ => (0, true),
        };
        if self.codec == Compression::UNCOMPRESSED || !compressed {
            return match stored.len() == length {
                true => Ok(stored),
                false => Err(contradiction("a page is not as long as it says")),
            };
        }
        let Some((head, rest)) = stored.split_at_checked(levels).filter(|_| levels <= length) else {
            return Err(contradiction("a page ends within its levels"));
        };
        if levels == 0 {
            return expand(self.codec, rest, length).map(Bytes::from);
        }
        // A page of nulls has no values to expand.
        let values = if length == levels { Vec::new() } else { expand(self.codec, rest, length - levels)? };
        Ok([head, &values].concat().into())
    }

    /// Counts the bytes that the values of a page decode to.
    fn count(&mut self, header: &PageHeader, bytes: &[u8]) -> Result<()> {
        let values = u64::from(header.values);
        let (PageKind::Data { encoding, .. } | PageKind::DataV2 { encoding, .. }) = header.kind else {
            return self.count_dictionary(values, bytes);
        };
        let text = self.physical == Type::BYTE_ARRAY;
        let dictionary = matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        let each = match encoding {
            // A text may repeat the whole one before it, and add more.
            Encoding::DELTA_BYTE_ARRAY => self.width.saturating_add(bytes.len() as u64),
            _ if text && dictionary && self.bounds.values == Values::Copied => self.width.max(self.longest),
            _ => self.width,
        };
        // A row of a flat column is one value, so at most one step's rows of values are decoded at once.
        let at_once = if self.repeated { values } else { values.min(self.bounds.step_rows) };
        self.bounds.take(at_once.saturating_mul(each.saturating_add(LEVEL_BYTES)))
    }

    fn count_dictionary(&mut self, values: u64, bytes: &[u8]) -> Result<()> {
        let length = bytes.len() as u64;
        let least = if self.physical == Type::BYTE_ARRAY { 4 } else { self.width };
        if values.saturating_mul(least) > length && self.physical != Type::BOOLEAN {
            return Err(contradiction(format_args!("a dictionary of {length} bytes says it has {values} values")));
        }
        self.bounds.take(values.saturating_mul(VIEW_BYTES))?;
        if self.physical == Type::BYTE_ARRAY {
            self.longest = longest_text(bytes);
        }
        Ok(())
    }
}

/// Bytes of the longest of consecutive texts, each preceded by its length (u32, little-endian).
fn longest_text(mut bytes: &[u8]) -> u64 {
    let mut longest = 0;
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(length);
        bytes = rest.get(length as usize..).unwrap_or_default();
    }
    longest.into()
}

impl<R: ChunkReader> Iterator for PageSource<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<R: ChunkReader> PageReader for PageSource<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(header) = self.header()? else { return Ok(None) };
        let page = self.page(&header)?;
        self.advance(&header)?;
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let metadata = |header: PageHeader| PageMetadata {
            num_rows: match header.kind {
                PageKind::DataV2 { rows, .. } => Some(rows as usize),
                _ => None,
            },
            num_levels: Some(header.values as usize),
            is_dict: matches!(header.kind, PageKind::Dictionary { .. }),
        };
        Ok(self.header()?.map(metadata))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        match self.header()? {
            Some(header) => self.advance(&header),
            None => Ok(()),
        }
    }
}
