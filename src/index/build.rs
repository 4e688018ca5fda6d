//! Building a graph. The steps: check the vectors, set exact duplicates aside, let a builder link the distinct ones,
//! repair what searches would not reach, link the duplicates, freeze.
//! Invariant: for any finite vectors, the graph has one node per vector, and every node is reached from the entry
//! point on level 0.

use std::ops::RangeInclusive;

use super::builder::BatchBuilder;
use super::duplicates::{duplicate_groups, join_duplicates};
use super::freeze::{GraphSource, freeze};
use super::graph::Graph;
#[cfg(feature = "hnsw_rs")]
use super::hnsw::HnswRsBuilder;
use super::kernel::kernels;
use super::metric::{PointSpace, compared, mips_transform};
use super::repair::repair;
use crate::error::{Error, Result};
use crate::record::{Address, Metric, Version};

/// The vectors a graph is to cover: one per `embedded` address.
#[derive(Debug, Clone)]
pub struct VectorSet<'a> {
    /// How distance is measured.
    pub metric: Metric,
    /// Floats per vector.
    pub dim: usize,
    /// The raw vectors, wherever their chunks keep them; all finite.
    pub vectors: Vec<&'a [f32]>,
    /// The address of each vector; distinct.
    pub addresses: Vec<Address>,
}

/// Which records a graph covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphRange {
    /// The stream.
    pub stream: String,
    /// First version.
    pub lo: Version,
    /// Last version.
    pub hi: Version,
}

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphParams {
    /// The paper's M, 2..=128: links per node and level, 2 M on level 0.
    pub m: usize,
    /// The paper's efConstruction, 1..=4096.
    pub ef_construction: usize,
    /// Seed of the insertion order.
    pub seed: u64,
    /// With 1 the build runs on this thread. With more it uses the rayon pool that it is called in (use
    /// `ThreadPool::install`). Our own builder makes the same graph either way, `hnsw_rs` only with 1.
    pub threads: usize,
}

impl Default for GraphParams {
    fn default() -> Self {
        GraphParams { m: 16, ef_construction: 100, seed: 0x5eed, threads: 1 }
    }
}

impl GraphParams {
    /// The valid values of `m`.
    pub const M: RangeInclusive<usize> = 2..=128;
    /// The valid values of `ef_construction`.
    pub const EF_CONSTRUCTION: RangeInclusive<usize> = 1..=4096;

    fn check(&self) -> Result<()> {
        if !Self::M.contains(&self.m) {
            return Err(Error::invalid(format!("index.m: expected 2 to 128, got {}", self.m)));
        }
        if !Self::EF_CONSTRUCTION.contains(&self.ef_construction) {
            let got = self.ef_construction;
            return Err(Error::invalid(format!("index.ef_construction: expected 1 to 4096, got {got}")));
        }
        Ok(())
    }
}

/// Neighbour lists as a builder returns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjacency {
    /// Where descents through the levels start: a node on the highest level.
    pub entry: u32,
    /// `lists[node][level]`, nearest first; every node has at least level 0.
    pub lists: Vec<Vec<Vec<u32>>>,
}

impl Adjacency {
    /// The neighbours of `node` on `level`; empty if the node is not on that level.
    pub fn neighbours(&self, node: u32, level: usize) -> &[u32] {
        self.lists.get(node as usize).and_then(|levels| levels.get(level)).map_or(&[], Vec::as_slice)
    }

    /// The highest level of `node`.
    pub fn top_level(&self, node: u32) -> usize {
        self.lists.get(node as usize).map_or(0, |levels| levels.len().saturating_sub(1))
    }

    /// Links two nodes to each other on level 0, at the end of their lists.
    pub fn link(&mut self, a: u32, b: u32) {
        for (from, to) in [(a, b), (b, a)] {
            let list = &mut self.lists[from as usize][0];
            if from != to && !list.contains(&to) {
                list.push(to);
            }
        }
    }
}

/// Makes neighbour lists for at least one vector.
pub trait GraphBuilder: Sync {
    /// The name stored with the graph.
    fn name(&self) -> &'static str;
    /// Links the rows of `space`. It may leave nodes unreachable: a repair follows.
    fn build(&self, space: &PointSpace<'_>, params: &GraphParams) -> Adjacency;
}

/// All builders, the default one first.
pub static BUILDERS: &[&dyn GraphBuilder] = &[
    &BatchBuilder,
    #[cfg(feature = "hnsw_rs")]
    &HnswRsBuilder,
];

/// The builder with this name in collections and stored graphs.
pub fn builder_named(name: &str) -> Option<&'static dyn GraphBuilder> {
    BUILDERS.iter().copied().find(|builder| builder.name() == name)
}

/// Builds the graph of `set` (at least one vector).
pub fn build_graph(
    set: &VectorSet<'_>,
    range: GraphRange,
    params: &GraphParams,
    builder: &dyn GraphBuilder,
) -> Result<Graph> {
    let source = GraphSource { range, params: *params, builder: builder.name() };
    link_and_freeze(set, source, |space, _| builder.build(space, params))
}

