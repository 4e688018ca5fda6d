//! What a run of single-record adds costs on a bucket in memory: bytes that stay, bytes written,
//! requests by kind. Runs on paused time, so a month takes no longer than its work. Shared by
//! `benches/cost.rs`, which prints the figures, and `tests/store/cost.rs`, which holds them to the bars.

use std::sync::Arc;
use std::time::Duration;

use drumlin::admin::report::Counters;
use drumlin::settings::Timing;
use drumlin::testing::bucket::Bucket;
use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::count::{Counts, OpCounts};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{CollectionSpec, Record, Settings, Storage, Store};

use crate::records::Source;

/// Floats of an embedding.
pub const DIM: usize = 384;
/// Records of one request while a collection is filled.
const FILL_BATCH: usize = 4_000;

/// Adds, one record each, then rest for maintenance.
pub struct Run {
    /// How many adds.
    pub adds: usize,
    /// Time between two adds.
    pub pace: Duration,
    /// Time after the last add.
    pub rest: Duration,
    /// The protocol's constants.
    pub timing: Timing,
}

/// What a run came to.
pub struct Cost {
    /// Bytes of the records as such.
    pub raw_bytes: u64,
    /// Bytes in the bucket when the last add was acknowledged.
    pub bytes_after_adds: u64,
    /// Bytes in the bucket at the end: everything, and each kind of object.
    pub bytes_at_end: u64,
    /// Of these, commits, segments, graphs; the rest is HEADs and lists.
    pub log_bytes: u64,
    /// Segments.
    pub segment_bytes: u64,
    /// Graphs.
    pub graph_bytes: u64,
    /// Calls and bytes by kind from the create of the collection to the end.
    pub counts: Vec<(Op, OpCounts)>,
    /// What the store did.
    pub counters: Counters,
}

impl Cost {
    /// Bytes sent to the bucket in all.
    pub fn bytes_written(&self) -> u64 {
        self.counts.iter().map(|(_, counts)| counts.bytes_sent).sum()
    }

    /// `bytes` as a multiple of the raw bytes.
    pub fn times_raw(&self, bytes: u64) -> f64 {
        bytes as f64 / self.raw_bytes as f64
    }
}

/// The protocol's constants with T_KEEP and T_GARBAGE of seconds; a lease fits in T_KEEP twelve times.
pub fn seconds() -> Timing {
    Timing {
        lease: Duration::from_millis(500),
        keep: Duration::from_secs(10),
        garbage: Duration::from_secs(5),
        collect_interval: Duration::from_secs(1),
        maintenance_interval: Duration::from_millis(500),
        swap_interval: Duration::ZERO,
        ..Timing::default()
    }
}

fn memory() -> Arc<dyn Bucket> {
    Arc::new(MemoryBucket::new(StoreClock::machine()))
}

/// Does the run. Needs tokio's time to be paused.
pub async fn run(run: Run) -> Cost {
    let bucket = memory();
    let mut settings = Settings::new(Storage::Memory);
    settings.timing = run.timing;
    let store = Store::open_on(settings, bucket.clone()).await.expect("a bucket in memory opens");
    let collection = store.create_collection(CollectionSpec::new("cost")).await.expect("the name");
    let before = store.admin().storage_counters();
    let mut source = Source::new(1, DIM, 64);
    let mut raw = 0;
    for _ in 0..run.adds {
        let record = source.take(1);
        raw += record.iter().map(raw_bytes).sum::<u64>();
        let outcome = collection.add(record.clone()).await.expect("an add succeeds");
        assert_eq!(outcome.applied, 1);
        tokio::time::sleep(run.pace).await;
    }
    let bytes_after_adds = stored(&bucket, "").await;
    tokio::time::sleep(run.rest).await;
    let counts = since(&before, &store.admin().storage_counters());
    Cost {
        raw_bytes: raw,
        bytes_after_adds,
        bytes_at_end: stored(&bucket, "").await,
        log_bytes: stored(&bucket, "/log/").await,
        segment_bytes: stored(&bucket, "/seg/").await,
        graph_bytes: stored(&bucket, "/graph/").await,
        counts,
        counters: store.admin().counters(),
    }
}

/// Calls and bytes of one add to a collection that holds `records` already, and the record's raw bytes.
pub async fn one_add(records: usize) -> (Vec<(Op, OpCounts)>, u64) {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    let store = Store::open_on(settings, memory()).await.expect("a bucket in memory opens");
    let collection = store.create_collection(CollectionSpec::new("cost")).await.expect("the name");
    let mut source = Source::new(2, DIM, 64);
    let mut filled = 0;
    while filled < records {
        let batch = source.take(FILL_BATCH.min(records - filled));
        filled += collection.add(batch.clone()).await.expect("a batch is added").applied;
    }
    store.sync().await.expect("a flush succeeds");
    let before = store.admin().storage_counters();
    let record = source.take(1);
    assert_eq!(collection.add(record.clone()).await.expect("an add succeeds").applied, 1);
    (since(&before, &store.admin().storage_counters()), record.iter().map(raw_bytes).sum())
}

/// What was counted between two moments, by kind, where there was anything.
fn since(before: &Counts, after: &Counts) -> Vec<(Op, OpCounts)> {
    let difference = |(op, after): (Op, OpCounts)| {
        let before = before.of(op);
        let counts = OpCounts {
            calls: after.calls - before.calls,
            exists: after.exists - before.exists,
            not_found: after.not_found - before.not_found,
            refused: after.refused - before.refused,
            unknown: after.unknown - before.unknown,
            bytes_sent: after.bytes_sent - before.bytes_sent,
            bytes_received: after.bytes_received - before.bytes_received,
            waited_us: after.waited_us - before.waited_us,
        };
        (op, counts)
    };
    after.iter().map(difference).filter(|(_, counts)| counts.calls > 0).collect()
}

/// Bytes of all objects whose keys contain `part`.
async fn stored(bucket: &Arc<dyn Bucket>, part: &str) -> u64 {
    let mut after = None::<String>;
    let mut bytes = 0;
    loop {
        let page = bucket.list("", after.as_deref()).await.expect("a bucket in memory lists");
        bytes += page.objects.iter().filter(|o| o.key.contains(part)).map(|o| o.size_bytes).sum::<u64>();
        after = page.objects.last().map(|o| o.key.clone());
        if !page.more {
            return bytes;
        }
    }
}

/// Bytes of a record as such: 4 per float, and its id, document and metadata as text.
fn raw_bytes(record: &Record) -> u64 {
    let metadata = record.metadata.as_ref().map_or(0, |m| m.to_json_text().len());
    let document = record.document.as_ref().map_or(0, String::len);
    (4 * record.embedding.len() + record.id.len() + document + metadata) as u64
}
