//! Terms that a query's term stands for, held against the table of distances as it is taught.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{TermMatch, TermPattern};

fn pattern(term: &str, word: &str, is_prefix: bool, typos: u8) -> TermPattern {
    let mut pattern = TermPattern::new(term, 0, word);
    (pattern.is_prefix, pattern.term_typos, pattern.word_typos) = (is_prefix, typos, typos);
    pattern
}

/// The row of distances of `one` to each beginning of `other`.
fn distances(one: &str, other: &str) -> Vec<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
            };
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                table[i][j] = table[i][j].min(table[i - 2][j - 2] + 1);
            }
        }
    }
    table.pop().unwrap()
}

#[test]
fn wrong_letters_are_counted_as_the_table_counts_them() {
    let seed = 151;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut word = |longest| -> String {
        (0..rng.random_range(0..=longest)).map(|_| ['a', 'b', 'é', '東'][rng.random_range(0..4)]).collect()
    };
    let mut matched = 0;
    for _ in 0..100_000 {
        let (one, other) = (word(7), word(8));
        let row = distances(&one, &other);
        for typos in 0..=2u8 {
            let whole = *row.last().unwrap();
            let expected = (whole <= usize::from(typos)).then_some(match whole {
                0 => TermMatch::Exact,
                distance => TermMatch::Typos(distance as u8),
            });
            assert_eq!(pattern(&one, &one, false, typos).matches(&other), expected, "{one} {other} {typos}");
            let nearest = *row.iter().min().unwrap();
            let expected = match nearest {
                _ if one == other => Some(TermMatch::Exact),
                0 => Some(TermMatch::Prefix),
                distance => (distance <= usize::from(typos)).then_some(TermMatch::Typos(distance as u8)),
            };
            assert_eq!(pattern(&one, &one, true, typos).matches(&other), expected, "{one}* {other} {typos}");
            matched += usize::from(expected.is_some());
        }
    }
    assert!(matched > 1_000, "{matched}");
}

#[test]
fn a_prefix_is_of_the_word_and_an_equal_term_of_the_stem() {
    let happy = pattern("happi", "happy", true, 0);
    assert_eq!(happy.matches("happi"), Some(TermMatch::Exact));
    assert_eq!(happy.matches("happydom"), Some(TermMatch::Prefix));
    assert_eq!(happy.matches("happier"), None);
    // The older stem of "international" is "intern": it must not find "internet".
    assert_eq!(pattern("intern", "international", true, 0).matches("internet"), None);
    assert!(!happy.is_exact() && !pattern("a", "a", false, 1).is_exact() && pattern("a", "a", false, 0).is_exact());
}

#[test]
fn wrong_letters_are_allowed_in_the_word_and_in_its_stem() {
    // The stem of "monky" is "monki", two letters away from "monkey".
    let mut monky = pattern("monki", "monky", false, 1);
    assert_eq!(monky.matches("monkey"), Some(TermMatch::Typos(1)));
    assert_eq!(monky.matches("monk"), Some(TermMatch::Typos(1)));
    monky.word_typos = 0;
    assert_eq!(monky.matches("monkey"), None);
    let universty = pattern("universti", "universty", false, 1);
    assert_eq!(universty.matches("universiti"), Some(TermMatch::Typos(1)));
}
