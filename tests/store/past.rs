//! A seeded life of a collection with a model beside it: what every version held, told by a `BTreeMap`
//! that does what each request means.

use std::time::Duration;

use drumlin::answers::Found;
use drumlin::searches::{LeafQuery, RankedSearch};
use drumlin::text::{QueryOptions, TextQuery};
use drumlin::{Collection, Consistency, Get, Include, MetaValue, Metadata, Record, Settings, Storage};
use drumlin_test_support::model::{Change, KIND, Model};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Floats of an embedding.
pub const DIM: usize = 6;
/// Ids that there can be.
const IDS: usize = 60;

/// Settings under which nothing happens by itself, and small collections get several segments and a graph.
pub fn settings() -> Settings {
    let mut settings = Settings::new(Storage::Memory);
    settings.maintenance = false;
    settings.sync_interval = Duration::from_secs(1 << 24);
    settings.timing.fan_out = 3;
    settings.timing.graph_rows = 8;
    settings.timing.inverted_rows = 4;
    settings.timing.swap_interval = Duration::ZERO;
    settings.timing.reread_limit = Duration::from_millis(1);
    settings
}

/// A life so far.
pub struct Past {
    random: StdRng,
    model: Model,
    next_position: u64,
    requests: usize,
    /// The records of each version, in insertion order; of version 0 first.
    pub states: Vec<Vec<Found>>,
}

impl Past {
    /// The life of an empty collection.
    pub fn new(seed: u64) -> Past {
        let (random, model) = (StdRng::seed_from_u64(seed), Model::default());
        Past { random, model, next_position: 0, requests: 0, states: vec![Vec::new()] }
    }

    /// The records of the newest version.
    pub fn now(&self) -> &Vec<Found> {
        &self.states[self.states.len() - 1]
    }

    /// Does `requests` seeded requests, and holds each answer against the model.
    pub async fn live_on(&mut self, collection: &Collection, requests: usize) {
        for _ in 0..requests {
            let change = self.next_change();
            let expected = self.model.change(&change, &mut self.next_position);
            let outcome = collection.write(change.request()).await.unwrap();
            assert_eq!((outcome.applied, outcome.skipped), expected, "{change:?}");
            let version = outcome.version.0 as usize;
            if version == self.states.len() {
                self.states.push(self.model.listed());
            }
            assert_eq!(version + 1, self.states.len(), "one commit for one request: {change:?}");
            assert_eq!(*self.now(), self.model.listed(), "a request without a commit changes nothing");
        }
    }

    /// Searches by words, so that inverted indexes are of use.
    pub async fn search_words(&self, collection: &Collection) {
        let analyser = collection.analyser().unwrap();
        let query = TextQuery::parse("request", &analyser, &QueryOptions::default()).unwrap();
        let search = RankedSearch::single(LeafQuery::Text { query, analyser }, 1_000);
        let found = collection.rank(vec![search], 1_000).await.unwrap().remove(0).len();
        assert_eq!(found, self.now().iter().filter(|found| found.document.is_some()).count());
    }

    fn next_change(&mut self) -> Change {
        self.requests += 1;
        let random = &mut self.random;
        let token = format!("request {}", self.requests);
        let id = |random: &mut StdRng| format!("id-{}", random.random_range(0..IDS));
        let vector = |random: &mut StdRng| (0..DIM).map(|_| random.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let record = |random: &mut StdRng| {
            let metadata = match random.random_range(0..5) {
                0 => None,
                1 => Some(Metadata::default()),
                2 => Some(Metadata::from([(KIND, MetaValue::Int(random.random_range(0..6))), ("n", 1.into())])),
                _ => Some(Metadata::from([("n", MetaValue::Float(1.0)), ("s", MetaValue::from("ü\n\"x\""))])),
            };
            let record = Record::new(id(random), vector(random)).with_document(token.clone());
            Record { metadata, ..record }
        };
        let count = random.random_range(1..8);
        match random.random_range(0..10) {
            0..4 => {
                let mut records: Vec<Record> = (0..count).map(|_| record(random)).collect();
                records.sort_by(|a, b| a.id.cmp(&b.id));
                records.dedup_by(|a, b| a.id == b.id);
                Change::Upsert(records)
            }
            4..6 => Change::Add(vec![record(random)]),
            6..8 => {
                let embedding = random.random_bool(0.5).then(|| vector(random));
                Change::Update(vec![(id(random), embedding, token)])
            }
            8 => Change::DeleteKind(random.random_range(0..6)),
            _ => Change::DeleteIds(vec![id(random)]),
        }
    }
}

/// All records of a collection in insertion order.
pub async fn all_of(collection: &Collection) -> Vec<Found> {
    let get = Get { include: Include::ALL, consistency: Consistency::Strong, ..Get::default() };
    collection.get(get).await.unwrap().records
}
