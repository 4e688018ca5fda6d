//! The places of words in a text, by two rules. `chroma_bm25`: runs of `\w`. Unicode: the words of UAX #29, and runs of
//! letters of a script without spaces as overlapping pairs of characters.
//! Invariant: places are on character boundaries, in order, and not empty; positions count words, and characters where
//! there are no spaces. Memory does not grow with the text.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::word_characters::{is_extension, is_spaceless, is_word};

/// A word's place.
pub(super) struct WordPlace {
    /// In bytes of the text.
    pub bytes: Range<usize>,
    /// Words before it, of those too that an analyser leaves out.
    pub position: u32,
}

/// The end of the characters from `at` on that are in words, or that are not, as `wanted` says.
fn end_of(text: &str, mut at: usize, wanted: bool) -> usize {
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        let (is, length) = if byte.is_ascii() {
            (byte.is_ascii_alphanumeric() || *byte == b'_', 1)
        } else {
            let c = text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or_default();
            (is_word(c), c.len_utf8())
        };
        if is != wanted {
            break;
        }
        at += length;
    }
    at
}

/// The runs of `\w`.
pub(super) fn cut_at_other_characters(text: &str, mut found: impl FnMut(WordPlace)) {
    let mut end = 0;
    for position in 0.. {
        let start = end_of(text, end, false);
        end = end_of(text, start, true);
        if start == end {
            return;
        }
        found(WordPlace { bytes: start..end, position });
    }
}

/// The words of UAX #29, and pairs of characters where there are no spaces.
pub(super) fn cut_by_unicode(text: &str, mut found: impl FnMut(WordPlace)) {
    let (mut start, mut position) = (0, 0);
    while start < text.len() {
        let end = spaceless_from(text, start);
        let stretch = text.get(start..end).unwrap_or_default();
        for (at, word) in stretch.unicode_word_indices() {
            found(WordPlace { bytes: start + at..start + at + word.len(), position });
            position += 1;
        }
        start = pair(text, end, &mut position, &mut found);
    }
}

/// The first letter of a script without spaces, at or behind `start`; the text's end if there is none.
fn spaceless_from(text: &str, start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    rest.find(is_spaceless).map_or(text.len(), |at| start + at)
}

/// Gives pairs of the characters that have no spaces between them, or the one if it is alone. Returns their end.
fn pair(text: &str, start: usize, position: &mut u32, found: &mut impl FnMut(WordPlace)) -> usize {
    let (mut first, mut last) = (start, start);
    let mut end = start;
    let mut count = 0;
    for c in text.get(start..).unwrap_or_default().chars() {
        let extends = count > 0 && is_extension(c);
        if !extends && !is_spaceless(c) {
            break;
        }
        if !extends {
            if count > 1 {
                found(WordPlace { bytes: first..end, position: *position });
                *position += 1;
            }
            (first, last) = (last, end);
            count += 1;
        }
        end += c.len_utf8();
    }
    if count > 0 {
        found(WordPlace { bytes: first..end, position: *position });
        *position += count.min(2);
    }
    end
}
