//! The `inspect` command: the contents of a bucket, without reading the objects themselves.

use clap::Args;

use super::place::{Chosen, StorePlace};
use super::serve;
use super::verify::json;
use crate::Result;
use crate::admin::StreamLine;
use crate::admin::report::time;

/// Flags of `inspect`.
#[derive(Debug, Args)]
pub struct InspectFlags {
    #[command(flatten)]
    place: StorePlace,
    #[command(flatten)]
    chosen: Chosen,
    /// Print everything as JSON, each segment and graph included.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(flags: &InspectFlags) -> Result<()> {
    let settings = flags.place.settings()?;
    serve::start_log(&settings)?;
    serve::on_runtime(async {
        let view = crate::admin::inspect(&settings.store, &flags.chosen.selector()).await?;
        if flags.json {
            println!("{}", json(&view)?);
            return Ok(());
        }
        println!("{}", view.place.location);
        view.streams.iter().for_each(print);
        for finding in &view.findings {
            println!("{}: {} (`drumlin verify` shows more)", finding.key, finding.cause);
        }
        Ok(())
    })
}

fn print(line: &StreamLine) {
    println!("\n{} ({}): {}", line.name.as_deref().unwrap_or("(no record)"), line.stream, line.state);
    if let Some(error) = &line.error {
        println!("  {error}");
        return;
    }
    println!("  version {}, log from {} on, floor {}, {} swaps", line.version, line.gone, line.floor, line.swaps);
    let rows: u64 = line.segments.iter().map(|segment| segment.rows).sum();
    let bytes: u64 = line.segments.iter().map(|segment| segment.bytes).sum();
    println!("  segments {}: {rows} rows, {bytes} bytes", line.segments.len());
    for segment in &line.segments {
        let (lo, hi) = (segment.lo, segment.hi);
        println!("    {lo} to {hi}: {} rows, {} bytes, level {}", segment.rows, segment.bytes, segment.level);
        for index in &segment.inverted {
            println!("      inverted index ({}): {} bytes", index.kind, index.bytes);
        }
    }
    for graph in &line.graphs {
        println!("  graph over {} to {}: {} nodes, {} bytes", graph.lo, graph.hi, graph.nodes, graph.bytes);
    }
    if let Some(map) = &line.map {
        println!("  map of version {}: {} records, {} bytes", map.version, map.records, map.bytes);
    }
    for (what, amount) in [
        ("commits in no segment yet", line.tail),
        ("older commits kept", line.kept_log),
        ("replaced objects kept", line.retired),
        ("garbage", line.garbage),
    ] {
        if amount.objects > 0 {
            println!("  {what}: {} objects, {} bytes", amount.objects, amount.bytes);
        }
    }
    match &line.reach {
        Some(reach) => {
            let since = reach.since.map_or_else(String::new, |since| format!(", times since {}", time(since.0)));
            println!("  can be restored: versions {} to {}{since}", reach.oldest, reach.newest);
        }
        None => println!("  nothing of it can be restored"),
    }
}
