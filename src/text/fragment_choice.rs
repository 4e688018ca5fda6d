//! Which parts of a document are shown: windows of a length over the words that were found, the best ones first, widened
//! to what fits and cut between words.
//! Invariant: parts ascend, do not overlap, and hold each of their words whole. The work is in proportion to the document
//! and to n log n of its words.

use std::cmp::Reverse;
use std::ops::Range;

use unicode_segmentation::GraphemeCursor;

use super::fragments::{Fragment, HighlightSettings};
use super::matching::WordHit;
use super::word_characters::{is_extension, is_spaceless, is_word};

/// A word that was found.
struct MarkedWord {
    bytes: Range<usize>,
    /// Its place in code points.
    chars: Range<usize>,
    clause: usize,
}

/// Marks that fit into one fragment.
struct Window {
    /// From the first mark's beginning to the last one's end, in bytes.
    bytes: Range<usize>,
    /// Its length in code points.
    chars: usize,
    marks: usize,
    clauses: usize,
}

/// The best fragments of a document, in its order. `hits` are in its order, too.
pub(super) fn choose(document: &str, hits: &[WordHit], settings: &HighlightSettings) -> Vec<Fragment> {
    let marks = marks(document, hits);
    if document.chars().nth(settings.length).is_none() {
        return vec![fragment(0..document.len(), &marks)];
    }
    if marks.is_empty() {
        let most = forward(document, 0, settings.length);
        // A text of one long word is cut inside it.
        let end = Some(end_border(document, 0..most)).filter(|end| *end > 0);
        return vec![fragment(0..end.unwrap_or_else(|| back_to_character(document, most)), &marks)];
    }
    let mut windows = windows(&marks, settings.length);
    windows.sort_by_key(|window| (Reverse((window.clauses, window.marks)), window.bytes.start));
    let mut chosen: Vec<Range<usize>> = Vec::new();
    for window in windows {
        if chosen.len() == settings.fragments {
            break;
        }
        let core = &window.bytes;
        if chosen.iter().any(|part| part.start < core.end && core.start < part.end) {
            continue;
        }
        // As much before the words as behind them, or more where the other side has less.
        let spare = settings.length.saturating_sub(window.chars);
        let before = document.get(..core.start).unwrap_or_default().chars().rev().take(spare).count();
        let behind = document.get(core.end..).unwrap_or_default().chars().take(spare).count();
        let before = before.min((spare / 2).max(spare - behind));
        let start = backward(document, core.start, before);
        let end = forward(document, core.end, spare - before);
        let start = chosen.iter().map(|part| part.end).filter(|end| *end <= core.start).fold(start, usize::max);
        let end = chosen.iter().map(|part| part.start).filter(|start| *start >= core.end).fold(end, usize::min);
        chosen.push(start_border(document, start..core.start)..end_border(document, core.end..end));
    }
    chosen.sort_by_key(|part| part.start);
    chosen.into_iter().map(|part| fragment(part, &marks)).collect()
}

/// The words that were found, with their places in code points. They grow to whole characters: a word of `chroma_bm25`
/// ends before an accent.
fn marks(document: &str, hits: &[WordHit]) -> Vec<MarkedWord> {
    let (mut bytes_before, mut chars_before) = (0, 0);
    let mut place = |at: usize| {
        // Words overlap where they are pairs of characters, so a beginning may lie before the last end.
        let between = |from: usize, to: usize| document.get(from..to).unwrap_or_default().chars().count();
        if at >= bytes_before {
            chars_before += between(bytes_before, at);
        } else {
            chars_before -= between(at, bytes_before);
        }
        bytes_before = at;
        chars_before
    };
    let mark = |hit: &WordHit| {
        let bytes = back_to_character(document, hit.bytes.start)..on_to_character(document, hit.bytes.end);
        MarkedWord { chars: place(bytes.start)..place(bytes.end), bytes, clause: hit.clause }
    };
    hits.iter().map(mark).collect()
}

