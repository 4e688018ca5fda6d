//! Runs a phase of the script with one call failed in one way, then looks at what is left. Each case has
//! a runtime of its own under paused time, so that no task of a killed store outlives it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use drumlin::testing::bucket::StoreTime;
use drumlin::testing::bucket::call::Op;
use drumlin::testing::bucket::clock::StoreClock;
use drumlin::testing::bucket::fault::{Call, Fault, FaultBucket};
use drumlin::testing::bucket::memory::MemoryBucket;
use drumlin::testing::format::head::{Head, Life};
use drumlin::{ErrorKind, Store};
use drumlin_test_support::bucket_check::Content;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::check::check;
use super::model::{Change, Told, World, Worlds};
use super::script::{self, Phase, Step};
use super::trouble::{Trouble, reads};

/// How long an outage lasts: longer than the deadline of a write.
const OUTAGE: Duration = Duration::from_secs(12);
/// Longer than any call may take with all its repetitions.
pub const FOREVER: Duration = Duration::from_secs(600);
/// Cases of one matrix that are told in full.
const TOLD: usize = 12;

impl Trouble {
    /// What may become of the process after call number `index`. The probe is only stopped at: its
    /// store is not open yet. Otherwise every third combination goes on too, all of them if
    /// `DRUMLIN_FAULT_MATRIX` is `whole`.
    fn afterwards(self, index: usize, call: &Call) -> &'static [Afterwards] {
        match !self.kills() && !call.key.starts_with("probe/") && (whole() || (index + self.number()).is_multiple_of(3))
        {
            true => &[Afterwards::Stops, Afterwards::GoesOn],
            false => &[Afterwards::Stops],
        }
    }
}

/// Whether every combination is asked for.
pub fn whole() -> bool {
    std::env::var("DRUMLIN_FAULT_MATRIX").is_ok_and(|set| set == "whole")
}

/// What becomes of the process after the trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    /// It is killed when the step that met the trouble has been answered.
    Stops,
    /// It works through the rest of the phase, then it is killed.
    GoesOn,
}

/// When a bucket began to fail.
type Began = Arc<Mutex<Option<Instant>>>;

fn plan(index: u64, trouble: Trouble, began: Began) -> impl FnMut(&Call) -> Fault + Send + 'static {
    move |call| {
        let mut began = began.lock();
        if call.index == index {
            *began = Some(Instant::now());
            return trouble.fault();
        }
        match *began {
            Some(at) if trouble.lasts() && at.elapsed() < OUTAGE => trouble.fault(),
            _ => Fault::None,
        }
    }
}

/// What a matrix covered and found.
#[derive(Debug, Default)]
pub struct Covered {
    pub phase: &'static str,
    /// Calls that were failed, by their place in the phase.
    pub calls: usize,
    /// Kinds of calls and of objects among them.
    pub kinds: BTreeSet<String>,
    /// Cases run.
    pub cases: usize,
    pub violations: Vec<String>,
}

impl Covered {
    /// The first violation.
    pub fn first(&self) -> &str {
        self.violations.first().map_or("none", String::as_str)
    }
}

impl fmt::Display for Covered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "phase {}: {} calls, {} cases, kinds {:?}", self.phase, self.calls, self.cases, self.kinds)?;
        self.violations.iter().take(TOLD).try_for_each(|violation| writeln!(f, "{violation}\n"))
    }
}

/// Of phases whose cases are swept, which takes long, one case in this many is run unless all are asked for.
const SAMPLED: usize = 24;
/// Of outages in which everything is answered wrongly, one in this many is run unless all are asked for.
const SAMPLED_OUTAGES: usize = 4;

/// All cases of one phase.
pub struct Matrix {
    phase: Phase,
    start: Content,
    world: World,
}

