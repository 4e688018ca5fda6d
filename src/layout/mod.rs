//! The layout of a collection in two dimensions, by UMAP (McInnes, Healy and Melville 2018, "UMAP: Uniform Manifold
//! Approximation and Projection for Dimension Reduction"): records that are near each other in the collection are near
//! each other on the map. Pure, synchronous CPU work on neighbour lists and vectors, on the rayon pool of the caller.
//! Invariant: a map depends on its input and its seed alone, not on the number of threads or the instruction set, but
//! for the last bit of the platform's `exp`.

mod curve;
mod descent;
mod draws;
mod faithfulness;
mod fuzzy_graph;
mod map;
mod membership;
mod neighbours;
mod placement;
mod principal;

#[cfg(test)]
mod test_data;

pub use faithfulness::{Faithfulness, faithfulness};
pub use map::{MapSettings, lay_out, memory_bytes};
pub use neighbours::{NearNode, NeighbourLists};
pub use placement::place;
pub use principal::{Projection, VectorRows};

/// A place on the map: x and y. A map of one piece is about 20 wide, whatever the scale of the vectors.
pub type Point = [f32; 2];
