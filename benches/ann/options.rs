//! The bench's command line: what to measure. Unknown options and values are refused with what is known.

use std::num::NonZeroUsize;
use std::str::FromStr;

use drumlin::testing::index::GraphParams;
use drumlin::testing::record::Metric;

/// Sweeps from barely to fully found; `default` is the width that searches choose themselves.
const EF: &str = "10,14,20,28,40,56,80,112,160,224,320,448,640,default";

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Searches of a graph that return exact distances.
    Exact,
    /// Searches of a graph without the raw vectors.
    Int8,
    /// Codes of every width, without a graph.
    Codes,
}

/// What was asked for.
pub struct Options {
    /// File of the vectors that are indexed.
    pub base: String,
    /// File of the vectors that are searched for.
    pub queries: String,
    /// How distance is measured.
    pub metric: Metric,
    /// File of the nearest rows of each query, nearest first; else they are computed.
    pub truth: Option<String>,
    /// Name of the builder.
    pub builder: String,
    /// M, efConstruction, threads of the build.
    pub params: GraphParams,
    /// Widths of search; `None` is the default width.
    pub ef: Vec<Option<usize>>,
    /// What is measured.
    pub mode: Mode,
    /// Passes over the queries per width; the median counts.
    pub runs: usize,
    /// File to write the graph to.
    pub save: Option<String>,
    /// File to read the graph from instead of building it.
    pub load: Option<String>,
}

impl Options {
    /// From the words after the program's name.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            base: String::new(),
            queries: String::new(),
            metric: Metric::Cosine,
            truth: None,
            builder: "drumlin".to_owned(),
            params: GraphParams::default(),
            ef: widths(EF)?,
            mode: Mode::Exact,
            runs: 3,
            save: None,
            load: None,
        };
        // Cargo passes --bench to every bench.
        let mut words = words.filter(|word| word != "--bench");
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name}: expected a value after it"))?;
            options.set(&name, value)?;
        }
        if options.base.is_empty() || options.queries.is_empty() {
            return Err("expected --base FILE.npy --queries FILE.npy".to_owned());
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "--base" => self.base = value,
            "--queries" => self.queries = value,
            "--metric" => self.metric = value.parse().map_err(|e: drumlin::Error| e.to_string())?,
            "--truth" => self.truth = Some(value),
            "--builder" => self.builder = value,
            "--m" => self.params.m = number(name, &value)?,
            "--ef-construction" => self.params.ef_construction = number(name, &value)?,
            "--threads" => self.params.threads = number::<NonZeroUsize>(name, &value)?.get(),
            "--seed" => self.params.seed = number(name, &value)?,
            "--ef" => self.ef = widths(&value)?,
            "--mode" => self.mode = mode(&value)?,
            "--runs" => self.runs = number::<NonZeroUsize>(name, &value)?.get(),
            "--save" => self.save = Some(value),
            "--load" => self.load = Some(value),
            _ => return Err(format!("{name}: no such option; benches/README.md lists them")),
        }
        Ok(())
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}: expected a number, got {value:?}"))
}

fn mode(value: &str) -> Result<Mode, String> {
    match value {
        "exact" => Ok(Mode::Exact),
        "int8" => Ok(Mode::Int8),
        "codes" => Ok(Mode::Codes),
        _ => Err(format!("--mode: expected exact, int8 or codes, got {value:?}")),
    }
}

fn widths(list: &str) -> Result<Vec<Option<usize>>, String> {
    let width = |word: &str| if word == "default" { Ok(None) } else { number("--ef", word).map(Some) };
    list.split(',').map(width).collect()
}
