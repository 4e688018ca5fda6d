//! What the server tells about itself to people: a greeting, the API's description, a page that shows
//! it. All three are part of the program and load nothing from elsewhere.

use axum::http::header;
use axum::response::{Html, IntoResponse};

use super::headers::page_policy;

/// The API, in OpenAPI 3.1; a test holds it against the table of routes.
const OPENAPI: &str = include_str!("../../docs/openapi.json");
/// The page; its policy allows exactly its own script and style.
const PAGE: &str = include_str!("documentation.html");

pub(super) async fn greeting() -> impl IntoResponse {
    const TEXT: &str = concat!(
        "drumlin ",
        env!("CARGO_PKG_VERSION"),
        ", a vector database whose only disk is a bucket\n\n",
        "  /docs          the API, to read\n",
        "  /openapi.json  the API, for programs\n",
        "  /health        how it is doing\n",
    );
    TEXT
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
        use crate::error::Kind::*;
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
        assert!(PAGE.contains("/openapi.json"));
        // The policy knows one script and one style, and nothing inline besides.
        for foreign in ["http://", "https://", "//cdn", "src=", "style=", "onclick"] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
        assert_eq!((PAGE.matches("<script>").count(), PAGE.matches("<style>").count()), (1, 1));
        assert_eq!(page_policy(PAGE).matches("'sha256-").count(), 2);
    }
}
