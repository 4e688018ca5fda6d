//! A tenth of the matrix through the real SDK: the requests go over the wire to the S3 server in this
//! process, which refuses them, answers late or wrongly, or cuts the connection before or after they took effect.
//! Time is real here, so nothing waits: T_KEEP and T_GARBAGE are nought.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drumlin::testing::bucket::Bucket;
use drumlin::testing::bucket::s3::{S3Bucket, S3Settings};
use drumlin::{Consistency, Settings, Store};
use drumlin_test_servers::{ACCESS_KEY, BUCKET, Mischief, S3Server, SECRET_KEY};
use drumlin_test_support::bucket_check::Content;
use futures::future::join_all;

use super::model::{Told, World, Worlds};
use super::run::whole;
use super::script::{self, Phase, Step};

/// How long an attempt may take.
const ATTEMPT: Duration = Duration::from_millis(600);
/// Every so many requests one is failed. Phases whose cases are swept are long, and sampled on memory too.
fn stride(phase: &Phase) -> u64 {
    if phase.sweeps() && !whole() { 40 } else { 10 }
}

/// The ways in which a request fails, in turn; that it takes effect and is not answered is always among
/// them, and so is a wrong answer.
fn mischiefs(turn: u64) -> [Mischief; 3] {
    // The slow one is answered later than the attempt waits.
    let other = [Mischief::Unavailable, Mischief::CutBefore, Mischief::SlowMs(1400)];
    let wrong = [Mischief::Page, Mischief::Empty, Mischief::Cut, Mischief::Flipped];
    [Mischief::CutAfter, other[turn as usize % other.len()], wrong[turn as usize % wrong.len()]]
}

fn settings() -> Settings {
    let mut settings = script::settings();
    let timing = &mut settings.timing;
    // Store time comes in whole seconds here.
    timing.lease = Duration::from_secs(600);
    (timing.keep, timing.garbage, timing.swap_interval) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    settings
}

/// A server and a client of it, which is costly to make: a case uses one for all its stores.
struct Place {
    server: S3Server,
    bucket: Arc<dyn Bucket>,
}

async fn connect(server: &S3Server) -> Arc<dyn Bucket> {
    let settings = S3Settings {
        endpoint: Some(server.endpoint().to_owned()),
        access_key_id: Some(ACCESS_KEY.to_owned()),
        secret_access_key: Some(SECRET_KEY.to_owned()),
        attempt_timeout: ATTEMPT,
        ..S3Settings::new(BUCKET)
    };
    Arc::new(S3Bucket::connect(settings).await.unwrap())
}

/// What one run left behind.
struct Left {
    worlds: Worlds,
    requests: u64,
    failed: bool,
}

/// Runs a phase on what is on the server; ends after the step in which request number `index` failed.
async fn run(place: &Place, phase: &Phase, world: World, trouble: Option<(u64, Mischief)>) -> Result<Left, String> {
    let server = &place.server;
    let first = server.requests();
    let met = Arc::new(AtomicBool::new(false));
    let seen = met.clone();
    server.set_plan(move |asked| match trouble {
        Some((index, mischief)) if asked.index == first + index => {
            seen.store(true, Ordering::SeqCst);
            mischief
        }
        _ => Mischief::None,
    });
    let mut worlds = Worlds::only(world);
    let store = Store::open_on(settings(), place.bucket.clone()).await;
    match store {
        Ok(store) => {
            for step in &phase.steps {
                if met.load(Ordering::SeqCst) {
                    break;
                }
                take(&store, step, &mut worlds, trouble.is_some()).await?;
            }
        }
        // The first opening of a bucket probes it, and is not repeated when the probe is disturbed.
        Err(error) if !met.load(Ordering::SeqCst) => return Err(format!("does not open: {error}")),
        Err(_) => {}
    }
    server.set_plan(|_| Mischief::None);
    Ok(Left { worlds, requests: server.requests() - first, failed: met.load(Ordering::SeqCst) })
}

