//! Checking one stream: HEAD, every object that it names, the log, the lists of what it has let go, and objects that
//! nothing names. Invariants: where a HEAD that moved on explains a finding, the stream is checked again instead of a
//! report; only damage that two looks in a row find is reported as damage.

mod lists;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::commits::{HEAD_AGAIN, LogBounds, LogWalk, RESTORE};
use super::file_check;
use super::fold::Fold;
use super::inventory::{Inventory, StreamObjects};
use super::objects::{ObjectFault, Reader};
use super::report::{Amount, Findings, StreamCheck};
use super::root;
use crate::bucket::StoreTime;
use crate::bucket::fetch::PIECE_BYTES;
use crate::bucket::keys::StreamId;
use crate::error::{Error, Result};
use crate::format::file_record::holds_files;
use crate::format::head::{GraphEntry, Head, Life, MapEntry, SegmentEntry};
use crate::head::{self, HeadError, HeadRead};
use crate::record::{Metric, Version};
use crate::stream::context::StreamError;

/// How often a stream that others change is checked.
const ATTEMPTS: usize = 4;
/// The remedy for a damaged graph.
const REBUILD: &str = "nothing is lost: searches scan these records until a server has built the graph anew";
/// The remedy for a damaged inverted index.
const REINDEX: &str = "nothing is lost: searches index these records anew, and a server that cannot use it replaces it";

/// The remedy for a damaged map.
const REDRAW: &str = "nothing is lost: whoever asks for the map next has it made anew";

/// What is said of a graph, an inverted index or a map that a server had no memory for.
const NOT_WHOLE: (&str, &str) = (
    "its size and checksum are right; the rest was not checked, since there is no memory to read it whole",
    "`drumlin verify` on another machine checks it whole",
);

/// Knowledge of a stream from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// Tenant, database and name.
    pub name: Option<String>,
    /// How distance is measured.
    pub metric: Option<Metric>,
    /// Whether the catalog has a live record of this stream.
    pub live: bool,
    /// Whether the catalog has any record of it.
    pub recorded: bool,
    /// The version with which it begins to be whole: that at which it took the place of another, or 0.
    pub complete_at: Version,
    /// How long servers keep replaced objects (T_GARBAGE).
    pub kept: Duration,
}

impl Expected {
    /// The expectations of the catalog.
    pub fn catalog() -> Expected {
        Expected { name: Some("the catalog".to_owned()), live: true, recorded: true, ..Expected::default() }
    }
}

/// A check of one stream, and the catalog's records if they were wanted.
pub struct Checked {
    pub report: StreamCheck,
    pub texts: BTreeMap<String, String>,
}

/// Checks the stream `id`; `objects` is its listing, if there is one already.
pub async fn check(
    reader: &Reader,
    id: &StreamId,
    expected: &Expected,
    mut objects: Option<StreamObjects>,
) -> Result<Checked> {
    let mut reads = reader.reread.begin();
    let mut earlier: Option<Findings> = None;
    for attempt in 1.. {
        let again = reader.fresh();
        let reader = if attempt == 1 { reader } else { &again };
        let listed = match objects.take() {
            Some(objects) => objects,
            None => Inventory::of_stream(reader.bucket.as_ref(), id).await.map_err(StreamError::from)?,
        };
        let read = head::read(reader.bucket.as_ref(), id, reader.reread).await;
        let before = read.as_ref().map(|read| read.etag.clone()).ok();
        let mut check = Check::new(reader, id, expected, &listed);
        let texts = check.run(read).await?;
        let mut report = check.report;
        if report.findings.0.is_empty() {
            return Ok(Checked { report, texts });
        }
        // Another instance may have moved HEAD on meanwhile; that explains a missing object.
        let after = head::look(reader.bucket.as_ref(), id, reader.reread.once()).await.map(|read| read.etag).ok();
        let twice = earlier.as_ref() == Some(&report.findings);
        if (after == before && (twice || !report.findings.any_damage())) || attempt >= ATTEMPTS {
            if let Some(earlier) = earlier.filter(|_| !twice) {
                report.findings.keep_damage_of(&earlier);
            }
            return Ok(Checked { report, texts });
        }
        earlier = Some(report.findings);
        reads.again().await;
    }
    Err(Error::internal("a stream was looked at without end"))
}

struct Check<'a> {
    reader: &'a Reader,
    id: &'a StreamId,
    name: String,
    expected: &'a Expected,
    objects: &'a StreamObjects,
    report: StreamCheck,
    /// Store time at which HEAD was read.
    date: Option<StoreTime>,
    /// Keys that HEAD names, either itself or in its lists.
    named: BTreeSet<String>,
}

