//! The tool `list_collections`, and what is told of a collection.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::agent::Agent;
use super::page::noted;
use super::tools::{ToolAnswer, decode};
use crate::collection::handle::Collection;
use crate::collection::request::{CollectionInfo, Consistency};
use crate::error::Result;
use crate::record::{MetaValue, Metadata};

/// Collections of an answer at most.
const MOST: usize = 20;
/// Collections that are opened at once.
const PARALLEL: usize = 4;
/// How long an answer waits for one that is loaded from the bucket.
const PATIENCE: Duration = Duration::from_secs(5);
/// Characters of a description, and metadata keys, that are shown at most.
const DESCRIPTION_CHARACTERS: usize = 500;
const KEYS: usize = 50;
const KEY_CHARACTERS: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListArguments {
    #[serde(default)]
    offset: usize,
}

pub(super) async fn run(agent: Agent, arguments: Value) -> ToolAnswer {
    let ListArguments { offset } = decode(&agent, arguments)?;
    let mut all = agent.store.collections(Consistency::Strong).await?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let count = all.len();
    let shown = all.into_iter().skip(offset).take(MOST);
    let shown: Vec<Value> = stream::iter(shown).map(|info| described(&agent, info)).buffered(PARALLEL).collect().await;
    let next = offset.saturating_add(shown.len());
    let mut answer = json!({"collections": shown, "count": count});
    let more = next < count;
    if let Some(fields) = answer.as_object_mut().filter(|_| more) {
        fields.insert("next_offset".to_owned(), json!(next));
    }
    let none = (count == 0).then(|| "there is no collection yet: remember makes one".to_owned());
    Ok(noted(answer, none.or_else(|| more.then(|| format!("there are more: list on with offset {next}")))))
}

/// A listed collection, with what is known once it is open.
async fn described(agent: &Agent, info: CollectionInfo) -> Value {
    let opened = tokio::time::timeout(PATIENCE, agent.collection_to_read(&info.name)).await;
    let why = match opened {
        Ok(Ok(collection)) => match details(&collection).await {
            Ok(details) => return Value::Object(details),
            Err(error) => error.message().to_owned(),
        },
        Ok(Err(error)) => error.message().to_owned(),
        Err(_) => "it is still being loaded".to_owned(),
    };
    let mut told = named(&info.name, info.metadata.as_ref());
    told.insert("unknown".to_owned(), json!(why));
    Value::Object(told)
}

/// What is told of an open collection.
pub(super) async fn details(collection: &Collection) -> Result<Map<String, Value>> {
    let info = collection.info();
    let mut told = named(&info.name, info.metadata.as_ref());
    told.insert("texts".to_owned(), json!(collection.count(Consistency::Local).await?));
    let modes: &[&str] = if info.embedder.is_some() { &["meaning", "words", "both"] } else { &["words"] };
    told.insert("searched_by".to_owned(), json!(modes));
    let types = collection.key_types();
    let shown = |key: &str| key.chars().take(KEY_CHARACTERS).collect::<String>();
    let kinds = types.iter().take(KEYS).map(|(key, kinds)| {
        let kinds: Vec<&str> = kinds.into_iter().map(|kind| kind.name()).collect();
        (shown(key), json!(kinds))
    });
    told.insert("metadata_keys".to_owned(), Value::Object(kinds.collect()));
    let more = types.iter().skip(KEYS).count();
    if more > 0 {
        told.insert("further_metadata_keys".to_owned(), json!(more));
    }
    Ok(told)
}

fn named(name: &str, metadata: Option<&Metadata>) -> Map<String, Value> {
    let mut told = Map::from_iter([("name".to_owned(), json!(name))]);
    if let Some(description) = description(metadata) {
        told.insert("description".to_owned(), json!(description));
    }
    told
}

/// What a collection is for, if its metadata says so.
pub(super) fn description(metadata: Option<&Metadata>) -> Option<String> {
    match metadata?.0.get("description")? {
        MetaValue::Str(text) => Some(text.chars().take(DESCRIPTION_CHARACTERS).collect()),
        _ => None,
    }
}
