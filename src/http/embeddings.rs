//! Routes of embeddings: those of texts by a collection's embedder, by a model as OpenAI's clients ask for them, and the
//! list of models.

#[cfg(feature = "embedding")]
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
#[cfg(feature = "embedding")]
use base64::Engine;
#[cfg(feature = "embedding")]
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::answer::json;
use super::body::{Json, Name, Parameters};
#[cfg(feature = "embedding")]
use super::bounded::{List, Queries};
use super::error::ApiError;
#[cfg(feature = "embedding")]
use super::wire::NoParameters;
use super::wire::{EmbedBody, ReadParameters};
#[cfg(feature = "embedding")]
use crate::collection::request::TextRole;

pub(super) async fn embed(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<ReadParameters>,
    Json(body): Json<EmbedBody>,
) -> Result<Response, ApiError> {
    let (scope, consistency) = parameters.split();
    let collection = app.store.with_scope(&scope).collection_to_read(&name, consistency).await?;
    let embeddings = collection.embed(body.texts.0, body.role).await?;
    json(StatusCode::OK, &json!({"embeddings": embeddings}))
}

#[cfg(feature = "embedding")]
pub(super) async fn models(
    State(app): State<App>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Response, ApiError> {
    json(StatusCode::OK, &app.store.models().list().await?)
}

/// The body of `POST /v1/embeddings`, as OpenAI's clients send it. `user` has no meaning here.
#[cfg(feature = "embedding")]
#[derive(Debug, Deserialize)]
pub(super) struct OpenAiBody {
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<usize>,
}

#[cfg(feature = "embedding")]
super::body::bodies! { Query: OpenAiBody; }

/// One text, or several.
#[cfg(feature = "embedding")]
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts; lists of token numbers are not known here")]
enum Input {
    One(String),
    Many(List<String, Queries>),
}

#[cfg(feature = "embedding")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

#[cfg(feature = "embedding")]
pub(super) async fn as_openai(
    State(app): State<App>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    Json(body): Json<OpenAiBody>,
) -> Result<Response, ApiError> {
    let texts = match body.input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts.0,
    };
    let dimension = app.store.models().get(&body.model).await?.dimension;
    if let Some(asked) = body.dimensions.filter(|asked| *asked != dimension) {
        return Err(ApiError::invalid(format!(
            "dimensions: expected {dimension}, that of the model {:?}, got {asked}",
            body.model
        )));
    }
    let texts = Arc::new(texts);
    let tokens = app.store.count_tokens(&body.model, texts.clone()).await?;
    let embeddings = app.store.embed_by_model(&body.model, None, (texts, TextRole::Passage)).await?;
    let data: Vec<_> = embeddings
        .into_iter()
        .enumerate()
        .map(|(index, embedding)| {
            let embedding = match body.encoding_format {
                Encoding::Float => json!(embedding),
                Encoding::Base64 => {
                    let bytes: Vec<u8> = embedding.iter().flat_map(|value| value.to_le_bytes()).collect();
                    json!(base64::engine::general_purpose::STANDARD.encode(bytes))
                }
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    json(StatusCode::OK, &json!({"object": "list", "data": data, "model": body.model, "usage": usage}))
}
