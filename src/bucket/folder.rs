//! A folder as a bucket, for one machine and any number of processes on it. Its invariants: an object's file appears
//! whole, and is on disk with its name before a put is answered; files are never written in place; replacing and
//! deleting hold the key's lock; creating relies on link(2) alone. Everything that is not an object lies in one hidden
//! directory that no listing shows:
//!
//! ```text
//! .drumlin/lock            held while a process opens the folder and sweeps what dead ones left
//! .drumlin/locks/00 … 0f   one of them is held while a key is replaced or deleted, by hash of the key
//! .drumlin/staging/{ulid}/ files being written by one process, which holds the `alive` in it locked
//! ```

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::{GetOptions, GetResult, GetResultPayload, ObjectStore};
use parking_lot::Mutex;
use ulid::Ulid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::body::Body;
use super::clock::machine_time;
use super::{Bucket, BucketError, Listed, Object, PAGE_KEYS, Page, Place, PutCondition, Stamp, StoreTime, keys};
use crate::compute::off_thread;
use crate::error::{Error, Result};

/// The hidden directory.
const HIDDEN: &str = ".drumlin";
/// Number of lock files; keys share them by hash.
const LOCKS: u64 = 16;

/// A folder used as a bucket; see the module's text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FolderBucket {
    reader: Arc<LocalFileSystem>,
    folder: Arc<Folder>,
}

impl FolderBucket {
    /// Opens the folder; creates it if it is absent. Sweeps the half-written files of crashed processes. Blocks the
    /// thread for some file operations.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be created, read or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |error: io::Error| {
            let message = format!("the folder {} cannot be used as a bucket: {error}", path.display());
            Error::unavailable(message).with_source(error)
        };
        let folder = Folder::open(path).map_err(failed)?;
        let reader = LocalFileSystem::new_with_prefix(&folder.root).map_err(|error| failed(error.into()))?;
        Ok(FolderBucket { reader: Arc::new(reader), folder: Arc::new(folder) })
    }

    /// Runs file operations off the async threads. Dropping the future does not stop them.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, BucketError> + Send + 'static,
    ) -> Result<T, BucketError> {
        let folder = self.folder.clone();
        match off_thread(move || work(&folder)).await {
            Ok(answer) => answer,
            Err(stopped) => Err(BucketError::unknown(stopped.to_string())),
        }
    }
}

