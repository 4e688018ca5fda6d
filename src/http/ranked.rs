//! Searches of the native API by texts and by sparse vectors, alone, together, or fused with an embedding. A text is
//! searched for by its words, by its meaning (the embedding that the collection's embedder makes of it), or by both.
//! Invariant: an answer has for each search of the request how it ranked a record, so that a person can see why it is
//! where it is.

use std::fmt;
use std::sync::Arc;

use axum::response::Response;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::App;
use super::beside::Grouping;
use super::bounded::{List, SparseEntries};
use super::error::ApiError;
use super::past::Readable;
use super::ranked_answer::{Highlight, PartName, RankedAnswer, RankedAnswerBody};
use super::records::room_for_rows;
use super::reranking::Reranking;
use super::stream;
use super::wire::{Embedding, SearchBody, filter, include};
use crate::collection::handle::Collection;
use crate::collection::request::documents::DOCUMENT_ID;
use crate::collection::request::{
    Combination, Fusion, GroupedSearch, LeafQuery, LeafSearch, RankedSearch, Ranking, TextRole,
};
use crate::config::Limits;
use crate::error::Error;
use crate::ranking::Normalisation;
use crate::record::SparseVector;
use crate::text::{Analyser, HighlightSettings, MinimumMatch, QueryOptions, TextQuery, Typos};

/// Records of each search that are fused, as a multiple of the records asked for, and at least. On judged sets more of
/// them rank no better, and each costs time in every search (docs/benchmarks.md).
const CANDIDATES_PER_RECORD: usize = 3;
const LEAST_CANDIDATES: usize = 30;
/// The constant of reciprocal rank fusion in its paper.
const RRF_K: f32 = 60.0;

/// `text` of a search: the words, or an object with options.
#[derive(Debug)]
pub(crate) struct TextBody {
    query: String,
    options: QueryOptions,
}

/// `mode` of a search: how its text is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TextMode {
    /// By the embedding that the collection's embedder makes of it.
    Meaning,
    /// By its words.
    Words,
    /// By both, fused.
    Both,
}

/// `text` of a search as an object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextOptionsBody {
    query: String,
    minimum_match: Option<MinimumMatch>,
    #[serde(default)]
    prefix: bool,
    #[serde(default)]
    typos: Typos,
}

impl<'de> Deserialize<'de> for TextBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextBody, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = TextBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("words, or an object of query, minimum_match, prefix and typos")
            }

            fn visit_str<E: serde::de::Error>(self, query: &str) -> Result<TextBody, E> {
                Ok(TextBody { query: query.to_owned(), options: QueryOptions::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<TextBody, A::Error> {
                let body = TextOptionsBody::deserialize(MapAccessDeserializer::new(object))?;
                let TextOptionsBody { query, minimum_match, prefix, typos } = body;
                Ok(TextBody {
                    query,
                    options: QueryOptions { minimum_match, prefix, typos, ..QueryOptions::default() },
                })
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

/// `sparse` of a search.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SparseQueryBody {
    key: String,
    indices: List<u32, SparseEntries>,
    values: List<f32, SparseEntries>,
    #[serde(default)]
    idf: bool,
}

/// `fusion` of a search.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FusionBody {
    /// By ranks.
    Rrf(RrfBody),
    /// By normalised scores.
    WeightedSum(WeightedSumBody),
}

/// `rrf` of a fusion.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RrfBody {
    #[serde(default = "rrf_k")]
    k: f32,
    #[serde(default)]
    weights: Option<Vec<f32>>,
}

/// `weighted_sum` of a fusion.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WeightedSumBody {
    #[serde(default)]
    weights: Option<Vec<f32>>,
    #[serde(default)]
    normalisation: NormalisationBody,
}

/// How scores are made comparable.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NormalisationBody {
    MinMax,
    Distribution,
    #[default]
    TheoreticalMinMax,
}

fn rrf_k() -> f32 {
    RRF_K
}

/// `highlight` of a search: whether, or how.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected true, false or an object of length, fragments, pre, post and escape_html")]
pub(crate) enum HighlightBody {
    Flag(bool),
    Settings(HighlightSettings),
}

impl TextBody {
    /// Words, without options.
    #[cfg(feature = "mcp")]
    pub(super) fn of_words(query: String) -> TextBody {
        TextBody { query, options: QueryOptions::default() }
    }

    /// The text as it came.
    pub(super) fn query(&self) -> &str {
        &self.query
    }
}

impl SearchBody {
    /// Whether the search is more than one of embeddings.
    pub(super) fn ranks(&self) -> bool {
        let by_words = self.text.is_some() || self.mode.is_some() || self.highlight.is_some() || self.rerank.is_some();
        let beside =
            self.group_by.is_some() || self.diversity.is_some() || self.facets.is_some() || self.parts.is_some();
        let examples = self.like.is_some() || self.unlike.is_some() || self.strategy.is_some();
        by_words || self.sparse.is_some() || self.fusion.is_some() || beside || examples
    }
}

