//! Tenants and databases.

use serde_json::{Value, json};

use super::{DB, assert_invalid, assert_refused, create, error, start};

#[tokio::test]
async fn tenants_are_created_once_and_found_by_any_name() {
    let server = start().await;
    let create = |name: &str| json!({"name": name});
    for name in ["acme", "tén ant"] {
        let created = server.post("/api/v2/tenants", &create(name)).await;
        assert_eq!((created.status, created.json()), (200, json!({})), "{name}");
    }
    let found = server.get("/api/v2/tenants/t%C3%A9n%20ant").await;
    assert_eq!(found.json(), json!({"name": "tén ant", "resource_name": null}));
    assert_eq!(server.get("/api/v2/tenants/default_tenant").await.json()["name"], "default_tenant");
    let twice = server.post("/api/v2/tenants", &create("acme")).await;
    assert_refused(&twice, 409, "ChromaError", "Tenant [acme] already exists");
    let default = server.post("/api/v2/tenants", &create("default_tenant")).await;
    assert_refused(&default, 409, "ChromaError", "Tenant [default_tenant] already exists");
    let short = server.post("/api/v2/tenants", &create("ab")).await;
    assert_eq!((short.status, error(&short).1.as_str()), (400, "InvalidArgumentError"));
    let none = server.post("/api/v2/tenants", &json!({})).await;
    let words = "Failed to deserialize the JSON body into the target type: missing field `name` at line 1 column 2";
    assert_refused(&none, 422, "ChromaError", words);
    let nobody = server.get("/api/v2/tenants/nobody").await;
    assert_refused(&nobody, 404, "NotFoundError", "Tenant [nobody] not found");
    server.stop().await;
}

#[tokio::test]
async fn a_tenants_resource_name_is_changed_by_patch() {
    let server = start().await;
    let patch = async |tenant: &str, body: Value| {
        let headers = [("content-type", "application/json")];
        server.send("PATCH", &format!("/api/v2/tenants/{tenant}"), &headers, body.to_string().as_bytes()).await
    };
    assert_eq!(server.post("/api/v2/tenants", &json!({"name": "acme"})).await.status, 200);
    let changed = patch("acme", json!({"resource_name": "r-1"})).await;
    assert_eq!((changed.status, changed.json()), (200, json!({})));
    assert_eq!(server.get("/api/v2/tenants/acme").await.json()["resource_name"], "r-1");
    assert_eq!(patch("acme", json!({})).await.status, 422);
    assert_eq!(patch("nobody", json!({"resource_name": "r-1"})).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn databases_belong_to_a_tenant_and_are_listed_by_name() {
    let server = start().await;
    let databases = "/api/v2/tenants/default_tenant/databases";
    for name in ["zeta", "alpha"] {
        let created = server.post(databases, &json!({"name": name})).await;
        assert_eq!((created.status, created.json()), (200, json!({})));
    }
    let names = async |query: &str| {
        let listed = server.get(&format!("{databases}{query}")).await;
        assert_eq!(listed.status, 200, "{}", listed.text());
        let listed = listed.json();
        listed.as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["alpha", "default_database", "zeta"]);
    assert_eq!(names("?limit=100&offset=0").await, ["alpha", "default_database", "zeta"]);
    assert_eq!(names("?limit=1&offset=1").await, ["default_database"]);
    assert_eq!(names("?limit=0").await, [""; 0]);
    let default =
        json!({"id": "00000000-0000-0000-0000-000000000000", "name": "default_database", "tenant": "default_tenant"});
    assert_eq!(server.get(DB).await.json(), default);
    assert_eq!(server.get("/api/v2/tenants/nobody/databases").await.json(), json!([]));
    let twice = server.post(databases, &json!({"name": "zeta"})).await;
    assert_refused(&twice, 409, "ChromaError", "Database [zeta] already exists");
    let missing = server.get(&format!("{databases}/nope")).await;
    assert_refused(&missing, 404, "NotFoundError", "Database [nope] not found. Are you sure it exists?");
    let of_nobody = server.post("/api/v2/tenants/nobody/databases", &json!({"name": "base"})).await;
    assert_refused(&of_nobody, 404, "NotFoundError", "Tenant [nobody] not found");
    server.stop().await;
}

#[tokio::test]
async fn a_databases_name_follows_the_rule_of_names_in_words_of_its_own() {
    let server = start().await;
    let databases = "/api/v2/tenants/default_tenant/databases";
    let short = server.post(databases, &json!({"name": "d"})).await;
    let words = "Expected a name containing 3-512 characters from [a-zA-Z0-9._-], starting and ending with a character \
                 in [a-zA-Z0-9]. Got: d";
    assert_invalid(&short, words);
    assert_eq!(server.post(databases, &json!({})).await.status, 422);
    let page = server.get(&format!("{databases}?limit=1&offset=x")).await;
    assert_invalid(&page, "Failed to deserialize query string: offset: invalid digit found in string");
    server.stop().await;
}

#[tokio::test]
async fn a_dropped_database_takes_its_collections_along() {
    let server = start().await;
    let base = "/api/v2/tenants/default_tenant/databases/base";
    let make = async || server.post("/api/v2/tenants/default_tenant/databases", &json!({"name": "base"})).await.status;
    assert_eq!(make().await, 200);
    assert_eq!(server.post(&format!("{base}/collections"), &json!({"name": "things"})).await.status, 200);
    let elsewhere = create(&server, json!({"name": "things"})).await;
    let dropped = server.send("DELETE", base, &[], b"").await;
    assert_eq!((dropped.status, dropped.json()), (200, json!({})));
    let again = server.send("DELETE", base, &[], b"").await;
    assert_refused(&again, 404, "NotFoundError", "Database [base] not found");
    assert_eq!(server.get(base).await.status, 404);
    assert_eq!(make().await, 200);
    assert_eq!(server.get(&format!("{base}/collections")).await.json(), json!([]), "a new one is empty");
    assert_eq!(server.get(&format!("{elsewhere}/count")).await.json(), json!(0), "others are as they were");
    server.stop().await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_empty_and_takes_no_collections() {
    let server = start().await;
    for (tenant, database) in [("default_tenant", "nodb"), ("nobody", "default_database")] {
        let base = format!("/api/v2/tenants/{tenant}/databases/{database}");
        assert_eq!(server.get(&format!("{base}/collections")).await.json(), json!([]));
        assert_eq!(server.get(&format!("{base}/collections_count")).await.json(), json!(0));
        let missing = server.get(&format!("{base}/collections/col1")).await;
        assert_refused(&missing, 404, "NotFoundError", "Collection [col1] does not exist");
        let refused = server.post(&format!("{base}/collections"), &json!({"name": "col1"})).await;
        assert_invalid(&refused, &format!("Database [{database}] does not exist"));
    }
    server.stop().await;
}
