//! Makes text indexes list by list, from sorted postings or from older indexes. Invariant: lists are appended in the
//! order of their terms, rows ascending.

use roaring::RoaringBitmap;

use super::blocks::{BlocksBuilder, shrunk};
use super::dictionary::DictionaryBuilder;
use super::gather::MergePart;
use super::text::{TextIndex, too_much_text};
use super::vectors::{check_rows, incoherent};
use crate::error::{Error, Result};
use crate::format::inverted::{LARGE_FREQUENCY, TextColumns, TextLists};

/// Makes an index list by list. The fields are those of [`TextLists`].
pub(super) struct TextListsBuilder {
    terms: DictionaryBuilder,
    blocks: BlocksBuilder,
    frequencies: Vec<u8>,
    large_postings: Vec<u32>,
    large_frequencies: Vec<u32>,
    lengths: Vec<u32>,
    documents: RoaringBitmap,
}

impl TextListsBuilder {
    /// An index of `rows` rows. `lengths` has those with text, ascending and below `rows`.
    pub(super) fn new(rows: u32, lengths: &[(u32, u32)]) -> TextListsBuilder {
        let mut all = vec![0; rows as usize];
        lengths.iter().for_each(|(row, length)| all[*row as usize] = *length);
        TextListsBuilder {
            terms: DictionaryBuilder::default(),
            blocks: BlocksBuilder::default(),
            frequencies: Vec::new(),
            large_postings: Vec::new(),
            large_frequencies: Vec::new(),
            lengths: all,
            documents: lengths.iter().map(|(row, _)| *row).collect(),
        }
    }

    /// Appends the (row, frequency) postings of a term. No term if there are none.
    ///
    /// # Errors
    /// `Limit`: the terms are too long together.
    pub(super) fn list(&mut self, term: &str, list: &[(u32, u32)]) -> Result<()> {
        if list.is_empty() {
            return Ok(());
        }
        self.terms.push(term).ok_or_else(too_much_text)?;
        self.blocks.list(list.iter().map(|(row, _)| *row));
        for (_, frequency) in list {
            let byte = u8::try_from(*frequency).unwrap_or(LARGE_FREQUENCY);
            if byte == LARGE_FREQUENCY {
                self.large_postings.push(self.frequencies.len() as u32);
                self.large_frequencies.push(*frequency);
            }
            self.frequencies.push(byte);
        }
        Ok(())
    }

    /// The index.
    ///
    /// # Errors
    /// `Internal`: the lists do not belong to the lengths.
    pub(super) fn finish(self) -> Result<TextIndex> {
        let lists = TextLists {
            terms: self.terms.finish()?,
            blocks: self.blocks.finish(),
            frequencies: shrunk(self.frequencies),
            large_postings: shrunk(self.large_postings),
            large_frequencies: shrunk(self.large_frequencies),
            lengths: shrunk(self.lengths),
            documents: self.documents,
        };
        TextColumns::checked(lists).map(TextIndex::from_columns).map_err(incoherent)
    }
}

impl TextIndex {
    /// One index of several, without reading texts again. No two rows may become the same. The new index has `rows`
    /// rows.
    ///
    /// # Errors
    /// `Internal`: a new row is not below `rows`, or named twice. `Limit`: the terms are too long together.
    pub fn merge(parts: &[MergePart<'_, TextIndex>], rows: u32) -> Result<TextIndex> {
        let mut lengths = Vec::new();
        for part in parts {
            let lists = part.index.lists();
            let length = |row: u32| lists.lengths.get(row as usize).copied();
            let moved = lists.documents.range(part.span());
            lengths.extend(moved.filter_map(|row| Some((part.mapped(row)?, length(row)?))));
        }
        lengths.sort_unstable();
        check_rows(&lengths, rows)?;
        let mut builder = TextListsBuilder::new(rows, &lengths);
        // Only terms of which a run has postings are gone to: a run may be a small part of its index.
        let term_from = |part: &MergePart<'_, TextIndex>, from: usize| {
            part.index.lists().blocks.next_term_between(from, &part.span()).unwrap_or(part.index.terms())
        };
        let mut next: Vec<usize> = parts.iter().map(|part| term_from(part, 0)).collect();
        let mut list = Vec::new();
        while let Some(term) = least_term(parts, &next) {
            list.clear();
            for (part, next) in parts.iter().zip(&mut next) {
                let (lists, blocks) = (part.index.lists(), &part.index.lists().blocks);
                if *next < part.index.terms() && lists.dictionary().term(*next) == term {
                    let postings = blocks.postings_between(&blocks.blocks_of(*next), part.span());
                    list.extend(postings.filter_map(|(row, at)| Some((part.mapped(row)?, lists.frequency(at)))));
                    *next = term_from(part, *next + 1);
                }
            }
            list.sort_unstable();
            if !list.is_sorted_by(|(a, _), (b, _)| a < b) {
                return Err(Error::internal("two rows of an inverted index become the same row"));
            }
            builder.list(term, &list)?;
        }
        builder.finish()
    }
}

/// The first of the parts' next terms.
fn least_term<'a>(parts: &[MergePart<'a, TextIndex>], next: &[usize]) -> Option<&'a str> {
    let terms = parts.iter().zip(next).filter(|(part, next)| **next < part.index.terms());
    terms.map(|(part, next)| part.index.lists().dictionary().term(*next)).min()
}
