//! The map of a collection, and one record's neighbours, over the native API.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Float32Type;
use arrow::ipc::reader::StreamReader;
use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use serde_json::{Value, json};

const MAP: &str = "/api/collections/things/map";

/// A server with four clusters of 60 records around the axes, named after their cluster.
async fn start(metric: &str) -> Server {
    start_on(Storage::Memory, metric).await
}

async fn start_on(storage: Storage, metric: &str) -> Server {
    let server = Server::with(Settings::new(storage), HttpSettings::default()).await;
    server.post("/api/collections", &json!({"name": "things", "metric": metric})).await;
    let record = |n: usize| {
        let noise = |axis: usize| ((n * 31 + axis * 17) % 97) as f32 / 970.0;
        let embedding: Vec<f32> = (0..8).map(|axis| noise(axis) + if axis == n % 4 { 1.0 } else { 0.0 }).collect();
        json!({"id": format!("{}-{n}", n % 4), "embedding": embedding})
    };
    let records = json!({"records": (0..240).map(record).collect::<Vec<_>>()});
    assert_eq!(server.post("/api/collections/things/add", &records).await.status, 201);
    server
}

/// Asks for the map until it is there.
async fn made(server: &Server) -> Vec<(String, f32, f32)> {
    for _ in 0..600 {
        let begun = server.post(MAP, &json!({})).await;
        let progress = begun.json()["progress"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&progress), "{progress}");
        if begun.status == 200 {
            return points_of(&server.get(MAP).await.body);
        }
        assert_eq!(begun.status, 202, "{}", begun.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the map was not made");
}

fn points_of(body: &[u8]) -> Vec<(String, f32, f32)> {
    let mut reader = StreamReader::try_new(body, None).unwrap();
    let told = |name: &str| reader.schema().metadata().get(name).map(|value| value.parse::<f64>().unwrap());
    let (trust, continuity) = (told("trustworthiness").unwrap(), told("continuity").unwrap());
    assert!(trust > 0.8 && continuity > 0.8, "{trust} {continuity}");
    let batch = reader.next().unwrap().unwrap();
    let (ids, x, y) = (
        batch["id"].as_string::<i32>(),
        batch["x"].as_primitive::<Float32Type>(),
        batch["y"].as_primitive::<Float32Type>(),
    );
    (0..batch.num_rows()).map(|row| (ids.value(row).to_owned(), x.value(row), y.value(row))).collect()
}

#[tokio::test]
async fn a_map_keeps_clusters_together_and_is_made_once_for_a_version() {
    for metric in ["cosine", "l2", "ip"] {
        let server = start(metric).await;
        let none = server.get(MAP).await;
        assert_eq!(none.status, 404);
        assert!(none.text().contains("no map of this collection"), "{}", none.text());
        let points = made(&server).await;
        assert_eq!(points.len(), 240);
        let cluster = |id: &str| id.split('-').next().unwrap().to_owned();
        let strangers = points.iter().filter(|(id, x, y)| {
            let square = |other: &(String, f32, f32)| (other.1 - x).powi(2) + (other.2 - y).powi(2);
            let others = points.iter().filter(|other| other.0 != *id);
            let nearest = others.min_by(|a, b| square(a).total_cmp(&square(b))).unwrap();
            cluster(&nearest.0) != cluster(id)
        });
        assert!(strangers.count() <= 4, "{metric}");
        let again = server.get(MAP).await;
        let tag = again.headers.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().trim().to_owned();
        assert_eq!(server.send("GET", MAP, &[("if-none-match", &tag)], b"").await.status, 304);
        let same = server.post(MAP, &json!({})).await;
        assert_eq!((same.status, same.json()), (200, json!({"progress": 1.0})));
        assert_eq!(made(&server).await, points, "the same map each time");
        let one = json!({"records": [{"id": "0-new", "embedding": [1, 0, 0, 0, 0, 0, 0, 0]}]});
        assert_eq!(server.post("/api/collections/things/add", &one).await.status, 201);
        server.post(MAP, &json!({})).await;
        assert!([240, 241].contains(&points_of(&server.get(MAP).await.body).len()), "there is a map meanwhile");
        let more = made(&server).await;
        assert_eq!(more[..240], points, "what was on the map stays where it is");
        assert_eq!(more.len(), 241);
        server.stop().await;
    }
}

/// One record by its id.
fn point_of(points: &[(String, f32, f32)], id: &str) -> [f32; 2] {
    points.iter().find(|point| point.0 == id).map(|(_, x, y)| [*x, *y]).unwrap()
}

#[tokio::test]
async fn a_map_is_continued_until_a_tenth_of_its_records_has_changed() {
    let server = start("l2").await;
    let points = made(&server).await;
    let axis = |axis: usize| (0..8).map(|n| if n == axis { 1.05 } else { 0.05 }).collect::<Vec<f32>>();
    // 0-0 goes to another cluster, 1-1 only gets a colour, 2-2 is no more: three changes.
    let moved = json!({"records": [{"id": "0-0", "embedding": axis(3)}]});
    let coloured = json!({"records": [{"id": "1-1", "metadata": {"colour": "red"}}]});
    assert_eq!(server.post("/api/collections/things/upsert", &moved).await.status, 200);
    assert_eq!(server.post("/api/collections/things/update", &coloured).await.status, 200);
    assert_eq!(server.post("/api/collections/things/delete", &json!({"ids": ["2-2"]})).await.status, 200);
    let continued = made(&server).await;
    assert_eq!(continued.len(), 239);
    for (id, x, y) in points.iter().filter(|point| !["0-0", "2-2"].contains(&point.0.as_str())) {
        assert_eq!(point_of(&continued, id), [*x, *y], "{id} stays");
    }
    let away = |from: &str| {
        let ([x, y], [u, v]) = (point_of(&continued, "0-0"), point_of(&continued, from));
        (x - u).hypot(y - v)
    };
    assert!(away("3-3") < away("0-4"), "{} {}", away("3-3"), away("0-4"));
    let more = |n: usize| json!({"id": format!("3-more-{n}"), "embedding": axis(3)});
    let more = json!({"records": (0..30).map(more).collect::<Vec<_>>()});
    assert_eq!(server.post("/api/collections/things/add", &more).await.status, 201);
    let anew = made(&server).await;
    assert_eq!(anew.len(), 269);
    let stayed = continued.iter().filter(|(id, x, y)| point_of(&anew, id) == [*x, *y]);
    assert_eq!(stayed.count(), 0, "all are laid out anew");
    server.stop().await;
}

#[tokio::test]
async fn a_restart_has_the_map_that_was_made_before() {
    let folder = tempfile::tempdir().unwrap();
    let storage = || Storage::Folder(folder.path().to_owned());
    let server = start_on(storage(), "cosine").await;
    let points = made(&server).await;
    let stored = |metrics: String| metrics.contains("drumlin_maps_stored_total 1");
    for _ in 0..200 {
        if stored(server.get("/metrics").await.text()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(stored(server.get("/metrics").await.text()));
    server.stop().await;
    let again = Server::with(Settings::new(storage()), HttpSettings::default()).await;
    let map = again.get(MAP).await;
    assert_eq!((map.status, points_of(&map.body)), (200, points));
    assert!(again.get("/metrics").await.text().contains("drumlin_maps_loaded_total 1"));
    again.stop().await;
}

#[tokio::test]
async fn the_neighbours_of_a_record_leave_out_the_record_itself() {
    let server = start("cosine").await;
    let path = "/api/collections/things/neighbors";
    let answer = server.post(path, &json!({"id": "2-42", "k": 5})).await;
    let neighbors = answer.json()["neighbors"].as_array().unwrap().clone();
    assert_eq!(neighbors.len(), 5, "{}", answer.text());
    let ids: Vec<&str> = neighbors.iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| id.starts_with("2-") && *id != "2-42"), "{ids:?}");
    let distances = neighbors.iter().map(|one| one["distance"].as_f64().unwrap()).collect::<Vec<_>>();
    assert!(distances.is_sorted());
    for (body, status) in [
        (json!({"id": "nobody"}), 404),
        (json!({"id": "2-42", "k": 0}), 422),
        (json!({}), 400),
        (json!({"id": 1}), 400),
    ] {
        assert_eq!(server.post(path, &body).await.status, status, "{body}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_has_no_embeddings_has_no_map() {
    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    server.post("/api/collections", &json!({"name": "things", "dimension": 0})).await;
    let refused = server.post(MAP, &json!({})).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("a map needs embeddings"), "{}", refused.text());
    let few = json!({"records": [{"id": "a", "embedding": [1.0]}]});
    server.post("/api/collections", &json!({"name": "few"})).await;
    assert_eq!(server.post("/api/collections/few/add", &few).await.status, 201);
    server.post("/api/collections/few/map", &Value::Null).await;
    server.stop().await;
}
