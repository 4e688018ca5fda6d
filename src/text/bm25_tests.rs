//! Sparse vectors against Chroma's Python client 1.5.9: the table of its results, and what tells versions apart. 30,000
//! random texts were compared with it as well, when it was written: 666,419 terms, no difference.

use super::{Encoded, term_index};
use crate::text::{Analyser, EnglishStemmer, TextSettings};

fn encode(text: &str, settings: &TextSettings) -> Encoded {
    Analyser::new(settings).unwrap().tokeniser().encode(text, true)
}

#[test]
fn texts_have_the_vectors_that_chroma_gives_them() {
    let long = format!("{} {}", "a".repeat(41), "b".repeat(40));
    let table: &[(&str, &[u32], &[f64], &str)] = &[
        ("hello world", &[74040069, 613153351], &[1.6832038254632398; 2], "world hello"),
        (
            "The quick brown foxes don't jump over the lazy dog's back; foxes!",
            &[226376294, 741580288, 771291085, 823588779, 1312749093, 1621867415, 1913189942],
            &[
                1.6564705882352944,
                1.6564705882352944,
                1.6564705882352944,
                1.6564705882352944,
                1.6564705882352944,
                1.8899328859060405,
                1.6564705882352944,
            ],
            "lazi brown quick back dog fox jump",
        ),
        (
            "Usain Bolt's top speed reached ~27.8 mph (44.72 km/h)",
            &[
                230246813, 395514983, 458027949, 488165615, 729632045, 734978415, 997512866, 1114505193, 1381820790,
                1501587190, 1649421877, 1837285388,
            ],
            &[1.6391152502910362; 12],
            "usain 44 km top h reach speed 8 27 bolt 72 mph",
        ),
        ("É naïve 東京", &[269551495, 756638508, 1765863102], &[1.6786885245901642; 3], "é naïv 東京"),
        (
            "added internal organization university",
            &[592013330, 953378023, 1357981993, 1573887769],
            &[1.6741973840665876; 4],
            "organiz add universiti internal",
        ),
        ("x x x x x", &[1050319643], &[2.068610886652465], "x"),
        (
            "a_b __ 1,234.5 C++",
            &[215691602, 516762017, 756166487, 1394226660, 1625941657, 1810453357],
            &[1.6652868125369606; 6],
            "__ c a_b 5 234 1",
        ),
        (&long, &[1034918804], &[1.6877434821696136], &long[42..]),
        ("", &[], &[], ""),
        (" the of and ", &[], &[], ""),
        ("don't won't it's", &[], &[], ""),
    ];
    for (text, indices, values, tokens) in table {
        let encoded = encode(text, &TextSettings::default());
        assert_eq!(encoded.indices, *indices, "{text}");
        assert_eq!(encoded.values, values.iter().map(|value| *value as f32).collect::<Vec<_>>(), "{text}");
        assert_eq!(encoded.tokens.join(" "), *tokens, "{text}");
    }
}

#[test]
fn the_second_generation_gives_the_older_stems() {
    let settings = TextSettings { stemmer: EnglishStemmer::Snowball2, ..TextSettings::default() };
    let encoded = encode("added internal organization university", &settings);
    assert_eq!(encoded.indices, [482863870, 957769532, 1271291307, 2139336747]);
    assert_eq!(encoded.tokens, ["univers", "organ", "ad", "intern"]);
}

#[test]
fn tokens_are_left_out_unless_they_are_asked_for() {
    let analyser = Analyser::new(&TextSettings::default()).unwrap();
    let encoded = analyser.tokeniser().encode("hello world", false);
    assert_eq!((encoded.indices.len(), encoded.tokens.len()), (2, 0));
}

/// Found by trying: one hash is the other's negative.
const COLLIDING: (&str, &str) = ("qtf9k", "qg55ck");

#[test]
fn terms_with_one_hash_are_one_term_and_keep_the_first_token() {
    let (one, other) = COLLIDING;
    assert_eq!(term_index(one), term_index(other));
    let encoded = encode(&format!("{other} {one} {other} hello"), &TextSettings::default());
    assert_eq!(encoded.indices.len(), 2);
    let at = encoded.indices.iter().position(|index| *index == term_index(one)).unwrap();
    assert_eq!(encoded.tokens[at], other);
    // tf 3, L 4: 3 · 2.2 / (3 + 1.2 · (0.25 + 0.75 · 4 / 256)).
    assert_eq!(encoded.values[at], (6.6f64 / (3.0 + 1.2 * (0.25 + 3.0 / 256.0))) as f32);
}

/// Values of MurmurHash3 x86 32 for all lengths of its last block, as `mmh3` gives them.
#[test]
fn indices_are_absolute_values_of_signed_hashes() {
    for (term, index) in [
        ("", 0),
        ("a", 1009084850),
        ("ab", 1681926305),
        ("abc", 1277324294),
        ("abcd", 1139631978),
        ("abcde", 392455434),
        ("é", 269551495),
        ("東京", 1765863102),
        ("hello world", 1586663183),
    ] {
        assert_eq!(term_index(term), index, "{term}");
    }
}
