//! Fragments of documents: the best ones, cut where readers expect it, with the words marked.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use unicode_segmentation::UnicodeSegmentation;

use super::{Fragment, HighlightSettings, HighlightTags};
use crate::text::analyser::tests::random_text;
use crate::text::{Analyser, Language, QueryOptions, TextQuery, TextSettings, Typos};

fn fragments(language: &str, query: &str, document: &str, settings: &HighlightSettings) -> Vec<Fragment> {
    let text = TextSettings { language: language.parse().unwrap(), ..TextSettings::default() };
    let analyser = Analyser::new(&text).unwrap();
    let options = QueryOptions { prefix: true, typos: Typos::Auto, ..QueryOptions::default() };
    let query = TextQuery::parse(query, &analyser, &options).unwrap();
    query.fragments(document, &mut analyser.tokeniser(), settings)
}

fn rendered(language: &str, query: &str, document: &str, settings: &HighlightSettings) -> Vec<String> {
    let all = fragments(language, query, document, settings);
    let tags = HighlightTags { pre: "[".into(), post: "]".into(), escape_html: false };
    all.iter().map(|fragment| fragment.render(document, &tags)).collect()
}

#[test]
fn a_short_document_is_shown_whole_with_every_word_marked() {
    for (language, query, document, expected) in [
        ("english", "running fox ", "The Foxes ran; a fox runs.", "The [Foxes] ran; a [fox] [runs]."),
        ("english", "\"new york\" ", "York, New York, new.", "York, [New] [York], new."),
        ("english", "fox -dog ", "dog and fox", "dog and [fox]"),
        ("english", "univ", "Universities, universe, urban", "[Universities], [universe], urban"),
        ("english", "monky ", "A monkey and a donkey", "A [monkey] and a donkey"),
        ("english", "cafe ", "un cafe\u{301}!", "un [cafe\u{301}]!"),
        ("english", "nothing ", " Left as it is. ", " Left as it is. "),
        ("english", "", "", ""),
        ("unicode", "東京都 ", "東京都と京都", "[東京都]と[京都]"),
        ("unicode", "ｶﾞｽ ", "ガスだ", "[ガス]だ"),
        ("german", "straße ", "Die Strassen, die Straßen", "Die [Strassen], die [Straßen]"),
        ("french", "avion ", "L'avion d’avions", "[L'avion] [d’avions]"),
    ] {
        assert_eq!(rendered(language, query, document, &HighlightSettings::default()), [expected], "{query}");
    }
}

#[test]
fn the_best_parts_of_a_long_document_are_shown_in_its_order() {
    let filler = "Rain fell on the hills all day and nobody came. ".repeat(6);
    let document = format!("A fox. {filler}The lazy fox met the brown dog. {filler}One dog. {filler}End");
    let settings = HighlightSettings { length: 50, fragments: 2, ..HighlightSettings::default() };
    let shown = rendered("english", "lazy dog fox ", &document, &settings);
    assert_eq!(
        shown,
        ["A [fox]. Rain fell on the hills all day and nobody", "came. The [lazy] [fox] met the brown [dog]. Rain fell"]
    );
    let best = HighlightSettings { fragments: 1, ..settings.clone() };
    let only = fragments("english", "lazy dog fox ", &document, &best);
    assert_eq!((only.len(), only[0].clauses, only[0].marks.len()), (1, 3, 3));
    // Nothing found: the beginning.
    let shown = rendered("english", "submarine ", &document, &settings);
    assert_eq!(shown, ["A fox. Rain fell on the hills all day and nobody"]);
}

#[test]
fn text_without_borders_is_cut_between_characters() {
    let settings = HighlightSettings { length: 20, ..HighlightSettings::default() };
    assert_eq!(rendered("english", "x", &"a".repeat(100), &settings), ["a".repeat(20)]);
    // Each of these is three code points.
    assert_eq!(rendered("english", "x", &"👩\u{200D}🚀".repeat(50), &settings), ["👩\u{200D}🚀".repeat(6)]);
    let japanese = format!("{}東京{}", "あ".repeat(50), "い".repeat(50));
    assert_eq!(
        rendered("unicode", "東京 ", &japanese, &settings),
        [format!("{}[東京]{}", "あ".repeat(9), "い".repeat(9))]
    );
}

#[test]
fn tags_are_as_asked_for_and_text_is_escaped_only_then() {
    let document = "<b>Fox & \"dog's\"</b>";
    let all = fragments("english", "fox dog ", document, &HighlightSettings::default());
    let mut tags = HighlightTags::default();
    assert_eq!(all[0].render(document, &tags), "<b><mark>Fox</mark> & \"<mark>dog</mark>'s\"</b>");
    tags.escape_html = true;
    let escaped = "&lt;b&gt;<mark>Fox</mark> &amp; &quot;<mark>dog</mark>&#39;s&quot;&lt;/b&gt;";
    assert_eq!(all[0].render(document, &tags), escaped);
}

