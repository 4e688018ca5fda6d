//! A text that strings are compared with: as a whole, at their beginning or anywhere, with their case or without.
//! Without case, both are folded: `str::to_lowercase` (Unicode's full lower case of no language), and ς becomes σ. So
//! `ß` is not `ss`, and an accent stays.
//! Invariant: folding looks at each character alone, so that what begins a text begins it folded as well.

use memchr::memmem::Finder;

/// Which portion of a string has to be the literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Portion {
    Whole,
    Start,
    Anywhere,
}

/// Whether upper and lower case differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Sensitive,
    Ignored,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    portion: Portion,
    case: Case,
    /// Folded where case is ignored.
    text: String,
}

impl Literal {
    pub(super) fn new(portion: Portion, case: Case, text: impl Into<String>) -> Literal {
        let text = text.into();
        let text = if case == Case::Ignored { folded(&text) } else { text };
        Literal { portion, case, text }
    }

    /// The beginning that the tested strings must have as it stands.
    pub(super) fn exact_start(&self) -> Option<&str> {
        (self.portion == Portion::Start && self.case == Case::Sensitive).then_some(self.text.as_str())
    }

    pub(super) fn matches(&self, string: &str) -> bool {
        match self.case {
            Case::Sensitive => self.is_in_place(string),
            Case::Ignored => self.is_in_place(&folded(string)),
        }
    }

    fn is_in_place(&self, string: &str) -> bool {
        match self.portion {
            Portion::Whole => string == self.text,
            Portion::Start => string.starts_with(&self.text),
            Portion::Anywhere => string.contains(&self.text),
        }
    }

    /// Bytes that it takes on the heap.
    pub(super) fn size_bytes(&self) -> usize {
        self.text.len()
    }
}

/// A literal prepared for many strings. Finds what [`Literal::matches`] does.
pub(super) struct LiteralSearcher<'l> {
    literal: &'l Literal,
    finder: Finder<'l>,
}

impl<'l> LiteralSearcher<'l> {
    pub(super) fn new(literal: &'l Literal) -> LiteralSearcher<'l> {
        LiteralSearcher { literal, finder: Finder::new(&literal.text) }
    }

    pub(super) fn matches(&self, string: &str) -> bool {
        let Literal { portion, case, text } = self.literal;
        match (portion, case) {
            (Portion::Anywhere, Case::Sensitive) => self.finder.find(string.as_bytes()).is_some(),
            (Portion::Anywhere, Case::Ignored) => self.finder.find(folded(string).as_bytes()).is_some(),
            // Only as many characters are folded as are compared.
            (Portion::Start, Case::Ignored) => {
                let mut chars = folded_chars(string);
                text.chars().all(|wanted| chars.next() == Some(wanted))
            }
            (Portion::Whole, Case::Ignored) => folded_chars(string).eq(text.chars()),
            (Portion::Start | Portion::Whole, Case::Sensitive) => self.literal.matches(string),
        }
    }
}

fn folded(text: &str) -> String {
    let lower = text.to_lowercase();
    // Lower case gives Σ one of two forms, by its place in the word.
    if lower.contains('ς') { lower.replace('ς', "σ") } else { lower }
}

/// The characters of the folded text.
fn folded_chars(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_a_text_is_folding_each_of_its_characters() {
        let every: String = ('\0'..=char::MAX).collect();
        assert!(folded_chars(&every).eq(folded(&every).chars()));
        for text in ["ΟΔΟΣ", "ΟΔΟΣ ΑΒ", "Σ", "ΑΣ'", "İstanbul", "ǅ", "STRAẞE", "ﬃ", "aΣ\u{301}"] {
            assert!(folded_chars(text).eq(folded(text).chars()), "{text}");
        }
    }

    #[test]
    fn case_is_ignored_in_every_alphabet_and_nothing_else() {
        let alike = |a: &str, b: &str| Literal::new(Portion::Whole, Case::Ignored, a).matches(b);
        for (a, b) in [
            ("Rust", "rUST"),
            ("ПРИВЕТ", "привет"),
            ("ÄÖÜ", "äöü"),
            ("ΟΔΟΣ", "οδος"),
            ("οδοσ", "ΟΔΟΣ"),
            ("ǆ", "ǅ"),
            ("Straße", "STRAẞE"),
            ("Ⅳ", "ⅳ"),
        ] {
            assert!(alike(a, b) && alike(b, a), "{a} and {b}");
        }
        for (a, b) in [("straße", "STRASSE"), ("e", "é"), ("é", "e\u{301}"), ("a", "a "), ("ı", "I"), ("", "a")] {
            assert!(!alike(a, b) && !alike(b, a), "{a} and {b}");
        }
    }

    #[test]
    fn what_begins_a_text_begins_it_without_case() {
        let text = "ΟΔΟΣ ΑΒΣ, İstanbul, STRAẞE, Ⅳ";
        for (end, _) in text.char_indices() {
            let start = &text[..end];
            for literal in [start.to_owned(), start.to_lowercase()] {
                assert!(Literal::new(Portion::Start, Case::Ignored, &literal).matches(text), "{literal}");
                assert!(
                    Literal::new(Portion::Anywhere, Case::Ignored, literal).matches(&format!("x{text}")),
                    "{start}"
                );
            }
        }
    }
}
