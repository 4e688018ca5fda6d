//! Routes of the models in the bucket: their list, and embeddings as OpenAI's clients ask for them.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::json;

use super::App;
use super::answer::json;
use super::body::{Json, Parameters};
use super::bounded::{List, Queries};
use super::error::ApiError;
use super::wire::NoParameters;
use crate::collection::request::TextRole;
use crate::config::Limits;
use crate::error::Error;

pub(super) async fn list(
    State(app): State<App>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Response, ApiError> {
    json(StatusCode::OK, &app.store.models().list().await?)
}

/// Refuses a text that no document could be.
fn check_texts(texts: &[String], limits: &Limits) -> Result<(), Error> {
    let limit = limits.document_bytes;
    match texts.iter().position(|text| text.len() > limit) {
        None => Ok(()),
        Some(i) => {
            let what = format!("input[{i}]: expected at most {limit} bytes (limits.document_bytes), got more");
            Err(Error::limit(what).of_setting("limits.document_bytes"))
        }
    }
}

/// The body of `POST /v1/embeddings`, as OpenAI's clients send it. `user` has no meaning here.
#[derive(Debug, Deserialize)]
pub(super) struct OpenAiBody {
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<usize>,
}

super::body::bodies! { Query: OpenAiBody; }

/// One text, or several.
#[derive(Debug)]
struct Input(Vec<String>);

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Input, D::Error> {
        struct InputVisitor;

        impl<'de> Visitor<'de> for InputVisitor {
            type Value = Input;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts; lists of token numbers are not known here")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Input, E> {
                Ok(Input(vec![text.to_owned()]))
            }

            // Each text is counted as it comes, and one too many ends it.
            fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Input, A::Error> {
                let texts = List::<String, Queries>::deserialize(SeqAccessDeserializer::new(texts))?;
                Ok(Input(texts.0))
            }
        }

        deserializer.deserialize_any(InputVisitor)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

pub(super) async fn embed(
    State(app): State<App>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    Json(body): Json<OpenAiBody>,
) -> Result<Response, ApiError> {
    let Input(texts) = body.input;
    check_texts(&texts, app.store.limits())?;
    let dimension = app.store.loaded_model(&body.model).await?.model.dimension();
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