/// Builds the graph of `set`. `link` makes the lists. It gets a space of the distinct vectors, and for each row of
/// that space the vectors that it stands for. Rows ascend by their first vector.
pub(super) fn link_and_freeze(
    set: &VectorSet<'_>,
    source: GraphSource,
    link: impl FnOnce(&PointSpace<'_>, &[Vec<u32>]) -> Adjacency,
) -> Result<Graph> {
    source.params.check()?;
    check(set, &source.range)?;
    let compared = compared(set.metric, &set.vectors);
    let vectors: Vec<&[f32]> = compared.iter().map(AsRef::as_ref).collect();
    let groups = duplicate_groups(&vectors);
    let distinct: Vec<&[f32]> = groups.iter().map(|group| vectors[group[0] as usize]).collect();
    let transformed = mips_transform(set.metric, &distinct);
    let space = match &transformed {
        Some((dim, values)) => PointSpace { dim: *dim, rows: values.chunks_exact(*dim).collect() },
        None => PointSpace { dim: set.dim, rows: distinct },
    };
    let mut linked = link(&space, &groups);
    repair(&mut linked, &space);
    tracing::debug!(kernels = kernels().name, nodes = vectors.len(), "a graph is built");
    let adjacency = join_duplicates(linked, &groups, vectors.len(), source.params.m);
    let seen = VectorSet { vectors, addresses: set.addresses.clone(), ..*set };
    freeze(&adjacency, &seen, source)
}

fn check(set: &VectorSet<'_>, range: &GraphRange) -> Result<()> {
    let (vectors, addresses) = (set.vectors.len(), set.addresses.len());
    if vectors == 0 || vectors != addresses || vectors >= u32::MAX as usize || set.dim == 0 {
        return Err(Error::internal(format!(
            "graph: expected as many vectors as addresses, got {vectors} and {addresses} of dimension {}",
            set.dim
        )));
    }
    for (v, address) in set.vectors.iter().zip(&set.addresses) {
        if v.len() != set.dim || !v.iter().all(|x| x.is_finite()) {
            return Err(Error::internal(format!(
                "graph: the vector at address {} is not {} finite floats",
                address.0, set.dim
            )));
        }
        if address.version() < range.lo || address.version() > range.hi {
            let (lo, hi) = (range.lo, range.hi);
            return Err(Error::internal(format!("graph: address {} is outside versions {lo}..={hi}", address.0)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn build(vectors: Vec<&[f32]>, versions: &[u64], params: GraphParams) -> Result<Graph> {
        let addresses = versions.iter().filter_map(|v| Address::new(Version(*v), 0)).collect();
        let set = VectorSet { metric: Metric::L2, dim: 2, vectors, addresses };
        let range = GraphRange { stream: "c/test".into(), lo: Version(2), hi: Version(4) };
        build_graph(&set, range, &params, &HnswRsBuilder)
    }

    #[test]
    fn what_no_graph_can_be_built_of_is_refused_with_the_reason() {
        let good = GraphParams::default();
        let two: Vec<&[f32]> = vec![&[1.0, 2.0], &[3.0, 4.0]];
        for (vectors, versions, params, expected) in [
            (vec![], vec![], good, "got 0 and 0"),
            (two.clone(), vec![2], good, "got 2 and 1"),
            (vec![&[1.0][..], &[2.0]], vec![2, 3], good, "not 2 finite floats"),
            (vec![&[1.0, f32::NAN][..], &[2.0, 1.0]], vec![2, 3], good, "not 2 finite floats"),
            (two.clone(), vec![2, 5], good, "outside versions 2..=4"),
            (two.clone(), vec![3, 3], good, "does not hold together"),
            (two.clone(), vec![2, 3], GraphParams { m: 1, ..good }, "index.m"),
            (two.clone(), vec![2, 3], GraphParams { ef_construction: 0, ..good }, "index.ef_construction"),
        ] {
            let error = build(vectors, &versions, params).expect_err(expected);
            assert!(error.message().contains(expected), "{error}");
            assert!([ErrorKind::Internal, ErrorKind::Invalid].contains(&error.kind()));
        }
    }

    #[test]
    fn a_graph_tells_what_it_covers_and_how_it_was_built() {
        let params = GraphParams { m: 5, ef_construction: 50, seed: 9, threads: 1 };
        let graph = build(vec![&[1.0, 2.0], &[3.0, 4.0]], &[2, 3], params).expect("builds");
        let header = graph.header();
        assert_eq!((header.lo, header.hi, header.dim, header.metric), (Version(2), Version(4), 2, Metric::L2));
        assert_eq!((header.m, header.ef_construction, header.seed, header.builder.as_str()), (5, 50, 9, "hnsw_rs"));
        assert_eq!(graph.len(), 2);
    }
}
