//! The `import parquet` and `import jsonl` commands: the records of a file into a collection, in order. A run
//! that was cut short is gone on with by the next: the collection remembers which file it is from.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use drumlin::admin::Checksum;
use drumlin::arrow::{ColumnChoice, ColumnPlan, OtherColumns};
use drumlin::arrow::{JsonLinesReader, ParquetReader, ReadOptions, RecordReader, spec_of};
use drumlin::http::check_name;
use drumlin::{Collection, CollectionSpec, Consistency, Error, ErrorKind, Metric, Record, Result, Store};
use serde_json::{Value, json};

use crate::cli::bulk_load::{self, How, Skipped};
use crate::cli::place::OneCollection;
use crate::cli::restore;

/// Where a collection's extension says which file it was made of.
const ORIGIN: &str = "imported_from_file";

/// Ids that are named where they came more than once.
const NAMED_IDS: usize = 5;

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
    /// Which column, or key, is what: id=NAME,embedding=NAME,document=NAME,uri=NAME,metadata=NAME, or some of these.
    /// Common names (vector, text, …) are found, and said.
    #[arg(long)]
    columns: Option<String>,
    /// What becomes of other columns: metadata, ignore or refuse.
    #[arg(long, default_value = "metadata")]
    other_columns: OtherColumns,
}

/// Runs `import parquet`.
pub fn parquet(flags: &FileFlags) -> Result<()> {
    let reader = ParquetReader::open_with(&flags.file, &options(flags)?)?;
    let (spec, rows) = (reader.description().map(spec_of).transpose()?, reader.rows());
    run(flags, OpenedFile::begin(RecordReader::Parquet(Box::new(reader)), spec, Some(rows))?)
}

/// Runs `import jsonl`.
pub fn json_lines(flags: &FileFlags) -> Result<()> {
    let reader = RecordReader::JsonLines(Box::new(JsonLinesReader::open_with(&flags.file, &options(flags)?)?));
    run(flags, OpenedFile::begin(reader, None, None)?)
}

fn options(flags: &FileFlags) -> Result<ReadOptions> {
    let columns = ColumnChoice::guessing(flags.other_columns).naming(flags.columns.as_deref().unwrap_or_default())?;
    Ok(ReadOptions { columns, limits: flags.of.place.settings()?.store.limits })
}

/// A file, what it says about itself, and its first page: it is looked at before a collection is made for it.
struct OpenedFile {
    reader: RecordReader,
    first: Vec<Record>,
    spec: Option<CollectionSpec>,
    rows: Option<u64>,
}

impl OpenedFile {
    fn begin(mut reader: RecordReader, spec: Option<CollectionSpec>, rows: Option<u64>) -> Result<OpenedFile> {
        let first = reader.next_page()?;
        if let Some(summary) = reader.plan().and_then(ColumnPlan::summary) {
            eprintln!("{summary}");
        }
        Ok(OpenedFile { reader, first, spec, rows })
    }

    /// The next page, read off the async threads; empty at the end.
    async fn next(&mut self) -> Result<Vec<Record>> {
        if !self.first.is_empty() {
            return Ok(std::mem::take(&mut self.first));
        }
        tokio::task::block_in_place(|| self.reader.next_page())
    }
}

/// What an import did.
#[derive(Debug, Default)]
struct Loaded {
    read: u64,
    repeated: u64,
    /// Some of the ids that came more than once.
    named: Vec<String>,
    seen: HashSet<u128>,
}

impl Loaded {
    fn see(&mut self, page: &[Record]) {
        self.read += page.len() as u64;
        for record in page.iter().filter(|record| !self.seen.insert(Checksum::of(record.id.as_bytes()).0)) {
            self.repeated += 1;
            if self.named.len() < NAMED_IDS && !self.named.contains(&record.id) {
                self.named.push(record.id.clone());
            }
        }
    }

    fn print(&self, flags: &FileFlags) {
        if self.repeated == 0 {
            return;
        }
        let kept = if flags.upsert { "last" } else { "first" };
        let more = if self.repeated > self.named.len() as u64 { ", …" } else { "" };
        let records =
            if self.repeated == 1 { "1 record has an id" } else { &format!("{} records have ids", self.repeated) };
        eprintln!("{records} that came before ({}{more}): the {kept} of each is kept", self.named.join(", "));
    }
}

