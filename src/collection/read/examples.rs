//! Searches for records that are like some records and unlike others.
//! Invariants: the examples are those of the version that is searched, and none of them is found.

use roaring::RoaringBitmap;

use super::leaf::{LeafContext, NearestRow, NearestRows, RankKey, ReadyLeaf};
use super::select::Selected;
use crate::collection::request::{ExampleStrategy, Examples, LeafQuery, RankedSearch};
use crate::collection::state::snapshot::{RowRef, Snapshot};
use crate::error::{Error, Result};
use crate::index::PreparedQuery;
use crate::interrupt::Interrupt;
use crate::ranking::{averaged, best_score, similarity};

/// How many records are compared between two checks of the interrupt.
const BETWEEN_LOOKS: usize = 1024;

/// The embeddings of examples.
pub(super) struct ExampleVectors {
    like: Vec<PreparedQuery>,
    unlike: Vec<PreparedQuery>,
}

impl Snapshot {
    /// The records that a search may find: those that match, without its examples.
    pub(super) fn to_rank(&self, search: &RankedSearch, interrupt: &Interrupt) -> Result<Selected> {
        let selected = self.select(search.ids.as_deref(), search.filter.as_ref(), interrupt)?;
        let leaves = search.rank.as_ref().map_or(&[][..], |rank| rank.leaves.as_slice());
        let mut named = Vec::new();
        for leaf in leaves {
            if let LeafQuery::Examples(Examples { like, unlike, .. }) = &leaf.query {
                named.extend(self.examples("like", like)?);
                named.extend(self.examples("unlike", unlike)?);
            }
        }
        if named.is_empty() {
            return Ok(selected);
        }
        let mut rows: Vec<RoaringBitmap> =
            (0..self.chunks.len()).map(|chunk| selected.of(self, chunk).clone()).collect();
        for RowRef { chunk, row } in named {
            if let Some(rows) = rows.get_mut(chunk) {
                rows.remove(row);
            }
        }
        Ok(Selected::some(rows))
    }

    /// A search by examples, made ready.
    pub(super) fn ready_examples<'q>(&self, examples: &Examples, context: LeafContext<'_>) -> Result<ReadyLeaf<'q>> {
        if self.dimension == Some(0) {
            return Err(Error::invalid("the records of this collection have no embeddings: it cannot be searched"));
        }
        let vectors = |field, ids| -> Result<Vec<&[f32]>> {
            Ok(self.examples(field, ids)?.into_iter().map(|at| self.chunk(at).vector(at.row)).collect())
        };
        let (like, unlike) = (vectors("like", &examples.like)?, vectors("unlike", &examples.unlike)?);
        match examples.strategy {
            ExampleStrategy::Average => {
                let words = "like: expected at least one id, got none; only \"best_score\" does without";
                let embedding = averaged(&like, &unlike).ok_or_else(|| Error::invalid(words))?;
                Ok(ReadyLeaf::Nearest(context.query(embedding)))
            }
            ExampleStrategy::BestScore => {
                let prepare = |vectors: &[&[f32]]| -> Vec<PreparedQuery> {
                    vectors.iter().map(|vector| PreparedQuery::new(self.metric, vector)).collect()
                };
                Ok(ReadyLeaf::BestScore(ExampleVectors { like: prepare(&like), unlike: prepare(&unlike) }))
            }
        }
    }

    pub(super) fn best_scores(
        &self,
        ExampleVectors { like, unlike }: &ExampleVectors,
        limit: usize,
        context: LeafContext<'_>,
    ) -> Result<Vec<(RankKey, f32)>> {
        let mut best = NearestRows::new(limit);
        for (chunk, view) in self.chunks.iter().enumerate() {
            context.compared.add(context.selected.of(self, chunk).len());
            for (number, row) in context.selected.of(self, chunk).iter().enumerate() {
                if number % BETWEEN_LOOKS == 0 {
                    context.interrupt.check()?;
                }
                let vector = view.chunk.vector(row);
                let alike = |query: &PreparedQuery| similarity(self.metric, query.distance_to(vector));
                let score = best_score(like.iter().map(alike), unlike.iter().map(alike));
                best.push(NearestRow { distance: -score, key: self.key_of(RowRef { chunk, row }) });
            }
        }
        Ok(best.into_sorted().into_iter().map(|(key, distance)| (key, -distance)).collect())
    }

    fn examples(&self, field: &str, ids: &[String]) -> Result<Vec<RowRef>> {
        let find = |id: &String| {
            let missing = || Error::not_found(format!("{field}: there is no record {id:?} in the collection"));
            self.find(id).ok_or_else(missing)
        };
        ids.iter().map(find).collect()
    }
}
