//! Several stores on one bucket under a seeded storm: clients that write, read, create and drop; every
//! kind of fault; stalls of minutes to hours; kills and reopenings. At the end the faults cease, the
//! stores converge, and everything that anybody was told is held against the true history.
//! The seed decides operations and faults; only the jitter of back-off is the store's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drumlin::settings::Timing;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::fault::{FaultBucket, Hold, Odds, random};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::bucket::{Bucket, StoreTime, probe};
use drumlin::{Settings, Storage, Store};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::sleep;

use super::audit::{self, Call};
use super::client::Client;
use super::convergence;
use super::ledger::WatchedBucket;

/// Constants of the protocol, shortened all alike: T_KEEP ≥ 12 × T_LEASE + margin (docs/protocol.md#constants).
pub fn short_timing() -> Timing {
    let seconds = Duration::from_secs;
    Timing {
        lease: seconds(20),
        keep: seconds(300),
        garbage: seconds(20),
        collect_interval: seconds(30),
        flush_commits: 8,
        flush_commits_other: 11,
        flush_age: seconds(60),
        fan_out: 3,
        deadline: seconds(15),
        maintenance_interval: seconds(3),
        prefetch: 4,
        graph_rows: 3,
        inverted_rows: 2,
        ..Timing::default()
    }
}

/// What one run is to be.
#[derive(Debug, Clone)]
pub struct Storm {
    pub seed: u64,
    pub stores: usize,
    pub clients: usize,
    /// Operations of each client.
    pub operations: usize,
    pub timing: Timing,
}

