//! Views in SQL: which objects of the bucket hold a version of a collection, as a statement for DuckDB, which reads
//! them without Drumlin.
//! Invariant: the newest version is the last one that was acknowledged before the call. The collection is not loaded,
//! and nothing is written.

use std::collections::BTreeSet;

use super::duckdb::DuckdbView;
use super::lifecycle::check_name;
use super::restore::{not_there_yet, refusal};
use super::{Admin, catalog};
use crate::bucket::keys::StreamId;
use crate::error::{Error, Result};
use crate::record::Version;
use crate::stream::history::{History, Recipe};
use crate::stream::objects::{dimension_at, history_to_the_end};
use crate::stream::rewind::RewindError;

impl Admin<'_> {
    /// The statement `CREATE OR REPLACE VIEW "view" AS …` with which DuckDB reads a collection's live records out of
    /// the bucket: `id`, `document`, `uri`, `metadata` (JSON) and `embedding` (`FLOAT[dimension]`), in no order. The
    /// view shows one version, by default the newest. It is called as the collection if `view` is `None`. Objects
    /// that the view names are deleted some time after merges replaced them; a new statement names the new ones.
    ///
    /// # Errors
    /// `NotFound` if there is no such collection, or the version is out of reach or not there yet. `Invalid` if
    /// DuckDB cannot open objects of this kind of bucket, or the view's name is none. `Limit` if the version lies in
    /// more than 10,000 objects.
    pub async fn sql_view(self, of: &str, version: Option<Version>, view: Option<&str>) -> Result<String> {
        let name = view.unwrap_or(of);
        check_name("view", name)?;
        let inner = &self.store.inner;
        inner.follow_catalog().await?;
        let records = inner.view.load_full();
        let id = records.find(self.store.scope(), of);
        let id = id.ok_or_else(|| Error::not_found(format!("collection {of:?} does not exist")))?;
        let record = records.collections.get(&id).ok_or_else(|| catalog::no_collection(id))?;
        let (bucket, stream) = (inner.bucket.as_ref(), StreamId::Collection(id));
        let timing = &inner.settings.timing;
        let history = history_to_the_end(bucket, &stream, timing.reread()).await?;
        let recipe = recipe(&history, version)?;
        let dimension = match record.configuration.dimension {
            None => dimension_at(bucket, &stream, timing.reread(), &history, &recipe).await?,
            fixed => fixed,
        };
        let place = bucket.place();
        let commits = (recipe.from.0..=recipe.version.0).map(|version| stream.log(Version(version)));
        let view = DuckdbView {
            place: &place,
            name,
            collection: of,
            version: recipe.version,
            dimension,
            segments: recipe.segments.into_iter().map(|segment| segment.key).collect(),
            commits: commits.collect(),
            kept_s: timing.garbage.as_secs(),
        };
        view.sql()
    }
}

/// The objects of a version.
fn recipe(history: &History, version: Option<Version>) -> Result<Recipe> {
    let (head, newest) = (&history.head, history.newest());
    let version = version.unwrap_or(newest);
    if version > newest {
        return Err(not_there_yet(version, newest));
    }
    if version.next() >= head.floor {
        // Of all segments, those that HEAD names are kept longest.
        return Ok(Recipe { segments: head.segs.clone(), from: head.floor, version });
    }
    let recipe = history.recipe(version, &BTreeSet::new());
    recipe.ok_or_else(|| refusal(history, version, RewindError::OutOfReach))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::request::Selection;
    use crate::config::Settings;
    use crate::error::ErrorKind;
    use crate::record::Record;
    use crate::store::Store;

    /// How many segments and commits the statement names.
    fn objects(sql: &str) -> (usize, usize) {
        (sql.matches("/seg/").count(), sql.matches("/log/").count())
    }

    #[tokio::test]
    async fn a_view_names_the_objects_of_its_version_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Settings::folder(folder.path())).await.unwrap();
        let notes = store.create_collection("notes").await.unwrap();
        let empty = store.admin().sql_view("notes", None, None).await.unwrap();
        assert!(empty.contains("at version 0,") && objects(&empty) == (0, 0), "{empty}");
        for number in 0..3 {
            notes.add([Record::new(format!("{number}"), vec![1.0, number as f32])]).await.unwrap();
        }
        let log = store.admin().sql_view("notes", None, Some("v")).await.unwrap();
        assert!(log.contains("VIEW \"v\"") && log.contains("FLOAT[2]") && objects(&log) == (0, 3), "{log}");
        store.sync().await.unwrap();
        notes.delete(Selection { ids: Some(vec!["1".to_owned()]), ..Selection::default() }).await.unwrap();
        let both = store.admin().sql_view("notes", None, None).await.unwrap();
        assert!(both.contains("at version 4,") && objects(&both) == (1, 1), "{both}");
        let before = store.admin().sql_view("notes", Some(Version(3)), None).await.unwrap();
        assert!(before.contains("at version 3,") && objects(&before) == (1, 0), "{before}");
        let second = store.admin().sql_view("notes", Some(Version(2)), None).await.unwrap();
        assert!(second.contains("at version 2,") && objects(&second) == (0, 2), "{second}");
    }

    #[tokio::test]
    async fn a_version_or_a_collection_that_is_not_there_is_refused() {
        let store = Store::open("memory://").await.unwrap();
        store.create_collection("notes").await.unwrap();
        let refused = async |of: &str, version, view| store.admin().sql_view(of, version, view).await.unwrap_err();
        let later = refused("notes", Some(Version(7)), None).await;
        assert!(later.kind() == ErrorKind::NotFound && later.message().contains("the newest is 0"), "{later}");
        assert_eq!(refused("other", None, None).await.kind(), ErrorKind::NotFound);
        assert_eq!(refused("notes", None, Some("")).await.kind(), ErrorKind::Invalid);
        let memory = refused("notes", None, None).await;
        assert!(memory.message().contains("of the kind memory"), "{memory}");
        store.drop_collection("notes").await.unwrap();
        assert_eq!(refused("notes", None, None).await.kind(), ErrorKind::NotFound);
    }
}
