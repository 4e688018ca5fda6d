//! The `cost` command: the monthly cost of a bucket at each provider's list prices. The stored bytes come from a
//! listing; the number of requests comes from the counters of a running server since its start.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::place::StorePlace;
use super::verify::json;
use super::{ask, serve};
use crate::admin::Stored;
use crate::admin::cost::{AS_OF, Bill, HOURS, Month, TABLE, Usage};
use crate::{Error, Result};

/// How long the server may take to answer.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Flags of `cost`.
#[derive(Debug, Args)]
pub struct CostFlags {
    #[command(flatten)]
    place: StorePlace,
    /// A running server on this bucket (default http://127.0.0.1:$PORT, or port 8000); its key is STORAGE_API_KEY.
    #[arg(long)]
    url: Option<String>,
    /// Ask no server; price only what is stored.
    #[arg(long, conflicts_with = "url")]
    storage_only: bool,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// The output of the command.
#[derive(Debug, Serialize)]
struct Report {
    location: String,
    stored: Stored,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<Usage>,
    /// The reason why no requests are counted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_counted: Option<String>,
    month: Month,
    prices_as_of: &'static str,
    dollars_a_month: Vec<Bill>,
}

/// Runs the command.
pub fn run(flags: &CostFlags) -> Result<()> {
    let settings = flags.place.settings()?;
    serve::start_log(&settings)?;
    serve::on_runtime(async {
        let (place, stored) = crate::admin::stored(&settings.store).await?;
        let (counted, not_counted) = match flags.storage_only {
            true => (None, Some("no server was asked".to_owned())),
            false => match counted(flags.url.as_deref()).await {
                Ok(counted) => (Some(counted), None),
                // A server that was named must answer; the default one on this machine need not exist.
                Err(error) if flags.url.is_some() => return Err(error),
                Err(error) => (None, Some(format!("{error}; name another server by --url"))),
            },
        };
        let month = counted.unwrap_or_default().month(stored.bytes);
        let dollars_a_month = TABLE.iter().map(|prices| prices.bill(&month)).collect();
        let location = place.location;
        let report = Report { location, stored, counted, not_counted, month, prices_as_of: AS_OF, dollars_a_month };
        match flags.json {
            true => println!("{}", json(&report)?),
            false => print(&report),
        }
        Ok(())
    })
}

async fn counted(url: Option<&str>) -> Result<Usage> {
    let url = format!("{}/metrics", ask::server(url));
    let key = std::env::var("STORAGE_API_KEY").ok().filter(|key| !key.is_empty());
    let text = ask::text(&url, TIME_LIMIT, key.as_deref()).await;
    Usage::of_metrics(&text.map_err(|e| Error::new(e.kind(), format!("{e}; with --storage-only no server is asked")))?)
}

fn print(report: &Report) {
    let Report { location, stored, month, .. } = report;
    println!("{location}: {} objects, {}", stored.objects, size(stored.bytes as f64));
    match &report.counted {
        None => println!("requests are not included: {}", report.not_counted.as_deref().unwrap_or_default()),
        Some(counted) if counted.is_short() => println!(
            "requests are not included: the server has been up for {:.0} minutes, and less than an hour says nothing \
             about a month ({:.0} writes and listings, {:.0} reads so far)",
            counted.seconds / 60.0,
            counted.writes,
            counted.reads
        ),
        Some(counted) => {
            let hours = counted.seconds / 3_600.0;
            println!(
                "a month of {HOURS:.0} h at the rate of the {hours:.2} h since the server has started: \
                 {:.0} writes and listings, {:.0} reads, {} received",
                month.writes,
                month.reads,
                size(month.received_bytes)
            );
        }
    }
    println!("\nUS dollars a month, list prices of {}", report.prices_as_of);
    println!("{:<42}{:>10}{:>10}{:>10}{:>10}   if the server is elsewhere", "", "storage", "writes", "reads", "total");
    for bill in &report.dollars_a_month {
        let Bill { provider, storage, writes, reads, total, sent_out } = bill;
        println!("{provider:<42}{storage:>10.2}{writes:>10.2}{reads:>10.2}{total:>10.2}   + {sent_out:.2}");
    }
}

fn size(bytes: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let unit = units.into_iter().find(|(size, _)| bytes >= *size);
    unit.map_or_else(|| format!("{bytes:.0} bytes"), |(size, name)| format!("{:.2} {name}", bytes / size))
}
