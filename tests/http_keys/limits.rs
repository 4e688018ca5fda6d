//! How often a key, or an address without one, may ask.

use drumlin::http::Rate;

use super::*;

/// A burst of three, and then practically nothing.
const RATE: Option<Rate> = Some(Rate { per_second: 0.01, burst: 3.0 });

#[tokio::test]
async fn a_key_that_asks_too_often_waits_and_others_do_not() {
    let mut keys = Keys::new();
    let (busy, calm) = (keys.add("busy", KeyScope::Read, &[]), keys.add("calm", KeyScope::Read, &[]));
    let server = keys.serve(HttpSettings { rate: RATE, ..HttpSettings::default() }).await;
    for _ in 0..3 {
        assert_eq!(ask(&server, "GET", "/api/collections", &busy).await.status, 200);
    }
    for path in ["/api/collections", &format!("{DB}/collections")] {
        let refused = ask(&server, "GET", path, &busy).await;
        assert_refused(&refused, 429, path, path);
        let wait: u64 = header(&refused, "retry-after").unwrap().parse().unwrap();
        assert!((90..=100).contains(&wait), "{wait} s");
        assert!(refused.text().contains("DRUMLIN_RATE_PER_SECOND"), "{}", refused.text());
    }
    assert_eq!(ask(&server, "GET", "/api/collections", &calm).await.status, 200);
    assert_eq!(ask(&server, "GET", "/health", &busy).await.status, 200, "open routes are not counted");
    server.stop().await;
}

#[tokio::test]
async fn wrong_keys_are_counted_by_their_address() {
    let mut keys = Keys::new();
    let good = keys.add("good", KeyScope::Read, &[]);
    let server = keys.serve(HttpSettings { rate: RATE, ..HttpSettings::default() }).await;
    let mut statuses = Vec::new();
    for attempt in 0..5 {
        statuses.push(ask(&server, "GET", "/api/collections", &format!("guess-{attempt}")).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    assert_eq!(ask(&server, "GET", "/api/collections", &good).await.status, 200, "a key has a bucket of its own");
    server.stop().await;
}

#[tokio::test]
async fn without_keys_addresses_are_limited_and_forwarded_ones_only_behind_a_trusted_proxy() {
    for (trust_proxy, expected) in [(false, [200, 200, 200, 429, 429]), (true, [200; 5])] {
        let server = serve(HttpSettings { rate: RATE, trust_proxy, ..HttpSettings::default() }).await;
        let mut statuses = Vec::new();
        for client in 0..5 {
            let from = format!("203.0.113.{client}");
            let id = format!("forwarded-{trust_proxy}-{client}");
            let headers = [("x-forwarded-for", from.as_str()), ("x-forwarded-proto", "https"), ("x-request-id", &id)];
            statuses.push(server.send("GET", "/api/collections", &headers, b"").await.status);
            let line = LOG.line(&id);
            let peer = if trust_proxy { from.as_str() } else { "127.0.0.1" };
            let scheme = if trust_proxy { "https" } else { "http" };
            assert_eq!((&line["peer"], &line["scheme"]), (&peer.into(), &scheme.into()));
        }
        assert_eq!(statuses, expected, "trusted: {trust_proxy}");
        server.stop().await;
    }
}
