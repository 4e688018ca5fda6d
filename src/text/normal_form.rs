//! A word as it is compared: in lower case and, but for `chroma_bm25`, in Unicode's compatibility form (NFKC), without
//! what a language hangs on a word with an apostrophe.
//! Invariant: the same word always has the same form, wherever it stands in a text.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::settings::Language;

/// What stands before an apostrophe and is no part of the word.
const FRENCH_ELISIONS: &[&str] =
    &["l", "d", "j", "m", "t", "s", "n", "c", "qu", "jusqu", "lorsqu", "puisqu", "quoiqu", "quelqu"];
const ITALIAN_ELISIONS: &[&str] = &[
    "l", "un", "d", "c", "m", "t", "s", "v", "n", "gl", "all", "dall", "dell", "nell", "sull", "coll", "quest",
    "quell", "bell", "sant", "tutt", "com", "dov", "quand", "anch",
];

/// Writes `word` in lower case into `form`, as Python's `str.lower` does: a final sigma is one.
pub(super) fn lower(word: &str, form: &mut String) {
    form.clear();
    form.push_str(word);
    if word.is_ascii() {
        form.make_ascii_lowercase();
    } else {
        *form = word.to_lowercase();
    }
}

/// Writes the form of a word that was cut by Unicode's rules.
pub(super) fn fold(word: &str, language: Language, form: &mut String) {
    if word.chars().all(is_caseless_and_composed) {
        form.clear();
        return form.push_str(word);
    }
    if word.is_ascii() && language != Language::Turkish {
        lower(word, form);
    } else {
        let composed = match is_nfkc_quick(word.chars()) {
            IsNormalized::Yes => word.to_owned(),
            _ => word.nfkc().collect(),
        };
        let composed = if language == Language::Turkish { turkish_lower(&composed) } else { composed.to_lowercase() };
        *form = composed.replace('\u{2019}', "'");
    }
    let Some(apostrophe) = form.find('\'') else { return };
    let (before, after) = form.split_at(apostrophe);
    let elisions = match language {
        Language::French => FRENCH_ELISIONS,
        Language::Italian => ITALIAN_ELISIONS,
        // Turkish hangs case endings on names behind an apostrophe.
        Language::Turkish => return form.truncate(apostrophe),
        _ => return,
    };
    if elisions.contains(&before) && after.len() > 1 {
        form.drain(..=apostrophe);
    }
}

/// Whether `c` is of the letters of Chinese, Japanese and Korean that have one form and no case.
fn is_caseless_and_composed(c: char) -> bool {
    matches!(c, '\u{4E00}'..='\u{9FFF}' | '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FE}' | '\u{AC00}'..='\u{D7A3}')
}

/// Turkish has two letters i.
fn turkish_lower(word: &str) -> String {
    word.replace('I', "ı").replace('İ', "i").to_lowercase()
}
