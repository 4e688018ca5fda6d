//! Searches through graphs against exact ones, while records are updated, deleted, merged and reloaded under the
//! graphs. The reference is the exact search of one snapshot, which `model_tests` compares with a map.

use std::collections::HashSet;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Map;

use super::replay::Replay;
use super::request::{Hit, Query, Selection, Write};
use super::state::graphs::{GraphPart, GraphStorage, Relinked};
use super::state::snapshot::Snapshot;
use crate::config::Limits;
use crate::filter::Filter;
use crate::format::Checksum;
use crate::format::graph::{decode_graph, encode_graph};
use crate::format::head::GraphEntry;
use crate::index::{BUILDERS, Graph, GraphParams, GraphRange, build_graph};
use crate::interrupt::Interrupt;
use crate::record::{Metadata, MetadataPatch, Metric, Record, RecordUpdate, Version};
use crate::stream::state::State;

const DIM: usize = 8;

/// Points around 40 centres; the share of records with `n` below p is p %.
fn record(rng: &mut StdRng, n: usize) -> Record {
    let centre = rng.random_range(0..40u64);
    let mut centres = StdRng::seed_from_u64(centre);
    let embedding = (0..DIM).map(|_| centres.random_range(-1.0f32..1.0) + rng.random_range(-0.4f32..0.4)).collect();
    let metadata = Metadata::from([("n", rng.random_range(0..100i64))]);
    Record::new(format!("r{n}"), embedding).with_metadata(metadata)
}

fn build(snapshot: &Snapshot, lo: u64, hi: u64) -> Option<GraphPart> {
    let (lo, hi) = (Version(lo), Version(hi));
    let set = snapshot.graph_input(lo, hi);
    assert_eq!(set.vectors.len(), snapshot.count_embedded(lo, hi));
    if set.vectors.is_empty() {
        return None;
    }
    let range = GraphRange { stream: "c/x".into(), lo, hi };
    let params = GraphParams { threads: 1, ..GraphParams::default() };
    let graph = Arc::new(build_graph(&set, range, &params, BUILDERS[0]).unwrap());
    Some(GraphPart { key: format!("c/x/graph/{lo}-{hi}"), graph, stored: GraphStorage::Yes })
}

/// One graph, encoded and decoded as in the bucket.
fn reload(part: &GraphPart) -> (GraphEntry, Vec<u8>) {
    let bytes = encode_graph(part.graph.content()).unwrap();
    let (key, header) = (part.key.clone(), part.graph.header());
    let (lo, hi) = (header.lo, header.hi);
    let (nodes, size) = (part.graph.len() as u64, bytes.len() as u64);
    (GraphEntry { key, lo, hi, nodes, bytes: size, xxh3: Checksum::of(&bytes), other: Map::new() }, bytes)
}

fn search(snapshot: &Snapshot, query: &Query) -> Vec<Hit> {
    snapshot.search(query, &Limits::default(), &Interrupt::never()).unwrap().results.remove(0)
}

/// Share of the exact answer's hits that the default answer is as near as. The default answer must have as many hits;
/// these must be distinct, sorted, and of true distance.
fn recall(snapshot: &Snapshot, query: &Query, context: &str) -> f64 {
    let found = search(snapshot, query);
    let truth = search(snapshot, &query.clone().exact(true));
    assert_eq!(found.len(), truth.len(), "{context}");
    assert!(found.windows(2).all(|pair| pair[0].distance <= pair[1].distance), "{context}");
    let ids: HashSet<&str> = found.iter().map(|hit| hit.id.as_str()).collect();
    assert_eq!(ids.len(), found.len(), "{context}: a record twice");
    for hit in &found {
        let at = snapshot.find(&hit.id).unwrap();
        let embedding = snapshot.chunk(at).vector(at.row);
        let distance = crate::index::distance(snapshot.metric, &query.embeddings[0], embedding);
        assert!((distance - hit.distance).abs() < 1e-4, "{context}: {hit:?} lies at {distance}");
        let matches = query.filter.as_ref().is_none_or(|f| f.matches(hit.metadata.as_ref(), None));
        assert!(matches, "{context}: {hit:?} does not match");
    }
    let Some(worst) = truth.last() else { return 1.0 };
    let near = found.iter().filter(|hit| hit.distance <= worst.distance).count();
    near as f64 / truth.len() as f64
}

