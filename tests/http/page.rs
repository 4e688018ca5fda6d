//! The page in a browser, as far as HTTP shows it: its files, their caching, where it lies behind a proxy. What it does,
//! `tests/page` tests in a browser.

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::{Answer, Server};
use serde_json::json;

async fn start() -> Server {
    let http = HttpSettings { trust_proxy: true, ..HttpSettings::default() };
    Server::with(Settings::new(Storage::Memory), http).await
}

/// The value of a header.
fn field(answer: &Answer, name: &str) -> String {
    let line = answer.headers.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {}", answer.headers)).trim().to_owned()
}

#[tokio::test]
async fn a_browser_gets_the_page_also_under_a_prefix_and_a_program_the_text() {
    let server = start().await;
    server.post("/api/collections", &json!({"name": "things"})).await;
    for (prefix, link) in [(None, "src=\"page/js/main.js\""), (Some("/vec"), "src=\"/vec/page/js/main.js\"")] {
        let mut headers = vec![("accept", "text/html,*/*")];
        headers.extend(prefix.map(|prefix| ("x-forwarded-prefix", prefix)));
        let page = server.send("GET", "/", &headers, b"").await;
        assert!(page.headers.contains("text/html") && page.text().contains(link), "{}", page.text());
        assert!(!page.text().contains("things"), "the page asks for the collections itself");
    }
    let text = server.get("/").await;
    assert!(text.headers.contains("text/plain") && text.text().contains("things (0 records)"), "{}", text.text());
    server.stop().await;
}

#[tokio::test]
async fn the_documentation_leads_into_the_console() {
    let server = start().await;
    for (path, target) in [("/docs", "./#/console"), ("/docs/", "../#/console")] {
        let docs = server.get(path).await;
        assert_eq!(docs.status, 307, "{path}");
        assert!(docs.headers.contains(&format!("location: {target}")), "{}", docs.headers);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_files_of_the_page_are_asked_for_again_only_where_they_changed() {
    let server = start().await;
    for (path, kind) in [("/page/js/main.js", "text/javascript"), ("/page/css/tokens.css", "text/css")] {
        let plain = server.get(path).await;
        assert_eq!((plain.status, field(&plain, "cache-control").as_str()), (200, "no-cache"));
        assert!(field(&plain, "content-type").starts_with(kind), "{}", plain.headers);
        assert!(field(&plain, "content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
        let tag = field(&plain, "etag");
        let again = server.send("GET", path, &[("if-none-match", &tag)], b"").await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        let zipped = server.send("GET", path, &[("accept-encoding", "gzip, br"), ("if-none-match", &tag)], b"").await;
        assert_eq!((zipped.status, field(&zipped, "content-encoding").as_str()), (200, "gzip"), "other bytes");
        assert!(zipped.body.len() < plain.body.len() && field(&zipped, "etag") != tag);
    }
    assert_eq!(server.get("/page/../Cargo.toml").await.status, 404);
    assert_eq!(server.get("/page/js/none.js").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_keys_tells_that_everything_is_allowed() {
    let server = start().await;
    assert_eq!(server.get("/api/key").await.json(), json!({"required": false, "scope": "admin"}));
    server.stop().await;
}
