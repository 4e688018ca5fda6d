//! Chooses how the allowed nodes of a graph are searched, by estimated cost: exact distances of all of
//! them, a scan of their codes, or a walk. Costs are in units of one code compared on a scan; the constants
//! are measured by `the_costs_behind_plans` in `recall_tests.rs`.
//! Invariant: a plan is about time only; any of the three finds what there is.

use crate::record::Metric;

/// The `ef` of searches that do not name one: recall@10 is above 0.95 on all data sets in the tests. Inner
/// product needs more: its queries lie far from the vectors they look for.
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
    /// A walk, given up for a scan where it is going to cost more than this many distances.
    Walk {
        /// Distances of codes (or exact ones, under exact traversal).
        distances: usize,
    },
}

/// What a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput {
    /// Nodes that may be answers.
    pub allowed: usize,
    /// Nodes in the graph.
    pub nodes: usize,
    /// How wide the walk would be, at least k.
    pub ef: usize,
    /// Links per node on level 0, on average.
    pub degree: usize,
}

/// Fewer than this are compared exactly: re-ranking looks at nearly as many.
const FEW: usize = 256;
/// Cost of one distance on a walk, all its overhead included.
const WALK_TO_SCAN: f64 = 5.0;
/// Share of a node's neighbours that a walk has not met before: 0.41 to 0.47.
const NEW_NEIGHBOURS: f64 = 0.45;
/// A walk that finds out soon enough that the allowed nodes are not near the query costs a few hundred
/// distances. That is worth trying where a scan costs this many times what the luckiest walk does.
const WORTH_TRYING: f64 = 4.0;
/// Allowed nodes a walk must find, as a share of the default `ef` for few answers. Where many are asked for it
/// is more; a walk that turns out to be hopeless is given up.
const WANTED: f64 = 0.2;

/// Chooses by estimated cost. A walk keeps the `ef` nearest of all nodes, so it expands about as many whatever
/// share of them is allowed, unless that is so small that it must look further for enough.
pub fn plan(choice: PlanInput) -> Plan {
    if choice.allowed < FEW {
        return Plan::Scan;
    }
    let (allowed, nodes, ef) = (choice.allowed as f64, choice.nodes as f64, choice.ef as f64);
    let per_expanded = choice.degree as f64 * NEW_NEIGHBOURS;
    let cost = |expanded: f64| (expanded * per_expanded).min(nodes) * WALK_TO_SCAN;
    // Allowed nodes lie either where the query is, or anywhere.
    let (here, anywhere) = (cost(ef), cost(ef.max(ef * WANTED * nodes / allowed)));
    if anywhere < allowed || here * WORTH_TRYING < allowed {
        // Led astray it costs at most one more scan.
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
