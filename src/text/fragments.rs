//! Fragments of a document that show what a query found, with the places of the words.
//! Invariant: fragments do not overlap and stand in the order of the document. Fragments and marks begin and end between
//! characters as readers see them (UAX #29), fragments also between words where there are borders of words, and no mark
//! is cut.

use std::ops::Range;

use super::fragment_choice::choose;
use super::matching::WordHit;
use super::query::{Occur, TextQuery};
use super::tokeniser::Tokeniser;
use crate::error::{Error, Result};

/// How many fragments of which length.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct HighlightSettings {
    /// Code points of a fragment; a shorter document is one fragment.
    pub length: usize,
    /// Fragments of a document, at most.
    pub fragments: usize,
    /// What stands around words, and whether the text is escaped.
    #[serde(flatten)]
    pub tags: HighlightTags,
}

/// What stands around words that a query found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct HighlightTags {
    /// Before a word.
    pub pre: String,
    /// Behind it.
    pub post: String,
    /// Whether the characters `& < > " '` of the document are written as HTML names them.
    pub escape_html: bool,
}

impl Default for HighlightTags {
    fn default() -> HighlightTags {
        HighlightTags { pre: "<mark>".to_owned(), post: "</mark>".to_owned(), escape_html: false }
    }
}

impl Default for HighlightSettings {
    fn default() -> HighlightSettings {
        HighlightSettings { length: 150, fragments: 3, tags: HighlightTags::default() }
    }
}

impl HighlightSettings {
    /// # Errors
    /// `Invalid` names the field that is out of bounds.
    pub fn check(&self) -> Result<()> {
        let bounds = [
            ("length", 20..=10_000, self.length),
            ("fragments", 1..=100, self.fragments),
            ("pre", 0..=200, self.tags.pre.len()),
            ("post", 0..=200, self.tags.post.len()),
        ];
        for (field, allowed, got) in bounds {
            if !allowed.contains(&got) {
                let unit = if field.starts_with('p') { " bytes" } else { "" };
                let (least, most) = (allowed.start(), allowed.end());
                return Err(Error::invalid(format!("highlight.{field}: expected {least} to {most}{unit}, got {got}")));
            }
        }
        Ok(())
    }
}

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Its place in the document, in bytes.
    pub bytes: Range<usize>,
    /// The places of words that the query found, in bytes of the document. They ascend and do not overlap.
    pub marks: Vec<Range<usize>>,
    /// How many clauses of the query were found in it.
    pub clauses: usize,
}

impl Fragment {
    /// The text, with tags around its marks.
    pub fn render(&self, document: &str, tags: &HighlightTags) -> String {
        let push = |bytes: Range<usize>, rendered: &mut String| {
            let part = document.get(bytes).unwrap_or_default();
            if tags.escape_html { escape(part, rendered) } else { rendered.push_str(part) }
        };
        let (mut rendered, mut end) = (String::new(), self.bytes.start);
        for mark in &self.marks {
            push(end..mark.start, &mut rendered);
            rendered.push_str(&tags.pre);
            push(mark.clone(), &mut rendered);
            rendered.push_str(&tags.post);
            end = mark.end;
        }
        push(end..self.bytes.end, &mut rendered);
        rendered
    }
}

fn escape(text: &str, escaped: &mut String) {
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
}

impl TextQuery {
    /// The fragments of a document that show best what the query found: most clauses first, then most words. A document
    /// without any is shown from its beginning.
    pub fn fragments(
        &self,
        document: &str,
        tokeniser: &mut Tokeniser<'_>,
        settings: &HighlightSettings,
    ) -> Vec<Fragment> {
        let wanted = |hit: &WordHit| self.clauses().get(hit.clause).is_some_and(|c| c.occur != Occur::MustNot);
        let hits: Vec<WordHit> = self.hits(document, tokeniser).into_iter().filter(wanted).collect();
        choose(document, &hits, settings)
    }
}

#[cfg(test)]
#[path = "fragments_tests.rs"]
mod tests;
