//! The tool `remember`: stores texts, in a collection that it makes where there is none.
//! Invariant: a text without an id always gets the same one, so that a call that is made again stores nothing twice.

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::body::check_name;
use super::super::bounded::{List, Records};
#[cfg(feature = "embedding")]
use super::super::chroma::DEFAULT_MODEL;
use super::super::error::ApiError;
use super::super::wire::{JsonObject, MetadataBody};
use super::agent::Agent;
use super::page::noted;
use super::tools::{ToolAnswer, decode};
use crate::collection::handle::Collection;
use crate::collection::request::{CollectionSpec, Embedder, Write};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Metadata, Record};
use crate::store::Store;

/// Bytes of the checksum that an id is made of: enough that no two texts have the same.
const ID_BYTES: usize = 12;
/// Ids that an answer lists at most.
const SHOWN_IDS: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RememberArguments {
    texts: List<JsonObject<TextToStore>, Records>,
    #[serde(default = "super::collection")]
    collection: String,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextToStore {
    text: String,
    id: Option<String>,
    metadata: Option<MetadataBody>,
}

impl From<TextToStore> for Record {
    fn from(text: TextToStore) -> Record {
        let TextToStore { text, id, metadata } = text;
        let id = id.unwrap_or_else(|| id_of(&text));
        // The embedding is left to the collection.
        Record { id, embedding: Vec::new(), document: Some(text), uri: None, metadata: metadata.map(|m| m.0) }
    }
}

pub(super) async fn run(agent: Agent, arguments: Value) -> ToolAnswer {
    let RememberArguments { texts, collection: name, description } = decode(&agent, arguments)?;
    let records: Vec<Record> = texts.0.into_iter().map(|text| text.0.into()).collect();
    if records.is_empty() {
        return Err(ApiError::invalid("texts: expected at least one, got none"));
    }
    if let Some(empty) = records.iter().position(|record| record.document.as_deref().is_none_or(is_blank)) {
        return Err(ApiError::invalid(format!("texts[{empty}].text: expected words, got none")));
    }
    let (collection, made) = opened(&agent, &name, description).await?;
    check_takes_texts(&collection)?;
    let ids: Vec<&str> = records.iter().take(SHOWN_IDS).map(|record| record.id.as_str()).collect();
    let mut answer = json!({"remembered": records.len(), "collection": name, "ids": ids});
    if let Some(fields) = answer.as_object_mut().filter(|_| made) {
        fields.insert("made_collection".to_owned(), json!(true));
    }
    let cut = (records.len() > SHOWN_IDS).then(|| format!("only the first {SHOWN_IDS} ids are shown"));
    let store = agent.store.clone();
    let change = collection.completed(Write::Upsert(records)).await?;
    agent.write(async move { store.write_by_name(&name, &collection, change).await }).await?;
    Ok(noted(answer, cut))
}

/// The collection to write to, and whether it was made for that.
async fn opened(agent: &Agent, name: &str, description: Option<String>) -> Result<(Collection, bool)> {
    agent.check_name(name).await?;
    match agent.store.collection(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return Ok((found?, false)),
    }
    check_name(name)?;
    let (store, spec) = (agent.store.clone(), new_collection(&agent.store, name, description).await?);
    match agent.write(async move { store.create_collection(spec).await }).await {
        Ok(made) => Ok((made, true)),
        // Another agent was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok((agent.store.collection(name).await?, false)),
        Err(error) => Err(error),
    }
}

/// What a collection is to be that is made for texts. This is the one place that chooses how their meaning is searched:
/// by a sentence model of the bucket if there is one; else not at all, and their records have no embeddings.
async fn new_collection(store: &Store, name: &str, description: Option<String>) -> Result<CollectionSpec> {
    let metadata = description.map(|text| Metadata::from([("description", text)]));
    let spec = CollectionSpec { metadata, ..CollectionSpec::new(name) };
    Ok(match embedder(store).await? {
        Some(embedder) => spec.embedder(embedder),
        None => spec.dimension(0),
    })
}

/// The model for new collections: the usual one, or the first by name.
#[cfg(feature = "embedding")]
async fn embedder(store: &Store) -> Result<Option<Embedder>> {
    let models = store.models().list().await?;
    let mut named = models.iter().filter(|model| !model.scores_pairs).map(|model| model.name.as_str());
    let first = named.clone().next();
    Ok(named.find(|name| *name == DEFAULT_MODEL).or(first).map(Embedder::model))
}

#[cfg(not(feature = "embedding"))]
async fn embedder(_: &Store) -> Result<Option<Embedder>> {
    Ok(None)
}

/// Refuses a collection whose records have embeddings that only its own program can make.
pub(super) fn check_takes_texts(collection: &Collection) -> Result<()> {
    let embeds = collection.identity().embedder.as_ref().is_some_and(|embedder| !embedder.optional);
    match collection.dimension() {
        Some(0) => Ok(()),
        _ if embeds => Ok(()),
        _ => {
            let name = collection.name();
            Err(Error::invalid(format!(
                "collection {name:?} keeps embeddings that another program makes, so texts alone cannot be stored or \
                 changed in it, only read and searched by words; remember them in another collection"
            )))
        }
    }
}

pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// The id of a text that was given none.
fn id_of(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_has_the_same_id_and_another_text_another() {
        assert_eq!(id_of("a"), id_of("a"));
        assert_ne!(id_of("a"), id_of("b"));
        assert_eq!(id_of("").len(), 2 * ID_BYTES);
    }
}
