//! The files of one database: uploads are named, found, listed and deleted.
//! Invariant: every commit that names a content is guarded by the address of the sweep record. Its writer must have
//! seen that address no later than half the sweep age after the content's first part was put. `sweep` explains why
//! that is enough.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::budget::{Counted, FileBudget, FileCounts};
use super::download::{Download, Missed};
use super::name::check_file_name;
use super::request::{FileCondition, FileInfo, FilePage, ListFiles, PutFile, PutOutcome, sum_of};
use super::upload::{Target, Uploaded, check_size, upload};
use crate::bucket::StoreTime;
use crate::collection::pin::PinGuard;
use crate::collection::request::{Consistency, Guard, Write, WriteOutcome};
use crate::collection::state::snapshot::Snapshot;
use crate::collection::write::change::Change;
use crate::compute::off_thread;
use crate::config::{FileSettings, Timing};
use crate::error::{Error, ErrorKind, Result};
use crate::format::file_record::{FileRecord, SWEEP_ID};
use crate::record::{Address, CollectionId, Record, Version};

/// How many times a change is tried when other writers interfere.
const ATTEMPTS: usize = 16;

/// Pending deletions, each begun by a download. One is settled when its sender is gone.
type Leaving = HashMap<(CollectionId, String), watch::Receiver<()>>;

/// What the files of all databases of a store share.
#[derive(Debug)]
pub struct FileShare {
    pub(super) settings: FileSettings,
    pub(super) budget: Arc<FileBudget>,
    pending_deletes: Mutex<Leaving>,
}

impl FileShare {
    /// The share of a store without any transfer yet.
    pub fn new(settings: &FileSettings) -> FileShare {
        let budget = Arc::new(FileBudget::new(settings));
        FileShare { settings: settings.clone(), budget, pending_deletes: Mutex::default() }
    }

    /// What has gone through so far.
    pub fn counts(&self) -> FileCounts {
        self.budget.counts()
    }
}

/// The files of one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FileStore {
    /// Pinned as long as anybody works on its files.
    pub(super) collection: Arc<PinGuard>,
    pub(super) share: Arc<FileShare>,
}

/// A file's record, and the address of the row that holds it.
pub(super) type Located = (FileRecord, Address);

/// A state of the records, and a store time at which all its commits were older.
pub(super) struct Seen {
    pub snapshot: Arc<Snapshot>,
    pub date: StoreTime,
}

impl Seen {
    /// The guard that the record of the sweeps has not changed.
    pub fn sweep_guard(&self) -> Result<Guard> {
        let address = self.snapshot.located(SWEEP_ID)?.map(|(_, address)| address);
        Ok(Guard { id: SWEEP_ID.to_owned(), address })
    }
}

/// The file of that name, deleted ones included.
pub(super) fn find(snapshot: &Snapshot, name: &str) -> Result<Option<Located>> {
    let Some((found, address)) = snapshot.located(name)? else { return Ok(None) };
    let file = FileRecord::decode(found.metadata.as_ref(), found.document.as_deref());
    let file =
        file.map_err(|cause| Error::new(ErrorKind::Corrupted, format!("the record of file {name:?}: {cause}")))?;
    Ok(Some((file, address)))
}

/// The record, unless it is of a deleted file.
fn living(located: Option<&Located>) -> Option<&FileRecord> {
    located.map(|(file, _)| file).filter(|file| file.deleted_at.is_none())
}

fn record(name: &str, file: &FileRecord) -> Record {
    let (metadata, document) = file.encode();
    Record { id: name.to_owned(), embedding: Vec::new(), document, uri: None, metadata: Some(metadata) }
}

/// The error of a file that does not exist.
pub fn no_file(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("file {name:?} does not exist"))
}

fn gone(name: &str) -> Error {
    Error::new(ErrorKind::Gone, format!("file {name:?} was deleted"))
}

impl FileStore {
    /// The files whose records are in `collection`.
    pub fn new(collection: PinGuard, share: Arc<FileShare>) -> FileStore {
        FileStore { collection: Arc::new(collection), share }
    }

    /// The identity of the collection of its records.
    pub fn id(&self) -> CollectionId {
        self.collection.identity().id
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.collection.stream().context().timing
    }

