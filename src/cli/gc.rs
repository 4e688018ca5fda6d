//! The `gc` command: collects garbage once, or lists what it would delete.

use std::collections::BTreeMap;

use clap::Args;

use super::place::StorePlace;
use super::verify::json;
use super::{restore, serve};
use crate::Result;
use crate::admin::Reason;

/// Flags of `gc`.
#[derive(Debug, Args)]
pub struct GcFlags {
    #[command(flatten)]
    place: StorePlace,
    /// Delete nothing; list what would be deleted, and why.
    #[arg(long)]
    dry_run: bool,
    /// Sweep orphans now, even if the weekly sweep is not due.
    #[arg(long)]
    sweep: bool,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(flags: &GcFlags) -> Result<()> {
    if flags.dry_run {
        return dry_run(flags);
    }
    restore::on_store(&flags.place, async |store| {
        store.wait_until_loaded().await;
        let done = store.admin().collect_garbage(flags.sweep).await?;
        match flags.json {
            true => println!("{}", json(&done)?),
            false => println!(
                "deleted: {} commits that segments hold, {} lists of replaced objects with all they name, {} orphans; \
                 marked for deletion: {} streams without a collection",
                done.log_objects, done.retired_lists, done.orphans, done.condemned
            ),
        }
        Ok(())
    })
}

fn dry_run(flags: &GcFlags) -> Result<()> {
    let settings = flags.place.settings()?;
    serve::start_log(&settings)?;
    serve::on_runtime(async {
        let pending = crate::admin::garbage(&settings.store, flags.sweep).await?;
        if flags.json {
            println!("{}", json(&pending)?);
            return Ok(());
        }
        let mut sums: BTreeMap<Reason, (u64, u64)> = BTreeMap::new();
        for object in &pending {
            println!("{} ({} bytes): {}", object.key, object.bytes, words(object.reason));
            let sum = sums.entry(object.reason).or_default();
            *sum = (sum.0 + 1, sum.1 + object.bytes);
        }
        for (reason, (objects, bytes)) in sums {
            println!("{objects} objects, {bytes} bytes: {}", words(reason));
        }
        println!("{} objects would be deleted; nothing was", pending.len());
        Ok(())
    })
}

fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::OldCommit => "segments have held it for longer than any reader needs it",
        Reason::Replaced => "it was replaced long enough ago",
        Reason::Orphan => "nothing names it, and it is old",
        Reason::Dropped => "its collection was dropped long enough ago",
    }
}
