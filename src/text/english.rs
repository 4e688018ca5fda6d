//! The Snowball stemmer of English (Porter 2), in both generations that are in the field.
//! Algorithm: <https://snowballstem.org/algorithms/english/stemmer.html>; R1, R2 and the numbers of the steps are its.
//! Invariant: a stem is equal, code point for code point, to that of Python's `snowballstemmer` 2.2.0 or 3.1.1.

use super::settings::EnglishStemmer;

/// A code point that is not ASCII. No rule names one: all are consonants.
const OTHER: u8 = 0xFF;

const SPECIAL: &[(&str, &str)] = &[
    ("skis", "ski"),
    ("skies", "sky"),
    ("idly", "idl"),
    ("gently", "gentl"),
    ("ugly", "ugli"),
    ("early", "earli"),
    ("only", "onli"),
    ("singly", "singl"),
    ("sky", "sky"),
    ("news", "news"),
    ("howe", "howe"),
    ("atlas", "atlas"),
    ("cosmos", "cosmos"),
    ("bias", "bias"),
    ("andes", "andes"),
];
/// The third generation has a rule for these: a consonant before "ying" at the beginning.
const SPECIAL_2: &[(&str, &str)] = &[("dying", "die"), ("lying", "lie"), ("tying", "tie")];
/// Words that the second generation leaves alone after step 1a.
const WHOLE_2: &[&str] = &["inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"];
/// Beginnings that end R1's search.
const BEGINNINGS_2: &[&str] = &["gener", "commun", "arsen"];
const BEGINNINGS_3: &[&str] = &["gener", "commun", "arsen", "past", "univers", "later", "emerg", "organ", "inter"];
/// What stands before "ing" in words that the third generation leaves alone.
const BEFORE_ING: &[&str] = &["even", "cann", "inn", "earr", "herr", "out"];
const BEFORE_EED: &[&str] = &["succ", "proc", "exc"];

const STEP_2: &[(&str, &str)] = &[
    ("ization", "ize"),
    ("ational", "ate"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("tional", "tion"),
    ("biliti", "ble"),
    ("lessli", "less"),
    ("entli", "ent"),
    ("ation", "ate"),
    ("alism", "al"),
    ("aliti", "al"),
    ("ousli", "ous"),
    ("iviti", "ive"),
    ("fulli", "ful"),
    ("ogist", "og"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("abli", "able"),
    ("izer", "ize"),
    ("ator", "ate"),
    ("alli", "al"),
    ("bli", "ble"),
    ("ogi", "og"),
    ("li", ""),
];
const STEP_3: &[(&str, &str)] = &[
    ("ational", "ate"),
    ("tional", "tion"),
    ("alize", "al"),
    ("icate", "ic"),
    ("iciti", "ic"),
    ("ative", ""),
    ("ical", "ic"),
    ("ness", ""),
    ("ful", ""),
];
const STEP_4: &[&str] = &[
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion",
    "al", "er", "ic",
];

#[inline]
fn is_vowel(letter: u8) -> bool {
    matches!(letter, b'a' | b'e' | b'i' | b'o' | b'u' | b'y')
}

/// A word under work: one byte per code point. A `y` that is a consonant is written `Y`.
struct Word<'a> {
    letters: &'a mut Vec<u8>,
    newer: bool,
    r1: usize,
    r2: usize,
}

/// Writes the stem of a word in lower case into `stem`. `letters` is room for work.
pub(super) fn stem_english(word: &str, generation: EnglishStemmer, letters: &mut Vec<u8>, stem: &mut String) {
    stem.clear();
    letters.clear();
    letters.extend(word.chars().map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(OTHER)));
    let newer = generation == EnglishStemmer::Snowball3;
    let special = SPECIAL.iter().chain(SPECIAL_2.iter().filter(|_| !newer)).find(|(whole, _)| *whole == word);
    if let Some((_, whole)) = special {
        return stem.push_str(whole);
    }
    if letters.len() < 3 {
        return stem.push_str(word);
    }
    let skipped = usize::from(letters.first() == Some(&b'\''));
    let mut work = Word { letters, newer, r1: 0, r2: 0 };
    work.mark();
    work.steps();
    let kept = word.chars().skip(skipped);
    // Rules change ASCII letters only, and only at the end: the others stand where they stood.
    let kept = work.letters.iter().zip(kept.map(Some).chain(std::iter::repeat(None)));
    stem.extend(kept.map(|(&letter, original)| match original {
        Some(original) if letter == OTHER => original,
        _ => char::from(letter).to_ascii_lowercase(),
    }));
}

