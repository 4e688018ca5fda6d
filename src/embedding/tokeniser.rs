//! Texts to token ids, with the library that wrote `tokenizer.json`. A text is tokenised from its start in windows
//! that grow until there are tokens enough, so a text of a megabyte costs what its first page costs.
//! Invariants: the tokens of a window count only up to its last word, since a cut may have shortened that one; ids
//! and types are ones that the encoder has.

use std::ops::Range;

use tokenizers::{Encoding, Tokenizer};

use super::batch::Tokens;
use super::config::EncoderConfig;
use super::encoder::guarded;
use super::tokenizer_file;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Bytes of the first window for each token that is wanted. Words of most languages have fewer.
const WINDOW_BYTES_PER_TOKEN: usize = 8;

/// Windows in which a whole text is tokenised.
const WINDOW_BYTES: usize = 16 << 10;

/// The largest window. A word that is longer, or a text without spaces, is cut there, at a token that may be part of a
/// longer one: nothing of such a length is a word.
const MOST_WINDOW_BYTES: usize = 64 << 10;

/// Tokens that end so close before a cut are not believed: a special token may reach across it.
const CUT_MARGIN_BYTES: usize = 256;

/// The tokeniser of a model.
#[derive(Debug)]
pub(crate) struct ModelTokeniser {
    tokenizer: Tokenizer,
    vocabulary: usize,
    token_types: usize,
    lowercase: bool,
}

impl ModelTokeniser {
    /// The tokeniser that `bytes` describe, for that encoder.
    pub(crate) fn load(bytes: &[u8], encoder: &EncoderConfig, lowercase: bool) -> Result<ModelTokeniser> {
        let bytes = tokenizer_file::checked(bytes)?;
        let tokenizer = guarded(|| {
            Tokenizer::from_bytes(bytes)
                .map_err(|cause| Error::invalid(format!("tokenizer.json is not what a model's is: {cause}")))
        })?;
        let (vocabulary, token_types) = (encoder.vocabulary, encoder.token_types);
        let tokeniser = ModelTokeniser { tokenizer, vocabulary, token_types, lowercase };
        tokeniser.text("", 8)?;
        Ok(tokeniser)
    }

    /// The first tokens of `text`, at most `max_tokens` with the special ones around them.
    pub(crate) fn text(&self, text: &str, max_tokens: usize) -> Result<Tokens> {
        let text = self.first_tokens(text, max_tokens.saturating_sub(self.added(false)?))?;
        self.with_special_tokens(text, None)
    }

    /// Two texts as a cross-encoder takes them. The passage is cut first: a query is short.
    pub(crate) fn pair(&self, query: &str, passage: &str, max_tokens: usize) -> Result<Tokens> {
        let room = max_tokens.saturating_sub(self.added(true)?);
        let query = self.first_tokens(query, room / 2)?;
        let passage = self.first_tokens(passage, room - query.len().min(room))?;
        self.with_special_tokens(query, Some(passage))
    }

    /// Of each token of the whole text, without special ones: the byte behind it. Nothing is cut off.
    pub(crate) fn token_ends(&self, text: &str, interrupt: &Interrupt) -> Result<Vec<usize>> {
        let (mut ends, mut start, mut size) = (Vec::new(), 0, WINDOW_BYTES);
        while start < text.len() {
            interrupt.check()?;
            let window = window(text, start, size);
            let encoding = self.encode(text.get(window.clone()).unwrap_or_default())?;
            let last = window.end == text.len();
            let whole = last || size >= MOST_WINDOW_BYTES;
            let kept = if whole { encoding.len() } else { certain(&encoding, window.len()) };
            ends.extend(encoding.get_offsets().iter().take(kept).map(|(_, end)| start + end));
            match ends.last() {
                _ if last => break,
                _ if whole => (start, size) = (window.end, WINDOW_BYTES),
                // One word fills the window: the next one is larger, so that no byte is tokenised many times.
                Some(end) if kept > 0 && *end > start => (start, size) = (*end, WINDOW_BYTES),
                _ => size *= 4,
            }
        }
        Ok(ends)
    }

    fn added(&self, pair: bool) -> Result<usize> {
        use tokenizers::PostProcessor;
        let processor = self.tokenizer.get_post_processor();
        guarded(|| Ok(processor.map_or(0, |processor| processor.added_tokens(pair))))
    }

    fn first_tokens(&self, text: &str, limit: usize) -> Result<Encoding> {
        let mut size = (limit * WINDOW_BYTES_PER_TOKEN).max(2 * CUT_MARGIN_BYTES);
        loop {
            let window = window(text, 0, size);
            let part = text.get(window.clone()).unwrap_or_default();
            let lower = self.lowercase.then(|| part.to_lowercase());
            let part = lower.as_deref().unwrap_or(part);
            let mut encoding = self.encode(part)?;
            let whole = window.end == text.len() || size >= MOST_WINDOW_BYTES;
            if whole || certain(&encoding, part.len()) >= limit {
                encoding.truncate(limit, 0, tokenizers::TruncationDirection::Right);
                encoding.take_overflowing();
                return Ok(encoding);
            }
            size *= 4;
        }
    }

    fn encode(&self, text: &str) -> Result<Encoding> {
        guarded(|| self.tokenizer.encode(text, false).map_err(|cause| refused(&cause)))
    }

    fn with_special_tokens(&self, text: Encoding, pair: Option<Encoding>) -> Result<Tokens> {
        let encoding = guarded(|| self.tokenizer.post_process(text, pair, true).map_err(|cause| refused(&cause)))?;
        let below = |what: &str, number: u32, count: usize| match usize::try_from(number) {
            Ok(index) if index < count => Ok(number as i32),
            _ => Err(Error::invalid(format!(
                "tokenizer.json made the {what} {number}, but the encoder has {count} of them; take both files from one \
                 model"
            ))),
        };
        let ids: Result<Vec<i32>> = encoding.get_ids().iter().map(|id| below("token", *id, self.vocabulary)).collect();
        let types = encoding.get_type_ids().iter().map(|kind| below("token type", *kind, self.token_types));
        let (ids, types) = (ids?, types.collect::<Result<Vec<i32>>>()?);
        if ids.is_empty() {
            return Err(Error::invalid(
                "tokenizer.json adds no special token, so an empty text has no tokens; expected one like [CLS]",
            ));
        }
        Ok(Tokens { ids, types })
    }
}

fn refused(cause: &tokenizers::Error) -> Error {
    Error::invalid(format!("tokenizer.json does not tokenise this text: {cause}; take it from the model again"))
}

/// About `size` bytes of the text from `start`, up to a space if there is one in the second half.
fn window(text: &str, start: usize, size: usize) -> Range<usize> {
    let end = start.saturating_add(size);
    if end >= text.len() {
        return start..text.len();
    }
    let end = text.floor_char_boundary(end);
    let half = text.floor_char_boundary(start + size / 2);
    let space = text.get(half..end).and_then(|second| second.rfind(char::is_whitespace));
    start..space.map_or(end, |space| half + space)
}

/// How many tokens of a window of `length` bytes would be the same whatever follows it.
fn certain(encoding: &Encoding, length: usize) -> usize {
    let last = encoding.get_word_ids().last().copied().flatten();
    let within = encoding.get_offsets().iter().zip(encoding.get_word_ids());
    within.take_while(|((_, end), word)| **word != last && *end + CUT_MARGIN_BYTES <= length).count()
}
