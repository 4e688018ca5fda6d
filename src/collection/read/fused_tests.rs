//! Fusion by theoretical min-max against sums over a plain list of records, and the bound of scores by words against
//! the scores that there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::collection::replay::Replay;
use crate::collection::request::{Combination, Fusion, LeafQuery, LeafSearch, NearestOptions, RankedSearch, Ranking};
use crate::config::Limits;
use crate::interrupt::Interrupt;
use crate::ranking::Normalisation;
use crate::record::{Metric, Record};
use crate::text::{Analyser, QueryOptions, TextQuery, TextSettings, Typos};

const WORDS: [&str; 8] = ["fox", "dog", "stone", "river", "lantern", "lanterns", "quick", "quiet"];
/// In no document.
const UNKNOWN: &str = "unicorn";

fn records(rng: &mut StdRng, count: usize) -> Vec<Record> {
    let mut record = |n| {
        let words: Vec<&str> = (0..rng.random_range(1..9)).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect();
        let embedding = vec![rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0f32)];
        Record { document: Some(words.join(" ")), ..Record::new(format!("r{n}"), embedding) }
    };
    (0..count).map(&mut record).collect()
}

fn analyser() -> Arc<Analyser> {
    Arc::new(Analyser::new(&TextSettings::default()).unwrap())
}

/// Numbers of records with their scores and those of the parts, best first.
type FusedRows = Vec<(String, f32, Vec<Option<(Option<usize>, f32)>>)>;

fn ranked(replay: &Replay, combination: Combination, leaves: Vec<LeafSearch>) -> FusedRows {
    ranked_within(replay, (combination, leaves), None)
}

fn ranked_within(
    replay: &Replay,
    (combination, leaves): (Combination, Vec<LeafSearch>),
    max_distance: Option<f32>,
) -> FusedRows {
    let nearest = NearestOptions { max_distance, ..NearestOptions::default() };
    let search = RankedSearch { rank: Some(Ranking { combination, leaves }), nearest, ..RankedSearch::default() };
    let snapshot = replay.snapshot();
    let page = snapshot.ranked(&search, (None, usize::MAX), &Limits::default(), &Interrupt::never()).unwrap();
    let shown = |row: &super::super::ranked::RankedRow| {
        let parts = row.parts.iter().map(|part| part.map(|part| (part.rank, part.score))).collect();
        (snapshot.chunk(row.at).id(row.at.row).to_owned(), row.score.unwrap(), parts)
    };
    page.rows.iter().map(shown).collect()
}

/// Σ ln(1 + (n − nᵢ + ½) / (nᵢ + ½)) · (k1 + 1) over words that are their own stems.
fn bound_of(words: &[&str], records: &[&Record]) -> f64 {
    let has = |record: &&&Record, word: &str| record.document.as_deref().unwrap().split(' ').any(|w| w == word);
    let idf = |word: &&str| {
        let (n, with) = (records.len() as f64, records.iter().filter(|r| has(r, word)).count() as f64);
        ((n - with + 0.5) / (with + 0.5)).ln_1p()
    };
    words.iter().map(idf).sum::<f64>() * 2.2
}

