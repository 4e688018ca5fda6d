//! The fast way to read a column of embeddings: page by page, following the runs of the levels and copying the floats
//! as they lie. The standard reader takes a list apart float by float, more slowly than the network delivers them.
//! Invariant: the result is that of the standard reader. Pages of an unknown kind (dictionaries, the second page
//! version, other encodings) are left to it.
//!
//! Levels of `optional list<required float>`: repetition 0 begins a row, 1 continues its list; definition 0 is a null
//! row, 1 an empty list (never stored), 2 a float.

use arrow::buffer::{Buffer, MutableBuffer, ScalarBuffer};
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};

use super::record_file::{damaged, parquet_damage};
use super::{Embeddings, FormatError};

const _: () = assert!(cfg!(target_endian = "little"), "stored floats are little-endian and used as they lie");

const REPETITION_BITS: usize = 1;
const DEFINITION_BITS: usize = 2;

/// Reads the embeddings of one row group from an object of `object_bytes`. The group has `rows` rows of `dim` floats
/// each (at least 1). `None`: only the standard reader can read them.
pub(super) fn read_embeddings(
    mut pages: impl PageReader,
    object_bytes: u64,
    rows: usize,
    dim: usize,
) -> Result<Option<Embeddings>, FormatError> {
    let mut lists = PageLists::new(dim, rows, usize::try_from(object_bytes).unwrap_or(usize::MAX));
    while let Some(page) = pages.get_next_page().map_err(parquet_damage)? {
        let Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, .. } = page else {
            return Ok(None);
        };
        if (encoding, def_level_encoding, rep_level_encoding) != (Encoding::PLAIN, Encoding::RLE, Encoding::RLE) {
            return Ok(None);
        }
        lists.read_page(&buf, num_values as usize).map_err(|what| damaged(format!("embeddings: {what}")))?;
    }
    lists.finish().map(Some).map_err(|what| damaged(format!("embeddings: {what}")))
}

/// The lists read so far. A list may continue on the next page.
struct PageLists {
    dim: usize,
    rows: usize,
    /// Floats, as bytes in 64-byte aligned memory.
    values: MutableBuffer,
    /// Per row begun, whether it has an embedding.
    present: Vec<bool>,
    /// Floats of the last row so far: `dim` once it is complete (or null).
    filled: usize,
}

impl PageLists {
    /// Memory for all rows at once, but never more than the file's `available` bytes can fill.
    fn new(dim: usize, rows: usize, available: usize) -> PageLists {
        let expected = dim.saturating_mul(rows).saturating_mul(size_of::<f32>());
        let values = MutableBuffer::with_capacity(expected.min(available));
        PageLists { dim, rows, values, present: Vec::with_capacity(rows.min(available)), filled: dim }
    }

    fn read_page(&mut self, page: &[u8], levels: usize) -> Result<(), String> {
        let (repetitions, rest) = take_levels(page)?;
        let (definitions, values) = take_levels(rest)?;
        let mut repetitions = Runs::new(repetitions, REPETITION_BITS, levels);
        let mut definitions = Runs::new(definitions, DEFINITION_BITS, levels);
        let (mut left, mut floats) = (levels, 0);
        let (mut repetition, mut definition) = (Run::default(), Run::default());
        while left > 0 {
            if repetition.count == 0 {
                repetition = repetitions.next_run()?;
            }
            if definition.count == 0 {
                definition = definitions.next_run()?;
            }
            let count = repetition.count.min(definition.count).min(left);
            self.walk(repetition.level, definition.level, count)?;
            floats += if definition.level == 2 { count } else { 0 };
            repetition.count -= count;
            definition.count -= count;
            left -= count;
        }
        if values.len() != floats * size_of::<f32>() {
            return Err(format!("a page says {floats} floats and holds {} bytes", values.len()));
        }
        self.values.extend_from_slice(values);
        Ok(())
    }

