//! The `health` command: asks a running server whether it is alive, for containers that have no other program to ask
//! with. Exit code 0 says that it answered well.

use std::time::Duration;

use clap::Args;
use drumlin::{Error, Kind, Result};

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
    let own = || format!("http://127.0.0.1:{}", std::env::var("PORT").unwrap_or_else(|_| "8000".to_owned()));
    let server = flags.url.clone().unwrap_or_else(own);
    let url = format!("{}/{}", server.trim_end_matches('/'), if flags.ready { "ready" } else { "health" });
    on_runtime(async {
        let failed = |what: String| Error::new(Kind::Unavailable, format!("{url}: {what}"));
        let client = reqwest::Client::builder().timeout(TIME_LIMIT).no_proxy().build();
        let client = client.map_err(|e| failed("no client".to_owned()).with_source(e))?;
        let answer = client.get(&url).send().await.map_err(|e| failed(format!("no answer: {e}")))?;
        if answer.status().is_success() { Ok(()) } else { Err(failed(format!("answered {}", answer.status()))) }
    })
}
