//! The command line: commands, flags, and where settings come from (flags, then the environment, then the `.env` file
//! of the working directory). A start that fails prints one sentence on standard error.
//!
//! It uses the public API of this crate, as any program would. It lies in the library because the compiler makes the
//! code of async functions where they are waited for: in a crate of its own the program compiled half the library again.

mod allocator;
mod ask;
#[cfg(test)]
mod bucket_variables_tests;
mod bulk_load;
mod copy;
mod cost;
mod demo;
mod dotenv;
mod export;
mod gc;
mod health;
mod import;
mod inspect;
mod key;
mod key_settings;
mod listen_settings;
mod look;
#[cfg(feature = "mcp")]
mod mcp;
mod memory_settings;
mod model;
mod names;
mod place;
mod refusal;
mod restore;
mod serve;
mod settings;
mod variables;
mod verify;
mod view;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::Result;
use crate::settings::with_variables;

/// A vector database whose only disk is a bucket.
#[derive(Debug, Parser)]
#[command(name = "drumlin", version, about, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    #[command(after_help = variables::help())]
    Serve(Flags),
    /// Serve the collections to one agent over standard input and output, by the Model Context Protocol.
    #[cfg(feature = "mcp")]
    Mcp(mcp::McpFlags),
    /// Copy collections from another database, or a file into a collection; an interrupted run continues where it stopped.
    #[command(subcommand)]
    Import(import::Origin),
    /// Put sentence models into the bucket, which make embeddings of texts.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Make keys for the server.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Write a collection into a file: Parquet or JSON Lines.
    Export(export::ExportFlags),
    /// Copy collections into another store: migration between providers.
    Copy(copy::CopyFlags),
    /// List the collections of a store, with their records.
    List(look::ListFlags),
    /// Show some records of a collection.
    Peek(look::PeekFlags),
    /// Show the nearest records to an embedding, or to a record.
    Search(look::SearchFlags),
    /// Print a view in SQL with which DuckDB reads a collection's records out of the bucket by itself.
    View(view::ViewFlags),
    /// Drop a collection.
    Drop(look::DropFlags),
    /// Show what a bucket holds: versions, segments, graphs, garbage, how far back restoring reaches.
    Inspect(inspect::InspectFlags),
    /// Make a collection from an earlier version or time of another, even a damaged or recently dropped one.
    Restore(restore::RestoreFlags),
    /// Make a collection from the present state of another.
    Fork(restore::ForkFlags),
    /// Show what the bucket costs in a month, at each provider's list prices.
    Cost(cost::CostFlags),
    /// Collect garbage once, or list what would be deleted.
    Gc(gc::GcFlags),
    /// Read a whole bucket and report what is damaged: exit code 0 sound, 1 damaged, 2 not checked.
    Verify(verify::VerifyFlags),
    /// Ask a running server whether it is alive: exit code 0 if it is. For health checks of containers.
    Health(health::HealthFlags),
    /// Print the version.
    Version,
}

/// Flags of `serve`; each wins over its variable.
#[derive(Debug, Default, Args)]
struct Flags {
    /// Address or name to listen on (DRUMLIN_HOST, HOST; default 127.0.0.1).
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, 0 for any free one (DRUMLIN_PORT, PORT; default 8000).
    #[arg(long)]
    port: Option<String>,
    /// Folder to use as the bucket (DRUMLIN_DATA; default ./drumlin-data).
    #[arg(long)]
    data: Option<String>,
    /// Keep everything in memory only; it is lost when the server stops (DRUMLIN_STORAGE=memory).
    #[arg(long, conflicts_with = "data")]
    memory: bool,
    /// Load 400 sentences into a collection called demo, to have something to search and to look at.
    #[arg(long)]
    demo: bool,
}

/// The program `drumlin`: runs the command that the command line names, and tells the process how it ended.
///
/// An error is one sentence on standard error; where a setting refused, it names the variable.
pub fn main() -> ExitCode {
    run(CommandLine::parse().command).map_err(with_variables).unwrap_or_else(|error| {
        eprintln!("drumlin: {error}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    if let Command::Version = command {
        println!("drumlin {}", env!("CARGO_PKG_VERSION"));
        return Ok(ExitCode::SUCCESS);
    }
    allocator::return_what_is_freed();
    let dotenv = dotenv::load()?;
    match command {
        Command::Serve(flags) => {
            let mut settings = settings::settings_of_process(&flags, true)?;
            settings.env_file = dotenv.path;
            settings.notes.extend(dotenv.notes);
            serve::run(settings)?;
        }
        #[cfg(feature = "mcp")]
        Command::Mcp(flags) => mcp::run(&flags)?,
        Command::Import(origin) => import::run(origin)?,
        Command::Key(command) => key::run(command)?,
        Command::Model(command) => model::run(&command)?,
        Command::Export(flags) => export::run(&flags)?,
        Command::Copy(flags) => copy::run(&flags)?,
        Command::Cost(flags) => cost::run(&flags)?,
        Command::List(flags) => look::list(&flags)?,
        Command::Peek(flags) => look::peek(&flags)?,
        Command::Search(flags) => look::search(&flags)?,
        Command::View(flags) => view::run(&flags)?,
        Command::Drop(flags) => look::drop(&flags)?,
        Command::Inspect(flags) => inspect::run(&flags)?,
        Command::Restore(flags) => restore::restore(&flags)?,
        Command::Fork(flags) => restore::fork(&flags)?,
        Command::Gc(flags) => gc::run(&flags)?,
        Command::Health(flags) => health::run(&flags)?,
        Command::Verify(flags) => return Ok(verify::run(&flags)),
        Command::Version => {}
    }
    Ok(ExitCode::SUCCESS)
}
