//! The plan of a search: exact distances of all allowed nodes of a graph, a scan of their codes, or a walk, chosen by
//! estimated cost. The unit of cost is one code compared on a scan. `the_costs_behind_plans` in `recall_tests.rs`
//! measures the constants.
//! Invariant: a plan affects time, and recall only in that a walk may miss a neighbour that a scan finds. None of the
//! three answers fewer than there are.

use super::graph::Graph;
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

/// One graph of a search.
#[derive(Debug, Clone, Copy)]
pub struct GraphFacts {
    /// Nodes that may be answers.
    pub allowed: usize,
    /// Nodes in the graph, allowed or not.
    pub nodes: usize,
    /// Links per node on level 0, on average.
    pub degree: usize,
}

impl GraphFacts {
    /// A graph of whose nodes `allowed` may be answers.
    pub fn of(graph: &Graph, allowed: usize) -> GraphFacts {
        let nodes = graph.len();
        GraphFacts { allowed, nodes, degree: graph.columns().neighbours.values.len() / nodes.max(1) }
    }
}

/// What was decided about one graph, for all queries of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphPlan {
    /// The width of a walk, at least k.
    pub ef: usize,
    /// The way to find the nearest.
    pub plan: Plan,
}

/// Decides how a search for the `k` nearest goes through each of its graphs. `ef` is the width that the caller asks
/// for. Whoever searches a graph then keeps to the decision.
pub fn plan_graphs(metric: Metric, k: usize, ef: Option<usize>, graphs: &[GraphFacts]) -> Vec<GraphPlan> {
    let whole = ef.unwrap_or_else(|| default_ef(metric, k)).max(k);
    let most = graphs.iter().map(|graph| graph.allowed).max().unwrap_or(0);
    let decide = |GraphFacts { allowed, nodes, degree }: &GraphFacts| {
        let (allowed, nodes, degree) = (*allowed, *nodes, *degree);
        let ef = width(whole, k, allowed, most);
        GraphPlan { ef, plan: plan(PlanInput { allowed, nodes, ef, degree }) }
    };
    graphs.iter().map(decide).collect()
}

/// The width of a walk through one of several graphs. A smaller graph needs a smaller width for equal recall, by the
/// cube root of its share. Splits of 80:20 and 94:6 (100,000 × 384) then cost 14 to 18 % less than with one width for
/// all.
fn width(ef: usize, k: usize, allowed: usize, most: usize) -> usize {
    let share = allowed as f64 / most.max(1) as f64;
    ((ef as f64 * share.cbrt()).ceil() as usize).max(k)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(allowed: usize, nodes: usize) -> GraphFacts {
        GraphFacts { allowed, nodes, degree: 20 }
    }

    #[test]
    fn each_graph_of_a_search_gets_a_plan_of_its_own_by_its_share() {
        let graphs =
            [facts(80_000, 80_000), facts(20_000, 20_000), facts(500, 20_000), facts(100, 20_000), facts(0, 9)];
        let plans = plan_graphs(Metric::L2, 10, None, &graphs);
        let widths: Vec<usize> = plans.iter().map(|plan| plan.ef).collect();
        assert_eq!(widths, [100, 63, 19, 11, 10], "by the cube root of the share, and never below k");
        assert!(plans[..2].iter().all(|plan| matches!(plan.plan, Plan::Walk { .. })), "{plans:?}");
        assert_eq!(plans[2].plan, Plan::ScanCodes);
        assert!(plans[3..].iter().all(|plan| plan.plan == Plan::Scan), "{plans:?}");
    }

    #[test]
    fn a_graph_alone_gets_the_whole_width_and_what_the_caller_asks_for_is_never_below_k() {
        for (k, ef, expected) in [(10, None, 100), (10, Some(30), 30), (10, Some(3), 10), (200, None, 400)] {
            let plans = plan_graphs(Metric::Cosine, k, ef, &[facts(50_000, 100_000)]);
            let input = PlanInput { allowed: 50_000, nodes: 100_000, ef: expected, degree: 20 };
            assert_eq!(plans, [GraphPlan { ef: expected, plan: plan(input) }], "{k} by {ef:?}");
        }
        assert_eq!(plan_graphs(Metric::Ip, 10, None, &[]), []);
    }

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
