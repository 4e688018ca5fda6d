//! The rules that columns must keep: each broken one is named, and no others are asked for than those of a plain check,
//! posting by posting.

use std::collections::BTreeMap;

use arrow::array::Array;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::inverted_tests::{empty_vectors, message, texts, vectors};
use super::*;

#[test]
fn text_columns_that_do_not_hold_together_are_refused() {
    type Change = fn(&mut TextLists);
    let changes: [(&str, Change); 28] = [
        ("not one of 4 rows", |l| l.lengths = vec![3, 0, 0, 301].into()),
        ("do not ascend at \"b\"", |l| l.terms = vec!["b", "b", "日本"].into()),
        ("do not ascend at \"b\"", |l| l.terms = vec!["c", "b", "日本"].into()),
        ("a term is null", |l| l.terms = vec![Some("a"), None, Some("b")].into()),
        ("2 terms have 4 offsets", |l| l.terms = vec!["a", "b"].into()),
        ("offsets of terms", |l| l.blocks.term_blocks = vec![0, 2, 2, 4].into()),
        ("offsets of terms", |l| l.blocks.term_blocks = vec![0, 3, 2, 4].into()),
        ("offsets of terms", |l| l.blocks.term_blocks = vec![1, 2, 3, 4].into()),
        ("offsets of terms", |l| l.blocks.term_blocks = vec![0, 2, 3, 5].into()),
        ("4 blocks have 4 offsets", |l| l.blocks.block_postings = vec![0, 1, 2, 5].into()),
        ("offsets of blocks", |l| l.blocks.block_postings = vec![0, 1, 1, 4, 5].into()),
        ("offsets of blocks", |l| l.blocks.block_postings = vec![0, 1, 2, 4, 6].into()),
        ("distances", |l| l.blocks.rows = vec![0, 0, 1, 3, 0].into()),
        ("distances", |l| l.blocks.rows = vec![0, 0, 0, 0, 0].into()),
        ("rows of term 0", |l| l.blocks.block_rows = vec![4, 4, 0, 3].into()),
        ("rows of term 0", |l| l.blocks.block_rows = vec![0, 0, 0, 3].into()),
        ("rows of term 1", |l| l.blocks.block_rows = vec![0, 4, 2, 3].into()),
        ("rows of term 2", |l| l.blocks.block_rows = vec![0, 4, 0, u32::MAX].into()),
        ("each of 5 postings, got 4", |l| l.frequencies = vec![2, 1, 1, 1].into()),
        ("frequency 0", |l| l.frequencies = vec![2, 1, 0, 1, 255].into()),
        ("large frequencies", |l| l.frequencies = vec![2, 1, 1, 255, 255].into()),
        ("large frequencies", |l| l.frequencies = vec![2, 1, 1, 255, 1].into()),
        ("large frequencies", |l| l.large_postings = vec![5].into()),
        ("large frequencies", |l| (l.large_postings, l.large_frequencies) = (vec![4, 4].into(), vec![300, 300].into())),
        ("large frequencies", |l| l.large_frequencies = vec![254].into()),
        ("row 3 has 301 tokens, but frequencies of 302", |l| l.large_frequencies = vec![301].into()),
        ("row 1 has 1 tokens, but frequencies of 0", |l| l.lengths = vec![3, 1, 0, 301, 1].into()),
        ("row 4 has 1 tokens, but no text", |l| l.documents = [0, 2, 3].into_iter().collect()),
    ];
    for (expected, change) in changes {
        let mut lists = texts();
        change(&mut lists);
        let said = message(TextColumns::checked(lists));
        assert!(said.contains(expected), "expected {expected:?}, got {said:?}");
    }
}

#[test]
fn columns_of_vectors_that_do_not_hold_together_are_refused() {
    type Change = fn(&mut SparseLists);
    let changes: [(&str, Change); 8] = [
        ("dimensions do not ascend", |l| l.dimensions = vec![7, 7].into()),
        ("1 terms have 3 offsets", |l| l.dimensions = vec![7].into()),
        ("rows of term 1", |l| l.rows = 5),
        ("each of 5 postings, got 6", |l| l.weights = vec![0.0; 6].into()),
        ("not finite", |l| l.weights = vec![0.5, 0.0, f32::NAN, 1.0, 1.0].into()),
        ("not finite", |l| l.weights = vec![0.5, 0.0, 1.0, 1.0, f32::NEG_INFINITY].into()),
        ("distances", |l| l.blocks.rows = vec![0, 2, 0, 0, 0].into()),
        ("a block has 129 postings", |l| {
            *l = SparseLists { rows: 200, dimensions: vec![1].into(), ..empty_vectors(200) };
            l.blocks.term_blocks = vec![0, 1].into();
            l.blocks.block_postings = vec![0, 129].into();
            l.blocks.block_rows = vec![0].into();
            l.blocks.rows = (0..129).collect::<Vec<u16>>().into();
            l.weights = vec![1.0; 129].into();
        }),
    ];
    for (expected, change) in changes {
        let mut lists = vectors();
        change(&mut lists);
        let said = message(SparseColumns::checked(lists));
        assert!(said.contains(expected), "expected {expected:?}, got {said:?}");
    }
}