#[test]
fn a_record_counts_by_its_score_in_every_part_wherever_the_lists_are_cut() {
    const LIMIT: usize = 4;
    let mut unlisted = 0;
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut replay, all) = (Replay::new(Metric::Cosine), records(&mut rng, 60));
        replay.add(all.clone());
        replay.delete(&["r3", "r7", "r20"]);
        let kept: Vec<&Record> = all.iter().filter(|r| !["r3", "r7", "r20"].contains(&r.id.as_str())).collect();
        let words = ["fox", "stone", UNKNOWN];
        let analyser = analyser();
        let leaves = |limit| {
            let query = TextQuery::parse(&words.join(" "), &analyser, &QueryOptions::default()).unwrap();
            let text = LeafQuery::Text { query, analyser: analyser.clone() };
            [LeafQuery::Embedding(vec![1.0, 0.5]), text].map(|query| LeafSearch { query, limit })
        };
        let [near, text] = leaves(all.len()).map(|leaf| ranked(&replay, Combination::Single, vec![leaf]));
        let score_in = |list: &FusedRows, id: &str| list.iter().find(|row| row.0 == id).map(|row| f64::from(row.1));
        let union: BTreeSet<&str> =
            near.iter().take(LIMIT).chain(text.iter().take(LIMIT)).map(|row| row.0.as_str()).collect();
        let distances = union.iter().map(|id| score_in(&near, id).unwrap());
        let (least, most) = distances.fold((f64::MAX, f64::MIN), |(a, b), d| (a.min(d), b.max(d)));
        let bound = bound_of(&words, &kept);

        let fusion = Combination::Fusion(Fusion::WeightedSum(Normalisation::TheoreticalMinMax), vec![1.0, 0.5]);
        let fused = ranked(&replay, fusion, leaves(LIMIT).into());
        assert_eq!(fused.iter().map(|row| row.0.as_str()).collect::<BTreeSet<_>>(), union, "seed {seed}");
        assert!(fused.is_sorted_by(|a, b| a.1 >= b.1), "seed {seed}: {fused:?}");
        for (id, score, parts) in &fused {
            let own = score_in(&text, id);
            let expected =
                (most - score_in(&near, id).unwrap()) / (most - least) + 0.5 * own.unwrap_or_default() / bound;
            assert!((f64::from(*score) - expected).abs() < 1e-5, "seed {seed}, {id}: {score}, not {expected}");
            assert_eq!(parts[1].map(|(_, score)| f64::from(score)), own, "seed {seed}, {id}: null without a word");
            let rank = near.iter().position(|row| row.0 == *id).filter(|place| *place < LIMIT);
            assert_eq!(parts[0].unwrap().0, rank.map(|place| place + 1), "seed {seed}, {id}");
            unlisted += usize::from(rank.is_none());
        }
    }
    assert!(unlisted > 20, "only {unlisted} records were beyond the list of embeddings");
}

#[test]
fn records_that_only_words_found_have_their_distance_if_it_is_within_the_limit() {
    let (mut within, mut beyond) = (0, 0);
    for (seed, metric) in [Metric::Cosine, Metric::L2, Metric::Ip].into_iter().enumerate() {
        let mut rng = StdRng::seed_from_u64(seed as u64);
        let mut replay = Replay::new(metric);
        replay.add(records(&mut rng, 60));
        replay.delete(&["r3", "r7", "r20"]);
        let analyser = analyser();
        let leaves = |limit| {
            let query = TextQuery::parse("fox", &analyser, &QueryOptions::default()).unwrap();
            let text = LeafQuery::Text { query, analyser: analyser.clone() };
            [LeafQuery::Embedding(vec![1.0, 0.5]), text].map(|query| LeafSearch { query, limit })
        };
        let [near, _] = leaves(60).map(|leaf| ranked(&replay, Combination::Single, vec![leaf]));
        for most in [None, Some(near[20].1)] {
            let fusion = Combination::Fusion(Fusion::WeightedSum(Normalisation::TheoreticalMinMax), vec![1.0, 0.5]);
            for (id, _, parts) in ranked_within(&replay, (fusion, leaves(10).into()), most) {
                let distance = near.iter().find(|row| row.0 == id).unwrap().1;
                let expected = (most.is_none_or(|most| distance <= most)).then_some(distance);
                assert_eq!(parts[0].map(|(_, score)| score), expected, "{metric:?}, {id}, within {most:?}");
                within += usize::from(expected.is_some() && parts[0].unwrap().0.is_none());
                beyond += usize::from(expected.is_none());
            }
        }
    }
    assert!(within > 10 && beyond > 5, "{within} unlisted records within the limit, {beyond} beyond it");
}

