//! Calls against a service that is right, slow, full, broken, lying or hostile.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::service_for_tests::{Asked, DIMENSION, Reply, TestService, vector_of, vectors};
use super::{EncodingFormat, Provider, ProviderKeys, ProviderSettings, ProviderSpec};
use crate::error::{Error, ErrorKind, Result};

/// A time in which all is over that is not waiting for a time-out of the defaults.
const SOON: Duration = Duration::from_secs(25);

const KEY: &str = "sk-test-0123456789abcdefghij";

fn limits() -> ProviderSettings {
    ProviderSettings { allow_private_addresses: true, attempts: 3, ..ProviderSettings::default() }
}

fn spec(url: &str) -> ProviderSpec {
    ProviderSpec::openai(url, "some-model")
}

fn with_key(url: &str) -> ProviderSpec {
    ProviderSpec { key_variable: Some("SOME_KEY".to_owned()), ..spec(url) }
}

fn keys(url: &str) -> ProviderKeys {
    ProviderKeys::read(&format!("SOME_KEY={url}"), &|_| Some(KEY.to_owned())).unwrap()
}

fn provider(limits: ProviderSettings) -> Provider {
    Provider::new(limits).unwrap()
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("text {}", "x".repeat(n))).collect()
}

async fn embed(service: &TestService, limits: ProviderSettings, count: usize) -> Result<Vec<Vec<f32>>> {
    provider(limits).embed(&spec(&service.url()), Some(DIMENSION), &texts(count)).await
}

/// The error of a call for three texts that a service answers like this every time, and how often it was asked.
async fn error_of(reply: Reply) -> (Error, usize) {
    let service = TestService::start(move |_, _| reply.clone()).await;
    let error = embed(&service, limits(), 3).await.unwrap_err();
    assert!(error.message().contains(&service.address.to_string()), "{error}");
    (error, service.asked().len())
}

/// Waits until something has come about.
async fn until(reached: impl Fn() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < SOON, "it does not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn told(status: u16, body: &str) -> Reply {
    Reply::Whole(status, String::new(), body.to_owned())
}

#[tokio::test]
async fn texts_become_vectors_in_their_order_over_batches() {
    let service = TestService::start(|number, _| {
        // Later batches are answered first.
        Reply::After(Duration::from_millis(60_u64.saturating_sub(20 * number as u64)), Box::new(Reply::Vectors))
    })
    .await;
    for count in [0, 1, 2, 3, 4, 7] {
        let limits = ProviderSettings { batch_texts: 2, ..limits() };
        let expected: Vec<Vec<f32>> = texts(count).iter().map(|text| vector_of(text)).collect();
        assert_eq!(embed(&service, limits, count).await.unwrap(), expected);
    }
    assert!(service.asked().iter().all(|asked| asked.body["input"].as_array().unwrap().len() <= 2));
}

