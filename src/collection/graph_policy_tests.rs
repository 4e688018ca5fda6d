//! The graph policy in simulation: a collection grows, shrinks and falls quiet, and each due task is done at once.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::graph_policy::{BuildTask, GraphTask, PolicyInput, due};
use super::replay::Replay;
use super::state::graphs::{GraphPart, GraphStorage};
use crate::index::{BUILDERS, GraphParams, GraphRange, build_graph, extend_graph};
use crate::record::{Metric, Record, Version};
use crate::stream::state::State;

/// How many records in no graph are worth one.
const ROWS: u64 = 4;

/// A collection, and the work that maintenance has done for it.
struct MaintainedCollection {
    replay: Replay,
    random: StdRng,
    made: usize,
    /// Nodes put into the bucket.
    stored: u64,
    /// Nodes that were inserted, and not kept from the extended graph.
    inserted: u64,
    jobs: Vec<BuildTask>,
    /// The most nodes of a graph that memory allows to build.
    room: u64,
}

impl MaintainedCollection {
    fn new() -> MaintainedCollection {
        let replay = Replay::new(Metric::L2);
        let random = StdRng::seed_from_u64(3);
        MaintainedCollection { replay, random, made: 0, stored: 0, inserted: 0, jobs: Vec::new(), room: u64::MAX }
    }

    fn add(&mut self, count: usize) {
        let record = |n| Record::new(format!("r{n}"), vec![self.random.random(), self.random.random()]);
        let records: Vec<Record> = (self.made..self.made + count).map(record).collect();
        self.made += count;
        self.replay.add(records);
    }

    /// Does what is due until nothing is due.
    fn keep(&mut self, quiet: bool) {
        for _ in 0..20 {
            let snapshot = self.replay.snapshot();
            match due(&snapshot, PolicyInput { rows: ROWS, quiet, room: self.room }) {
                None => return,
                Some(GraphTask::Store(name)) => {
                    let part = snapshot.graphs.iter().find(|view| view.part.key == name).unwrap();
                    self.stored += part.part.graph.len() as u64;
                    self.replay.state.note_stored(&name, &format!("stored {name}"));
                }
                Some(GraphTask::Build(job)) => {
                    let set = snapshot.graph_input(job.lo, job.hi);
                    let range = GraphRange { stream: "c/x".into(), lo: job.lo, hi: job.hi };
                    let params = GraphParams { m: 4, ef_construction: 8, ..GraphParams::default() };
                    let extended = snapshot.graphs.iter().find(|view| Some(&view.part.key) == job.extends.as_ref());
                    let graph = match extended.map(|view| view.part.among(set.clone())) {
                        Some((old, new)) => extend_graph(&old, &new, range, &params).unwrap(),
                        None => build_graph(&set, range, &params, BUILDERS[0]).unwrap(),
                    };
                    let (graph, all) = (Arc::new(graph), set.vectors.len());
                    assert_eq!(graph.len(), all);
                    self.inserted += (all - extended.map_or(0, |view| view.alive.count())) as u64;
                    let (key, stored) = (format!("{}", self.jobs.len()), GraphStorage::NotYet { new: job.new });
                    self.replay.state.attach_graph(GraphPart { key, graph, stored }, &job.replaces).unwrap();
                    self.jobs.push(job);
                }
            }
            self.replay.state.publish();
        }
        panic!("there is always something due: {:?}", self.replay.snapshot().parts());
    }

    fn sizes(&self) -> Vec<usize> {
        self.replay.snapshot().parts().graphs.iter().map(|(nodes, _)| *nodes).collect()
    }
}

#[test]
fn a_growing_collection_has_few_graphs_and_its_records_are_stored_a_bounded_number_of_times() {
    let mut kept = MaintainedCollection::new();
    const RECORDS: u64 = 1_500;
    for n in 0..RECORDS {
        kept.add(1);
        kept.keep(false);
        let parts = kept.replay.snapshot().parts();
        assert!(parts.unindexed < ROWS * 4 && (parts.unindexed < ROWS || n < ROWS * 4), "{parts:?}");
        // log₁₆ of the records in units of `ROWS`.
        assert!(parts.graphs.len() as u32 <= 1 + (1 + n / ROWS).ilog(16), "{parts:?}");
    }
    assert!(kept.stored <= RECORDS * 10, "{} nodes stored", kept.stored);
    assert!(kept.inserted <= RECORDS * 3, "{} nodes inserted", kept.inserted);
}

