//! One stream of commits in a bucket.

pub mod state;
