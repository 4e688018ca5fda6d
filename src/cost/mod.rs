//! The monthly cost of a bucket at each provider's list prices, from the stored bytes and a server's counts of requests.
//! Invariant: it only computes; it asks no bucket and no server.

mod prices;
mod usage;

pub use prices::{AS_OF, Bill, Month, Prices, TABLE};
pub use usage::{HOURS, Usage};