async fn take(store: &Store, step: &Step, worlds: &mut Worlds, disturbed: bool) -> Result<(), String> {
    let failed = match step {
        Step::Do(change) => {
            let told = script::change(store, change).await;
            worlds.settle(change, &told)?;
            told.is_trouble().then(|| format!("{told:?}"))
        }
        Step::Together(changes) => {
            let told: Vec<Told> = join_all(changes.iter().map(|change| script::change(store, change))).await;
            for (change, told) in changes.iter().zip(&told) {
                worlds.settle(change, told)?;
            }
            told.iter().find(|told| told.is_trouble()).map(|told| format!("{told:?}"))
        }
        Step::Read(name) => {
            let collection = script::collection(store, name).await.map_err(|e| e.to_string())?;
            let records = script::read(&collection, Consistency::Strong).await.map_err(|e| e.to_string())?;
            worlds.check(name, Some(&records)).err()
        }
        Step::Sync => store.sync().await.err().map(|e| e.to_string()),
        Step::Maintain => store.admin().maintain().await.err().map(|e| e.to_string()),
        Step::Collect => store.admin().collect_garbage(false).await.err().map(|e| e.to_string()),
        Step::Sweep => store.admin().sweep().await.err().map(|e| e.to_string()),
        Step::Close => store.close(Duration::from_secs(10)).await.err().map(|e| e.to_string()),
        Step::Wait(_) => None,
    };
    // One lost answer is made good by repeating, whatever the call.
    match failed {
        Some(why) if !disturbed => Err(format!("{step:?} failed: {why}")),
        _ => Ok(()),
    }
}

/// Opens anew and checks what is there, and that it can be written.
async fn check_place(place: &Place, worlds: &Worlds) -> Result<(), String> {
    let told = |error: drumlin::Error| format!("after reopening: {error}");
    let bucket = &place.bucket;
    Content::read(bucket.as_ref()).await.check()?;
    let store = Store::open_on(settings(), bucket.clone()).await.map_err(told)?;
    worlds.check_all(&script::read_all(&store).await.map_err(told)?)?;
    let health = store.admin().health();
    if !health.damaged.is_empty() {
        return Err(format!("damaged: {:?}", health.damaged));
    }
    for info in store.collections(Consistency::Local).await.unwrap() {
        let collection = match store.collection(&info.name).await {
            Err(error) if error.kind() == drumlin::ErrorKind::NotFound => continue,
            opened => opened.map_err(told)?,
        };
        collection.upsert([script::record("after", 7)]).await.map_err(told)?;
    }
    Content::read(bucket.as_ref()).await.check()
}

/// Fails every tenth request of the workload in three ways; answers how many of these failures were met.
pub async fn every_tenth() -> Result<usize, String> {
    let (mut start, mut world, mut cases, mut unmet) = (Content::default(), World::default(), 0, 0);
    for phase in script::phases() {
        let place = server_with(&start).await;
        let clean = run(&place, &phase, world.clone(), None).await?;
        let stride = stride(&phase);
        for index in (0..clean.requests).step_by(stride as usize) {
            let all = mischiefs(index / stride).map(|mischief| {
                let (start, world, phase) = (&start, world.clone(), &phase);
                async move {
                    let place = server_with(start).await;
                    let left = run(&place, phase, world, Some((index, mischief))).await?;
                    let checked = match left.failed {
                        true => check_place(&place, &left.worlds).await,
                        // Time is real: a run now and then needs some requests fewer than the clean one.
                        false if phase.varies() || left.requests <= index => Ok(()),
                        false => Err("it was not met".to_owned()),
                    };
                    checked.map(|()| left.failed).map_err(|why| format!("{} {index}, {mischief:?}: {why}", phase.name))
                }
            });
            for result in join_all(all).await {
                match result? {
                    true => cases += 1,
                    false => unmet += 1,
                }
            }
        }
        world = clean.worlds.sole().ok_or("an undisturbed run leaves no doubt")?.clone();
        start = Content::read(place.bucket.as_ref()).await;
    }
    match unmet * 10 <= cases {
        true => Ok(cases),
        false => Err(format!("{unmet} failures were not met, beside {cases} that were")),
    }
}

async fn server_with(content: &Content) -> Place {
    let server = S3Server::start().await;
    let bucket = connect(&server).await;
    content.write(bucket.as_ref()).await;
    Place { server, bucket }
}
