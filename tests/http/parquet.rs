//! Records out as a Parquet file, over real HTTP.

use arrow::array::{AsArray, RecordBatch};
use bytes::Bytes;
use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

const C: &str = "/api/collections/things";
const HEADERS: [(&str, &str); 2] = [("content-type", "application/json"), ("accept", "application/vnd.apache.parquet")];

async fn start() -> Server {
    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    server.post("/api/collections", &json!({"name": "things", "metric": "l2"})).await;
    server
}

#[tokio::test]
async fn a_get_answers_a_parquet_file_of_the_fields_and_keys_that_it_asks_for() {
    let server = start().await;
    let records = json!({"records": [
        {"id": "a", "embedding": [0, 0], "metadata": {"n": 1, "f": 1.0}},
        {"id": "b", "embedding": [1, 0], "metadata": {"n": 2}},
        {"id": "c", "embedding": [0.1, 3], "document": "far"},
    ]});
    assert_eq!(server.post(&format!("{C}/add"), &records).await.status, 201);
    let body = json!({"where": {"n": {"$gte": 1}}, "include": ["metadata", "embedding"], "metadata_keys": ["n"]});
    let answer = server.send("POST", &format!("{C}/get"), &HEADERS, body.to_string().as_bytes()).await;
    assert!(answer.headers.contains("application/vnd.apache.parquet"), "{}", answer.headers);
    let file = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(answer.body)).unwrap();
    let properties = file.metadata().file_metadata().key_value_metadata().unwrap();
    assert!(properties.iter().any(|p| p.key == "version" && p.value.as_deref() == Some("1")), "{properties:?}");
    let batch = file.build().unwrap().next().unwrap().unwrap();
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["id", "metadata", "embedding"]);
    let metadata: Vec<_> = batch["metadata"].as_string::<i32>().iter().collect();
    assert_eq!((metadata, batch.num_rows()), (vec![Some("{\"n\":1}"), Some("{\"n\":2}")], 2));
    let got = server.post(&format!("{C}/get"), &json!({"ids": ["a"], "metadata_keys": ["f"]})).await.json();
    assert_eq!(got["records"][0]["metadata"], json!({"f": 1.0}), "as JSON too");
    server.stop().await;
}

/// A number from 0 to 1 that looks like chance (PCG's output function).
fn scattered(n: u32) -> f32 {
    let state = n.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (((word >> 22) ^ word) >> 8) as f32 / 16_777_216.0
}

#[tokio::test]
async fn a_parquet_answer_of_many_records_is_sent_in_row_groups() {
    let server = start().await;
    // Numbers that do not compress: row groups are counted by what they take.
    let numbers = |n: usize| (0..96).map(|d| scattered((n * 96 + d) as u32)).collect::<Vec<f32>>();
    for page in 0..5 {
        let records: Vec<_> =
            (0..4_000).map(|n| json!({"id": format!("r{page}-{n}"), "embedding": numbers(page * 4_000 + n)})).collect();
        assert_eq!(server.post(&format!("{C}/add"), &json!({"records": records})).await.status, 201);
    }
    let answer = server.send("POST", &format!("{C}/get"), &HEADERS, br#"{"include": ["embedding"]}"#).await;
    let file = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(answer.body)).unwrap();
    assert!(file.metadata().num_row_groups() > 1);
    let batches: Vec<RecordBatch> = file.build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
    assert_eq!(batches[0]["id"].as_string::<i32>().value(0), "r0-0");
    server.stop().await;
}
