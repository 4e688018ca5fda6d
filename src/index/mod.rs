//! Nearest-neighbour search as pure, synchronous CPU work: distances, flat scans, graphs. This room knows neither I/O
//! nor tokio. Vectors stay in their chunks. A graph holds only int8 codes and neighbour lists, and asks the caller
//! for the exact vectors when it reranks.

mod build;
mod builder;
mod centring;
#[cfg(any(test, feature = "testing"))]
mod codes;
#[cfg(any(test, feature = "testing"))]
mod codes_only;
mod duplicates;
mod entry_points;
mod extend;
mod filtered;
mod flat;
mod freeze;
mod graph;
#[cfg(feature = "hnsw_rs")]
mod hnsw;
mod kernel;
mod metric;
mod nodes;
mod plan;
mod pool;
mod product;
mod quantiser;
mod repair;
mod rotation;
mod row_codes;
mod search;
mod sparse;
mod topk;
mod walk;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod inner_product_tests;
#[cfg(test)]
mod recall_tests;
#[cfg(test)]
mod whole_life_tests;

pub use build::{BUILDERS, GraphBuilder, GraphParams, GraphRange, VectorSet, build_graph, builder_named};
pub use builder::BatchBuilder;
#[cfg(any(test, feature = "testing"))]
pub use codes::{CodeKernels, CodeTable, CodeWidth, EstimatingQuery, Factors, PackedRows, Packing, VectorCodec};
#[cfg(any(test, feature = "testing"))]
pub use codes_only::search_codes;
pub use extend::{OldGraph, extend_graph};
pub use flat::{Vectors, scan};
pub use graph::Graph;
#[cfg(test)]
pub use metric::distance;
pub use metric::{PreparedQuery, inverse_norms};
pub use nodes::NodeBitmap;
pub use plan::{GraphFacts, GraphPlan, Plan, plan_graphs};
#[cfg(feature = "testing")]
pub use plan::{PlanInput, default_ef, plan};
pub use product::QueryMatrix;
pub use row_codes::LazyCodes;
#[cfg(any(test, feature = "testing"))]
pub use search::search_graph;
pub use search::{Candidate, GraphQuery, Planned, search_planned};
pub use sparse::{
    ChunkRows, Collector, DROPPED, IndexRows, MergePart, SparseIndex, SparseIndexBuilder, SparseQuery, TermGroup,
    TermQuery, TextIndex, TextIndexBuilder, TextSearch, TextStatistics, VectorSearch, WeightedTerm,
};
pub use topk::TopK;
pub use walk::SearchScratch;
