//! The `search` route, which Chroma's local server lacks: records ranked by an expression over searches of embeddings
//! and of sparse vectors, or listed; with filter, groups, page and selected fields.
//! Invariant: all searches of a request are checked before the first one runs.

mod answer;
mod body;
mod group_by;
mod knn;
mod rank;
mod room;
mod select;

use axum::extract::State;
use axum::response::Response;

use super::super::App;
use super::super::error::too_many_records;
use super::super::records::room_for_rows;
use super::super::stream;
use super::body::{At, ChromaJson, ChromaParameters, InCollection};
use super::collections::no_id;
use super::describe::schema_of;
use super::error::ChromaError;
use super::reads::{ChromaReadParameters, open};
use super::schema::Schema;
use crate::collection::answers::RankedRows;
use crate::collection::handle::Collection;
use crate::collection::request::{Combination, Found, Include, LeafQuery, LeafSearch, RankedSearch, Ranking};
use crate::error::Error;
use crate::record::SparseVector;

use answer::{SearchAnswer, SearchRows};
use body::{Search, SearchRequest};
use knn::{Knn, KnnQuery, Searchable};
use select::SelectedKeys;

pub(super) async fn search(
    State(app): State<App>,
    At(place): At<InCollection>,
    ChromaParameters(parameters): ChromaParameters<ChromaReadParameters>,
    ChromaJson(body): ChromaJson<SearchRequest>,
) -> Result<Response, ChromaError> {
    let collection = open(&app, &place, &parameters).await?;
    let identity = collection.identity();
    let schema = schema_of(&identity.extension, identity.metric, &identity.index)?;
    let searched = SearchedCollection { dimension: collection.dimension(), schema: &schema };
    let (mut selected, mut searches) = (Vec::new(), Vec::new());
    for (number, search) in body.searches.0.into_iter().enumerate() {
        let search = search.read(number, &searched, |clause| schema.check_filter(Some(clause), None))?;
        let (select, search) = ranked(search, &schema)?;
        selected.push(select);
        searches.push(search);
    }
    let answers = {
        let _room = room::room_for(&app, &collection, &searches).await.map_err(|e| no_id(e, collection.id()))?;
        run(&app, &collection, searches).await?
    };
    let rows = answers.iter().map(SearchRows::len).sum();
    let room = room_for_rows(&app, rows).await?;
    Ok(stream::respond(SearchAnswer::new(selected.into_iter().zip(answers).collect()), room).await?)
}

/// Runs the searches on one version of the collection.
async fn run(app: &App, collection: &Collection, searches: Vec<RankedSearch>) -> Result<Vec<RankedRows>, ChromaError> {
    let most = app.settings.max_answer_records;
    // One more than allowed distinguishes an answer that is too large from one that just fits.
    let answers = collection.rank(searches, most.saturating_add(1)).await;
    let answers = answers.map_err(|e| no_id(e, collection.identity().id))?;
    match answers.iter().map(RankedRows::len).sum::<usize>() > most {
        true => Err(too_many_records("limit", most).into()),
        false => Ok(answers),
    }
}

/// What checks of a search ask about its collection.
struct SearchedCollection<'a> {
    dimension: Option<usize>,
    schema: &'a Schema,
}

impl Searchable for SearchedCollection<'_> {
    fn dimension(&self) -> Option<usize> {
        self.dimension
    }

    fn has_sparse_index(&self, key: &str) -> bool {
        self.schema.sparse_idf(key).is_some()
    }
}

/// A search as the core runs it.
fn ranked(search: Search, schema: &Schema) -> Result<(SelectedKeys, RankedSearch), ChromaError> {
    let leaf = |knn: Knn| {
        let query = match knn.query {
            KnnQuery::Dense(embedding) => LeafQuery::Embedding(embedding),
            KnnQuery::Sparse { key, indices, values } => {
                let idf = schema.sparse_idf(&key).unwrap_or(false);
                LeafQuery::Sparse { vector: SparseVector::new(indices, values)?, key, idf }
            }
        };
        Ok::<_, Error>(LeafSearch { query, limit: knn.limit as usize })
    };
    let rank = match search.rank {
        Some(rank) => Some(Ranking {
            combination: Combination::Expression(rank.expression),
            leaves: rank.searches.into_iter().map(leaf).collect::<Result<_, _>>()?,
        }),
        None => None,
    };
    let Search { ids, filter, group_by, offset, limit, select, .. } = search;
    Ok((select, RankedSearch { ids, filter, rank, group_by, offset, limit, ..RankedSearch::default() }))
}

impl SearchRows for RankedRows {
    fn len(&self) -> usize {
        RankedRows::len(self)
    }

    fn part(&self, place: usize, include: Include) -> Result<Option<Found>, Error> {
        RankedRows::part(self, place, include)
    }

    fn weight(&self, place: usize, include: Include) -> usize {
        RankedRows::weight(self, place, include)
    }

    fn score(&self, place: usize) -> Option<f32> {
        RankedRows::score(self, place).or(Some(place as f32)).filter(|score| score.is_finite())
    }
}
