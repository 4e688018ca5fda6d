//! Searches of the native API for a program that holds the collection and speaks no JSON, as Python does: the same
//! fields, rules and messages, but a request is made of the program's own values, and the answer is values too.
//! Invariant: a request that the route refuses is refused here, in the same words.

use serde::Deserialize;
use serde::de::Deserializer;

use super::HttpSettings;
use super::answer::INLINE_RECORDS;
use super::body::{place_of, shortened};
use super::error::ApiError;
use super::facets::FacetAnswers;
use super::meter::Meter;
use super::past::Readable;
use super::ranked;
use super::ranked_answer::{RankedAnswer, RankedHit};
use super::records::{embedding_of, name_document, named_record, query, ranks};
use super::stream::PIECE_BYTES;
use super::wire::{JsonObject, SearchBody};
use crate::collection::answers::Matches;
use crate::collection::handle::Collection;
use crate::collection::request::{Consistency, FacetAnswer, GroupSize};
use crate::compute::off_thread;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::record::Version;

/// A search, as the body of `POST /api/collections/{name}/search` has it.
#[derive(Debug)]
pub struct RankRequest {
    body: SearchBody,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RankReply {
    /// The records, best first; with groups, group by group. Of several embeddings those of the first.
    pub hits: Vec<RankedHit>,
    /// The groups, where the search asked for them.
    pub groups: Option<Vec<GroupSize>>,
    /// The facets that the search asked for.
    pub facets: Vec<FacetAnswer>,
    /// The version that was searched.
    pub version: Version,
}

impl RankRequest {
    /// Decodes a request. `value` is called once for a request that is right, and once more for one that is not, to
    /// find the field.
    ///
    /// # Errors
    /// `Invalid` and `Limit` name the field.
    pub fn decode<'de, D: Deserializer<'de>>(collection: &Collection, value: impl Fn() -> D) -> Result<RankRequest> {
        let mut meter = Meter::new(Limits::clone(&collection.surroundings().limits), None);
        if let Ok(JsonObject(body)) = meter.run(|| JsonObject::deserialize(value())) {
            return Ok(RankRequest { body });
        }
        let located = meter.run(|| serde_path_to_error::deserialize::<_, JsonObject<SearchBody>>(value()));
        let error = match located {
            Ok(JsonObject(body)) => return Ok(RankRequest { body }),
            Err(error) => error,
        };
        let place = place_of(error.path());
        let refusal = match meter.fault() {
            Some(fault) => fault.with_place(&place),
            None => Error::invalid(format!("{place}: {}", shortened(error.inner()))),
        };
        Err(ApiError::from(refusal).into_error())
    }

    /// Searches a collection.
    ///
    /// # Errors
    /// As the route. `NotFound` if the collection was dropped.
    pub async fn run(self, collection: &Collection, consistency: Consistency) -> Result<RankReply> {
        if consistency == Consistency::Strong {
            // Counting reads the log as far as necessary.
            collection.count(consistency).await?;
        }
        self.found(collection).await.map_err(ApiError::into_error)
    }

    async fn found(self, collection: &Collection) -> Result<RankReply, ApiError> {
        let RankRequest { mut body } = self;
        let most = HttpSettings::default().max_answer_records;
        name_document(collection, &mut body);
        let like = named_record(&mut body, &collection.surroundings().limits)?;
        if ranks(collection, &body) {
            let answer = ranked::find(&Readable::now(collection.clone()), body).await?;
            let include = answer.included();
            let small = is_small(answer.rows.len(), |place| answer.rows.weight(place, include));
            return made(small, move || RankReply::ranked(answer)).await;
        }
        if let Some((id, _)) = &like {
            body.embedding = Some(embedding_of(&Readable::now(collection.clone()), id).await?);
        }
        let mut found = collection.find(query(body, most)?).await?;
        if let Some((id, k)) = like {
            found = found.without(&id, k);
        }
        let count = found.counts().next().unwrap_or(0);
        let small = is_small(count, |place| found.weight(0, place));
        made(small, move || RankReply::nearest(&found)).await
    }
}

/// Whether a reply of so many records, each of `weight` bytes, is made at once.
fn is_small(records: usize, weight: impl Fn(usize) -> usize) -> bool {
    records <= INLINE_RECORDS && (0..records).map(weight).sum::<usize>() <= PIECE_BYTES
}

/// Makes a reply: a large one on a blocking thread.
async fn made(small: bool, reply: impl FnOnce() -> Result<RankReply> + Send + 'static) -> Result<RankReply, ApiError> {
    match small {
        true => Ok(reply()?),
        false => Ok(off_thread(reply).await.map_err(Error::from)??),
    }
}

impl RankReply {
    fn ranked(answer: RankedAnswer) -> Result<RankReply> {
        let hits = (0..answer.rows.len()).filter_map(|place| answer.hit(place).transpose()).collect::<Result<_>>()?;
        let (facets, version) = (answer.rows.facets().to_vec(), answer.rows.version());
        Ok(RankReply { hits, groups: answer.groups, facets, version })
    }

    fn nearest(found: &Matches) -> Result<RankReply> {
        let count = found.counts().next().unwrap_or(0);
        let hits = (0..count).filter_map(|place| found.hit(0, place).transpose());
        let hits = hits.map(|hit| hit.map(RankedHit::from)).collect::<Result<_>>()?;
        Ok(RankReply { hits, version: found.version(), ..RankReply::default() })
    }

    /// The facets as a JSON object, as the route answers them; `None` where the search asked for none.
    ///
    /// # Errors
    /// `Internal` if they cannot be written.
    pub fn facets_json(&self) -> Result<Option<String>> {
        if self.facets.is_empty() {
            return Ok(None);
        }
        let json = serde_json::to_string(&FacetAnswers(&self.facets));
        json.map(Some).map_err(|e| Error::internal("writing the facets failed").with_source(e))
    }
}

#[cfg(test)]
mod tests {
    use super::is_small;

    #[test]
    fn a_reply_of_many_records_or_of_large_ones_is_not_made_at_once() {
        assert!(is_small(64, |_| 1) && is_small(0, |_| 1));
        assert!(!is_small(65, |_| 1) && !is_small(2, |_| 100_000));
    }
}
