//! What describes the server: the greeting, which is the page (`page`) in a browser and a text for programs, and the
//! API's description.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::auth::Requester;
use super::page;
use crate::collection::request::{CollectionInfo, Consistency};

/// The API, in OpenAPI 3.1; a test checks it against the table of routes.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// A hill, as the glaciers left them.
const ICON: &str = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>\
                    <path d='M1 13C3 6 7 3 10 3c2 0 4 4 5 10z' fill='#3a7'/></svg>";
/// Most names of collections that the greeting lists.
const NAMES: usize = 50;

/// The page in a browser; for programs a text that says where to go from here, and which collections there are if the
/// requester may see everything.
pub(super) async fn greeting(
    State(app): State<App>,
    Extension(identity): Extension<Requester>,
    headers: HeaderMap,
) -> Response {
    if page::wants_page(&headers) {
        return page::index(&headers, app.settings.trust_proxy);
    }
    let collections = match identity.sees_everything() {
        // Local consistency reads memory, not the bucket, so it cannot fail.
        true => app.store.collections(Consistency::Local).await.unwrap_or_default(),
        false => Vec::new(),
    };
    ([(header::VARY, "accept")], greeting_text(&collections)).into_response()
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

/// A line that says how many collections are left out.
fn rest(collections: &[CollectionInfo]) -> Option<String> {
    let more = collections.len().saturating_sub(NAMES);
    (more > 0).then(|| format!("and {more} more"))
}

pub(super) async fn icon() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "max-age=86400")], ICON)
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
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
}