    fn target(&self) -> Target {
        let context = self.collection.stream().context();
        Target {
            bucket: context.bucket.clone(),
            stream: context.stream.clone(),
            budget: self.share.budget.clone(),
            settings: self.share.settings.clone(),
            reread: context.timing.reread(),
        }
    }

    /// The records as they are now, and the store time of that.
    pub(super) async fn see(&self) -> Result<Seen> {
        let mut tries = 0;
        loop {
            // IMPORTANT: take the snapshot before the question, so that the answer's date is later than every commit
            // in it.
            let snapshot = self.collection.present();
            let date = self.collection.caught_up().await?;
            tries += 1;
            match date {
                // A single answer may lack its date.
                None if tries < 4 => {}
                None => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "the bucket's answers carry no date; nothing was written",
                    ));
                }
                // A state that is behind does no harm, since every write is guarded. It only costs another try.
                Some(date) if self.collection.present().version() == snapshot.version() || tries >= 4 => {
                    return Ok(Seen { snapshot, date });
                }
                Some(_) => {}
            }
        }
    }

    /// Stores a body under a name: durable when this returns.
    ///
    /// # Errors
    /// `Invalid` for a bad name or a body whose sum is not the expected one; `Limit` if it is too large; `Conflict`
    /// if the condition does not hold; `Unavailable` and `OutcomeUnknown` as of any write.
    pub async fn put<S>(&self, name: &str, file: PutFile, body: S) -> Result<PutOutcome>
    where
        S: Stream<Item = Result<Bytes>> + Send,
    {
        check_file_name(name)?;
        check_size(file.length.unwrap_or(0), &self.share.settings)?;
        file.sha256.as_deref().map(sum_of).transpose()?;
        if file.condition != FileCondition::Any {
            // A file that will be refused anyway need not be sent first.
            let seen = self.see().await?;
            file.condition.check(name, living(find(&seen.snapshot, name)?.as_ref()))?;
        }
        self.receive(&file, body).await?.settle(name, &file).await
    }

    /// Stores a body that has no name yet.
    pub async fn receive<S>(&self, file: &PutFile, body: S) -> Result<Received>
    where
        S: Stream<Item = Result<Bytes>> + Send,
    {
        check_size(file.length.unwrap_or(0), &self.share.settings)?;
        let uploaded = upload(self.target(), file.length, body).await?;
        Ok(Received { file_store: self.clone(), uploaded })
    }

    /// Writes the commit that names a content. At most one such commit lands: it is tried again only after a refusal.
    async fn name(&self, name: &str, file: &PutFile, uploaded: &Uploaded) -> Result<PutOutcome> {
        for _ in 0..ATTEMPTS {
            let seen = self.see().await?;
            self.check_in_time(uploaded, seen.date)?;
            let before = find(&seen.snapshot, name)?;
            file.condition.check(name, living(before.as_ref()))?;
            let mut guards = Vec::new();
            if !self.timing().ablate.sweep_guard {
                guards.push(seen.sweep_guard()?);
            }
            if file.condition != FileCondition::Any {
                let address = before.as_ref().map(|(_, address)| *address);
                guards.push(Guard { id: name.to_owned(), address });
            }
            let stored = FileRecord {
                size: uploaded.size,
                sha256: uploaded.sha256,
                content_type: file.content_type.clone(),
                content_encoding: file.content_encoding.clone(),
                uploaded_at: file.uploaded_at_ms.map_or(seen.date, StoreTime),
                deleted_at: None,
                auto_delete: file.auto_delete,
                content: uploaded.content.clone(),
            };
            let write = Write::Upsert(vec![record(name, &stored)]);
            // Deletions need no room: they must be possible when memory is short.
            let _room = self.collection.room_for(&Change::Write(write.clone())).await?;
            if let Some(outcome) = self.write(guards, write).await? {
                let file = FileInfo::of(name, &stored, outcome.version);
                return Ok(PutOutcome { file, replaced: living(before.as_ref()).is_some() });
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("file {name:?} kept being changed by others; it was not stored, try again"),
        ))
    }

    /// Refuses to name a content that a sweep may have taken for an orphan.
    fn check_in_time(&self, uploaded: &Uploaded, now: StoreTime) -> Result<()> {
        let Some(began) = uploaded.began.filter(|_| !self.timing().ablate.sweep_guard) else { return Ok(()) };
        let took = u128::try_from(now.since_ms(began)).unwrap_or(0);
        let limit = self.timing().sweep_age.as_millis() / 2;
        match took < limit {
            true => Ok(()),
            false => {
                let limit = limit / 1000;
                Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("the upload took longer than {limit} s; nothing was stored, upload again"),
                ))
            }
        }
    }

    /// Writes if the guards hold. `None` if they do not: then nothing was written.
    pub(super) async fn write(&self, guards: Vec<Guard>, write: Write) -> Result<Option<WriteOutcome>> {
        match self.collection.write_guarded(guards, write).await {
            Ok(written) => Ok(Some(written.answer)),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file of that name. That it does not exist is answered only after the bucket was asked.
    async fn locate(&self, name: &str, consistency: Consistency) -> Result<(FileRecord, FileInfo, Address)> {
        self.wait_for_pending_delete(name).await;
        let mut snapshot = self.collection.snapshot(consistency).await?;
        let known = find(&snapshot, name)?;
        let located = match living(known.as_ref()) {
            None if consistency == Consistency::Local => {
                snapshot = self.collection.snapshot(Consistency::Strong).await?;
                find(&snapshot, name)?
            }
            _ => known,
        };
        match located {
            None => Err(no_file(name)),
            Some((file, _)) if file.deleted_at.is_some() => Err(gone(name)),
            Some((file, address)) => {
                let info = FileInfo::of(name, &file, address.version());
                Ok((file, info, address))
            }
        }
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `Gone` if it was deleted not long ago.
    pub async fn stat(&self, name: &str, consistency: Consistency) -> Result<FileInfo> {
        self.locate(name, consistency).await.map(|(_, info, _)| info)
    }

    /// Begins to read a file: all of it, or the range that `choose` picks when it sees the file's facts.
    ///
    /// # Errors
    /// As [`stat`](FileStore::stat); `Corrupted` if its first part is damaged.
    pub async fn get(
        &self,
        name: &str,
        consistency: Consistency,
        choose: impl Fn(&FileInfo) -> Option<Range<u64>> + Send + Sync,
    ) -> Result<Download> {
        let mut consistency = consistency;
        let mut looks = self.timing().reread().begin();
        loop {
            let (file, info, address) = self.locate(name, consistency).await?;
            let range = choose(&info).unwrap_or(0..info.size);
            let range = range.start.min(info.size)..range.end.min(info.size);
            match Download::begin(info, range, file.content, self.target()).await {
                Ok(download) => return Ok(download),
                Err(Missed::Failed(error)) => return Err(error),
                // The local record may be out of date: check whether another upload has replaced the file.
                Err(Missed::Absent(key)) => {
                    let (_, _, now) = self.locate(name, Consistency::Strong).await?;
                    if now == address && !looks.again().await {
                        let what = format!("file {name:?} is damaged: {key}: it is missing; upload the file again");
                        tracing::error!(file = name, key, "a part of a file is missing");
                        return Err(Error::new(ErrorKind::Corrupted, what));
                    }
                    consistency = Consistency::Strong;
                }
            }
        }
    }

    /// Deletes a file. From then on it is `Gone`; its content is deleted when no download can still be reading it.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `Gone` if it was deleted before.
    pub async fn delete(&self, name: &str) -> Result<Version> {
        self.wait_for_pending_delete(name).await;
        self.delete_if(name, None).await
    }

    /// Deletes the file that a commit put, after its download.
    pub(super) async fn delete_if(&self, name: &str, put_by: Option<Version>) -> Result<Version> {
        for _ in 0..ATTEMPTS {
            let seen = self.see().await?;
            let (file, address) = find(&seen.snapshot, name)?.ok_or_else(|| no_file(name))?;
            if file.deleted_at.is_some() || put_by.is_some_and(|version| version != address.version()) {
                return Err(gone(name));
            }
            let deleted = FileRecord { deleted_at: Some(seen.date), content: None, ..file };
            let guard = Guard { id: name.to_owned(), address: Some(address) };
            if let Some(outcome) = self.write(vec![guard], Write::Upsert(vec![record(name, &deleted)])).await? {
                return Ok(outcome.version);
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("file {name:?} kept being changed by others; it was not deleted, try again"),
        ))
    }

    /// Files by name.
    pub async fn list(&self, list: &ListFiles, consistency: Consistency) -> Result<FilePage> {
        let snapshot = self.collection.snapshot(consistency).await?;
        let list = list.clone();
        off_thread(move || page(&snapshot, &list)).await?
    }

    /// The deletion of a file whose last bytes are on their way. Requests for the file wait until the deletion is
    /// settled.
    #[cfg(feature = "server")]
    pub fn pending_delete(&self, info: &FileInfo) -> PendingDelete {
        let key = (self.collection.identity().id, info.name.clone());
        let (sender, receiver) = watch::channel(());
        self.share.pending_deletes.lock().insert(key.clone(), receiver);
        PendingDelete { file_store: self.clone(), key, version: info.version, _open: sender }
    }

    async fn wait_for_pending_delete(&self, name: &str) {
        let key = (self.collection.identity().id, name.to_owned());
        let leaving = self.share.pending_deletes.lock().get(&key).cloned();
        if let Some(mut leaving) = leaving {
            // The sender never sends. The wait ends when the sender is dropped.
            let _ = leaving.changed().await;
        }
    }
}

/// A body in the bucket that has no name yet. If dropped, it is swept some day.
#[derive(Debug)]
pub struct Received {
    file_store: FileStore,
    uploaded: Uploaded,
}

impl Received {
    /// Its length in bytes.
    #[cfg(feature = "server")]
    pub fn size(&self) -> u64 {
        self.uploaded.size
    }

    /// Gives it a name.
    ///
    /// # Errors
    /// As [`put`](FileStore::put).
    pub async fn settle(self, name: &str, file: &PutFile) -> Result<PutOutcome> {
        let (found, expected) = (self.uploaded.sha256, file.sha256.as_deref().map(sum_of).transpose()?);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let what = format!("sha256: expected {expected}, the body has {found}; nothing was stored");
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let outcome = self.file_store.name(name, file, &self.uploaded).await?;
        self.file_store.share.budget.count(Counted::Puts, 1);
        Ok(outcome)
    }
}

/// A file that is deleted once its download is complete. Dropped without [`confirm`](PendingDelete::confirm), the
/// file stays.
#[derive(Debug)]
#[cfg(feature = "server")]
pub struct PendingDelete {
    file_store: FileStore,
    key: (CollectionId, String),
    version: Version,
    _open: watch::Sender<()>,
}

#[cfg(feature = "server")]
impl PendingDelete {
    /// The download is complete: deletes the file, unless another upload has replaced it.
    pub async fn confirm(self) {
        match self.file_store.delete_if(&self.key.1, Some(self.version)).await {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Gone | ErrorKind::NotFound) => {}
            Err(error) => tracing::warn!(file = self.key.1, %error, "it was downloaded, but could not be deleted"),
        }
    }
}

#[cfg(feature = "server")]
impl Drop for PendingDelete {
    fn drop(&mut self) {
        self.file_store.share.pending_deletes.lock().remove(&self.key);
    }
}

/// The next files by name.
fn page(snapshot: &Snapshot, list: &ListFiles) -> Result<FilePage> {
    let after = list.after.as_deref().unwrap_or_default();
    let wanted = |id: &&str| !id.starts_with('/') && *id > after && id.starts_with(&list.prefix);
    let names: BTreeSet<&str> = snapshot.ids().filter(wanted).collect();
    let mut page = FilePage::default();
    for name in names {
        let Some((file, address)) = find(snapshot, name)?.filter(|(file, _)| file.deleted_at.is_none()) else {
            continue;
        };
        if page.files.len() >= list.limit {
            page.next = page.files.last().map(|file| file.name.clone());
            break;
        }
        page.files.push(FileInfo::of(name, &file, address.version()));
    }
    Ok(page)
}
