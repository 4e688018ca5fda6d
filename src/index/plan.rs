//! The plan of a search: exact distances of all allowed nodes of a graph, a scan of their codes, or a walk, chosen by
//! estimated cost. The unit of cost is one code compared on a scan. `the_costs_behind_plans` in `recall_tests.rs`
//! measures the constants.
//! Invariant: a plan affects time, and recall only in that a walk may miss a neighbour that a scan finds. None of the
//! three answers fewer than there are.

use crate::record::Metric;

/// The `ef` of searches without a given one: recall@10 is above 0.95 on all data sets in the tests. Inner product
/// needs more: its queries lie far from the vectors that they look for.
pub fn default_ef(metric: Metric, k: usize) -> usize {
    match metric {
        Metric::Cosine | Metric::L2 => (2 * k).max(100),
        Metric::Ip => (3 * k).max(160),
    }
}

/// How to find the nearest of the allowed nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Exact distances of all allowed nodes.
    Scan,
    /// Codes of all allowed nodes, then exact distances of the best.
    ScanCodes,
    /// A walk, given up for a scan if it is going to compute more than this many distances.
    Walk {
        /// Distances of codes (or exact ones, under exact traversal).
        distances: usize,
    },
}

/// The facts that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput {
    /// Nodes that may be answers.
    pub allowed: usize,
    /// Nodes in the graph, allowed or not.
    pub nodes: usize,
    /// The width of the walk, at least k.
    pub ef: usize,
    /// Links per node on level 0, on average.
    pub degree: usize,
}

/// Fewer nodes than this are compared exactly: reranking looks at nearly as many.
const FEW: usize = 256;
/// Cost of one distance on a walk, including all overhead.
const WALK_TO_SCAN: f64 = 5.0;
/// Share of a node's neighbours that a walk has not met before: 0.41 to 0.47.
const NEW_NEIGHBOURS: f64 = 0.45;
/// A walk soon notices that the allowed nodes are not near the query. It has then cost a few hundred distances. That
/// is worth trying where a scan costs this many times as much as the luckiest walk.
const WORTH_TRYING: f64 = 4.0;
/// Allowed nodes that a walk must find, as a share of the default `ef` for few answers. For many answers it is more;
/// a hopeless walk is given up.
const WANTED: f64 = 0.2;

/// Chooses by estimated cost. A walk keeps the `ef` nearest of all nodes, so it expands about as many for any share
/// of allowed nodes. Only if that share is very small must it look further.
pub fn plan(choice: PlanInput) -> Plan {
    if choice.allowed < FEW {
        return Plan::Scan;
    }
    let (allowed, nodes, ef) = (choice.allowed as f64, choice.nodes as f64, choice.ef as f64);
    let per_expanded = choice.degree as f64 * NEW_NEIGHBOURS;
    let cost = |expanded: f64| (expanded * per_expanded).min(nodes) * WALK_TO_SCAN;
    // The allowed nodes lie either near the query, or anywhere.
    let (here, anywhere) = (cost(ef), cost(ef.max(ef * WANTED * nodes / allowed)));
    if anywhere < allowed || here * WORTH_TRYING < allowed {
        // A misled walk costs at most one more scan.
        return Plan::Walk { distances: (allowed / WALK_TO_SCAN) as usize };
    }
    Plan::ScanCodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_allowed_nodes_are_scanned_and_many_are_walked() {
        let planned = |allowed, nodes| plan(PlanInput { allowed, nodes, ef: 100, degree: 20 });
        for (allowed, nodes) in [(0, 0), (0, 100_000), (10, 100_000), (200, 200)] {
            assert_eq!(planned(allowed, nodes), Plan::Scan, "{allowed} of {nodes}");
        }
        for (allowed, nodes) in [(500, 500), (1_000, 100_000), (3_000, 100_000), (3_000, 3_000)] {
            assert_eq!(planned(allowed, nodes), Plan::ScanCodes, "{allowed} of {nodes}");
        }
        for (allowed, nodes) in [(100_000, 100_000), (50_000, 100_000), (30_000, 1_000_000), (5_000, 5_000)] {
            let Plan::Walk { distances } = planned(allowed, nodes) else { panic!("{allowed} of {nodes} are scanned") };
            assert!((allowed / 8..=allowed).contains(&distances), "{distances} for {allowed} of {nodes}");
        }
    }

    #[test]
    fn the_default_ef_is_never_below_k() {
        for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
            for k in [1, 10, 100, 10_000] {
                assert!(default_ef(metric, k) >= k.max(100), "{metric}, {k}");
            }
        }
    }
}