/// How many records [`lively`] has: enough that a walk is the better plan in every metric.
const RECORDS: usize = 12_000;

/// Records in 12 commits.
fn lively(metric: Metric) -> Replay {
    let mut rng = StdRng::seed_from_u64(1);
    let mut replay = Replay::new(metric);
    for commit in 0..12 {
        let many = RECORDS / 12;
        replay.add((0..many).map(|n| record(&mut rng, commit * many + n)));
    }
    replay
}

/// Updates of metadata, new embeddings, deletions, and some more records.
fn disturb(replay: &mut Replay, rng: &mut StdRng) {
    let update = |rng: &mut StdRng| RecordUpdate {
        id: format!("r{}", rng.random_range(0..RECORDS)),
        metadata: Some(MetadataPatch([("n".to_owned(), Some(rng.random_range(0..100i64).into()))].into())),
        ..RecordUpdate::default()
    };
    for _ in 0..4 {
        replay.write(Write::Update((0..200).map(|_| update(rng)).collect())).unwrap();
        let moved = |rng: &mut StdRng| {
            let n = rng.random_range(0..RECORDS);
            record(rng, n)
        };
        replay.write(Write::Upsert((0..150).map(|_| moved(rng)).collect())).unwrap();
        let ids = Some((0..150).map(|_| format!("r{}", rng.random_range(0..RECORDS))).collect());
        replay.write(Write::Delete(Selection { ids, ..Selection::default() })).unwrap();
    }
    let more = rng.random_range(0..1000) + RECORDS;
    replay.write(Write::Upsert((0..100).map(|n| record(rng, more + n)).collect())).unwrap();
}

fn check_recall(snapshot: &Snapshot, rng: &mut StdRng, context: &str) {
    for share in [100, 50, 10, 1] {
        let filter = Filter::lt("n", i64::from(share));
        let rounds = 25;
        let mean = (0..rounds)
            .map(|_| {
                let mut query = Query::new(record(rng, 0).embedding);
                query.filter = (share < 100).then(|| filter.clone());
                recall(snapshot, &query, &format!("{context}, {share} %"))
            })
            .sum::<f64>()
            / f64::from(rounds);
        assert!(mean >= 0.95, "{context}: recall {mean} among {share} %");
    }
}

#[test]
fn graph_searches_find_what_exact_ones_find_through_updates_deletions_and_filters() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Ip] {
        let mut rng = StdRng::seed_from_u64(2);
        let mut replay = lively(metric);
        // One graph of an older snapshot over part of it; the rest is unindexed.
        let part = build(&replay.snapshot(), 1, 9).unwrap();
        disturb(&mut replay, &mut rng);
        replay.state.attach_graph(part, &[]).unwrap();
        replay.state.publish();
        let query = Query::new(record(&mut rng, 0).embedding);
        let snapshot = replay.snapshot();
        assert_eq!(snapshot.walks_of(&query), 1, "{metric}: the graph is not used");
        snapshot.check_invariants().unwrap();
        check_recall(&snapshot, &mut rng, &format!("{metric}, attached late"));
        disturb(&mut replay, &mut rng);
        replay.snapshot().check_invariants().unwrap();
        check_recall(&replay.snapshot(), &mut rng, &format!("{metric}, disturbed"));
        if metric != Metric::L2 {
            continue;
        }
        // A graph over all versions replaces it.
        let last = replay.state.version().0;
        let all = build(&replay.snapshot(), 1, last).unwrap();
        let nodes = all.graph.len() as u64;
        let old = replay.snapshot().graph_keys();
        replay.state.attach_graph(all, &old).unwrap();
        replay.state.publish();
        assert_eq!((replay.snapshot().unindexed(), replay.snapshot().count()), (0, nodes));
        disturb(&mut replay, &mut rng);
        replay.snapshot().check_invariants().unwrap();
        check_recall(&replay.snapshot(), &mut rng, &format!("{metric}, replaced"));
    }
}