impl Matrix {
    /// The matrix of the phase called `name`, on what the phases before it left.
    pub fn new(name: &str) -> Matrix {
        let (mut start, mut world) =
            (Content { date: Some(StoreTime(1_800_000_000_000)), ..Content::default() }, World::default());
        for phase in script::phases() {
            if phase.name == "sweeps" {
                litter(&mut start);
            }
            let matrix = Matrix { phase, start, world };
            if matrix.phase.name == name {
                return matrix;
            }
            (start, world, _) = matrix.undisturbed();
        }
        panic!("there is no phase {name}");
    }

    /// Runs the phase without trouble; the bucket and the content that it leaves, and its calls.
    fn undisturbed(&self) -> (Content, World, Vec<Call>) {
        in_paused_time(async {
            let memory = self.bucket().await;
            let faulty = Arc::new(FaultBucket::new(Arc::new(memory.clone())));
            let mut run = Run::new(self, faulty.clone(), Began::default());
            run.all(Afterwards::GoesOn).await.unwrap();
            faulty.kill();
            let world = run.worlds.sole().expect("an undisturbed run leaves no doubt").clone();
            (Content::read(&memory).await, world, faulty.log())
        })
    }

    async fn bucket(&self) -> MemoryBucket {
        let memory = MemoryBucket::new(StoreClock::starting_at(self.start.date.unwrap()));
        self.start.write(&memory).await;
        memory
    }

    /// Whether this combination is run. Neighbouring calls, which are often of one kind, get different ways.
    fn runs(&self, index: usize, trouble: Trouble) -> bool {
        let one_in = match trouble {
            _ if whole() => 1,
            _ if self.phase.sweeps() => SAMPLED,
            Trouble::OutageWrong(_) => SAMPLED_OUTAGES,
            _ => 1,
        };
        (index + trouble.number() * 3).is_multiple_of(one_in)
    }

    /// Fails each call in each way.
    pub fn run(&self) -> Covered {
        let calls = self.undisturbed().2;
        let mut covered = Covered { phase: self.phase.name, calls: calls.len(), ..Covered::default() };
        for (index, call) in calls.iter().enumerate() {
            covered.kinds.insert(kind(call));
            for trouble in Trouble::at(call).into_iter().filter(|trouble| self.runs(index, *trouble)) {
                for afterwards in trouble.afterwards(index, call) {
                    covered.cases += 1;
                    if let Err(why) = in_paused_time(self.case(index, trouble, *afterwards)) {
                        let case = format!("{} {index} ({call:?}), {trouble:?}, {afterwards:?}", self.phase.name);
                        covered.violations.push(format!("{case}: {why}"));
                    }
                }
            }
        }
        covered
    }

    /// One case: what was found.
    async fn case(&self, index: usize, trouble: Trouble, afterwards: Afterwards) -> Result<(), String> {
        let memory = self.bucket().await;
        let faulty = FaultBucket::new(Arc::new(memory.clone())).with_attempt_timeout(Duration::from_secs(1));
        let faulty = Arc::new(faulty);
        let began = Began::default();
        faulty.set_plan(plan(index as u64, trouble, began.clone()));
        let mut run = Run::new(self, faulty.clone(), began);
        run.may_seem_damaged = matches!(trouble, Trouble::OutageWrong(_));
        let ran = run.all(afterwards).await;
        faulty.kill();
        ran?;
        let worlds = run.worlds;
        match faulty.log().get(index) {
            Some(call) => check(&memory, &worlds, !reads(call), self.phase.sweeps()).await,
            None if self.phase.varies() => Ok(()),
            None => Err("the call was not made".to_owned()),
        }
    }
}

