//! The program itself: `drumlin key new`, a start with bad keys, and a file read anew at SIGHUP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn drumlin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drumlin"));
    command.args(arguments).env_clear();
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The key and its entry, as printed.
fn new_key(arguments: &[&str]) -> (String, KeyEntry) {
    let Output { status, stdout, stderr } = drumlin(&[&["key", "new"], arguments].concat()).output().unwrap();
    assert!(status.success(), "{}", text(&stderr));
    let printed = text(&stdout);
    let (key, entry) = printed.trim_end().split_once('\n').unwrap();
    assert!(!text(&stderr).contains(key), "the key is printed once");
    (key.to_owned(), serde_json::from_str(entry).unwrap())
}

/// Ends the server with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_new_key_is_printed_with_an_entry_that_opens_what_it_says() {
    let mut keys = Keys::new();
    let (key, entry) = new_key(&["--scope", "read", "--tenant", "default_tenant", "--expires", "2999-12-31"]);
    assert!(entry.name.starts_with("read-") && entry.scope == KeyScope::Read, "{entry:?}");
    assert_eq!((entry.tenant.as_deref(), entry.expires.as_deref()), (Some("default_tenant"), Some("2999-12-31")));
    keys.entries.push(entry);
    keys.write();
    let server = keys.serve(HttpSettings::default()).await;
    assert_eq!(ask(&server, "GET", "/api/collections", &key).await.status, 200);
    assert_eq!(ask(&server, "GET", "/api/collections?tenant=other", &key).await.status, 403);
    server.stop().await;
    for (bad, words) in [
        (&["--scope", "root"][..], "read, write or admin"),
        (&["--scope", "read", "--database", "d"], "--tenant"),
        (&["--scope", "read", "--expires", "soon"], "2027-01-31"),
        (&["--scope", "read", "--expires", "2001-01-01"], "has passed"),
        (&["--scope", "read", "--name", "two words"], "name: expected"),
    ] {
        let refused = drumlin(&[&["key", "new"], bad].concat()).output().unwrap();
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{bad:?}");
        assert!(text(&refused.stderr).contains(words), "{bad:?}: {}", text(&refused.stderr));
    }
}

#[test]
fn a_bad_key_or_key_file_stops_the_start_with_a_sentence() {
    let keys = Keys::new();
    std::fs::write(keys.path(), "[{\"key\": \"a-secret-in-the-wrong-place\"}]").unwrap();
    let file = keys.path().display().to_string();
    for (name, value, words) in [
        ("STORAGE_API_KEY", "default-api-key", "placeholder"),
        ("STORAGE_API_KEY", "short-key", "16 bytes"),
        ("DRUMLIN_KEY_FILE", file.as_str(), "expected a JSON list"),
        ("DRUMLIN_KEY_FILE", "/nowhere/keys.json", "cannot be opened"),
    ] {
        let mut serve = drumlin(&["serve", "--memory", "--port", "0"]);
        let refused = serve.env(name, value).current_dir(keys.folder.path()).output().unwrap();
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains(name) && said.contains(words), "{name}: {said}");
        assert!(!said.contains("a-secret-in-the-wrong-place") && !said.contains("short-key"), "{said}");
    }
}

async fn status(address: &str, key: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET /api/collections HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-api-key: {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_on_a_public_address_asks_for_keys_and_reads_them_anew_at_sighup() {
    let mut keys = Keys::new();
    let old = keys.add("old", KeyScope::Read, &[]);
    let mut serve = drumlin(&["serve", "--memory", "--host", "0.0.0.0", "--port", "0"]);
    serve.env("DRUMLIN_KEY_FILE", keys.path()).current_dir(keys.folder.path()).stderr(Stdio::piped());
    let mut child = Running(serve.spawn().unwrap());
    let mut log = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let ready = log.find(|line| line.contains("ready at http://")).expect("it starts");
    let port = ready.split("http://0.0.0.0:").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let address = format!("127.0.0.1:{port}");
    // What it says from now on is read to its end, so that it does not block.
    let rest = std::thread::spawn(move || log.collect::<Vec<String>>());
    assert_eq!((status(&address, &old).await.as_str(), status(&address, "wrong").await.as_str()), ("200", "401"));
    keys.entries.clear();
    let new = keys.add("new", KeyScope::Read, &[]);
    let id = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    let since = Instant::now();
    while status(&address, &new).await != "200" {
        assert!(since.elapsed() < Duration::from_secs(10), "the new key does not count");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status(&address, &old).await, "401");
    drop(child);
    let said = rest.join().unwrap().join("\n");
    assert!(said.contains("key=\"old\"") && said.contains("key=\"new\""), "{said}");
    assert!(!said.contains(&old) && !said.contains(&new), "a key is logged");
}
