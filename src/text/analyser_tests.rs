//! Analysis in all languages: which words become which terms, where they stand, and that no text breaks it.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Analyser;
use crate::text::{Language, TextSettings};

fn analyser(language: &str) -> Analyser {
    let settings = TextSettings { language: language.parse().unwrap(), ..TextSettings::default() };
    Analyser::new(&settings).unwrap()
}

/// The terms of a text, each with the position and the bytes of its word.
fn tokens(analyser: &Analyser, text: &str) -> Vec<(String, u32, String)> {
    let mut all = Vec::new();
    analyser.tokeniser().each(text, |token| {
        all.push((token.term.to_owned(), token.position, text[token.bytes].to_owned()));
    });
    all
}

fn terms(language: &str, text: &str) -> String {
    tokens(&analyser(language), text).into_iter().map(|(term, ..)| term).collect::<Vec<_>>().join(" ")
}

#[test]
fn tokens_say_where_their_words_stand() {
    let expected = [("fox", 2, "Foxes"), ("jump", 6, "JUMPED"), ("naïv", 7, "naïve")];
    let found = tokens(&analyser("english"), "¡The «two» Foxes don't… _ JUMPED, naïve!").into_iter();
    let found: Vec<_> = found.filter(|(term, ..)| term != "two" && term != "_").collect();
    assert_eq!(found, expected.map(|(term, position, word)| (term.to_owned(), position, word.to_owned())));
}

#[test]
fn each_language_cuts_and_stems_its_words() {
    for (language, text, expected) in [
        ("english", "ΟΔΟΣ Οδός 東京タワー e\u{301}t", "οδος οδός 東京タワー e"),
        ("unicode", "The U.S. don't 3.14 foo_bar e\u{301}T", "the u.s don't 3.14 foo_bar ét"),
        ("unicode", "東京タワーへ", "東京 京タ タワ ワー ーへ"),
        ("unicode", "京 is 東京。都", "京 is 東京 都"),
        ("unicode", "ｶﾞｷﾞ ガギ ＡＢ ﬁne", "ガギ ガギ ab fine"),
        ("unicode", "Rust東京Tokyo", "rust 東京 tokyo"),
        ("unicode", "한국어 ภาษาไทย", "한국 국어 ภา าษ ษา าไ ไท ทย"),
        ("german", "Die Häuser an den Straßen waren größer", "haus strass gross"),
        ("french", "L'avion d’aujourd'hui jusqu'à nos maisons", "avion aujourd'hui maison"),
        ("italian", "l'amico dell’amica", "amic amic"),
        ("spanish", "Las bibliotecas de la ciudad", "bibliotec ciud"),
        ("portuguese", "as cidades são bonitas", "cidad bonit"),
        ("dutch", "de huizen van Amsterdam", "huiz amsterdam"),
        ("swedish", "bilarna och husen", "bil hus"),
        ("danish", "bilerne og husene", "bil hus"),
        ("norwegian", "bilene og husene", "bil hus"),
        ("finnish", "talossa taloista", "talo talo"),
        ("hungarian", "házban házak", "ház ház"),
        ("romanian", "casele", "cas"),
        ("russian", "Красивые книги", "красив книг"),
        ("greek", "Οι δρόμοι", "οι δρομ"),
        ("turkish", "IŞIK İstanbul'da kitaplar", "ışık istanbul kitap"),
        ("arabic", "الكتاب", "كتاب"),
        ("tamil", "மரங்கள்", "மரங்"),
    ] {
        assert_eq!(terms(language, text), expected, "{language}: {text}");
    }
}

#[test]
fn stopwords_of_ones_own_replace_the_languages() {
    let own = |words: &[&str]| {
        let stopwords = Some(words.iter().map(|word| (*word).to_owned()).collect());
        let analyser = Analyser::new(&TextSettings { stopwords, ..TextSettings::default() }).unwrap();
        tokens(&analyser, "The Cats and the dogs").into_iter().map(|(term, ..)| term).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(own(&[]), "the cat and the dog");
    assert_eq!(own(&["CATS", "the"]), "and dog");
    // A stopword is a word, not a stem.
    assert_eq!(own(&["cat"]), "the cat and the dog");
}

#[test]
fn words_that_are_too_long_are_left_out_and_keep_their_place() {
    let text = format!("{} {} end", "İ".repeat(20), "x".repeat(1 << 20));
    // İ is two code points in lower case: 40 are kept.
    let found = tokens(&analyser("english"), &text);
    assert_eq!(found.iter().map(|(_, position, _)| *position).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(found[1].0, "end");
    assert_eq!(tokens(&analyser("english"), &"İ".repeat(21)), []);
}

#[test]
fn words_without_stems_stay_whole() {
    let settings = TextSettings { stemming: false, ..TextSettings::default() };
    let found = tokens(&Analyser::new(&settings).unwrap(), "Running Universities");
    assert_eq!(found.iter().map(|(term, ..)| term.as_str()).collect::<Vec<_>>(), ["running", "universities"]);
}

/// Pieces that texts are made of: letters of many scripts, marks, what joins and what separates.
pub(in crate::text) fn random_text(rng: &mut StdRng, pieces: usize) -> String {
    const PIECES: &str = " | | |a|ing|s|Running|'|’|-|.|,|\n|\u{301}|\u{200D}|İ|ß|ΑΣ|Σ|東|京都|カ|ー|ｶﾞ|한국|\u{1112}\u{1161}|\
        ภา|ษ|👩\u{200D}🚀|🇩🇪🇫|\r\n|é|книг|مكتبة|மரம்|δρόμ|l'|3.14|_|\"|+|ﷺ|\u{0}|\u{FE0F}|x\u{308}|ǅ";
    let known: Vec<&str> = PIECES.split('|').collect();
    let mut text = String::new();
    for _ in 0..pieces {
        match rng.random_range(0..8) {
            0 => text.extend(char::from_u32(rng.random_range(0..0x11_0000))),
            1 => text.extend(char::from_u32(rng.random_range(0..0x3000))),
            _ => text.push_str(known[rng.random_range(0..known.len())]),
        }
    }
    text
}

#[test]
fn no_text_breaks_any_analyser_and_what_is_remembered_changes_no_token() {
    for language in Language::ALL {
        let seed = 1500 + *language as u64;
        println!("{}: seed {seed}", language.name());
        let analyser = analyser(language.name());
        let mut rng = StdRng::seed_from_u64(seed);
        let mut tokeniser = analyser.tokeniser();
        for _ in 0..300 {
            let pieces = rng.random_range(0..60);
            let text = random_text(&mut rng, pieces);
            let (mut found, mut before) = (Vec::new(), (0, None));
            tokeniser.each(&text, |token| {
                assert!(!token.term.is_empty() && !token.word.is_empty() && !text[token.bytes.clone()].is_empty());
                assert!(token.bytes.start >= before.0 && before.1 < Some(token.position), "{text:?}: {token:?}");
                before = (token.bytes.start, Some(token.position));
                found.push((token.term.to_owned(), token.position, text[token.bytes].to_owned()));
            });
            assert_eq!(found, tokens(&analyser, &text), "{text:?}");
        }
    }
}
