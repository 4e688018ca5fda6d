//! The `copy` command: collections from one store into another, of the same or another provider. It copies records,
//! not objects, so the other store has its own ids and versions, and no history. The next run continues an
//! interrupted one.

use clap::Args;
use futures::stream;
use serde_json::json;

use super::bulk_load::{self, How, Skipped, Tally};
use super::names;
use super::place::{Chosen, StorePlace};
use super::serve;
use crate::files::{FILES, FileInfo, Files, ListFiles, MODELS, PutFile};
use crate::models::is_filler;
use crate::{Collection, CollectionInfo, CollectionSpec, Consistency, Error, ErrorKind, Result, Scope, Store, Version};

/// Records read at once.
const PAGE: usize = 1_000;
/// Key in a collection's extension that names its original.
const ORIGIN: &str = "copied_from";
/// Prefix of the variables that say where the other store is.
const TO: &str = "TO_";

/// Flags of `copy`.
#[derive(Debug, Args)]
#[command(after_help = "Where to: --to-data FOLDER, or the variables of `serve` with TO_ before them, such as \
                        TO_S3_BUCKET_NAME, TO_S3_PREFIX, TO_AWS_ENDPOINT_URL, TO_AWS_ACCESS_KEY_ID.")]
pub struct CopyFlags {
    #[command(flatten)]
    place: StorePlace,
    #[command(flatten)]
    chosen: Chosen,
    /// Folder to copy into.
    #[arg(long)]
    to_data: Option<String>,
}

/// Runs the command.
pub fn run(flags: &CopyFlags) -> Result<()> {
    let mut from = flags.place.settings()?;
    let there = StorePlace { data: flags.to_data.clone() };
    let lookup = |name: &str| std::env::var(format!("{TO}{name}")).ok();
    let named = flags.to_data.is_some() || std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with(TO));
    if !named {
        let what = "expected where to copy to: --to-data FOLDER, or variables such as TO_S3_BUCKET_NAME";
        return Err(Error::new(ErrorKind::Invalid, what));
    }
    let mut to = there.settings_by(lookup)?;
    let names = std::env::vars_os().filter_map(|(name, _)| name.to_str()?.strip_prefix(TO).map(str::to_owned));
    let notes = names::check(names, to.by_default, false);
    to.notes.extend(notes.map_err(|e| Error::new(e.kind(), format!("{TO}{}", e.message())))?);
    from.store.maintenance = false;
    from.store.create = false;
    from.store.load_at_start = false;
    to.store.load_at_start = false;
    serve::start_log(&from)?;
    serve::on_runtime(async {
        let source = Store::open(from.store).await?;
        let target = Store::open(to.store).await?;
        if source.admin().place() == target.admin().place() {
            let place = source.admin().place().location;
            let what = format!(
                "source and target are both {place}: expected another store to copy into; name it by --to-data FOLDER, \
                 or by variables such as TO_S3_BUCKET_NAME"
            );
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let copied = copy_all(&source, &target, flags).await;
        let closed = target.close(std::time::Duration::from_secs(60)).await;
        copied.and(closed)
    })
}

async fn copy_all(source: &Store, target: &Store, flags: &CopyFlags) -> Result<()> {
    let selector = flags.chosen.selector();
    let mut copied = 0;
    for info in source.admin().all_collections().await? {
        let named =
            selector.collection.as_ref().is_none_or(|asked| *asked == info.name || *asked == info.id.to_string());
        let inside = selector.tenant.as_ref().is_none_or(|tenant| *tenant == info.scope.tenant)
            && selector.database.as_ref().is_none_or(|database| *database == info.scope.database);
        if !(named && inside) || is_filler(&info.name) {
            continue;
        }
        if info.name == FILES {
            let files = copy_files(source, &info.scope, target).await?;
            println!("{}/{}: {files} files", info.scope.tenant, info.scope.database);
            copied += 1;
            continue;
        }
        if info.name == MODELS {
            let models = copy_models(source, target).await?;
            println!("{models} models");
            copied += 1;
            continue;
        }
        let collection = source.collection_by_id(info.id).await?;
        let (records, Tally { added, there }) = copy((&collection, source), &info, target).await?;
        let (scope, name) = (&info.scope, &info.name);
        println!(
            "{}/{}/{name}: {records} records, {added} added, {there} were there already",
            scope.tenant, scope.database
        );
        copied += 1;
    }
    match copied {
        0 => {
            let message = format!("there is no collection {selector}; `drumlin list` shows all");
            Err(Error::new(ErrorKind::NotFound, message))
        }
        _ => Ok(()),
    }
}

/// Copies the files of a database that are missing in the target, each with its time; returns how many there are.
async fn copy_files(source: &Store, scope: &Scope, target: &Store) -> Result<u64> {
    made_sure(target.namespaces().create_tenant(&scope.tenant).await)?;
    made_sure(target.namespaces().create_database(&scope.tenant, &scope.database).await)?;
    let (from, to) = (source.with_scope(scope).files(), target.with_scope(scope).files());
    let bar = bulk_load::bar(FILES, None)?;
    let mut list = ListFiles { prefix: String::new(), after: None, limit: PAGE };
    let mut files = 0;
    loop {
        let page = from.list(&list, Consistency::Strong).await?;
        for file in page.files {
            files += 1;
            bar.inc(1);
            let there = to.stat(&file.name, Consistency::Local).await;
            if there.is_ok_and(|there| there.sha256 == file.sha256) {
                continue;
            }
            copy_file(&from, &to, file).await?;
        }
        match page.next {
            Some(next) => list.after = Some(next),
            None => break,
        }
    }
    bar.finish_and_clear();
    Ok(files)
}