/// The order of weights, for messages.
const PARTS_IN_ORDER: &str = "embedding or like, sparse, text";

/// Answers a search by words, a sparse vector, or several of these with an embedding.
pub(super) async fn search(app: &App, readable: &Readable, body: SearchBody) -> Result<Response, ApiError> {
    let answer = find(readable, body).await?;
    let room = room_for_rows(app, answer.rows.len()).await?;
    Ok(stream::respond(RankedAnswerBody::from(answer), room).await?)
}

/// What such a search finds, at most `k` records.
pub(super) async fn find(readable: &Readable, body: SearchBody) -> Result<RankedAnswer, ApiError> {
    let collection = &readable.collection;
    let limits = &collection.surroundings().limits;
    let analyser = collection.analyser()?;
    // Before anything is computed: it bounds the text.
    let text = body.text.as_ref().map(|text| TextQuery::parse(&text.query, &analyser, &text.options)).transpose()?;
    let (mut body, by_words) = with_meaning(collection, body).await?;
    let reranking = Reranking::take(&mut body, limits.k)?;
    let highlight = highlighting(body.highlight.as_ref())?;
    let include = include(body.include.clone());
    let parts = body.parts.take();
    let (names, grouping, search) = ranked_search(limits, body, (text.clone().filter(|_| by_words), &analyser))?;
    let by_document = by_document(collection, parts, (grouping.is_some(), &search))?;
    let is_list = by_document.as_ref().is_some_and(|documents| documents.records == 1);
    let (groups, rows) = match grouping.or(by_document) {
        Some(Grouping { key, groups, records }) => {
            let found = readable.rank_groups(GroupedSearch { search, key, groups, records }).await?;
            // Documents by one part each are a list as that of records.
            (Some(found.groups).filter(|_| !is_list), found.rows)
        }
        None => {
            // The search has a limit of its own, `k`.
            let answers = readable.rank(vec![search], usize::MAX).await?;
            (None, answers.into_iter().next().ok_or_else(|| Error::internal("a search has no answer"))?)
        }
    };
    let highlight = highlight.zip(text).map(|(settings, query)| Highlight { settings, query, analyser });
    let answer = RankedAnswer { rows, groups, include, names, highlight, rerank_scores: Vec::new() };
    match reranking {
        Some(reranking) => reranking.apply(collection, answer).await,
        None => Ok(answer),
    }
}

/// The grouping of a search for documents, where the collection splits them and the search does not say otherwise.
fn by_document(
    collection: &Collection,
    parts: Option<usize>,
    (grouped, search): (bool, &RankedSearch),
) -> Result<Option<Grouping>, ApiError> {
    let splits = collection.identity().splitting.is_some();
    let of_parts = grouped || search.diversity.is_some() || !search.facets.is_empty();
    if parts.is_some() && (!splits || of_parts) {
        return Err(ApiError::invalid(
            "parts: expected a collection with chunk, and neither group_by, diversity nor facets beside it",
        ));
    }
    if !splits || of_parts {
        return Ok(None);
    }
    let (groups, records) = (search.limit.unwrap_or_default(), parts.unwrap_or(1));
    let most = collection.surroundings().limits.k;
    if records == 0 || groups.saturating_mul(records) > most {
        return Err(ApiError::invalid(format!(
            "parts: expected at least 1, and k times parts to be at most {most} (DRUMLIN_MAX_K), got {records}"
        )));
    }
    Ok(Some(Grouping { key: DOCUMENT_ID.to_owned(), groups, records }))
}

/// The search with the embedding of its text, if that is to be searched for by its meaning; and whether it is to be
/// searched for by its words.
async fn with_meaning(collection: &Collection, mut body: SearchBody) -> Result<(SearchBody, bool), ApiError> {
    let Some(text) = &body.text else {
        return match body.mode {
            None => Ok((body, true)),
            Some(_) => Err(ApiError::invalid("mode: expected a text beside it, got none")),
        };
    };
    let embedded = body.embedding.is_some() || body.like.is_some() || body.unlike.is_some();
    let can_embed = collection.identity().embedder.as_ref().is_some_and(|embedder| !embedder.optional);
    let mode = body.mode.unwrap_or(if can_embed && !embedded { TextMode::Both } else { TextMode::Words });
    if mode == TextMode::Words {
        return Ok((body, true));
    }
    if embedded || body.embeddings.is_some() {
        return Err(ApiError::invalid(
            "mode: \"meaning\" and \"both\" make an embedding of the text, so expected no embedding, like or unlike beside it; \
             mode \"words\" fuses the words with these",
        ));
    }
    if mode == TextMode::Meaning && text.options != QueryOptions::default() {
        return Err(ApiError::invalid(
            "text: minimum_match, prefix and typos are about words; expected mode \"words\" or \"both\" with them",
        ));
    }
    let made = collection.embed(vec![text.query.clone()], TextRole::Query).await?;
    body.embedding = made.into_iter().next().map(Embedding);
    Ok((body, mode == TextMode::Both))
}

