//! The tool `forget`: deletes texts by their ids or by a filter.
//! Invariant: what a filter matches is counted before anything is deleted, and only what was counted is deleted.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::bounded::{Ids, List, Tree};
use super::super::error::ApiError;
use super::agent::Agent;
use super::page::{made, noted};
use super::tools::{ToolAnswer, decode, filter};
use crate::collection::handle::Collection;
use crate::collection::request::documents::document_of_part;
use crate::collection::request::{Consistency, Get, Include, Selection, Write};
use crate::error::Error;
use crate::filter::Filter;

/// Texts that a filter deletes without being allowed more.
const UNASKED: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForgetArguments {
    ids: Option<List<String, Ids>>,
    filter: Option<Tree>,
    at_most: Option<usize>,
    #[serde(default = "super::collection")]
    collection: String,
}

pub(super) async fn run(agent: Agent, arguments: Value) -> ToolAnswer {
    let ForgetArguments { ids, filter: conditions, at_most, collection: name } = decode(&agent, arguments)?;
    let ids = ids.map(|ids| ids.0);
    let filter = filter(conditions.as_ref())?;
    if ids.as_ref().is_some_and(Vec::is_empty) || (ids.is_none() && filter.is_none()) {
        return Err(ApiError::invalid("ids: expected ids or a filter, got none of them: nothing was deleted"));
    }
    let collection = agent.collection_to_write(&name).await?;
    let ids = match (ids, &filter) {
        (None, Some(filter)) => matching(&agent, &collection, filter, at_most).await?,
        (ids, _) => ids.unwrap_or_default(),
    };
    let ids = documents_of(&collection, ids).await?;
    let selection = Selection { ids: Some(ids), filter, limit: None };
    let store = agent.store.clone();
    let change = collection.completed(Write::Delete(selection)).await?;
    let write = async move { store.write_by_name(&name, &collection, change).await };
    let done = agent.write(write).await?;
    let note = (done.skipped > 0).then(|| format!("{} ids do not exist, or do not match", done.skipped));
    Ok(noted(json!({"forgotten": done.applied}), note))
}

/// Where documents are split, an id that names a part stands for its document.
async fn documents_of(collection: &Collection, ids: Vec<String>) -> Result<Vec<String>, ApiError> {
    if collection.identity().splitting.is_none() {
        return Ok(ids);
    }
    let get = Get { ids: Some(ids.clone()), include: Include::NONE, ..Get::default() };
    let found = collection.get(get).await?.records;
    let parts: HashSet<&str> = found.iter().map(|record| record.id.as_str()).collect();
    let mut named = HashSet::new();
    let documents = ids.iter().map(|id| if parts.contains(id.as_str()) { document_of_part(id) } else { id });
    Ok(documents.filter(|id| named.insert(*id)).map(str::to_owned).collect())
}

/// The ids of the records that match, if they are not more than may be deleted.
async fn matching(
    agent: &Agent,
    collection: &Collection,
    filter: &Filter,
    at_most: Option<usize>,
) -> Result<Vec<String>, ApiError> {
    let get = Get {
        filter: Some(filter.clone()),
        include: Include::NONE,
        consistency: Consistency::Strong,
        ..Get::default()
    };
    let reading = collection.read(get).await?;
    let (matched, all) = (reading.len(), collection.count(Consistency::Local).await?);
    let everything = matched as u64 >= all && matched > 1;
    let refuse = |why: String| Err(ApiError::invalid(format!("filter: {why}, so nothing was deleted; {WAY_OUT}")));
    match at_most {
        Some(most) if matched > most => return refuse(format!("it matches {matched} texts, more than at_most")),
        None if matched > UNASKED => return refuse(format!("it matches {matched} texts, more than {UNASKED}")),
        None if everything => return refuse(format!("it matches all {matched} texts of the collection")),
        _ => {}
    }
    let most = agent.store.limits().batch_records;
    if matched > most {
        let why = format!("filter: it matches {matched} texts, and one call deletes at most {most}; narrow it");
        return Err(Error::limit(why).into());
    }
    let id = move |place| reading.record(place).transpose().map(|found| found.map(|found| found.id));
    made(move || (0..matched).filter_map(id).collect()).await
}

const WAY_OUT: &str = "if you mean it, call it again with at_most";
