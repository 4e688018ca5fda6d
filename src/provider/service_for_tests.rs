//! A service for embeddings in the test's own process, over plain TCP: it answers as a test tells it to, the wrong way
//! included, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The dimension of the vectors.
pub(super) const DIMENSION: usize = 3;

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) head: String,
    pub(super) body: Value,
    pub(super) at: Instant,
}

/// What to answer.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// The vectors of the texts.
    Vectors,
    /// A status, further headers with line ends, and a body.
    Whole(u16, String, String),
    /// Bytes as they are, and the end of the connection.
    Raw(String),
    /// Chunks without end, with a pause before each.
    Endless(Duration),
    /// Nothing, until the client goes away.
    Silence,
    /// Another answer, later.
    After(Duration, Box<Reply>),
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    sent_bytes: AtomicUsize,
    gone: AtomicUsize,
}

/// The service.
#[derive(Clone)]
pub(super) struct TestService {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    counts: Arc<Counts>,
    reply: Replying,
}

/// How the request of this number is answered.
type Replying = Arc<dyn Fn(usize, &Asked) -> Reply + Send + Sync>;

/// The vector of a text.
pub(super) fn vector_of(text: &str) -> Vec<f32> {
    let sum: u32 = text.bytes().map(u32::from).sum();
    vec![text.len() as f32, sum as f32, 0.5]
}

impl TestService {
    /// Starts a service. `reply` gets the number of the request, from 0, and the request.
    pub(super) async fn start(reply: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> TestService {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, counts) = (Arc::default(), Arc::default());
        let service = TestService { address, asked, counts, reply: Arc::new(reply) };
        let serving = service.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.counts.connections.fetch_add(1, Ordering::SeqCst);
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        service
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.counts.most_at_once.load(Ordering::SeqCst)
    }

    pub(super) fn sent_bytes(&self) -> usize {
        self.counts.sent_bytes.load(Ordering::SeqCst)
    }

    /// Clients that went away before their answer.
    pub(super) fn gone(&self) -> usize {
        self.counts.gone.load(Ordering::SeqCst)
    }

    async fn serve(&self, mut stream: TcpStream) {
        while let Some(asked) = read(&mut stream).await {
            let number = {
                let mut all = self.asked.lock();
                all.push(asked.clone());
                all.len() - 1
            };
            let at_once = self.counts.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.counts.most_at_once.fetch_max(at_once, Ordering::SeqCst);
            let kept = self.answer(&mut stream, &asked, (self.reply)(number, &asked)).await;
            self.counts.at_once.fetch_sub(1, Ordering::SeqCst);
            if !kept {
                return;
            }
        }
    }

    /// Answers; whether the connection is kept.
    async fn answer(&self, stream: &mut TcpStream, asked: &Asked, mut reply: Reply) -> bool {
        while let Reply::After(wait, later) = reply {
            tokio::time::sleep(wait).await;
            reply = *later;
        }
        match reply {
            Reply::Vectors => stream.write_all(whole(200, "", &vectors(asked)).as_bytes()).await.is_ok(),
            Reply::Whole(status, headers, body) => {
                stream.write_all(whole(status, &headers, &body).as_bytes()).await.is_ok()
            }
            Reply::Raw(text) => {
                // The client may have gone before it has read all.
                let _ = stream.write_all(text.as_bytes()).await;
                false
            }
            Reply::Endless(pause) => {
                self.endless(stream, pause).await;
                false
            }
            Reply::Silence | Reply::After(..) => {
                if stream.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes == 0) {
                    self.counts.gone.fetch_add(1, Ordering::SeqCst);
                }
                false
            }
        }
    }

    async fn endless(&self, stream: &mut TcpStream, pause: Duration) {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("400\r\n{}\r\n", " ".repeat(1_024));
        let mut sent = stream.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            tokio::time::sleep(pause).await;
            sent = stream.write_all(chunk.as_bytes()).await;
            self.counts.sent_bytes.fetch_add(1_024, Ordering::SeqCst);
        }
    }
}

/// The right answer to a request, its rows from the last to the first.
pub(super) fn vectors(asked: &Asked) -> String {
    let texts: Vec<&str> = asked.body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let rows = texts.iter().enumerate().rev();
    let rows: Vec<Value> = rows
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": vector_of(text)}))
        .collect();
    json!({"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}).to_string()
}

fn whole(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Told\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let length: usize = length.unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = serde_json::from_slice(&bytes[end..end + length]).unwrap_or_default();
    let line = head.lines().next().unwrap_or_default().to_owned();
    Some(Asked { line, head, body, at: Instant::now() })
}