/// For each mark, the window that begins with it.
fn windows(marks: &[MarkedWord], length: usize) -> Vec<Window> {
    let mut counts = vec![0usize; marks.iter().map(|mark| mark.clause + 1).max().unwrap_or_default()];
    let (mut clauses, mut end) = (0, 0);
    let mut windows: Vec<Window> = Vec::new();
    for (start, first) in marks.iter().enumerate() {
        while let Some(mark) =
            marks.get(end).filter(|mark| end == start || mark.chars.end - first.chars.start <= length)
        {
            if let Some(count) = counts.get_mut(mark.clause) {
                clauses += usize::from(*count == 0);
                *count += 1;
            }
            end += 1;
        }
        let last = marks.get(start..end).unwrap_or_default().iter().max_by_key(|mark| mark.bytes.end);
        if let Some(last) = last {
            let chars = last.chars.end - first.chars.start;
            windows.push(Window { bytes: first.bytes.start..last.bytes.end, chars, marks: end - start, clauses });
        }
        if let Some(count) = counts.get_mut(first.clause) {
            *count -= 1;
            clauses -= usize::from(*count == 0);
        }
    }
    windows
}

fn fragment(bytes: Range<usize>, marks: &[MarkedWord]) -> Fragment {
    let first = marks.partition_point(|mark| mark.bytes.start < bytes.start);
    let inside = marks.get(first..).unwrap_or_default().iter().take_while(|mark| mark.bytes.start < bytes.end);
    let mut shown: Vec<Range<usize>> = Vec::new();
    let mut clauses: Vec<usize> = Vec::new();
    for mark in inside.filter(|mark| mark.bytes.end <= bytes.end) {
        clauses.push(mark.clause);
        match shown.last_mut() {
            Some(last) if mark.bytes.start < last.end => last.end = last.end.max(mark.bytes.end),
            _ => shown.push(mark.bytes.clone()),
        }
    }
    clauses.sort_unstable();
    clauses.dedup();
    Fragment { bytes, marks: shown, clauses: clauses.len() }
}

/// The place `count` code points behind `at`, or the end.
fn forward(text: &str, at: usize, count: usize) -> usize {
    let mut rest = text.get(at..).unwrap_or_default().char_indices();
    rest.nth(count).map_or(text.len(), |(offset, _)| at + offset)
}

/// The place `count` code points before `at`, or the beginning.
fn backward(text: &str, at: usize, count: usize) -> usize {
    let mut rest = text.get(..at).unwrap_or_default().char_indices().rev();
    count.checked_sub(1).map_or(at, |last| rest.nth(last).map_or(0, |(start, _)| start))
}

/// Where a fragment may begin, as early as possible in `range`: at its end, if nowhere before.
fn start_border(text: &str, range: Range<usize>) -> usize {
    let inside = text.get(range.clone()).unwrap_or_default();
    let mut places = inside.char_indices().map(|(at, _)| range.start + at);
    let is_space = |at: usize| text.get(at..).is_some_and(|rest| rest.starts_with(char::is_whitespace));
    places.find(|at| is_border(text, *at) && !is_space(*at)).unwrap_or(range.end)
}

/// Where a fragment may end, as late as possible in `range`: at its beginning, if nowhere behind.
fn end_border(text: &str, range: Range<usize>) -> usize {
    let inside = text.get(range.clone()).unwrap_or_default();
    let mut places = inside.char_indices().rev().map(|(at, c)| range.start + at + c.len_utf8());
    let is_space = |at: usize| text.get(..at).is_some_and(|before| before.ends_with(char::is_whitespace));
    places.find(|at| is_border(text, *at) && !is_space(*at)).unwrap_or(range.start)
}

/// Whether a text may be cut here: between characters, and not inside a word.
fn is_border(text: &str, at: usize) -> bool {
    let joins = |c: char| (is_word(c) || is_extension(c) || c == '\'' || c == '\u{2019}') && !is_spaceless(c);
    let before = text.get(..at).and_then(|before| before.chars().next_back());
    let behind = text.get(at..).and_then(|behind| behind.chars().next());
    !(before.is_some_and(joins) && behind.is_some_and(joins)) && is_character(text, at)
}

/// Whether a character as readers see it begins here, or the text ends.
fn is_character(text: &str, at: usize) -> bool {
    GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0).unwrap_or(true)
}

fn back_to_character(text: &str, at: usize) -> usize {
    if is_character(text, at) {
        return at;
    }
    GraphemeCursor::new(at, text.len(), true).prev_boundary(text, 0).ok().flatten().unwrap_or(0)
}

fn on_to_character(text: &str, at: usize) -> usize {
    if is_character(text, at) {
        return at;
    }
    GraphemeCursor::new(at, text.len(), true).next_boundary(text, 0).ok().flatten().unwrap_or(text.len())
}