#[test]
fn a_reopened_collection_answers_from_its_stored_graphs_as_before() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut replay = lively(Metric::L2);
    disturb(&mut replay, &mut rng);
    let last = replay.state.version().0;
    let parts = [build(&replay.snapshot(), 1, 11).unwrap(), build(&replay.snapshot(), 12, last).unwrap()];
    for part in parts.clone() {
        replay.state.attach_graph(part, &[]).unwrap();
    }
    disturb(&mut replay, &mut rng);
    // The newest graph covers commits that are still in the log when it is loaded.
    let flushed = last - 3;
    let mut reopened = replay.loaded(&[flushed / 2, flushed]);
    for part in &parts {
        let (entry, bytes) = reload(part);
        reopened.state.load_graph(&entry, bytes.into()).unwrap();
    }
    reopened.catch_up(&replay);
    reopened.snapshot().check_invariants().unwrap();
    assert_eq!(reopened.snapshot().unindexed(), replay.state.current().unindexed());
    assert_eq!(reopened.snapshot().walks_of(&Query::new(record(&mut rng, 0).embedding)), 2);
    for _ in 0..50 {
        let query = Query::new(record(&mut rng, 0).embedding);
        assert_eq!(search(&reopened.snapshot(), &query), search(replay.state.current(), &query));
    }
}

#[test]
fn an_update_of_metadata_alone_keeps_its_node_and_a_new_embedding_does_not() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut replay = Replay::new(Metric::Cosine);
    replay.add((0..10).map(|n| record(&mut rng, n)));
    let part = build(&replay.snapshot(), 1, 1).unwrap();
    replay.state.attach_graph(part, &[]).unwrap();
    let patch = MetadataPatch([("n".to_owned(), None)].into());
    let update = RecordUpdate { id: "r3".into(), metadata: Some(patch), ..RecordUpdate::default() };
    replay.write(Write::Update(vec![update])).unwrap();
    replay.snapshot().check_invariants().unwrap();
    assert_eq!(replay.snapshot().unindexed(), 0);
    replay.write(Write::Upsert(vec![record(&mut rng, 3)])).unwrap();
    replay.snapshot().check_invariants().unwrap();
    assert_eq!(replay.snapshot().unindexed(), 1);
    replay.state.detach_graphs(&replay.snapshot().graph_keys());
    replay.state.current().check_invariants().unwrap();
    assert_eq!(replay.state.current().unindexed(), 10);
}

#[test]
fn a_graph_of_another_metric_dimension_or_range_is_refused_and_changes_nothing() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut replay = Replay::new(Metric::L2);
    replay.add((0..10).map(|n| record(&mut rng, n)));
    let part = build(&replay.snapshot(), 1, 1).unwrap();
    let (entry, bytes) = reload(&part);
    let wrong = [
        (GraphEntry { nodes: 11, ..entry.clone() }, "HEAD names c/x/graph/1-1 with 11 nodes, 1..=1"),
        (GraphEntry { hi: Version(2), ..entry.clone() }, "HEAD names c/x/graph/1-1 with 10 nodes, 1..=2"),
        (GraphEntry { key: "c/y/graph/1-1".into(), ..entry }, "HEAD names c/y/graph/1-1 with 10 nodes, 1..=1"),
    ];
    for (entry, said) in wrong {
        let error = replay.state.load_graph(&entry, bytes.clone().into()).unwrap_err();
        assert_eq!(error.to_string(), format!("graph of c/x 1..=1 with 10 nodes, {said}"));
    }
    let graph = Arc::new(Graph::new(decode_graph(bytes.into()).unwrap()));
    let mut other = Replay::new(Metric::Ip);
    other.add((0..10).map(|n| record(&mut rng, n)));
    let error = other.state.attach_graph(GraphPart { graph, ..part }, &[]).unwrap_err();
    assert_eq!(error.to_string(), "c/x/graph/1-1: expected a graph of ip, dimension Some(8); got l2, 8");
    assert!(other.state.current().graph_keys().is_empty());
}

