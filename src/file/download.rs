//! A file on its way out of the bucket, part by part; the next part is fetched while the caller takes the one before.
//! Invariants: a part is handed out only after its checksum was found right, and the last part of a whole file only
//! after the file's SHA-256 was. Every part in memory holds its share of the budget.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use super::budget::{Counted, FileBudget, Share};
use super::request::FileInfo;
use super::upload::Target;
use crate::bucket::reread::{self, Absence, Unsound};
use crate::bucket::{BucketError, Object};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Checksum;
use crate::format::file_record::{Content, ContentPart, Sha256Sum};

/// Why a part could not be read.
pub enum Missed {
    /// The part does not exist: it was swept, or lost.
    Absent(String),
    Failed(Error),
}

/// A part that was read and checked.
struct Fetched {
    bytes: Bytes,
    share: Share,
}

/// A file being read. The caller takes its bytes piece by piece; dropping it ends the reading.
pub struct Download {
    info: FileInfo,
    range: Range<u64>,
    parts: Arc<FileParts>,
    /// The part to hand out next, and the offset in the file at which that part begins.
    next: usize,
    offset: u64,
    ahead: Option<(usize, JoinHandle<Result<Fetched, Missed>>)>,
    first: Option<Fetched>,
    /// The share of the part that was handed out last.
    held: Option<Share>,
    /// The sum so far and the expected one; only where a whole file is read.
    sha256: Option<(Sha256, Sha256Sum)>,
}

/// The parts of a file.
struct FileParts {
    name: String,
    target: Target,
    content: Content,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("info", &self.info).field("range", &self.range).finish_non_exhaustive()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.ahead {
            task.abort();
        }
    }
}

impl FileParts {
    fn part(&self, number: usize) -> Option<(u32, ContentPart)> {
        let part = self.content.parts.get(number)?;
        Some((u32::try_from(number).ok()?, *part))
    }

    /// Reads a part until it is right or the time for that is over. `first`: it is the first part that this download
    /// reads.
    async fn fetch(&self, number: usize, share: Option<Share>, first: bool) -> Result<Fetched, Missed> {
        let Some((index, part)) = self.part(number) else {
            return Err(Missed::Failed(Error::internal(format!("file {:?} has no part {number}", self.name))));
        };
        let size = usize::try_from(part.bytes).unwrap_or(usize::MAX);
        let share = match share {
            Some(share) => share,
            None => self.target.budget.take(size, &self.target.settings).await.map_err(Missed::Failed)?,
        };
        let key = self.target.stream.file_part(self.content.content, index);
        let check = |object: Object| {
            let (bytes, found) = (object.bytes.len() as u64, Checksum::of(&object.bytes));
            match bytes == part.bytes && found == part.xxh3 {
                true => Ok(object.bytes),
                false => Err(format!(
                    "expected {} bytes with checksum {}, found {bytes} with {found}",
                    part.bytes, part.xxh3
                )),
            }
        };
        // A missing first part may mean that another upload has replaced the file. So its absence is believed, and the
        // caller checks for a replacement.
        let absence = if first { Absence::Believed } else { Absence::Doubted };
        match reread::read(self.target.bucket.as_ref(), &key, (self.target.reread, absence), check).await {
            Ok(bytes) => Ok(Fetched { bytes, share }),
            Err(Unsound::Bucket(BucketError::NotFound { .. })) => Err(Missed::Absent(key)),
            Err(Unsound::Bucket(error)) => {
                Err(Missed::Failed(Error::unavailable(format!("file {:?} cannot be read: {error}", self.name))))
            }
            Err(Unsound::Wrong(cause)) => Err(Missed::Failed(self.damage(&key, &cause))),
        }
    }

    fn damage(&self, key: &str, cause: &str) -> Error {
        tracing::error!(file = self.name, key, cause, "a part of a file is damaged");
        Error::new(
            ErrorKind::Corrupted,
            format!(
                "file {:?} is damaged: {key}: {cause}; put the object back from a backup, or upload the file again",
                self.name
            ),
        )
    }