/// Leaves what uploads and creates that came to nothing leave behind.
fn litter(content: &mut Content) {
    let stream = content.streams().into_iter().find(|stream| stream != "catalog").expect("a collection");
    let orphan = |n: u128| format!("c/{}", drumlin::CollectionId(uuid::Uuid::from_u128(n)));
    let live = Head::new(orphan(1), Default::default());
    let dropped = Head { state: Life::Dropped, ..Head::new(orphan(2), Default::default()) };
    let json = |head: &Head| bytes::Bytes::from(head.encode().expect("a HEAD encodes"));
    let waste = || bytes::Bytes::from_static(b"never named");
    let ulid = "01M7YZ6RBC7DC7TXK4D5B9W463";
    content.objects.extend([
        (format!("{stream}/seg/{ulid}.parquet"), waste()),
        (format!("{stream}/graph/{ulid}.arrow"), waste()),
        (format!("catalog/retired/{ulid}.json"), waste()),
        (format!("{}/HEAD", orphan(1)), json(&live)),
        (format!("{}/HEAD", orphan(2)), json(&dropped)),
        (format!("{}/seg/{ulid}.parquet", orphan(2)), waste()),
        (format!("{}/seg/{ulid}.parquet", orphan(3)), waste()),
    ]);
}

/// The kind of call and of object, for the record of what was covered.
fn kind(call: &Call) -> String {
    let object = ["/log/", "/seg/", "/graph/", "/retired/", "/HEAD"].into_iter().find(|part| call.key.contains(part));
    let object = object.map_or(call.key.split('/').next().unwrap_or(""), |part| part.trim_matches('/'));
    let stream = if call.key.starts_with("catalog") { "catalog " } else { "" };
    format!("{} {stream}{object}", Op::name(call.op))
}

fn in_paused_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// One run of a phase.
struct Run<'a> {
    matrix: &'a Matrix,
    bucket: Arc<FaultBucket>,
    began: Began,
    worlds: Worlds,
    /// Whether what is wrong may be wrong for longer than anybody asks again: it may be called damaged then.
    may_seem_damaged: bool,
}

