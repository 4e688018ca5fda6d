//! The table of what each route needs: how much a key must allow, and which part of the store the route touches. A
//! route that is missing in the table needs a full key, and a test reports it.

use std::collections::HashMap;

use axum::RequestExt;
use axum::extract::{Query, RawPathParams, Request};
use axum::http::{Method, Uri};

use super::key::{Bound, KeyScope};
use crate::collection::request::Scope;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// No key at all.
    Open,
    /// A key of at least this scope.
    Key(KeyScope),
}

/// Which part of the store a route touches, and where the request names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoutePlace {
    /// All of it: forbidden to a key that is bound to a part.
    Store,
    /// Nothing that belongs to a tenant.
    Nothing,
    /// A tenant as such, without its databases; the path names it.
    Tenant,
    /// All databases of a tenant; the path names it.
    Databases,
    /// One database; the path names it and its tenant.
    Database,
    /// One database; the query string names it and its tenant, or they are the default ones.
    Query,
    /// All databases of a tenant; the query string names it, or it is the default one.
    DatabasesOfQuery,
    /// One database that the path names; the query string names its tenant, or it is the default one.
    DatabaseOfQuery,
    /// A collection in any database; the path has its id. The handler finds only those within the key's bounds: one
    /// elsewhere does not exist. Where the query string names a tenant or database, that counts too.
    Id,
}

use Need::Open;
const READ: Need = Need::Key(KeyScope::Read);
const WRITE: Need = Need::Key(KeyScope::Write);
const ADMIN: Need = Need::Key(KeyScope::Admin);

/// Routes that share a prefix and a place.
struct RouteGroup {
    prefix: &'static str,
    place: RoutePlace,
    /// Method, the rest of the path, need.
    routes: &'static [(&'static str, &'static str, Need)],
}

/// Stands for every method in the table.
const ANY: &str = "*";