#[test]
fn random_histories_with_graphs_attached_and_detached_keep_every_record_in_one_place() {
    for seed in 0..8u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut replay = Replay::new([Metric::L2, Metric::Cosine, Metric::Ip][seed as usize % 3]);
        let mut older = replay.snapshot();
        let mut prepared: Option<Relinked> = None;
        for round in 0..120 {
            let context = format!("seed {seed}, round {round}");
            let pick = |rng: &mut StdRng| rng.random_range(0..60);
            let ids: Vec<usize> = (0..rng.random_range(1..8)).map(|_| pick(&mut rng)).collect();
            let write = match rng.random_range(0..4) {
                0 => Write::Add(ids.iter().map(|n| record(&mut rng, *n)).collect()),
                1 => Write::Upsert(ids.iter().map(|n| record(&mut rng, *n)).collect()),
                2 => Write::Update(
                    ids.iter()
                        .map(|n| RecordUpdate { id: format!("r{n}"), document: Some("x".into()), ..Default::default() })
                        .collect(),
                ),
                _ => {
                    let ids = Some(ids.iter().map(|n| format!("r{n}")).collect());
                    Write::Delete(Selection { ids, ..Selection::default() })
                }
            };
            replay.write(write).unwrap();
            if rng.random_bool(0.2) {
                older = replay.snapshot();
            }
            if rng.random_bool(0.15) && older.version() > Version(0) {
                let lo = rng.random_range(1..=older.version().0);
                let hi = rng.random_range(lo..=older.version().0);
                // Ranges may overlap: a row keeps the node it has.
                let mut keys = replay.snapshot().graph_keys();
                keys.retain(|key| *key == format!("c/x/graph/{lo}-{hi}") || rng.random_bool(0.5));
                match build(&older, lo, hi) {
                    part if rng.random_bool(0.5) => prepared = Some(Relinked::prepare(replay.snapshot(), keys, part)),
                    Some(part) => replay.state.attach_graph(part, &keys).unwrap(),
                    None => replay.state.detach_graphs(&keys),
                }
                replay.state.publish();
            }
            if rng.random_bool(0.3)
                && let Some(prepared) = prepared.take()
            {
                replay.state.relink(&prepared);
                replay.state.publish();
            }
            replay.state.current().check_invariants().unwrap_or_else(|broken| panic!("{context}: {broken}"));
            let query = Query::new(record(&mut rng, 0).embedding).k(5);
            let found = search(&replay.snapshot(), &query);
            assert_eq!(found, search(&replay.snapshot(), &query.exact(true)), "{context}");
        }
    }
}

#[test]
fn a_search_counts_what_its_walk_and_its_scans_compare() {
    let mut rng = StdRng::seed_from_u64(11);
    let mut replay = Replay::new(Metric::L2);
    let records = |rng: &mut StdRng, range: std::ops::Range<usize>| range.map(|n| record(rng, n)).collect();
    replay.write(Write::Add(records(&mut rng, 0..6_000))).unwrap();
    let part = build(&replay.snapshot(), 1, 1).unwrap();
    replay.state.attach_graph(part, &[]).unwrap();
    replay.write(Write::Add(records(&mut rng, 6_000..6_500))).unwrap();
    let compared = |query: &Query| {
        let (snapshot, interrupt) = (replay.snapshot(), Interrupt::never());
        let route = snapshot.route(query, &Limits::default(), &interrupt).unwrap();
        snapshot.counted_answer(query, &route, 0..query.embeddings.len(), &interrupt).unwrap().1
    };
    let query = Query::new(vec![0.1; DIM]);
    assert_eq!(replay.snapshot().walks_of(&query), 1);
    let walked = compared(&query);
    assert!((500 + 100..500 + 5_000).contains(&walked), "{walked}: the tail whole, of the graph a part");
    assert_eq!(compared(&query), walked, "the same search compares the same records");
    assert_eq!(compared(&query.clone().exact(true)), 6_500);
    assert_eq!(compared(&Query::batch(vec![vec![0.1; DIM]; 2]).exact(true)), 13_000);
}