impl Run<'_> {
    fn new(matrix: &Matrix, bucket: Arc<FaultBucket>, began: Began) -> Run<'_> {
        Run { matrix, bucket, began, worlds: Worlds::only(matrix.world.clone()), may_seem_damaged: false }
    }

    fn has_met_trouble(&self) -> bool {
        self.began.lock().is_some()
    }

    /// Whether the trouble is over, so that nothing that begins now may fail.
    fn is_over(&self) -> bool {
        self.began.lock().is_some_and(|at| at.elapsed() >= OUTAGE)
    }

    async fn all(&mut self, afterwards: Afterwards) -> Result<(), String> {
        let mut store = self.open().await;
        if store.is_none() && afterwards == Afterwards::GoesOn {
            sleep(OUTAGE).await;
            store = self.open().await;
        }
        if self.bucket.is_dead() {
            return Ok(());
        }
        let Some(store) = store else {
            return if self.has_met_trouble() && !self.is_over() {
                Ok(())
            } else {
                Err("the store does not open".into())
            };
        };
        for step in &self.matrix.phase.steps {
            if self.has_met_trouble() && afterwards == Afterwards::Stops {
                return Ok(());
            }
            if self.has_met_trouble() {
                // What comes after the trouble has no excuse to fail.
                sleep(OUTAGE).await;
            }
            let over = self.is_over();
            if timeout(FOREVER, self.step(&store, step, over)).await.unwrap_or(Err("no answer".to_owned()))? {
                return Ok(());
            }
        }
        match self.has_met_trouble() && !matches!(self.matrix.phase.steps.last(), Some(Step::Close)) {
            true => self.check_health(&store).await,
            false => Ok(()),
        }
    }

    /// Once the trouble is over, one look at the bucket makes everything well.
    async fn check_health(&self, store: &Store) -> Result<(), String> {
        sleep(OUTAGE).await;
        let synced = timeout(FOREVER, store.sync()).await.map_err(|_| "the last sync has no end".to_owned())?;
        let report = synced.map_err(|error| format!("the last sync: {error}"))?;
        let failed = report.collections.iter().find_map(|c| c.error.clone());
        let damaged = store.admin().health().damaged;
        match (failed, damaged.is_empty()) {
            (None, true) => Ok(()),
            (failed, _) => Err(format!("after the trouble: {failed:?}, damaged: {damaged:?}")),
        }
    }

    async fn open(&self) -> Option<Store> {
        let opening = Store::open_on(script::settings(), self.bucket.clone());
        timeout(FOREVER, self.unless_dead(opening)).await.ok().flatten()?.ok()
    }

    /// Whether a failure of a step is the trouble's doing; `over` tells whether the trouble was over
    /// before the step began.
    fn excuses(&self, over: bool) -> bool {
        self.has_met_trouble() && !over
    }

    fn blame(&self, what: &str, failed: Option<String>, over: bool) -> Result<(), String> {
        match failed {
            Some(why) if !self.excuses(over) => Err(format!("{what} failed without trouble: {why}")),
            _ => Ok(()),
        }
    }

    /// Takes one step; true if the process died in it.
    async fn step(&mut self, store: &Store, step: &Step, over: bool) -> Result<bool, String> {
        match step {
            Step::Do(change) => self.change(store, std::slice::from_ref(change), over).await?,
            Step::Together(changes) => self.change(store, changes, over).await?,
            Step::Read(name) => self.read(store, name, over).await?,
            Step::Sync => {
                let synced = self.unless_dead(store.sync()).await;
                let failed = match &synced {
                    Some(Ok(report)) => report.collections.iter().find_map(|c| c.error.clone()),
                    Some(Err(error)) => Some(error.to_string()),
                    None => None,
                };
                self.blame("sync", failed, over)?;
            }
            Step::Maintain => {
                let done = self.unless_dead(store.admin().maintain()).await;
                self.blame("maintenance", done.and_then(Result::err).map(|e| e.to_string()), over)?;
            }
            Step::Sweep => {
                let done = self.unless_dead(store.admin().sweep()).await;
                self.blame("sweep", done.and_then(Result::err).map(|e| e.to_string()), over)?;
            }
            Step::Collect => {
                let done = self.unless_dead(store.admin().collect_garbage(false)).await;
                self.blame("collection", done.and_then(Result::err).map(|e| e.to_string()), over)?;
            }
            Step::Wait(time) => sleep(*time).await,
            Step::Close => {
                let closed = self.unless_dead(store.close(FOREVER / 2)).await;
                self.blame("close", closed.and_then(Result::err).map(|e| e.to_string()), over)?;
            }
        }
        Ok(self.bucket.is_dead())
    }

    /// The answer, or nothing if the process dies before it comes.
    async fn unless_dead<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let death = async {
            while !self.bucket.is_dead() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = death => None,
        }
    }

    async fn change(&mut self, store: &Store, changes: &[Change], over: bool) -> Result<(), String> {
        let all = futures::future::join_all(
            changes.iter().map(|change| async { self.unless_dead(script::change(store, change)).await }),
        )
        .await;
        for (change, told) in changes.iter().zip(all) {
            let told = match told.unwrap_or(Told::Nothing) {
                // Refused for damage that is none: not applied.
                Told::Failed(ErrorKind::Corrupted, why) if self.may_seem_damaged => {
                    Told::Failed(ErrorKind::Unavailable, why)
                }
                told => told,
            };
            if told.is_trouble() && !self.excuses(over) {
                return Err(format!("{change:?} met no trouble and was answered {told:?}"));
            }
            self.worlds.settle(change, &told)?;
        }
        Ok(())
    }

    async fn read(&self, store: &Store, name: &str, over: bool) -> Result<(), String> {
        let read = async {
            let collection = script::collection(store, name).await?;
            script::read(&collection, drumlin::Consistency::Strong).await
        };
        match self.unless_dead(read).await {
            None => Ok(()),
            Some(Ok(records)) => self.worlds.check(name, Some(&records)),
            Some(Err(error)) if error.kind() == ErrorKind::NotFound => self.worlds.check(name, None),
            Some(Err(error)) if error.kind() == ErrorKind::Corrupted && !self.may_seem_damaged => {
                Err(format!("one answer was taken for damage: {error}"))
            }
            Some(Err(error)) => self.blame("read", Some(error.to_string()), over),
        }
    }
}
