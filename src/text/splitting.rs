//! How a long document is split into parts that are embedded and found one by one.
//! Invariants: every byte of a document but space around sentences is in a part; parts take at most twice the bytes of
//! their document; a kind of splitting that this version does not know is kept as it was stored, and never used.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use unicode_segmentation::UnicodeSegmentation;

use crate::error::{Error, Result};

/// The most sentences or tokens of a part.
const MOST_UNITS: usize = 1_000;
/// The most bytes of a sentence. What is longer, such as a table, counts as several, cut between words.
const SENTENCE_BYTES: usize = 1_000;
/// Bytes in which sentences are looked for at once.
const WINDOW_BYTES: usize = 2 * SENTENCE_BYTES;

/// How documents are split: into parts of so many sentences or tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Map<String, Value>", into = "Map<String, Value>")]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Splitting {
    /// What is counted.
    pub by: SplitUnit,
    /// How many sentences or tokens a part has.
    pub size: usize,
    /// How many of them the next part has again.
    pub overlap: usize,
}

/// What the size of a part counts.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub enum SplitUnit {
    /// Sentences, by the rules of Unicode.
    Sentences,
    /// Tokens of the collection's model. A part ends between two words where there is space in its second half.
    Tokens,
    /// A kind of a newer version, as it was stored.
    Other(Map<String, Value>),
}

impl Splitting {
    /// Parts of `size` sentences, of which the next part has `overlap` again.
    pub fn sentences(size: usize, overlap: usize) -> Splitting {
        Splitting { by: SplitUnit::Sentences, size, overlap }
    }

    /// Parts of `size` tokens, of which the next part has `overlap` again.
    pub fn tokens(size: usize, overlap: usize) -> Splitting {
        Splitting { by: SplitUnit::Tokens, size, overlap }
    }

    /// # Errors
    /// `Invalid` names the field that a new collection cannot have.
    pub(crate) fn check(&self) -> Result<()> {
        if let SplitUnit::Other(fields) = &self.by {
            let fault = read(fields).err().unwrap_or_else(|| "chunk: expected by, size and overlap".to_owned());
            return Err(Error::invalid(fault));
        }
        if !(1..=MOST_UNITS).contains(&self.size) {
            return Err(Error::invalid(format!("chunk.size: expected 1 to {MOST_UNITS}, got {}", self.size)));
        }
        match self.overlap > self.size / 2 {
            true => Err(Error::invalid(format!(
                "chunk.overlap: expected at most half of chunk.size, which is {}, got {}",
                self.size, self.overlap
            ))),
            false => Ok(()),
        }
    }

    /// The parts of a text, as ranges of its bytes: at least one. `token_ends` are the bytes behind its tokens, where
    /// tokens are counted.
    pub(crate) fn parts(&self, text: &str, token_ends: &[usize]) -> Vec<Range<usize>> {
        let mut parts = match self.by {
            SplitUnit::Tokens => self.windows(token_ends, |end| is_between_words(text, end)),
            SplitUnit::Sentences | SplitUnit::Other(_) => self.windows(&sentence_ends(text), |_| true),
        };
        // Bytes behind the last token belong to the last part.
        match parts.last_mut() {
            Some(last) => last.end = text.len(),
            None => parts.push(0..text.len()),
        }
        let mut parts: Vec<Range<usize>> = parts.into_iter().map(|part| trimmed(text, part)).collect();
        let first = parts.first().cloned().unwrap_or_default();
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() { vec![first] } else { parts }
    }

    /// Windows over units that end at `ends`: `size` of them, or fewer to end at a unit that `may_end` a window.
    fn windows(&self, ends: &[usize], may_end: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
        let end_of = |units: usize| units.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        let (size, mut first, mut windows) = (self.size.max(1), 0, Vec::new());
        while first < ends.len() {
            let full = (first + size).min(ends.len());
            let half = first + size / 2;
            let behind = match full == ends.len() {
                true => full,
                false => (half + 1..=full).rev().find(|units| may_end(end_of(*units))).unwrap_or(full),
            };
            windows.push(end_of(first)..end_of(behind));
            if behind == ends.len() {
                break;
            }
            // A window that ends early takes no more than half of it again.
            first = behind - self.overlap.min((behind - first) / 2);
        }
        windows
    }
}

