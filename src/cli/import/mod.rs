//! The `import` commands. `import chroma` copies every collection of a Chroma server into this store, over the
//! server's own API; `import parquet` and `import jsonl` are in `file`. Each copied page is durable, so the next run
//! continues an interrupted one. Each run ends with a comparison of both sides.

mod copy;
mod file;
mod source;
mod verify;

use std::time::Duration;

use clap::{Args, Subcommand};

use self::copy::Copying;
use self::source::Chroma;
use super::bulk_load::Skipped;
use super::settings::{ServeSettings, settings_of_process};
use super::{Flags, serve};
use crate::{Error, ErrorKind, Result, Scope, Store};

/// Most time for the flush at the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);

/// The sources that `import` can read.
#[derive(Debug, Subcommand)]
pub enum Origin {
    /// Copy collections from a running Chroma server (1.x, its v2 API) into the store that `serve` would use.
    #[command(after_help = "For a folder of Chroma's, run `chroma run --path FOLDER` first. CHROMA_API_KEY, if set, \
                            is sent as x-chroma-token. An interrupted run continues where it stopped.")]
    Chroma(ChromaFlags),
    /// Write the records of a Parquet file into a collection.
    #[command(
        after_help = "Columns: id (text, integers or UUIDs), embedding (a list of numbers, or text such as [0.1, 0.2]), \
                      and where there are any document, uri and metadata (JSON text, a struct or a map). Columns of other \
                      names: --columns id=key,embedding=vector. Duplicate ids are counted; the first of each is kept."
    )]
    Parquet(file::FileFlags),
    /// Write the records of a file of JSON Lines into a collection.
    #[command(after_help = "A line: {\"id\": \"a\", \"embedding\": [0.1, 0.2], \"document\": \"…\", \"uri\": \"…\", \
                            \"metadata\": {\"key\": 1}}; only id and embedding are needed. The file may be compressed \
                            with gzip or zstd.")]
    Jsonl(file::FileFlags),
}

/// Flags of `import chroma`.
#[derive(Debug, Args)]
pub struct ChromaFlags {
    /// Where the server listens, such as http://localhost:8000.
    #[arg(long)]
    url: String,
    /// The tenant there; the copy goes into a tenant of the same name.
    #[arg(long, default_value = "default_tenant")]
    tenant: String,
    /// Only this database of the tenant; by default all.
    #[arg(long)]
    database: Option<String>,
    /// Only the collection of this name; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Records per request to the server.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    page: u32,
    /// Skip records that cannot be written, such as documents longer than the limit; they are listed at the end.
    #[arg(long)]
    skip_errors: bool,
    /// Folder to use as the bucket (DRUMLIN_DATA; default ./drumlin-data).
    #[arg(long)]
    data: Option<String>,
}

/// Runs the command; blocks until all is copied and compared.
pub fn run(origin: Origin) -> Result<()> {
    let flags = match origin {
        Origin::Chroma(flags) => flags,
        Origin::Parquet(flags) => return file::parquet(&flags),
        Origin::Jsonl(flags) => return file::json_lines(&flags),
    };
    // No server is started, so an address that is taken must not stop this.
    let listen = Flags { host: Some("127.0.0.1".to_owned()), port: Some("0".to_owned()), ..Flags::default() };
    let mut settings = settings_of_process(&Flags { data: flags.data.clone(), ..listen }, false)?;
    settings.store.load_at_start = false;
    serve::start_log(&settings)?;
    serve::on_runtime(import(settings, flags))
}

async fn import(settings: ServeSettings, flags: ChromaFlags) -> Result<()> {
    let chroma = Chroma::connect(&flags.url, std::env::var("CHROMA_API_KEY").ok())?;
    let version = chroma.version().await?;
    eprintln!("Chroma {version} at {}", flags.url);
    let store = Store::open(settings.store).await?;
    let imported = import_all(&chroma, &store, &flags).await;
    let closed = store.close(CLOSE_LIMIT).await;
    imported.and(closed)
}

async fn import_all(chroma: &Chroma, store: &Store, flags: &ChromaFlags) -> Result<()> {
    let databases = match &flags.database {
        Some(database) => vec![database.clone()],
        None => chroma.databases(&flags.tenant).await?,
    };
    let (mut copied, mut differing, mut left_out) = (0, Vec::new(), Vec::new());
    for database in databases {
        let scope = Scope { tenant: flags.tenant.clone(), database };
        let collections = chroma.collections(&scope).await?;
        let chosen = |name: &String| flags.only.is_empty() || flags.only.contains(name);
        for theirs in collections.into_iter().filter(|theirs| chosen(&theirs.name)) {
            let place = format!("{}/{}/{}", scope.tenant, scope.database, theirs.name);
            let mut how = Copying { page: flags.page as usize, skipped: Skipped::past(flags.skip_errors) };
            let ours = copy::collection(chroma, store, &scope, &theirs, &mut how).await?;
            let skipped = how.skipped.records;
            match verify::compare(chroma, &scope, &theirs, &ours, &skipped).await? {
                verify::Comparison::Same { records, sampled } => {
                    eprintln!("{place}: {records} records, {sampled} of them compared: the same");
                }
                verify::Comparison::Differs(how) => {
                    eprintln!("{place}: {how}");
                    differing.push(place.clone());
                }
            }
            left_out.extend(skipped.into_iter().map(|(_, why)| format!("{place}: {why}")));
            copied += 1;
        }
    }
    if !left_out.is_empty() {
        eprintln!("{} records were left out:", left_out.len());
        left_out.iter().for_each(|line| eprintln!("  {line}"));
    }
    if differing.is_empty() {
        eprintln!("{copied} collections are imported");
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "{} of {copied} collections differ from the server's ({}); if either side was written to meanwhile, run \
             the import again to fetch what was added there",
            differing.len(),
            differing.join(", ")
        ),
    ))
}
