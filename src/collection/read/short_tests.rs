//! Which ranked searches are short, by what they ask for and by what the collection has.

use std::sync::Arc;

use super::{SHORT_POSTINGS, SHORT_SELECTION, SHORT_WIDTH};
use crate::collection::replay::Replay;
use crate::collection::request::{Combination, Facet, Fusion, LeafQuery, LeafSearch, RankedSearch, Ranking};
use crate::config::Limits;
use crate::filter::Filter;
use crate::interrupt::Interrupt;
use crate::ranking::{Aggregate, GroupBy};
use crate::record::{Metadata, Metric, Record, SparseVector};
use crate::text::{Analyser, QueryOptions, TextQuery, TextSettings, Typos};

fn collection(records: usize) -> Replay {
    let mut replay = Replay::new(Metric::L2);
    let terms = || SparseVector::new(vec![1, 2], vec![1.0, 2.0]).unwrap();
    let record = |n: usize| Record {
        document: Some(format!("fox {n}")),
        metadata: Some(Metadata([("n".to_owned(), (n as i64).into()), ("terms".to_owned(), terms().into())].into())),
        ..Record::new(format!("r{n}"), vec![n as f32])
    };
    replay.add((0..records).map(record));
    replay
}

fn analyser() -> Arc<Analyser> {
    Arc::new(Analyser::new(&TextSettings::default()).unwrap())
}

fn words(words: &str, options: QueryOptions) -> LeafQuery {
    let analyser = analyser();
    LeafQuery::Text { query: TextQuery::parse(words, &analyser, &options).unwrap(), analyser }
}

fn plain(text: &str) -> RankedSearch {
    RankedSearch::single(words(text, QueryOptions::default()), 10)
}

fn run(replay: &Replay, search: &RankedSearch) {
    replay.snapshot().ranked(search, (None, 100), &Limits::default(), &Interrupt::never()).unwrap();
}

fn is_short(replay: &Replay, search: &RankedSearch) -> bool {
    replay.snapshot().is_short_rank(search, None)
}

#[test]
fn a_search_is_short_once_its_indexes_are_built() {
    let replay = collection(100);
    let vector = SparseVector::new(vec![1, 7], vec![1.0, 1.0]).unwrap();
    let sparse = RankedSearch::single(LeafQuery::Sparse { key: "terms".to_owned(), vector, idf: true }, 10);
    for search in [plain("fox +7 -8"), sparse] {
        assert!(!is_short(&replay, &search), "{search:?}: its index has to be built");
        run(&replay, &search);
        assert!(is_short(&replay, &search), "{search:?}");
    }
    let nearest = RankedSearch::single(LeafQuery::Embedding(vec![1.0]), 10);
    assert!(is_short(&replay, &nearest));
}

#[test]
fn what_looks_at_documents_dictionaries_or_the_whole_list_is_not_short() {
    let replay = collection(100);
    run(&replay, &plain("fox"));
    let leaf = |query| LeafSearch { query, limit: 10 };
    let fused = |combination, second: LeafQuery| RankedSearch {
        rank: Some(Ranking { combination, leaves: vec![leaf(words("fox", QueryOptions::default())), leaf(second)] }),
        ..plain("fox")
    };
    let fusion = || Combination::Fusion(Fusion::default(), vec![1.0, 1.0]);
    assert!(is_short(&replay, &fused(fusion(), LeafQuery::Embedding(vec![1.0]))));
    let by_n = GroupBy { fields: vec!["n".to_owned()], aggregate: Aggregate::MinK, order: Vec::new(), k: 1 };
    let of = |text, options| RankedSearch::single(words(text, options), 10);
    for long in [
        plain("\"fox 7\""),
        of("fo", QueryOptions { prefix: true, ..QueryOptions::default() }),
        of("foxx", QueryOptions { typos: Typos::Auto, ..QueryOptions::default() }),
        RankedSearch { group_by: Some(by_n), ..plain("fox") },
        RankedSearch { facets: vec![Facet { key: "n".to_owned(), ..Facet::default() }], ..plain("fox") },
        RankedSearch::single(words("fox", QueryOptions::default()), SHORT_WIDTH + 1),
        fused(fusion(), LeafQuery::Examples(Default::default())),
        RankedSearch { rank: None, ..plain("fox") },
    ] {
        assert!(!is_short(&replay, &long), "{long:?}");
    }
}

#[test]
fn a_search_is_short_up_to_a_number_of_postings_and_of_records_that_a_filter_looks_at() {
    // One of them is deleted in the end.
    let records = SHORT_SELECTION as usize + 2;
    let mut replay = collection(records);
    let few = RankedSearch { filter: Some(Filter::eq("n", 7)), ..plain("fox") };
    run(&replay, &plain("fox"));
    assert!(!is_short(&replay, &few), "each record has to be looked at");
    run(&replay, &few);
    assert!(is_short(&replay, &few), "what it selects is known");
    assert!(!is_short(&replay, &RankedSearch { ids: Some(vec!["r7".to_owned()]), ..plain("fox") }));
    let count = SHORT_POSTINGS as usize / records;
    let many = |count: usize| plain(&(0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(" "));
    assert!(is_short(&replay, &many(count)) && !is_short(&replay, &many(count + 1)));
    replay.delete(&["r7"]);
    assert!(!is_short(&replay, &few), "another version");
}

#[test]
fn where_embeddings_may_tie_their_search_is_not_short() {
    let mut replay = collection(100);
    let nearest = RankedSearch::single(LeafQuery::Embedding(vec![1.0]), 10);
    assert!(is_short(&replay, &nearest));
    let again = Record { document: Some("fox".to_owned()), ..Record::new("r7", vec![7.0]) };
    replay.write(crate::collection::request::Write::Upsert(vec![again])).unwrap();
    assert!(!is_short(&replay, &nearest), "an updated record keeps its place in the order");
    assert!(replay.snapshot().is_short(&crate::collection::request::Query::new([1.0])), "of equal ones it takes any");
}