fn run(flags: &FileFlags, source: OpenedFile) -> Result<()> {
    restore::on_any_store(&flags.of.place, async |store| {
        let (collection, made) = target(store, flags, source.spec.clone()).await?;
        let loaded = match load_into(&collection, flags, source).await {
            Ok(loaded) => loaded,
            Err(error) => {
                // Nobody asked for an empty collection.
                if made && collection.count(Consistency::Strong).await.is_ok_and(|count| count == 0) {
                    store.with_scope(&flags.of.scope()).drop_collection(&flags.of.collection).await?;
                }
                return Err(error);
            }
        };
        loaded.print(flags);
        bulk_load::build_graphs(&collection).await?;
        let there = collection.count(Consistency::Strong).await?;
        println!("{}: {} records read, {there} in the collection", flags.of.collection, loaded.read);
        Ok(())
    })
}

/// The file, as the collection remembers it.
fn origin(flags: &FileFlags) -> Result<Value> {
    let size = std::fs::metadata(&flags.file)
        .map_err(|e| Error::new(ErrorKind::Unavailable, format!("{}: {e}", flags.file.display())).with_source(e))?;
    let name = flags.file.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(json!({"file": name, "bytes": size.len()}))
}

/// An origin in words.
fn in_words(origin: &Value) -> String {
    format!("{} ({} bytes)", origin["file"].as_str().unwrap_or("a file"), origin["bytes"])
}

/// The collection to write into: new, or begun by an earlier run, or any with `--upsert`; and whether it is new.
async fn target(store: &Store, flags: &FileFlags, spec: Option<CollectionSpec>) -> Result<(Collection, bool)> {
    let (scope, name) = (flags.of.scope(), &flags.of.collection);
    check_name(name)?;
    let mut spec = CollectionSpec { name: name.clone(), ..spec.unwrap_or_default() };
    spec.metric = flags.metric.unwrap_or(spec.metric);
    let origin = origin(flags)?;
    spec.extension.insert(ORIGIN.to_owned(), origin.clone());
    match store.with_scope(&scope).create_collection(spec).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => return created.map(|collection| (collection, true)),
    }
    let collection = store.with_scope(&scope).collection(name).await?;
    let from = collection.identity().extension.get(ORIGIN).cloned();
    if flags.upsert || from.as_ref() == Some(&origin) {
        return Ok((collection, false));
    }
    let from =
        from.map_or_else(|| "was not made of a file".to_owned(), |from| format!("was made of {}", in_words(&from)));
    let what = format!(
        "collection {name:?} exists and {from}, not of {}: name another, write into it with --upsert, or drop it with \
         drumlin drop --collection {name}",
        in_words(&origin)
    );
    Err(Error::new(ErrorKind::AlreadyExists, what))
}

/// Writes the records that are missing; what the file has.
async fn load_into(collection: &Collection, flags: &FileFlags, mut source: OpenedFile) -> Result<Loaded> {
    // Pages were added in order, so what is here is a beginning of the file; were it not, adding a record that
    // is here already would do nothing.
    let here = match flags.upsert {
        true => 0,
        false => collection.count(Consistency::Strong).await?,
    };
    let how = if flags.upsert { How::Upsert } else { How::Add };
    let bar = bulk_load::bar(&flags.of.collection, source.rows)?;
    let mut loaded = Loaded::default();
    loop {
        let page = source.next().await?;
        if page.is_empty() {
            break;
        }
        let known = usize::try_from(here.saturating_sub(loaded.read)).unwrap_or(usize::MAX).min(page.len());
        loaded.see(&page);
        if let Some(missing) = page.get(known..).filter(|missing| !missing.is_empty()) {
            bulk_load::write(collection, missing, how, &mut Skipped::none()).await?;
        }
        bar.set_position(loaded.read);
    }
    bar.finish_and_clear();
    Ok(loaded)
}
