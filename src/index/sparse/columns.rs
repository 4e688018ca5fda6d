//! Columns: for each term that many rows have, a byte per row that bounds what the term adds to the row's score. The
//! bytes of adjacent rows are added up by the register where postings are added up one by one, and what a row has is
//! known without a search. They are made in memory and not stored.
//! Invariant: code 0 says that the row lacks the term; of code c, the contribution is at most c units of the column and
//! at least c − 1, but for rounding.

use std::ops::Range;

use crate::format::inverted::Blocks;

/// A term has a column if one row in so many has it.
const ROWS_PER_POSTING: usize = 8;
/// An index of fewer rows is evaluated without columns: a collection has several then, and what each search has to make
/// ready in every one of them costs more than columns spare it. Tests have small ones.
const FEW_ROWS: usize = if cfg!(test) { 512 } else { 1 << 16 };
/// How many steps codes make from nothing to the largest contribution. One less than a byte has: a code is rounded up
/// to the next, which rounding may take one further.
pub(super) const STEPS: f32 = 254.0;

/// Whether an index of so many rows is evaluated by columns.
pub(super) fn columns_pay(rows: usize) -> bool {
    rows >= FEW_ROWS
}

/// The columns of an index.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ImpactColumns {
    /// Those of these terms, which ascend.
    terms: Vec<u32>,
    /// Per column: what a code counts for a weight of 1, and the largest code.
    units: Vec<(f32, u8)>,
    /// Per column, the codes of all rows.
    codes: Vec<u8>,
    rows: usize,
}

/// The column of a query's term.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImpactColumn<'a> {
    pub(super) codes: &'a [u8],
    /// What a code counts, with the term's weight.
    pub(super) unit: f32,
    /// The largest code.
    most: u8,
}

impl ImpactColumn<'_> {
    /// Whether a row has the term.
    #[inline]
    pub(super) fn has(&self, row: u32) -> bool {
        self.codes.get(row as usize).is_some_and(|code| *code > 0)
    }

    /// The most that the term adds to a row.
    #[inline]
    pub(super) fn bound_of(&self, row: u32) -> f32 {
        self.codes.get(row as usize).map_or(0.0, |code| f32::from(*code) * self.unit)
    }

    /// The least that it adds if contributions are all of what codes say.
    #[inline]
    pub(super) fn least_of(&self, row: u32) -> f32 {
        self.codes.get(row as usize).map_or(0.0, |code| f32::from(code.saturating_sub(1)) * self.unit)
    }

    /// The most that the term adds to any row.
    pub(super) fn bound(&self) -> f32 {
        f32::from(self.most) * self.unit
    }
}

impl ImpactColumns {
    /// The columns of an index of `rows` rows. `unit` is told the blocks of a term and says what a code counts in its
    /// column; `None`: it has none. `units` says how many that are for a row and a posting, at most [`STEPS`].
    pub(super) fn new(
        blocks: &Blocks,
        rows: usize,
        unit: impl Fn(Range<usize>) -> Option<f32>,
        units: impl Fn(u32, usize, f32) -> f32,
    ) -> ImpactColumns {
        let mut columns = ImpactColumns { rows, ..ImpactColumns::default() };
        if !columns_pay(rows) {
            return columns;
        }
        for term in 0..blocks.term_blocks.len().saturating_sub(1) {
            let range = blocks.blocks_of(term);
            if (blocks.postings_in(&range) as usize) < rows / ROWS_PER_POSTING {
                continue;
            }
            let Some(unit) = unit(range.clone()) else { continue };
            let start = columns.codes.len();
            columns.codes.resize(start + rows, 0);
            let codes = &mut columns.codes[start..];
            let mut most = 0;
            for (row, posting) in blocks.postings(range) {
                let code = (units(row, posting, unit) as u8).saturating_add(1);
                codes[row as usize] = code;
                most = code.max(most);
            }
            columns.terms.push(term as u32);
            columns.units.push((unit, most));
        }
        columns.codes.shrink_to_fit();
        columns
    }

    /// Bytes on the heap.
    pub(super) fn size_bytes(&self) -> usize {
        let words = self.terms.capacity() * size_of::<u32>() + self.units.capacity() * size_of::<(f32, u8)>();
        self.codes.capacity() + words
    }
}

/// Columns as a query reads them.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryColumns<'a> {
    pub(super) columns: &'a ImpactColumns,
    /// What a unit counts in this query.
    pub(super) scale: f32,
    /// The part of what columns say that contributions are at least, but for a unit each.
    pub(super) keep: f32,
}

impl<'a> QueryColumns<'a> {
    /// The column of a term with a weight, if it has one. Weights below 0 have none.
    pub(super) fn of(&self, term: usize, weight: f32) -> Option<ImpactColumn<'a>> {
        let ImpactColumns { terms, units, codes, rows } = self.columns;
        let at = terms.binary_search(&(term as u32)).ok().filter(|_| weight >= 0.0)?;
        let (unit, most) = *units.get(at)?;
        Some(ImpactColumn { codes: codes.get(at * rows..(at + 1) * rows)?, unit: unit * weight * self.scale, most })
    }
}
