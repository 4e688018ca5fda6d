//! The `export` command: a collection into a Parquet file or JSON Lines, all of one version, in order.

use std::path::{Path, PathBuf};

use clap::Args;

use super::place::OneCollection;
use super::{bulk_load, restore};
use crate::arrow::{JsonLinesWriter, ParquetWriter, RecordWriter, described};
use crate::{Collection, Consistency, Error, ErrorKind, Result};

/// Records read at once.
const PAGE: usize = 1_000;

/// Flags of `export`.
#[derive(Debug, Args)]
pub struct ExportFlags {
    #[command(flatten)]
    of: OneCollection,
    /// File to write: .parquet, or .jsonl.
    #[arg(long)]
    to: PathBuf,
}

/// The format of a file, by its ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Parquet.
    Parquet,
    /// JSON Lines.
    JsonLines,
}

/// The format of this file.
pub fn kind_of(path: &Path) -> Result<FileKind> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("parquet") => Ok(FileKind::Parquet),
        Some("jsonl" | "ndjson") => Ok(FileKind::JsonLines),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            format!("--to: expected a file that ends in .parquet or .jsonl, got {}", path.display()),
        )),
    }
}

/// Runs the command.
pub fn run(flags: &ExportFlags) -> Result<()> {
    let kind = kind_of(&flags.to)?;
    restore::on_store(&flags.of.place, async |store| {
        let collection = store.with_scope(&flags.of.scope()).collection(&flags.of.collection).await?;
        // The file has another name until it is whole, so a file of the final name is a whole export.
        let mut partial = flags.to.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let records = export(&collection, kind, &partial).await?;
        std::fs::rename(&partial, &flags.to).map_err(|e| {
            Error::new(ErrorKind::Unavailable, format!("{} could not be renamed: {e}", partial.display()))
                .with_source(e)
        })?;
        println!("{}: {records} records", flags.to.display());
        Ok(())
    })
}

async fn export(collection: &Collection, kind: FileKind, path: &Path) -> Result<usize> {
    let mut scan = collection.scan(Consistency::Strong).await?;
    let mut writer = match kind {
        FileKind::Parquet => {
            let description = described(&collection.identity(), collection.dimension());
            RecordWriter::Parquet(Box::new(ParquetWriter::create(path, &description)?))
        }
        FileKind::JsonLines => RecordWriter::JsonLines(JsonLinesWriter::create(path)?),
    };
    let bar = bulk_load::bar(&collection.identity().name, Some(scan.count() as u64))?;
    loop {
        let records = scan.next_page(PAGE).await?;
        if records.is_empty() {
            break;
        }
        writer.push(&records)?;
        bar.inc(records.len() as u64);
    }
    writer.finish()?;
    bar.finish_and_clear();
    Ok(scan.count())
}
