//! What embedding texts costs here, driven by `benches/embedding.py`: `cargo bench --bench embedding -- FOLDER` puts the
//! model of a folder into a bucket in memory and embeds with one thread, as a collection does. Each line of its input is
//! JSON, `{"texts": […], "runs": n}`. It answers each with the CPU seconds of the process for all runs and the seconds
//! of the median run by the clock: `{"cpu_s": …, "p50_s": …}`. The first answer is about loading.

use std::io::{BufRead, Write};
use std::time::Instant;

use drumlin::models::{Embedder, TextRole, folder_files};
use drumlin::{Collection, CollectionSpec, Error, Settings, Storage, Store};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    // Without a folder there is nothing to measure: `cargo bench` alone passes by.
    let Some(folder) = folder else { return Ok(()) };
    let mut settings = Settings::new(Storage::Memory);
    (settings.index_threads, settings.search_threads) = (1, 1);
    let store = Store::open(settings).await?;
    let info = store.models().add("model", folder_files(folder.as_ref())?).await?;
    let notes = store.create_collection(CollectionSpec::new("notes").embedder(Embedder::model("model"))).await?;
    notes.embed(vec!["loads it".to_owned()], TextRole::Query).await?;
    let mut out = std::io::stdout().lock();
    answer(&mut out, &json!({"cpu_s": cpu_s(), "held_bytes": info.memory_bytes}))?;
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        answer(&mut out, &measured(&notes, &asked).await?)?;
    }
    Ok(())
}

async fn measured(notes: &Collection, asked: &Value) -> Result<Value, Error> {
    let texts = asked["texts"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let texts: Vec<String> = texts.map(str::to_owned).collect();
    // One text is a query as a rule; many are documents, at a low priority.
    let role = if texts.len() == 1 { TextRole::Query } else { TextRole::Passage };
    let (start, mut taken) = (cpu_s(), Vec::new());
    for _ in 0..asked["runs"].as_u64().unwrap_or(1) {
        let began = Instant::now();
        notes.embed(texts.clone(), role).await?;
        taken.push(began.elapsed().as_secs_f64());
    }
    taken.sort_by(f64::total_cmp);
    Ok(json!({"cpu_s": cpu_s() - start, "p50_s": taken.get(taken.len() / 2)}))
}

fn answer(out: &mut impl Write, value: &Value) -> std::io::Result<()> {
    writeln!(out, "{value}")?;
    out.flush()
}

fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