#[test]
fn no_document_scores_more_than_the_bound_of_the_query() {
    let (mut closest, mut found) = (0.0f32, 0);
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let settings =
            TextSettings { b: rng.random_range(0.0..=1.0), k1: rng.random_range(0.1..3.0), ..Default::default() };
        let analyser = Arc::new(Analyser::new(&settings).unwrap());
        let mut replay = Replay::new(Metric::L2);
        replay.add(records(&mut rng, 50));
        // One that has every word without end.
        replay.add([Record { document: Some("fox quick ".repeat(3_000)), ..Record::new("long", vec![1.0, 0.0]) }]);
        replay.delete(&["r1", "r2", "r5", "r8"]);
        for _ in 0..20 {
            let count = rng.random_range(1..4);
            let mut word = || {
                let word = [WORDS.as_slice(), &["quikc", "lan", "qui", "stoen", UNKNOWN]].concat();
                let word = word[rng.random_range(0..word.len())];
                ["", "", "+", "\""][rng.random_range(0..4)].to_owned() + word
            };
            let words: Vec<String> = (0..count).map(|_| word()).collect();
            let words = words.join(" ");
            let (prefix, typos) = (rng.random_bool(0.5), [Typos::None, Typos::Auto][rng.random_range(0..2)]);
            let options = QueryOptions { prefix, typos, ..QueryOptions::default() };
            let query = TextQuery::parse(&words, &analyser, &options).unwrap();
            let interrupt = Interrupt::never();
            let bound = replay.snapshot().text_leaf(&query, &analyser, &interrupt).unwrap().unwrap().range();
            let (worst, best) = (bound.worst.unwrap(), bound.best.unwrap());
            assert_eq!(worst, 0.0);
            let leaf = LeafSearch { query: LeafQuery::Text { query, analyser: analyser.clone() }, limit: 100 };
            for (id, score, _) in ranked(&replay, Combination::Single, vec![leaf]) {
                let context = format!("seed {seed}, {words:?}, prefix {prefix}, typos {typos:?}, {id}");
                assert!(score > 0.0 && score <= best * (1.0 + 1e-5), "{context}: {score}, bound {best}");
                closest = closest.max(score / best);
                found += 1;
            }
        }
    }
    assert!(found > 1_000 && closest > 0.99, "{found} scores, the closest {closest} of its bound: it is tight");
}

#[test]
fn the_bound_is_the_same_whatever_was_deleted_and_counts_words_that_no_document_has() {
    let documents = ["lantern light", "stone", "river stone"];
    let record =
        |n: usize, text: &str| Record { document: Some(text.to_owned()), ..Record::new(format!("r{n}"), vec![1.0]) };
    let kept: Vec<Record> = documents.iter().enumerate().map(|(n, text)| record(n, text)).collect();
    let (mut grown, mut plain) = (Replay::new(Metric::L2), Replay::new(Metric::L2));
    grown.add([kept.clone(), vec![record(8, "lanternfish stones"), record(9, "lanthanum")]].concat());
    grown.delete(&["r8", "r9"]);
    plain.add(kept);
    let analyser = analyser();
    let best = |replay: &Replay, words: &str, prefix: bool| {
        let query = TextQuery::parse(words, &analyser, &QueryOptions { prefix, ..QueryOptions::default() }).unwrap();
        replay.snapshot().text_leaf(&query, &analyser, &Interrupt::never()).unwrap().unwrap().range().best.unwrap()
    };
    for (words, prefix) in [("lan", true), ("lanthan", true), ("stone lantern", false), ("stone unicorn", false)] {
        assert_eq!(best(&grown, words, prefix), best(&plain, words, prefix), "{words}");
    }
    // n = 3: two documents have stone, none has unicorn.
    let expected = 2.2 * ((1.5f32 / 2.5).ln_1p() + (3.5f32 / 0.5).ln_1p());
    assert!((best(&plain, "stone unicorn", false) - expected).abs() < 1e-5, "{expected}");
    assert!((best(&plain, "unicorn", false) - 2.2 * 8f32.ln()).abs() < 1e-5);
}
