//! What must hold of an inverted index before it is searched. Most loops are written without branches, so that they are
//! vectorised: they run over every posting.

use arrow::array::Array;

use super::{BLOCK_POSTINGS, Blocks, LARGE_FREQUENCY, SparseLists, TextLists, damaged};
use crate::format::FormatError;
use crate::format::arrow_file::beginning;

pub fn check_text(lists: &TextLists) -> Result<(), FormatError> {
    let Ok(rows) = u32::try_from(lists.lengths.len()) else {
        return damaged(format!("expected at most {} lengths, got {}", u32::MAX, lists.lengths.len()));
    };
    if lists.documents.max().is_some_and(|row| row >= rows) {
        return damaged(format!("a document is not one of {rows} rows"));
    }
    check_terms(lists)?;
    check_blocks(&lists.blocks, lists.terms.len(), rows)?;
    check_frequencies(lists)?;
    check_lengths(lists)
}

pub fn check_sparse(lists: &SparseLists) -> Result<(), FormatError> {
    if !ascends_strictly(&lists.dimensions) {
        return damaged("the dimensions do not ascend");
    }
    check_blocks(&lists.blocks, lists.dimensions.len(), lists.rows)?;
    let (weights, postings) = (lists.weights.len(), lists.blocks.rows.len());
    if weights != postings {
        return damaged(format!("expected a weight for each of {postings} postings, got {weights}"));
    }
    if !lists.weights.iter().fold(true, |all, weight| all & weight.is_finite()) {
        return damaged("a weight is not finite");
    }
    Ok(())
}

fn check_terms(lists: &TextLists) -> Result<(), FormatError> {
    let terms = &lists.terms;
    if terms.null_count() != 0 {
        return damaged("a term is null");
    }
    let mut terms = terms.iter().flatten();
    let Some(mut last) = terms.next() else { return Ok(()) };
    for term in terms {
        if last >= term {
            return damaged(format!("the terms do not ascend at {:?}", beginning(term)));
        }
        last = term;
    }
    Ok(())
}

/// Whether each value is above the one before.
fn ascends_strictly(values: &[u32]) -> bool {
    values.iter().zip(values.iter().skip(1)).fold(true, |all, (a, b)| all & (a < b))
}

/// Offsets begin at 0, end at `end`, and leave no list empty.
fn check_offsets(what: &str, offsets: &[u32], end: usize) -> Result<(), FormatError> {
    let ends = offsets.first() == Some(&0) && offsets.last().is_some_and(|last| usize::try_from(*last) == Ok(end));
    match ends && ascends_strictly(offsets) {
        true => Ok(()),
        false => damaged(format!("the {what} do not rise from 0 to {end}")),
    }
}

fn check_blocks(blocks: &Blocks, terms: usize, rows: u32) -> Result<(), FormatError> {
    let count = blocks.block_rows.len();
    for (what, found, expected) in
        [("terms", blocks.term_blocks.len(), terms), ("blocks", blocks.block_postings.len(), count)]
    {
        if Some(found) != expected.checked_add(1) {
            return damaged(format!("{expected} {what} have {found} offsets"));
        }
    }
    check_offsets("offsets of terms", &blocks.term_blocks, count)?;
    check_offsets("offsets of blocks", &blocks.block_postings, blocks.rows.len())?;
    let sizes = blocks.block_postings.iter().zip(blocks.block_postings.iter().skip(1)).map(|(start, end)| end - start);
    let largest = sizes.fold(0, u32::max) as usize;
    if largest > BLOCK_POSTINGS {
        return damaged(format!("a block has {largest} postings, more than {BLOCK_POSTINGS}"));
    }
    check_distances(blocks)?;
    check_rows(blocks, rows)
}

/// Distances begin at 0 in each block and ascend within it.
fn check_distances(blocks: &Blocks) -> Result<(), FormatError> {
    let distances = &blocks.rows;
    let starts = blocks.block_postings.iter().take(blocks.block_rows.len());
    let at_zero = starts.fold(true, |all, start| all & (distances.get(*start as usize) == Some(&0)));
    // A block that begins at 0 is a place where distances do not ascend. If there are as many such places as blocks
    // behind the first, there are no others.
    let falls = |chunk: &[u16], next: &[u16]| chunk.iter().zip(next).map(|(a, b)| u16::from(b <= a)).sum::<u16>();
    // In chunks whose count fits 16 bits, as the distances do.
    let next = distances.get(1..).unwrap_or_default();
    let pairs = distances.chunks(1 << 12).zip(next.chunks(1 << 12));
    let falls: usize = pairs.map(|(chunk, next)| usize::from(falls(chunk, next))).sum();
    match at_zero && falls == blocks.block_rows.len().saturating_sub(1) {
        true => Ok(()),
        false => damaged("the distances of a block do not ascend from 0"),
    }
}

