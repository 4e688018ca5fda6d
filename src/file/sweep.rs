//! Deletes contents that no record names (docs/protocol.md#file-sweep). Weekly, by any instance:
//!
//! 1. The records are read strongly, at store time X. Then the sweep record is written again, guarded by its own
//!    address.
//! 2. All parts are listed, and the records are read strongly again. A content is *unnamed* if no record names it and
//!    all its parts were put before X − sweep_age.
//! 3. Unnamed contents are noted in the sweep record with X, guarded again. Contents that were noted T_KEEP (and
//!    T_GARBAGE) ago and are still unnamed are deleted, and then their notes are removed.
//!
//! Why a content that was unnamed once is never named again: its uploader names it in one commit. That commit is
//! guarded by the address A of the sweep record, in a state that the uploader read no later than store time D. With L
//! the time at which the content's first part was put, D − L < sweep_age / 2. There are two cases.
//!
//! - The commit comes after the read of step 2, and so after the sweep's commit of step 1. The guard holds in the state
//!   right before it, so A is the address of that sweep commit or of a later one. Hence the uploader's read came after
//!   step 1 was durable, and D is no earlier than X. So L > X − sweep_age / 2: the content was too young to be unnamed.
//! - The commit comes before that read. Then the read showed it.
//!
//! The other half of sweep_age covers puts whose answer was late, and steps of the store's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ulid::Ulid;

use super::file_store::{FileStore, Seen};
use crate::bucket::keys::Role;
use crate::bucket::{Bucket, Listed, PAGE_KEYS, StoreTime};
use crate::collection::request::{Guard, Selection, Write};
use crate::error::{Error, ErrorKind, Result};
use crate::format::file_record::{FileRecord, SWEEP_ID, SweepRecord};
use crate::record::{Address, Record};
use crate::stream::context::StreamError;
use crate::stream::sweep::{Sweep, list_all, older};

/// How many contents one sweep notes at most; further ones wait for the next.
const NOTED: usize = 50_000;
/// How many records of deleted files one commit removes at most.
const FORGOTTEN: usize = 1_000;

/// The sweep record, and the address of its row.
type Noted = (SweepRecord, Option<Address>);

fn noted(seen: &Seen) -> Result<Noted> {
    let Some((found, address)) = seen.snapshot.located(SWEEP_ID)? else { return Ok((SweepRecord::default(), None)) };
    let record = SweepRecord::decode(found.metadata.as_ref(), found.document.as_deref());
    let record =
        record.map_err(|cause| Error::new(ErrorKind::Corrupted, format!("the record of the sweeps: {cause}")))?;
    Ok((record, Some(address)))
}

fn passed(now: StoreTime, since: StoreTime, time: Duration) -> bool {
    u128::try_from(now.since_ms(since)).is_ok_and(|ms| ms >= time.as_millis())
}

impl FileStore {
    /// Sweeps the contents, and removes the records of files that were deleted long ago. Returns how many objects
    /// were deleted; `None` if no sweep was due or another instance was faster.
    ///
    /// # Errors
    /// As any write; nothing is deleted then.
    pub async fn sweep(&self, when: Sweep) -> Result<Option<u64>> {
        let seen = self.see().await?;
        let began = seen.date;
        let (mut record, address) = noted(&seen)?;
        let due = record.swept.is_none_or(|last| passed(began, last, self.timing().sweep_interval));
        if when == Sweep::IfDue && (!due || seen.snapshot.version().0 == 0) {
            return Ok(None);
        }
        (record.sweeps, record.swept) = (record.sweeps + 1, Some(began));
        let Some(address) = self.note(&record, address).await? else { return Ok(None) };
        let deleted = self.sweep_contents(began, record, address).await?;
        self.forget_deleted(began).await?;
        Ok(deleted)
    }

    /// Writes the sweep record if the one at `before` is still current. Returns the address of the new one.
    async fn note(&self, record: &SweepRecord, before: Option<Address>) -> Result<Option<Address>> {
        let (metadata, document) = record.encode();
        let id = SWEEP_ID.to_owned();
        let row = Record { id: id.clone(), embedding: Vec::new(), document, uri: None, metadata: Some(metadata) };
        let guard = Guard { id, address: before };
        let Some(outcome) = self.write(vec![guard], Write::Upsert(vec![row])).await? else { return Ok(None) };
        // Another instance may have swept since: then the present sweep record is not ours.
        let now = self.collection.present().located(SWEEP_ID)?;
        Ok(now.map(|(_, address)| address).filter(|address| address.version() == outcome.version))
    }

