//! Makes text indexes list by list, from sorted postings or from older indexes. Invariant: lists are appended in the
//! order of their terms, rows ascending.

use super::blocks::BlocksBuilder;
use super::gather::mapped;
use super::text::{LARGE, TextIndex, too_much_text};
use super::vectors::check_rows;
use crate::error::{Error, Result};

/// Makes an index list by list.
pub(super) struct TextListsBuilder {
    index: TextIndex,
    blocks: BlocksBuilder,
}

impl TextListsBuilder {
    /// An index of `rows` rows. `lengths` has those with text, ascending and below `rows`.
    pub(super) fn new(rows: u32, lengths: &[(u32, u32)]) -> TextListsBuilder {
        let mut index = TextIndex { lengths: vec![0; rows as usize], ..TextIndex::default() };
        for (row, length) in lengths {
            index.lengths[*row as usize] = *length;
            index.tokens += u64::from(*length);
            index.documents.insert(*row);
        }
        TextListsBuilder { index, blocks: BlocksBuilder::default() }
    }

    /// Appends the (row, frequency) postings of a term. No term if there are none.
    ///
    /// # Errors
    /// `Limit`: the terms are too long together.
    pub(super) fn list(&mut self, term: &str, list: &[(u32, u32)]) -> Result<()> {
        if list.is_empty() {
            return Ok(());
        }
        self.index.dictionary.push(term).ok_or_else(too_much_text)?;
        self.blocks.list(list.iter().map(|(row, _)| *row));
        for (_, frequency) in list {
            let byte = u8::try_from(*frequency).unwrap_or(LARGE);
            if byte == LARGE {
                self.index.large_frequencies.push((self.index.frequencies.len() as u32, *frequency));
            }
            self.index.frequencies.push(byte);
        }
        Ok(())
    }

    /// The index.
    pub(super) fn finish(self) -> TextIndex {
        let mut index = self.index;
        index.blocks = self.blocks.finish();
        let bounds = |block: usize| {
            let first = index.blocks.block_rows[block];
            let postings = index.blocks.postings_of(block).map(|posting| {
                let row = first + u32::from(index.blocks.rows[posting]);
                (index.frequency(posting), index.lengths[row as usize])
            });
            postings.fold((0, u32::MAX), |(most, least), (f, length)| (most.max(f), least.min(length)))
        };
        index.block_bounds = (0..index.blocks.block_rows.len()).map(bounds).collect();
        index.dictionary.shrink();
        index.frequencies.shrink_to_fit();
        index.large_frequencies.shrink_to_fit();
        index
    }
}

impl TextIndex {
    /// One index of several, without reading texts again. `parts` are indexes with, per old row, the new one or
    /// [`super::DROPPED`]; no two rows may become the same. The new chunk has `rows` rows.
    ///
    /// # Errors
    /// `Internal`: a new row is not below `rows`, or named twice. `Limit`: the terms are too long together.
    pub fn merge(parts: &[(&TextIndex, &[u32])], rows: u32) -> Result<TextIndex> {
        let mut lengths = Vec::new();
        for (part, mapping) in parts {
            let moved = part
                .documents
                .iter()
                .filter_map(|row| Some((mapped(mapping, row)?, part.lengths.get(row as usize).copied()?)));
            lengths.extend(moved);
        }
        lengths.sort_unstable();
        check_rows(&lengths, rows)?;
        let mut builder = TextListsBuilder::new(rows, &lengths);
        let mut next = vec![0usize; parts.len()];
        let mut list = Vec::new();
        while let Some(term) = least_term(parts, &next) {
            list.clear();
            for ((part, mapping), next) in parts.iter().zip(&mut next) {
                if *next < part.terms() && part.dictionary.term(*next) == term {
                    let postings = part.blocks.postings(part.blocks.blocks_of(*next));
                    list.extend(postings.filter_map(|(row, at)| Some((mapped(mapping, row)?, part.frequency(at)))));
                    *next += 1;
                }
            }
            list.sort_unstable();
            if !list.is_sorted_by(|(a, _), (b, _)| a < b) {
                return Err(Error::internal("two rows of an inverted index become the same row"));
            }
            builder.list(term, &list)?;
        }
        Ok(builder.finish())
    }
}

/// The first of the parts' next terms.
fn least_term<'a>(parts: &[(&'a TextIndex, &[u32])], next: &[usize]) -> Option<&'a str> {
    let terms = parts.iter().zip(next).filter(|((part, _), next)| **next < part.terms());
    terms.map(|((part, _), next)| part.dictionary.term(*next)).min()
}
