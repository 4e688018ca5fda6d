//! Every route × every fault × every form: refused. Every route × every form with the right key: let in.

use serde_json::json;

use super::*;

/// A route of the API as its description tells it.
struct Route {
    method: String,
    pattern: String,
    /// `None` if it is open.
    scope: Option<KeyScope>,
}

async fn routes(server: &Server) -> Vec<Route> {
    let api = server.get("/openapi.json").await.json();
    let mut routes = Vec::new();
    for (pattern, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let forms = operation["security"].as_array().unwrap();
            let scope = forms.first().map(|form| {
                let scopes = form.as_object().unwrap().values().next().unwrap();
                scopes[0].as_str().unwrap().parse().unwrap()
            });
            routes.push(Route { method: method.to_uppercase(), pattern: pattern.clone(), scope });
        }
    }
    assert!(routes.len() > 40 && routes.iter().filter(|route| route.scope.is_some()).count() > 30);
    routes
}

impl Route {
    /// The path to the hoard.
    fn path(&self, id: &str) -> String {
        let by_name = matches!(self.method.as_str(), "GET" | "DELETE") && self.pattern.ends_with("/{collection}");
        // The first version takes the id alone, and then a bound key is told that there is no such collection
        // (`the_id_of_a_collection_leads_a_key_only_where_it_is_bound_to`).
        let place = match self.pattern.starts_with("/api/v1/collections/{collection}") && !by_name {
            true => "?tenant=default_tenant&database=default_database",
            false => "",
        };
        let path = self
            .pattern
            .replace("{collection}", if by_name && !self.pattern.contains("by-id") { HOARD } else { id })
            .replace("{name}", HOARD)
            .replace("{job_id}", HOARD)
            .replace("{tenant}", "default_tenant")
            .replace("{database}", "default_database")
            .replace("{function}", "sum");
        format!("{path}{place}")
    }
}

/// The keys of the matrix.
struct Ring {
    file: Keys,
    read: String,
    write: String,
    admin: String,
    expired: String,
    elsewhere: String,
    other_database: String,
    here: String,
}

impl Ring {
    fn new() -> Ring {
        let mut file = Keys::new();
        let ring = [
            ("reader", KeyScope::Read, &[][..]),
            ("writer", KeyScope::Write, &[]),
            ("admin", KeyScope::Admin, &[]),
            ("expired", KeyScope::Admin, &[]),
            ("elsewhere", KeyScope::Admin, &["elsewhere"]),
            ("other-database", KeyScope::Admin, &["default_tenant", "other"]),
            ("here", KeyScope::Admin, &["default_tenant", "default_database"]),
        ]
        .map(|(name, scope, place)| file.add(name, scope, place));
        let [read, write, admin, expired, elsewhere, other_database, here] = ring;
        file.entries[3].expires = Some("2001-01-01".to_owned());
        file.write();
        Ring { file, read, write, admin, expired, elsewhere, other_database, here }
    }

    fn of(&self, scope: KeyScope) -> &str {
        match scope {
            KeyScope::Read => &self.read,
            KeyScope::Write => &self.write,
            KeyScope::Admin => &self.admin,
        }
    }

    /// The faulty keys of a route, what is wrong with each, and the status that is to be answered.
    fn faults(&self, route: &Route, scope: KeyScope) -> Vec<(&'static str, &str, u16)> {
        let mut faults = vec![
            ("wrong", "drumlin_bm90IGEga2V5IG9mIG91cnMsIGFsYXMsIG5vdCAx", 401),
            ("expired", self.expired.as_str(), 401),
            ("empty", "", 401),
        ];
        if scope > KeyScope::Read {
            faults.push(("read only", &self.read, 403));
        }
        if scope > KeyScope::Write {
            faults.push(("write only", &self.write, 403));
        }
        // Everybody may ask who he is, and use the models, which belong to no tenant; whoever is bound to a database may
        // ask what its tenant is called.
        if !["/api/v2/auth/identity", "/api/models", "/v1/embeddings"].contains(&route.pattern.as_str()) {
            faults.push(("of another tenant", &self.elsewhere, 403));
            if !(route.method == "GET" && route.pattern.ends_with("/tenants/{tenant}")) {
                faults.push(("of another database", &self.other_database, 403));
            }
        }
        faults
    }

