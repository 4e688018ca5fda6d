//! What uploads and downloads may take: memory, time.

use std::time::Duration;

use drumlin::{ErrorKind, Store};
use futures::StreamExt;

use super::*;

/// A store whose files may take `parts` parts of memory.
async fn store(parts: usize, idle: Duration) -> Store {
    let mut settings = Settings::new(Storage::Memory);
    settings.files.part_bytes = 1 << 20;
    settings.files.memory_bytes = parts << 20;
    settings.files.idle_timeout = idle;
    Store::open(settings).await.unwrap()
}

#[tokio::test]
async fn many_at_once_wait_for_memory_and_all_come_through() {
    let store = store(2, Duration::from_secs(30)).await;
    let files = store.files();
    let bodies: Vec<Vec<u8>> = (0..6).map(|n| bytes(n, (3 << 20) + 12_345)).collect();
    let puts = bodies.iter().enumerate().map(|(n, body)| {
        let files = &files;
        async move { put(files, &format!("f{n}"), body).await.map(|stored| stored.file.size) }
    });
    for stored in futures::future::join_all(puts).await {
        assert_eq!(stored.map_err(|e| e.to_string()), Ok((3 << 20) + 12_345));
    }
    let reads = (0..6).map(|n| {
        let files = &files;
        async move { read(files, &format!("f{n}")).await.unwrap() }
    });
    assert_eq!(futures::future::join_all(reads).await, bodies);
    let counts = store.admin().file_counters();
    assert_eq!((counts.puts, counts.bytes_in), (6, 6 * ((3 << 20) + 12_345)));
    assert_eq!(counts.bytes_out, counts.bytes_in);
    assert!(counts.waits > 0, "{counts:?}");
}

#[tokio::test]
async fn who_waits_for_memory_too_long_is_told_and_what_is_given_up_frees_it() {
    let store = store(1, Duration::from_millis(200)).await;
    let files = store.files();
    put(&files, "a", &bytes(1, 3 << 20)).await.unwrap();
    let mut held = files.get("a", Consistency::Local).await.unwrap();
    held.next().await.unwrap();
    let refused = files.get("a", Consistency::Local).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.message().contains("files.memory_bytes"), "{refused}");
    drop(held);
    assert_eq!(read(&files, "a").await.unwrap(), bytes(1, 3 << 20));
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up_and_one_that_only_is_slow_is_not() {
    let mut settings = small(Settings::new(Storage::Memory));
    settings.files.idle_timeout = Duration::from_millis(400);
    // The time for a request is no limit to a file's.
    let http = HttpSettings { request_timeout: Duration::from_millis(300), ..HttpSettings::default() };
    let server = Server::with(settings, http).await;
    let upload = async |name: &str, pause: Duration| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "PUT /api/files/{name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 50\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..5 {
            tokio::time::sleep(pause).await;
            let _ = stream.write_all(&[7; 10]).await;
        }
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(upload("slow", Duration::from_millis(120)).await, "201");
    assert_eq!(upload("still", Duration::from_millis(900)).await, "503");
    assert_eq!(server.get("/api/files/slow").await.body, [7; 50]);
    assert_eq!(server.get("/api/files/still").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_body_whose_stream_fails_is_not_stored() {
    let store = store(4, Duration::from_secs(5)).await;
    let files = store.files();
    let broken = drumlin::Error::new(ErrorKind::Invalid, "the source broke off");
    let body = futures::stream::iter(vec![Ok(Bytes::from(vec![1; 3 << 20])), Err(broken)]).boxed();
    let refused = files.put("a", PutFile::default(), body).await.unwrap_err();
    assert_eq!(refused.message(), "the source broke off");
    assert_eq!(read(&files, "a").await.map_err(|e| e.kind()), Err(ErrorKind::NotFound));
}