/// The rows of each term with what they carry, posting by posting; `None` if a rule is broken.
fn expand<T: Copy>(blocks: &Blocks, (terms, rows): (usize, u32), values: &[T]) -> Option<Vec<Vec<(u32, T)>>> {
    let list = |offsets: &[u32], i: usize| Some((*offsets.get(i)?, *offsets.get(i + 1)?));
    let (mut all, mut next_block, mut next_posting) = (Vec::new(), 0, 0);
    for term in 0..terms {
        let (start, end) = list(&blocks.term_blocks, term)?;
        (start == next_block && end > start).then_some(())?;
        let mut postings: Vec<(u32, T)> = Vec::new();
        for block in start..end {
            let (first, past) = list(&blocks.block_postings, block as usize)?;
            (first == next_posting && past > first && past - first <= 128).then_some(())?;
            for posting in first..past {
                let distance = u32::from(*blocks.rows.get(posting as usize)?);
                (posting > first || distance == 0).then_some(())?;
                let row = blocks.block_rows.get(block as usize)?.checked_add(distance)?;
                (row < rows && postings.last().is_none_or(|(last, _)| *last < row)).then_some(())?;
                postings.push((row, *values.get(posting as usize)?));
            }
            next_posting = past;
        }
        next_block = end;
        all.push(postings);
    }
    let lengths = blocks.term_blocks.len() == terms + 1
        && blocks.block_rows.len() == next_block as usize
        && blocks.block_postings.len() == next_block as usize + 1
        && blocks.block_postings[0] == 0
        && blocks.term_blocks[0] == 0
        && blocks.rows.len() == next_posting as usize
        && values.len() == next_posting as usize;
    lengths.then_some(all)
}

pub(super) fn is_sound_text(lists: &TextLists) -> bool {
    let rows = lists.lengths.len() as u32;
    let mut large: BTreeMap<u32, u32> = BTreeMap::new();
    let pairs = lists.large_postings.iter().zip(lists.large_frequencies.iter());
    large.extend(pairs.map(|(posting, frequency)| (*posting, *frequency)));
    let named = lists.large_postings.to_vec() == large.keys().copied().collect::<Vec<_>>();
    let mut frequencies = Vec::new();
    for (posting, byte) in (0..).zip(lists.frequencies.iter()) {
        match (*byte, large.remove(&posting)) {
            (1..=254, None) => frequencies.push(u32::from(*byte)),
            (255, Some(frequency)) if frequency >= 255 => frequencies.push(frequency),
            _ => return false,
        }
    }
    let Some(all) = expand(&lists.blocks, (lists.terms.len(), rows), &frequencies) else { return false };
    let mut tokens = vec![0u64; rows as usize];
    all.iter().flatten().for_each(|(row, frequency)| tokens[*row as usize] += u64::from(*frequency));
    let terms: Vec<&str> = lists.terms.iter().flatten().collect();
    named
        && large.is_empty()
        && lists.large_postings.len() == lists.large_frequencies.len()
        && tokens == lists.lengths.iter().map(|length| u64::from(*length)).collect::<Vec<_>>()
        && (0..rows).all(|row| lists.documents.contains(row) || lists.lengths[row as usize] == 0)
        && terms.windows(2).all(|pair| pair[0] < pair[1])
}

pub(super) fn is_sound_vectors(lists: &SparseLists) -> bool {
    let terms = lists.dimensions.len();
    expand(&lists.blocks, (terms, lists.rows), &lists.weights).is_some()
        && lists.rows as usize <= MAX_PART_ROWS
        && lists.dimensions.windows(2).all(|pair| pair[0] < pair[1])
        && lists.weights.iter().all(|weight| weight.is_finite())
}

