//! Checking the log of one stream: every slot from `gone` on. A commit must be whole, belong to its slot and follow
//! the one before; the commits below the floor must have the rows that the segments hold. Invariant: each commit is
//! checked by itself first, so that damage of one does not hide damage of another.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};

use super::fold::{Fold, LogFold};
use super::objects::{ObjectFault, Reader};
use super::report::{Amount, Findings};
use crate::bucket::Listed;
use crate::bucket::keys::StreamId;
use crate::format::{Chain, Checksum, Commit, CommitKind, FormatError, StreamConfig, decode_commit};
use crate::record::Version;
use crate::stream::context::StreamError;

/// Slots read at once.
const PARALLEL_SLOTS: usize = 8;

/// The remedy where commits cannot be applied.
pub const RESTORE: &str = "put the object back from a backup of the bucket, or take out what is sound before it \
                           with `drumlin restore --sound`";
/// The remedy where nothing is lost yet.
const REWRITE: &str =
    "nothing is lost, its rows are in the segments; put it back from a backup, or fork the collection";
/// The remedy where HEAD and the log disagree.
pub const HEAD_AGAIN: &str = "put HEAD back from the newest backup whose objects are all there";

/// HEAD's statements about the log.
#[derive(Debug, Clone)]
pub struct LogBounds {
    /// Slots from here on must exist.
    pub gone: Version,
    /// Commits from here on are in no segment.
    pub floor: Version,
    /// Commit `floor` − 1; `None` if it is unknown, or if the floor is 1.
    pub prev: Option<Chain>,
    /// Whether HEAD could be read. If not, only the commits themselves are checked, not where they must begin.
    pub known: bool,
}

/// A check of one log.
pub struct LogWalk<'a> {
    pub reader: &'a Reader,
    pub stream: &'a StreamId,
    pub bounds: LogBounds,
    pub listed: &'a BTreeMap<Version, Listed>,
    /// The rows of the segments; the check adds the commits that can be applied.
    pub fold: Fold,
    pub findings: &'a mut Findings,
    /// Objects read.
    pub checked: Amount,
    /// The changes that the commits make to the configuration.
    pub config: StreamConfig,
    /// The last commit that can be applied.
    pub version: Version,
    /// Whether the stream has ended by a `drop`.
    pub dropped: bool,
    /// Whether commits can still be applied: not after damage.
    pub applies: bool,
    below: LogFold,
    before: Option<Chain>,
}

/// The contents of a slot.
enum SlotContent {
    Commit(Box<Commit>, Chain, u64),
    Damaged(FormatError),
    Missing,
}

impl<'a> LogWalk<'a> {
    pub fn new(
        reader: &'a Reader,
        stream: &'a StreamId,
        bounds: LogBounds,
        listed: &'a BTreeMap<Version, Listed>,
        (fold, findings): (Fold, &'a mut Findings),
    ) -> LogWalk<'a> {
        LogWalk {
            reader,
            stream,
            version: Version(bounds.floor.0.saturating_sub(1)),
            bounds,
            listed,
            fold,
            findings,
            checked: Amount::default(),
            config: StreamConfig::default(),
            dropped: false,
            applies: true,
            below: LogFold::default(),
            before: None,
        }
    }

    /// Reads and checks every slot from `gone` on. `Err`: the bucket does not answer.
    pub async fn run(&mut self) -> Result<(), StreamError> {
        let newest = self.listed.keys().next_back().copied().unwrap_or_default();
        let must = Version(self.bounds.floor.0.saturating_sub(1)).max(newest);
        let (reader, stream, listed) = (self.reader, self.stream, self.listed);
        let sizes = |version: &Version| listed.get(version).map_or(1 << 20, |object| object.size_bytes);
        let slots = (self.bounds.gone.0..).map(Version).map(|version| {
            let size = sizes(&version);
            async move { (version, read(reader, stream, version, size).await) }
        });
        let mut slots = std::pin::pin!(stream::iter(slots).buffered(PARALLEL_SLOTS));
        while let Some((version, found)) = slots.next().await {
            match found? {
                SlotContent::Missing if version > must => break,
                SlotContent::Missing => self.missing(version),
                SlotContent::Damaged(cause) => self.broken(version, &cause),
                SlotContent::Commit(commit, link, size) => {
                    self.checked.add(size);
                    self.judge(version, &commit, link);
                }
            }
            if version.next() == self.bounds.floor {
                self.compare();
            }
        }
        Ok(())
    }

