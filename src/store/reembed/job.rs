//! The job of a re-embedding: it brings the new collection up to date with the old one, round by round, and hands over.
//! Invariants: the new collection is read before the old one, and written only if nobody else wrote to it since. So
//! whatever it was made of is no newer than what is compared with it, and several jobs on it do no harm
//! (docs/protocol.md#handover).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Reembed, ReembedState, ReembedStatus, abandoned, without_document};
use crate::bucket::backoff;
use crate::collection::handle::{Collection, HOLD};
use crate::collection::pin::PinGuard;
use crate::collection::read::difference::Difference;
use crate::collection::request::{Selection, TextRole, Write};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Successor;
use crate::record::{CollectionId, Record, Version};
use crate::store::catalog::CollectionRecord;
use crate::store::{Inner, lifecycle};

/// Records of one commit, and roughly the bytes of their documents.
const BATCH_RECORDS: usize = 128;
const BATCH_BYTES: usize = 1 << 20;
/// Records between two comparisons: a comparison goes through all records of both collections.
const ROUND_RECORDS: usize = 65_536;
/// So many records may be missing when the handover begins: they are embedded while writers wait.
const LAST_RECORDS: usize = 256;
/// Failures in a row that the job outlasts, such as those of a bucket or a service that is away.
const FAILURES: u32 = 20;
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How long another job may write nothing before this one takes over.
const PATIENCE: Duration = Duration::from_secs(20);

/// A job, and what is known of it.
#[derive(Debug)]
pub(in crate::store) struct ReembedJob {
    pub(super) source: CollectionId,
    pub(super) target: CollectionId,
    wanted: Reembed,
    started: Instant,
    embedded: AtomicU64,
    of: AtomicU64,
    texts: AtomicU64,
    /// What it waits for.
    trouble: Mutex<Option<String>>,
    /// Milliseconds that it took, once it has ended.
    took_ms: AtomicU64,
    end: watch::Sender<Option<Result<()>>>,
    stop: watch::Sender<bool>,
}