    async fn sweep_contents(&self, began: StoreTime, mut record: SweepRecord, noted: Address) -> Result<Option<u64>> {
        let context = self.collection.stream().context();
        let listed = list_all(context, &context.stream.file_prefix()).await.map_err(StreamError::from)?;
        // IMPORTANT: read the names after the listing. Listed contents may have been named since.
        let named = named(&self.see().await?)?;
        let mut contents: BTreeMap<Ulid, Vec<Listed>> = BTreeMap::new();
        for object in listed {
            if let Some(Role::FilePart { content, .. }) = context.stream.role(&object.key) {
                contents.entry(content).or_default().push(object);
            }
        }
        let timing = self.timing();
        let keep = timing.keep.max(timing.garbage);
        let unnamed = contents.iter().filter(|(content, _)| !named.contains(content));
        let unnamed: BTreeSet<Ulid> = unnamed
            .filter(|(_, parts)| parts.iter().all(|part| older(part, began, timing.sweep_age)))
            .map(|(content, _)| *content)
            .collect();
        let ripe =
            record.unnamed.iter().filter(|(content, seen)| !named.contains(content) && passed(began, **seen, keep));
        let ripe: BTreeSet<Ulid> = ripe.map(|(content, _)| *content).collect();
        // A named content was noted wrongly and is kept. One that no longer exists need not be remembered.
        record.unnamed.retain(|content, _| contents.contains_key(content) && !named.contains(content));
        for content in unnamed {
            if record.unnamed.len() < NOTED {
                record.unnamed.entry(content).or_insert(began);
            }
        }
        let Some(address) = self.note(&record, Some(noted)).await? else { return Ok(None) };
        let keys: Vec<String> =
            ripe.iter().filter_map(|content| contents.get(content)).flatten().map(|o| o.key.clone()).collect();
        for keys in keys.chunks(PAGE_KEYS) {
            context.bucket.delete(keys).await.map_err(StreamError::from)?;
        }
        if !ripe.is_empty() {
            tracing::info!(stream = %context.stream, objects = keys.len(), "contents without a file were deleted");
            record.unnamed.retain(|content, _| !ripe.contains(content));
            // If this fails, the next sweep finds the contents gone.
            self.note(&record, Some(address)).await?;
        }
        Ok(Some(keys.len() as u64))
    }

    /// Removes records of files whose deletion is so old that no request needs the answer `Gone` any more.
    async fn forget_deleted(&self, now: StoreTime) -> Result<()> {
        let keep = self.share.settings.keep_deleted;
        let seen = self.see().await?;
        let mut old = Vec::new();
        for id in seen.snapshot.ids().filter(|id| !id.starts_with('/')) {
            let Some((found, address)) = seen.snapshot.located(id)? else { continue };
            let deleted = FileRecord::decode(found.metadata.as_ref(), found.document.as_deref()).ok();
            if deleted.and_then(|file| file.deleted_at).is_some_and(|at| passed(now, at, keep)) {
                old.push(Guard { id: id.to_owned(), address: Some(address) });
            }
        }
        for guards in old.chunks(FORGOTTEN) {
            let ids = guards.iter().map(|guard| guard.id.clone()).collect();
            let delete = Write::Delete(Selection { ids: Some(ids), ..Selection::default() });
            // A file that was uploaded again meanwhile delays the other records of its commit until the next sweep.
            self.write(guards.to_vec(), delete).await?;
        }
        Ok(())
    }
}

/// The contents that records name.
///
/// # Errors
/// `Corrupted` if a record cannot be read: a content that it might name must not be deleted.
fn named(seen: &Seen) -> Result<BTreeSet<Ulid>> {
    let mut named = BTreeSet::new();
    for id in seen.snapshot.ids().filter(|id| !id.starts_with('/')) {
        if let Some((file, _)) = super::file_store::find(&seen.snapshot, id)? {
            named.extend(file.content.map(|content| content.content));
        }
    }
    Ok(named)
}
