//! How Drumlin and its clients of each cloud fare with what is between them and the store: over real sockets, with
//! servers in this process.

mod cloud_outcomes;
mod not_the_store;
mod outages;
mod s3_outcomes;
mod ways_to_the_bucket;
