//! A server whose bucket is away: at its start, while it runs, and when it is told to stop. The bucket is a real S3
//! server behind a gate that lets everything through, nothing, or swallows what is sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use drumlin::admin::Opening;
use drumlin::http::HttpSettings;
use drumlin::settings::S3Settings;
use drumlin::{Error, ErrorKind, Result, Settings, Storage, Store};
use drumlin_test_servers::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const OPEN: u8 = 0;
/// Connections are taken, and nothing comes back.
const HOLE: u8 = 1;

/// A port before an S3 server.
struct Gate {
    address: SocketAddr,
    way: Arc<AtomicU8>,
}

impl Gate {
    async fn before(server: &S3Server, way: u8) -> Gate {
        Gate::at("127.0.0.1:0", server, way).await
    }

    async fn at(address: &str, server: &S3Server, way: u8) -> Gate {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = server.endpoint().trim_start_matches("http://").to_owned();
        let way = Arc::new(AtomicU8::new(way));
        let seen = way.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (behind, way) = (behind.clone(), seen.clone());
                tokio::spawn(async move {
                    let far = TcpStream::connect(&behind).await.unwrap();
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::join!(pass(near_in, far_out, way.clone()), pass(far_in, near_out, way));
                });
            }
        });
        Gate { address, way }
    }

    fn set(&self, way: u8) {
        self.way.store(way, Ordering::SeqCst);
    }
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, way: Arc<AtomicU8>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        while way.load(Ordering::SeqCst) == HOLE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

fn settings(address: SocketAddr, bucket: &str) -> Settings {
    Settings::new(Storage::S3(S3Settings {
        endpoint: Some(format!("http://{address}")),
        access_key_id: Some(ACCESS_KEY.into()),
        secret_access_key: Some(SECRET_KEY.into()),
        ..S3Settings::new(bucket)
    }))
}

/// A server that was started over `settings`, whether its store is open or not.
struct Started {
    url: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<()>>,
}

impl Started {
    async fn over(settings: Settings) -> Started {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let opening = Opening::new(&settings);
        let store = Store::open_watched(settings, opening.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let http = HttpSettings { drain_timeout: Duration::from_secs(20), ..HttpSettings::default() };
        let served = tokio::spawn(drumlin::http::serve_opening(listener, opening, store, http, shutdown));
        Started { url, stop, served }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = client().get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn post(url: String, body: Value) -> (u16, Value) {
        let request = client().post(url).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn until_ready(&self) {
        let began = Instant::now();
        while self.get("/ready").await.0 != 200 {
            assert!(began.elapsed() < Duration::from_secs(50), "{:?}", self.get("/health").await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        self.served.await.unwrap()
    }
}

/// A client that asks as nobody in between would.
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(60)).build().unwrap()
}

fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_bucket_is_up_late_answers_meanwhile_and_serves_then() {
    install_tls();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Started::over(settings(free, BUCKET)).await;
    let (status, health) = server.get("/health").await;
    assert_eq!((status, &health["status"]), (200, &json!("starting")), "{health}");
    assert_eq!(health["storage"]["connected"], json!(false), "{health}");
    assert_eq!(server.get("/ready").await.0, 503);
    let (status, refused) = server.get("/api/collections").await;
    assert_eq!(status, 503);
    assert!(refused["error"]["message"].as_str().unwrap().contains("is starting"), "{refused}");
    assert_eq!(server.get("/api/v2/heartbeat").await.0, 503);
    let began = Instant::now();
    loop {
        let (_, health) = server.get("/health").await;
        let waits = health["waiting_for"].as_str().unwrap().to_owned();
        if waits.contains(BUCKET) && !health["storage"]["last_error"].is_null() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "what is waited for is not told: {waits}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let s3 = S3Server::start().await;
    let _gate = Gate::at(&free.to_string(), &s3, OPEN).await;
    server.until_ready().await;
    let (status, health) = server.get("/health").await;
    assert_eq!((status, &health["status"]), (200, &json!("ok")), "{health}");
    assert!(health.get("waiting_for").is_none(), "{health}");
    assert_eq!(server.get("/api/collections").await.0, 200);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_into_a_black_hole_answers_at_once_and_ends_with_a_sentence_when_its_time_is_over() {
    install_tls();
    let s3 = S3Server::start().await;
    let gate = Gate::before(&s3, HOLE).await;
    let patience = Duration::from_secs(6);
    let server = Started::over(Settings { start_timeout: patience, ..settings(gate.address, BUCKET) }).await;
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let (_, health) = server.get("/health").await;
        assert!(asked.elapsed() < Duration::from_secs(2), "/health waited");
        assert_eq!((&health["status"], &health["storage"]["connected"]), (&json!("starting"), &json!(false)));
        if health["waiting_for"].as_str().unwrap().contains("to answer, for") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = tokio::time::timeout(Duration::from_secs(20), server.served).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message().matches("6 s (start_timeout)").count(), 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_certainly_wrong_ends_the_start_at_once() {
    install_tls();
    let s3 = S3Server::start().await;
    let gate = Gate::before(&s3, OPEN).await;
    let no_bucket = settings(gate.address, "no-such-bucket");
    let mut wrong_key = settings(gate.address, BUCKET);
    if let Storage::S3(s3) = &mut wrong_key.storage {
        s3.secret_access_key = Some("wrong".into());
    }
    let no_bucket = (no_bucket, ErrorKind::Unavailable, "NoSuchBucket");
    let wrong_key = (wrong_key, ErrorKind::Unauthorized, "SignatureDoesNotMatch");
    for (settings, kind, words) in [no_bucket, wrong_key] {
        let began = Instant::now();
        let error = Store::open(settings).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(words), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "it was waited for: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_outage_health_tells_and_whoever_waits_when_the_server_stops_gets_an_answer() {
    install_tls();
    let s3 = S3Server::start().await;
    let gate = Gate::before(&s3, OPEN).await;
    let server = Started::over(settings(gate.address, BUCKET)).await;
    server.until_ready().await;
    let collections = format!("{}/api/collections", server.url);
    assert_eq!(Started::post(collections.clone(), json!({"name": "notes"})).await.0, 201);
    gate.set(HOLE);
    let record = json!({"records": [{"id": "a", "embedding": [1, 2]}]});
    let add = tokio::spawn(Started::post(format!("{collections}/notes/add"), record));
    let strong = format!("{collections}/notes?consistency=strong");
    let read = tokio::spawn(async move { client().get(strong).send().await.expect("an answer").status().as_u16() });
    let began = Instant::now();
    while server.get("/health").await.1["storage"]["connected"] == json!(true) {
        assert!(began.elapsed() < Duration::from_secs(6), "the outage is not told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = Instant::now();
    server.stop().await.unwrap();
    assert!(told.elapsed() < Duration::from_secs(15), "stopping took {:?}", told.elapsed());
    let (status, answer) = add.await.unwrap();
    assert_eq!((status, &answer["error"]["kind"]), (504, &json!("outcome_unknown")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("the server stops"), "{answer}");
    assert_eq!(read.await.unwrap(), 503);
}

#[test]
fn a_store_that_is_opened_outside_of_a_runtime_says_so_and_does_not_panic() {
    let mut opening = std::pin::pin!(Store::open(Settings::new(Storage::Memory)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(opened) = opening.as_mut().poll(&mut context) else { panic!("it waits for something") };
    let error: Error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("tokio runtime"), "{error}");
}