/// The folder and the files that this process holds in it.
#[derive(Debug)]
struct Folder {
    root: PathBuf,
    staging: PathBuf,
    /// Locked as long as this process uses `staging`.
    _alive: File,
    staged: AtomicU64,
    /// Directories whose names are known to be on disk.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: what stays is swept at the next open.
        let _ = fs::remove_dir_all(&self.staging);
    }
}

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        let hidden = path.join(HIDDEN);
        private_directory(&hidden.join("locks"))?;
        private_directory(&hidden.join("staging"))?;
        let root = path.canonicalize()?;
        warn_of_readers(&root);
        sync_above(&root)?;
        let opening = lock_file(&hidden.join("lock"))?;
        opening.lock()?;
        sweep(&hidden.join("staging"))?;
        let staging = root.join(HIDDEN).join("staging").join(Ulid::generate().to_string());
        private_directory(&staging)?;
        let alive = lock_file(&staging.join("alive"))?;
        alive.lock()?;
        Ok(Folder { root, staging, _alive: alive, staged: AtomicU64::new(0), durable: Mutex::default() })
    }

    /// Where the object of a checked key lies.
    fn file_of(&self, key: &str) -> PathBuf {
        key.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    /// Fills a new file in the staging directory and brings it to the disk. A failure here has touched no key, and
    /// nothing under way can still touch one. The failure is definite, and reported at once.
    fn stage(&self, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<StagedFile, BucketError> {
        let path = self.staging.join(self.staged.fetch_add(1, Ordering::Relaxed).to_string());
        let open = private_file().write(true).create_new(true).open(&path);
        let mut file = open.map_err(|error| refused("write", &error))?;
        let staged = StagedFile { path };
        let filled = fill(&mut file).and_then(|()| file.sync_all());
        filled.map_err(|error| refused("write", &error))?;
        Ok(staged)
    }

    /// Makes the staged file the object of `key`, under `condition`.
    fn publish(&self, staged: &StagedFile, key: &str, condition: PutCondition) -> Result<(), BucketError> {
        let file = self.file_of(key);
        let parent = file.parent().unwrap_or(&self.root).to_owned();
        let mut placed = self.durable_directory(&parent).and_then(|()| self.place_file(staged, key, &file, &condition));
        if matches!(&placed, Err(error) if error.kind() == ErrorKind::NotFound) {
            // Someone removed the directory under us: what we knew of it is void.
            self.durable.lock().clear();
            placed = self.durable_directory(&parent).and_then(|()| self.place_file(staged, key, &file, &condition));
        }
        match placed {
            Ok(Placed::Done) => sync_directory(&parent).map_err(|error| unknown("sync the directory", &error)),
            Ok(Placed::ConditionFailed) => Err(BucketError::Exists { date: Some(machine_time()) }),
            Ok(Placed::Absent) => Err(BucketError::NotFound { date: Some(machine_time()) }),
            Err(error) => Err(not_applied("place", &error)),
        }
    }

    fn place_file(&self, staged: &StagedFile, key: &str, file: &Path, condition: &PutCondition) -> io::Result<Placed> {
        match condition {
            PutCondition::IfAbsent => match fs::hard_link(&staged.path, file) {
                Ok(()) => Ok(Placed::Done),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Placed::ConditionFailed),
                Err(error) => Err(error),
            },
            PutCondition::Always => {
                let _lock = self.lock_key(key)?;
                fs::rename(&staged.path, file).map(|()| Placed::Done)
            }
            PutCondition::IfMatch(expected) => {
                let _lock = self.lock_key(key)?;
                match fs::read(file) {
                    Ok(present) if etag_of(&present) != *expected => Ok(Placed::ConditionFailed),
                    Ok(_) => fs::rename(&staged.path, file).map(|()| Placed::Done),
                    Err(error) if is_absent(&error) => Ok(Placed::Absent),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Locks the key until the returned file is dropped; other processes and threads wait.
    fn lock_key(&self, key: &str) -> io::Result<File> {
        let number = xxh3_64(key.as_bytes()) % LOCKS;
        let file = lock_file(&self.root.join(HIDDEN).join("locks").join(format!("{number:02x}")))?;
        file.lock()?;
        Ok(file)
    }

    /// Creates the directory, and brings its name and those above it to the disk. A directory that another process has
    /// just made may not be on disk yet, so its existence is no proof.
    fn durable_directory(&self, directory: &Path) -> io::Result<()> {
        if self.durable.lock().contains(directory) {
            return Ok(());
        }
        private_directory(directory)?;
        let up_to_root: Vec<_> = directory.ancestors().take_while(|above| above.starts_with(&self.root)).collect();
        for above in &up_to_root {
            sync_directory(above)?;
        }
        self.durable.lock().extend(up_to_root.into_iter().map(Path::to_owned));
        Ok(())
    }

    fn put(&self, key: &str, pieces: &[Bytes], condition: PutCondition) -> Result<Stamp, BucketError> {
        let staged = self.stage(|file| pieces.iter().try_for_each(|piece| file.write_all(piece)))?;
        self.publish(&staged, key, condition)?;
        let etag = match pieces {
            [whole] => etag_of(whole),
            many => {
                let mut hash = xxhash_rust::xxh3::Xxh3::new();
                many.iter().for_each(|piece| hash.update(piece));
                quoted(hash.digest128())
            }
        };
        let now = Some(machine_time());
        Ok(Stamp { etag: Some(etag), date: now, last_modified: now })
    }

    /// A copy of the bytes, not a link to them: its time of writing must be its own.
    fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        let source = self.file_of(from);
        match fs::metadata(&source) {
            Ok(found) if found.is_file() => {}
            Err(error) if !is_absent(&error) => return Err(not_applied("read", &error)),
            _ => return Err(BucketError::NotFound { date: Some(machine_time()) }),
        }
        let staged = self.stage(|file| io::copy(&mut File::open(&source)?, file).map(drop))?;
        self.publish(&staged, to, PutCondition::Always)?;
        let now = Some(machine_time());
        Ok(Stamp { etag: None, date: now, last_modified: now })
    }

    fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        let mut parents = HashSet::new();
        for key in keys {
            let file = self.file_of(key);
            let _lock = self.lock_key(key).map_err(|error| not_applied("lock", &error))?;
            match fs::remove_file(&file) {
                Ok(()) => parents.extend(file.parent().map(Path::to_owned)),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(not_applied("delete", &error)),
            }
        }
        let mut parents = parents.iter();
        parents.try_for_each(|parent| sync_directory(parent)).map_err(|error| unknown("sync the directory", &error))
    }
}

enum Placed {
    Done,
    ConditionFailed,
    Absent,
}

/// A file in the staging directory; gone when dropped, unless it was renamed away.
struct StagedFile {
    path: PathBuf,
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    private_file().create(true).truncate(false).write(true).open(path)
}

/// Makes a directory and the missing ones above it, for this user alone, whatever the umask is.
fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Opens new files for this user alone, whatever the umask is.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Warns where an older Drumlin, or somebody else, has left the records open to others on this machine.
fn warn_of_readers(root: &Path) {
    if let Some(open) = open_to_others(root) {
        let (open, root) = (open.display(), root.display());
        tracing::warn!(
            "others on this machine can read the records: {open} is open to them; what Drumlin writes now is not. \
             To close the rest: chmod -R go= {root}"
        );
    }
}

/// The first entry of the folder that others than its owner can read. `None` also if they cannot reach it.
#[cfg(unix)]
pub(super) fn open_to_others(root: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let open = |path: &Path, bits: u32| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & bits != 0);
    if !open(root, 0o011) {
        return None;
    }
    let entries = fs::read_dir(root).ok()?;
    let mut entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
    entries.find(|path| open(path, 0o044) && path.file_name().is_some_and(|name| name != HIDDEN))
}

#[cfg(not(unix))]
fn open_to_others(_root: &Path) -> Option<PathBuf> {
    None
}

/// Removes the staging directories of dead processes: those whose lock is free. The caller holds the opening lock, so
/// that no other process is just making one.
fn sweep(staging: &Path) -> io::Result<()> {
    for entry in fs::read_dir(staging)? {
        let directory = entry?.path();
        if lock_file(&directory.join("alive"))?.try_lock().is_ok() {
            fs::remove_dir_all(&directory)?;
        }
    }
    Ok(())
}

/// Brings the names in a directory to the disk. Only Unix can open a directory for that; elsewhere the file system's
/// own order must suffice.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Brings the folder's own name to the disk, and the names of the folders above it, which may be just as new. A folder
/// that may not be read, or cannot be written, was there before.
fn sync_above(root: &Path) -> io::Result<()> {
    use ErrorKind::*;
    for above in root.ancestors().skip(1) {
        match sync_directory(above) {
            Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput) => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// The tag: a hash of the content. Equal bytes are equal to a compare-and-swap; HEAD holds a nonce so that its bytes
/// never repeat.
fn etag_of(content: &[u8]) -> String {
    quoted(xxh3_128(content))
}

fn quoted(hash: u128) -> String {
    format!("\"{hash:032x}\"")
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A failure before anything but a file in the staging directory was touched.
fn refused(step: &str, error: &io::Error) -> BucketError {
    BucketError::Refused { message: format!("cannot {step}: {error}") }
}

/// A failure at the object's own file.
fn not_applied(step: &str, error: &io::Error) -> BucketError {
    use ErrorKind::*;
    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem | InvalidFilename | NotADirectory | IsADirectory | Unsupported
        | FileTooLarge | StorageFull | QuotaExceeded => refused(step, error),
        _ => unknown(step, error),
    }
}

fn unknown(step: &str, error: &io::Error) -> BucketError {
    BucketError::unknown(format!("cannot {step}: {error}"))
}

/// Sorts a failure of a read, by the I/O error at its root where there is one.
fn sort_read(error: object_store::Error) -> BucketError {
    let absent = || BucketError::NotFound { date: Some(machine_time()) };
    if matches!(error, object_store::Error::NotFound { .. }) {
        return absent();
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(now) = cause {
        match now.downcast_ref::<io::Error>() {
            Some(io) if is_absent(io) => return absent(),
            Some(io) => return not_applied("read", io),
            None => cause = now.source(),
        }
    }
    BucketError::unknown(error.to_string())
}

/// Checks a key and returns it as the path of `object_store`.
fn checked(key: &str) -> Result<object_store::path::Path, BucketError> {
    keys::validate(key)?;
    if key.split('/').next() == Some(HIDDEN) {
        return Err(BucketError::Refused { message: format!("the key {key:?} lies in the folder's own {HIDDEN}") });
    }
    object_store::path::Path::parse(key).map_err(|error| BucketError::Refused { message: error.to_string() })
}

/// Reads the range of an open file. The file stays the same one when the object is replaced meanwhile.
fn read_range(mut file: File, size_bytes: u64, range: Option<Range<u64>>) -> io::Result<Bytes> {
    let range = range.unwrap_or(0..size_bytes);
    let start = range.start.min(size_bytes);
    let length = range.end.min(size_bytes).saturating_sub(start);
    let mut body = Body::with_capacity(length)?;
    file.seek(SeekFrom::Start(start))?;
    file.take(length).read_to_end(body.buffer())?;
    if body.len() != length {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file was cut while it was read"));
    }
    Ok(body.finish())
}

#[async_trait]
impl Bucket for FolderBucket {
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Object, BucketError> {
        let found = self.reader.get_opts(&checked(key)?, GetOptions::default()).await.map_err(sort_read)?;
        let GetResult { payload: GetResultPayload::File(file, _), meta, .. } = found else {
            return Err(BucketError::unknown("expected a file of the folder, got something else"));
        };
        let whole = range.is_none();
        let bytes = self
            .blocking(move |_| read_range(file, meta.size, range).map_err(|error| not_applied("read", &error)))
            .await?;
        let stamp = Stamp {
            etag: whole.then(|| etag_of(&bytes)),
            date: Some(machine_time()),
            last_modified: Some(StoreTime(meta.last_modified.timestamp_millis())),
        };
        Ok(Object { bytes, size_bytes: meta.size, stamp })
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Stamp, BucketError> {
        checked(key)?;
        let key = key.to_owned();
        self.blocking(move |folder| folder.put(&key, &[body], condition)).await
    }

    async fn put_large(&self, key: &str, pieces: Vec<Bytes>) -> Result<Stamp, BucketError> {
        checked(key)?;
        let key = key.to_owned();
        self.blocking(move |folder| folder.put(&key, &pieces, PutCondition::Always)).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Stamp, BucketError> {
        checked(from)?;
        checked(to)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.blocking(move |folder| folder.copy(&from, &to)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, BucketError> {
        let directory = prefix.rsplit_once('/').map(|(directory, _)| checked(directory)).transpose()?;
        let found = match after {
            Some(after) => self.reader.list_with_offset(directory.as_ref(), &checked(after)?),
            None => self.reader.list(directory.as_ref()),
        };
        let mut objects: Vec<Listed> = found
            .map_ok(|meta| Listed {
                key: meta.location.into(),
                size_bytes: meta.size,
                last_modified: Some(StoreTime(meta.last_modified.timestamp_millis())),
            })
            .try_filter(|listed| {
                let hidden = listed.key.split('/').next() == Some(HIDDEN);
                std::future::ready(!hidden && listed.key.starts_with(prefix))
            })
            .try_collect()
            .await
            .map_err(sort_read)?;
        // Directories come in no order; sorted by bytes, "a-b" stands before "a/b".
        objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let more = objects.len() > PAGE_KEYS;
        objects.truncate(PAGE_KEYS);
        Ok(Page { objects, more, date: Some(machine_time()) })
    }

    async fn delete(&self, keys: &[String]) -> Result<(), BucketError> {
        for key in keys {
            checked(key)?;
        }
        let keys = keys.to_vec();
        self.blocking(move |folder| folder.delete(&keys)).await
    }

    fn place(&self) -> Place {
        let path = self.folder.root.display().to_string();
        Place { kind: "folder", location: path.clone(), endpoint: String::new(), bucket: path }
    }
}
