//! Queries as people type them: what they ask for, which documents match, and what is refused. Documents are held
//! against a search that looks at every position.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Occur, TextQuery};
use crate::error::ErrorKind;
use crate::text::analyser::tests::random_text;
use crate::text::{Analyser, Language, MinimumMatch, QueryLimits, QueryOptions, TextSettings, Typos};

fn analyser(language: &str) -> Analyser {
    let settings = TextSettings { language: language.parse().unwrap(), ..TextSettings::default() };
    Analyser::new(&settings).unwrap()
}

/// A query as it was understood: `+must`, `-not`, `"phrase_terms"` with `_` for each word left out, `prefix*`, `typo~2`.
fn understood(language: &str, text: &str, options: &QueryOptions) -> String {
    let query = TextQuery::parse(text, &analyser(language), options).unwrap();
    let clauses = query.clauses().iter().map(|clause| {
        let mut written = String::new();
        for (place, term) in clause.terms.iter().enumerate() {
            let before = place.checked_sub(1).map_or(0, |before| clause.terms[before].offset + 1);
            written += if place > 0 { " " } else { "" };
            written += &"_ ".repeat((term.offset - before) as usize);
            written += &term.pattern.term;
            written += if term.pattern.is_prefix { "*" } else { "" };
            written +=
                &if term.pattern.word_typos > 0 { format!("~{}", term.pattern.word_typos) } else { String::new() };
        }
        let sign = match clause.occur {
            Occur::Should => "",
            Occur::Must => "+",
            Occur::MustNot => "-",
        };
        let written = if clause.is_phrase() { format!("\"{written}\"") } else { written };
        format!("{sign}{written}{}", if clause.count > 1 { format!("×{}", clause.count) } else { String::new() })
    });
    clauses.collect::<Vec<_>>().join(" | ")
}

#[test]
fn queries_are_read_as_users_of_search_boxes_expect() {
    let options = QueryOptions::default();
    for (text, expected) in [
        ("red foxes", "red | fox"),
        ("+red -foxes", "+red | -fox"),
        ("the \"quick brown\" fox", "\"quick brown\" | fox"),
        ("+\"statue of the liberty\" -\"new york\"", "+\"statu _ _ liberti\" | -\"new york\""),
        ("e-mail C++ --verbose a - b + c", "e | mail | c×2 | verbos | b"),
        ("+e-mail -well-known", "+\"e mail\" | -\"well known\""),
        ("\"single\" \"\" \"the\" +\"\" -\"", "singl"),
        ("“curly quotes” «guillemets spoken»", "\"cur quot\" | \"guillemet spoken\""),
        ("„deutsche Art“", "\"deutsch art\""),
        ("24\" monitor", "24 | monitor"),
        ("\"unbalanced to the end", "\"unbalanc _ _ end\""),
        ("ab\"cd ef\"gh", "ab | cd | ef | gh"),
        ("\"ab cd\"ef", "\"ab cd\" | ef"),
        ("fox fox -fox +fox", "fox×2 | -fox | +fox"),
        ("+-fox -+fox ++fox", "fox×3"),
        ("- + -- \" \t\u{3000}", ""),
        ("the of and", ""),
        ("-the +of", ""),
    ] {
        assert_eq!(understood("english", text, &options), expected, "{text}");
    }
    assert_eq!(
        understood("unicode", "東京都 -京都府 \"大阪 市\"", &options),
        "東京 | 京都 | -\"京都 都府\" | \"大阪 _ 市\""
    );
}

#[test]
fn only_an_open_last_word_may_be_a_beginning() {
    let options = QueryOptions { prefix: true, ..QueryOptions::default() };
    for (text, expected) in [
        ("red fo", "red | fo*"),
        ("red fo ", "red | fo"),
        ("red fo!", "red | fo"),
        ("red +fo", "red | +fo*"),
        ("red -fo", "red | -fo"),
        ("\"new yor", "\"new yor*\""),
        ("\"new yor\"", "\"new yor\""),
        ("e-mai", "e | mai*"),
        ("fo fo", "fo | fo*"),
    ] {
        assert_eq!(understood("english", text, &options), expected, "{text}");
    }
}