    /// Takes `count` equal level pairs.
    fn walk(&mut self, repetition: u8, definition: u8, count: usize) -> Result<(), String> {
        if repetition == 0 && count > self.rows - self.present.len() {
            return Err(format!("expected {} rows, got more", self.rows));
        }
        match (repetition, definition) {
            (0, 0 | 2) if self.filled != self.dim => Err(self.wrong_length()),
            (0, 0) => {
                self.present.extend(std::iter::repeat_n(false, count));
                Ok(())
            }
            (0, 2) if count > 1 && self.dim != 1 => Err(format!("expected lists of {} floats, got one of 1", self.dim)),
            (0, 2) => {
                self.present.extend(std::iter::repeat_n(true, count));
                self.filled = 1;
                Ok(())
            }
            (1, 2) => {
                self.filled += count;
                // A null row is complete: no float can follow it in the same list.
                match self.filled <= self.dim {
                    true => Ok(()),
                    false => Err(self.wrong_length()),
                }
            }
            other => Err(format!("levels {other:?} are no part of a list of floats")),
        }
    }

    fn wrong_length(&self) -> String {
        let row = self.present.len().saturating_sub(1);
        format!("row {row}: expected {} floats, got {}", self.dim, self.filled)
    }

    fn finish(self) -> Result<Embeddings, String> {
        if self.filled != self.dim {
            return Err(self.wrong_length());
        }
        if self.present.len() != self.rows {
            return Err(format!("expected {} rows, got {}", self.rows, self.present.len()));
        }
        let values: ScalarBuffer<f32> = Buffer::from(self.values).into();
        let all = self.present.iter().all(|present| *present);
        Ok(Embeddings { dim: self.dim, values, present: (!all).then_some(self.present) })
    }
}

/// Levels at the start of a page: their length in bytes (u32, little-endian), then their runs.
fn take_levels(page: &[u8]) -> Result<(&[u8], &[u8]), String> {
    page.split_first_chunk()
        .and_then(|(len, rest)| rest.split_at_checked(u32::from_le_bytes(*len) as usize))
        .ok_or_else(|| "a page ends within its levels".to_owned())
}

/// A run of equal levels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Run {
    level: u8,
    count: usize,
}

/// Levels in Parquet's hybrid of runs and bit-packed groups, for 1 or 2 bits a level.
struct Runs<'a> {
    bytes: &'a [u8],
    bits: usize,
    /// Levels not yet handed out.
    left: usize,
    /// The current bit-packed levels, of which `packed_at` are handed out.
    packed: &'a [u8],
    packed_at: usize,
}

impl<'a> Runs<'a> {
    fn new(bytes: &'a [u8], bits: usize, levels: usize) -> Runs<'a> {
        Runs { bytes, bits, left: levels, packed: &[], packed_at: 0 }
    }

    fn next_run(&mut self) -> Result<Run, String> {
        if self.packed_level(self.packed_at).is_none() {
            let header = self.header()?;
            let count = header >> 1;
            if header & 1 == 0 {
                return self.repeated(count);
            }
            let (packed, rest) = count
                .checked_mul(self.bits)
                .and_then(|len| self.bytes.split_at_checked(len))
                .ok_or("a page ends within bit-packed levels")?;
            (self.packed, self.packed_at, self.bytes) = (packed, 0, rest);
        }
        let level = self.packed_level(self.packed_at).ok_or("a group of no levels")?;
        let start = self.packed_at;
        // The last group is padded: bits past the page's levels are no levels.
        let end = start.saturating_add(self.left);
        while self.packed_at < end && self.packed_level(self.packed_at) == Some(level) {
            self.packed_at += 1;
        }
        let count = self.packed_at - start;
        self.left -= count;
        Ok(Run { level, count })
    }

    fn repeated(&mut self, count: usize) -> Result<Run, String> {
        let (level, rest) = self.bytes.split_first().ok_or("a page ends within a run of levels")?;
        if count == 0 || count > self.left {
            return Err(format!("a run of {count} levels where {} are left", self.left));
        }
        self.bytes = rest;
        self.left -= count;
        Ok(Run { level: *level, count })
    }

    fn packed_level(&self, index: usize) -> Option<u8> {
        let bit = index * self.bits;
        let byte = self.packed.get(bit / 8)?;
        Some(byte >> (bit % 8) & ((1 << self.bits) - 1))
    }

    /// A ULEB128 number.
    fn header(&mut self) -> Result<usize, String> {
        let mut number = 0u64;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.bytes.split_first().ok_or("a page ends where levels must follow")?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).map_err(|e| e.to_string());
            }
        }
        Err("a run of levels beyond all bounds".into())
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
