//! A compiled regular expression. Searching one text is bounded and can be interrupted. A short text takes one call.
//! A long text goes byte by byte through a lazily built automaton, piece by piece, and the cost of building it is
//! counted.
//! Invariant: a search that is not refused gives the result of `regex`.

use std::sync::{Arc, OnceLock};

use regex::{Regex, RegexBuilder};
use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{NFA, WhichCaptures};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// The most bytes of a compiled regex. Its lazily built automaton may take as many again.
const REGEX_SIZE_LIMIT_BYTES: usize = 4 << 20;
/// A search is one call up to this product of the pattern's states and the text's bytes: some 30 ms at the very
/// worst.
const AT_ONCE: usize = 1 << 22;
/// States times bytes between two checks of the interrupt.
const BETWEEN_LOOKS: usize = 1 << 20;
/// The most bytes of automaton that a search of one text may build, kept or not: about a second of work.
const AUTOMATON_BYTES: usize = 1 << 29;
/// The most states times bytes in one call where no automaton is possible: for some expressions with Unicode's word
/// boundaries, in texts beyond ASCII.
const WITHOUT_AUTOMATON: usize = 1 << 29;
/// The most bytes of automaton kept at a time.
const CACHE_BYTES: usize = 8 << 20;

/// A compiled regex. Two are equal if their texts are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    nfa: NFA,
    automaton: Arc<OnceLock<Option<DFA>>>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

/// The automaton that a pattern's searches have built so far; each searching thread has its own.
#[derive(Debug, Default)]
pub struct Searcher(Option<Cache>);

/// The result of the search by automaton.
enum Stepped {
    Found(bool),
    /// The automaton cannot decide.
    Unable,
}

impl Pattern {
    pub fn compile(text: &str) -> Result<Pattern, regex::Error> {
        let regex = RegexBuilder::new(text)
            .size_limit(REGEX_SIZE_LIMIT_BYTES)
            .dfa_size_limit(REGEX_SIZE_LIMIT_BYTES)
            .build()?;
        let config = NFA::config().which_captures(WhichCaptures::None).nfa_size_limit(Some(REGEX_SIZE_LIMIT_BYTES));
        let nfa = NFA::compiler().configure(config).build(text);
        // `regex` has accepted the text, so it is no syntax error: only the size can be wrong.
        let nfa = nfa.map_err(|_| regex::Error::CompiledTooBig(REGEX_SIZE_LIMIT_BYTES))?;
        Ok(Pattern { regex, nfa, automaton: Arc::default() })
    }

    /// Whether the text has a match, without bounds.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Whether the text has a match, found within bounds.
    ///
    /// # Errors
    /// `Invalid` where pattern and text are too large for each other; the interrupt's error.
    pub fn matches(&self, text: &str, searcher: &mut Searcher, interrupt: &Interrupt) -> Result<bool> {
        let (states, bytes) = (self.nfa.states().len(), text.len());
        if states.saturating_mul(bytes) <= AT_ONCE {
            return Ok(self.is_match(text));
        }
        if let Some(automaton) = self.automaton.get_or_init(|| self.make_automaton()) {
            let cache = searcher.0.get_or_insert_with(|| automaton.create_cache());
            if let Stepped::Found(found) = self.step(automaton, cache, text, interrupt)? {
                return Ok(found);
            }
        }
        interrupt.check()?;
        match states.saturating_mul(bytes) <= WITHOUT_AUTOMATON {
            true => Ok(self.is_match(text)),
            false => Err(self.too_much(bytes, "write (?-u:\\b) for \\b")),
        }
    }

    /// Bytes of memory: the compiled pattern is held in two forms, of which one tells its size.
    pub fn size_bytes(&self) -> usize {
        self.regex.as_str().len() + 2 * self.nfa.memory_usage()
    }

    fn make_automaton(&self) -> Option<DFA> {
        let config =
            DFA::config().unicode_word_boundary(true).cache_capacity(CACHE_BYTES).skip_cache_capacity_check(true);
        DFA::builder().configure(config).build_from_nfa(self.nfa.clone()).ok()
    }