    /// The error of a part that could not be read.
    fn settle(&self, missed: Missed) -> Error {
        match missed {
            Missed::Failed(error) => error,
            Missed::Absent(key) => self.damage(&key, "it is missing"),
        }
    }
}

impl Download {
    /// Begins to read the bytes `range` of a file. The first part is in memory when this returns.
    pub(super) async fn begin(
        info: FileInfo,
        range: Range<u64>,
        content: Option<Content>,
        target: Target,
    ) -> Result<Download, Missed> {
        let whole = range == (0..info.size);
        let expected = info.sha256.parse().ok().filter(|_| whole);
        let content = content.unwrap_or(Content { content: ulid::Ulid::nil(), parts: Vec::new() });
        let (mut next, mut offset) = (0, 0u64);
        for part in &content.parts {
            if offset + part.bytes > range.start {
                break;
            }
            (next, offset) = (next + 1, offset + part.bytes);
        }
        let parts = Arc::new(FileParts { name: info.name.clone(), target, content });
        let first = match range.is_empty() {
            true => None,
            false => Some(parts.fetch(next, None, true).await?),
        };
        let sha256 = expected.map(|sum| (Sha256::new(), sum));
        let mut download = Download { info, range, parts, next, offset, ahead: None, first, held: None, sha256 };
        download.look_ahead(next + 1);
        Ok(download)
    }

    /// The file.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Which bytes of the file are read.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The next bytes, a few MiB at most; `None` at the end.
    ///
    /// # Errors
    /// `Corrupted` names the object that is damaged or missing: the bytes before it were right, and no more follow.
    /// `Unavailable` if the bucket does not answer.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.held = None;
        if self.offset >= self.range.end {
            return Ok(None);
        }
        let number = self.next;
        let fetched = match (self.first.take(), self.ahead.take()) {
            (Some(first), ahead) => {
                self.ahead = ahead;
                Ok(first)
            }
            (None, Some((ahead, task))) if ahead == number => match task.await {
                Ok(fetched) => fetched,
                Err(e) => Err(Missed::Failed(Error::internal("the reading of a part ended early").with_source(e))),
            },
            _ => self.parts.fetch(number, None, false).await,
        };
        let Fetched { bytes, share } = fetched.map_err(|missed| self.parts.settle(missed))?;
        let begins = self.offset;
        (self.next, self.offset) = (number + 1, begins.saturating_add(bytes.len() as u64));
        self.check_sum(&bytes)?;
        self.look_ahead(self.next);
        self.held = Some(share);
        let cut = |at: u64| usize::try_from(at.saturating_sub(begins)).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (cut(self.range.start), cut(self.range.end));
        self.parts.target.budget.count(Counted::BytesOut, end.saturating_sub(start) as u64);
        Ok(Some(bytes.slice(start..end.max(start))))
    }

    /// Adds the part just read to the sum; after the last part the sum must equal the file's.
    fn check_sum(&mut self, bytes: &Bytes) -> Result<()> {
        let Some((mut hasher, expected)) = self.sha256.take() else { return Ok(()) };
        hasher.update(bytes);
        if self.offset < self.range.end {
            self.sha256 = Some((hasher, expected));
            return Ok(());
        }
        let found = Sha256Sum(hasher.finalize().into());
        match found == expected {
            true => Ok(()),
            false => {
                let key = self.parts.target.stream.file_prefix();
                Err(self.parts.damage(&key, &format!("expected sha256 {expected}, found {found}")))
            }
        }
    }

    /// Begins to fetch a part, if the caller will need it and memory for it is free right now.
    fn look_ahead(&mut self, number: usize) {
        let held = self.first.as_ref().map_or(0, |first| first.bytes.len() as u64);
        if self.ahead.is_some() || self.offset + held >= self.range.end {
            return;
        }
        let Some((_, part)) = self.parts.part(number) else { return };
        let size = usize::try_from(part.bytes).unwrap_or(usize::MAX);
        let Some(share) = self.budget().try_take(size) else { return };
        let parts = self.parts.clone();
        self.ahead = Some((number, tokio::spawn(async move { parts.fetch(number, Some(share), false).await })));
    }

    fn budget(&self) -> &FileBudget {
        &self.parts.target.budget
    }
}
