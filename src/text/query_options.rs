//! How a query over words is read: its options on the wire, and its limits.
//! Invariant: options that were read from JSON are in bounds.

use crate::error::{Error, Result};

/// How a text query is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct QueryOptions {
    /// How many of the words and phrases without a sign a document must have. `None`: one, or none beside a `+must`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_match: Option<MinimumMatch>,
    /// Whether the last word, unless a space or a quote is behind it, may be the beginning of a longer one.
    pub prefix: bool,
    /// How many wrong letters a word outside of quotes may have.
    pub typos: Typos,
    /// What a query may be at most.
    #[serde(skip)]
    pub limits: QueryLimits,
}

/// A number of words and phrases, or a share of them, which is rounded up: "50%" of three is two. No more are asked for
/// than the query has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "NumberOrText", into = "NumberOrText")]
pub enum MinimumMatch {
    /// As a whole number: `2`.
    Count(u32),
    /// As a text with the sign: `"75%"`. At most 100.
    Percent(u32),
}

/// How many letters of a word may be wrong, missing, too many, or in the place of their neighbour. Words with digits
/// must be right, and so must short ones: more than half of a word is always right. An index holds stems, so letters are
/// compared with a stem: of the word as it was typed, and of its own stem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "NumberOrText", into = "NumberOrText")]
pub enum Typos {
    /// `0`: none.
    #[default]
    None,
    /// `1`.
    One,
    /// `2`.
    Two,
    /// `"auto"`: one in a word of four letters, two in one of eight.
    Auto,
}

/// What a query may be at most.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct QueryLimits {
    /// Characters of a query.
    pub characters: usize,
    /// Terms of a query, those of phrases among them.
    pub terms: usize,
}

impl Default for QueryLimits {
    fn default() -> QueryLimits {
        QueryLimits { characters: 10_000, terms: 1_000 }
    }
}

/// Both forms on the wire.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl std::fmt::Display for NumberOrText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NumberOrText::Number(number) => write!(f, "{number}"),
            NumberOrText::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl TryFrom<NumberOrText> for MinimumMatch {
    type Error = Error;

    fn try_from(got: NumberOrText) -> Result<MinimumMatch> {
        let found = match &got {
            NumberOrText::Number(number) => whole(*number).map(MinimumMatch::Count),
            NumberOrText::Text(text) => {
                let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
                percent.filter(|percent| *percent <= 100).map(MinimumMatch::Percent)
            }
        };
        found.ok_or_else(|| {
            let expected = "a whole number, or a share from \"0%\" to \"100%\"";
            Error::invalid(format!("minimum_match: expected {expected}, got {got}"))
        })
    }
}

impl From<MinimumMatch> for NumberOrText {
    fn from(minimum: MinimumMatch) -> NumberOrText {
        match minimum {
            MinimumMatch::Count(count) => NumberOrText::Number(f64::from(count)),
            MinimumMatch::Percent(percent) => NumberOrText::Text(format!("{percent}%")),
        }
    }
}

/// The number, if it is a whole one.
fn whole(number: f64) -> Option<u32> {
    let whole = number as u32;
    (f64::from(whole) == number).then_some(whole)
}

impl TryFrom<NumberOrText> for Typos {
    type Error = Error;

    fn try_from(got: NumberOrText) -> Result<Typos> {
        match &got {
            NumberOrText::Number(number) if *number == 0.0 => Ok(Typos::None),
            NumberOrText::Number(number) if *number == 1.0 => Ok(Typos::One),
            NumberOrText::Number(number) if *number == 2.0 => Ok(Typos::Two),
            NumberOrText::Text(text) if text == "auto" => Ok(Typos::Auto),
            _ => Err(Error::invalid(format!("typos: expected 0, 1, 2 or \"auto\", got {got}"))),
        }
    }
}

impl From<Typos> for NumberOrText {
    fn from(typos: Typos) -> NumberOrText {
        match typos {
            Typos::None => NumberOrText::Number(0.0),
            Typos::One => NumberOrText::Number(1.0),
            Typos::Two => NumberOrText::Number(2.0),
            Typos::Auto => NumberOrText::Text("auto".to_owned()),
        }
    }
}

impl MinimumMatch {
    /// The number that is asked for, of so many.
    pub(super) fn of(self, clauses: usize) -> usize {
        match self {
            MinimumMatch::Count(count) => clauses.min(count as usize),
            MinimumMatch::Percent(percent) => (clauses * percent.min(100) as usize).div_ceil(100),
        }
    }
}

impl Typos {
    /// How many wrong letters a word or term may have.
    pub(super) fn of(self, term: &str) -> u8 {
        if term.chars().any(char::is_numeric) {
            return 0;
        }
        let length = term.chars().count();
        let most = length.saturating_sub(1) / 2;
        match self {
            Typos::None => 0,
            Typos::One => most.min(1) as u8,
            Typos::Two => most.min(2) as u8,
            Typos::Auto => (length / 4).min(2) as u8,
        }
    }
}
