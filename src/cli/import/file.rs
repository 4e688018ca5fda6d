//! The `import parquet` and `import jsonl` commands: the records of a file into a collection, in order. A run
//! that was cut short is gone on with by the next: the collection remembers which file it is from.

use std::path::PathBuf;

use clap::Args;
use drumlin::http::check_name;
use drumlin::transfer::{JsonLinesReader, ParquetReader, RecordReader, spec_of};
use drumlin::{Collection, CollectionSpec, Consistency, Error, Kind, Metric, Result, Store};
use serde_json::{Value, json};

use crate::cli::place::OneCollection;
use crate::cli::pour::{self, How};
use crate::cli::restore;

/// Where a collection's extension says which file it was made of.
const ORIGIN: &str = "imported_from_file";

/// Flags of `import parquet` and `import jsonl`.
#[derive(Debug, Args)]
pub struct FileFlags {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    of: OneCollection,
    /// How distance is measured: cosine, l2 or ip. Default: what the file says, else cosine.
    #[arg(long)]
    metric: Option<Metric>,
    /// Write into a collection that exists, whatever it holds; records whose ids are there are replaced.
    #[arg(long)]
    upsert: bool,
}

/// Runs `import parquet`.
pub fn parquet(flags: &FileFlags) -> Result<()> {
    let reader = ParquetReader::open(&flags.file)?;
    let (spec, rows) = (reader.description().map(spec_of).transpose()?, reader.rows());
    let source = Source { reader: RecordReader::Parquet(Box::new(reader)), spec, rows: Some(rows) };
    run(flags, source)
}

/// Runs `import jsonl`.
pub fn json_lines(flags: &FileFlags) -> Result<()> {
    let reader = RecordReader::JsonLines(JsonLinesReader::open(&flags.file)?);
    run(flags, Source { reader, spec: None, rows: None })
}

/// A file and what it says about itself.
struct Source {
    reader: RecordReader,
    spec: Option<CollectionSpec>,
    rows: Option<u64>,
}

fn run(flags: &FileFlags, source: Source) -> Result<()> {
    restore::on_any_store(&flags.of.place, async |store| {
        let collection = target(store, flags, source.spec.clone()).await?;
        let read = pour_in(&collection, flags, source).await?;
        let there = collection.count(Consistency::Strong).await?;
        println!("{}: {read} records read, {there} in the collection", flags.of.collection);
        Ok(())
    })
}

/// The file, as the collection remembers it.
fn origin(flags: &FileFlags) -> Result<Value> {
    let size = std::fs::metadata(&flags.file)
        .map_err(|e| Error::new(Kind::Unavailable, format!("{}: {e}", flags.file.display())).with_source(e))?;
    let name = flags.file.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(json!({"file": name, "bytes": size.len()}))
}

/// The collection to write into: new, or begun by an earlier run, or any with `--upsert`.
async fn target(store: &Store, flags: &FileFlags, spec: Option<CollectionSpec>) -> Result<Collection> {
    let (scope, name) = (flags.of.scope(), &flags.of.collection);
    check_name(name)?;
    let mut spec = CollectionSpec { name: name.clone(), ..spec.unwrap_or_default() };
    spec.metric = flags.metric.unwrap_or(spec.metric);
    let origin = origin(flags)?;
    spec.extension.insert(ORIGIN.to_owned(), origin.clone());
    match store.create_collection(&scope, spec).await {
        Err(error) if error.kind() == Kind::AlreadyExists => {}
        created => return created,
    }
    let collection = store.collection_in(&scope, name).await?;
    if flags.upsert || collection.identity().extension.get(ORIGIN) == Some(&origin) {
        return Ok(collection);
    }
    let what = format!("collection {name:?} exists and is no import of {origin}: name another, or use --upsert");
    Err(Error::new(Kind::AlreadyExists, what))
}

/// Writes the records that are missing; how many the file has.
async fn pour_in(collection: &Collection, flags: &FileFlags, mut source: Source) -> Result<u64> {
    // Pages were added in order, so what is here is a beginning of the file; were it not, adding a record that
    // is here already would do nothing.
    let here = match flags.upsert {
        true => 0,
        false => collection.count(Consistency::Strong).await?,
    };
    let how = if flags.upsert { How::Upsert } else { How::Add };
    let bar = pour::bar(&flags.of.collection, source.rows)?;
    let mut read = 0;
    loop {
        let (reader, page) = next(source.reader).await?;
        source.reader = reader;
        if page.is_empty() {
            break;
        }
        let known = usize::try_from(here.saturating_sub(read)).unwrap_or(usize::MAX).min(page.len());
        read += page.len() as u64;
        if let Some(missing) = page.get(known..).filter(|missing| !missing.is_empty()) {
            pour::write(collection, missing, how).await?;
        }
        bar.set_position(read);
    }
    bar.finish_and_clear();
    Ok(read)
}

/// Reads a page off the async threads.
async fn next(mut reader: RecordReader) -> Result<(RecordReader, Vec<drumlin::Record>)> {
    let read = tokio::task::spawn_blocking(move || {
        let page = reader.next_page();
        (reader, page)
    });
    let (reader, page) =
        read.await.map_err(|e| Error::new(Kind::Internal, format!("reading the file was cut short: {e}")))?;
    Ok((reader, page?))
}
