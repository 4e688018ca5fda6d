//! What browsers are told: headers of every answer, and whose pages may use the server.

use drumlin::http::CorsOrigins;

use super::*;

const APP: &str = "https://app.example.org";

async fn preflight(server: &Server, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-api-key"),
    ];
    server.send("OPTIONS", "/api/collections", &headers, b"").await
}

#[tokio::test]
async fn every_kind_of_answer_carries_the_headers_that_keep_browsers_from_harm() {
    let mut keys = Keys::new();
    let key = keys.add("reader", KeyScope::Read, &[]);
    let key = key.as_str();
    let server = keys.serve(HttpSettings::default()).await;
    for (method, path, key, status) in [
        ("GET", "/health", "", 200),
        ("GET", "/page/js/main.js", "", 200),
        ("GET", "/docs", "", 307),
        ("GET", "/api/collections", key, 200),
        ("GET", "/api/collections", "", 401),
        ("DELETE", "/api/collections/x", key, 403),
        ("GET", "/no/such", "", 404),
        ("GET", "/api/v1/x", "", 404),
        ("GET", "/api/v1/collections", "", 401),
    ] {
        let answer = ask(&server, method, path, key).await;
        assert_eq!(answer.status, status, "{method} {path}");
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("x-frame-options", "deny")]
        {
            assert_eq!(header(&answer, name), Some(value), "{method} {path}");
        }
        let policy = header(&answer, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        // The page runs files of this server, nothing else may run anything.
        assert_eq!(policy.contains("script-src 'self'"), path.starts_with("/page/"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    server.stop().await;
}

#[tokio::test]
async fn other_sites_pages_may_do_nothing_unless_their_origin_is_named() {
    let mut keys = Keys::new();
    let key = keys.add("reader", KeyScope::Read, &[]);
    let server = keys.serve(HttpSettings::default()).await;
    let refused = preflight(&server, APP).await;
    assert!(refused.status >= 400 && !refused.headers.contains("access-control-"), "{}", refused.headers);
    server.stop().await;

    let cors_origins = CorsOrigins::parse(&format!("{APP}, http://localhost:5173")).unwrap();
    let server = keys.serve(HttpSettings { cors_origins, ..HttpSettings::default() }).await;
    let allowed = preflight(&server, APP).await;
    assert_eq!((allowed.status, header(&allowed, "access-control-allow-origin")), (200, Some(APP)));
    let headers = header(&allowed, "access-control-allow-headers").unwrap();
    assert!(headers.contains("x-api-key") && headers.contains("content-type"), "{headers}");
    assert_eq!(header(&allowed, "access-control-allow-credentials"), None);
    assert_eq!(header(&preflight(&server, "https://evil.example").await, "access-control-allow-origin"), None);
    for (key, status) in [(key.as_str(), 200), ("wrong", 401)] {
        let answer = server.send("GET", "/api/collections", &[("origin", APP), ("x-api-key", key)], b"").await;
        assert_eq!((answer.status, header(&answer, "access-control-allow-origin")), (status, Some(APP)));
    }
    server.stop().await;

    let http = HttpSettings { cors_origins: CorsOrigins::parse("*").unwrap(), ..HttpSettings::default() };
    let server = keys.serve(http).await;
    assert_eq!(header(&preflight(&server, "https://any.example").await, "access-control-allow-origin"), Some("*"));
    server.stop().await;
}
