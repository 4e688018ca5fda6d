//! The answer to a ranked search: its records one by one, as JSON or as values.
//! Invariant: both say the same of a record, since the JSON is that of the value.

use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::beside::GroupHeads;
use super::facets::FacetAnswers;
use super::stream::{JsonPieces, append};
use crate::collection::answers::RankedRows;
use crate::collection::request::{Found, GroupSize, Hit, Include, LeafQuery};
use crate::error::Error;
use crate::ranking::{Better, FusedPart};
use crate::record::Metadata;
use crate::text::{Analyser, HighlightSettings, TextQuery};

/// A search of a request; the order is that of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartName {
    Embedding,
    /// Examples by best score.
    BestScore,
    Sparse,
    Text,
}

impl PartName {
    pub(super) fn of_examples(examples: &LeafQuery) -> PartName {
        match examples.better() {
            Better::Smaller => PartName::Embedding,
            Better::Larger => PartName::BestScore,
        }
    }

    fn name(self) -> &'static str {
        match self {
            PartName::Embedding => "embedding",
            PartName::BestScore => "like",
            PartName::Sparse => "sparse",
            PartName::Text => "text",
        }
    }

    /// A place in this search, which has distances or scores.
    fn place(self, part: FusedPart) -> PartPlace {
        let FusedPart { rank, score } = part;
        match self {
            PartName::Embedding => PartPlace { rank, distance: Some(score), score: None },
            PartName::Sparse => PartPlace { rank, distance: None, score: Some(1.0 - score) },
            PartName::BestScore | PartName::Text => PartPlace { rank, distance: None, score: Some(score) },
        }
    }
}

/// A record that a search found. What was not asked for, or the record does not have, is `None`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RankedHit {
    /// The record's id.
    pub id: String,
    /// How far it is, where it was found by an embedding alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<f32>,
    /// Only if included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Only if included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Only if included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Only if included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Vec<f32>>,
    /// Elsewhere: larger ones are better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// What the model said that put the records into this order: larger ones are better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank_score: Option<f32>,
    /// How each search of a fusion ranked it.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "by_name")]
    pub parts: Vec<HitPart>,
    /// Where its document has the words, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highlights: Option<Vec<String>>,
}

impl RankedHit {
    pub(super) fn new(found: Found) -> RankedHit {
        let Found { id, embedding, document, uri, metadata } = found;
        RankedHit { id, embedding, document, uri, metadata, ..RankedHit::default() }
    }
}

impl From<Hit> for RankedHit {
    fn from(hit: Hit) -> RankedHit {
        RankedHit { distance: Some(hit.distance), ..RankedHit::new(hit.into()) }
    }
}

/// What one search of a fusion says of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HitPart {
    /// The search: `embedding`, `like`, `sparse` or `text`.
    pub search: &'static str,
    /// `None` where it did not find the record.
    pub place: Option<PartPlace>,
}

/// A record's place in a search: with its distance or its score, as the search has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PartPlace {
    /// From 1; `None` where the list of the search ends before.
    pub rank: Option<usize>,
    /// Smaller ones are better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<f32>,
    /// Larger ones are better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
}

fn by_name<S: Serializer>(parts: &[HitPart], serializer: S) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(parts.len()))?;
    for part in parts {
        object.serialize_entry(part.search, &part.place)?;
    }
    object.end()
}

/// How documents are shown.
pub(super) struct Highlight {
    pub(super) settings: HighlightSettings,
    pub(super) query: TextQuery,
    pub(super) analyser: Arc<Analyser>,
}

/// What a ranked search found. As JSON it is written record by record.
pub(super) struct RankedAnswer {
    pub(super) rows: RankedRows,
    pub(super) groups: Option<Vec<GroupSize>>,
    pub(super) include: Include,
    pub(super) names: Vec<PartName>,
    pub(super) highlight: Option<Highlight>,
    /// Of each record, if a model put them into this order; empty otherwise.
    pub(super) rerank_scores: Vec<Option<f32>>,
}

impl RankedAnswer {
    /// The record's distance, where it was found by an embedding alone, or its score, of which larger ones are better.
    fn distance_or_score(&self, place: usize) -> (Option<f32>, Option<f32>) {
        let score = self.rows.score(place);
        match self.names.as_slice() {
            [PartName::Embedding] => (score, None),
            [PartName::Sparse] => (None, score.map(|distance| 1.0 - distance)),
            _ => (None, score),
        }
    }

    /// What is read of a record: highlights are made of its document.
    pub(super) fn included(&self) -> Include {
        Include { document: self.include.document || self.highlight.is_some(), ..self.include }
    }

    /// The record at a place; `None` beyond the end.
    pub(super) fn hit(&self, place: usize) -> Result<Option<RankedHit>, Error> {
        let Some(found) = self.rows.part(place, self.included())? else { return Ok(None) };
        let highlights = self.highlight.as_ref().map(|highlight| {
            let document = found.document.as_deref().unwrap_or_default();
            let mut tokeniser = highlight.analyser.tokeniser();
            let fragments = highlight.query.fragments(document, &mut tokeniser, &highlight.settings);
            fragments.iter().map(|fragment| fragment.render(document, &highlight.settings.tags)).collect()
        });
        let (distance, score) = self.distance_or_score(place);
        let part = |(name, part): (&PartName, &Option<FusedPart>)| HitPart {
            search: name.name(),
            place: part.map(|part| name.place(part)),
        };
        let parts = self.names.iter().zip(self.rows.parts(place)).map(part).collect();
        let found = Found { document: found.document.filter(|_| self.include.document), ..found };
        let rerank_score = self.rerank_scores.get(place).copied().flatten();
        Ok(Some(RankedHit { distance, score, rerank_score, parts, highlights, ..RankedHit::new(found) }))
    }
}

/// A ranked answer as JSON.
pub(super) struct RankedAnswerBody {
    answer: RankedAnswer,
    groups: Option<GroupHeads>,
    next: usize,
}

impl From<RankedAnswer> for RankedAnswerBody {
    fn from(mut answer: RankedAnswer) -> RankedAnswerBody {
        let groups = answer.groups.take().map(GroupHeads::new);
        RankedAnswerBody { answer, groups, next: 0 }
    }
}

impl JsonPieces for RankedAnswerBody {
    fn records(&self) -> usize {
        self.answer.rows.len()
    }

    fn weight(&self) -> usize {
        const AROUND_BYTES: usize = 256;
        AROUND_BYTES + self.answer.rows.weight(self.next, self.answer.included())
    }

    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool, Error> {
        let rows = &self.answer.rows;
        if self.next == 0 {
            into.extend_from_slice(if self.groups.is_some() { br#"{"groups":["# } else { br#"{"results":[["# });
        }
        let Some(hit) = self.answer.hit(self.next)? else {
            into.extend_from_slice(match self.groups {
                Some(_) if self.next == 0 => b"]",
                Some(_) => b"]}]",
                None => b"]]",
            });
            if !rows.facets().is_empty() {
                into.extend_from_slice(br#","facets":"#);
                append(into, &FacetAnswers(rows.facets()))?;
            }
            into.extend_from_slice(br#","version":"#);
            append(into, &rows.version())?;
            into.extend_from_slice(br#","compared":"#);
            append(into, &rows.compared())?;
            into.push(b'}');
            return Ok(false);
        };
        match &mut self.groups {
            Some(groups) => groups.write(self.next, into)?,
            None if self.next > 0 => into.push(b','),
            None => {}
        }
        append(into, &hit)?;
        self.next += 1;
        Ok(true)
    }
}