/// The rows of a term ascend over its blocks and are below `rows`.
fn check_rows(blocks: &Blocks, rows: u32) -> Result<(), FormatError> {
    let ends = blocks.block_postings.iter().skip(1);
    let mut spans = blocks.block_rows.iter().zip(ends).map(|(first, end)| {
        let distance = (*end as usize).checked_sub(1).and_then(|last| blocks.rows.get(last)).copied().unwrap_or(0);
        (*first, first.checked_add(u32::from(distance)).unwrap_or(u32::MAX))
    });
    let counts = blocks.term_blocks.iter().zip(blocks.term_blocks.iter().skip(1)).map(|(start, end)| end - start);
    for (term, count) in counts.enumerate() {
        let mut least = 0;
        for (first, last) in spans.by_ref().take(count as usize) {
            if first < least || last >= rows {
                return damaged(format!("the rows of term {term} do not ascend, or not all are below {rows}"));
            }
            least = last + 1;
        }
    }
    Ok(())
}

/// Each posting has a frequency, and the large ones are exactly those that say so.
fn check_frequencies(lists: &TextLists) -> Result<(), FormatError> {
    let (found, postings) = (lists.frequencies.len(), lists.blocks.rows.len());
    if found != postings {
        return damaged(format!("expected a frequency for each of {postings} postings, got {found}"));
    }
    if memchr::memchr(0, &lists.frequencies).is_some() {
        return damaged("a posting has the frequency 0");
    }
    let large = memchr::memchr_iter(LARGE_FREQUENCY, &lists.frequencies).count();
    let named = |posting: &u32| lists.frequencies.get(*posting as usize) == Some(&LARGE_FREQUENCY);
    let right = lists.large_postings.len() == large
        && lists.large_frequencies.len() == large
        && ascends_strictly(&lists.large_postings)
        && lists.large_postings.iter().all(named)
        && lists.large_frequencies.iter().all(|frequency| *frequency >= u32::from(LARGE_FREQUENCY));
    match right {
        true => Ok(()),
        false => damaged(format!("the large frequencies are not those of the {large} postings that have one")),
    }
}

/// A row's length is the sum of its frequencies; a row that is no document has none.
fn check_lengths(lists: &TextLists) -> Result<(), FormatError> {
    let mut sums = vec![0u64; lists.lengths.len()];
    let blocks = &lists.blocks;
    let bounds = blocks.block_postings.iter().zip(blocks.block_postings.iter().skip(1));
    for (first, (start, end)) in blocks.block_rows.iter().zip(bounds) {
        let postings = *start as usize..*end as usize;
        let sums = sums.get_mut(*first as usize..).unwrap_or_default();
        let distances = blocks.rows.get(postings.clone()).unwrap_or_default();
        let frequencies = lists.frequencies.get(postings).unwrap_or_default();
        for (distance, frequency) in distances.iter().zip(frequencies) {
            if let Some(sum) = sums.get_mut(usize::from(*distance)) {
                *sum += u64::from(*frequency);
            }
        }
    }
    for (posting, frequency) in lists.large_postings.iter().zip(lists.large_frequencies.iter()) {
        let block = blocks.block_postings.partition_point(|start| start <= posting).saturating_sub(1);
        let distance = blocks.rows.get(*posting as usize).map_or(0, |distance| u32::from(*distance));
        let row = blocks.block_rows.get(block).map_or(0, |first| first + distance);
        if let Some(sum) = sums.get_mut(row as usize) {
            *sum += u64::from(*frequency - u32::from(LARGE_FREQUENCY));
        }
    }
    let wrong = sums.iter().zip(lists.lengths.iter()).position(|(sum, length)| *sum != u64::from(*length));
    if let Some(row) = wrong {
        let (sum, length) = (sums.get(row).copied().unwrap_or(0), lists.lengths.get(row).copied().unwrap_or(0));
        return damaged(format!("row {row} has {length} tokens, but frequencies of {sum}"));
    }
    let stray = |(row, length): (u32, &u32)| *length > 0 && !lists.documents.contains(row);
    match (0..).zip(lists.lengths.iter()).find(|row| stray(*row)) {
        Some((row, length)) => damaged(format!("row {row} has {length} tokens, but no text")),
        None => Ok(()),
    }
}
