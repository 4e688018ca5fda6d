//! Searching a graph without its vectors. Memory holds only codes and lists: a third of the vectors' bytes from 384
//! dimensions on. A walk or a scan finds candidates as usual; a finer query orders the best.
//! Invariant: there are min(k, allowed nodes) answers, nearest first as far as codes can show; distances are
//! estimates.

use super::filtered::nearest_by_codes;
use super::graph::Graph;
use super::plan::Plan;
use super::search::{Candidate, GraphQuery, Planned, WalkLimits, nearest_first, reranked, walked_nodes};
use super::walk::SearchScratch;

/// The k nearest allowed nodes as far as codes can show, ties by address. The caller must not allow a node whose
/// record is gone: this function would not notice.
pub fn search_codes(graph: &Graph, search: GraphQuery<'_>, scratch: &mut SearchScratch) -> Vec<Candidate> {
    let Some(planned) = Planned::alone(graph, search) else { return Vec::new() };
    let search = planned.search;
    let walked = match planned.plan {
        Plan::Walk { distances } => walk(graph, search, WalkLimits { ef: planned.ef, distances }, scratch),
        Plan::Scan | Plan::ScanCodes => None,
    };
    let nearest = walked.filter(|nodes| nodes.len() >= planned.wanted).unwrap_or_else(|| {
        let coded = graph.quantiser().encode_query(search.query);
        let nearest = nearest_by_codes(graph, &coded, search.allowed, reranked(search.k));
        nearest.into_iter().map(|found| found.key as u32).collect()
    });
    let fine = graph.quantiser().encode_fine(search.query);
    let ordered = nearest.into_iter().map(|node| {
        let distance = fine.estimate(graph.code(node), graph.bias(node));
        (Candidate { node, distance }, graph.address(node))
    });
    nearest_first(ordered.collect(), search.k)
}

fn walk(graph: &Graph, search: GraphQuery<'_>, limits: WalkLimits, scratch: &mut SearchScratch) -> Option<Vec<u32>> {
    let nodes = walked_nodes(graph, search, &|_| None, limits, scratch)?;
    Some(nodes.take(reranked(search.k)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::recall_tests::{built, chosen, clustered, recall};
    use crate::index::search::scan_graph;
    use crate::index::{NodeBitmap, PreparedQuery};
    use crate::record::Metric;

    const DIM: usize = 384;

    #[test]
    fn codes_alone_find_nearly_all_with_and_without_a_filter() {
        let queries = clustered(50, DIM, 2);
        for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
            let built = built(metric, DIM, clustered(5000, DIM, 1), 2);
            for share in [1.0, 0.5, 0.01] {
                let allowed = (share < 1.0).then(|| chosen(5000, share, 3));
                let mut scratch = SearchScratch::new();
                let mut sum = 0.0;
                for vector in queries.chunks_exact(DIM) {
                    let query = PreparedQuery::new(metric, vector);
                    let search = GraphQuery { query: &query, k: 10, ef: None, allowed: allowed.as_ref() };
                    let mut found = search_codes(&built.graph, search, &mut scratch);
                    assert!(found.iter().all(|c| allowed.as_ref().is_none_or(|allowed| allowed.contains(c.node))));
                    assert!(found.is_sorted_by(|a, b| a.distance <= b.distance));
                    let truth = scan_graph(&built.graph, search, |node| built.vector(node));
                    assert_eq!(found.len(), truth.len());
                    let exact = |node| built.vector(node).map_or(f32::INFINITY, |v| query.distance_to(v));
                    found.iter_mut().for_each(|c| c.distance = exact(c.node));
                    sum += recall(&found, &truth);
                }
                assert!(sum / 50.0 >= 0.95, "{metric}, {share} allowed: recall@10 is {}", sum / 50.0);
            }
        }
    }

    #[test]
    fn as_many_are_answered_as_are_allowed() {
        let built = built(Metric::L2, 24, clustered(2000, 24, 1), 1);
        let query = PreparedQuery::new(Metric::L2, &built.values[..24]);
        let mut scratch = SearchScratch::new();
        for (k, nodes) in [(0, 2000), (1, 2000), (5, 3), (3000, 2000), (10, 0), (700, 600)] {
            let mut allowed = NodeBitmap::none(2000);
            (0..nodes).for_each(|node| allowed.insert(node * 2000 / nodes.max(1)));
            let search = GraphQuery { query: &query, k, ef: None, allowed: Some(&allowed) };
            assert_eq!(search_codes(&built.graph, search, &mut scratch).len(), k.min(nodes as usize), "{k} of {nodes}");
        }
    }

    #[test]
    fn at_384_dimensions_a_graph_takes_a_third_of_its_vectors_bytes() {
        let built = built(Metric::Cosine, DIM, clustered(3000, DIM, 1), 2);
        let raw_bytes = 3000 * DIM * size_of::<f32>();
        let (most, size_bytes) = (raw_bytes * 35 / 100, built.graph.size_bytes());
        assert!(size_bytes <= most, "{size_bytes} bytes, more than {most}");
    }
}
