//! Looks at what a case of the fault matrix has left: everything acknowledged is there, everything works,
//! and in the end nothing is left over that nobody names.

use std::sync::Arc;
use std::time::Duration;

use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::{CollectionId, Store};
use drumlin_test_support::bucket_check::Content;
use tokio::time::{sleep, timeout};

use super::model::{Records, World, Worlds};
use super::run::FOREVER;
use super::script::{self, KEEP};

/// Opens the bucket anew and checks that all is there and all works, and thoroughly: that maintenance and
/// another opening leave it so; where it `sweeps`, also that nothing is left over in the end.
pub async fn check(memory: &MemoryBucket, worlds: &Worlds, thoroughly: bool, sweeps: bool) -> Result<(), String> {
    Content::read(memory).await.check()?;
    let store = reopen(memory).await?;
    worlds.check_all(&read_all(&store).await?)?;
    // Whatever is still under way lands.
    sleep(3 * KEEP).await;
    let mut world = read_all(&store).await?;
    worlds.check_all(&world)?;
    let mut names: Vec<String> = world.collections.keys().cloned().collect();
    names.push("new".to_owned());
    store.create_collection(drumlin::CollectionSpec::new("new")).await.map_err(sentence)?;
    for name in names {
        let more = vec![script::record("after", 7)];
        let collection = script::collection(&store, &name).await.map_err(sentence)?;
        collection.upsert(more.clone()).await.map_err(sentence)?;
        upsert(world.collections.entry(name).or_default(), more);
    }
    if !thoroughly {
        return Content::read(memory).await.check();
    }
    store.admin().maintain().await.map_err(sentence)?;
    Content::read(memory).await.check()?;
    if sweeps {
        store.admin().sweep().await.map_err(sentence)?;
        store.admin().maintain().await.map_err(sentence)?;
        sleep(KEEP + Duration::from_secs(1)).await;
        store.admin().maintain().await.map_err(sentence)?;
        let live: Vec<String> = read_ids(&store).into_iter().map(|id| format!("c/{id}")).collect();
        Content::read(memory).await.check_no_orphans(&live)?;
    }
    drop(store);
    let found = read_all(&reopen(memory).await?).await?;
    Worlds::only(world).check_all(&found)
}

fn read_ids(store: &Store) -> Vec<CollectionId> {
    store.admin().status().collections.into_iter().map(|collection| collection.id).collect()
}

fn upsert(records: &mut Records, more: Records) {
    records.retain(|present| more.iter().all(|m| m.id != present.id));
    records.extend(more);
}

fn sentence(error: drumlin::Error) -> String {
    format!("after reopening: {:?}: {error}", error.kind())
}

async fn reopen(memory: &MemoryBucket) -> Result<Store, String> {
    let opened = timeout(FOREVER, Store::open_on(script::settings(), Arc::new(memory.clone()))).await;
    let store = opened.map_err(|_| "does not open".to_owned())?.map_err(sentence)?;
    timeout(FOREVER, store.wait_until_loaded()).await.map_err(|_| "does not load".to_owned())?;
    let health = store.admin().health();
    match health.damaged.is_empty() && health.status == "ok" {
        true => Ok(store),
        false => Err(format!("not healthy after reopening: {health:?}")),
    }
}

async fn read_all(store: &Store) -> Result<World, String> {
    timeout(FOREVER, script::read_all(store)).await.map_err(|_| "reading hangs".to_owned())?.map_err(sentence)
}