fn highlighting(body: Option<&HighlightBody>) -> Result<Option<HighlightSettings>, ApiError> {
    let settings = match body {
        None | Some(HighlightBody::Flag(false)) => return Ok(None),
        Some(HighlightBody::Flag(true)) => HighlightSettings::default(),
        Some(HighlightBody::Settings(settings)) => settings.clone(),
    };
    settings.check()?;
    Ok(Some(settings))
}

/// The search that a body asks for, and the names of its parts.
fn ranked_search(
    limits: &Limits,
    mut body: SearchBody,
    (text, analyser): (Option<TextQuery>, &Arc<Analyser>),
) -> Result<(Vec<PartName>, Option<Grouping>, RankedSearch), ApiError> {
    if body.embeddings.is_some() {
        return Err(ApiError::invalid(
            "embeddings: expected one embedding beside text, sparse, groups, facets and the like, got a list",
        ));
    }
    let beside = body.take_beside(limits)?;
    let most = limits.k;
    for (field, got) in [("k", Some(body.k)), ("candidates", body.candidates)] {
        if got == Some(0) {
            return Err(ApiError::invalid(format!("{field}: expected at least 1, got 0")));
        }
    }
    if body.k > most {
        return Err(Error::limit(format!("k: expected at most {most} (DRUMLIN_MAX_K), got {}", body.k)).into());
    }
    let queries = [
        body.embedding.map(|embedding| (PartName::Embedding, LeafQuery::Embedding(embedding.0))),
        beside.examples.map(|examples| (PartName::of_examples(&examples), examples)),
        body.sparse.map(sparse_query).transpose()?.map(|query| (PartName::Sparse, query)),
        text.map(|query| (PartName::Text, LeafQuery::Text { query, analyser: analyser.clone() })),
    ];
    let (names, queries): (Vec<_>, Vec<_>) = queries.into_iter().flatten().unzip();
    let candidates = body.candidates.or(beside.candidates);
    let limit = match queries.len() {
        0 => return Err(ApiError::invalid("expected embedding, like, sparse or text, got none of them")),
        1 => candidates.unwrap_or(body.k).clamp(body.k, most),
        _ => candidates.unwrap_or((body.k * CANDIDATES_PER_RECORD).max(LEAST_CANDIDATES)).clamp(body.k, most),
    };
    let combination = combination(body.fusion, names.len())?;
    let leaves = queries.into_iter().map(|query| LeafSearch { query, limit }).collect();
    let search = RankedSearch {
        ids: body.ids.map(|ids| ids.0),
        filter: filter(body.r#where.as_ref(), body.where_document.as_ref())?,
        rank: Some(Ranking { combination, leaves }),
        limit: Some(body.k),
        ..beside.search
    };
    Ok((names, beside.group_by, search))
}

fn sparse_query(body: SparseQueryBody) -> Result<LeafQuery, ApiError> {
    let vector = SparseVector::new(body.indices.0, body.values.0);
    let vector = vector.map_err(|e| ApiError::invalid(format!("sparse.{}", e.message())))?;
    Ok(LeafQuery::Sparse { key: body.key, vector, idf: body.idf })
}

fn combination(body: Option<FusionBody>, parts: usize) -> Result<Combination, ApiError> {
    let (fusion, weights, place) = match body {
        None => (Fusion::default(), None, "weighted_sum"),
        Some(FusionBody::Rrf(rrf)) => {
            if !(rrf.k.is_finite() && rrf.k >= 0.0) {
                let k = rrf.k;
                return Err(ApiError::invalid(format!("fusion.rrf.k: expected a number of at least 0, got {k}")));
            }
            (Fusion::ReciprocalRank { k: rrf.k }, rrf.weights, "rrf")
        }
        Some(FusionBody::WeightedSum(sum)) => {
            let normalisation = match sum.normalisation {
                NormalisationBody::MinMax => Normalisation::MinMax,
                NormalisationBody::Distribution => Normalisation::Distribution,
                NormalisationBody::TheoreticalMinMax => Normalisation::TheoreticalMinMax,
            };
            (Fusion::WeightedSum(normalisation), sum.weights, "weighted_sum")
        }
    };
    let weights = weights.unwrap_or_else(|| vec![1.0; parts]);
    if weights.len() != parts {
        return Err(ApiError::invalid(format!(
            "fusion.{place}.weights: expected one for each search ({parts}, in the order {PARTS_IN_ORDER}), got {}",
            weights.len()
        )));
    }
    match weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
        Some(weight) => {
            Err(ApiError::invalid(format!("fusion.{place}.weights: expected numbers of at least 0, got {weight}")))
        }
        // One list needs no fusion, and keeps its own scores.
        None if parts == 1 => Ok(Combination::Single),
        None => Ok(Combination::Fusion(fusion, weights)),
    }
}
