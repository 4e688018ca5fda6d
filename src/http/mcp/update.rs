//! The tool `update`: changes the text or the metadata of what is there.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::bounded::{List, Records};
use super::super::error::ApiError;
use super::super::wire::{JsonObject, PatchBody};
use super::agent::Agent;
use super::page::noted;
use super::remember::{check_takes_texts, is_blank};
use super::tools::{ToolAnswer, decode};
use crate::collection::request::Write;
use crate::record::RecordUpdate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateArguments {
    updates: List<JsonObject<TextUpdate>, Records>,
    #[serde(default = "super::collection")]
    collection: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextUpdate {
    id: String,
    text: Option<String>,
    metadata: Option<PatchBody>,
}

impl From<TextUpdate> for RecordUpdate {
    fn from(update: TextUpdate) -> RecordUpdate {
        let TextUpdate { id, text, metadata } = update;
        RecordUpdate { id, document: text, metadata: metadata.map(|m| m.0), ..RecordUpdate::default() }
    }
}

pub(super) async fn run(agent: Agent, arguments: Value) -> ToolAnswer {
    let UpdateArguments { updates, collection: name } = decode(&agent, arguments)?;
    let updates: Vec<RecordUpdate> = updates.0.into_iter().map(|update| update.0.into()).collect();
    if updates.is_empty() {
        return Err(ApiError::invalid("updates: expected at least one, got none"));
    }
    for (i, update) in updates.iter().enumerate() {
        if update.document.as_deref().is_some_and(is_blank) {
            return Err(ApiError::invalid(format!(
                "updates[{i}].text: expected words, got none; forget deletes a text"
            )));
        }
        if update.document.is_none() && update.metadata.is_none() {
            return Err(ApiError::invalid(format!("updates[{i}]: expected text, metadata or both, got none of them")));
        }
    }
    let collection = agent.collection_to_write(&name).await?;
    // A new text beside an embedding of the old one would be found by what it no longer says.
    if updates.iter().any(|update| update.document.is_some()) {
        check_takes_texts(&collection)?;
    }
    let store = agent.store.clone();
    let change = collection.completed(Write::Update(updates)).await?;
    let done = agent.write(async move { store.write_by_name(&name, &collection, change).await }).await?;
    let skipped = done.skipped;
    let note = (skipped > 0).then(|| format!("{skipped} ids do not exist and were skipped; remember stores new texts"));
    Ok(noted(json!({"updated": done.applied}), note))
}
