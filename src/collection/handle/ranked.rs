//! Ranked searches of a collection, and what is asked next to them: the best groups, and facets.
//! Invariant: all that one call answers is of one version.

use std::sync::Arc;

use super::Collection;
use crate::collection::answers::{RankedGroups, RankedRows};
use crate::collection::pin::PinGuard;
use crate::collection::read::ranked::RankedPage;
use crate::collection::request::{Consistency, FacetSearch, FacetsAnswer, GroupedSearch, LeafQuery, RankedSearch};
use crate::collection::state::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Parts of documents that count as examples.
const MOST_EXAMPLES: usize = 100;

impl Collection {
    /// Runs ranked searches, all on one version. Of each at most `most` records are found, whatever its limit.
    ///
    /// # Errors
    /// `Invalid` if an embedding does not fit the collection.
    pub async fn rank(&self, searches: Vec<RankedSearch>, most: usize) -> Result<Vec<RankedRows>> {
        self.rank_at(None, searches, most).await
    }

    /// Runs ranked searches on a snapshot, the newest one if none is given.
    pub(in crate::collection) async fn rank_at(
        &self,
        at: Option<Arc<Snapshot>>,
        mut searches: Vec<RankedSearch>,
        most: usize,
    ) -> Result<Vec<RankedRows>> {
        let (pinned, snapshot) = self.to_rank(at, searches.len()).await?;
        searches.iter_mut().for_each(|search| self.name_parts(&snapshot, search));
        let (limits, ef_search) = (self.inner.surroundings.limits.clone(), self.identity().index.ef_search);
        let (searched, count) = (snapshot.clone(), searches.len());
        let short = matches!(searches.as_slice(), [search] if snapshot.is_short_rank(search, ef_search));
        let answer = move |number: usize, interrupt: &Interrupt| {
            let search = searches.get(number).ok_or_else(|| Error::internal("a search has no number"))?;
            searched.ranked(search, (ef_search, most), &limits, interrupt)
        };
        let answers = match short {
            true => vec![pinned.compute().short_search(move |interrupt| answer(0, interrupt)).await?],
            false => pinned.compute().search_batch(count, answer).await?,
        };
        answers.into_iter().map(|rows| Ok(RankedRows::of(snapshot.clone(), rows?, pinned.clone()))).collect()
    }

    /// Finds the best groups of records, and the best records of each.
    ///
    /// ```
    /// use drumlin::searches::{GroupedSearch, LeafQuery, RankedSearch};
    /// use drumlin::{Metadata, Record, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> drumlin::Result<()> {
    /// # let store = Store::open("memory://").await?;
    /// let notes = store.create_collection("notes").await?;
    /// let note = |id: &str, embedding, author: &str| {
    ///     Record::new(id, embedding).with_metadata(Metadata::from([("author", author)]))
    /// };
    /// notes.add([note("a", vec![1.0, 0.0], "ann"), note("b", vec![0.9, 0.1], "ann")]).await?;
    /// notes.add([note("c", vec![0.0, 1.0], "bob")]).await?;
    ///
    /// let search = RankedSearch::single(LeafQuery::Embedding(vec![1.0, 0.0]), 10);
    /// let found = notes.rank_groups(GroupedSearch { search, key: "author".into(), groups: 2, records: 1 }).await?;
    /// assert_eq!(found.groups[1].value, "bob".into());
    /// assert_eq!(found.rows.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the search does not rank, or an embedding does not fit the collection.
    pub async fn rank_groups(&self, grouped: GroupedSearch) -> Result<RankedGroups> {
        self.rank_groups_at(None, grouped).await
    }

    /// Finds the best groups of a snapshot, the newest one if none is given.
    pub(in crate::collection) async fn rank_groups_at(
        &self,
        at: Option<Arc<Snapshot>>,
        mut grouped: GroupedSearch,
    ) -> Result<RankedGroups> {
        let (pinned, snapshot) = self.to_rank(at, 1).await?;
        self.name_parts(&snapshot, &mut grouped.search);
        let (limits, ef_search) = (self.inner.surroundings.limits.clone(), self.identity().index.ef_search);
        let searched = snapshot.clone();
        let answer = move |interrupt: &Interrupt| searched.best_groups(&grouped, ef_search, &limits, interrupt);
        let ((groups, rows), compared) = pinned.compute().search(answer).await??;
        let page = RankedPage { rows, facets: Vec::new(), compared };
        Ok(RankedGroups { groups, rows: RankedRows::of(snapshot, page, pinned) })
    }

    /// Counts what the records that match have under some metadata keys.
    ///
    /// ```
    /// use drumlin::searches::{Facet, FacetSearch};
    /// use drumlin::{Metadata, Record, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> drumlin::Result<()> {
    /// # let store = Store::open("memory://").await?;
    /// let notes = store.create_collection("notes").await?;
    /// let note = |id: &str, year: i64| Record::new(id, vec![1.0]).with_metadata(Metadata::from([("year", year)]));
    /// notes.add([note("a", 2024), note("b", 2025), note("c", 2025)]).await?;
    ///
    /// let year = Facet { key: "year".into(), values: Some(1), quantiles: vec![0.5], ..Facet::default() };
    /// let found = notes.facets(FacetSearch { facets: vec![year], ..FacetSearch::default() }).await?;
    /// let values = found.facets[0].values.as_ref();
    /// assert_eq!(values.map(|values| values.commonest.clone()), Some(vec![(2025.into(), 2)]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Limit` if a key has too many different values.
    pub async fn facets(&self, mut search: FacetSearch) -> Result<FacetsAnswer> {
        let pinned = self.used().await?;
        let snapshot = pinned.snapshot(Consistency::Local).await?;
        search.ids = self.ids_of_parts(&snapshot, search.ids);
        pinned.compute().search(move |interrupt| snapshot.facets(&search, interrupt)).await?
    }

    /// Puts the ids of parts, the first ones if they are many, in place of those of documents.
    fn name_parts(&self, snapshot: &Snapshot, search: &mut RankedSearch) {
        let parts = |ids: Vec<String>| self.ids_of_parts(snapshot, Some(ids)).unwrap_or_default();
        search.ids = search.ids.take().map(parts);
        for leaf in search.rank.iter_mut().flat_map(|rank| &mut rank.leaves) {
            if let LeafQuery::Examples(examples) = &mut leaf.query {
                for ids in [&mut examples.like, &mut examples.unlike] {
                    *ids = parts(std::mem::take(ids));
                    ids.truncate(MOST_EXAMPLES);
                }
            }
        }
    }

    /// The snapshot that `searches` searches see, the newest one if none is given; counts them.
    async fn to_rank(&self, at: Option<Arc<Snapshot>>, searches: usize) -> Result<(Arc<PinGuard>, Arc<Snapshot>)> {
        let pinned = Arc::new(self.used().await?);
        let snapshot = match at {
            Some(snapshot) => snapshot,
            None => pinned.snapshot(Consistency::Local).await?,
        };
        snapshot.allow_codes(self.inner.stream.context().budget.room_bytes());
        self.inner.stream.context().counters.searches.add(searches as u64);
        Ok((pinned, snapshot))
    }
}
