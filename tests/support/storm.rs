//! The parts of the simulation, for the tests that run it.

#[path = "audit.rs"]
pub mod audit;
#[path = "client.rs"]
pub mod client;
#[path = "convergence.rs"]
pub mod convergence;
#[path = "ledger.rs"]
pub mod ledger;
#[path = "model.rs"]
pub mod model;
#[path = "simulation.rs"]
pub mod simulation;
