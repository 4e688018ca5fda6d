//! The `drumlin` program: reads the command line and runs one command. The library does all the work; this file and
//! `cli` only wire it.

#![cfg_attr(not(test), warn(clippy::expect_used, clippy::panic, clippy::unreachable, clippy::unwrap_used))]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("drumlin: {error}");
            ExitCode::FAILURE
        }
    }
}
