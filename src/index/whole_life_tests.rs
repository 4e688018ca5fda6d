//! A graph from its first vectors to its stored bytes and back: built, searched, extended, stored, read, damaged. The
//! graphs are small on purpose, so that slow memory checkers can run all of it.

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
            // The damage hit padding, a code or a bias: the answer may be wrong, but there is one.
            Ok(content) => {
                let search = GraphQuery { query: &query, k: 5, ef: Some(20), allowed: None };
                assert_eq!(search_codes(&Graph::new(content), search, &mut scratch).len(), 5, "byte {at} changed");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0, "no damage was noticed");
}

fn fixture(path: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data-fixtures").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The vectors of `data-fixtures/graph-format-2`: its README has the formula.
fn vectors_of_format_2() -> Vec<f32> {
    let value = |i: usize| ((i * 7919) % 1009) as f32 / 100.0 - 5.0;
    (0..60 * 12).map(|i| if i % 12 == 3 { 10.0 * value(i) } else { value(i) }).collect()
}

#[test]
fn a_stored_graph_of_format_2_is_read_and_vectors_get_the_codes_that_are_stored() {
    let content = decode_graph(fixture("graph-format-2/graph.arrow").into()).expect("decodes");
    let values = vectors_of_format_2();
    let graph = Graph::new(content);
    assert_eq!((graph.len(), graph.header().dim, graph.header().rotation), (60, 12, Some(0x5eed)));
    let vector = |node: u32| graph.address(node).and_then(|address| values.chunks_exact(12).nth(address.row()));
    for node in 0..60 {
        let mut code = Vec::new();
        let bias = graph.quantiser().encode(vector(node).expect("has a vector"), &mut code);
        assert_eq!((code.as_slice(), bias), (graph.code(node), graph.bias(node)), "node {node}");
    }
    let mut scratch = SearchScratch::new();
    for own in values.chunks_exact(12) {
        let query = PreparedQuery::new(Metric::L2, own);
        let search = GraphQuery { query: &query, k: 5, ef: Some(30), allowed: None };
        let truth = scan_graph(&graph, search, vector);
        assert_eq!(search_graph(&graph, search, vector, &mut scratch), truth);
    }
}

/// Embeddings of the records that the fixture of format 1 must hold in its collection `coast`.
fn embeddings_of_format_1() -> Vec<Vec<f32>> {
    let expected: serde_json::Value = serde_json::from_slice(&fixture("format-1/expected.json")).expect("is JSON");
    let records = expected["coast"]["records"].as_array().expect("records");
    let floats = |record: &serde_json::Value| {
        let embedding = record["embedding"].as_array().expect("an embedding");
        embedding.iter().filter_map(serde_json::Value::as_f64).map(|x| x as f32).collect()
    };
    records.iter().map(floats).collect()
}

#[test]
fn stored_graphs_of_format_1_are_read_as_not_rotated_and_written_back_as_they_were() {
    let stream = "format-1/bucket/c/4ef53dd0-d446-4abf-9277-6b6e52dd70bf/graph";
    for name in ["01M7YZ6S9YVZJHHAA65ABVRNMF", "01M7YZ6RBC7DC7TXK4D5B9W463"] {
        let content = decode_graph(fixture(&format!("{stream}/{name}.arrow")).into()).expect("decodes");
        let again = encode_graph(&content).expect("encodes");
        assert_eq!(decode_graph(again.into()).expect("decodes"), content, "{name}");
        let graph = Graph::new(content);
        assert_eq!(graph.header().rotation, None);
        let codes: Vec<&[i8]> = (0..graph.len() as u32).map(|node| graph.code(node)).collect();
        let mut code = Vec::new();
        let embeddings = embeddings_of_format_1();
        let coded_alike = |embedding: &&Vec<f32>| {
            code.clear();
            graph.quantiser().encode(embedding, &mut code);
            codes.contains(&code.as_slice())
        };
        let found = embeddings.iter().filter(coded_alike).count();
        assert!(2 * found >= graph.len(), "{name}: {found} of {} nodes' codes are those of records", graph.len());
    }
}
