//! The `view` command: a statement in SQL with which another program reads a collection out of the bucket.

use clap::Args;
use drumlin::{Result, Scope, Version};

use super::place::StorePlace;
use super::restore;

/// Flags of `view`.
#[derive(Debug, Args)]
pub struct ViewFlags {
    #[command(flatten)]
    place: StorePlace,
    /// The collection's name.
    name: String,
    /// The collection's tenant.
    #[arg(long, default_value = "default_tenant")]
    tenant: String,
    /// The collection's database.
    #[arg(long, default_value = "default_database")]
    database: String,
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
    let scope = Scope { tenant: flags.tenant.clone(), database: flags.database.clone() };
    restore::on_store(&flags.place, async |store| {
        let store = store.with_scope(&scope);
        let version = flags.at.map(Version);
        print!("{}", store.admin().sql_view(&flags.name, version, flags.view.as_deref()).await?);
        Ok(())
    })
}
