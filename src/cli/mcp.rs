//! The command `mcp`: the collections for one agent, over standard input and output, straight on the bucket. Any number
//! of agents do so at once, beside any number of servers: each is one more instance of the store.
//! Invariant: standard output carries messages of the protocol and nothing else; the log is on standard error.

use std::time::Duration;

use clap::Args;

use super::place::StorePlace;
use super::serve;
use crate::http::McpServer;
use crate::{Result, Scope, Store};

/// How long the end of the input waits for the store to be closed. Nothing that was acknowledged depends on it.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Flags of `mcp`.
#[derive(Debug, Args)]
pub struct McpFlags {
    #[command(flatten)]
    place: StorePlace,
    /// The tenant of the collections.
    #[arg(long, default_value = "default_tenant")]
    tenant: String,
    /// The database of the collections.
    #[arg(long, default_value = "default_database")]
    database: String,
    /// Offer only the tools that change nothing.
    #[arg(long)]
    read_only: bool,
}

/// Runs `mcp` until its input ends or a signal comes.
pub fn run(flags: &McpFlags) -> Result<()> {
    let mut settings = flags.place.settings()?;
    settings.store.memory_limit = settings.memory.limit();
    // An agent uses few collections, and waits for none but these.
    settings.store.load_at_start = false;
    serve::start_log(&settings)?;
    let scope = Scope { tenant: flags.tenant.clone(), database: flags.database.clone() };
    let read_only = flags.read_only;
    serve::on_runtime(async move {
        let stop = serve::stop_signal()?;
        let store = Store::open(settings.store).await?;
        let server = McpServer::new(store.with_scope(&scope)).read_only(read_only);
        let served = tokio::select! {
            served = server.serve(tokio::io::stdin(), tokio::io::stdout()) => served,
            () = stop => Ok(()),
        };
        if let Err(error) = store.close(CLOSE_LIMIT).await {
            tracing::warn!("stopped before everything was flushed ({error}); everything acknowledged is in the bucket");
        }
        served
    })
}
