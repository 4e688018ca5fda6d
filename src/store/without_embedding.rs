//! What stands in for `embedding` in a build without that Cargo feature: collections keep their embedders, and texts
//! without embeddings are refused.

use std::sync::Arc;

use super::{Inner, Store};
use crate::collection::request::{CollectionSpec, EmbedRequest, ScoreRequest};
use crate::error::{Error, Result};

/// Refuses.
pub async fn embed(_: Arc<Inner>, _: EmbedRequest) -> Result<Vec<Vec<f32>>> {
    Err(refusal())
}

/// Refuses.
pub async fn score(_: Arc<Inner>, _: ScoreRequest) -> Result<Vec<f32>> {
    Err(refusal())
}

fn refusal() -> Error {
    Error::invalid(
        "this build of Drumlin has no sentence models: give embeddings, or build it with the Cargo feature `embedding`",
    )
}

impl Store {
    pub(super) async fn check_embedder(&self, _: &mut CollectionSpec) -> Result<()> {
        Ok(())
    }
}
