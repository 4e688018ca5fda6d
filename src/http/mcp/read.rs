//! The tool `read`: texts by their ids, by a filter, or one after another.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::bounded::{Ids, List, Tree};
use super::super::error::ApiError;
use super::agent::Agent;
use super::page::{AnswerPage, ShownRecord, made};
use super::tools::{ToolAnswer, check_number, decode, filter};
use crate::collection::answers::Reading;
use crate::collection::request::{Found, Get};
use crate::error::Error;

/// Texts of an answer at most.
const MOST_RECORDS: usize = 100;
/// Characters of a text at most.
const TEXT_CHARACTERS: usize = 20_000;
/// Unknown ids that an answer names at most.
const SHOWN_IDS: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadArguments {
    ids: Option<List<String, Ids>>,
    filter: Option<Tree>,
    #[serde(default = "default_limit")]
    limit: usize,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    start: usize,
    #[serde(default = "super::collection")]
    collection: String,
}

fn default_limit() -> usize {
    20
}

pub(super) async fn run(agent: Agent, arguments: Value) -> ToolAnswer {
    let ReadArguments { ids, filter: conditions, limit, offset, start, collection: name } = decode(&agent, arguments)?;
    check_number("limit", limit, MOST_RECORDS)?;
    let ids = ids.map(|ids| ids.0);
    if ids.as_ref().is_some_and(Vec::is_empty) {
        return Err(ApiError::invalid("ids: expected at least one, got none; leave them out to read all"));
    }
    let filter = filter(conditions.as_ref())?;
    // Which ids are unknown shows only where nothing else leaves a record out.
    let asked = ids.clone().filter(|_| filter.is_none() && offset == 0);
    // One record more tells whether there are more.
    let get = Get { ids, filter, limit: Some(limit + 1), offset, ..Get::default() };
    let reading = agent.collection_to_read(&name).await?.read(get).await?;
    made(move || shown(&reading, asked, Pages { limit, offset, start })).await
}

/// What of all records is shown.
struct Pages {
    limit: usize,
    offset: usize,
    start: usize,
}

fn shown(reading: &Reading, asked: Option<Vec<String>>, pages: Pages) -> Result<Value, Error> {
    let mut page = AnswerPage::new();
    let mut unknown: Option<HashSet<String>> = asked.map(|ids| ids.into_iter().collect());
    for place in 0..reading.len().min(pages.limit) {
        let Some(found) = reading.record(place)? else { break };
        if let Some(unknown) = &mut unknown {
            unknown.remove(&found.id);
        }
        if !page.take(&record(found, pages.start))? {
            break;
        }
    }
    let next = pages.offset.saturating_add(page.len());
    let more = page.len() < reading.len();
    if more {
        page.note(format!("there are more: read on with offset {next}"));
    }
    if let Some(unknown) = unknown.filter(|unknown| !more && !unknown.is_empty()) {
        let mut named: Vec<String> = unknown.iter().map(|id| id.chars().take(100).collect()).collect();
        named.sort_unstable();
        named.truncate(SHOWN_IDS);
        page.note(format!("there is no text with these ids ({}): {named:?}", unknown.len()));
    }
    Ok(page.answer("records", more.then(|| ("next_offset", json!(next)))))
}

fn record(found: Found, start: usize) -> ShownRecord {
    let Found { id, document, uri, metadata, .. } = found;
    let mut record = ShownRecord { id, uri, ..ShownRecord::default() };
    if let Some(text) = document {
        record.show_text(&text, start, TEXT_CHARACTERS);
    }
    if let Some(metadata) = metadata {
        record.show_metadata(metadata);
    }
    record
}