#[tokio::test]
async fn a_large_answer_is_read_as_a_small_one() {
    // Space between numbers is JSON too.
    let service = TestService::start(|_, asked| {
        Reply::Whole(200, String::new(), vectors(asked).replace("0.5", &format!("{}0.5", " ".repeat(100_000))))
    })
    .await;
    let vectors = provider(limits()).embed(&spec(&service.url()), None, &texts(3)).await.unwrap();
    assert_eq!(vectors, texts(3).iter().map(|text| vector_of(text)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_has_what_the_api_knows_and_no_more() {
    let service = TestService::start(|_, _| Reply::Vectors).await;
    let url = service.url();
    let provider = Provider::new(ProviderSettings { keys: keys(&url), ..limits() }).unwrap();
    provider.embed(&with_key(&url), None, &texts(1)).await.unwrap();
    let azure = format!("{url}/deployments/d?api-version=2024-10-21");
    let whole =
        ProviderSpec { dimensions: Some(DIMENSION), encoding_format: EncodingFormat::Base64, ..with_key(&azure) };
    provider.embed(&whole, Some(DIMENSION), &texts(1)).await.unwrap();
    provider.embed(&spec(&url), None, &texts(1)).await.unwrap();
    let [first, second, third] = service.asked().try_into().unwrap();
    assert_eq!(first.line, "POST /v1/embeddings HTTP/1.1");
    assert_eq!(first.body, json!({"model": "some-model", "input": ["text "]}));
    assert!(first.head.contains(&format!("authorization: Bearer {KEY}\r\n")), "{}", first.head);
    assert!(first.head.contains("content-type: application/json\r\n"), "{}", first.head);
    assert_eq!(second.line, "POST /v1/deployments/d/embeddings?api-version=2024-10-21 HTTP/1.1");
    let body = json!({"model": "some-model", "input": ["text "], "dimensions": 3, "encoding_format": "base64"});
    assert_eq!(second.body, body);
    assert!(second.head.contains(&format!("api-key: {KEY}\r\n")) && !second.head.contains("authorization"));
    assert!(!third.head.contains("authorization") && !third.head.contains(KEY), "{}", third.head);
}

#[tokio::test]
async fn what_passes_is_repeated_until_it_has_passed() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"data\":[".to_owned();
    let cut_chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"dat".to_owned();
    let cut_without_length = "HTTP/1.1 200 OK\r\n\r\n{\"data\":[".to_owned();
    for passing in [
        told(503, "busy"),
        told(500, ""),
        told(429, ""),
        told(408, ""),
        Reply::Raw(cut),
        Reply::Raw(cut_chunks),
        Reply::Raw(cut_without_length),
        Reply::Raw(String::new()),
    ] {
        let reply = passing.clone();
        let service = TestService::start(move |n, _| if n < 2 { reply.clone() } else { Reply::Vectors }).await;
        let vectors = embed(&service, limits(), 1).await;
        assert_eq!(vectors.unwrap(), [vector_of("text ")], "{passing:?}");
        assert_eq!(service.asked().len(), 3, "{passing:?}");
    }
    for lasting in [told(503, "busy"), told(429, ""), Reply::Raw(String::new())] {
        let (error, asked) = error_of(lasting).await;
        assert_eq!((error.kind(), asked), (ErrorKind::Unavailable, 3), "{error}");
        assert!(error.message().ends_with("(after 3 attempts)"), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_pass_is_not_repeated() {
    let quota = r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#;
    for (status, body, kind) in [
        (400, r#"{"error":{"message":"maximum context length"}}"#, ErrorKind::Invalid),
        (401, "", ErrorKind::Unavailable),
        (403, "", ErrorKind::Unavailable),
        (404, r#"{"error":"no such model"}"#, ErrorKind::Invalid),
        (422, r#"{"message":"batch size 3 > maximum 2"}"#, ErrorKind::Invalid),
        (429, quota, ErrorKind::Unavailable),
        (204, "", ErrorKind::Unavailable),
    ] {
        let (error, asked) = error_of(told(status, body)).await;
        let attempts = if status == 204 { 3 } else { 1 };
        assert_eq!((error.kind(), asked), (kind, attempts), "{status}: {error}");
    }
}

#[tokio::test]
async fn a_service_that_throttles_is_left_alone_for_as_long_as_it_asks() {
    let throttled = || Reply::Whole(429, "retry-after: 1\r\n".to_owned(), String::new());
    let service = TestService::start(move |n, _| if n == 0 { throttled() } else { Reply::Vectors }).await;
    let limits = ProviderSettings { batch_texts: 1, requests_at_once: 1, ..limits() };
    assert_eq!(embed(&service, limits, 3).await.unwrap().len(), 3);
    let asked = service.asked();
    assert_eq!(asked.len(), 4);
    let waited = asked[1].at - asked[0].at;
    assert!((Duration::from_millis(990)..SOON).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn a_pause_beyond_the_calls_time_is_an_error_at_once() {
    let service = TestService::start(|_, _| Reply::Whole(429, "retry-after: 3600\r\n".to_owned(), String::new())).await;
    let started = Instant::now();
    let error =
        embed(&service, ProviderSettings { timeout: Duration::from_secs(30), ..limits() }, 1).await.unwrap_err();
    assert!(started.elapsed() < SOON);
    assert_eq!((error.kind(), service.asked().len()), (ErrorKind::Unavailable, 1));
    assert!(error.message().contains("pause of"), "{error}");
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved_until_it_is_taken() {
    let service = TestService::start(|_, asked| match asked.body["input"].as_array().unwrap().len() {
        0..=2 => Reply::Vectors,
        _ => told(413, r#"{"error":"batch size"}"#),
    })
    .await;
    let expected: Vec<Vec<f32>> = texts(9).iter().map(|text| vector_of(text)).collect();
    assert_eq!(embed(&service, limits(), 9).await.unwrap(), expected);
    let (error, asked) = error_of(told(413, "")).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(asked <= 3, "{asked}");
}

#[tokio::test]
async fn answers_that_lie_are_refused_and_not_asked_for_again() {
    let body =
        |change: fn(&str) -> String| move |asked: &Asked| Reply::Whole(200, String::new(), change(&vectors(asked)));
    type Lie = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;
    let lies: Vec<(Lie, ErrorKind, &str)> = vec![
        (Box::new(body(|right| right.replace("0.5", "0.5,1.0"))), ErrorKind::Invalid, "dimension 3, got 4"),
        (Box::new(body(|right| right.replace(",0.5", ""))), ErrorKind::Invalid, "dimension 3, got 2"),
        (Box::new(body(|right| right.replace("0.5", "NaN"))), ErrorKind::Unavailable, "not finite"),
        (Box::new(body(|right| right.replace("0.5", "1e999"))), ErrorKind::Unavailable, "not finite"),
        (Box::new(body(|right| right.replace("0.5", "1e39"))), ErrorKind::Unavailable, "not finite"),
        (Box::new(body(|right| right.replace("0.5", "null"))), ErrorKind::Unavailable, "not finite"),
        (Box::new(body(|right| right.replace("\"index\":1", "\"index\":0"))), ErrorKind::Unavailable, "index"),
        (Box::new(body(|right| right.replace("\"index\":1,", ""))), ErrorKind::Unavailable, "at line 1"),
        (
            Box::new(|_| told(200, r#"{"data":[]}"#)),
            ErrorKind::Unavailable,
            "expected 3 vectors for as many texts, got 0",
        ),
        (Box::new(|_| told(200, "<!doctype html><p>sign in")), ErrorKind::Unavailable, "web page"),
        (
            Box::new(|_| Reply::Whole(200, "content-type: text/html\r\n".to_owned(), "sign in".to_owned())),
            ErrorKind::Unavailable,
            "web page",
        ),
        (Box::new(|_| told(200, "\0\u{1}garbage-with-a-secret")), ErrorKind::Unavailable, "cannot be read"),
        (Box::new(|_| told(200, r#"{"secret":"secret"}"#)), ErrorKind::Unavailable, "cannot be read"),
        (
            Box::new(|_| Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{".to_owned())),
            ErrorKind::Unavailable,
            "more than",
        ),
    ];
    for (lie, kind, said) in lies {
        let service = TestService::start(move |_, asked| lie(asked)).await;
        let error = embed(&service, limits(), 3).await.unwrap_err();
        assert_eq!((error.kind(), service.asked().len()), (kind, 1), "{error}");
        assert!(error.message().contains(said), "{said}: {error}");
        assert!(!error.message().contains("secret") && !error.message().contains("sign in"), "{error}");
    }
}

#[tokio::test]
async fn vectors_of_different_dimensions_in_two_batches_are_refused() {
    let service = TestService::start(|number, asked| match number {
        0 => Reply::Vectors,
        _ => Reply::Whole(200, String::new(), vectors(asked).replace("0.5", "0.5,1.0")),
    })
    .await;
    let limits = ProviderSettings { batch_texts: 2, requests_at_once: 1, ..limits() };
    let error = provider(limits).embed(&spec(&service.url()), None, &texts(4)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("dimension 3, got 4 for text 2"), "{error}");
    let contradiction = ProviderSpec { dimensions: Some(256), ..spec(&service.url()) };
    let error = provider(ProviderSettings::default()).embed(&contradiction, Some(3), &texts(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn an_endless_answer_ends_at_its_bound_and_a_dripping_one_in_time() {
    let service = TestService::start(|_, _| Reply::Endless(Duration::ZERO)).await;
    let bounded = ProviderSettings { answer_bytes: 100_000, ..limits() };
    let error = provider(bounded).embed(&spec(&service.url()), None, &texts(1)).await.unwrap_err();
    assert!(error.message().contains("more than 100000 bytes"), "{error}");
    assert_eq!((error.setting(), service.asked().len()), (Some("provider.answer_bytes"), 1));
    // What the sockets buffer comes on top.
    assert!(service.sent_bytes() < 20_000_000, "{}", service.sent_bytes());
    let service = TestService::start(|_, _| Reply::Endless(Duration::from_millis(50))).await;
    let started = Instant::now();
    let short = ProviderSettings { timeout: Duration::from_millis(500), ..limits() };
    let error = provider(short).embed(&spec(&service.url()), None, &texts(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.setting()), (ErrorKind::Unavailable, Some("provider.timeout")));
    assert!(started.elapsed() < SOON);
}

#[tokio::test]
async fn a_silent_service_is_given_up_after_the_time_for_one_read() {
    for silence in [Reply::Silence, Reply::Endless(Duration::from_secs(60))] {
        let service = TestService::start(move |_, _| silence.clone()).await;
        let short = ProviderSettings { read_timeout: Duration::from_millis(300), attempts: 2, ..limits() };
        let error = embed(&service, short, 1).await.unwrap_err();
        assert_eq!((error.kind(), service.asked().len()), (ErrorKind::Unavailable, 2));
        assert!(error.message().contains("silent"), "{error}");
        let whole = ProviderSettings {
            read_timeout: Duration::from_millis(100),
            timeout: Duration::from_secs(2),
            attempts: 1_000,
            ..limits()
        };
        let error = embed(&service, whole, 1).await.unwrap_err();
        assert_eq!(error.setting(), Some("provider.timeout"));
        assert!(error.message().contains("before: ") && error.message().contains("silent"), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_an_error_after_the_attempts() {
    let service = TestService::start(|_, _| Reply::Vectors).await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = provider(limits()).embed(&spec(&format!("http://{unused}")), None, &texts(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("no connection") && error.message().contains("3 attempts"), "{error}");
    // TLS to a service that speaks none.
    let short = ProviderSettings { connect_timeout: Duration::from_millis(100), ..limits() };
    let error =
        provider(short).embed(&spec(&service.url().replace("http", "https")), None, &texts(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("no connection within"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_stays() {
    let inner = TestService::start(|_, _| Reply::Vectors).await;
    let target = inner.url();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {target}/embeddings\r\n");
        let outer = TestService::start(move |_, _| Reply::Whole(status, location.clone(), String::new())).await;
        let provider = Provider::new(ProviderSettings { keys: keys(&outer.url()), ..limits() }).unwrap();
        let error = provider.embed(&with_key(&outer.url()), None, &texts(1)).await.unwrap_err();
        assert_eq!((error.kind(), outer.asked().len()), (ErrorKind::Invalid, 1));
        assert!(error.message().contains("redirect"), "{error}");
    }
    assert_eq!(inner.connections(), 0);
}

#[tokio::test]
async fn a_private_address_is_not_connected_to_whatever_its_name() {
    let service = TestService::start(|_, _| Reply::Vectors).await;
    let (port, strict) = (service.address.port(), ProviderSettings { allow_private_addresses: false, ..limits() });
    let address = service.address;
    let provider = Provider::with_lookup(
        strict,
        Arc::new(move |name| match name {
            "mixed.example" => Ok(vec!["169.254.169.254:0".parse().unwrap(), address]),
            "metadata.example" => Ok(vec!["[fd00:ec2::254]:0".parse().unwrap()]),
            "absent.example" => Err(io::Error::other("failed to lookup address information")),
            _ => Ok(vec![address, "[::1]:0".parse().unwrap()]),
        }),
    )
    .unwrap();
    for host in ["localhost", "inner.example", "mixed.example", "metadata.example", "127.0.0.1", "[::1]", "0x7f000001"]
    {
        let error = provider.embed(&spec(&format!("http://{host}:{port}/v1")), None, &texts(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.setting()), (ErrorKind::Invalid, Some("provider.allow_private_addresses")));
        assert!(error.message().contains("expected a public address"), "{error}");
    }
    let error = provider.embed(&spec(&format!("http://absent.example:{port}/v1")), None, &texts(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("check the host"), "{error}");
    assert_eq!(service.connections(), 0);
    let named = Provider::with_lookup(limits(), Arc::new(move |_| Ok(vec![address]))).unwrap();
    assert_eq!(named.embed(&spec(&format!("http://inner.example:{port}")), None, &texts(1)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn with_a_proxy_all_calls_go_to_it_and_it_resolves_the_names() {
    let proxy = TestService::start(|_, _| Reply::Vectors).await;
    let through = format!("http://user:pass@{}", proxy.address).parse().unwrap();
    let limits = ProviderSettings { proxy: Some(through), ..ProviderSettings::default() };
    let provider = provider(limits);
    provider.embed(&spec("http://provider.example/v1"), None, &texts(1)).await.unwrap();
    assert_eq!(proxy.asked()[0].line, "POST http://provider.example/v1/embeddings HTTP/1.1");
    assert!(proxy.asked()[0].head.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"));
    let error = provider.embed(&spec("http://127.0.0.1/v1"), None, &texts(1)).await.unwrap_err();
    assert_eq!((error.kind(), proxy.asked().len()), (ErrorKind::Invalid, 1));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let refusing = TestService::start(|_, _| told(407, "")).await;
    let through = format!("http://user:secret@{}", refusing.address).parse().unwrap();
    let provider = provider(ProviderSettings { proxy: Some(through), attempts: 1, ..ProviderSettings::default() });
    for url in ["http://provider.example/v1", "https://provider.example/v1"] {
        let error = provider.embed(&spec(url), None, &texts(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("(provider.proxy)"), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    assert_eq!(refusing.asked()[1].line, "CONNECT provider.example:443 HTTP/1.1");
}

#[tokio::test]
async fn requests_at_once_are_bounded_over_all_calls_to_a_service() {
    let slow = || Reply::After(Duration::from_millis(20), Box::new(Reply::Vectors));
    let service = TestService::start(move |_, _| slow()).await;
    let provider = provider(ProviderSettings { batch_texts: 1, requests_at_once: 3, ..limits() });
    let (spec, texts) = (spec(&service.url()), texts(10));
    let calls = (0..4).map(|_| provider.embed(&spec, None, &texts));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap().len(), 10);
    }
    assert_eq!(service.most_at_once(), 3);
    assert_eq!(service.asked().len(), 40);
    assert!(service.connections() <= 6, "{}", service.connections());
}

#[tokio::test]
async fn a_service_that_hangs_delays_no_other_and_takes_no_more_calls_than_allowed() {
    let (hanging, quick) =
        (TestService::start(|_, _| Reply::Silence).await, TestService::start(|_, _| Reply::Vectors).await);
    let provider = provider(ProviderSettings { requests_at_once: 1, waiting: 2, ..limits() });
    let (stuck, texts) = (spec(&hanging.url()), texts(1));
    let calls = futures::future::join(provider.embed(&stuck, None, &texts), provider.embed(&stuck, None, &texts));
    let beside = async {
        until(|| !hanging.asked().is_empty()).await;
        let refused = provider.embed(&stuck, None, &texts).await.unwrap_err();
        assert_eq!((refused.kind(), refused.setting()), (ErrorKind::Unavailable, Some("provider.waiting")));
        assert_eq!(provider.embed(&spec(&quick.url()), None, &texts).await.unwrap().len(), 1);
    };
    tokio::select! {
        answers = calls => panic!("the service hangs, but {answers:?}"),
        () = beside => {}
    }
}

#[tokio::test]
async fn dropping_a_call_ends_its_requests() {
    let service = TestService::start(|_, _| Reply::Silence).await;
    let limits = ProviderSettings { batch_texts: 1, requests_at_once: 4, ..limits() };
    tokio::select! {
        answer = embed(&service, limits, 8) => panic!("the service hangs, but {answer:?}"),
        () = until(|| service.asked().len() == 4) => {}
    }
    until(|| service.gone() == 4).await;
    assert_eq!(service.asked().len(), 4);
}

#[tokio::test]
async fn the_first_failed_batch_ends_the_call() {
    let service = TestService::start(|_, asked| match asked.body["input"][0].as_str() {
        Some("text ") => Reply::Silence,
        _ => told(400, ""),
    })
    .await;
    let started = Instant::now();
    let error = embed(&service, ProviderSettings { batch_texts: 1, ..limits() }, 4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(started.elapsed() < SOON);
}

/// All that is logged while a test runs, at every level.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<String>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl log::Log for Logged {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let _ = writeln!(self.0.lock(), "{} {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn a_key_is_in_no_error_and_no_log_even_if_the_service_repeats_it() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    // The client's own log goes another way.
    log::set_boxed_logger(Box::new(logged.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let echo = |asked: &Asked| json!({"error": {"message": format!("your request was {}", asked.head)}}).to_string();
    for status in [200, 302, 400, 401, 403, 404, 413, 422, 429, 500, 503] {
        let service = TestService::start(move |_, asked| told(status, &echo(asked))).await;
        let provider = Provider::new(ProviderSettings { keys: keys(&service.url()), ..limits() }).unwrap();
        let error = provider.embed(&with_key(&service.url()), None, &texts(2)).await.unwrap_err();
        assert!(service.asked()[0].head.contains(KEY));
        let shown = format!("{error} {error:?} {provider:?} {:?}", with_key(&service.url()));
        assert!(!shown.contains(&KEY[..8]), "{shown}");
    }
    let raw = TestService::start(|_, asked| Reply::Raw(format!("garbage {}", asked.head))).await;
    let provider = Provider::new(ProviderSettings { keys: keys(&raw.url()), ..limits() }).unwrap();
    let error = provider.embed(&with_key(&raw.url()), None, &texts(2)).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&KEY[..8]), "{error}");
    let logged = logged.0.lock();
    assert!(logged.contains("repeating a request") && logged.contains("reqwest"), "{logged}");
    assert!(!logged.contains(&KEY[..8]), "{logged}");
}
