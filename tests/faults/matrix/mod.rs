//! No loss, whatever the bucket does: every call that a scripted workload makes is failed in every way,
//! and the process dies on it; each time the store is opened again on what is in the bucket. Every
//! acknowledged change must be there exactly once, every refused one absent, an unclear one whole or
//! absent, and the bucket must keep the protocol's invariants.

mod check;
mod model;
mod run;
mod s3;
mod script;
mod trouble;

use run::Matrix;

/// Runs one phase through the whole matrix and prints what it covered.
fn every_call_of(phase: &str) {
    let covered = Matrix::new(phase).run();
    println!("{covered}");
    assert!(covered.violations.is_empty(), "{} violations, the first: {}", covered.violations.len(), covered.first());
    assert!(covered.calls > 20, "only {} calls of phase {phase} were failed", covered.calls);
}

#[test]
fn nothing_is_lost_whichever_call_of_birth_fails_in_whichever_way() {
    every_call_of("birth");
}

#[test]
fn nothing_is_lost_whichever_call_of_writes_fails_in_whichever_way() {
    every_call_of("writes");
}

#[test]
fn nothing_is_lost_whichever_call_of_maintenance_fails_in_whichever_way() {
    every_call_of("maintenance");
}

#[test]
fn nothing_is_lost_whichever_call_of_garbage_collection_fails_in_whichever_way() {
    every_call_of("garbage");
}

#[test]
fn nothing_is_lost_whichever_call_of_the_end_fails_in_whichever_way() {
    every_call_of("end");
}

#[test]
fn nothing_is_lost_whichever_call_of_databases_fails_in_whichever_way() {
    every_call_of("databases");
}

#[test]
fn nothing_is_lost_whichever_call_of_a_fork_fails_in_whichever_way() {
    every_call_of("forks");
}

#[test]
fn nothing_is_lost_or_left_over_whichever_call_of_a_sweep_fails_in_whichever_way() {
    every_call_of("sweeps");
}

#[test]
fn nothing_is_lost_whichever_call_of_a_reset_fails_in_whichever_way() {
    every_call_of("reset");
}

#[tokio::test]
async fn nothing_is_lost_whichever_tenth_request_to_an_s3_server_fails() {
    match s3::every_tenth().await {
        Ok(cases) => assert!(cases > 60, "only {cases} cases were run"),
        Err(why) => panic!("{why}"),
    }
}
