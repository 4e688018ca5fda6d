//! The tools for the bad day on a bucket with files: what is sound is called sound, every damaged part is named with
//! its file, and a bucket of this format stays readable.

use std::path::PathBuf;

use drumlin::admin::CollectionSelector;
use drumlin::admin::check_report::BucketCheck;
use drumlin::files::ListFiles;
use drumlin::{ErrorKind, Scope, Store};

use super::*;

async fn verify(folder: &Path) -> BucketCheck {
    drumlin::admin::verify(&Settings::folder(folder), &CollectionSelector::default()).await.unwrap()
}

async fn open(folder: &Path) -> Store {
    let mut settings = small(Settings::folder(folder));
    settings.maintenance = false;
    let store = Store::open(settings).await.unwrap();
    store.wait_until_loaded().await;
    store
}

/// Where the parts of files lie, and the bytes of each.
fn parts(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().contains("/file/") => {
                    found.push((path.clone(), std::fs::read(&path).unwrap()))
                }
                false => {}
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn verify_calls_files_sound_and_names_every_damaged_part() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let files = store.files();
    for (n, name) in (0..).zip(["a", "b/c", "replaced", "deleted"]) {
        put(&files, name, &bytes(n, 2500)).await.unwrap();
    }
    let of_a = parts(folder.path())[0].0.parent().unwrap().to_owned();
    for flushed in [false, true] {
        if flushed {
            store.admin().maintain().await.unwrap();
            put(&files, "replaced", &bytes(9, 100)).await.unwrap();
            files.delete("deleted").await.unwrap();
        }
        let check = verify(folder.path()).await;
        assert!(check.sound && check.all_findings().count() == 0, "{:#?}", check.all_findings().collect::<Vec<_>>());
        let stream = check.streams.iter().find(|stream| stream.stream.starts_with("c/")).unwrap();
        assert_eq!(stream.name.as_deref(), Some("default_tenant/default_database/.files"));
        let orphans = if flushed { 6 } else { 0 };
        assert_eq!((stream.records, stream.orphans.objects), (4, orphans));
    }
    let named: Vec<(PathBuf, Vec<u8>)> =
        parts(folder.path()).into_iter().filter(|(path, _)| path.starts_with(&of_a)).collect();
    assert_eq!(named.len(), 3);
    for (n, (path, sound)) in named.iter().enumerate() {
        match n {
            0 => std::fs::write(path, sound.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>()).unwrap(),
            1 => std::fs::write(path, &sound[..sound.len() - 1]).unwrap(),
            _ => std::fs::remove_file(path).unwrap(),
        }
        let check = verify(folder.path()).await;
        let found: Vec<_> = check.all_findings().collect();
        let key = path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
        assert_eq!((check.sound, found.len(), &found[0].key), (false, 1, &key), "{found:#?}");
        assert!(found[0].cause.contains("file \"a\""), "{found:#?}");
        std::fs::write(path, sound).unwrap();
    }
    assert!(verify(folder.path()).await.sound);
}

#[tokio::test]
async fn what_a_dropped_database_leaves_of_its_files_is_garbage_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = small(Settings::folder(folder.path()));
    settings.maintenance = false;
    settings.timing.keep = std::time::Duration::from_millis(10);
    let store = Store::open(settings.clone()).await.unwrap();
    store.namespaces().create_database("default_tenant", "d").await.unwrap();
    let files = store.with_scope(&Scope { database: "d".to_owned(), ..Scope::default() }).files();
    put(&files, "a", &bytes(1, 2500)).await.unwrap();
    store.namespaces().drop_database("default_tenant", "d").await.unwrap();
    assert_eq!(read(&files, "a").await.map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    store.admin().maintain().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let pending = drumlin::admin::garbage(&settings, false).await.unwrap();
    assert_eq!(pending.iter().filter(|pending| pending.key.contains("/file/")).count(), 3, "{pending:?}");
    store.admin().maintain().await.unwrap();
    assert_eq!(parts(folder.path()), []);
    assert!(verify(folder.path()).await.sound);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (source, target) = { entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap() };
        if source.is_dir() { copy(&source, &target) } else { std::fs::copy(&source, &target).map(drop).unwrap() }
    }
}

/// `data-fixtures/format-1-files` holds files in a segment and in the log, replaced ones and a deleted one, a sweep
/// that has noted contents, and an upload that came to nothing.
#[tokio::test]
async fn the_files_of_a_format_1_bucket_are_read_written_and_sound() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data-fixtures/format-1-files");
    copy(&fixture.join("bucket"), folder.path());
    let before = verify(folder.path()).await;
    assert!(before.sound && before.all_findings().count() == 0, "{:#?}", before.all_findings().collect::<Vec<_>>());
    let mut settings = small(Settings::folder(folder.path()));
    settings.maintenance = false;
    settings.timing.keep = std::time::Duration::from_millis(1);
    settings.timing.garbage = settings.timing.keep;
    let store = Store::open(settings).await.unwrap();
    store.wait_until_loaded().await;
    let files = store.files();
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture.join("expected.json")).unwrap()).unwrap();
    let list = ListFiles { prefix: String::new(), after: None, limit: 100 };
    let listed = files.list(&list, Consistency::Strong).await.unwrap().files;
    assert_eq!(listed.len(), expected.as_object().unwrap().len());
    for file in listed {
        let said = &expected[&file.name];
        let told = serde_json::json!({
            "size": file.size, "sha256": file.sha256, "content_type": file.content_type,
            "uploaded_at": file.uploaded_at_ms, "auto_delete": file.auto_delete == Some(true), "version": file.version,
        });
        assert_eq!(*said, told, "{}", file.name);
        assert_eq!(sum(&read(&files, &file.name).await.unwrap()), file.sha256);
    }
    assert_eq!(files.stat("deleted", Consistency::Local).await.map_err(|e| e.kind()), Err(ErrorKind::Gone));
    put(&files, "written/later", &bytes(1, 1500)).await.unwrap();
    store.admin().maintain().await.unwrap();
    assert_eq!(read(&files, "written/later").await.unwrap(), bytes(1, 1500));
    assert!(store.admin().sweep().await.unwrap() > 0, "what a sweep noted long ago goes");
    assert!(verify(folder.path()).await.sound);
}
