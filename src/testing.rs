//! For tests and benches of this project only: the parts behind the public API. No promise is made
//! about anything here.

pub use crate::bucket;
pub use crate::check;
pub use crate::config::Ablate;
pub use crate::filter::Columns;
pub use crate::format;
pub use crate::head;
pub use crate::interrupt::Interrupt;

/// Graphs without a collection around them.
pub mod index {
    pub use crate::index::{
        BUILDERS, Candidate, Graph, GraphParams, GraphQuery, GraphRange, NodeBitmap, PlanInput, PreparedQuery,
        SearchScratch, TopK, VectorSet, Vectors, build_graph, builder_named, default_ef, plan, scan, search_codes,
        search_graph,
    };
}

/// What graphs are measured and addressed by.
pub mod record {
    pub use crate::record::{Address, Metric, Version};
}
