//! What a key that is bound to a tenant or database sees of all others: nothing, by whatever route.

use std::path::Path;

use drumlin::Record;
use serde_json::json;

use super::*;

/// Two tenants; the hoard is in the default one.
struct Town {
    server: Server,
    /// Bound to acme, to its database prod, to nothing.
    acme: String,
    prod: String,
    all: String,
    /// Ids of the hoard, of `blueprints` in acme/prod, of `drafts` in acme/test.
    hoard: String,
    blueprints: String,
    drafts: String,
}

async fn town() -> Town {
    let mut keys = Keys::new();
    let acme = keys.add("acme", KeyScope::Admin, &["acme"]);
    let prod = keys.add("prod", KeyScope::Write, &["acme", "prod"]);
    let all = keys.add("all", KeyScope::Admin, &[]);
    let server = keys.serve(HttpSettings::default()).await;
    let store = &server.store;
    store.namespaces().create_tenant("acme").await.unwrap();
    let mut ids = vec![store.collection(HOARD).await.unwrap().identity().id.to_string()];
    for (database, name) in [("prod", "blueprints"), ("test", "drafts")] {
        store.namespaces().create_database("acme", database).await.unwrap();
        let scope = Scope { tenant: "acme".to_owned(), database: database.to_owned() };
        let made = store.with_scope(&scope).create_collection(CollectionSpec::new(name)).await.unwrap();
        made.add([Record::new("one", vec![1.0, 0.0])]).await.unwrap();
        ids.push(made.identity().id.to_string());
    }
    let [hoard, blueprints, drafts] = ids.try_into().unwrap();
    Town { server, acme, prod, all, hoard, blueprints, drafts }
}

const PROD: &str = "/api/v2/tenants/acme/databases/prod";

#[tokio::test]
async fn the_identity_tells_where_a_key_works() {
    let town = town().await;
    let identity = async |key: &str| ask(&town.server, "GET", "/api/v2/auth/identity", key).await.json();
    assert_eq!(identity(&town.prod).await, json!({"user_id": "prod", "tenant": "acme", "databases": ["prod"]}));
    assert_eq!(identity(&town.acme).await, json!({"user_id": "acme", "tenant": "acme", "databases": ["prod", "test"]}));
    let default = json!({"user_id": "all", "tenant": "default_tenant", "databases": ["default_database"]});
    assert_eq!(identity(&town.all).await, default);
    town.server.stop().await;
}

#[tokio::test]
async fn a_bound_key_does_its_work_in_its_own_database() {
    let town = town().await;
    let (server, prod) = (&town.server, &town.prod);
    let listed = ask(server, "GET", "/api/collections?tenant=acme&database=prod", prod).await.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["name"]), (1, &json!("blueprints")));
    for (method, path) in [
        ("GET", "/api/v2/tenants/acme".to_owned()),
        ("GET", PROD.to_owned()),
        ("GET", format!("{PROD}/collections")),
        ("GET", format!("{PROD}/collections/blueprints")),
        ("GET", format!("{PROD}/collections/by-id/{}", town.blueprints)),
        ("POST", format!("{PROD}/collections/{}/get", town.blueprints)),
    ] {
        let answer = ask(server, method, &path, prod).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    }
    let databases = ask(server, "GET", "/api/v2/tenants/acme/databases", &town.acme).await.json();
    assert_eq!(databases.as_array().unwrap().len(), 2, "{databases}");
    town.server.stop().await;
}

