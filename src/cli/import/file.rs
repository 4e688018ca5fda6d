//! The `import parquet` and `import jsonl` commands: the records of a file into a collection, in order. The next run
//! continues an interrupted one: the collection stores which file it was made from.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::admin::{Checksum, Hasher};
use crate::arrow::{ColumnChoice, ColumnPlan, OtherColumns};
use crate::arrow::{JsonLinesReader, ParquetReader, ReadOptions, RecordReader, spec_of};
use crate::cli::bulk_load::{self, How, Skipped, Tally};
use crate::cli::place::OneCollection;
use crate::cli::restore;
use crate::http::check_name;
use crate::{Collection, CollectionSpec, Consistency, Error, ErrorKind, Metric, Record, Result, Store};

/// Key in a collection's extension that names the file it was made from.
const ORIGIN: &str = "imported_from_file";

/// Key in the origin of the checksum of the file's bytes.
const XXH3: &str = "xxh3";

/// Most repeated ids that are listed.
const NAMED_IDS: usize = 5;

/// Bytes of a file that are read at once for its checksum.
const STEP_BYTES: usize = 1 << 20;

/// Flags of `import parquet` and `import jsonl`.
#[derive(Debug, Args)]
pub struct FileFlags {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    of: OneCollection,
    /// How distance is measured: cosine, l2 or ip. The default is the file's own, else cosine.
    #[arg(long)]
    metric: Option<Metric>,
    /// Write into an existing collection, whatever it holds; records whose ids exist are replaced.
    #[arg(long)]
    upsert: bool,
    /// Names of columns or keys: some of id=NAME,embedding=NAME,document=NAME,uri=NAME,metadata=NAME. Common names
    /// (vector, text, …) are found without this flag, and printed.
    #[arg(long)]
    columns: Option<String>,
    /// How to treat other columns: metadata, ignore or refuse.
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

/// A file, its description of itself, and its first page: all are read before a collection is made for it.
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

    /// The next page, read on a blocking thread; empty at the end.
    async fn next(&mut self) -> Result<Vec<Record>> {
        if !self.first.is_empty() {
            return Ok(std::mem::take(&mut self.first));
        }
        tokio::task::block_in_place(|| self.reader.next_page())
    }
}

/// The outcome of an import.
#[derive(Debug, Default)]
struct Loaded {
    read: u64,
    tally: Tally,
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

    /// The summary that is printed at the end.
    fn in_words(&self, flags: &FileFlags, count: u64) -> String {
        let Tally { added, there } = self.tally;
        // Repeated ids of the file are reported separately.
        let there = if flags.upsert { there } else { self.read.saturating_sub(added + self.repeated) };
        let there = if flags.upsert { format!("{there} replaced") } else { format!("{there} were there already") };
        format!("{} records read, {added} added, {there}, {count} in the collection", self.read)
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
        println!("{}: {}", flags.of.collection, loaded.in_words(flags, there));
        Ok(())
    })
}

/// The file as the collection records it: name, size, and a checksum of all its bytes.
fn origin(flags: &FileFlags) -> Result<Value> {
    let failed =
        |e: std::io::Error| Error::new(ErrorKind::Unavailable, format!("{}: {e}", flags.file.display())).with_source(e);
    let found = std::fs::metadata(&flags.file).map_err(failed)?;
    let name = flags.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut origin = json!({"file": name, "bytes": found.len()});
    // A pipe can be read only once.
    if found.is_file() {
        origin[XXH3] = json!(checksum(&flags.file).map_err(failed)?.to_string());
    }
    Ok(origin)
}

