//! All keys that are valid now: one from a setting, and any number from a file that is read again when it changes.
//! Invariants: a file that cannot be used changes nothing; a lookup compares with every key, so that its time reveals
//! nothing about them.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use subtle::{Choice, ConditionallySelectable};

use super::key::{Key, KeyEntry};
use super::secret::Digest;
use crate::compute::off_thread;
use crate::error::{Error, Result};

/// How often the key file is checked for a change.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Bytes of a key file at most: some thousand keys.
const FILE_BYTES: u64 = 1 << 20;

/// The keys of a server. The default has no keys and requires none. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keyring(Option<Arc<Ring>>);

struct Ring {
    full: Option<Arc<Key>>,
    file: Option<PathBuf>,
    /// The full key, then the keys of the file as of the last successful read.
    keys: ArcSwap<Vec<Arc<Key>>>,
    /// The stamp of the file at the last look; `None` if there was no file.
    seen: Mutex<Option<FileStamp>>,
}

/// Distinguishes one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    modified: SystemTime,
    bytes: u64,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Keyring(none)"),
            Some(ring) => write!(f, "Keyring({} keys)", ring.keys.load().len()),
        }
    }
}

impl Keyring {
    /// The keys that the settings name. With neither setting, requests need no key.
    ///
    /// # Errors
    /// `Invalid` if the file cannot be read or used; the message says what is wrong and where.
    pub fn open(full: Option<Key>, file: Option<PathBuf>) -> Result<Keyring> {
        if full.is_none() && file.is_none() {
            return Ok(Keyring::default());
        }
        let full = full.map(Arc::new);
        // IMPORTANT: the stamp is taken before the file is read, so that the next look sees a change in between.
        let seen = file.as_deref().and_then(stamp);
        let keys = read(full.as_ref(), file.as_deref())?;
        if keys.is_empty() {
            tracing::warn!("the key file holds no key: every request that needs one is refused");
        }
        Ok(Keyring(Some(Arc::new(Ring { full, file, keys: ArcSwap::from_pointee(keys), seen: Mutex::new(seen) }))))
    }

    /// Whether requests must bring a key.
    pub fn asks_for_keys(&self) -> bool {
        self.0.is_some()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |ring| ring.keys.load().len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the key file again. If it cannot be used, the keys stay as they are and the log says why.
    pub fn reload(&self) {
        if let Some(ring) = &self.0 {
            ring.look(true);
        }
    }

    /// Reads the key file again whenever it changes; never returns.
    pub(in crate::http) async fn follow(self) {
        let Some(ring) = self.0.filter(|ring| ring.file.is_some()) else { return };
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let ring = ring.clone();
            if off_thread(move || ring.look(false)).await.is_err() {
                tracing::error!("a check of the key file ended early; the keys stay as they are");
            }
        }
    }

    /// The key of that digest, if there is one that has not expired.
    pub(super) fn find(&self, presented: &Digest, now: SystemTime) -> Option<Arc<Key>> {
        let keys = self.0.as_ref()?.keys.load();
        let (mut found, mut at) = (Choice::from(0), 0u32);
        for (number, key) in (0u32..).zip(keys.iter()) {
            let equal = key.digest.equals(presented);
            at.conditional_assign(&number, equal);
            found |= equal;
        }
        let key = if bool::from(found) { keys.get(at as usize) } else { None };
        key.filter(|key| !key.expired(now)).cloned()
    }
}

impl Ring {
    /// Reads the file if it has changed since the last look, or in any case where `always` is set.
    fn look(&self, always: bool) {
        let Some(file) = self.file.as_deref() else { return };
        // The lock is held throughout: of two looks at once, the later one decides.
        let mut seen = self.seen.lock();
        let now = stamp(file);
        if !always && *seen == now {
            return;
        }
        *seen = now;
        match read(self.full.as_ref(), Some(file)) {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the key file was read again");
                self.keys.store(Arc::new(keys));
            }
            Err(error) => tracing::error!("{error}; the keys stay as they were"),
        }
    }
}

fn stamp(file: &Path) -> Option<FileStamp> {
    let metadata = fs::metadata(file).ok()?;
    Some(FileStamp { modified: metadata.modified().ok()?, bytes: metadata.len() })
}

/// The full key, then those of the file.
fn read(full: Option<&Arc<Key>>, file: Option<&Path>) -> Result<Vec<Arc<Key>>> {
    let mut keys: Vec<Arc<Key>> = full.into_iter().cloned().collect();
    let Some(file) = file else { return Ok(keys) };
    let wrong = |what: String| Error::invalid(format!("DRUMLIN_KEY_FILE: {}: {what}", file.display()));
    let mut bytes = Vec::new();
    let opened = fs::File::open(file).map_err(|e| wrong(format!("cannot be opened: {e}")))?;
    opened.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(wrong(format!("expected at most {FILE_BYTES} bytes, got more")));
    }
    // The parser's own message may quote the file, and what it quotes may be a secret.
    let entries: Vec<KeyEntry> = serde_json::from_slice(&bytes).map_err(|e| {
        let place = format!("line {} column {}", e.line(), e.column());
        wrong(format!(
            "expected a JSON list of {{\"name\", \"sha256\", \"scope\", and perhaps \"tenant\", \"database\", \
             \"expires\"}}, got something else at {place}"
        ))
    })?;
    for entry in entries {
        let key = Key::from_entry(entry).map_err(|e| wrong(e.message().to_owned()))?;
        if keys.iter().any(|other| other.name == key.name) {
            return Err(wrong(format!("two keys are called {}; names must differ", key.name)));
        }
        if let Some(other) = keys.iter().find(|other| other.digest.equals(&key.digest).into()) {
            return Err(wrong(format!("{} and {} are the same key", other.name, key.name)));
        }
        keys.push(Arc::new(key));
    }
    Ok(keys)
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod keyring_tests;