#[rustfmt::skip]
const TABLE: &[RouteGroup] = &[
    RouteGroup { prefix: "", place: RoutePlace::Nothing, routes: &[
        ("GET", "/", Open),
        ("GET", "/docs", Open),
        ("GET", "/docs/", Open),
        // What a key allows is told to who has it; the files of the page are the same for all.
        ("GET", "/api/key", Open),
        ("GET", "/page/{*file}", Open),
        ("GET", "/favicon.ico", Open),
        ("GET", "/openapi.json", Open),
        // The answer names damaged objects and the bucket only for a key that sees the whole store.
        ("GET", "/health", Open),
        ("GET", "/ready", Open),
        // Where the first version is switched off: the answer only says that it no longer exists.
        (ANY, "/api/v1/{*rest}", Open),
    ] },
    // Models belong to no tenant.
    RouteGroup { prefix: "", place: RoutePlace::Nothing, routes: &[
        ("GET", "/api/models", READ),
        ("POST", "/v1/embeddings", READ),
    ] },
    RouteGroup { prefix: "", place: RoutePlace::Store, routes: &[
        ("GET", "/metrics", READ),
        ("GET", "/api/bucket", READ),
        // It reads every object.
        ("POST", "/api/verify", ADMIN),
        ("GET", "/api/verify", READ),
        ("GET", "/api/s3/status", READ),
        ("POST", "/api/s3/sync", ADMIN),
    ] },
    RouteGroup { prefix: "/api/collections", place: RoutePlace::Query, routes: &[
        ("GET", "", READ),
        ("POST", "", WRITE),
        ("GET", "/{name}", READ),
        ("DELETE", "/{name}", ADMIN),
        ("GET", "/{name}/count", READ),
        ("POST", "/{name}/count", READ),
        ("POST", "/{name}/embed", READ),
        ("GET", "/{name}/map", READ),
        // It takes minutes of computing.
        ("POST", "/{name}/map", WRITE),
        ("POST", "/{name}/neighbors", READ),
        ("GET", "/{name}/reembed", READ),
        // In the end it drops a collection.
        ("POST", "/{name}/reembed", ADMIN),
        ("DELETE", "/{name}/reembed", ADMIN),
        ("POST", "/{name}/facets", READ),
        ("POST", "/{name}/get", READ),
        ("POST", "/{name}/search", READ),
        ("GET", "/{name}/versions", READ),
        ("POST", "/{name}/compare", READ),
        ("POST", "/{name}/fork", WRITE),
        ("POST", "/{name}/rename", WRITE),
        // It may delete any number of records.
        ("POST", "/{name}/restore", ADMIN),
        ("POST", "/{name}/add", WRITE),
        ("POST", "/{name}/upsert", WRITE),
        ("POST", "/{name}/update", WRITE),
        ("POST", "/{name}/delete", WRITE),
    ] },
    RouteGroup { prefix: "/api/files", place: RoutePlace::Query, routes: &[
        ("GET", "", READ),
        ("GET", "/{*name}", READ),
        ("PUT", "/{*name}", WRITE),
        ("DELETE", "/{*name}", WRITE),
    ] },
    RouteGroup { prefix: "", place: RoutePlace::Query, routes: &[
        ("POST", "/upload", WRITE),
        ("GET", "/download/{job_id}", READ),
        ("DELETE", "/delete/{job_id}", WRITE),
        // The answer names every job.
        ("GET", "/list", ADMIN),
    ] },
    #[cfg(feature = "mcp")]
    RouteGroup { prefix: "/mcp", place: RoutePlace::Query, routes: &[
        // Tools that change something need a key that writes (`mcp/tools.rs`).
        ("POST", "", READ),
    ] },
    RouteGroup { prefix: "/api/v1", place: RoutePlace::Nothing, routes: &[
        ("GET", "", Open),
        ("GET", "/heartbeat", Open),
        ("GET", "/version", Open),
        ("GET", "/pre-flight-checks", Open),
    ] },
    RouteGroup { prefix: "/api/v1", place: RoutePlace::Store, routes: &[
        ("POST", "/reset", ADMIN),
        ("POST", "/tenants", ADMIN),
    ] },
    RouteGroup { prefix: "/api/v1", place: RoutePlace::Tenant, routes: &[
        // Chroma's clients request it when they start.
        ("GET", "/tenants/{tenant}", READ),
    ] },
    RouteGroup { prefix: "/api/v1", place: RoutePlace::DatabasesOfQuery, routes: &[
        ("POST", "/databases", ADMIN),
    ] },
    RouteGroup { prefix: "/api/v1", place: RoutePlace::DatabaseOfQuery, routes: &[
        ("GET", "/databases/{database}", READ),
    ] },
    RouteGroup { prefix: "/api/v1", place: RoutePlace::Query, routes: &[
        ("GET", "/collections", READ),
        ("POST", "/collections", WRITE),
        ("GET", "/count_collections", READ),
        ("GET", "/collections/{collection}", READ),
        ("DELETE", "/collections/{collection}", ADMIN),
    ] },
    RouteGroup { prefix: "/api/v1/collections/{collection}", place: RoutePlace::Id, routes: &[
        ("PUT", "", WRITE),
        ("GET", "/count", READ),
        ("POST", "/get", READ),
        ("POST", "/query", READ),
        ("POST", "/add", WRITE),
        ("POST", "/upsert", WRITE),
        ("POST", "/update", WRITE),
        ("POST", "/delete", WRITE),
    ] },
    RouteGroup { prefix: "/api/v2", place: RoutePlace::Nothing, routes: &[
        ("GET", "", Open),
        ("GET", "/heartbeat", Open),
        ("GET", "/healthcheck", Open),
        ("GET", "/version", Open),
        ("GET", "/pre-flight-checks", Open),
        // Describes the key to its holder.
        ("GET", "/auth/identity", READ),
    ] },
    RouteGroup { prefix: "/api/v2", place: RoutePlace::Store, routes: &[
        ("POST", "/reset", ADMIN),
        ("POST", "/tenants", ADMIN),
        ("GET", "/collections/{name}", READ),
    ] },
    RouteGroup { prefix: "/api/v2/tenants/{tenant}", place: RoutePlace::Tenant, routes: &[
        // Chroma's clients request it when they start.
        ("GET", "", READ),
    ] },
    RouteGroup { prefix: "/api/v2/tenants/{tenant}", place: RoutePlace::Databases, routes: &[
        ("PATCH", "", ADMIN),
        ("GET", "/databases", READ),
        ("POST", "/databases", ADMIN),
    ] },
    RouteGroup { prefix: "/api/v2/tenants/{tenant}/databases/{database}", place: RoutePlace::Database, routes: &[
        ("GET", "", READ),
        ("DELETE", "", ADMIN),
        ("GET", "/collections", READ),
        ("POST", "/collections", WRITE),
        ("GET", "/collections_count", READ),
        ("GET", "/collections/by-id/{collection}", READ),
    ] },
    RouteGroup { prefix: "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection}", place: RoutePlace::Database, routes: &[
        ("GET", "", READ),
        ("PUT", "", WRITE),
        ("DELETE", "", ADMIN),
        ("POST", "/fork", WRITE),
        ("GET", "/fork_count", READ),
        ("GET", "/indexing_status", READ),
        ("GET", "/count", READ),
        ("POST", "/get", READ),
        ("POST", "/query", READ),
        ("POST", "/search", READ),
        ("POST", "/add", WRITE),
        ("POST", "/upsert", WRITE),
        ("POST", "/update", WRITE),
        ("POST", "/delete", WRITE),
        ("POST", "/conditional/get", READ),
        ("POST", "/conditional/commit", WRITE),
        ("POST", "/functions/attach", WRITE),
        ("POST", "/attached_functions/{function}/add_input", WRITE),
        ("POST", "/attached_functions/{function}/detach", WRITE),
        ("GET", "/functions/{function}", READ),
    ] },
];

