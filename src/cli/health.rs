//! The `health` command: asks a running server whether it is alive, for containers that have no other program to ask
//! with. Exit code 0 says that it answered well.

use std::time::Duration;

use clap::Args;
use drumlin::Result;

use super::ask;
use super::serve::on_runtime;

/// Less than orchestrators usually wait.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// Flags of `health`.
#[derive(Debug, Args)]
pub struct Flags {
    /// The server (default http://127.0.0.1:$PORT, or port 8000).
    #[arg(long)]
    url: Option<String>,
    /// Ask whether every collection is loaded, too.
    #[arg(long)]
    ready: bool,
}

/// Asks, and fails with what came instead of a good answer.
pub fn run(flags: &Flags) -> Result<()> {
    let url = format!("{}/{}", ask::server(flags.url.as_deref()), if flags.ready { "ready" } else { "health" });
    on_runtime(async { ask::get(&url, TIME_LIMIT, None).await.map(|_| ()) })
}
