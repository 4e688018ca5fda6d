//! Many clients that add one record at a time, each waiting for its answer before the next: how many
//! adds share one put. Shared by `benches/group_commit.rs` and `tests/store/cost.rs`.

use std::time::Duration;

use drumlin::testing::bucket::call::Op;
use drumlin::{CollectionSpec, Store};
use futures::future::join_all;
use tokio::time::Instant;

use crate::records::Source;

/// Floats of an embedding.
const DIM: usize = 384;

/// What a run came to.
pub struct Shared {
    /// Adds acknowledged.
    pub adds: u64,
    /// Commits put into the log.
    pub puts: u64,
    /// Time from the first add to the last answer.
    pub time: Duration,
}

/// `clients` at once make `each` adds one after the other on a new collection called `name`.
pub async fn run(store: &Store, name: &str, clients: usize, each: usize) -> Shared {
    let collection = store.create_collection(CollectionSpec::new(name)).await.expect("a free name");
    let mut source = Source::new(3, DIM, 64);
    let records: Vec<_> = (0..clients).map(|_| source.take(each)).collect();
    let puts = store.admin().storage_counters().of(Op::Create).calls;
    let started = Instant::now();
    let adds = records.into_iter().map(|records| {
        let collection = collection.clone();
        tokio::spawn(async move {
            let mut adds = 0;
            for record in records {
                adds += collection.add([record]).await.expect("an add succeeds").applied as u64;
            }
            adds
        })
    });
    let adds = join_all(adds).await.into_iter().map(|added| added.expect("a client finishes")).sum();
    let time = started.elapsed();
    Shared { adds, puts: store.admin().storage_counters().of(Op::Create).calls - puts, time }
}
