//! The words of the code: each term that ARCHITECTURE.md explains is used, the words that these replaced stay
//! away, and few names of types stand for several things.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Words that gave way to those of the glossary, as words of a text or parts of a name.
const REPLACED: &[&str] = &[
    "beam",
    "bury",
    "calm",
    "departure",
    "examine",
    "face",
    "heritage",
    "lifted",
    "loose",
    "pour",
    "residence",
    "resting",
    "terrain",
    "tiers",
    "twins",
    "upkeep",
    "vault",
    "worn",
];

/// Names of types that gave way; the words are ordinary English.
const REPLACED_TYPES: &[&str] = &["Choice", "Condition", "Doomed", "Held", "Home", "Pace", "Seal"];

/// Where such a word stands for something else.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("resting", "src/collection/request.rs", "the state on the wire"),
    ("resting", "src/store/report.rs", "the field on the wire"),
    ("resting", "src/store/opening.rs", "the field on the wire"),
    ("resting", "src/store/overview.rs", "the field on the wire"),
    ("resting", "src/store/eviction.rs", "the field of the log"),
    ("resting", "src/cli/serve.rs", "the field of the log"),
    ("resting", "src/http/metrics.rs", "the name of a metric"),
    ("resting", "docs/", "names on the wire and of a metric"),
    ("resting", "tests/", "names on the wire and of a metric"),
    ("pour", "src/text/stopwords.rs", "a French preposition"),
    ("calm", "tests/", "a key that asks seldom, and a bucket without faults"),
    ("vault", "tests/http_files/", "the name of a file"),
    ("vault", "docs/requirements.md", "another product"),
    ("face", "docs/", "the name of a company"),
    ("face", "src/store/models.rs", "the name of a company"),
    ("lifted", "docs/", "what fog does in the records of the book, and limits"),
];

/// Names of types that stand in two or more files of `src`, at most.
const SHARED_TYPE_NAMES: usize = 20;

fn root(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(inside)
}

/// Files below `folder` with this ending, and their texts, by their place in the repository.
fn texts(folder: &str, ending: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|got| got == ending) {
                let inside = path.strip_prefix(root("")).unwrap().display().to_string();
                found.insert(inside, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The words of a text in lower case; a name counts as its parts.
fn words(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let (mut word, mut lower) = (String::new(), false);
    for c in text.chars().chain([' ']) {
        let begins = !c.is_ascii_alphabetic() || (c.is_ascii_uppercase() && lower);
        if begins && !word.is_empty() {
            words.insert(std::mem::take(&mut word));
        }
        if c.is_ascii_alphabetic() {
            word.push(c.to_ascii_lowercase());
        }
        lower = c.is_ascii_lowercase();
    }
    words
}

/// The terms of the table in ARCHITECTURE.md.
fn terms() -> Vec<String> {
    let text = fs::read_to_string(root("ARCHITECTURE.md")).unwrap();
    let (_, words) = text.split_once("## Words").expect("a chapter about words");
    let words = words.split("\n## ").next().unwrap();
    let rows = words.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| row.split('|').nth(1).unwrap().trim().to_lowercase()).collect()
}

/// Names of the types that a file declares outside its own tests.
fn types(text: &str) -> impl Iterator<Item = &str> {
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    product.lines().filter_map(|line| {
        let line = match line.strip_prefix("pub") {
            Some(rest) => rest.strip_prefix('(').map_or(rest, |rest| rest.split_once(')').map_or("", |(_, rest)| rest)),
            None => line,
        };
        let line = line.trim_start_matches(' ');
        let name = ["struct ", "enum ", "trait ", "type "].iter().find_map(|kind| line.strip_prefix(kind))?;
        name.split(|c: char| !c.is_ascii_alphanumeric()).next()
    })
}

#[test]
fn every_term_of_the_glossary_is_used_in_the_code() {
    let code = texts("src", "rs").into_values().collect::<Vec<_>>().join("\n").to_lowercase();
    let code = code.replace(['_', '-', '\n'], " ");
    let terms = terms();
    assert!(terms.len() > 40, "{terms:?}");
    // As words of a text, or run together in the name of a type.
    let said = |term: &&String| {
        let spaced = term.replace('-', " ");
        code.contains(&spaced) || code.contains(&spaced.replace(' ', ""))
    };
    let unsaid: Vec<&String> = terms.iter().filter(|term| !said(term)).collect();
    assert!(unsaid.is_empty(), "the code never says {unsaid:?}");
}

#[test]
fn the_words_that_were_replaced_stay_away() {
    let mut all = texts("src", "rs");
    all.extend(texts("tests", "rs").into_iter().filter(|(file, _)| file != "tests/glossary.rs"));
    all.extend(texts("docs", "md"));
    all.insert("README.md".to_owned(), fs::read_to_string(root("README.md")).unwrap());
    let mut wrong = Vec::new();
    for (file, text) in &all {
        let words = words(text);
        for word in REPLACED.iter().filter(|word| words.contains(**word)) {
            if !EXCEPTIONS.iter().any(|(excepted, place, _)| excepted == word && file.starts_with(place)) {
                wrong.push(format!("{file} says {word:?}"));
            }
        }
        if file.starts_with("src/") {
            let named = types(text).filter(|name| REPLACED_TYPES.contains(name));
            wrong.extend(named.map(|name| format!("{file} has a type {name}")));
        }
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md has a word for each: {wrong:#?}");
}

#[test]
fn every_exception_is_needed() {
    let mut all = texts("src", "rs");
    all.extend(texts("tests", "rs"));
    all.extend(texts("docs", "md"));
    for name in ["README.md", "ARCHITECTURE.md"] {
        all.insert(name.to_owned(), fs::read_to_string(root(name)).unwrap());
    }
    for (word, place, _) in EXCEPTIONS {
        let used = all
            .iter()
            .any(|(file, text)| file != "tests/glossary.rs" && file.starts_with(place) && words(text).contains(*word));
        assert!(used, "{place} does not say {word:?} any more");
    }
}

#[test]
fn few_names_of_types_stand_for_several_things() {
    let code = texts("src", "rs");
    let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in code.iter().filter(|(file, _)| !file.ends_with("tests.rs")) {
        types(text).for_each(|name| {
            files.entry(name).or_default().insert(file);
        });
    }
    assert!(files.len() > 400, "only {} types were found", files.len());
    files.retain(|_, files| files.len() > 1);
    assert!(files.len() < SHARED_TYPE_NAMES, "{} names: {files:#?}", files.len());
}
