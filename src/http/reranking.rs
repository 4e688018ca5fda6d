//! Reranking: a cross-encoder reads the query beside each document that a search found, and puts them into its own
//! order (Nogueira and Cho, "Passage Re-ranking with BERT", 2019).
//! Invariant: records without a document keep their order behind the others.

use serde::Deserialize;

use super::error::ApiError;
use super::ranked_answer::RankedAnswer;
use super::wire::SearchBody;
use crate::collection::handle::Collection;
use crate::collection::request::{Include, ScoreRequest, check_model_name};
use crate::error::Error;

/// The most documents that one search has read.
const MOST_CANDIDATES: usize = 1_000;
/// Bytes of a document that are read at most.
const PASSAGE_BYTES: usize = 16 << 10;
/// Documents that are read where the search does not say how many, as a multiple of `k`, and at least.
const CANDIDATES_PER_RECORD: usize = 3;
const LEAST_CANDIDATES: usize = 30;

/// `rerank` of a search.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RerankBody {
    model: String,
    candidates: Option<usize>,
}

/// How the records of a search are put into another order, and how many of them are answered.
pub(super) struct Reranking {
    model: String,
    query: String,
    k: usize,
}

impl Reranking {
    /// What the search asks for; it then finds the candidates.
    pub(super) fn take(body: &mut SearchBody, most: usize) -> Result<Option<Reranking>, ApiError> {
        let Some(rerank) = body.rerank.take() else { return Ok(None) };
        check_model_name("rerank.model", &rerank.0.model)?;
        let Some(text) = &body.text else {
            return Err(ApiError::invalid("rerank: expected a text beside it, which documents are compared with"));
        };
        if body.group_by.is_some() || body.diversity.is_some() || body.parts.is_some_and(|parts| parts > 1) {
            return Err(ApiError::invalid("rerank: expected no group_by, diversity or several parts beside it"));
        }
        let (k, most) = (body.k, most.min(MOST_CANDIDATES));
        let candidates =
            rerank.0.candidates.unwrap_or(k.saturating_mul(CANDIDATES_PER_RECORD).max(LEAST_CANDIDATES).min(most));
        if candidates < k || candidates > most {
            return Err(ApiError::invalid(format!(
                "rerank.candidates: expected a number from k ({k}) to {most}, got {candidates}"
            )));
        }
        body.k = candidates;
        Ok(Some(Reranking { model: rerank.0.model, query: text.query().to_owned(), k }))
    }

    /// The best `k` of the records, by the model's scores.
    pub(super) async fn apply(
        self,
        collection: &Collection,
        mut answer: RankedAnswer,
    ) -> Result<RankedAnswer, ApiError> {
        let mut scored = Vec::with_capacity(answer.rows.len());
        let (mut places, mut passages) = (Vec::new(), Vec::new());
        for place in 0..answer.rows.len() {
            let found = answer.rows.part(place, Include { document: true, ..Include::NONE })?;
            match found.and_then(|found| found.document) {
                Some(mut document) => {
                    // The model looks at fewer tokens than that.
                    document.truncate(document.floor_char_boundary(PASSAGE_BYTES));
                    places.push(place);
                    passages.push(document);
                }
                None => scored.push((place, None)),
            }
        }
        let request = ScoreRequest { model: self.model, query: self.query, passages };
        let scores = collection.scores(request).await?;
        if scores.len() != places.len() {
            return Err(Error::internal(format!("expected {} scores, got {}", places.len(), scores.len())).into());
        }
        scored.extend(places.into_iter().zip(scores.into_iter().map(Some)));
        // Without a score: behind all others.
        scored.sort_by(|(_, a), (_, b)| b.unwrap_or(f32::NEG_INFINITY).total_cmp(&a.unwrap_or(f32::NEG_INFINITY)));
        scored.truncate(self.k);
        let (places, scores): (Vec<usize>, Vec<Option<f32>>) = scored.into_iter().unzip();
        answer.rows = answer.rows.chosen(&places);
        answer.rerank_scores = scores;
        Ok(answer)
    }
}
