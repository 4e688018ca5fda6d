//! How the program reaches its bucket: through the proxy that the environment names, with keys that a program
//! prints or that were renewed while it ran, and with certificates of one's own. The real binary, over real
//! sockets; each test has an environment of its own.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drumlin_test_servers::tls::{Certificate, TlsFront};
use drumlin_test_servers::{ACCESS_KEY, BUCKET, Instead, Mischief, S3Server, SECRET_KEY};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// A server with an environment of its own and no configuration of whoever runs the tests.
struct Served {
    _child: Child,
    url: String,
    _home: tempfile::TempDir,
}

fn command(home: &Path, endpoint: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drumlin"));
    command.env_clear().current_dir(home).kill_on_drop(true).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("HOME", home).env("PATH", "/usr/bin:/bin").env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("S3_BUCKET_NAME", BUCKET).env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "us-east-1");
    command.envs(variables.iter().copied());
    command
}

impl Served {
    async fn start(home: tempfile::TempDir, endpoint: &str, variables: &[(&str, &str)]) -> Served {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = command(home.path(), endpoint, variables);
        let child = command.arg("serve").env("PORT", port.to_string()).spawn().unwrap();
        let served = Served { _child: child, url: format!("http://127.0.0.1:{port}"), _home: home };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            match served.client().get(format!("{}/ready", served.url)).send().await {
                Ok(answer) if answer.status().is_success() => return served,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("the server does not become ready");
    }

    fn client(&self) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> u16 {
        let request = self.client().post(format!("{}{path}", self.url)).json(&body);
        request.send().await.unwrap().status().as_u16()
    }
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_of_the_environment_is_asked_for_s3_and_hosts_of_no_proxy_are_not() {
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let proxy = S3Server::start().await;
    let by_name = Arc::new(AtomicU64::new(0));
    let count = by_name.clone();
    proxy.set_plan(move |asked| {
        let host = asked.headers.get("host").and_then(|host| host.to_str().ok());
        count.fetch_add(u64::from(host == Some("bucket.invalid:9000")), Ordering::SeqCst);
        Mischief::None
    });
    let through = [&keys[..], &[("HTTP_PROXY", proxy.endpoint())]].concat();
    let served = Served::start(home(), "http://bucket.invalid:9000", &through).await;
    assert_eq!(served.post("/api/collections", json!({"name": "notes"})).await, 201);
    assert!(by_name.load(Ordering::SeqCst) > 10 && !proxy.keys().is_empty());
    drop(served);

    let direct = S3Server::start().await;
    let asked_before = proxy.requests();
    let past = [&through[..], &[("NO_PROXY", "127.0.0.1")]].concat();
    let served = Served::start(home(), direct.endpoint(), &past).await;
    assert_eq!(served.post("/api/collections", json!({"name": "notes"})).await, 201);
    assert_eq!(proxy.requests(), asked_before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_were_renewed_in_their_file_are_read_when_the_store_calls_the_old_ones_expired() {
    let server = S3Server::start().await;
    let home = home();
    let file = home.path().join("keys");
    let write = |token: &str| {
        let keys = format!("aws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n");
        std::fs::write(&file, format!("[default]\n{keys}aws_session_token={token}\n")).unwrap();
    };
    write("old");
    let expired = Arc::new(AtomicBool::new(false));
    let now = expired.clone();
    server.set_plan(move |asked| {
        let old = asked.headers.get("x-amz-security-token").is_none_or(|token| token == "old");
        let body = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>";
        if old && now.load(Ordering::SeqCst) { Instead::document(400, body) } else { Mischief::None }
    });
    let file_text = file.to_str().unwrap().to_owned();
    let served = Served::start(home, server.endpoint(), &[("AWS_SHARED_CREDENTIALS_FILE", &file_text)]).await;
    assert_eq!(served.post("/api/collections", json!({"name": "notes"})).await, 201);
    let add = async |id: &str| {
        let record = json!({"records": [{"id": id, "embedding": [1, 2]}]});
        served.post("/api/collections/notes/add", record).await
    };
    assert_eq!(add("before").await, 201);
    write("new");
    expired.store(true, Ordering::SeqCst);
    assert_eq!(add("after").await, 201, "the file is not read anew");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_from_the_program_that_a_profile_names() {
    use std::os::unix::fs::PermissionsExt;
    let server = S3Server::start().await;
    let home = home();
    let (program, config) = (home.path().join("print-keys"), home.path().join("config"));
    let keys = json!({"Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY});
    std::fs::write(&program, format!("#!/bin/sh\necho '{keys}'\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(&config, format!("[default]\ncredential_process = {}\n", program.display())).unwrap();
    let config = config.to_str().unwrap().to_owned();
    let served = Served::start(home, server.endpoint(), &[("AWS_CONFIG_FILE", &config)]).await;
    assert_eq!(served.post("/api/collections", json!({"name": "notes"})).await, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_from_the_sign_on_that_a_profile_names() {
    let (server, portal) = (S3Server::start().await, S3Server::start().await);
    let keys = json!({"roleCredentials": {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY,
                      "sessionToken": "of the role", "expiration": 4_102_444_800_000_u64}});
    let keys: &'static str = keys.to_string().leak();
    portal.set_plan(move |asked| {
        let signed_on = asked.headers.get("x-amz-sso_bearer_token").is_some_and(|token| token == "signed on");
        if signed_on { Instead::document(200, keys) } else { Instead::document(401, "{}") }
    });
    let home = home();
    let (config, cache) = (home.path().join("config"), home.path().join(".aws/sso/cache"));
    let profile = "sso_start_url = https://drumlin.example/start\nsso_region = us-east-1\n\
                   sso_account_id = 123456789012\nsso_role_name = Writer\n";
    std::fs::write(&config, format!("[default]\n{profile}")).unwrap();
    std::fs::create_dir_all(&cache).unwrap();
    // As `aws sso login` leaves it: named by the SHA-1 of the address.
    let token = json!({"startUrl": "https://drumlin.example/start", "region": "us-east-1", "accessToken": "signed on",
                       "expiresAt": "2100-01-01T00:00:00Z"});
    std::fs::write(cache.join("b20df9122069a2c7b05970f642fd51fb2028c72d.json"), token.to_string()).unwrap();
    let variables = [
        ("AWS_CONFIG_FILE", config.to_str().unwrap().to_owned()),
        ("AWS_ENDPOINT_URL_SSO", portal.endpoint().to_owned()),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let served = Served::start(home, server.endpoint(), &variables).await;
    assert_eq!(served.post("/api/collections", json!({"name": "notes"})).await, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_to_reach_the_bucket_is_named_with_the_variable_to_set() {
    let server = S3Server::start().await;
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let secure = server.endpoint().replace("http://", "https://");
    for (endpoint, variables, word) in [
        (server.endpoint(), vec![], "AWS_ACCESS_KEY_ID"),
        (secure.as_str(), [&keys[..], &[("AWS_CA_BUNDLE", "/no/such.pem")]].concat(), "AWS_CA_BUNDLE"),
        (secure.as_str(), [&keys[..], &[("SSL_CERT_FILE", "/no/such.pem")]].concat(), "SSL_CERT_FILE"),
    ] {
        let home = home();
        let mut command = command(home.path(), endpoint, &variables);
        let ended = command.arg("verify").stderr(Stdio::piped()).output().await.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && said.contains(word) && !said.contains("panicked"), "{word}: {said}");
    }
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];

/// Whether a server starts and writes over TLS with `certificate`, told of the PEM in `bundle` by `variable`.
async fn serves(certificate: &Certificate, bundle: &str, variable: &str) {
    let server = S3Server::start().await;
    let front = TlsFront::before(server.endpoint(), certificate).await;
    let home = home();
    let (pem, config) = (home.path().join("bundle.pem"), home.path().join("config"));
    std::fs::write(&pem, bundle).unwrap();
    std::fs::write(&config, format!("[default]\nca_bundle = {}\n", pem.display())).unwrap();
    let named = if variable == "AWS_CONFIG_FILE" { config } else { pem };
    let variables = [&KEYS[..], &[(variable, named.to_str().unwrap())]].concat();
    let served = Served::start(home, front.endpoint(), &variables).await;
    assert_eq!(served.post("/api/collections", json!({"name": "notes"})).await, 201);
    assert!(!server.keys().is_empty());
}

/// What the program says where it does not believe `certificate`, with the PEM in `bundle` trusted.
async fn refuses(certificate: &Certificate, bundle: &str) -> String {
    let server = S3Server::start().await;
    let front = TlsFront::before(server.endpoint(), certificate).await;
    let home = home();
    let pem = home.path().join("bundle.pem");
    std::fs::write(&pem, bundle).unwrap();
    let variables = [&KEYS[..], &[("AWS_CA_BUNDLE", pem.to_str().unwrap()), ("DRUMLIN_START_TIMEOUT_S", "1")]].concat();
    let mut command = command(home.path(), front.endpoint(), &variables);
    let ended = command.arg("serve").env("PORT", "0").stderr(Stdio::piped()).output().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && !said.contains("panicked"), "{said}");
    assert_eq!(server.requests(), 0, "a server was asked that is not believed");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_signed_certificate_is_believed_where_it_is_itself_among_the_trusted() {
    let certificate = Certificate::self_signed("127.0.0.1");
    for variable in ["AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "SSL_CERT_FILE"] {
        serves(&certificate, &certificate.pem, variable).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_believed_that_an_authority_of_the_bundle_signed_or_that_is_in_the_bundle_itself() {
    let certificate = Certificate::by_authority("127.0.0.1");
    serves(&certificate, &certificate.signer_pem, "AWS_CA_BUNDLE").await;
    serves(&certificate, &certificate.pem, "AWS_CA_BUNDLE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_host_or_another_time_is_refused_with_what_to_do_though_it_is_trusted() {
    let elsewhere = Certificate::self_signed("bucket.example");
    let said = refuses(&elsewhere, &elsewhere.pem).await;
    assert!(said.contains("not valid for name") && said.contains("AWS_ENDPOINT_URL"), "{said}");
    let ended = Certificate::ended("127.0.0.1");
    let said = refuses(&ended, &ended.pem).await;
    assert!(said.contains("certificate expired") && said.contains("clock"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_refused_that_the_bundle_has_not_and_nobody_of_the_bundle_signed() {
    let other = Certificate::self_signed("127.0.0.1");
    for certificate in [Certificate::self_signed("127.0.0.1"), Certificate::by_authority("127.0.0.1")] {
        let said = refuses(&certificate, &other.pem).await;
        assert!(said.contains("AWS_CA_BUNDLE"), "{said}");
    }
}