#[test]
fn typos_are_allowed_by_length_and_never_in_numbers_or_quotes() {
    for (typos, expected) in [
        (Typos::None, "b | cat | monkey | elephants | 20240 | \"grey mouse\""),
        (Typos::One, "b | cat~1 | monkey~1 | elephants~1 | 20240 | \"grey mouse\""),
        (Typos::Two, "b | cat~1 | monkey~2 | elephants~2 | 20240 | \"grey mouse\""),
        (Typos::Auto, "b | cat | monkey~1 | elephants~2 | 20240 | \"grey mouse\""),
    ] {
        let settings = TextSettings { stemming: false, ..TextSettings::default() };
        let analyser = Analyser::new(&settings).unwrap();
        let options = QueryOptions { typos, ..QueryOptions::default() };
        let query = TextQuery::parse("b cat monkey elephants 20240 \"grey mouse\"", &analyser, &options).unwrap();
        let all = query.clauses().iter().map(|clause| {
            let terms = clause.terms.iter().map(|term| match term.pattern.word_typos {
                0 => term.pattern.term.clone(),
                typos => format!("{}~{typos}", term.pattern.term),
            });
            let terms = terms.collect::<Vec<_>>().join(" ");
            if clause.is_phrase() { format!("\"{terms}\"") } else { terms }
        });
        assert_eq!(all.collect::<Vec<_>>().join(" | "), expected);
    }
}

#[test]
fn documents_match_by_signs_phrases_and_the_minimum() {
    let any = QueryOptions::default();
    let least = |minimum| QueryOptions { minimum_match: Some(minimum), ..QueryOptions::default() };
    let document = "The statue of Liberty, in New York: a gift of the people. York is new to me.";
    for (text, options, expected) in [
        ("liberty", &any, true),
        ("LIBERTIES", &any, true),
        ("paris liberty", &any, true),
        ("paris rome", &any, false),
        ("+paris liberty", &any, false),
        ("+liberty paris", &any, true),
        ("liberty -people", &any, false),
        ("liberty -paris", &any, true),
        ("-paris", &any, false),
        ("", &any, false),
        ("the of", &any, false),
        ("\"new york\"", &any, true),
        ("\"york new\"", &any, false),
        // A stopword stands for any word in its place.
        ("\"statue of liberty\"", &any, true),
        ("\"statue the liberty\"", &any, true),
        ("\"statue liberty\"", &any, false),
        ("liberty -\"new york\"", &any, false),
        ("liberty -\"york new\"", &any, true),
        ("liberty gift paris", &least(MinimumMatch::Count(2)), true),
        ("liberty gift paris", &least(MinimumMatch::Count(3)), false),
        ("liberty gift", &least(MinimumMatch::Count(9)), true),
        ("liberty gift paris", &least(MinimumMatch::Percent(66)), true),
        ("liberty gift paris", &least(MinimumMatch::Percent(67)), false),
        ("paris rome", &least(MinimumMatch::Count(0)), false),
        ("+liberty paris rome", &least(MinimumMatch::Count(1)), false),
    ] {
        let analyser = analyser("english");
        let query = TextQuery::parse(text, &analyser, options).unwrap();
        assert_eq!(query.matches(document, &mut analyser.tokeniser()), expected, "{text} {options:?}");
    }
}

#[test]
fn a_query_that_is_too_long_is_refused_with_both_numbers() {
    let analyser = analyser("english");
    let limits = QueryLimits { characters: 20, terms: 3 };
    let options = QueryOptions { limits, ..QueryOptions::default() };
    let refusal = |text: &str| TextQuery::parse(text, &analyser, &options).unwrap_err();
    let long = refusal("é".repeat(21).as_str());
    assert_eq!(long.kind(), ErrorKind::Limit);
    let expected = "text: expected at most 20 characters, got 21; use fewer, or raise the limit of characters";
    assert_eq!(long.to_string(), expected);
    let many = refusal("ab \"cd ef\" gh").to_string();
    assert_eq!(many, "text: expected at most 3 terms, got 4; use fewer, or raise the limit of terms");
    assert_eq!(TextQuery::parse("ab \"cd ef\" the", &analyser, &options).unwrap().clauses().len(), 2);
}