    fn secrets(&self) -> [&str; 7] {
        [&self.read, &self.write, &self.admin, &self.expired, &self.elsewhere, &self.other_database, &self.here]
    }
}

async fn id_of_hoard(server: &Server) -> String {
    server.store.collection(HOARD).await.unwrap().identity().id.to_string()
}

#[tokio::test]
async fn every_route_refuses_every_faulty_key_in_every_form_and_tells_nothing() {
    let ring = Ring::new();
    let server = ring.file.serve(HttpSettings { allow_reset: true, ..HttpSettings::default() }).await;
    let id = id_of_hoard(&server).await;
    let mut refused = 0;
    for route in routes(&server).await {
        let (path, Some(scope)) = (route.path(&id), route.scope) else { continue };
        let without = ask_as(&server, &route.method, &path, None).await;
        assert_refused(&without, 401, &path, &format!("{} {path} without a key", route.method));
        for (fault, key, status) in ring.faults(&route, scope) {
            for form in FORMS {
                let answer = ask_as(&server, &route.method, &path, Some(&shown(form, key))).await;
                assert_refused(&answer, status, &path, &format!("{} {path}, key {fault}, as {form}", route.method));
                refused += 1;
            }
        }
    }
    assert!(refused >= 100, "only {refused} requests");
    println!("{refused} requests refused");
    // Nothing was changed by any of them, and the log knows no key.
    assert_eq!(id_of_hoard(&server).await, id);
    let log = LOG.text();
    for secret in ring.secrets() {
        assert!(
            !log.contains(secret) && !log.contains(&STANDARD.encode(format!("anybody:{secret}"))),
            "a key is logged"
        );
    }
    assert!(log.matches("drumlin::access").count() > refused);
    server.stop().await;
}