impl Word<'_> {
    /// Marks consonant `y`, R1 and R2.
    fn mark(&mut self) {
        if self.letters.first() == Some(&b'\'') {
            self.letters.remove(0);
        }
        let mut before = b'a';
        for letter in self.letters.iter_mut() {
            if *letter == b'y' && is_vowel(before) {
                *letter = b'Y';
            }
            before = *letter;
        }
        let beginnings = if self.newer { BEGINNINGS_3 } else { BEGINNINGS_2 };
        let beginning = beginnings.iter().find(|start| self.letters.starts_with(start.as_bytes()));
        self.r1 = beginning.map_or_else(|| self.region_after(0), |start| start.len());
        self.r2 = self.region_after(self.r1);
    }

    /// The place behind the first consonant that follows a vowel, at or behind `from`; the end if there is none.
    fn region_after(&self, from: usize) -> usize {
        let rest = self.letters.get(from..).unwrap_or_default();
        let pair = rest.windows(2).position(|pair| matches!(*pair, [a, b] if is_vowel(a) && !is_vowel(b)));
        pair.map_or(self.letters.len(), |at| from + at + 2)
    }

    fn ends_with(&self, ending: &str) -> bool {
        self.letters.ends_with(ending.as_bytes())
    }

    /// Puts `letters` in the place of the last `count`.
    fn replace_last(&mut self, count: usize, letters: &str) {
        self.letters.truncate(self.letters.len().saturating_sub(count));
        self.letters.extend_from_slice(letters.as_bytes());
    }

    /// What stands before the last `count` letters.
    fn before(&self, count: usize) -> &[u8] {
        self.letters.get(..self.letters.len().saturating_sub(count)).unwrap_or_default()
    }

    fn in_r1(&self, count: usize) -> bool {
        self.r1 <= self.before(count).len()
    }

    fn in_r2(&self, count: usize) -> bool {
        self.r2 <= self.before(count).len()
    }

    fn steps(&mut self) {
        self.step_1a();
        if !self.newer && WHOLE_2.iter().any(|whole| whole.as_bytes() == self.letters.as_slice()) {
            return;
        }
        self.step_1b();
        self.step_1c();
        self.step_2();
        self.step_3();
        self.step_4();
        self.step_5();
    }

    fn step_1a(&mut self) {
        if let Some(ending) = ["'s'", "'s", "'"].iter().find(|ending| self.ends_with(ending)) {
            self.replace_last(ending.len(), "");
        }
        if self.ends_with("sses") {
            self.replace_last(4, "ss");
        } else if self.ends_with("ied") || self.ends_with("ies") {
            let long = self.before(3).len() > 1;
            self.replace_last(3, if long { "i" } else { "ie" });
        } else if self.ends_with("s") && !self.ends_with("us") && !self.ends_with("ss") {
            // The vowel must not be the letter before the s: "gas" and "this" stay.
            if self.before(2).iter().any(|letter| is_vowel(*letter)) {
                self.replace_last(1, "");
            }
        }
    }

    fn step_1b(&mut self) {
        let endings = ["eedly", "ingly", "edly", "eed", "ing", "ed"];
        let Some(ending) = endings.into_iter().find(|ending| self.ends_with(ending)) else { return };
        let before = self.before(ending.len());
        let is = |words: &[&str]| words.iter().any(|word| word.as_bytes() == before);
        if ending.starts_with("eed") {
            if self.in_r1(ending.len()) && !(self.newer && is(BEFORE_EED)) {
                self.replace_last(ending.len(), "ee");
            }
            return;
        }
        if self.newer && ending == "ing" {
            if matches!(*before, [consonant, b'y'] if !is_vowel(consonant)) {
                return self.replace_last("ying".len(), "ie");
            }
            if is(BEFORE_ING) {
                return;
            }
        }
        if before.iter().any(|letter| is_vowel(*letter)) {
            self.replace_last(ending.len(), "");
            self.mend();
        }
    }

    /// What step 1b does where it took an ending away.
    fn mend(&mut self) {
        let count = self.letters.len();
        let doubles = ["bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt"];
        if ["at", "bl", "iz"].iter().any(|ending| self.ends_with(ending)) {
            self.letters.push(b'e');
        } else if doubles.iter().any(|double| self.ends_with(double)) {
            // "add", "egg", "off" end so from the beginning.
            let whole = count == 3 && matches!(self.letters.first(), Some(b'a' | b'e' | b'o'));
            if !(self.newer && whole) {
                self.letters.pop();
            }
        } else if count == self.r1 && self.is_short_at_end(0) {
            self.letters.push(b'e');
        }
    }

    /// Whether a short syllable stands before the last `count` letters.
    fn is_short_at_end(&self, count: usize) -> bool {
        match *self.before(count) {
            [.., a, b, c] if !is_vowel(a) && is_vowel(b) && !is_vowel(c) && !matches!(c, b'w' | b'x' | b'Y') => true,
            [a, b] => is_vowel(a) && !is_vowel(b),
            ref before => self.newer && before.ends_with(b"past"),
        }
    }

    fn step_1c(&mut self) {
        if let [_, .., before, last @ (b'y' | b'Y')] = self.letters.as_mut_slice()
            && !is_vowel(*before)
        {
            *last = b'i';
        }
    }

    fn step_2(&mut self) {
        let known = |&&(ending, _): &&(&str, &str)| self.ends_with(ending) && (self.newer || ending != "ogist");
        let Some(&(ending, to)) = STEP_2.iter().find(known) else { return };
        let last = self.before(ending.len()).last().copied();
        let fits = match ending {
            "ogi" => last == Some(b'l'),
            "li" => last.is_some_and(|last| b"cdeghkmnrt".contains(&last)),
            _ => true,
        };
        if fits && self.in_r1(ending.len()) {
            self.replace_last(ending.len(), to);
        }
    }

    fn step_3(&mut self) {
        let Some(&(ending, to)) = STEP_3.iter().find(|(ending, _)| self.ends_with(ending)) else { return };
        if self.in_r1(ending.len()) && (ending != "ative" || self.in_r2(ending.len())) {
            self.replace_last(ending.len(), to);
        }
    }

    fn step_4(&mut self) {
        let Some(ending) = STEP_4.iter().find(|ending| self.ends_with(ending)) else { return };
        let fits = *ending != "ion" || matches!(self.before(3).last(), Some(b's' | b't'));
        if fits && self.in_r2(ending.len()) {
            self.replace_last(ending.len(), "");
        }
    }

    fn step_5(&mut self) {
        let dropped = match self.letters.as_slice() {
            [.., b'e'] => self.in_r2(1) || (self.in_r1(1) && !self.is_short_at_end(1)),
            [.., b'l', b'l'] => self.in_r2(1),
            _ => false,
        };
        if dropped {
            self.letters.pop();
        }
    }
}

#[cfg(test)]
#[path = "english_tests.rs"]
mod tests;