/// The checksum of a whole file, of any size: reading a file is quick compared with importing it.
fn checksum(file: &Path) -> std::io::Result<Checksum> {
    let (mut file, mut hasher, mut step) = (File::open(file)?, Hasher::default(), vec![0; STEP_BYTES]);
    loop {
        match file.read(&mut step) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(step.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a collection with the origin `from` was made of this file. Older versions stored no checksum.
fn is_same_file(from: &Value, origin: &Value) -> bool {
    let same = |key: &str| from.get(key) == origin.get(key);
    same("file") && same("bytes") && (from.get(XXH3).is_none() || same(XXH3))
}

/// The text for an origin.
fn in_words(origin: &Value) -> String {
    let checksum = origin[XXH3].as_str().map(|xxh3| format!(", xxh3 {xxh3}")).unwrap_or_default();
    format!("{} ({} bytes{checksum})", origin["file"].as_str().unwrap_or("a file"), origin["bytes"])
}

/// The collection to write into, and whether it is new: a new one, the one that an earlier run began, or any with
/// `--upsert`.
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
    if flags.upsert || from.as_ref().is_some_and(|from| is_same_file(from, &origin)) {
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

/// Offers every record of the file to the collection; returns the outcome.
async fn load_into(collection: &Collection, flags: &FileFlags, mut source: OpenedFile) -> Result<Loaded> {
    let how = if flags.upsert { How::Upsert } else { How::Add };
    let bar = bulk_load::bar(&flags.of.collection, source.rows)?;
    let (mut loaded, mut skipped) = (Loaded::default(), Skipped::none());
    loop {
        let page = source.next().await?;
        if page.is_empty() {
            break;
        }
        loaded.see(&page);
        loaded.tally += bulk_load::write(collection, &page, how, &mut skipped).await?;
        bar.set_position(loaded.read);
    }
    bar.finish_and_clear();
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use crate::{Get, Settings, Storage};
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: FileFlags,
    }

    fn flags(file: &Path) -> FileFlags {
        let line = ["import", file.to_str().unwrap(), "--collection", "notes", "--metric", "l2"];
        Line::try_parse_from(line).unwrap().flags
    }

    fn write(file: &Path, values: &[(&str, u32)]) {
        let lines = values.iter().map(|(id, value)| format!("{{\"id\":\"{id}\",\"embedding\":[{value},1]}}\n"));
        std::fs::write(file, lines.collect::<String>()).unwrap();
    }

    fn begun(file: &Path) -> OpenedFile {
        let columns = ColumnChoice::guessing(OtherColumns::Metadata);
        let options = ReadOptions { columns, limits: Settings::new(Storage::Memory).limits };
        let reader = JsonLinesReader::open_with(file, &options).unwrap();
        OpenedFile::begin(RecordReader::JsonLines(Box::new(reader)), None, None).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_row_of_a_file_goes_in_whatever_others_added_since_the_run_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.jsonl");
        write(&file, &[("a", 1), ("b", 2), ("c", 3), ("b", 4)]);
        let store = Store::open(Settings::new(Storage::Memory)).await.unwrap();
        let (notes, made) = target(&store, &flags(&file), None).await.unwrap();
        assert!(made);
        notes.add(["a", "x", "y"].map(|id| Record::new(id, vec![0.0, 0.0]))).await.unwrap();
        let (notes, made) = target(&store, &flags(&file), None).await.unwrap();
        assert!(!made);
        let loaded = load_into(&notes, &flags(&file), begun(&file)).await.unwrap();
        let ids: Vec<_> = notes.get(Get::all()).await.unwrap().records.into_iter().map(|found| found.id).collect();
        assert_eq!(ids, ["a", "x", "y", "b", "c"]);
        let told = "4 records read, 2 added, 1 were there already, 5 in the collection";
        assert_eq!(loaded.in_words(&flags(&file), 5), told);
    }

    #[tokio::test]
    async fn a_file_whose_content_changed_is_not_taken_for_the_one_that_was_imported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.jsonl");
        write(&file, &[("a", 1)]);
        let store = Store::open(Settings::new(Storage::Memory)).await.unwrap();
        target(&store, &flags(&file), None).await.unwrap();
        write(&file, &[("a", 9)]);
        let refused = target(&store, &flags(&file), None).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(refused.message().matches(" bytes, xxh3 ").count(), 2, "{refused}");
        // The origin as older versions stored it.
        let now = origin(&flags(&file)).unwrap();
        let old = json!({"file": now["file"], "bytes": now["bytes"]});
        assert!(is_same_file(&now, &now) && is_same_file(&old, &now));
        assert!(!is_same_file(&json!({"file": now["file"], "bytes": 1}), &now));
    }
}