    fn step(&self, automaton: &DFA, cache: &mut Cache, text: &str, interrupt: &Interrupt) -> Result<Stepped> {
        let piece_bytes = (BETWEEN_LOOKS / self.nfa.states().len()).clamp(1, 1 << 14);
        let (mut made, mut known, mut cleared) = (0usize, cache.memory_usage(), cache.clear_count());
        let Ok(mut at) = automaton.start_state_forward(cache, &Input::new(text)) else { return Ok(Stepped::Unable) };
        let mut end = 0usize;
        for piece in text.as_bytes().chunks(piece_bytes) {
            interrupt.check()?;
            for byte in piece {
                let Ok(next) = automaton.next_state(cache, at, *byte) else { return Ok(Stepped::Unable) };
                at = next;
                if at.is_tagged() {
                    if at.is_match() {
                        // The automaton reports a match one byte late. A match that ends inside a character is none.
                        return Ok(if text.is_char_boundary(end) { Stepped::Found(true) } else { Stepped::Unable });
                    }
                    if at.is_dead() {
                        return Ok(Stepped::Found(false));
                    }
                    if at.is_quit() {
                        return Ok(Stepped::Unable);
                    }
                }
                end += 1;
            }
            let (size, clears) = (cache.memory_usage(), cache.clear_count());
            made += size.saturating_sub(known) + (clears - cleared) * CACHE_BYTES;
            (known, cleared) = (size, clears);
            if made > AUTOMATON_BYTES {
                return Err(self.too_much(text.len(), "use smaller repetitions"));
            }
        }
        let Ok(last) = automaton.next_eoi_state(cache, at) else { return Ok(Stepped::Unable) };
        Ok(if last.is_quit() { Stepped::Unable } else { Stepped::Found(last.is_match()) })
    }

    fn too_much(&self, bytes: usize, advice: &str) -> Error {
        let pattern: String = self.regex.as_str().chars().take(64).collect();
        Error::invalid(format!(
            "$regex: expected a pattern that a document of {bytes} bytes can be searched for in bounded time, got \
             {pattern:?} with {} states; {advice}",
            self.nfa.states().len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::time::{Duration, Instant};

    fn matches(pattern: &str, text: &str) -> Result<bool> {
        Pattern::compile(pattern).unwrap().matches(text, &mut Searcher::default(), &Interrupt::never())
    }

    #[test]
    fn a_pattern_too_large_for_its_text_is_refused_with_both_sizes() {
        let text = "x".repeat(100_000);
        let error = matches("x{100000}", &text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("100000 bytes") && error.message().contains("states"), "{error}");
        assert!(matches("x{5000}", &text[..5000]).unwrap());
        assert!(!matches("x{5000}", &text[..4999]).unwrap());
    }

    #[test]
    fn a_search_of_one_text_is_given_up_once_nobody_waits_for_it() {
        let (pattern, text) = (Pattern::compile("x{50000}y").unwrap(), "x".repeat(4_000_000));
        let interrupt = Interrupt::at(Instant::now() + Duration::from_millis(20));
        let error = pattern.matches(&text, &mut Searcher::default(), &interrupt).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }

    #[test]
    fn long_texts_are_searched_as_short_ones_are() {
        let filler = "naïve Wörter und plain words, 0123. ".repeat(4_000);
        for pattern in [
            "needle",
            "(?i)NEEDLE$",
            "^needle",
            "\\bneedle\\b",
            "(?-u:\\b)needle(?-u:\\b)",
            "[a-z]{3}dle",
            "(needle|straw){1,3}",
            "$",
            "\\B$",
            "ï\\B",
            "(?-u:\\B)",
            "x*\\z",
            "[[:^ascii:]]needle",
            "\\A\\z",
            "(?m)^needle$",
            "(?s).*needle.*",
            "[^\\PL]{40}",
        ] {
            let regex = Regex::new(pattern).unwrap();
            for text in [
                filler.clone(),
                format!("{filler}needle"),
                format!("needle{filler}"),
                format!("{filler}\nneedle\n{filler}"),
                format!("{filler}é needle {filler}"),
            ] {
                assert_eq!(
                    matches(pattern, &text).unwrap(),
                    regex.is_match(&text),
                    "{pattern} in {} bytes",
                    text.len()
                );
            }
        }
    }
}
