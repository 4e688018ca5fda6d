//! What is left when a process is gone, what other instances see, and what becomes of damage.

use std::path::PathBuf;

use drumlin::files::ListFiles;
use drumlin::{ErrorKind, Scope, Store};

use super::*;

/// The parts in a folder, by key.
fn parts(folder: &Path) -> Vec<PathBuf> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => visit(&path, found),
                false if path.to_string_lossy().contains("/file/") => found.push(path),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    visit(folder, &mut found);
    found.sort();
    found
}

async fn open(folder: &Path) -> Store {
    let store = Store::open(small(Settings::folder(folder))).await.unwrap();
    store.wait_until_loaded().await;
    store
}

#[tokio::test]
async fn files_survive_the_process_with_sum_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let body = bytes(1, 4444);
    let before = {
        let store = open(folder.path()).await;
        let files = store.files();
        put(&files, "gone", b"x").await.unwrap();
        files.delete("gone").await.unwrap();
        put(&files, "vault/a", &body).await.unwrap().file
        // Not closed: as a kill would leave it.
    };
    for _ in 0..2 {
        let store = open(folder.path()).await;
        let files = store.files();
        assert_eq!(files.stat("vault/a", Consistency::Local).await.unwrap(), before);
        assert_eq!(read(&files, "vault/a").await.unwrap(), body);
        assert_eq!(files.stat("gone", Consistency::Local).await.map_err(|e| e.kind()), Err(ErrorKind::Gone));
        // The second time from segments.
        store.admin().maintain().await.unwrap();
        store.close(std::time::Duration::from_secs(5)).await.unwrap();
    }
}

#[tokio::test]
async fn two_stores_see_each_others_files() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()).await, open(folder.path()).await);
    let (here, there) = (one.files(), two.files());
    put(&here, "a", b"first").await.unwrap();
    assert_eq!(read(&there, "a").await.unwrap(), b"first", "that there is none is said only after a look");
    put(&there, "a", b"second").await.unwrap();
    assert_eq!(here.stat("a", Consistency::Local).await.unwrap().size, 5, "as this instance knows it");
    assert_eq!(here.stat("a", Consistency::Strong).await.unwrap().size, 6);
    there.delete("a").await.unwrap();
    assert_eq!(here.delete("a").await.map_err(|e| e.kind()), Err(ErrorKind::Gone));
    assert_eq!(here.get("a", Consistency::Strong).await.map(|_| ()).map_err(|e| e.kind()), Err(ErrorKind::Gone));
    // Both make the collection of the files at once: it is one.
    one.namespaces().create_database("default_tenant", "d").await.unwrap();
    let scope = Scope { database: "d".to_owned(), ..Scope::default() };
    let (x, y) = (one.with_scope(&scope).files(), two.with_scope(&scope).files());
    let (a, b) = tokio::join!(put(&x, "x", b"x"), put(&y, "y", b"y"));
    assert_eq!((a.unwrap().replaced, b.unwrap().replaced), (false, false));
    assert_eq!((read(&x, "y").await.unwrap(), read(&y, "x").await.unwrap()), (b"y".to_vec(), b"x".to_vec()));
}

#[tokio::test]
async fn a_damaged_part_is_named_and_no_byte_of_it_is_served_while_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve_folder(folder.path()).await;
    let body = bytes(1, 5500);
    server.send("PUT", "/api/files/whole", &[], &body).await;
    let before = parts(folder.path());
    server.send("PUT", "/api/files/hurt", &[], &body).await;
    let hurt: Vec<PathBuf> = parts(folder.path()).into_iter().filter(|part| !before.contains(part)).collect();
    assert_eq!(hurt.len(), 6);
    let path = &hurt[3];
    let sound = std::fs::read(path).unwrap();
    let flipped: Vec<u8> = sound.iter().enumerate().map(|(n, byte)| byte ^ u8::from(n == 500)).collect();
    for damage in [Some(flipped), Some(sound[..999].to_vec()), Some([&sound[..], b"x"].concat()), None] {
        match &damage {
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
        let cut = server.get("/api/files/hurt").await;
        assert_eq!((cut.status, cut.body == body[..3 * PART]), (200, true), "cut off where the damage begins");
        assert_eq!(header(&cut, "content-length"), Some("5500"), "so that nobody takes it for the whole");
        let first = server.send("GET", "/api/files/hurt", &[("range", "bytes=3100-3200")], b"").await;
        assert_eq!(first.status, 500, "{}", first.text());
        let key = path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
        assert!(first.text().contains(&key) && first.text().contains("\\\"hurt\\\""), "{key}: {}", first.text());
        for range in ["bytes=0-2999", "bytes=4000-5499"] {
            assert_eq!(server.send("GET", "/api/files/hurt", &[("range", range)], b"").await.status, 206, "{range}");
        }
        assert_eq!(server.get("/api/files/whole").await.body, body);
        std::fs::write(path, &sound).unwrap();
    }
    assert_eq!(server.get("/api/files/hurt").await.body, body);
    server.stop().await;
}

#[tokio::test]
async fn parts_that_were_exchanged_are_found_though_each_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let files = store.files();
    put(&files, "a", &bytes(1, 3000)).await.unwrap();
    let parts = parts(folder.path());
    let (one, two) = (std::fs::read(&parts[0]).unwrap(), std::fs::read(&parts[1]).unwrap());
    std::fs::write(&parts[0], two).unwrap();
    std::fs::write(&parts[1], one).unwrap();
    assert_eq!(read(&files, "a").await.map_err(|e| e.kind()), Err(ErrorKind::Corrupted));
}

#[tokio::test]
async fn files_of_a_database_that_another_store_has_dropped_and_made_anew_are_found_there() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path()).await;
    let two = {
        let mut settings = small(Settings::folder(folder.path()));
        settings.sync_interval = std::time::Duration::from_secs(1 << 24);
        Store::open(settings).await.unwrap()
    };
    let (here, there) = (one.files(), two.files());
    let all = ListFiles { prefix: String::new(), limit: 10, after: None };
    for what in ["stat", "get", "delete", "list"] {
        let scope = Scope::default();
        put(&here, "old", b"old").await.unwrap();
        there.stat("old", Consistency::Strong).await.unwrap();
        one.namespaces().drop_database(&scope.tenant, &scope.database).await.unwrap();
        one.namespaces().create_database(&scope.tenant, &scope.database).await.unwrap();
        put(&here, "new", b"new").await.unwrap();
        let found = match what {
            "stat" => there.stat("new", Consistency::Local).await.map(drop),
            "get" => read(&there, "new").await.map(|bytes| assert_eq!(bytes, b"new")),
            "delete" => there.delete("new").await.map(drop),
            _ => there.list(&all, Consistency::Strong).await.map(|page| assert_eq!(page.files.len(), 1)),
        };
        assert_eq!(found.map_err(|error| error.to_string()), Ok(()), "{what}");
    }
}
