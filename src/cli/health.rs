//! The `health` command: asks a running server whether it is alive, for containers without another HTTP client. Exit
//! code 0 means a successful answer.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::ask;
use super::serve::on_runtime;
use crate::Result;

/// Shorter than the usual time-out of orchestrators.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// Flags of `health`.
#[derive(Debug, Args)]
pub struct HealthFlags {
    /// The server (default http://127.0.0.1:$PORT, or port 8000).
    #[arg(long)]
    url: Option<String>,
    /// Also ask whether every collection is loaded.
    #[arg(long)]
    ready: bool,
}

/// Sends the request and prints one line about a successful answer; any other outcome is the error.
pub fn run(flags: &HealthFlags) -> Result<()> {
    let url = format!("{}/{}", ask::server(flags.url.as_deref()), if flags.ready { "ready" } else { "health" });
    on_runtime(async {
        let text = ask::text(&url, TIME_LIMIT, None).await?;
        println!("{}", summary(&url, &text));
        Ok(())
    })
}

/// The line for an answer: a Drumlin server's own status, or that something else answered.
fn summary(url: &str, text: &str) -> String {
    let Ok(answer) = serde_json::from_str::<Value>(text) else {
        return format!("{url} answers, but not as a Drumlin server does");
    };
    let field = |name: &str| answer.get(name);
    if field("ready").is_some_and(|ready| ready == true) {
        return "ready: every collection is loaded".to_owned();
    }
    let Some(status) = field("status").and_then(Value::as_str) else {
        return format!("{url} answers, but not as a Drumlin server does");
    };
    let number = |name: &str| field(name).and_then(Value::as_u64).unwrap_or(0);
    let waits =
        field("waiting_for").and_then(Value::as_str).map_or(String::new(), |what| format!("; waits for {what}"));
    format!("{status}: {} collections, {} records{waits}", number("collections"), number("records"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_answer_is_told_in_one_line() {
        for (text, line) in [
            (r#"{"status":"ok","collections":3,"records":120}"#, "ok: 3 collections, 120 records"),
            (
                r#"{"status":"starting","waiting_for":"the bucket","collections":0,"records":0}"#,
                "starting: 0 collections, 0 records; waits for the bucket",
            ),
            (r#"{"ready":true,"loading":{"done":3,"total":3}}"#, "ready: every collection is loaded"),
            ("<html>", "http://x answers, but not as a Drumlin server does"),
            (r#"{"tagline":"other"}"#, "http://x answers, but not as a Drumlin server does"),
        ] {
            assert_eq!(summary("http://x", text), line, "{text}");
        }
    }
}