/// Changes one value, or the length, of a column.
fn change<T: arrow::datatypes::ArrowNativeType>(
    rng: &mut StdRng,
    column: &mut ScalarBuffer<T>,
    value: impl Fn(&mut StdRng, T) -> T,
) {
    let mut values = column.to_vec();
    match rng.random_range(0..12) {
        0 => _ = values.pop(),
        1 => values.push(value(rng, T::default())),
        2 if values.len() > 1 => {
            let (a, b) = (rng.random_range(0..values.len()), rng.random_range(0..values.len()));
            values.swap(a, b);
        }
        _ if !values.is_empty() => {
            let at = rng.random_range(0..values.len());
            values[at] = value(rng, values[at]);
        }
        _ => {}
    }
    *column = values.into();
}

fn word(rng: &mut StdRng, old: u32) -> u32 {
    match rng.random_range(0..6) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => rng.random_range(0..8),
        3 => rng.random_range(250..310),
        4 => u32::MAX - rng.random_range(0..3),
        _ => 1 << rng.random_range(0..32),
    }
}

fn change_blocks(rng: &mut StdRng, blocks: &mut Blocks) {
    match rng.random_range(0..4) {
        0 => change(rng, &mut blocks.term_blocks, word),
        1 => change(rng, &mut blocks.block_postings, word),
        2 => change(rng, &mut blocks.block_rows, word),
        _ => change(rng, &mut blocks.rows, |rng, old| word(rng, u32::from(old)) as u16),
    }
}

#[test]
fn checks_accept_exactly_the_texts_that_a_plain_check_accepts() {
    let seed = 15;
    let (rng, mut accepted, mut refused) = (&mut StdRng::seed_from_u64(seed), 0, 0);
    for _ in 0..50_000 {
        let mut lists = texts();
        for _ in 0..rng.random_range(1..4) {
            match rng.random_range(0..6) {
                0 => change(rng, &mut lists.frequencies, |rng, old| word(rng, u32::from(old)) as u8),
                1 => change(rng, &mut lists.large_postings, word),
                2 => change(rng, &mut lists.large_frequencies, word),
                3 => change(rng, &mut lists.lengths, word),
                4 => _ = lists.documents.remove(rng.random_range(0..5)),
                _ => change_blocks(rng, &mut lists.blocks),
            }
        }
        // The plain check counts rows by their lengths.
        lists.documents.remove_range(lists.lengths.len() as u32..);
        let sound = is_sound_text(&lists);
        *(if sound { &mut accepted } else { &mut refused }) += 1;
        assert_eq!(TextColumns::checked(lists.clone()).is_ok(), sound, "seed {seed}: {lists:?}");
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
}

#[test]
fn checks_accept_exactly_the_vectors_that_a_plain_check_accepts() {
    let seed = 16;
    let (rng, mut accepted, mut refused) = (&mut StdRng::seed_from_u64(seed), 0, 0);
    for _ in 0..50_000 {
        let mut lists = vectors();
        for _ in 0..rng.random_range(1..4) {
            match rng.random_range(0..4) {
                0 => change(rng, &mut lists.dimensions, word),
                1 => change(rng, &mut lists.weights, |rng, old| f32::from_bits(word(rng, old.to_bits()))),
                2 => lists.rows = rng.random_range(0..9),
                _ => change_blocks(rng, &mut lists.blocks),
            }
        }
        let sound = is_sound_vectors(&lists);
        *(if sound { &mut accepted } else { &mut refused }) += 1;
        assert_eq!(SparseColumns::checked(lists.clone()).is_ok(), sound, "seed {seed}: {lists:?}");
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
}

#[test]
fn a_distance_that_does_not_ascend_is_found_wherever_it_is_in_long_lists() {
    let count = 9000u32;
    let whole = SparseLists {
        rows: count,
        dimensions: vec![3].into(),
        blocks: Blocks {
            term_blocks: vec![0, count / 100].into(),
            block_postings: (0..=count).step_by(100).collect::<Vec<_>>().into(),
            block_rows: (0..count).step_by(100).collect::<Vec<_>>().into(),
            rows: (0..count).map(|i| (i % 100) as u16).collect::<Vec<_>>().into(),
        },
        weights: vec![1.0; count as usize].into(),
    };
    assert!(is_sound_vectors(&whole) && SparseColumns::checked(whole.clone()).is_ok());
    for at in (1..count as usize).filter(|at| at % 100 != 0) {
        let mut distances = whole.blocks.rows.to_vec();
        distances[at] = distances[at - 1];
        let blocks = Blocks { rows: distances.into(), ..whole.blocks.clone() };
        assert!(SparseColumns::checked(SparseLists { blocks, ..whole.clone() }).is_err(), "posting {at}");
    }
}
