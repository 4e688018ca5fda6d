//! Seeded records as a user of text embeddings has them: clustered vectors, a document of some 200
//! bytes, a little metadata. Invariant: the same source gives the same records on every machine.

use drumlin::{MetaValue, Metadata, Record};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SYLLABLES: [&str; 16] =
    ["ra", "ven", "mo", "lin", "tar", "ge", "sul", "ko", "ber", "na", "dri", "fos", "hel", "wy", "pan", "cu"];
/// Different words that documents are made of: with as many, text packs about as well as prose does.
const WORDS: usize = 4_096;
/// Words of a document.
const DOCUMENT_WORDS: usize = 28;
/// How far a vector lies from its centre, against how far centres lie from zero.
const SPREAD: f32 = 0.4;

/// Where records come from.
pub struct Source {
    centres: Vec<Vec<f32>>,
    random: StdRng,
    made: usize,
}

impl Source {
    /// Records of `dim` floats around `centres` centres.
    pub fn new(seed: u64, dim: usize, centres: usize) -> Source {
        let mut random = StdRng::seed_from_u64(seed);
        let centres = (0..centres.max(1)).map(|_| (0..dim).map(|_| normal(&mut random)).collect()).collect();
        Source { centres, random, made: 0 }
    }

    /// The next `count` records; ids count on.
    pub fn take(&mut self, count: usize) -> Vec<Record> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Record {
        let random = &mut self.random;
        let group = random.random_range(0..self.centres.len());
        let embedding = self.centres[group].iter().map(|c| c + SPREAD * normal(random)).collect();
        let words: Vec<String> = (0..DOCUMENT_WORDS).map(|_| word(random.random_range(0..WORDS))).collect();
        let number = self.made;
        self.made += 1;
        let metadata = Metadata::from([
            ("group", MetaValue::Int(group as i64)),
            ("page", MetaValue::Int(number as i64)),
            ("source", MetaValue::Str(format!("field-notes-{:04}.txt", number % 977))),
        ]);
        Record::new(format!("record-{number:07}"), embedding).with_document(words.join(" ")).with_metadata(metadata)
    }
}

/// The word numbered `number`: three syllables.
fn word(number: usize) -> String {
    [number, number / 16, number / 256].map(|part| SYLLABLES[part % 16]).concat()
}

/// A draw of the standard normal distribution (Box and Muller).
fn normal(random: &mut StdRng) -> f32 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}
