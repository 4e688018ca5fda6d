//! What a folder must do beyond the bucket contract: survive dead processes, be shared by several processes, and show
//! nothing of its own.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::folder::FolderBucket;
use super::{Bucket, BucketError, PutCondition};

async fn put(bucket: &FolderBucket, key: &str) {
    bucket.put(key, Bytes::from_static(b"x"), PutCondition::IfAbsent).await.unwrap();
}

fn staging_directories(root: &Path) -> usize {
    fs::read_dir(root.join(".drumlin/staging")).unwrap().count()
}

#[tokio::test]
async fn what_a_crashed_process_left_is_swept_at_open_and_a_living_ones_is_not() {
    let root = tempfile::tempdir().unwrap();
    let living = FolderBucket::open(root.path()).unwrap();
    put(&living, "before").await;
    let dead = root.path().join(".drumlin/staging/01DEAD");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("alive"), "").unwrap();
    fs::write(dead.join("7"), "half an obj").unwrap();

    let second = FolderBucket::open(root.path()).unwrap();
    assert!(!dead.exists(), "the dead process' files are still there");
    assert_eq!(staging_directories(root.path()), 2, "the living process' directory was swept");
    put(&living, "after").await;
    put(&second, "too").await;
    let listed: Vec<_> = second.list("", None).await.unwrap().objects.into_iter().map(|o| o.key).collect();
    assert_eq!(listed, ["after", "before", "too"]);
    drop((living, second));
    assert_eq!(staging_directories(root.path()), 0, "a process that ended left its directory");
}

#[tokio::test]
async fn no_staged_file_is_left_after_a_put_whatever_its_answer() {
    let root = tempfile::tempdir().unwrap();
    let bucket = FolderBucket::open(root.path()).unwrap();
    put(&bucket, "k").await;
    let taken = bucket.put("k", Bytes::from_static(b"y"), PutCondition::IfAbsent).await;
    assert!(matches!(taken, Err(BucketError::Exists { .. })), "{taken:?}");
    let stale = bucket.put("k", Bytes::from_static(b"y"), PutCondition::IfMatch("\"0\"".into())).await;
    assert!(matches!(stale, Err(BucketError::Exists { .. })), "{stale:?}");
    bucket.put("k", Bytes::from_static(b"z"), PutCondition::Always).await.unwrap();
    bucket.copy("k", "l").await.unwrap();
    let staging = fs::read_dir(root.path().join(".drumlin/staging")).unwrap().next().unwrap().unwrap().path();
    let left: Vec<_> = fs::read_dir(staging).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["alive"]);
}

#[tokio::test]
async fn two_openings_of_one_folder_share_their_conditions() {
    let root = tempfile::tempdir().unwrap();
    let openings = [FolderBucket::open(root.path()).unwrap(), FolderBucket::open(root.path()).unwrap()];
    for round in 0..20 {
        let key = format!("head-{round}");
        let [a, b] = &openings;
        let tag = a.put(&key, Bytes::from_static(b"start"), PutCondition::IfAbsent).await.unwrap().etag.unwrap();
        let swap = |bucket: &FolderBucket, text: &'static str| {
            let (bucket, key, tag) = (bucket.clone(), key.clone(), tag.clone());
            tokio::spawn(async move {
                bucket.put(&key, Bytes::from_static(text.as_bytes()), PutCondition::IfMatch(tag)).await.is_ok()
            })
        };
        let (first, second) = (swap(a, "a"), swap(b, "b"));
        let won = (first.await.unwrap(), second.await.unwrap());
        assert!(won.0 != won.1, "{won:?} in round {round}");
        assert_eq!(a.get(&key, None).await.unwrap().bytes, if won.0 { "a" } else { "b" });
    }
}

#[tokio::test]
async fn the_hidden_directory_is_no_place_for_keys() {
    let root = tempfile::tempdir().unwrap();
    let bucket = FolderBucket::open(root.path()).unwrap();
    let answer = bucket.put(".drumlin/lock", Bytes::new(), PutCondition::Always).await;
    assert!(matches!(answer, Err(BucketError::Refused { .. })), "{answer:?}");
    let listed = bucket.list("", None).await.unwrap().objects;
    assert_eq!(listed, []);
}

#[tokio::test]
async fn a_folder_deleted_under_its_bucket_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let bucket = FolderBucket::open(root.path()).unwrap();
    put(&bucket, "c/1/HEAD").await;
    fs::remove_dir_all(root.path().join("c")).unwrap();
    let missing = bucket.get("c/1/HEAD", None).await.map(|object| object.bytes);
    assert!(matches!(missing, Err(BucketError::NotFound { .. })), "{missing:?}");
    put(&bucket, "c/1/HEAD").await;
    assert_eq!(bucket.get("c/1/HEAD", None).await.unwrap().bytes, "x");
}

#[test]
fn a_path_that_is_a_file_is_refused_with_its_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = FolderBucket::open(file.path()).unwrap_err();
    assert_eq!(refused.kind(), crate::ErrorKind::Unavailable);
    assert!(refused.message().contains(&file.path().display().to_string()), "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_on_the_machine_can_read_what_is_in_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    fn modes(path: &Path, found: &mut Vec<(String, u32)>) {
        let metadata = fs::metadata(path).unwrap();
        found.push((path.display().to_string(), metadata.permissions().mode() & 0o777));
        if metadata.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| modes(&entry.unwrap().path(), found));
        }
    }
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("data/inner");
    let bucket = FolderBucket::open(&root).unwrap();
    put(&bucket, "a/b/c").await;
    bucket.put_large("a/large", vec![Bytes::from_static(b"y"); 2]).await.unwrap();
    // A copy is as private as a written object, even if its source is open to others.
    fs::set_permissions(root.join("a/large"), fs::Permissions::from_mode(0o644)).unwrap();
    bucket.copy("a/large", "a/copy").await.unwrap();
    fs::set_permissions(root.join("a/large"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut found = Vec::new();
    modes(&outer.path().join("data"), &mut found);
    assert!(found.len() > 8, "{found:?}");
    for (path, mode) in found {
        let expected = if Path::new(&path).is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{path} has mode {mode:o}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_can_read_is_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let catalog = root.path().join("catalog");
    fs::create_dir(&catalog).unwrap();
    for (root_mode, inner_mode, noticed) in
        [(0o755, 0o755, true), (0o700, 0o755, false), (0o755, 0o700, false), (0o750, 0o750, true)]
    {
        set(&catalog, inner_mode);
        set(root.path(), root_mode);
        let found = super::folder::open_to_others(root.path());
        assert_eq!(found.is_some(), noticed, "{root_mode:o} {inner_mode:o}: {found:?}");
    }
    set(root.path(), 0o700);
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_staged_is_definitely_not_written_and_told_in_the_systems_words() {
    let root = tempfile::tempdir().unwrap();
    let bucket = FolderBucket::open(root.path().join("data")).unwrap();
    fs::remove_dir_all(root.path().join("data")).unwrap();
    let put = bucket.put("a/b", Bytes::from_static(b"x"), PutCondition::IfAbsent).await;
    let Err(BucketError::Refused { message }) = put else { panic!("{put:?}") };
    assert!(message.contains("cannot write: No such file or directory"), "{message}");
}
