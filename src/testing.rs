//! The parts behind the public API, for tests and benches of this project only. No promise is made about anything
//! here.

pub use crate::config::Ablate;
pub use crate::filter::{Columns, RowTexts};
pub use crate::interrupt::Interrupt;

/// Buckets, and the layers between a store and a bucket.
pub mod bucket {
    pub use crate::bucket::*;
}

/// Looking at a bucket without a store.
pub mod check {
    pub use crate::check::*;
}

/// Bytes of objects.
pub mod format {
    pub use crate::format::*;
}

/// HEADs and their swaps.
pub mod head {
    pub use crate::head::*;
}

/// Graphs without a collection around them.
pub mod index {
    pub use crate::index::{
        BUILDERS, Candidate, CodeKernels, CodeTable, CodeWidth, EstimatingQuery, Factors, Graph, GraphParams,
        GraphQuery, GraphRange, NodeBitmap, PackedRows, Packing, PlanInput, PreparedQuery, SearchScratch, TopK,
        VectorCodec, VectorSet, Vectors, build_graph, builder_named, default_ef, plan, scan, search_codes,
        search_graph,
    };
}

/// Maps without a collection behind them.
#[cfg(feature = "server")]
pub mod layout {
    pub use crate::layout::*;
}

/// The measures and addresses of graphs.
pub mod record {
    pub use crate::record::{Address, Metric, Version};
}