impl<'a> Check<'a> {
    fn new(reader: &'a Reader, id: &'a StreamId, expected: &'a Expected, objects: &'a StreamObjects) -> Check<'a> {
        let name = id.to_string();
        let report =
            StreamCheck { stream: name.clone(), name: expected.name.clone(), state: "live", ..StreamCheck::default() };
        Check { reader, id, name, expected, objects, report, date: None, named: BTreeSet::new() }
    }

    async fn run(&mut self, read: Result<HeadRead, HeadError>) -> Result<BTreeMap<String, String>> {
        for key in self.objects.strange.clone() {
            let remedy = "it means nothing to Drumlin; delete it";
            self.report.findings.note(key, "no object of a stream has such a key", remedy);
        }
        let read = match read {
            Ok(read) => read,
            Err(HeadError::Bucket(error)) => return Err(StreamError::from(error).into()),
            Err(error) => return self.without_head(&error).await,
        };
        self.report.checked.add(self.objects.head.as_ref().map_or(0, |head| head.size_bytes));
        self.date = read.date;
        root::judge(&read, self.id, &mut self.report.findings);
        if read.head.state == Life::Dropped {
            self.dropped();
            return Ok(BTreeMap::new());
        }
        if !self.expected.recorded && *self.id != StreamId::Catalog {
            self.report.state = "orphaned";
            let cause =
                "the catalog has no record of this collection: a create or fork that came to nothing or is under way";
            self.report.findings.note(self.id.head(), cause, "nothing to do: a server sweeps it once it is a day old");
        }
        self.live(&read.head).await
    }

    fn dropped(&mut self) {
        self.report.state = "dropped";
        self.report.garbage = self.objects.without_head().map(|object| object.size_bytes).collect();
        if self.expected.live {
            let cause = "it is dropped, but the catalog's record of the collection is live: a drop is under way, or was cut short";
            self.report.findings.note(
                self.id.head(),
                cause,
                "nothing to do: any server that runs here finishes the drop",
            );
        }
    }

    /// Checks what can be checked where HEAD cannot be read.
    async fn without_head(&mut self, error: &HeadError) -> Result<BTreeMap<String, String>> {
        self.report.state = "unreadable";
        let missing = *error == HeadError::Missing;
        if missing && !self.expected.recorded && *self.id != StreamId::Catalog && self.objects.log.is_empty() {
            self.report.state = "orphaned";
            let cause = "it is missing: a fork that came to nothing or is under way left other objects";
            self.report.findings.note(
                self.id.head(),
                cause,
                "nothing to do: a server sweeps them once they are a day old",
            );
            return Ok(BTreeMap::new());
        }
        if !self.expected.recorded && missing && *self.id != StreamId::Catalog {
            let cause = "it is missing, but the stream has a log: HEAD is never deleted by Drumlin";
            self.report.findings.damaged(self.id.head(), cause, HEAD_AGAIN);
        } else if !(missing && self.expected.recorded && !self.expected.live) {
            self.report.findings.damaged(self.id.head(), error, HEAD_AGAIN);
        }
        let first = self.objects.log.keys().next().copied();
        if let Some(gone) = first {
            let bounds = LogBounds { gone, floor: gone, prev: None, known: false };
            let fold = (Fold::default(), &mut self.report.findings);
            let mut walk = LogWalk::new(self.reader, self.id, bounds, &self.objects.log, fold);
            walk.run().await?;
            let checked = walk.checked;
            self.report.checked = self.report.checked.plus(checked);
        }
        for (key, object) in &self.objects.segments {
            let size = object.size_bytes;
            let last = self.reader.whole_tail(key, size).await;
            let read = match last {
                Ok(last) => self.reader.opened(key, size, last, &mut |_| Ok(())).await.map(drop),
                Err(fault) => Err(fault),
            };
            self.judged((key, size), key, read, RESTORE)?;
        }
        Ok(BTreeMap::new())
    }

    /// Reports the fault of an object that `witness` names, if it has one; returns whether it passed.
    fn judged(
        &mut self,
        (key, size): (&str, u64),
        witness: &str,
        read: Result<(), ObjectFault>,
        remedy: &str,
    ) -> Result<bool> {
        let cause = match read {
            Ok(()) => {
                self.report.checked.add(size);
                return Ok(true);
            }
            Err(ObjectFault::Away(error)) => return Err(error.into()),
            Err(ObjectFault::Missing) => format!("{witness} names it, but it is missing"),
            Err(ObjectFault::Damaged(cause)) => cause.to_string(),
        };
        self.report.findings.damaged(key, cause, remedy);
        if witness != key {
            // The witness may be an old one that was put back, or of a version that wrote no seals.
            let cause = format!("what it says of {key} does not fit: the object is damaged, or this is");
            self.report.findings.suspicious(witness, cause, HEAD_AGAIN);
        }
        Ok(false)
    }

    /// Whether the records are those of files. Where the catalog does not tell, the parts of files beside them do.
    fn holds_files(&self, head: &Head) -> bool {
        let named = |name: &String| name.rsplit('/').next().is_some_and(holds_files);
        let holds = self.expected.name.as_ref().map_or(!self.objects.file_parts.is_empty(), named);
        holds && head.config.dimension == Some(0)
    }

    async fn live(&mut self, head: &Head) -> Result<BTreeMap<String, String>> {
        let fold = match self.id {
            StreamId::Catalog => Fold::with_texts(),
            StreamId::Collection(_) if self.holds_files(head) => Fold::with_files(),
            StreamId::Collection(_) => Fold::default(),
        };
        let rows = head.segs.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.rows));
        let _room = self.reader.host().room_for_rows(rows).await?;
        let (fold, whole) = self.segments(head, fold).await?;
        let bounds = LogBounds { gone: head.gone, floor: head.floor, prev: head.prev, known: true };
        let parts = (fold, &mut self.report.findings);
        let mut walk = LogWalk::new(self.reader, self.id, bounds, &self.objects.log, parts);
        walk.applies = whole;
        walk.run().await?;
        let (checked, version, dropped) = (walk.checked, walk.version, walk.dropped);
        let (fold, config, applied) = (walk.fold, walk.config, walk.applies);
        self.report.checked = self.report.checked.plus(checked);
        (self.report.version, self.report.records) = (version, if whole { fold.live() } else { 0 });
        if dropped {
            self.report.state = "dropped";
        }
        let dimension = config.dimension.or(head.config.dimension).map(|dimension| dimension as u64);
        for entry in &head.graphs {
            self.graph(entry, &fold, dimension).await?;
            if applied && whole && !dropped && entry.hi > version {
                let missing = self.id.log(version.next());
                let cause =
                    format!("it is missing: a graph covers commits up to {}, but the log ends at {version}", entry.hi);
                self.report.findings.damaged(missing, cause, RESTORE);
            }
        }
        if let Some(entry) = &head.map {
            self.map(entry, dimension).await?;
        }
        self.lists(head).await?;
        self.unnamed(head).await?;
        if let Some(files) = fold.files() {
            file_check::check(self.reader, self.id, files, self.objects, &mut self.report).await?;
        }
        Ok(fold.into_texts())
    }

    /// Checks the segments in order and folds their rows; returns whether all are whole.
    async fn segments(&mut self, head: &Head, mut fold: Fold) -> Result<(Fold, bool)> {
        let dimension = head.config.dimension.unwrap_or(0) as u64;
        let mut whole = true;
        for entry in &head.segs {
            self.named.insert(entry.key.clone());
            let read = self.reader.segment(&self.name, entry, |rows| fold.take_segment(rows, entry.lo)).await;
            let read = read.map(|reader| reader.header().dim as u64);
            if let Ok(found) = read
                && found != 0
                && found != dimension
            {
                let cause = format!("its config says dimension {dimension}, {} has embeddings of {found}", entry.key);
                self.report.findings.damaged(self.id.head(), cause, HEAD_AGAIN);
            }
            whole &= self.judged((&entry.key, entry.bytes), &self.id.head(), read.map(drop), RESTORE)?;
            self.inverted(entry).await?;
        }
        Ok((fold, whole))
    }

    /// Checks the inverted indexes of a segment.
    async fn inverted(&mut self, segment: &SegmentEntry) -> Result<()> {
        for entry in &segment.inverted {
            self.named.insert(entry.key.clone());
            let read = self.reader.inverted(&self.name, segment, entry).await;
            if matches!(read, Ok(false)) {
                self.report.findings.note(entry.key.clone(), NOT_WHOLE.0, NOT_WHOLE.1);
            }
            self.judged((&entry.key, entry.bytes), &self.id.head(), read.map(drop), REINDEX)?;
        }
        Ok(())
    }

    async fn graph(&mut self, entry: &GraphEntry, fold: &Fold, dimension: Option<u64>) -> Result<()> {
        self.named.insert(entry.key.clone());
        let read = self.reader.graph(&self.name, entry).await;
        if matches!(read, Ok(None)) {
            self.report.findings.note(entry.key.clone(), NOT_WHOLE.0, NOT_WHOLE.1);
        }
        if let Ok(Some(held)) = &read {
            let graph = &held.columns;
            let header = graph.header();
            self.fits(&entry.key, (header.dim, header.metric), dimension, REBUILD);
            let embedded = fold.embedded();
            let alive = graph.columns().addresses.iter().filter(|address| embedded.contains(address)).count();
            if alive == 0 && !embedded.is_empty() {
                let cause = "none of its nodes is a live record's embedding";
                self.report.findings.note(entry.key.clone(), cause, "nothing to do: a server merges it away");
            }
        }
        self.judged((&entry.key, entry.bytes), &self.id.head(), read.map(drop), REBUILD)?;
        Ok(())
    }

    /// Checks that a graph or a map is of embeddings such as the collection's.
    fn fits(&mut self, key: &str, (dim, metric): (usize, Metric), dimension: Option<u64>, remedy: &str) {
        let expected = self.expected.metric;
        if Some(dim as u64) != dimension || expected.is_some_and(|expected| expected != metric) {
            let cause = format!("it is of {dim} floats by {metric}, the collection of {dimension:?} by {expected:?}");
            self.report.findings.damaged(key.to_owned(), cause, remedy);
        }
    }

    async fn map(&mut self, entry: &MapEntry, dimension: Option<u64>) -> Result<()> {
        self.named.insert(entry.key.clone());
        let read = self.reader.map(&self.name, entry).await;
        match &read {
            Ok(Some(map)) => {
                let header = map.header();
                self.fits(&entry.key, (header.dim, header.metric), dimension, REDRAW);
            }
            Ok(None) => self.report.findings.note(entry.key.clone(), NOT_WHOLE.0, NOT_WHOLE.1),
            Err(_) => {}
        }
        self.judged((&entry.key, entry.bytes), &self.id.head(), read.map(drop), REDRAW)?;
        Ok(())
    }

    /// Counts objects that nothing names, and checks whether they show that HEAD is not the newest.
    async fn unnamed(&mut self, head: &Head) -> Result<()> {
        let below = self.objects.log.range(..head.gone).map(|(_, object)| object.size_bytes);
        let below: Amount = below.collect();
        self.report.garbage = self.report.garbage.plus(below);
        let caches = self.objects.caches().filter(|o| !self.named.contains(&o.key)).map(|o| o.size_bytes);
        let lists = self.objects.retired.iter().filter(|(ulid, _)| head.retired.iter().all(|r| r.ulid != **ulid));
        let others: Amount = caches.chain(lists.map(|(_, object)| object.size_bytes)).collect();
        self.report.orphans = others;
        let segments: Vec<(String, u64)> = self
            .objects
            .segments
            .values()
            .filter(|object| !self.named.contains(&object.key))
            .map(|object| (object.key.clone(), object.size_bytes))
            .collect();
        for (key, size) in segments {
            self.report.orphans.add(size);
            let Some((lo, hi)) = self.reader.versions(&key, size).await? else { continue };
            if hi >= head.floor && hi <= self.report.version.max(head.floor) {
                let cause = format!(
                    "{key} holds commits {lo} to {hi}, but HEAD's floor is {}: a flush that came to nothing or is under \
                     way; or HEAD is an old one that was put back",
                    head.floor
                );
                let remedy = "if HEAD was put back from a backup, put back the newest one";
                self.report.findings.suspicious(self.id.head(), cause, remedy);
            }
        }
        Ok(())
    }
}

impl Reader {
    /// The last bytes of an object, at most a piece of them.
    async fn whole_tail(&self, key: &str, size: u64) -> Result<bytes::Bytes, ObjectFault> {
        let start = size.saturating_sub(PIECE_BYTES);
        Ok(self.get(key, Some(start..size.max(1))).await?.bytes)
    }

    /// The versions in the footer of an object under `seg/`, if it can be read.
    async fn versions(&self, key: &str, size: u64) -> Result<Option<(Version, Version)>> {
        const FOOTER_BYTES: u64 = 64 << 10;
        let start = size.saturating_sub(FOOTER_BYTES);
        let last = match self.get(key, Some(start..size.max(1))).await.map_err(ObjectFault::from) {
            Ok(object) => object.bytes,
            Err(ObjectFault::Away(error)) => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let pieces = crate::format::Pieces::new(size, [(start, last)]);
        if !crate::format::SegmentReader::can_open(&pieces) {
            return Ok(None);
        }
        let opened = crate::format::SegmentReader::open(&pieces);
        Ok(opened.ok().map(|reader| (reader.header().lo, reader.header().hi)))
    }
}
