//! The lists of stopwords: the English one is Chroma's, word for word.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::{ENGLISH, stopwords_of};
use crate::text::Language;

/// Words of Chroma's list that never come out of its cutting.
const WITH_APOSTROPHE: &str = "you're you've you'll you'd she's it's that'll don't should've aren't couldn't didn't \
    doesn't hadn't hasn't haven't isn't mightn't mustn't needn't shan't shouldn't wasn't weren't won't wouldn't";

fn checksum(words: &BTreeSet<&str>) -> String {
    let text = words.iter().copied().collect::<Vec<_>>().join("\n");
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn english_stopwords_are_those_of_chroma() {
    let mut words: BTreeSet<&str> = ENGLISH.split_whitespace().collect();
    assert_eq!(words.len(), 153);
    assert_eq!(checksum(&words), "f308c8efa96c0377200da1e222bfb40bb01cb2a122c69cfa8f80e6a63218ef21");
    words.extend(WITH_APOSTROPHE.split_whitespace());
    assert_eq!(words.len(), 179);
    assert_eq!(checksum(&words), "63c081f949766b37ecdc95ac5b55639990d34295166996357ff47df805fda211");
}

#[test]
fn every_list_is_in_lower_case_and_says_a_word_once() {
    let mut lists = 0;
    for language in Language::ALL {
        let words: Vec<&str> = stopwords_of(*language).split_whitespace().collect();
        let distinct: BTreeSet<&str> = words.iter().copied().collect();
        let twice: Vec<_> = distinct.iter().filter(|w| words.iter().filter(|x| x == w).count() > 1).collect();
        assert!(twice.is_empty(), "{}: {twice:?}", language.name());
        assert!(words.iter().all(|word| word.to_lowercase() == **word), "{}", language.name());
        lists += usize::from(!words.is_empty());
    }
    assert_eq!(lists, 10);
}