#[test]
fn settings_out_of_bounds_are_refused_by_name() {
    let check = |change: fn(&mut HighlightSettings)| {
        let mut settings = HighlightSettings::default();
        change(&mut settings);
        settings.check().map_err(|error| error.to_string())
    };
    assert_eq!(check(|_| ()), Ok(()));
    for (got, expected) in [
        (check(|s| s.length = 19), "highlight.length: expected 20 to 10000, got 19"),
        (check(|s| s.fragments = 0), "highlight.fragments: expected 1 to 100, got 0"),
        (check(|s| s.tags.post = "x".repeat(201)), "highlight.post: expected 0 to 200 bytes, got 201"),
    ] {
        assert_eq!(got, Err(expected.to_owned()));
    }
    let read: HighlightSettings = serde_json::from_str(r#"{"length":99,"pre":"*","escape_html":true}"#).unwrap();
    assert_eq!((read.length, read.fragments, read.tags.pre.as_str(), read.tags.escape_html), (99, 3, "*", true));
    assert_eq!(read.tags.post, "</mark>");
    assert!(serde_json::from_str::<HighlightSettings>(r#"{"tag":"em"}"#).unwrap_err().to_string().contains("`tag`"));
}

#[test]
fn fragments_of_any_text_are_whole_characters_in_order_and_not_too_long() {
    for language in Language::ALL {
        let seed = 1700 + *language as u64;
        println!("{}: seed {seed}", language.name());
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..150 {
            let document = random_text(&mut rng, 120);
            let query = random_text(&mut rng, 6);
            let settings = HighlightSettings {
                length: rng.random_range(20..80),
                fragments: rng.random_range(1..5),
                ..HighlightSettings::default()
            };
            let all = fragments(language.name(), &query, &document, &settings);
            assert!(!all.is_empty() && all.len() <= settings.fragments, "{document:?} {query:?}");
            let borders: Vec<usize> =
                document.grapheme_indices(true).map(|(at, _)| at).chain([document.len()]).collect();
            let mut end = 0;
            for fragment in &all {
                assert!(fragment.bytes.start >= end, "{document:?} {query:?} {all:?}");
                end = fragment.bytes.end;
                let ends = fragment.marks.iter().flat_map(|mark| [mark.start, mark.end]);
                let places: Vec<usize> = [fragment.bytes.start].into_iter().chain(ends).chain([end]).collect();
                assert!(places.is_sorted(), "{document:?} {query:?} {fragment:?}");
                assert!(
                    places.iter().all(|at| borders.binary_search(at).is_ok()),
                    "{document:?} {query:?} {fragment:?}"
                );
                let length = document[fragment.bytes.clone()].chars().count();
                let longest = fragment.marks.iter().map(|mark| document[mark.clone()].chars().count()).max();
                assert!(length <= settings.length.max(longest.unwrap_or(0)), "{length}: {document:?} {fragment:?}");
            }
        }
    }
}

/// The most different words that stand within a length, by trying every beginning and end.
#[test]
fn the_one_fragment_that_is_shown_has_the_most_clauses_that_any_place_has() {
    let seed = 153;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let words = ["ant", "bee", "cow", "dog", "filler", "somewhere", "else"];
    let analyser = Analyser::new(&TextSettings::default()).unwrap();
    let query = TextQuery::parse("ant bee cow dog", &analyser, &QueryOptions::default()).unwrap();
    let settings = HighlightSettings { length: 30, fragments: 1, ..HighlightSettings::default() };
    let mut seen = [0; 5];
    for _ in 0..2_000 {
        let document: String = (0..25).map(|_| words[rng.random_range(0..words.len())].to_owned() + " ").collect();
        let hits = query.hits(&document, &mut analyser.tokeniser());
        let mut best = 0;
        for first in &hits {
            let inside = |hit: &&super::WordHit| {
                hit.bytes.start >= first.bytes.start && hit.bytes.end - first.bytes.start <= settings.length
            };
            let mut clauses: Vec<usize> = hits.iter().filter(inside).map(|hit| hit.clause).collect();
            clauses.sort_unstable();
            clauses.dedup();
            best = best.max(clauses.len());
        }
        let shown = query.fragments(&document, &mut analyser.tokeniser(), &settings);
        assert!(shown.len() == 1 && shown[0].clauses >= best, "{document}: {best} {shown:?}");
        seen[best] += 1;
    }
    assert!(seen[2] > 20 && seen[4] > 50, "{seen:?}");
}
