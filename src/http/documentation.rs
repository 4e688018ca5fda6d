//! What the server tells about itself to people: a greeting, the API's description, a page that shows
//! it. All three are part of the program and load nothing from elsewhere.

use axum::http::header;
use axum::response::{Html, IntoResponse};

/// The API, in OpenAPI 3.1; a test holds it against the table of routes.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

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
    Html(include_str!("documentation.html"))
}