    fn missing(&mut self, version: Version) {
        let key = self.stream.log(version);
        if version < self.bounds.floor {
            let gone = self.bounds.gone;
            let cause = format!(
                "it is missing, though HEAD says that only slots below {gone} may be: it was deleted by hand, or HEAD is an old one put back"
            );
            self.findings.damaged(key.clone(), cause, REWRITE);
            let cause = format!("it says that slots from {gone} on are there, but {key} is missing");
            self.findings.suspicious(self.stream.head(), cause, HEAD_AGAIN);
        } else if self.dropped {
            return;
        } else {
            let cause = "it is missing, though a commit after it is there";
            self.findings.damaged(key, cause, RESTORE);
            self.applies = false;
        }
        self.before = None;
    }

    fn broken(&mut self, version: Version, cause: &FormatError) {
        let below = version < self.bounds.floor;
        self.findings.damaged(self.stream.log(version), cause, if below { REWRITE } else { RESTORE });
        self.applies &= below;
        self.before = None;
    }

    fn judge(&mut self, version: Version, commit: &Commit, link: Chain) {
        let key = self.stream.log(version);
        let floor = self.bounds.floor;
        let prev = commit.header.prev;
        let follows = |expected: &Chain| prev.as_ref() == Some(expected);
        if let Some(before) = self.before.filter(|before| !follows(before)) {
            let cause = format!(
                "it follows commit {}, but slot {} holds commit {}: one of the two was replaced",
                prev.map_or_else(|| "none".to_owned(), |prev| prev.nonce.to_string()),
                version.0 - 1,
                before.nonce
            );
            self.findings.damaged(key.clone(), cause, RESTORE);
            self.applies &= version < floor;
        }
        if version == Version(1) && prev.is_some() {
            self.findings.damaged(key.clone(), "it is the first commit, but follows another", RESTORE);
        }
        if version == floor && self.bounds.known && floor > Version(1) && prev != self.bounds.prev {
            // If the commit before the floor still exists, it shows which of the two is wrong.
            let head = if self.before == prev { self.stream.head() } else { key.clone() };
            let cause = format!("HEAD's prev is not the commit that commit {floor} follows");
            self.findings.damaged(head, cause, HEAD_AGAIN);
            self.applies = false;
        }
        self.before = Some(link);
        match version < floor {
            true => self.below.take(&commit.rows, version),
            false => self.apply(version, commit, key),
        }
    }

    fn apply(&mut self, version: Version, commit: &Commit, key: String) {
        if self.dropped {
            let remedy = "nothing to do: it goes with the rest of the dropped collection";
            self.findings.note(key, "it comes after a drop, and means nothing", remedy);
            return;
        }
        if !self.applies || !self.bounds.known {
            return;
        }
        if commit.header.kind == CommitKind::Drop {
            (self.dropped, self.version) = (true, version);
            self.fold.clear();
            return;
        }
        if let Err(cause) = self.fold.take_commit(&commit.rows, version) {
            self.findings.damaged(key, cause, RESTORE);
            self.applies = false;
            return;
        }
        self.config.extend(commit.header.config.clone().unwrap_or_default());
        self.version = version;
    }

    /// At the floor: compares the log's rows below it with those of the segments.
    fn compare(&mut self) {
        if !self.bounds.known {
            return;
        }
        if let (Some(before), Some(prev)) = (self.before, self.bounds.prev)
            && before != prev
        {
            let cause = format!("HEAD's prev is not commit {}, which stands before the floor", self.bounds.floor.0 - 1);
            self.findings.damaged(self.stream.head(), cause, HEAD_AGAIN);
        }
        let below = std::mem::take(&mut self.below);
        if self.applies
            && let Some(cause) = self.fold.disagrees(&below)
        {
            self.findings.damaged(self.stream.head(), cause, HEAD_AGAIN);
        }
    }
}

async fn read(reader: &Reader, stream: &StreamId, version: Version, size: u64) -> Result<SlotContent, StreamError> {
    let held = match reader.whole(&stream.log(version), size).await {
        Ok(held) => held,
        Err(ObjectFault::Missing) => return Ok(SlotContent::Missing),
        Err(ObjectFault::Damaged(cause)) => return Ok(SlotContent::Damaged(cause)),
        Err(ObjectFault::Away(error)) => return Err(error),
    };
    let (bytes, own) = (held.bytes.clone(), stream.to_string());
    let size = bytes.len() as u64;
    let decoded = reader.host().compute(move || {
        let commit = decode_commit(&bytes)?;
        let (found, at) = (&commit.header.stream, commit.header.version);
        if *found != own || at != version {
            let what = format!("it is commit {at} of {found}, expected commit {version} of {own}");
            return Err(FormatError::Damaged(what));
        }
        let link = Chain { nonce: commit.header.nonce, xxh3: Checksum::of(&bytes) };
        Ok((commit, link))
    });
    Ok(match decoded.await? {
        Ok((commit, link)) => SlotContent::Commit(Box::new(commit), link, size),
        Err(cause) => SlotContent::Damaged(cause),
    })
}