impl Storm {
    /// The storm of the test suite.
    pub fn new(seed: u64) -> Storm {
        Storm { seed, stores: 4, clients: 2, operations: 60, timing: short_timing() }
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// What must not be; empty if all is well.
    pub wrong: Vec<String>,
    /// How often things happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

/// What all parts of a run share.
pub struct World {
    pub bucket: Arc<WatchedBucket>,
    pub settings: Settings,
    pub calls: Mutex<Vec<Call>>,
    /// The newest version of each collection that anybody was told of.
    pub told: Mutex<BTreeMap<String, u64>>,
    pub wrong: Mutex<Vec<String>>,
    pub counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl World {
    pub fn count(&self, what: &'static str) {
        self.count_many(what, 1);
    }

    fn count_many(&self, what: &'static str, times: u64) {
        *self.counts.lock().entry(what).or_default() += times;
    }

    pub fn wrong(&self, what: String) {
        self.wrong.lock().push(what);
    }

    /// The number of the last change of the bucket.
    pub fn event(&self) -> u64 {
        self.bucket.look(|ledger| ledger.event)
    }
}

/// What a client is told to do about its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    /// Finish the operation under way.
    Closing,
    /// Dead: nothing under way is ever answered.
    Killed,
}

/// One process that comes and goes.
struct Node {
    world: Arc<World>,
    number: usize,
    random: StdRng,
    quota: Arc<AtomicUsize>,
    clients: usize,
}

/// Runs a storm to its end.
pub async fn run(storm: &Storm) -> Report {
    let clock = StoreClock::starting_at(StoreTime(1_700_000_000_000));
    let memory = MemoryBucket::new(clock);
    let mut settings = Settings::new(Storage::Memory);
    settings.timing = storm.timing.clone();
    settings.sync_interval = Duration::from_secs(10);
    settings.index_threads = 1;
    let world = Arc::new(World {
        bucket: WatchedBucket::new(memory.clone(), storm.timing.keep),
        settings,
        calls: Mutex::default(),
        told: Mutex::default(),
        wrong: Mutex::default(),
        counts: Mutex::default(),
    });
    // The probe gives up on a bucket that takes late copies of its own puts, so it comes before the storm.
    probe::ensure_probed(&memory).await.expect("the memory bucket keeps its conditions");
    let nodes: Vec<_> = (0..storm.stores)
        .map(|number| {
            let random = StdRng::seed_from_u64(storm.seed.wrapping_mul(1000).wrapping_add(number as u64));
            let quota = Arc::new(AtomicUsize::new(storm.clients * storm.operations));
            let node = Node { world: world.clone(), number, random, quota, clients: storm.clients };
            tokio::spawn(node.run())
        })
        .collect();
    let mut stores = Vec::new();
    for node in nodes {
        stores.push(node.await.expect("a node must not panic"));
    }
    convergence::check(&world, &memory, &stores).await;
    let calls = world.calls.lock().clone();
    let mut wrong = world.wrong.lock().clone();
    world.bucket.look(|ledger| {
        wrong.extend(ledger.violations.iter().cloned());
        wrong.extend(audit::writes(ledger, &calls));
        world.count_many("zombies", ledger.zombies);
        world.count_many("segments", ledger.segments);
        world.count_many("graphs", ledger.graphs);
        world.count_many("log objects deleted", ledger.deleted);
        world.count_many("commits", ledger.streams.values().map(|s| s.commits.len() as u64).sum());
    });
    Report { wrong, counts: world.counts.lock().clone() }
}

/// Faults of one life: most lives have few, some many.
fn odds(random: &mut StdRng) -> Odds {
    let level = [0.0, 0.01, 0.04, 0.1][random.random_range(0..4)];
    Odds {
        refused: level / 4.0,
        unknown_before: level,
        unknown_after: level,
        hang: level / 4.0,
        slow: 0.1,
        late: level,
        longest_ms: [200, 2_000, 60_000][random.random_range(0..3)],
    }
}

impl Node {
    /// Lives until the quota of operations is used up; the last store, its faults gone.
    async fn run(mut self) -> Store {
        loop {
            let faulty = FaultBucket::new(self.world.bucket.clone()).with_attempt_timeout(Duration::from_secs(5));
            let faulty = Arc::new(faulty);
            faulty.set_plan(random(self.random.random(), odds(&mut self.random)));
            let store = self.open(&faulty).await;
            self.world.count("lives");
            if self.live(&store, &faulty).await {
                faulty.set_plan(|_| drumlin::testing::bucket::fault::Fault::None);
                return store;
            }
        }
    }

    async fn open(&self, faulty: &Arc<FaultBucket>) -> Store {
        loop {
            let bucket: Arc<dyn Bucket> = faulty.clone();
            match Store::open_on(self.world.settings.clone(), bucket).await {
                Ok(store) => return store,
                Err(error) if error.kind() == drumlin::ErrorKind::Unavailable => {}
                Err(error) => self.world.wrong(format!("a store could not be opened: {error}")),
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// One life of the store; whether the quota was used up.
    async fn live(&mut self, store: &Store, faulty: &Arc<FaultBucket>) -> bool {
        let (life, watch) = watch::channel(Life::Running);
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..self.clients {
            let random = StdRng::seed_from_u64(self.random.random());
            let client = Client::new(self.world.clone(), store.clone(), self.number, random);
            clients.spawn(client.run(self.quota.clone(), watch.clone()));
        }
        let all = async { while clients.join_next().await.is_some() {} };
        tokio::pin!(all);
        let death = tokio::select! {
            () = &mut all => Life::Running,
            death = self.trouble(faulty) => death,
        };
        match death {
            Life::Running => {}
            Life::Closing => {
                life.send_replace(Life::Closing);
                all.await;
                // Closing may be cut short by faults; nothing depends on it.
                let _ = store.close(Duration::from_secs(30)).await;
            }
            Life::Killed => {
                faulty.kill();
                life.send_replace(Life::Killed);
                all.await;
            }
        }
        death == Life::Running && self.quota.load(Ordering::SeqCst) == 0
    }

    /// What happens to a store from outside, until it has to go.
    async fn trouble(&mut self, faulty: &FaultBucket) -> Life {
        loop {
            sleep(Duration::from_millis(self.random.random_range(1_000..90_000))).await;
            match self.random.random_range(0..10) {
                0..=2 => {
                    self.world.count("stalls");
                    let hold = if self.random.random_bool(0.5) { Hold::Before } else { Hold::After };
                    let gate = faulty.hold(hold, |_| true);
                    let longest = [5, 60, 1_200, 6_000][self.random.random_range(0..4)];
                    sleep(Duration::from_secs(self.random.random_range(0..longest))).await;
                    gate.release();
                }
                3 => {
                    self.world.count("kills");
                    return Life::Killed;
                }
                4 => return Life::Closing,
                _ => {}
            }
        }
    }
}