#[tokio::test]
async fn an_id_of_another_place_is_not_found_under_the_own_one() {
    let town = town().await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (method, rest) in
        [("GET", "/count"), ("POST", "/get"), ("POST", "/delete"), ("PUT", ""), ("GET", "/indexing_status")]
    {
        for id in [&town.hoard, &town.drafts] {
            let of = |id: &str| format!("{PROD}/collections/{id}{rest}");
            let answer = ask(&town.server, method, &of(id), &town.prod).await;
            let nothing = ask(&town.server, method, &of(unknown), &town.prod).await;
            assert_eq!(answer.status, 404, "{method} {rest}: {}", answer.text());
            assert_eq!(answer.text().replace(id.as_str(), unknown), nothing.text(), "as if there were none");
        }
    }
    for id in [&town.hoard, &town.drafts] {
        let path = format!("{PROD}/collections/by-id/{id}");
        let answer = ask(&town.server, "GET", &path, &town.prod).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert!(!answer.text().contains(SECRET_WORD) && !answer.text().contains("drafts"), "{}", answer.text());
        assert_eq!(ask(&town.server, "GET", &path, &town.all).await.status, 200, "as on Chroma's server");
    }
    town.server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_collection_elsewhere_is_not_told() {
    let bucket = tempfile::tempdir().unwrap();
    let mut keys = Keys::new();
    let prod = keys.add("prod", KeyScope::Write, &["acme", "prod"]);
    let settings = || Settings::new(Storage::Folder(bucket.path().to_owned()));
    let server = Server::with(settings(), HttpSettings::default()).await;
    let made = server.store.create_collection(CollectionSpec::new(HOARD)).await.unwrap();
    made.add([Record::new("one", vec![1.0, 0.0])]).await.unwrap();
    let hoard = made.identity().id.to_string();
    drop(made);
    server.stop().await;
    let damaged = damage(bucket.path(), &hoard);
    assert!(damaged > 0);

    let keyring = Keyring::open(None, Some(keys.path())).unwrap();
    let server = Server::with(settings(), HttpSettings { keys: keyring, ..HttpSettings::default() }).await;
    server.store.wait_until_loaded().await;
    for (method, path) in [
        ("GET", format!("{PROD}/collections/{hoard}/count")),
        ("POST", format!("{PROD}/collections/{hoard}/get")),
        ("GET", format!("{PROD}/collections/by-id/{hoard}")),
        ("GET", format!("/api/v1/collections/{hoard}/count?tenant=acme&database=prod")),
    ] {
        let answer = ask(&server, method, &path, &prod).await;
        let unknown = path.replace(&hoard, "00000000-0000-4000-8000-000000000000");
        let nothing = ask(&server, method, &unknown, &prod).await;
        assert_eq!(answer.status, nothing.status, "{method} {path}: {}", answer.text());
        let text = answer.text().replace(&hoard, "00000000-0000-4000-8000-000000000000");
        assert_eq!(text, nothing.text(), "as if there were none");
    }
    server.stop().await;
}

/// Makes nonsense of every object of a collection; answers how many there are.
fn damage(folder: &Path, id: &str) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let damaged = entries.map(|path| match path.is_dir() {
        true => damage(&path, id),
        false if path.to_string_lossy().contains(id) => {
            std::fs::write(&path, b"nonsense").unwrap();
            1
        }
        false => 0,
    });
    damaged.sum()
}

#[tokio::test]
async fn other_places_and_the_store_as_a_whole_are_refused_before_anything_is_looked_up() {
    let town = town().await;
    let of_prod = [
        ("GET", "/api/collections"),
        ("GET", "/api/collections?tenant=acme"),
        ("GET", "/api/collections?tenant=acme&database=test"),
        ("GET", "/api/collections?tenant=acme&tenant=default_tenant&database=prod"),
        ("GET", "/api/collections?tenant=acme&database=prod&database=test"),
        ("GET", "/api/collections/treasure-hoard"),
        ("GET", "/api/collections/no-such-thing"),
        ("POST", "/api/collections"),
        ("GET", "/api/v2/tenants/acme/databases"),
        ("GET", "/api/v2/tenants/acme/databases/test"),
        ("GET", "/api/v2/tenants/default_tenant"),
        ("GET", "/api/v2/tenants/no-such-tenant"),
        ("GET", "/api/v2/tenants/acme%2Fdatabases%2Fprod/databases/prod"),
        ("GET", "/api/v2/tenants/%FF/databases/prod"),
        ("GET", "/api/v2/collections/acme:prod:blueprints"),
        ("GET", "/metrics"),
        ("GET", "/api/s3/status"),
    ];
    for (method, path) in of_prod {
        assert_refused(&ask(&town.server, method, path, &town.prod).await, 403, path, path);
    }
    for (method, path) in [
        ("POST", "/api/v2/tenants"),
        ("POST", "/api/v2/reset"),
        ("POST", "/api/s3/sync"),
        ("POST", "/api/verify"),
        ("GET", "/api/verify"),
        ("GET", "/api/collections?tenant=default_tenant"),
        ("DELETE", "/api/v2/tenants/default_tenant/databases/default_database"),
    ] {
        assert_refused(&ask(&town.server, method, path, &town.acme).await, 403, path, path);
    }
    town.server.stop().await;
}
