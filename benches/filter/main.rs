//! Filters over 100,000 rows in chunks of 16,384: milliseconds to build the columns, their bytes, and
//! milliseconds for each kind of filter (median of 5, one thread, fixed data).
//! `cargo bench --bench filter -- graph [rows] [dimension]`: searches of a graph under filters and deletions
//! instead, see `graph.rs`.

mod graph;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use arrow::array::StringArray;
use drumlin::Filter;
use drumlin::testing::{Columns, Interrupt, RowTexts};

const ROWS: usize = 100_000;
const CHUNK_ROWS: usize = 16_384;
const RUNS: usize = 5;

struct Chunk {
    columns: Columns,
    ids: StringArray,
    documents: StringArray,
}

impl Chunk {
    fn texts(&self) -> RowTexts<'_> {
        RowTexts { ids: &self.ids, documents: &self.documents }
    }
}

/// A fixed scramble of a row number (splitmix64), so that values are not in row order.
fn scrambled(row: usize) -> u64 {
    let mut x = (row as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn metadata(row: usize) -> String {
    let x = scrambled(row);
    format!(
        r#"{{"author":"author number {}","group":{},"page":{row},"score":{}.5,"tags":["t{}","t{}"],"draft":{}}}"#,
        x % 5_000,
        x % 100,
        x % 10_000,
        x % 20,
        (x >> 8) % 20,
        x.is_multiple_of(2)
    )
}

fn document(row: usize) -> String {
    let x = scrambled(row);
    let words = ["the lake", "a ridge of gravel", "left by ice", "long and low", "under grass", "where sheep graze"];
    let sentence: Vec<&str> = (0..24).map(|i| words[(x.rotate_left(i * 5) % 6) as usize]).collect();
    format!("{} number {}", sentence.join(" "), x % 1_000)
}

fn median_ms(mut run: impl FnMut()) -> f64 {
    let mut times_ms: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times_ms.sort_by(f64::total_cmp);
    times_ms[RUNS / 2]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => columns(),
        ["graph"] => graph::report(&graph::clustered(ROWS, 128)),
        ["graph", rows, dim] => match (rows.parse(), dim.parse()) {
            (Ok(rows @ 1_000..), Ok(dim @ 1..)) => graph::report(&graph::clustered(rows, dim)),
            _ => return refused(&arguments),
        },
        _ => return refused(&arguments),
    }
    ExitCode::SUCCESS
}

fn refused(arguments: &[String]) -> ExitCode {
    eprintln!("filter: expected nothing or: graph [rows, 1000 or more] [dimension], got: {}", arguments.join(" "));
    ExitCode::FAILURE
}

fn columns() {
    let starts = || (0..ROWS).step_by(CHUNK_ROWS).map(|start| start..ROWS.min(start + CHUNK_ROWS));
    let texts: Vec<StringArray> = starts().map(|rows| rows.map(|row| Some(metadata(row))).collect()).collect();
    let build_ms = median_ms(|| texts.iter().for_each(|t| drop(black_box(Columns::build(t)))));
    let chunks: Vec<Chunk> = starts()
        .zip(&texts)
        .map(|(rows, t)| Chunk {
            columns: Columns::build(t),
            ids: rows.clone().map(|row| Some(format!("id {row}"))).collect(),
            documents: rows.map(|row| Some(document(row))).collect(),
        })
        .collect();
    let size_bytes: usize = chunks.iter().map(|c| c.columns.size_bytes()).sum();
    let bytes_of = |arrays: &[StringArray]| arrays.iter().map(|a| a.values().len()).sum::<usize>();
    println!("{ROWS} rows, 6 keys, {} bytes of JSON a row", bytes_of(&texts) / ROWS);
    println!("{:<34} {build_ms:8.2} ms, {} bytes a row", "build columns", size_bytes / ROWS);
    let filters = [
        ("eq 1 %", Filter::eq("group", 7)),
        ("ne 1 %", Filter::ne("group", 7)),
        ("eq, one of 5,000 strings", Filter::eq("author", "author number 17")),
        ("in, 1,000 strings", Filter::is_in("author", (0..1_000).map(|i| format!("author number {i}")))),
        ("range 10 %, integers", Filter::lt("group", 10)),
        ("range 10 %, distinct integers", Filter::lt("page", 10_000)),
        ("range 10 %, floats", Filter::gte("score", 9_000)),
        ("list contains", Filter::contains("tags", "t3")),
        ("and of eq and range", Filter::and([Filter::eq("draft", true), Filter::lt("score", 1_000)])),
        ("or of eq and range", Filter::or([Filter::eq("group", 7), Filter::lt("score", 1_000)])),
        ("document contains", Filter::document_contains("number 77")),
        ("eq 1 % and document contains", Filter::and([Filter::document_contains("ice"), Filter::eq("group", 7)])),
        ("document regex", Filter::document_matches("number 7[0-4]$").expect("the expression is valid")),
    ];
    let never = Interrupt::never();
    for (name, filter) in filters {
        let select = || {
            chunks
                .iter()
                .map(|c| filter.evaluate(&c.columns, c.texts(), &never).map_or(0, |rows| rows.len()))
                .sum::<u64>()
        };
        let selected = select();
        let ms = median_ms(|| _ = black_box(select()));
        println!("{name:<34} {ms:8.3} ms, {selected} rows");
    }
}