/// The table, indexed for lookups.
pub(in crate::http) struct Permissions(HashMap<String, Vec<(&'static str, Need, RoutePlace)>>);

impl Permissions {
    pub(in crate::http) fn new() -> Permissions {
        let mut routes: HashMap<String, Vec<_>> = HashMap::new();
        for group in TABLE {
            for (method, rest, need) in group.routes {
                let path = format!("{}{rest}", group.prefix);
                routes.entry(path).or_default().push((*method, *need, group.place));
            }
        }
        Permissions(routes)
    }

    /// What a request needs that has this method and matches this route pattern.
    pub(super) fn of(&self, method: &Method, pattern: &str) -> (Need, RoutePlace) {
        // A HEAD is answered as a GET without its body.
        let method = if method == Method::HEAD { Method::GET.as_str() } else { method.as_str() };
        let rows = self.0.get(pattern).map(Vec::as_slice).unwrap_or_default();
        let row = rows.iter().find(|(named, ..)| *named == method || *named == ANY);
        row.map_or((ADMIN, RoutePlace::Store), |(_, need, place)| (*need, *place))
    }
}

impl RoutePlace {
    /// Whether everything that the request touches lies within the bounds of a key. The check looks nothing up in the
    /// store.
    pub(super) async fn lies_within(self, bound: &Bound, request: &mut Request) -> bool {
        match self {
            RoutePlace::Store => false,
            RoutePlace::Nothing => true,
            RoutePlace::Tenant => self.path_lies_within(bound, request).await,
            RoutePlace::Databases => bound.database.is_none() && self.path_lies_within(bound, request).await,
            RoutePlace::Database => self.path_lies_within(bound, request).await,
            RoutePlace::Query => query_lies_within(bound, request.uri()),
            RoutePlace::DatabasesOfQuery => {
                bound.database.is_none() && query_lies_within(&bound.whole_tenant(), request.uri())
            }
            RoutePlace::DatabaseOfQuery => {
                self.path_lies_within(bound, request).await && query_lies_within(&bound.whole_tenant(), request.uri())
            }
            RoutePlace::Id => nothing_named_lies_outside(bound, request.uri()),
        }
    }

    async fn path_lies_within(self, bound: &Bound, request: &mut Request) -> bool {
        let Ok(parameters) = request.extract_parts::<RawPathParams>().await else { return false };
        let named = |wanted: &str| parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let names_database = matches!(self, RoutePlace::Database | RoutePlace::DatabaseOfQuery);
        let names_tenant = self != RoutePlace::DatabaseOfQuery;
        (!names_tenant || named("tenant") == Some(bound.tenant.as_str()))
            && (!names_database || bound.database.is_none() || named("database") == bound.database.as_deref())
    }
}

/// Every tenant and database in the query string counts; a missing one stands for the default.
fn query_lies_within(bound: &Bound, uri: &Uri) -> bool {
    let default = Scope::default();
    names_lie_within(bound, uri, Some((&default.tenant, &default.database)))
}

/// As [`query_lies_within`], but a missing tenant or database stands for any.
fn nothing_named_lies_outside(bound: &Bound, uri: &Uri) -> bool {
    names_lie_within(bound, uri, None)
}

/// `missing`: the tenant and the database that missing ones stand for; `None` if a missing one is within.
fn names_lie_within(bound: &Bound, uri: &Uri, missing: Option<(&str, &str)>) -> bool {
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else { return false };
    let all_are = |name: &str, missing: Option<&str>, wanted: &str| {
        let mut values = pairs.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).peekable();
        match values.peek() {
            None => missing.is_none_or(|missing| missing == wanted),
            Some(_) => values.all(|value| value == wanted),
        }
    };
    let in_database = |database: &String| all_are("database", missing.map(|(_, database)| database), database);
    all_are("tenant", missing.map(|(tenant, _)| tenant), &bound.tenant)
        && bound.database.as_ref().is_none_or(in_database)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_holds_exactly_the_routes_that_are_served() {
        let mut served: BTreeSet<(String, String)> =
            crate::http::routes().iter().map(|(method, path, _)| (method.to_string(), (*path).to_owned())).collect();
        served.insert((ANY.to_owned(), "/api/v1/{*rest}".to_owned()));
        served.extend(["/docs/", "/favicon.ico", "/page/{*file}"].map(|path| ("GET".to_owned(), path.to_owned())));
        let rows = TABLE.iter().flat_map(|group| group.routes.iter().map(move |row| (row.0, group.prefix, row.1)));
        let rows: Vec<(String, String)> =
            rows.map(|(method, prefix, rest)| (method.to_owned(), format!("{prefix}{rest}"))).collect();
        let listed: BTreeSet<(String, String)> = rows.iter().cloned().collect();
        assert_eq!(listed, served);
        assert_eq!(rows.len(), listed.len(), "a route is listed twice");
    }

    #[test]
    fn the_description_of_the_api_tells_the_same_needs() {
        let api: serde_json::Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
        let permissions = Permissions::new();
        for (method, path, _) in crate::http::routes() {
            let security = &api["paths"][path.replace("{*", "{")][method.as_str().to_lowercase()]["security"];
            let forms = security.as_array().unwrap_or_else(|| panic!("{method} {path} names no security"));
            let told: Vec<Vec<&str>> = forms
                .iter()
                .flat_map(|form| form.as_object().unwrap().values())
                .map(|scopes| scopes.as_array().unwrap().iter().filter_map(|scope| scope.as_str()).collect())
                .collect();
            match permissions.of(&method, path).0 {
                Need::Open => assert!(told.is_empty(), "{method} {path} is open"),
                Need::Key(scope) => assert_eq!(told, vec![vec![scope.name()]; 4], "{method} {path}"),
            }
        }
    }

    #[test]
    fn what_is_not_in_the_table_needs_a_full_key() {
        let permissions = Permissions::new();
        assert_eq!(permissions.of(&Method::GET, "/api/collections/{name}/secrets"), (ADMIN, RoutePlace::Store));
        assert_eq!(permissions.of(&Method::PUT, "/api/collections"), (ADMIN, RoutePlace::Store));
        assert_eq!(permissions.of(&Method::HEAD, "/api/collections"), (READ, RoutePlace::Query));
        assert_eq!(permissions.of(&Method::PUT, "/api/v1/{*rest}"), (Open, RoutePlace::Nothing));
    }

    #[test]
    fn a_query_lies_within_a_bound_only_if_all_it_names_does() {
        let bound = |tenant: &str, database: Option<&str>| Bound {
            tenant: tenant.to_owned(),
            database: database.map(str::to_owned),
        };
        let cases = [
            ("/c?tenant=a&database=b", bound("a", Some("b")), true),
            ("/c?tenant=a&database=x", bound("a", None), true),
            ("/c?tenant=a%62", bound("ab", None), true),
            ("/c", bound("default_tenant", Some("default_database")), true),
            ("/c?consistency=strong", bound("default_tenant", None), true),
            ("/c?tenant=a&database=x", bound("a", Some("b")), false),
            ("/c?tenant=a", bound("a", Some("b")), false),
            ("/c?database=b", bound("a", Some("b")), false),
            ("/c", bound("a", None), false),
            ("/c?tenant=a&tenant=x", bound("a", None), false),
            ("/c?tenant=x&tenant=a", bound("a", None), false),
            ("/c?tenant=A", bound("a", None), false),
            ("/c?tenant=", bound("default_tenant", None), false),
        ];
        for (uri, bound, expected) in cases {
            assert_eq!(query_lies_within(&bound, &uri.parse::<Uri>().unwrap()), expected, "{uri} {bound:?}");
        }
    }

    #[test]
    fn beside_an_id_only_what_a_query_names_counts() {
        let bound = Bound { tenant: "a".to_owned(), database: Some("b".to_owned()) };
        for (uri, expected) in [
            ("/c", true),
            ("/c?tenant=a", true),
            ("/c?database=b", true),
            ("/c?tenant=a&database=b&consistency=strong", true),
            ("/c?tenant=x", false),
            ("/c?database=x", false),
            ("/c?tenant=a&tenant=x", false),
            ("/c?tenant=a&database=", false),
        ] {
            assert_eq!(nothing_named_lies_outside(&bound, &uri.parse::<Uri>().unwrap()), expected, "{uri}");
        }
    }
}