#[tokio::test]
async fn every_route_lets_the_least_sufficient_key_in_in_every_form() {
    let ring = Ring::new();
    let server = ring.file.serve(HttpSettings::default()).await;
    let id = id_of_hoard(&server).await;
    for route in routes(&server).await {
        let (path, Some(scope)) = (route.path(&id), route.scope) else { continue };
        for form in FORMS {
            let answer = ask_as(&server, &route.method, &path, Some(&shown(form, ring.of(scope)))).await;
            let what = format!("{} {path} as {form}: {} {}", route.method, answer.status, answer.text());
            assert!(![401, 429].contains(&answer.status) && answer.status < 500 || answer.status == 501, "{what}");
            assert!(answer.status != 403 || answer.text().contains("Reset is disabled"), "{what}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_key_that_is_bound_to_the_place_of_a_request_is_let_in() {
    let ring = Ring::new();
    let server = ring.file.serve(HttpSettings::default()).await;
    let id = id_of_hoard(&server).await;
    for (method, path) in [
        ("GET", "/api/collections".to_owned()),
        ("GET", "/api/collections?tenant=default_tenant&database=default_database".to_owned()),
        ("GET", format!("/api/collections/{HOARD}/count")),
        ("GET", "/api/v2/tenants/default_tenant".to_owned()),
        ("GET", DB.to_owned()),
        ("GET", "/api/v2/tenants/%64efault_tenant/databases/default_database".to_owned()),
        ("GET", format!("{DB}/collections")),
        ("GET", format!("{DB}/collections/by-id/{id}")),
        ("POST", format!("{DB}/collections/{id}/get")),
        ("GET", "/api/v1/tenants/default_tenant".to_owned()),
        ("GET", "/api/v1/databases/default_database".to_owned()),
        ("GET", "/api/v1/collections".to_owned()),
        ("GET", format!("/api/v1/collections/{HOARD}")),
        ("GET", format!("/api/v1/collections/{id}/count")),
        ("POST", format!("/api/v1/collections/{id}/get?tenant=default_tenant")),
        ("PUT", format!("/api/v1/collections/{id}?database=default_database")),
        ("DELETE", format!("{DB}/collections/{HOARD}")),
    ] {
        let answer = ask(&server, method, &path, &ring.here).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn the_id_of_a_collection_leads_a_key_only_where_it_is_bound_to() {
    const NO_ID: &str = "00000000-0000-4000-8000-00000000dead";
    let ring = Ring::new();
    let server = ring.file.serve(HttpSettings::default()).await;
    let id = id_of_hoard(&server).await;
    let routes = [("PUT", ""), ("GET", "/count"), ("POST", "/get"), ("POST", "/query"), ("POST", "/add")];
    let routes = routes.into_iter().chain([("POST", "/upsert"), ("POST", "/update"), ("POST", "/delete")]);
    let body = json!({"ids": ["a"], "embeddings": [[1.0]], "query_embeddings": [[1.0]], "new_name": "stolen"});
    for (method, route) in routes {
        for key in [&ring.elsewhere, &ring.other_database] {
            let headers = [("x-api-key", key.as_str()), ("content-type", "application/json")];
            let mut told = Vec::new();
            for id in [id.as_str(), NO_ID] {
                let path = format!("/api/v1/collections/{id}{route}");
                let answer = server.send(method, &path, &headers, body.to_string().as_bytes()).await;
                assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
                told.push(answer.text().replace(id, "{id}"));
            }
            assert_eq!(told[0], told[1], "a collection elsewhere is as one that is not there");
            assert!(told[0].contains("\"InvalidCollection\"") && !told[0].contains(SECRET_WORD), "{}", told[0]);
        }
    }
    let hoard = server.store.collection(HOARD).await.unwrap();
    assert_eq!((hoard.identity().id.to_string(), hoard.info().count), (id, 0));
    server.stop().await;
}

#[tokio::test]
async fn a_key_of_one_database_makes_no_other_through_the_first_version() {
    let ring = Ring::new();
    let server = ring.file.serve(HttpSettings::default()).await;
    let make = async |key: &str, query: &str| {
        let headers = [("x-api-key", key), ("content-type", "application/json")];
        server.send("POST", &format!("/api/v1/databases{query}"), &headers, b"{\"name\": \"more\"}").await.status
    };
    for query in ["", "?tenant=default_tenant", "?tenant=default_tenant&database=default_database"] {
        assert_eq!(make(&ring.here, query).await, 403, "{query}");
    }
    assert_eq!(make(&ring.elsewhere, "").await, 403);
    assert_eq!(make(&ring.elsewhere, "?tenant=elsewhere&tenant=default_tenant").await, 403);
    assert_eq!(make(&ring.admin, "").await, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_head_needs_what_its_get_needs() {
    let ring = Ring::new();
    let server = ring.file.serve(HttpSettings::default()).await;
    let path = format!("/api/collections/{HOARD}");
    assert_eq!(ask_as(&server, "HEAD", &path, None).await.status, 401);
    assert_eq!(ask(&server, "HEAD", &path, &ring.read).await.status, 200);
    assert_eq!(ask(&server, "PUT", &path, &ring.write).await.status, 403, "not in the table: for full keys only");
    assert_eq!(ask(&server, "PUT", &path, &ring.admin).await.status, 405);
    server.stop().await;
}

#[tokio::test]
async fn without_keys_all_is_as_it_was() {
    let server = serve(HttpSettings::default()).await;
    for path in ["/api/collections", "/metrics", "/api/s3/status", "/api/v2/auth/identity"] {
        assert_eq!(ask(&server, "GET", path, "whatever this is").await.status, 200, "{path}");
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    assert_eq!(server.post("/api/collections", &json!({"name": "more"})).await.status, 201);
    let health = server.get("/health").await.json();
    assert_eq!((&health["storage"]["kind"], health["storage"]["location"].is_string()), (&"memory".into(), true));
    assert!(!health.to_string().contains("shown with a key"), "{health}");
    server.stop().await;
}