/// Copies the models of a bucket that are missing in the target; returns how many there are.
async fn copy_models(source: &Store, target: &Store) -> Result<usize> {
    let models = source.models().list().await?;
    for model in &models {
        copy_model(source, &model.name, target).await?;
    }
    Ok(models.len())
}

/// Copies a model, unless the target has one of that name.
async fn copy_model(source: &Store, name: &str, target: &Store) -> Result<()> {
    let wanted = source.models().get(name).await?.sha256;
    match has_model(target, name).await? && target.models().get(name).await?.sha256 == wanted {
        true => Ok(()),
        // Refused if the target has another model of that name.
        false => target.models().add(name, source.models().read(name).await?).await.map(drop),
    }
}

/// Whether a bucket has a model of that name.
async fn has_model(store: &Store, name: &str) -> Result<bool> {
    match store.models().get(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        found => found.map(|_| true),
    }
}

async fn copy_file(from: &Files, to: &Files, file: FileInfo) -> Result<()> {
    let download = from.get(&file.name, Consistency::Strong).await?;
    let said = download.info().clone();
    let how = PutFile {
        content_type: said.content_type,
        content_encoding: said.content_encoding,
        length: Some(said.size),
        sha256: Some(said.sha256),
        auto_delete: said.auto_delete,
        uploaded_at_ms: Some(said.uploaded_at_ms),
        ..PutFile::default()
    };
    let body = stream::try_unfold(download, |mut download| async move {
        Ok(download.next().await?.map(|piece| (piece, download)))
    });
    to.put(&file.name, how, body).await.map(drop)
}

/// Copies the missing records of a collection; returns the number of its records, and the outcome.
async fn copy((source, store): (&Collection, &Store), info: &CollectionInfo, target: &Store) -> Result<(usize, Tally)> {
    let mut scan = source.scan(Consistency::Strong).await?;
    let copy = begun((source, store), info, scan.version(), target).await?;
    let bar = bulk_load::bar(&info.name, Some(scan.count() as u64))?;
    // Every record is offered again: a count of the records there does not say which ones they are.
    let (mut tally, mut skipped) = (Tally::default(), Skipped::none());
    loop {
        let records = scan.next_page(PAGE).await?;
        if records.is_empty() {
            break;
        }
        tally += bulk_load::write(&copy, &records, How::Add, &mut skipped).await?;
        bar.inc(records.len() as u64);
    }
    bar.finish_and_clear();
    bulk_load::build_graphs(&copy).await?;
    Ok((scan.count(), tally))
}

/// The collection to copy into: a new one, or the one that an earlier run began.
async fn begun(
    (source, store): (&Collection, &Store),
    info: &CollectionInfo,
    version: Version,
    target: &Store,
) -> Result<Collection> {
    let Scope { tenant, database } = &info.scope;
    made_sure(target.namespaces().create_tenant(tenant).await)?;
    made_sure(target.namespaces().create_database(tenant, database).await)?;
    let embedder = info.embedder.clone();
    if let Some(name) = embedder.as_ref().and_then(|embedder| embedder.model_name())
        && has_model(store, name).await?
    {
        copy_model(store, name, target).await?;
    }
    let mut extension = info.extension.clone();
    let origin = json!({"collection": info.id, "version": version});
    extension.insert(ORIGIN.to_owned(), origin.clone());
    let spec = CollectionSpec {
        name: info.name.clone(),
        metric: info.metric,
        dimension: source.dimension(),
        metadata: info.metadata.clone(),
        index: info.index.clone(),
        text: info.text.clone(),
        embedder,
        splitting: info.splitting.clone(),
        extension,
    };
    match target.with_scope(&info.scope).create_collection(spec).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => return created,
    }
    let copy = target.with_scope(&info.scope).collection(&info.name).await?;
    if copy.identity().extension.get(ORIGIN) != Some(&origin) {
        let what = format!(
            "collection {:?} of {tenant}/{database} exists there and is not a copy of {} at version {version}: drop it \
             there and copy again",
            info.name, info.id
        );
        return Err(Error::new(ErrorKind::AlreadyExists, what));
    }
    Ok(copy)
}

/// Makes sure that something exists: `AlreadyExists` counts as success.
fn made_sure<T>(made: Result<T>) -> Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Get, Record, Settings, Storage};

    use super::*;

    #[tokio::test]
    async fn a_copy_that_is_gone_on_with_has_every_record_whatever_was_added_there() {
        let source = Store::open(Settings::new(Storage::Memory)).await.unwrap();
        let target = Store::open(Settings::new(Storage::Memory)).await.unwrap();
        let notes = source.create_collection("notes").await.unwrap();
        let record = |id: &str| Record::new(id, vec![1.0, 0.0]);
        notes.add(["a", "b", "c"].map(record)).await.unwrap();
        let info = source.admin().all_collections().await.unwrap().remove(0);
        let version = notes.scan(Consistency::Strong).await.unwrap().version();
        let there = begun((&notes, &source), &info, version, &target).await.unwrap();
        there.add(["c", "x", "y"].map(record)).await.unwrap();
        assert_eq!(copy((&notes, &source), &info, &target).await.unwrap(), (3, Tally { added: 2, there: 1 }));
        let ids: Vec<_> = there.get(Get::all()).await.unwrap().records.into_iter().map(|found| found.id).collect();
        assert_eq!(ids, ["c", "x", "y", "a", "b"]);
    }
}