#[test]
fn options_go_to_json_and_back_and_bad_ones_are_refused_by_name() {
    let json = r#"{"minimum_match":"75%","prefix":true,"typos":"auto"}"#;
    let options: QueryOptions = serde_json::from_str(json).unwrap();
    assert_eq!((options.minimum_match, options.typos), (Some(MinimumMatch::Percent(75)), Typos::Auto));
    assert_eq!(serde_json::to_string(&options).unwrap(), json);
    let counted: QueryOptions = serde_json::from_str(r#"{"minimum_match":2,"typos":1}"#).unwrap();
    assert_eq!((counted.minimum_match, counted.typos), (Some(MinimumMatch::Count(2)), Typos::One));
    for (json, expected) in [
        (r#"{"minimum_match":-1}"#, "minimum_match: expected a whole number, or a share"),
        (r#"{"minimum_match":1.5}"#, "got 1.5"),
        (r#"{"minimum_match":"101%"}"#, "got \"101%\""),
        (r#"{"minimum_match":"half"}"#, "got \"half\""),
        (r#"{"typos":3}"#, "typos: expected 0, 1, 2 or \"auto\", got 3"),
        (r#"{"typos":"many"}"#, "got \"many\""),
        (r#"{"prefix":1}"#, "expected a boolean"),
        (r#"{"fuzzy":1}"#, "unknown field `fuzzy`"),
    ] {
        let message = serde_json::from_str::<QueryOptions>(json).unwrap_err().to_string();
        assert!(message.contains(expected), "{json}: {message}");
    }
}

/// Whether a document matches, by looking for each clause at each of its words.
fn matches_by_scan(query: &TextQuery, analyser: &Analyser, document: &str) -> bool {
    let mut words: Vec<(String, u32)> = Vec::new();
    analyser.tokeniser().each(document, |token| words.push((token.term.to_owned(), token.position)));
    let has = |clause: &super::QueryClause| {
        words.iter().any(|(_, start)| {
            clause.terms.iter().all(|term| {
                let there = |(word, position): &(String, u32)| {
                    *position == start + term.offset && term.pattern.matches(word).is_some()
                };
                words.iter().any(there)
            })
        })
    };
    let of = |occur| query.clauses().iter().filter(move |clause| clause.occur == occur);
    let positive = of(Occur::Should).count() + of(Occur::Must).count();
    let enough = of(Occur::Should).filter(|clause| has(clause)).count() >= query.minimum_match();
    positive > 0 && enough && of(Occur::Must).all(has) && !of(Occur::MustNot).any(has)
}

#[test]
fn random_queries_match_what_a_scan_of_every_position_matches() {
    let seed = 152;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let words = ["ab", "abc", "abcde", "abcdf", "bacde", "the", "xyz", "東京", "都", "e-f"];
    let mut pick = move |most: usize, marks: &[&str]| {
        let mut text = String::new();
        for _ in 0..rng.random_range(0..most) {
            text += marks[rng.random_range(0..marks.len())];
            text += words[rng.random_range(0..words.len())];
            text += [" ", " ", " ", "", "\" "][rng.random_range(0..if marks.len() > 1 { 5 } else { 3 })];
        }
        text
    };
    let mut matched = 0;
    for round in 0..6_000u32 {
        let analyser = analyser(["english", "unicode"][round as usize % 2]);
        let options = QueryOptions {
            minimum_match: [None, Some(MinimumMatch::Count(2)), Some(MinimumMatch::Percent(60))][round as usize % 3],
            prefix: round % 5 < 2,
            typos: [Typos::None, Typos::One, Typos::Two, Typos::Auto][round as usize % 4],
            ..QueryOptions::default()
        };
        let (text, document) = (pick(5, &["", "", "", "+", "-", "\"", "+\"", "-\""]), pick(14, &[""]));
        let query = TextQuery::parse(&text, &analyser, &options).unwrap();
        let expected = matches_by_scan(&query, &analyser, &document);
        assert_eq!(query.matches(&document, &mut analyser.tokeniser()), expected, "{text:?} {document:?} {options:?}");
        matched += usize::from(expected);
    }
    assert!((1_000..5_000).contains(&matched), "{matched}");
}

#[test]
fn no_text_breaks_a_query_in_any_language() {
    for language in Language::ALL {
        let seed = 1600 + *language as u64;
        println!("{}: seed {seed}", language.name());
        let analyser = analyser(language.name());
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..200 {
            let text = random_text(&mut rng, 12);
            let options = QueryOptions { prefix: true, typos: Typos::Auto, ..QueryOptions::default() };
            let query = TextQuery::parse(&text, &analyser, &options).unwrap();
            let expected = matches_by_scan(&query, &analyser, &text);
            assert_eq!(query.matches(&text, &mut analyser.tokeniser()), expected, "{text:?}");
        }
    }
}
