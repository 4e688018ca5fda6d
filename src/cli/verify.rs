//! The `verify` command: reads a whole bucket and reports what is damaged. Its exit code is for scripts: 0 sound, 1
//! damaged, 2 not checked.

use std::process::ExitCode;

use clap::Args;

use super::place::{Chosen, StorePlace};
use super::serve;
use crate::admin::check_report::{BucketCheck, Severity, StreamCheck};
use crate::{Error, ErrorKind, Result};

/// Flags of `verify`.
#[derive(Debug, Args)]
pub struct VerifyFlags {
    #[command(flatten)]
    place: StorePlace,
    #[command(flatten)]
    chosen: Chosen,
    /// Print the whole report as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command; the exit code is the result.
pub fn run(flags: &VerifyFlags) -> ExitCode {
    match checked(flags) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("drumlin: the store was not checked: {error}");
            ExitCode::from(2)
        }
    }
}

fn checked(flags: &VerifyFlags) -> Result<bool> {
    let settings = flags.place.settings()?;
    serve::start_log(&settings)?;
    serve::on_runtime(async {
        let check = crate::admin::verify(&settings.store, &flags.chosen.selector()).await?;
        match flags.json {
            true => println!("{}", json(&check)?),
            false => print(&check),
        }
        Ok(check.sound)
    })
}

/// A report as JSON.
pub fn json(report: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(report).map_err(|e| Error::new(ErrorKind::Internal, format!("the report: {e}")))
}

fn print(check: &BucketCheck) {
    println!("{}", check.place.location);
    for stream in &check.streams {
        println!("{}", line(stream));
    }
    for finding in check.all_findings() {
        let weight = match finding.severity {
            Severity::Note => "note",
            Severity::Suspicious => "suspicious",
            Severity::Damaged => "DAMAGED",
        };
        println!("{weight}: {}\n    {}\n    {}", finding.key, finding.cause, finding.remedy);
    }
    let damaged = check.all_findings().filter(|finding| finding.severity == Severity::Damaged).count();
    let verdict = if check.sound { "sound".to_owned() } else { format!("{damaged} findings of damage") };
    let (objects, bytes) = (check.checked.objects, check.checked.bytes);
    println!("{verdict}: {objects} objects, {bytes} bytes read in {:.1} s", check.seconds);
}

fn line(stream: &StreamCheck) -> String {
    let name = stream.name.as_deref().unwrap_or("(no record)");
    let StreamCheck { stream: key, state, version, records, checked, .. } = stream;
    let mut line =
        format!("{name} ({key}): {state}, version {version}, {records} records, {} objects", checked.objects);
    for (what, amount) in [("garbage", stream.garbage), ("orphans", stream.orphans)] {
        if amount.objects > 0 {
            line.push_str(&format!(", {what} {} ({} bytes)", amount.objects, amount.bytes));
        }
    }
    line
}
