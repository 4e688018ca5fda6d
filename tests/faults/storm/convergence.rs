//! The end of a storm: faults are over, and all stores, a fresh one, the bucket's own objects and the
//! true history must tell the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drumlin::answers::Found;
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, BucketError};
use drumlin::testing::format::head::Head;
use drumlin::testing::format::{decode_commit, decode_segment};
use drumlin::{Consistency, Get, Include, Store};
use drumlin_test_support::model::Model;
use tokio::time::{sleep, timeout};

use super::simulation::World;

/// Store time in which calls under way land and background work comes to rest.
const CALM: Duration = Duration::from_secs(180);
/// Store time after which a request without an answer is one that hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a store says: records by collection name.
type Content = BTreeMap<String, (String, Vec<Found>)>;

/// Lets everything settle, then compares.
pub async fn check(world: &Arc<World>, memory: &MemoryBucket, stores: &[Store]) {
    sleep(CALM).await;
    let bucket: Arc<dyn Bucket> = Arc::new(memory.clone());
    let fresh = Store::open_on(world.settings.clone(), bucket).await.expect("the bucket answers by now");
    let expected = expected(world);
    for (number, store) in stores.iter().chain([&fresh]).enumerate() {
        match timeout(PATIENCE, content(world, store)).await {
            Ok(found) if found == expected => {}
            Ok(found) => world.wrong(format!("store {number} ends with {found:?}, the history with {expected:?}")),
            Err(_) => world.wrong(format!("store {number} does not answer any more")),
        }
    }
    let streams: Vec<(String, Arc<Model>)> = world.bucket.look(|ledger| {
        let live = |(name, s): (&String, &super::ledger::StreamLedger)| {
            (name != "catalog" && !s.ended()).then(|| (name.clone(), s.states.last().cloned().unwrap_or_default()))
        };
        ledger.streams.iter().filter_map(live).collect()
    });
    for (stream, state) in streams {
        match stored(memory, &stream).await {
            Ok(model) if model.records == state.records => {}
            Ok(model) => world.wrong(format!("{stream} is stored as {model:?}, the history says {state:?}")),
            Err(error) => world.wrong(format!("{stream} cannot be read: {error}")),
        }
    }
}

/// What the history says every store should say.
fn expected(world: &World) -> Content {
    world.bucket.look(|ledger| {
        let held = |(name, tenures): (&String, &Vec<super::ledger::Tenure>)| {
            let tenure = tenures.iter().find(|t| t.until.is_none())?;
            let state = ledger.streams.get(&tenure.stream)?.states.last()?;
            Some((name.clone(), (tenure.stream.clone(), state.listed())))
        };
        ledger.names.iter().filter_map(held).collect()
    })
}

async fn content(world: &World, store: &Store) -> Content {
    if let Err(error) = store.sync().await {
        world.wrong(format!("sync after the storm: {error}"));
    }
    let mut content = Content::new();
    for info in store.collections(Consistency::Local).await.unwrap() {
        let collection = match store.collection(&info.name).await {
            Ok(collection) => collection,
            Err(error) if error.kind() == drumlin::ErrorKind::NotFound => continue,
            Err(error) => {
                world.wrong(format!("{} after the storm: {error}", info.name));
                continue;
            }
        };
        let get = Get { include: Include::ALL, consistency: Consistency::Strong, ..Get::default() };
        match collection.get(get).await {
            Ok(answer) => drop(content.insert(info.name, (format!("c/{}", info.id), answer.records))),
            Err(error) => world.wrong(format!("{} after the storm: {error}", info.name)),
        }
    }
    content
}

/// A collection as its objects in the bucket have it: HEAD, segments, log.
async fn stored(memory: &MemoryBucket, stream: &str) -> Result<Model, String> {
    let read = async |key: &str| memory.get(key, None).await.map(|object| object.bytes);
    let head = read(&format!("{stream}/HEAD")).await.map_err(|e| format!("HEAD: {e}"))?;
    let head = Head::decode(&head, stream).map_err(|e| e.to_string())?;
    let mut model = Model::default();
    for entry in &head.segs {
        let bytes = read(&entry.key).await.map_err(|e| format!("{}: {e}", entry.key))?;
        let segment = decode_segment(&bytes).map_err(|e| e.to_string())?;
        for rows in &segment.groups {
            let addresses: Vec<u64> = rows.addresses.iter().flat_map(|a| a.values().iter().copied()).collect();
            model.rows(rows, |row| addresses[row]);
        }
    }
    for version in head.floor.0.. {
        match read(&format!("{stream}/log/{version:020}.parquet")).await {
            Ok(bytes) => model.commit(&decode_commit(&bytes).map_err(|e| e.to_string())?),
            Err(BucketError::NotFound { .. }) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(model)
}
