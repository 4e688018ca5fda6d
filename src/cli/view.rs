//! The `view` command: a statement in SQL with which another program reads a collection out of the bucket.

use clap::Args;

use super::place::OneCollection;
use super::restore;
use crate::{Result, Version};

/// Flags of `view`.
#[derive(Debug, Args)]
pub struct ViewFlags {
    #[command(flatten)]
    of: OneCollection,
    /// Write it for DuckDB, the only program so far.
    #[arg(long, required = true)]
    duckdb: bool,
    /// Show this version; else the newest.
    #[arg(long, value_name = "VERSION")]
    at: Option<u64>,
    /// The view's name; else that of the collection.
    #[arg(long = "as", value_name = "VIEW")]
    view: Option<String>,
}

/// Runs the command.
pub fn run(flags: &ViewFlags) -> Result<()> {
    restore::on_store(&flags.of.place, async |store| {
        let store = store.with_scope(&flags.of.scope());
        let version = flags.at.map(Version);
        print!("{}", store.admin().sql_view(&flags.of.collection, version, flags.view.as_deref()).await?);
        Ok(())
    })
}
