//! Functions attached to collections: only Chroma's cloud runs them. Chroma's local server finds the collection, and
//! then refuses them with the same answer.

use axum::extract::State;
use serde::Deserialize;

use super::super::App;
use super::body::{At, ChromaJson, InCollection};
use super::collections::find;
use super::error::ChromaError;

/// A body whose contents are ignored.
#[derive(Deserialize)]
pub(super) struct AnyBody {}

super::super::body::bodies! { Settings: AnyBody; }

pub(super) async fn change(State(app): State<App>, At(place): At<InCollection>, _: ChromaJson<AnyBody>) -> ChromaError {
    match find(&app.store, &place).await {
        Ok(_) => ChromaError::unimplemented("Functions cannot be attached to collections here"),
        Err(refused) => refused,
    }
}

pub(super) async fn describe() -> ChromaError {
    ChromaError::not_found("Attached function not found")
}
