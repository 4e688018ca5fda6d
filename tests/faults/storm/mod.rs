//! The parts of the simulation, for the tests that run it.

pub mod audit;
pub mod client;
pub mod convergence;
pub mod ledger;
pub mod simulation;