/// Starts a job.
pub(super) fn start(inner: &Arc<Inner>, of: (CollectionId, CollectionId), wanted: Reembed) -> Arc<ReembedJob> {
    let job = Arc::new(ReembedJob {
        source: of.0,
        target: of.1,
        wanted,
        started: Instant::now(),
        embedded: AtomicU64::new(0),
        of: AtomicU64::new(0),
        texts: AtomicU64::new(0),
        trouble: Mutex::new(None),
        took_ms: AtomicU64::new(0),
        end: watch::Sender::new(None),
        stop: watch::Sender::new(false),
    });
    let (weak, started, mut sign) = (Arc::downgrade(inner), job.clone(), inner.closing.watch());
    tokio::spawn(async move {
        let mut stop = started.stop.subscribe();
        let end = tokio::select! {
            () = sign.given() => Err(Error::unavailable("the store was closed; ask for it again to go on with it")),
            _ = stop.wait_for(|stop| *stop) => Err(Error::unavailable("it was stopped")),
            end = started.work(weak) => end,
        };
        if let Err(error) = &end {
            tracing::warn!(source = %started.source, %error, "a collection was not embedded anew");
        }
        started.took_ms.store(started.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        started.end.send_replace(Some(end));
    });
    job
}

impl ReembedJob {
    pub(super) fn is_running(&self) -> bool {
        self.end.borrow().is_none()
    }

    /// Whether it is the job that is asked for.
    pub(super) fn makes(&self, wanted: &Reembed, record: &CollectionRecord) -> bool {
        let metric = |asked: &Reembed| asked.metric.unwrap_or(record.configuration.metric);
        self.wanted.embedder == wanted.embedder && metric(&self.wanted) == metric(wanted)
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> Result<()> {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| end.clone()).unwrap_or_else(|| Err(Error::unavailable("the store was closed")))
    }

    /// Stops it, and waits until it writes nothing more.
    pub(super) async fn stop(&self) {
        self.stop.send_replace(true);
        // How it ended does not matter.
        let _ = self.ended().await;
    }

    pub(super) fn status(&self) -> ReembedStatus {
        let end = self.end.borrow().clone();
        let (state, error) = match end {
            None => (ReembedState::Running, self.trouble.lock().clone()),
            Some(Ok(())) => (ReembedState::Done, None),
            Some(Err(error)) => (ReembedState::Failed, Some(error.message().to_owned())),
        };
        let took_ms = match self.took_ms.load(Ordering::Relaxed) {
            0 => self.started.elapsed().as_millis() as u64,
            took_ms => took_ms,
        };
        let texts_per_s = self.texts.load(Ordering::Relaxed) as f64 * 1000.0 / took_ms.max(1) as f64;
        ReembedStatus {
            state,
            embedder: Some(self.wanted.embedder.clone()),
            embedded: self.embedded.load(Ordering::Relaxed),
            of: self.of.load(Ordering::Relaxed),
            texts_per_s: (texts_per_s * 10.0).round() / 10.0,
            error,
        }
    }

    async fn work(&self, weak: Weak<Inner>) -> Result<()> {
        let (mut failures, mut handovers) = (0, 0);
        loop {
            let inner = weak.upgrade().ok_or_else(|| Error::unavailable("the store was closed"))?;
            let step = self.step(&inner).await;
            if step.is_ok() {
                failures = 0;
                *self.trouble.lock() = None;
            }
            let error = match step {
                Ok(RoundEnd::Done) => return self.finish(&inner).await,
                Ok(RoundEnd::More) => continue,
                Ok(RoundEnd::Outrun) => {
                    handovers += 1;
                    *self.trouble.lock() =
                        Some("others keep writing to the collection; it waits for a pause".to_owned());
                    drop(inner);
                    backoff::pause(HOLD, PAUSE.1, handovers).await;
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::NotFound => return self.after_the_end(&inner, error).await,
                ErrorKind::Conflict => {
                    *self.trouble.lock() = Some("another server works on it".to_owned());
                    drop(inner);
                    self.wait_for_other(&weak).await?;
                }
                _ if failures >= FAILURES || !is_passing(&error) => return Err(error),
                _ => {
                    *self.trouble.lock() = Some(error.message().to_owned());
                    drop(inner);
                    backoff::pause(PAUSE.0, PAUSE.1, failures).await;
                    failures += 1;
                }
            }
        }
    }

    /// One round of embedding, or the handover.
    async fn step(&self, inner: &Arc<Inner>) -> Result<RoundEnd> {
        let pair = Pair::open(inner, self).await?;
        let round = pair.compare(ROUND_RECORDS).await?;
        self.note(&round);
        let missing = &round.difference.missing;
        if missing.len() <= pair.last_records() && round.fits_one_commit(missing) {
            return self.hand_over(&pair).await;
        }
        let mut version = round.target.version();
        let mut rest = round.difference.missing.as_slice();
        let mut surplus = round.difference.surplus.clone();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(round.batch(rest, pair.batch_records()));
            version = self.write(&pair, &round, (std::mem::take(&mut surplus), batch, version)).await?;
            self.embedded.store(pair.target.present().count(), Ordering::Relaxed);
            rest = after;
        }
        Ok(RoundEnd::More)
    }

    fn note(&self, round: &Round) {
        self.of.store(round.source.count(), Ordering::Relaxed);
        self.embedded.store(round.target.count(), Ordering::Relaxed);
    }

    /// Embeds records and writes them, unless another job wrote since `version`. Returns the version after that.
    async fn write(
        &self,
        pair: &Pair,
        round: &Round,
        (surplus, rows, version): (Vec<String>, &[RowRef], Version),
    ) -> Result<Version> {
        let mut records: Vec<Record> =
            rows.iter().map(|at| round.source.record_to_embed(*at)).collect::<Result<_>>()?;
        let texts: Vec<String> = records.iter().filter_map(|record| record.document.clone()).collect();
        if texts.len() < records.len() {
            return Err(without_document(&pair.source.name(), (records.len() - texts.len()) as u64));
        }
        let embeddings = pair.target.embed(texts, TextRole::Passage).await?;
        self.texts.fetch_add(embeddings.len() as u64, Ordering::Relaxed);
        for (record, embedding) in records.iter_mut().zip(embeddings) {
            record.embedding = embedding;
        }
        let mut version = version;
        let mut deletes = surplus
            .chunks(pair.batch_records())
            .map(|ids| Write::Delete(Selection { ids: Some(ids.to_vec()), ..Selection::default() }));
        // A record at a later place goes before it is put there.
        let last = deletes.next_back();
        for delete in deletes {
            version = pair.target.write_after(Some(version), vec![delete]).await?;
        }
        let put = (!records.is_empty()).then_some(Write::Upsert(records));
        pair.target.write_after(Some(version), last.into_iter().chain(put).collect()).await
    }

    /// The last records, and the end of the old collection (docs/protocol.md#handover).
    async fn hand_over(&self, pair: &Pair) -> Result<RoundEnd> {
        pair.source.hold().await?;
        let held = Instant::now();
        while held.elapsed() < HOLD {
            let round = pair.compare(pair.last_records() + 1).await?;
            self.note(&round);
            let Difference { surplus, missing, .. } = &round.difference;
            if missing.len() > pair.last_records() || !round.fits_one_commit(missing) {
                return Ok(RoundEnd::Outrun);
            }
            // IMPORTANT: write even if nothing is missing. Whatever another job wants to write follows from an earlier
            // version, so from here on it cannot.
            let version = self.write(pair, &round, (surplus.clone(), missing, round.target.version())).await?;
            let successor = Successor { collection: self.target, version };
            match pair.source.end_after(round.source.version(), Some(successor)).await {
                Ok(()) => return Ok(RoundEnd::Done),
                // Somebody wrote to the old collection: what that was is missing in the new one.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Ok(RoundEnd::Outrun)
    }

    /// The old collection has ended: what is left to do is done by whoever meets it first.
    async fn finish(&self, inner: &Arc<Inner>) -> Result<()> {
        let mut failures = 0;
        while let Err(error) = lifecycle::finish_drop(inner, self.source).await {
            if failures >= FAILURES {
                return Err(error);
            }
            *self.trouble.lock() = Some(error.message().to_owned());
            backoff::pause(PAUSE.0, PAUSE.1, failures).await;
            failures += 1;
        }
        let count = inner.entry(self.target).and_then(|entry| entry.ready()).map(|target| target.present().count());
        if let Some(count) = count {
            self.embedded.store(count, Ordering::Relaxed);
            self.of.store(count, Ordering::Relaxed);
        }
        Ok(())
    }

    /// One of the two is gone: this job or another one was done, or somebody dropped it.
    async fn after_the_end(&self, inner: &Arc<Inner>, error: Error) -> Result<()> {
        inner.follow_catalog().await?;
        let handing_over = inner.entry(self.source).and_then(|entry| entry.ready());
        let handing_over = handing_over.and_then(|source| source.stream().shared().successor());
        if handing_over.is_some_and(|to| to.collection == self.target) {
            return self.finish(inner).await;
        }
        let view = inner.view.load_full();
        let replaced = view.collections.get(&self.target).and_then(|record| record.replaces);
        match replaced.is_some_and(|replaced| replaced.collection == self.source) {
            true => self.finish(inner).await,
            false => {
                abandoned::drop_left_over(inner).await;
                Err(error)
            }
        }
    }

    /// Waits until nobody writes to the new collection any more.
    async fn wait_for_other(&self, weak: &Weak<Inner>) -> Result<()> {
        let mut seen = None;
        loop {
            let inner = weak.upgrade().ok_or_else(|| Error::unavailable("the store was closed"))?;
            let opened = Pair::open(&inner, self).await;
            drop(inner);
            let version = match opened {
                Ok(pair) => pair.target.newest().await.map(|snapshot| snapshot.version()),
                Err(error) => Err(error),
            };
            // The round that follows tells better what is wrong.
            let Ok(version) = version else { return Ok(()) };
            if seen == Some(version) {
                return Ok(());
            }
            seen = Some(version);
            tokio::time::sleep(PATIENCE.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
        }
    }
}

/// How far a step came.
enum RoundEnd {
    /// There is more to embed.
    More,
    /// Writers kept writing during the handover.
    Outrun,
    /// The old collection has ended.
    Done,
}

/// Whether the same may succeed later.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown | ErrorKind::NoRoom)
}

/// Both collections, in memory.
struct Pair {
    source: PinGuard,
    target: PinGuard,
}

impl Pair {
    async fn open(inner: &Arc<Inner>, job: &ReembedJob) -> Result<Pair> {
        let open = |id: CollectionId| {
            let entry = inner.entry(id).ok_or_else(|| crate::store::catalog::no_collection(id));
            async move { Ok::<PinGuard, Error>(entry?.opened().await?) }
        };
        Ok(Pair { source: open(job.source).await?, target: open(job.target).await? })
    }

    fn batch_records(&self) -> usize {
        BATCH_RECORDS.min(self.target.surroundings().limits.batch_records).max(1)
    }

    fn last_records(&self) -> usize {
        LAST_RECORDS.min(self.target.surroundings().limits.batch_records)
    }

    /// What the new collection lacks.
    async fn compare(&self, limit: usize) -> Result<Round> {
        // IMPORTANT: the new one first. The old one is then no older than anything that the new one was made of.
        let target = newest(&self.target).await?;
        let source = newest(&self.source).await?;
        let (ours, theirs) = (source.clone(), target.clone());
        let compare = move |interrupt: &crate::interrupt::Interrupt| ours.difference(&theirs, limit, interrupt);
        let difference = self.source.compute().search(compare).await??;
        Ok(Round { source, target, difference })
    }
}

async fn newest(collection: &Collection) -> Result<Arc<Snapshot>> {
    collection.pins().touch();
    collection.newest().await
}

/// Both at one version each, and what the new one lacks.
struct Round {
    source: Arc<Snapshot>,
    target: Arc<Snapshot>,
    difference: Difference,
}

impl Round {
    /// Whether these rows are few enough for one commit.
    fn fits_one_commit(&self, rows: &[RowRef]) -> bool {
        rows.is_empty() || self.batch(rows, rows.len()) == rows.len()
    }

    /// How many of the rows go into one commit.
    fn batch(&self, rows: &[RowRef], most: usize) -> usize {
        let mut bytes = 0;
        let fits = rows.iter().take(most).take_while(|at| {
            bytes += self.source.document_bytes(**at);
            bytes <= BATCH_BYTES
        });
        fits.count().max(1)
    }
}
