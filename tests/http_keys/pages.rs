//! A server without keys on this machine, and the pages of other sites in a browser there.

use drumlin::http::CorsOrigins;

use super::*;

const EVIL: &str = "https://evil.example";
const APP: &str = "https://app.example.org";

async fn keyless(http: HttpSettings) -> Server {
    let server = Server::with(Settings::new(Storage::Memory), http).await;
    server.store.create_collection(CollectionSpec::new(HOARD)).await.unwrap();
    server
}

/// Requests that read and requests that change, of both APIs.
const READS: [(&str, &str); 4] =
    [("GET", "/api/collections"), ("GET", "/health"), ("GET", "/metrics"), ("GET", "/api/v2/tenants/default_tenant")];
const WRITES: [(&str, &str); 3] =
    [("DELETE", "/api/collections/treasure-hoard"), ("POST", "/api/s3/sync"), ("POST", "/api/v2/tenants")];

async fn status(server: &Server, (method, path): (&str, &str), headers: &[(&str, &str)]) -> (u16, String) {
    // As a page can send it without asking first.
    let headers = [&[("content-type", "text/plain")], headers].concat();
    let answer = server.send(method, path, &headers, b"").await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn a_keyless_server_on_loopback_answers_to_names_of_this_machine_only() {
    let server = keyless(HttpSettings::default()).await;
    let port = server.address.port();
    for request in READS.into_iter().chain(WRITES) {
        for host in [EVIL.trim_start_matches("https://"), "127.0.0.1.nip.io", "localhost.evil.example", "10.0.0.1"] {
            for host in [host.to_owned(), format!("{host}:{port}")] {
                let (status, text) = status(&server, request, &[("host", &host)]).await;
                assert_eq!(status, 403, "{request:?} to {host}: {text}");
                assert!(text.contains("Use localhost, set STORAGE_API_KEY"), "{text}");
                assert!(!text.contains(SECRET_WORD), "{text}");
            }
        }
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "localhost".into()]
    {
        for request in READS {
            assert_eq!(status(&server, request, &[("host", &host)]).await.0, 200, "{request:?} to {host}");
        }
    }
    server.stop().await;
    // Any name is served where the settings say that something in front protects the server, or that a proxy is to be
    // believed.
    let proxied = HttpSettings { trust_proxy: true, ..HttpSettings::default() };
    for http in [HttpSettings { any_host: true, ..HttpSettings::default() }, proxied] {
        let server = keyless(http).await;
        assert_eq!(status(&server, READS[0], &[("host", "db.example.org")]).await.0, 200);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_on_a_keyless_server() {
    let server = keyless(HttpSettings::default()).await;
    let here = format!("http://{}", server.address);
    let neighbour = "http://localhost:3000";
    let foreign: [&[(&str, &str)]; 6] = [
        &[("origin", EVIL)],
        &[("origin", "null")],
        &[("origin", neighbour)],
        &[("sec-fetch-site", "cross-site")],
        &[("origin", neighbour), ("sec-fetch-site", "same-site")],
        &[("origin", &here), ("sec-fetch-site", "cross-site")],
    ];
    // A file may be set to go once it was downloaded.
    let downloads = [("GET", "/download/job-1"), ("GET", "/api/files/a.txt")];
    for headers in foreign {
        for request in WRITES.into_iter().chain(downloads) {
            let (status, text) = status(&server, request, headers).await;
            assert_eq!(status, 403, "{request:?} {headers:?}: {text}");
            assert!(text.contains("DRUMLIN_CORS_ORIGINS") && !text.contains(SECRET_WORD), "{text}");
        }
        for request in READS {
            let answer = server.send(request.0, request.1, headers, b"").await;
            // A browser shows it to no page: nothing allows that.
            assert_eq!((answer.status, header(&answer, "access-control-allow-origin")), (200, None), "{request:?}");
        }
    }
    assert!(server.store.collection(HOARD).await.is_ok(), "it is still there");
    // A program, the server's own pages, and what a person does by hand in the browser.
    let own: [&[(&str, &str)]; 4] = [
        &[],
        &[("origin", &here)],
        &[("origin", &here), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ];
    for headers in own {
        assert_eq!(status(&server, ("POST", "/api/s3/sync"), headers).await.0, 200, "{headers:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_named_origins_may_write_and_keys_decide_where_there_are_keys() {
    let cors_origins = CorsOrigins::parse(APP).unwrap();
    let server = keyless(HttpSettings { cors_origins, ..HttpSettings::default() }).await;
    let named = [("origin", APP), ("sec-fetch-site", "cross-site")];
    assert_eq!(status(&server, ("POST", "/api/s3/sync"), &named).await.0, 200);
    assert_eq!(status(&server, ("POST", "/api/s3/sync"), &[("origin", EVIL)]).await.0, 403);
    server.stop().await;
    let all = CorsOrigins::parse("*").unwrap();
    let server = keyless(HttpSettings { cors_origins: all, ..HttpSettings::default() }).await;
    assert_eq!(status(&server, ("POST", "/api/s3/sync"), &[("origin", EVIL)]).await.0, 200);
    server.stop().await;

    let mut keys = Keys::new();
    let key = keys.add("admin", KeyScope::Admin, &[]);
    let server = keys.serve(HttpSettings::default()).await;
    let shown = [("host", "db.example.org"), ("origin", EVIL), ("x-api-key", key.as_str())];
    assert_eq!(status(&server, ("POST", "/api/s3/sync"), &shown).await.0, 200);
    assert_eq!(status(&server, ("POST", "/api/s3/sync"), &shown[..2]).await.0, 401);
    server.stop().await;
}
