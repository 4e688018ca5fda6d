//! Which characters words are made of: `\w` of Python's `re`, as `chroma_bm25` cuts by it, and the scripts that are
//! written without spaces.
//! Invariant: `\w` is Unicode's categories L and N, and `_`. Marks are not part of it, unlike Rust's
//! `char::is_alphanumeric`. The tables are those of `regex-syntax`, which the filters' regular expressions use, too.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// One bit per code point.
static WORD: LazyLock<Vec<u64>> = LazyLock::new(|| bits(r"[\p{L}\p{N}_]"));
/// Letters that are cut into pairs, as no space says where a word ends: those of Chinese, Japanese, Korean (whose
/// particles hang on words), Thai, Lao, Khmer, Burmese, Tibetan and their neighbours.
static SPACELESS: LazyLock<Vec<u64>> = LazyLock::new(|| {
    bits(
        r"[[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}
        \p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}\p{Balinese}\u30FC\uFF70]&&[\p{L}\p{M}\p{Nl}]]",
    )
});

static MARK: LazyLock<Vec<u64>> = LazyLock::new(|| bits(r"[\p{M}]"));

/// The code points of a class. The classes of this file are right, as a test says; none would make an empty table.
fn bits(class: &str) -> Vec<u64> {
    let mut bits = vec![0; 0x11_0000 / 64];
    let class = class.replace(char::is_whitespace, "");
    let parsed = regex_syntax::parse(&class).ok().map(|hir| hir.into_kind());
    if let Some(HirKind::Class(Class::Unicode(class))) = parsed {
        for code in class.ranges().iter().flat_map(|range| u32::from(range.start())..=u32::from(range.end())) {
            if let Some(word) = bits.get_mut(code as usize / 64) {
                *word |= 1u64 << (code % 64);
            }
        }
    }
    bits
}

fn holds(bits: &[u64], c: char) -> bool {
    let code = u32::from(c);
    bits.get(code as usize / 64).is_some_and(|word| word >> (code % 64) & 1 == 1)
}

/// Whether `\w` holds `c`.
pub(super) fn is_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { holds(&WORD, c) }
}

/// Whether `c` is a letter of a script without spaces.
pub(super) fn is_spaceless(c: char) -> bool {
    c >= '\u{E00}' && holds(&SPACELESS, c)
}

/// Whether `c` belongs to the letter before it: a mark, a half-width sound mark, a vowel or a final of a Korean syllable.
pub(super) fn is_extension(c: char) -> bool {
    matches!(c, '\u{1160}'..='\u{11FF}' | '\u{D7B0}'..='\u{D7FF}' | '\u{FF9E}' | '\u{FF9F}' | '\u{200D}')
        || (c >= '\u{300}' && holds(&MARK, c))
}

/// Changes with Unicode's tables.
pub(super) fn fingerprint() -> u64 {
    WORD.iter().chain(SPACELESS.iter()).fold(0, |sum: u64, word| sum.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ word)
}

#[cfg(test)]
#[path = "word_characters_tests.rs"]
mod tests;
