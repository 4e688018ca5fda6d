//! What several of the tests and benches share: a server over HTTP with its client, the check of a bucket's invariants,
//! a model of a collection, seeded records, runs that count requests. Compiled once for all of them. The unit tests in
//! `src/` cannot use what takes a type of Drumlin: they are another compilation of the crate than the one below here.
//! What only one program uses is a module of that program, and the servers of clouds are `tests/servers/`.

pub mod arguments;
pub mod bucket_check;
pub mod cost_run;
pub mod group_commit_run;
pub mod model;
pub mod records;
pub mod server;