#[test]
fn at_rest_everything_is_in_one_stored_graph() {
    let mut kept = MaintainedCollection::new();
    kept.add(15);
    kept.keep(true);
    assert!(kept.sizes().is_empty(), "so few records are scanned");
    for n in [180, 9, 3] {
        kept.add(n);
        kept.keep(false);
    }
    assert_ne!(kept.sizes(), [207]);
    kept.keep(true);
    assert_eq!(kept.sizes(), [207]);
    assert_eq!(kept.replay.snapshot().graphs[0].part.stored, GraphStorage::Yes);
    let built = kept.jobs.len();
    kept.keep(true);
    assert_eq!(kept.jobs.len(), built);
}

#[test]
fn a_graph_sheds_its_dead_when_they_are_more_than_a_quarter_and_not_for_nothing() {
    let mut kept = MaintainedCollection::new();
    kept.add(80);
    kept.keep(false);
    let built = kept.jobs.len();
    let ids: Vec<String> = (0..80).map(|n| format!("r{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    kept.replay.delete(&ids[..20]);
    kept.keep(false);
    assert_eq!(kept.jobs.len(), built);
    kept.replay.delete(&ids[20..21]);
    kept.keep(false);
    assert_eq!((kept.jobs.len(), kept.sizes()), (built + 1, vec![59]));
    assert_eq!(kept.jobs[built].extends.as_ref(), kept.jobs[built].replaces.first());
    assert_eq!(kept.replay.snapshot().graphs[0].part.stored, GraphStorage::Yes);
    kept.replay.delete(&ids[21..]);
    kept.keep(true);
    assert_eq!(kept.jobs.len(), built + 1, "nothing is built of no records");
}

#[test]
fn records_before_the_first_graph_are_covered_by_the_next_that_takes_all() {
    let mut kept = MaintainedCollection::new();
    for _ in 0..3 {
        kept.add(20);
    }
    let snapshot = kept.replay.snapshot();
    let range = GraphRange { stream: "c/x".into(), lo: Version(3), hi: Version(3) };
    let set = snapshot.graph_input(Version(3), Version(3));
    let graph = build_graph(&set, range, &GraphParams::default(), BUILDERS[0]).unwrap();
    let part = GraphPart { key: "late".into(), graph: Arc::new(graph), stored: GraphStorage::Yes };
    kept.replay.state.attach_graph(part, &[]).unwrap();
    kept.replay.state.publish();
    kept.add(4);
    kept.keep(false);
    assert_eq!((kept.sizes(), kept.replay.snapshot().unindexed()), (vec![64], 0));
}

#[test]
fn where_memory_is_short_several_smaller_graphs_are_built_and_one_when_it_is_not() {
    let mut kept = MaintainedCollection { room: 25, ..MaintainedCollection::new() };
    for _ in 0..8 {
        kept.add(10);
    }
    kept.keep(false);
    assert_eq!((kept.sizes(), kept.replay.snapshot().unindexed()), (vec![20, 20, 20, 20], 0));
    kept.add(60);
    kept.keep(true);
    assert_eq!(kept.replay.snapshot().unindexed(), 60, "a commit that does not fit waits");
    let built = kept.jobs.len();
    kept.keep(true);
    assert_eq!(kept.jobs.len(), built, "nothing is built over and over");
    kept.room = u64::MAX;
    kept.keep(true);
    assert_eq!((kept.sizes(), kept.replay.snapshot().unindexed()), (vec![140], 0));
}

#[test]
fn many_records_at_once_come_into_a_graph_step_by_step_and_each_once() {
    const RECORDS: usize = 2_000;
    let mut kept = MaintainedCollection::new();
    for _ in 0..RECORDS / 50 {
        kept.add(50);
    }
    kept.keep(false);
    let nodes = |job: &BuildTask| kept.replay.snapshot().count_embedded(job.lo, job.hi);
    let steps: Vec<usize> = kept.jobs.iter().map(nodes).collect();
    assert!(steps[0] <= ROWS as usize * 64 && steps.len() >= 4, "{steps:?}");
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1] && pair[1] <= pair[0] * 9 / 4), "{steps:?}");
    assert_eq!((kept.sizes(), kept.inserted), (vec![RECORDS], RECORDS as u64));
    assert!(kept.stored <= 2 * RECORDS as u64, "{} nodes stored", kept.stored);
}

#[test]
fn a_commit_that_is_larger_than_a_step_is_taken_whole() {
    let mut kept = MaintainedCollection::new();
    kept.add(900);
    kept.add(10);
    kept.keep(false);
    assert_eq!(kept.sizes(), [900, 10]);
}
