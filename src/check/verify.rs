//! Checking a whole bucket: the objects that make it a store, the catalog, and every stream. Invariant: nothing is
//! written; if something cannot be read, that is an error, never a clean bill.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::host::CheckHost;
use super::inventory::{Inventory, StreamObjects};
use super::names::{CollectionSelector, Names};
use super::objects::Reader;
use super::report::{Amount, BucketCheck, Findings, StreamCheck};
use super::stream_check::{self, Expected};
use crate::bucket::keys::{self, StreamId};
use crate::bucket::reread::{self, Absence, Unsound};
use crate::bucket::{Bucket, BucketError, Object, probe};
use crate::config::Timing;
use crate::error::{Error, Result};
use crate::format::store_file::StoreFile;
use crate::stream::context::StreamError;

/// Checks the bucket, or only the chosen ones of its collections. `timing` has the times after which servers delete.
///
/// # Errors
/// `Unavailable` if the bucket does not answer, `NotFound` if there is no store or the selector fits nothing.
pub async fn verify(bucket: Arc<dyn Bucket>, selector: &CollectionSelector, timing: &Timing) -> Result<BucketCheck> {
    verify_in(CheckHost::Alone, bucket, selector, timing).await
}

/// As [`verify`], on this host.
pub async fn verify_in(
    host: CheckHost,
    bucket: Arc<dyn Bucket>,
    selector: &CollectionSelector,
    timing: &Timing,
) -> Result<BucketCheck> {
    let began = Instant::now();
    let reader = Reader::new(bucket.clone(), timing.reread(), host.clone());
    let mut inventory = Inventory::of_bucket(bucket.as_ref()).await.map_err(StreamError::from)?;
    if inventory.streams.is_empty() && !inventory.store_file {
        return Err(no_store(bucket.as_ref()));
    }
    let _room = host.room_for_listing(inventory.streams.values().map(StreamObjects::count).sum()).await?;
    let mut findings = Findings::default();
    let objects = inventory.streams.remove(&StreamId::Catalog).unwrap_or_default();
    host.tell_known(objects.count());
    let kept = timing.garbage;
    let catalog = Expected { kept, ..Expected::catalog() };
    let of_catalog = reader.of_stream(objects.count());
    let checked = stream_check::check(&of_catalog, &StreamId::Catalog, &catalog, Some(objects)).await?;
    drop(of_catalog);
    let mut catalog = checked.report;
    let names = Names::of_records(&checked.texts, &mut catalog.findings);
    store_file(&reader, &catalog, &mut findings).await?;
    strange(&inventory, &mut findings);
    marks(bucket.as_ref(), &inventory, &mut findings).await?;
    let mut todo: BTreeMap<StreamId, _> =
        inventory.streams.into_iter().map(|(id, objects)| (id, Some(objects))).collect();
    for id in names.live() {
        todo.entry(id).or_default();
    }
    let chosen = names.chosen(selector)?;
    todo.retain(|id, _| chosen.as_ref().is_none_or(|chosen| chosen.contains(id)));
    [&findings, &catalog.findings].into_iter().for_each(|findings| host.tell_findings(findings));
    let listed = |objects: &Option<StreamObjects>| objects.as_ref().map_or(0, StreamObjects::count);
    host.tell_known(todo.values().map(listed).sum());
    let checks = stream::iter(todo).map(|(id, objects)| {
        let (reader, mut expected) = (reader.of_stream(listed(&objects)), names.expected(&id));
        // If the catalog is damaged, a stream that it does not know may still be a recorded one.
        expected.recorded |= catalog.findings.any_damage();
        expected.kept = kept;
        async move {
            let report = stream_check::check(&reader, &id, &expected, objects).await?.report;
            reader.host().tell_findings(&report.findings);
            Ok::<_, Error>(report)
        }
    });
    let checks = checks.buffer_unordered(host.parallel_streams());
    let mut streams: Vec<StreamCheck> = checks.try_collect().await?;
    streams.sort_by(|a, b| (&a.name, &a.stream).cmp(&(&b.name, &b.stream)));
    streams.insert(0, catalog);
    let checked = streams.iter().fold(Amount::default(), |sum, stream| sum.plus(stream.checked));
    let sound = !findings.any_damage() && streams.iter().all(|stream| !stream.findings.any_damage());
    let seconds = began.elapsed().as_secs_f64();
    Ok(BucketCheck { place: bucket.place(), sound, streams, findings, checked, seconds })
}

/// The error for a bucket without a store.
pub fn no_store(bucket: &dyn Bucket) -> Error {
    let at = bucket.place().location;
    Error::not_found(format!("there is no store at {at}: expected {} and catalog/HEAD, found neither", keys::STORE))
}

async fn store_file(reader: &Reader, catalog: &StreamCheck, findings: &mut Findings) -> Result<()> {
    let remedy = "put it back from a backup";
    let decode = |object: Object| StoreFile::decode(&object.bytes).map(drop);
    let read = reread::read(reader.bucket.as_ref(), keys::STORE, (reader.reread, Absence::Believed), decode).await;
    match read {
        Ok(()) => {}
        Err(Unsound::Wrong(cause)) => findings.damaged(keys::STORE, cause, remedy),
        Err(Unsound::Bucket(BucketError::NotFound { .. }))
            if catalog.version.0 == 0 && !catalog.findings.any_damage() =>
        {
            let cause = "it is missing: the first start here was cut short";
            findings.note(keys::STORE, cause, "nothing to do: the next start writes it");
        }
        Err(Unsound::Bucket(BucketError::NotFound { .. })) => {
            let cause = "it is missing, though the catalog has been written to: it was deleted by hand";
            findings.damaged(
                keys::STORE,
                cause,
                "put it back from a backup; else the next start writes one with a new store id",
            );
        }
        Err(Unsound::Bucket(error)) => return Err(StreamError::from(error).into()),
    }
    Ok(())
}

fn strange(inventory: &Inventory, findings: &mut Findings) {
    for key in &inventory.strange {
        findings.note(key, "no object of Drumlin's has such a key", "it means nothing to Drumlin");
    }
    for key in inventory.marks.iter().filter(|key| key.contains("/scratch/")) {
        findings.note(key, "a probe of the bucket was cut short and left it", "it may be deleted");
    }
}

/// The marks of the probe: a start ignores an invalid one, but somebody has changed it.
async fn marks(bucket: &dyn Bucket, inventory: &Inventory, findings: &mut Findings) -> Result<()> {
    for key in inventory.marks.iter().filter(|key| key.ends_with(".json") && !key.contains("/scratch/")) {
        match bucket.get(key, None).await.map(|object| probe::check_mark(key, &object.bytes)) {
            Ok(Ok(())) | Err(BucketError::NotFound { .. }) => {}
            Ok(Err(cause)) => {
                let remedy = "no data is lost: starts ignore it and probe the bucket again; it may be deleted";
                findings.damaged(key, cause, remedy);
            }
            Err(error) => return Err(StreamError::from(error).into()),
        }
    }
    Ok(())
}
