//! A graph from its first vectors to its stored bytes and back: built, searched, extended, stored, read, damaged.
//! Small on purpose, so that slow checkers of memory can walk through all of it.

use arrow::buffer::Buffer;
use bytes::Bytes;

use super::recall_tests::{chosen, clustered, recall};
use super::search::scan_graph;
use super::*;
use crate::format::graph::{decode_graph, encode_graph};
use crate::record::{Address, Metric, Version};

const DIM: usize = 5;
const ROWS: usize = 150;
const PARAMS: GraphParams = GraphParams { m: 4, ef_construction: 20, seed: 7, threads: 1 };

fn range() -> GraphRange {
    GraphRange { stream: "c/test".into(), lo: Version(1), hi: Version(1) }
}

/// Rows `rows` of `values` at their addresses in commit 1.
fn set_of(metric: Metric, values: &[f32], rows: std::ops::Range<usize>) -> VectorSet<'_> {
    let vectors = values.chunks_exact(DIM).take(rows.end).skip(rows.start).collect();
    let addresses = rows.filter_map(|row| Address::new(Version(1), row)).collect();
    VectorSet { metric, dim: DIM, vectors, addresses }
}

/// Recall@5 over some queries, with and without a filter, by exact vectors and by codes alone.
fn finds(graph: &Graph, values: &[f32]) -> [f64; 2] {
    let exact = |node: u32| {
        let row = graph.address(node)?.row();
        values.get(row * DIM..(row + 1) * DIM)
    };
    let mut scratch = SearchScratch::new();
    let (mut by_vectors, mut by_codes, mut count) = (0.0, 0.0, 0.0);
    for vector in clustered(6, DIM, 2).chunks_exact(DIM) {
        let query = PreparedQuery::new(graph.metric(), vector);
        for allowed in [None, Some(chosen(graph.len(), 0.5, 3))] {
            let search = GraphQuery { query: &query, k: 5, ef: Some(30), allowed: allowed.as_ref() };
            let truth = scan_graph(graph, search, exact);
            by_vectors += recall(&search_graph(graph, search, exact, &mut scratch), &truth);
            let mut found = search_codes(graph, search, &mut scratch);
            found.iter_mut().for_each(|c| c.distance = exact(c.node).map_or(f32::INFINITY, |v| query.distance_to(v)));
            by_codes += recall(&found, &truth);
            count += 1.0;
        }
    }
    [by_vectors / count, by_codes / count]
}

#[test]
fn a_graph_is_built_searched_extended_stored_and_read_back() {
    let values = clustered(ROWS, DIM, 1);
    for metric in [Metric::L2, Metric::Cosine, Metric::Ip] {
        let first = build_graph(&set_of(metric, &values, 0..ROWS - 30), range(), &PARAMS, BUILDERS[0]).expect("builds");
        let vector = |node: u32| {
            let row = first.address(node)?.row();
            // Every seventh record is gone.
            values.get(row * DIM..(row + 1) * DIM).filter(|_| !row.is_multiple_of(7))
        };
        let old = OldGraph { graph: &first, vectors: (0..first.len() as u32).map(vector).collect() };
        let new = set_of(metric, &values, ROWS - 30..ROWS);
        let extended = extend_graph(&old, &new, range(), &PARAMS).expect("extends");
        let bytes = encode_graph(extended.content()).expect("encodes");
        let aligned = Bytes::from_owner(Buffer::from_slice_ref(&bytes));
        let read = Graph::new(decode_graph(aligned).expect("decodes"));
        read.check_invariants().expect("what is read holds together");
        assert_eq!(read, extended);
        for graph in [&first, &read] {
            let [by_vectors, by_codes] = finds(graph, &values);
            assert!(by_vectors >= 0.95 && by_codes >= 0.8, "{metric}: recall@5 {by_vectors}, by codes {by_codes}");
        }
    }
}

#[test]
fn damaged_bytes_are_refused_or_searched_without_harm() {
    let values = clustered(ROWS, DIM, 1);
    let graph = build_graph(&set_of(Metric::L2, &values, 0..40), range(), &PARAMS, BUILDERS[0]).expect("builds");
    let bytes = encode_graph(graph.content()).expect("encodes");
    let query = PreparedQuery::new(Metric::L2, &values[..DIM]);
    let (mut refused, mut scratch) = (0, SearchScratch::new());
    for at in (0..bytes.len()).step_by(bytes.len() / 24) {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x40;
        match decode_graph(Bytes::from(damaged)) {
            // Padding, a code, a bias: what is found may be wrong, but is found.
            Ok(content) => {
                let search = GraphQuery { query: &query, k: 5, ef: Some(20), allowed: None };
                assert_eq!(search_codes(&Graph::new(content), search, &mut scratch).len(), 5, "byte {at} changed");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0, "no damage was noticed");
}
