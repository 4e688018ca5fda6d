//! Settings of texts: what is refused, and with which words.

use super::{EnglishStemmer, Language, MAX_STOPWORDS, TextSettings};

fn refusal(change: impl FnOnce(&mut TextSettings)) -> String {
    let mut settings = TextSettings::default();
    change(&mut settings);
    settings.check().unwrap_err().to_string()
}

#[test]
fn a_setting_out_of_bounds_is_refused_by_its_name() {
    for (message, expected) in [
        (refusal(|s| s.k1 = -0.5), "text.k1: expected a number from 0 to 1000, got -0.5"),
        (refusal(|s| s.k1 = f64::NAN), "text.k1: expected a number from 0 to 1000, got NaN"),
        (refusal(|s| s.b = 1.5), "text.b: expected a number from 0 to 1, got 1.5"),
        (refusal(|s| s.b = f64::INFINITY), "text.b: expected a number from 0 to 1, got inf"),
        (
            refusal(|s| s.avg_doc_length = 0.0),
            "text.avg_doc_length: expected a number above 0, at most 1000000000, got 0",
        ),
        (refusal(|s| s.token_max_length = 0), "text.token_max_length: expected a whole number from 1 to 1000, got 0"),
        (
            refusal(|s| s.stopwords = Some(vec!["a".into(); MAX_STOPWORDS + 1])),
            "text.stopwords: expected at most 10000 words, got 10001",
        ),
        (
            refusal(|s| s.stopwords = Some(vec!["a".into(), String::new()])),
            "text.stopwords[1]: expected 1 to 100 characters, got 0",
        ),
        (
            refusal(|s| s.stopwords = Some(vec!["x".repeat(101)])),
            "text.stopwords[0]: expected 1 to 100 characters, got 101",
        ),
    ] {
        assert_eq!(message, expected);
    }
    assert_eq!(TextSettings::default().check().map_err(|error| error.to_string()), Ok(()));
}

#[test]
fn json_says_which_field_is_wrong_and_what_is_expected() {
    let refusal = |json: &str| serde_json::from_str::<TextSettings>(json).unwrap_err().to_string();
    for (json, expected) in [
        (r#"{"language": "klingon"}"#, "text.language: expected one of arabic, danish, dutch, english,"),
        (r#"{"stemmer": "porter"}"#, "unknown variant `porter`, expected `snowball2` or `snowball3`"),
        (r#"{"stems": true}"#, "unknown field `stems`, expected one of `language`, `stemming`"),
        (r#"{"stemming": "yes"}"#, "expected a boolean"),
    ] {
        assert!(refusal(json).contains(expected), "{json}: {}", refusal(json));
    }
}

#[test]
fn settings_go_to_json_and_back() {
    let default: TextSettings = serde_json::from_str("{}").unwrap();
    assert_eq!(default, TextSettings::default());
    assert_eq!((default.k1, default.b, default.avg_doc_length, default.token_max_length), (1.2, 0.75, 256.0, 40));
    for language in Language::ALL {
        let settings = TextSettings {
            language: *language,
            stemmer: EnglishStemmer::Snowball2,
            stopwords: Some(vec!["und".into()]),
            ..TextSettings::default()
        };
        let json = serde_json::to_string(&settings).unwrap();
        assert!(json.contains(&format!(r#""language":"{}","#, language.name())), "{json}");
        assert_eq!(serde_json::from_str::<TextSettings>(&json).unwrap(), settings);
    }
}

#[test]
fn the_fingerprint_changes_with_what_decides_terms_and_with_nothing_else() {
    let print = |change: fn(&mut TextSettings)| {
        let mut settings = TextSettings::default();
        change(&mut settings);
        settings.fingerprint()
    };
    let usual = print(|_| ());
    assert_eq!(usual, print(|s| (s.k1, s.b, s.avg_doc_length) = (2.0, 0.1, 10.0)));
    let changes: [fn(&mut TextSettings); 5] = [
        |s| s.language = Language::German,
        |s| s.stemming = false,
        |s| s.stemmer = EnglishStemmer::Snowball2,
        |s| s.stopwords = Some(Vec::new()),
        |s| s.token_max_length = 41,
    ];
    let mut all: Vec<u64> = changes.into_iter().map(print).chain([usual]).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6);
}