/// Of each sentence, the byte behind it and the space that follows it. They are looked for in windows: Unicode's rules
/// look far ahead behind each full stop, so a text of them would take a time that grows by its square.
fn sentence_ends(text: &str) -> Vec<usize> {
    let (mut ends, mut start) = (Vec::new(), 0);
    while start < text.len() {
        let window_end = text.floor_char_boundary(start + WINDOW_BYTES);
        let window = text.get(start..window_end).unwrap_or_default();
        let mut found: Vec<usize> =
            window.split_sentence_bound_indices().map(|(at, sentence)| start + at + sentence.len()).collect();
        if window_end < text.len() && found.len() > 1 {
            // The last one may go on behind the window.
            found.pop();
        }
        let next = found.last().copied().unwrap_or(window_end);
        for end in found {
            end_sentence(text, start, end, &mut ends);
            start = end;
        }
        start = next;
    }
    ends
}

/// Notes a sentence. One that is too long counts as several; space alone, such as empty lines, belongs to the sentence
/// before.
fn end_sentence(text: &str, start: usize, end: usize, ends: &mut Vec<usize>) {
    let is_space = text.get(start..end).is_none_or(|sentence| sentence.trim().is_empty());
    if is_space && let Some(last) = ends.last_mut() {
        *last = end;
        return;
    }
    let mut from = start;
    while end - from > SENTENCE_BYTES {
        from = cut(text, from);
        ends.push(from);
    }
    ends.push(end);
}

/// The end of the longest piece of a sentence from `start`: behind its last space, if there is one.
fn cut(text: &str, start: usize) -> usize {
    let most = text.floor_char_boundary(start + SENTENCE_BYTES);
    let piece = text.get(start..most).unwrap_or_default();
    match piece.char_indices().rfind(|(_, c)| c.is_whitespace()) {
        Some((space, c)) => start + space + c.len_utf8(),
        None => most,
    }
}

fn is_between_words(text: &str, at: usize) -> bool {
    text.get(at..).is_none_or(|rest| rest.chars().next().is_none_or(char::is_whitespace))
}

fn trimmed(text: &str, part: Range<usize>) -> Range<usize> {
    // A token may end within a character where a model cuts bytes.
    let part = text.floor_char_boundary(part.start)..text.floor_char_boundary(part.end);
    let words = text.get(part.clone()).unwrap_or_default();
    let start = part.start + (words.len() - words.trim_start().len());
    start..start + words.trim().len()
}

const BY: &str = "by";
const SIZE: &str = "size";
const OVERLAP: &str = "overlap";

fn read(fields: &Map<String, Value>) -> Result<Splitting, String> {
    if let Some(unknown) = fields.keys().find(|key| ![BY, SIZE, OVERLAP].contains(&key.as_str())) {
        return Err(format!("chunk: expected by, size and overlap, got {unknown:?}"));
    }
    let by = match fields.get(BY) {
        Some(Value::String(by)) if by == "sentences" => SplitUnit::Sentences,
        Some(Value::String(by)) if by == "tokens" => SplitUnit::Tokens,
        Some(other) => return Err(format!("chunk.by: expected \"sentences\" or \"tokens\", got {other}")),
        None => return Err("chunk.by: expected \"sentences\" or \"tokens\", got none".to_owned()),
    };
    let (size, overlap) = if by == SplitUnit::Tokens { (200, 20) } else { (5, 1) };
    let number = |key: &str, default: usize| match fields.get(key) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| format!("chunk.{key}: expected a whole number, got {value}")),
    };
    let size = number(SIZE, size)?;
    Ok(Splitting { by, size, overlap: number(OVERLAP, overlap.min(size / 2))? })
}

impl From<Map<String, Value>> for Splitting {
    fn from(fields: Map<String, Value>) -> Splitting {
        read(&fields).unwrap_or(Splitting { by: SplitUnit::Other(fields), size: 0, overlap: 0 })
    }
}

