//! Pages that describe the server to people: a greeting, the API's description, and a page that shows it. All three
//! are part of the program, load nothing from elsewhere, and work behind a proxy that cuts off a prefix.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::App;
use super::auth::Requester;
use super::client::prefix;
use super::headers::page_policy;
use crate::collection::request::{CollectionInfo, Consistency};

/// The API, in OpenAPI 3.1; a test checks it against the table of routes.
const OPENAPI: &str = include_str!("../../docs/openapi.json");
/// The page; its policy allows exactly its own script and style.
const PAGE: &str = include_str!("documentation.html");

/// A hill, as the glaciers left them.
const ICON: &str = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>\
                    <path d='M1 13C3 6 7 3 10 3c2 0 4 4 5 10z' fill='#3a7'/></svg>";
/// Most names of collections that the greeting lists.
const NAMES: usize = 50;

/// The first page for a newcomer: where to go from here, and which collections there are if the requester may see
/// everything.
pub(super) async fn greeting(
    State(app): State<App>,
    Extension(identity): Extension<Requester>,
    headers: HeaderMap,
) -> Response {
    let collections = match identity.sees_everything() {
        // Local consistency reads memory, not the bucket, so it cannot fail.
        true => app.store.collections(Consistency::Local).await.unwrap_or_default(),
        false => Vec::new(),
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") {
        let page = greeting_page(&collections, prefix(&headers, app.settings.trust_proxy));
        return ([(header::CONTENT_SECURITY_POLICY, page_policy(&page))], Html(page)).into_response();
    }
    greeting_text(&collections).into_response()
}

const TITLE: &str = concat!("drumlin ", env!("CARGO_PKG_VERSION"), ", a vector database whose only disk is a bucket");
/// Paths, without the slash before them, and what is there.
const PLACES: [(&str, &str); 4] = [
    ("docs", "the API, for people"),
    ("openapi.json", "the API, for programs"),
    ("health", "the state of this server"),
    ("api/collections", "the collections"),
];

fn greeting_text(collections: &[CollectionInfo]) -> String {
    let mut text = format!("{TITLE}\n\n");
    for (path, about) in PLACES {
        text.push_str(&format!("  {:<17} {about}\n", format!("/{path}")));
    }
    if !collections.is_empty() {
        text.push_str("\ncollections:\n");
    }
    for info in collections.iter().take(NAMES) {
        text.push_str(&format!("  {} ({} records)\n", info.name, info.count));
    }
    text.push_str(&rest(collections).map_or_else(String::new, |rest| format!("  {rest}\n")));
    text
}

/// The greeting as a page with links. The links begin with the prefix that a proxy has cut off, or else are relative.
fn greeting_page(collections: &[CollectionInfo], prefix: &str) -> String {
    let base = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let link = |path: &str, text: &str| format!("<a href=\"{base}{path}\">{}</a>", escaped(text));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Drumlin</title>\n\
         <link rel=\"icon\" href=\"{base}favicon.ico\">\n<h1>Drumlin</h1>\n<p>{TITLE}</p>\n<ul>\n"
    );
    for (path, about) in PLACES {
        page.push_str(&format!("<li>{}: {about}</li>\n", link(path, &format!("/{path}"))));
    }
    page.push_str("</ul>\n");
    if !collections.is_empty() {
        page.push_str("<h2>Collections</h2>\n<ul>\n");
        for info in collections.iter().take(NAMES) {
            // A name consists of letters, digits and `._-`, so a path needs no escapes for it.
            let name = link(&format!("api/collections/{}", escaped(&info.name)), &info.name);
            page.push_str(&format!("<li>{name} ({} records)</li>\n", info.count));
        }
        page.push_str(&rest(collections).map_or_else(String::new, |rest| format!("<li>{rest}</li>\n")));
        page.push_str("</ul>\n");
    }
    page.push_str("</html>\n");
    page
}

/// A line that says how many collections are left out.
fn rest(collections: &[CollectionInfo]) -> Option<String> {
    let more = collections.len().saturating_sub(NAMES);
    (more > 0).then(|| format!("and {more} more"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) async fn icon() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "max-age=86400")], ICON)
}

/// Redirects to the page, whose path has no slash at its end. The target is relative, since a proxy may have cut off
/// a prefix.
pub(super) async fn without_slash() -> impl IntoResponse {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "../docs")])
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

pub(super) async fn page() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, page_policy(PAGE))], Html(PAGE))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn description() -> Value {
        serde_json::from_str(OPENAPI).unwrap()
    }

    #[test]
    fn the_description_holds_exactly_the_routes_that_are_served() {
        let served: BTreeSet<(String, String)> =
            crate::http::routes().iter().map(|(m, path, _)| (m.to_string(), path.replace("{*", "{"))).collect();
        let api = description();
        let described: BTreeSet<(String, String)> = api["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|m| (m.to_uppercase(), path.clone())))
            .collect();
        assert_eq!(described, served);
        assert_eq!(api["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn every_reference_in_the_description_leads_somewhere() {
        fn visit(value: &Value, api: &Value, seen: &mut usize) {
            if let Some(target) = value["$ref"].as_str() {
                *seen += 1;
                assert!(api.pointer(target.trim_start_matches('#')).is_some(), "{target} leads nowhere");
            }
            let children: Vec<&Value> = match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            };
            children.into_iter().for_each(|child| visit(child, api, seen));
        }
        let (api, mut seen) = (description(), 0);
        visit(&api, &api, &mut seen);
        assert!(seen > 50, "only {seen} references");
    }

    #[test]
    fn every_kind_of_error_is_in_the_description() {
        let api = description();
        let kinds = api.pointer("/components/schemas/Error/properties/error/properties/kind/enum").unwrap();
        use crate::error::ErrorKind::*;
        for kind in [
            NotFound,
            Gone,
            AlreadyExists,
            Invalid,
            Conflict,
            Unavailable,
            OutcomeUnknown,
            Unauthorized,
            Limit,
            NoRoom,
            Corrupted,
            Internal,
        ] {
            assert!(kinds.as_array().unwrap().contains(&kind.name().into()), "{}", kind.name());
        }
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        assert!(PAGE.contains("fetch(\"openapi.json\")") && !PAGE.contains("=\"/"), "links are relative");
        // The policy allows one script and one style, and nothing inline besides.
        for foreign in ["http://", "https://", "//cdn", "src=", "style=", "onclick"] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
        assert_eq!((PAGE.matches("<script>").count(), PAGE.matches("<style>").count()), (1, 1));
        assert_eq!(page_policy(PAGE).matches("'sha256-").count(), 2);
    }
}
