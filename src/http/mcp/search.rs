//! The tool `search`: the texts that fit a query best. Of a long text the passages around the words are shown.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::bounded::Tree;
use super::super::error::ApiError;
use super::super::past::Readable;
use super::super::ranked::{self, HighlightBody, TextBody, TextMode};
use super::super::ranked_answer::{RankedAnswer, RankedHit};
use super::super::wire::{SearchBody, default_k};
use super::agent::Agent;
use super::page::{AnswerPage, ShownRecord, made};
use super::remember::is_blank;
use super::tools::{ToolAnswer, check_number, decode, filter};
use crate::collection::handle::Collection;
use crate::error::Error;
use crate::text::{HighlightSettings, HighlightTags};

/// Results of a search at most.
const MOST_RESULTS: usize = 50;
/// Characters of a text at most; of a longer one, passages are shown.
const TEXT_CHARACTERS: usize = 2_000;
/// How many passages of how many characters.
const PASSAGES: usize = 3;
const PASSAGE_CHARACTERS: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchArguments {
    query: String,
    mode: Option<TextMode>,
    #[serde(default = "default_k")]
    k: usize,
    filter: Option<Tree>,
    #[serde(default = "super::collection")]
    collection: String,
}

pub(super) async fn run(agent: Agent, arguments: Value) -> ToolAnswer {
    let SearchArguments { query, mode, k, filter: conditions, collection: name } = decode(&agent, arguments)?;
    check_number("k", k, MOST_RESULTS)?;
    if is_blank(&query) {
        return Err(ApiError::invalid("query: expected words, got none; read shows texts without a search"));
    }
    // A condition that is wrong is named as the argument is, and an empty filter is none.
    let conditions = filter(conditions.as_ref())?.and(conditions);
    let collection = agent.collection_to_read(&name).await?;
    let (mode, note) = mode_of(&collection, mode)?;
    let body = SearchBody {
        text: Some(TextBody::of_words(query)),
        mode: Some(mode),
        k,
        r#where: conditions,
        highlight: Some(HighlightBody::Settings(passages())),
        ..SearchBody::default()
    };
    let found = ranked::find(&Readable::now(collection), body).await?;
    made(move || shown(&found, mode, note)).await
}

/// Passages are shown as they are in the text: marks in it would be taken for its own words.
fn passages() -> HighlightSettings {
    let tags = HighlightTags { pre: String::new(), post: String::new(), escape_html: false };
    HighlightSettings { length: PASSAGE_CHARACTERS, fragments: PASSAGES, tags }
}

/// How to search, and what to say about it: only a collection with an embedder can be searched by what texts mean.
fn mode_of(collection: &Collection, asked: Option<TextMode>) -> Result<(TextMode, Option<&'static str>), ApiError> {
    match (collection.identity().embedder.as_ref(), asked) {
        (Some(embedder), None) if !embedder.optional => Ok((TextMode::Both, None)),
        (_, None) => Ok((TextMode::Words, None)),
        (Some(_), Some(mode)) => Ok((mode, None)),
        (None, Some(TextMode::Words)) => Ok((TextMode::Words, None)),
        (None, Some(TextMode::Both)) => {
            Ok((TextMode::Words, Some("this collection can be searched by words only, so that was done")))
        }
        (None, Some(TextMode::Meaning)) => {
            Err(ApiError::invalid("mode: this collection can be searched by words only; search it with mode \"words\""))
        }
    }
}

fn shown(found: &RankedAnswer, mode: TextMode, note: Option<&str>) -> Result<Value, Error> {
    let mut page = AnswerPage::new();
    if let Some(note) = note {
        page.note(note);
    }
    let count = found.rows.len();
    for place in 0..count {
        let Some(hit) = found.hit(place)? else { break };
        if !page.take(&record(hit))? {
            let left_out = count - page.len();
            page.note(format!("{left_out} more results were left out: the answer is full. Search with a smaller k"));
            break;
        }
    }
    if count == 0 {
        page.note("nothing was found: try other words, fewer conditions, or another collection (list_collections)");
    }
    Ok(page.answer("results", [("searched_by", json!(mode))]))
}

fn record(hit: RankedHit) -> ShownRecord {
    let RankedHit { id, document, uri, metadata, score, distance, highlights, .. } = hit;
    // By meaning alone there is a distance; models read what is larger as better.
    let score = score.or(distance.map(|distance| 1.0 - distance)).map(|score| (f64::from(score) * 1e4).round() / 1e4);
    let mut record = ShownRecord { id, score, uri, ..ShownRecord::default() };
    if let Some(text) = document {
        record.show_text(&text, 0, TEXT_CHARACTERS);
    }
    if record.text_characters.is_some()
        && let Some(passages) = highlights.filter(|passages| !passages.is_empty())
    {
        (record.text, record.passages) = (None, passages);
    }
    if let Some(metadata) = metadata {
        record.show_metadata(metadata);
    }
    record
}
