//! A server on a loopback port over a store in memory, and a client that can send any bytes: requests
//! are written by hand, because half of what is sent here is what a proper client would refuse to send.
//! Its futures are boxed: an `async fn` is compiled again in each crate that awaits it, with the server below it; what
//! is boxed here is compiled here.

use std::net::SocketAddr;
use std::time::Duration;

use drumlin::http::HttpSettings;
use drumlin::{Settings, Store};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running server; [`stop`](Server::stop) ends it in order.
pub struct Server {
    pub address: SocketAddr,
    pub store: Store,
    stop: oneshot::Sender<()>,
    served: JoinHandle<drumlin::Result<()>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The header lines, lower case.
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Server {
    /// Opens a store and serves it.
    pub fn with(settings: Settings, http: HttpSettings) -> BoxFuture<'static, Server> {
        Box::pin(async move {
            let store = Store::open(settings).await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = oneshot::channel::<()>();
            let shutdown = async {
                let _ = stopped.await;
            };
            let served = tokio::spawn(drumlin::http::serve(listener, store.clone(), http, shutdown));
            Server { address, store, stop, served }
        })
    }

    /// Stops the server and waits until it has; then closes the store.
    pub fn stop(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _ = self.stop.send(());
            self.served.await.unwrap().unwrap();
            self.store.close(Duration::from_secs(5)).await.unwrap();
        })
    }

    /// A GET without a body.
    pub fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Answer> {
        self.send("GET", path, &[], b"")
    }

    /// A POST of JSON.
    pub fn post<'a>(&'a self, path: &'a str, body: &'a Value) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            self.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes()).await
        })
    }

    /// One request on a connection of its own.
    pub fn send<'a>(
        &'a self,
        method: &'a str,
        path: &'a str,
        headers: &'a [(&'a str, &'a str)],
        body: &'a [u8],
    ) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
                head += &format!("host: {}\r\n", self.address);
            }
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            if !headers.iter().any(|(name, _)| matches!(*name, "content-length" | "transfer-encoding")) {
                head.push_str(&format!("content-length: {}\r\n", body.len()));
            }
            head.push_str("\r\n");
            self.send_raw(&[head.as_bytes(), body].concat()).await.expect("an answer")
        })
    }

    /// Bytes as they are, then the end of sending; the answer, or nothing if the server just hung up.
    pub fn send_raw<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Option<Answer>> {
        Box::pin(async move {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let (mut read, mut write) = stream.into_split();
            let mut answer = Vec::new();
            // A server that refuses early stops reading: writing then fails, and the answer is what counts.
            let (_, _) = tokio::join!(
                async {
                    let _ = write.write_all(bytes).await;
                    let _ = write.flush().await;
                },
                async {
                    let all = read.read_to_end(&mut answer);
                    tokio::time::timeout(Duration::from_secs(30), all).await.expect("30 s")
                }
            );
            parse(&answer)
        })
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let body = if head.contains("transfer-encoding: chunked") { joined(body)? } else { body.to_vec() };
    Some(Answer { status, headers: head, body })
}

/// The bytes of a body that came in chunks; nothing if its end did not come.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|w| w == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunks.get(end + 2..end + 2 + size)?);
        chunks = chunks.get(end + 2 + size + 2..)?;
    }
}
