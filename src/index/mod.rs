//! Nearest-neighbour search as pure, synchronous CPU work: distances, flat scans, graphs. It knows
//! neither I/O nor tokio. Vectors stay where their chunks keep them; a graph holds only int8 codes and
//! neighbour lists and asks the caller for the exact vectors it re-ranks by.

mod distance;
mod flat;
mod kernel;
mod topk;

pub use distance::{PreparedQuery, distance, inverse_norm, inverse_norms};
pub use flat::{Vectors, scan};
pub use topk::{Neighbour, TopK};