impl From<Splitting> for Map<String, Value> {
    fn from(Splitting { by, size, overlap }: Splitting) -> Map<String, Value> {
        let by = match by {
            SplitUnit::Other(fields) => return fields,
            SplitUnit::Sentences => "sentences",
            SplitUnit::Tokens => "tokens",
        };
        let fields = [(BY, Value::from(by)), (SIZE, Value::from(size)), (OVERLAP, Value::from(overlap))];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts<'t>(splitting: &Splitting, text: &'t str, ends: &[usize]) -> Vec<&'t str> {
        splitting.parts(text, ends).into_iter().map(|part| &text[part]).collect()
    }

    #[test]
    fn sentences_are_counted_and_overlap() {
        let text = "One is here.  Two follows!\n\nThree? Four 4.5 is not two. Five.";
        let parts = texts(&Splitting::sentences(2, 1), text, &[]);
        let expected = [
            "One is here.  Two follows!",
            "Two follows!\n\nThree?",
            "Three? Four 4.5 is not two.",
            "Four 4.5 is not two. Five.",
        ];
        assert_eq!(parts, expected);
        assert_eq!(texts(&Splitting::sentences(2, 0), text, &[]).len(), 3);
        assert_eq!(texts(&Splitting::sentences(100, 0), text, &[]), [text]);
        for blank in ["", " \n "] {
            assert_eq!(texts(&Splitting::sentences(3, 1), blank, &[]), [""]);
        }
    }

    #[test]
    fn a_text_without_sentences_is_cut_between_words_and_one_without_words_between_characters() {
        let words = "word ".repeat(1_000);
        let parts = texts(&Splitting::sentences(1, 0), &words, &[]);
        assert_eq!(parts.len(), 5);
        assert!(parts.iter().all(|part| part.starts_with("word") && part.ends_with("word")));
        let parts = texts(&Splitting::sentences(1, 0), &"水".repeat(1_000), &[]).len();
        assert_eq!(parts, 4);
    }

    #[test]
    fn a_hostile_text_takes_no_time_that_grows_by_its_square_and_windows_change_no_sentence() {
        // A full stop and what may follow one: looked at as a whole, this takes hours.
        let hostile = format!("a.{}", ")".repeat(2_000_000));
        assert!(!Splitting::sentences(5, 1).parts(&hostile, &[]).is_empty());
        let sentences: Vec<String> =
            (0..2_000).map(|n| format!("Sentence {n} has {} words.", "some ".repeat(n % 20))).collect();
        let text = sentences.join(" ");
        assert_eq!(texts(&Splitting::sentences(1, 0), &text, &[]), sentences);
    }

    #[test]
    fn tokens_are_counted_and_words_stay_whole() {
        let text = "ab cd, efgh ij";
        // ab|cd|,|ef|gh|ij
        let ends = [2, 5, 6, 9, 11, 14];
        assert_eq!(texts(&Splitting::tokens(4, 0), text, &ends), ["ab cd,", "efgh ij"]);
        assert_eq!(texts(&Splitting::tokens(4, 1), text, &ends), ["ab cd,", ", efgh ij"]);
        assert_eq!(texts(&Splitting::tokens(4, 0), "", &[]), [""]);
        assert_eq!(texts(&Splitting::tokens(2, 0), "水水水", &[3, 6, 9]), ["水水", "水"]);
    }

    #[test]
    fn parts_cover_the_text_and_take_at_most_twice_its_bytes() {
        let mut seed = 7u64;
        for size in 1..12 {
            let mut text = String::new();
            for _ in 0..300 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text.push_str(["a", " ", ". ", "é", "Zz", "\n\n", "! ", "水", "4.5"][(seed >> 33) as usize % 9]);
            }
            for overlap in 0..=size / 2 {
                let parts = Splitting::sentences(size, overlap).parts(&text, &[]);
                let mut covered = vec![false; text.len()];
                parts.iter().for_each(|part| covered[part.clone()].fill(true));
                let missed = text.char_indices().filter(|(at, c)| !covered[*at] && !c.is_whitespace()).count();
                assert_eq!(missed, 0, "{size} {overlap} {text:?}");
                assert!(parts.is_sorted_by_key(|part| part.start));
                let longest = parts.iter().map(Range::len).max().unwrap_or(0);
                assert!(parts.iter().map(Range::len).sum::<usize>() <= 2 * text.len() + 2 * longest);
            }
        }
    }

    #[test]
    fn what_is_stored_is_kept_and_what_is_wrong_is_named() {
        for stored in [json!({"by": "sentences", "size": 3, "overlap": 1}), json!({"by": "pages", "tall": true})] {
            let read: Splitting = serde_json::from_value(stored.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), stored);
        }
        let default: Splitting = serde_json::from_value(json!({"by": "tokens"})).unwrap();
        assert_eq!(default, Splitting::tokens(200, 20));
        for (json, words) in [
            (json!({}), "chunk.by: expected \"sentences\" or \"tokens\", got none"),
            (json!({"by": "pages"}), "chunk.by: expected \"sentences\" or \"tokens\", got \"pages\""),
            (json!({"by": "tokens", "size": 0}), "chunk.size: expected 1 to 1000, got 0"),
            (json!({"by": "tokens", "size": "1"}), "chunk.size: expected a whole number, got \"1\""),
            (json!({"by": "tokens", "size": 10, "overlap": 6}), "at most half of chunk.size, which is 10, got 6"),
            (json!({"by": "tokens", "over": 6}), "chunk: expected by, size and overlap, got \"over\""),
        ] {
            let splitting: Splitting = serde_json::from_value(json).unwrap();
            let message = splitting.check().unwrap_err();
            assert!(message.message().contains(words), "{message}");
        }
    }
}
