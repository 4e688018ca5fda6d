//! The map of a collection in the bucket (docs/protocol.md#map): stored once it is made, and loaded when somebody asks
//! for it and there is none, or an older one, in memory.
//! Invariant: a stored map is only a cache; whatever goes wrong here costs time, never an answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::StringArray;
use serde_json::Map;
use ulid::Ulid;

use super::handle::Collection;
use super::map::CollectionMap;
use super::read::map::{NEIGHBOURS, PlacedRecords, SEED};
use crate::compute::{Urgency, off_thread};
use crate::error::{Error, Result};
use crate::format::head::{Head, Life, MapEntry, RetiredEntry};
use crate::format::map::{MapColumns, MapHeader, StoredMap, encode_map};
use crate::format::{Checksum, FormatError};
use crate::head::{HeadRead, Swapped};
use crate::layout::{Faithfulness, Projection};
use crate::memory::Purpose;
use crate::record::Metric;
use crate::stream::context::StreamError;
use crate::stream::flush::upload_retired;
use crate::stream::open::fetch_map;
use crate::stream::upload;

/// How long a look at the bucket holds up an answer where there is a map in memory.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// Bytes in memory of a map that is loaded, as a multiple of its bytes in the bucket: these, its columns, and what
/// becomes of them.
const BYTES_PER_STORED: u64 = 4;

impl Collection {
    /// Loads the map of the bucket if that is due. `has_one`: there is a map in memory, which does if the bucket does
    /// not answer soon.
    pub(super) async fn look_for_map(&self, has_one: bool) -> Result<()> {
        if !has_one {
            return self.load_map().await;
        }
        if self.map_place().turn.try_lock().is_err() {
            // It is being stored, or looked for.
            return Ok(());
        }
        match tokio::time::timeout(LOOK_LIMIT, self.load_map()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a newer map was not looked for"),
            Err(_) => tracing::debug!("the bucket did not say soon enough whether there is a newer map"),
        }
        Ok(())
    }

    /// Loads the map that HEAD names, if it is newer than the one in memory. Looks at HEAD no more often than a read
    /// does that may miss what other instances wrote.
    pub(super) async fn load_map(&self) -> Result<()> {
        let place = self.map_place();
        let _turn = place.turn.lock().await;
        if !place.begin_look(self.surroundings().sync_interval) {
            return Ok(());
        }
        match self.newer_map().await {
            Ok(map) => {
                map.into_iter().for_each(|map| place.adopt(map));
                Ok(())
            }
            Err(error) => {
                if place.state().done.is_none() {
                    // The next one who asks is not to hear that there is no map.
                    place.look_again();
                }
                Err(error)
            }
        }
    }

    /// The map that HEAD names, if it can be used and is newer than the one in memory.
    async fn newer_map(&self) -> Result<Option<Arc<CollectionMap>>> {
        let context = self.stream().context();
        let Some(entry) = context.read_head().await?.head.map else { return Ok(None) };
        let (known, present) = (self.map_place().state().done.map(|map| map.version), self.present());
        // One of a later version than this instance has read comes with the commits.
        let is_newer = known.is_none_or(|known| known < entry.version) && entry.version <= present.version();
        if !is_newer || context.unusable.lock().contains(&entry.key) {
            return Ok(None);
        }
        let (budget, bytes) = (&self.surroundings().budget, entry.bytes.saturating_mul(BYTES_PER_STORED));
        let Some(_room) = budget.reserve(bytes, Purpose::Work) else {
            return Err(budget.refusal("the map of this collection", bytes, Purpose::Work));
        };
        let fits = (self.identity().metric, present.dimension());
        let read = match fetch_map(context, &entry).await {
            Ok(map) => off_thread(move || placed(map, fits)).await?.map_err(|cause| cause.to_string()),
            Err(StreamError::Corrupted { cause, .. }) => Err(cause),
            Err(error) => return Err(error.into()),
        };
        match read {
            Ok(records) => {
                context.counters.maps_loaded.count();
                Ok(Some(CollectionMap::new(entry.version, records, true, budget)))
            }
            Err(cause) => {
                tracing::warn!(key = %entry.key, %cause, "a map cannot be used and will be made anew");
                context.unusable.lock().insert(entry.key);
                Ok(None)
            }
        }
    }

    /// Puts the map into the bucket, unless it is there. What fails is tried again by maintenance.
    pub(crate) async fn keep_map_stored(&self) {
        let place = self.map_place();
        let _turn = place.turn.lock().await;
        let Some(map) = place.state().done.filter(|map| !map.is_stored.load(Ordering::Relaxed)) else { return };
        match self.store_map(&map).await {
            Ok(is_stored) => map.is_stored.store(is_stored, Ordering::Relaxed),
            Err(StreamError::Dropped) => {}
            Err(error) => tracing::warn!(%error, "a map was made, but not stored"),
        }
    }

    /// Puts a map into the bucket and names it in HEAD. Returns whether the bucket has it, or a newer one.
    async fn store_map(&self, map: &Arc<CollectionMap>) -> Result<bool, StreamError> {
        self.stream().check_damage().await?;
        let context = self.stream().context();
        let read = context.read_head().await?;
        if read.head.state == Life::Dropped {
            return Err(StreamError::Dropped);
        }
        let replaced = read.head.map.clone();
        let usable = replaced.as_ref().filter(|entry| !context.unusable.lock().contains(&entry.key));
        if usable.is_some_and(|entry| entry.version >= map.version) {
            return Ok(true);
        }
        let Some(_room) = context.budget.reserve(2 * map.records.bytes(), Purpose::Work) else {
            context.counters.put_off.count();
            return Ok(false);
        };
        let (stream, metric, made) = (context.stream.to_string(), self.identity().metric, map.clone());
        let encoded = self.compute().build(Urgency::NONE, move |_| encode_map(&stored(&made, stream, metric)?)).await;
        let encoded = encoded.and_then(|encoded| encoded);
        let bytes = encoded.map_err(|error| StreamError::Unavailable(format!("storing a map failed: {error}")))?;
        let (key, size, xxh3) = (context.stream.map(Ulid::generate()), bytes.len() as u64, Checksum::of(&bytes));
        upload::put(context.bucket.as_ref(), &key, vec![bytes.into()], context.timing.reread()).await?;
        let (version, records) = (map.version, map.records.ids.len() as u64);
        let entry = MapEntry { key, version, records, bytes: size, xxh3, other: Map::new() };
        let retired = match &replaced {
            None => None,
            Some(_) => Some(upload_retired(context, Vec::new(), Vec::new(), replaced.clone()).await?),
        };
        let plan = move |read: &HeadRead| name_map(read, replaced.as_ref(), &entry, retired);
        let swapped = self.stream().swapper().swap(read, &plan).await;
        match swapped.map_err(|e| StreamError::of_head(e, &context.stream))? {
            Swapped::Done(_) => {
                context.counters.maps_stored.count();
                Ok(true)
            }
            Swapped::Abandoned(why) => {
                tracing::debug!(%why, "a map was stored in vain");
                Ok(false)
            }
        }
    }
}

/// HEAD with this map in place of `replaced`, which the list `retired` has.
fn name_map(
    read: &HeadRead,
    replaced: Option<&MapEntry>,
    entry: &MapEntry,
    retired: Option<Ulid>,
) -> std::result::Result<Head, String> {
    if read.head.state == Life::Dropped {
        return Err("the collection has ended".to_owned());
    }
    if read.head.map.as_ref() != replaced {
        return Err("another instance stored a map".to_owned());
    }
    let mut next = read.head.successor();
    next.map = Some(entry.clone());
    if let Some(ulid) = retired {
        let seen = read.date.ok_or("the store sent no date with HEAD")?;
        next.retired.push(RetiredEntry { ulid, seen, other: Map::new() });
    }
    Ok(next)
}

/// What the bucket keeps of a map.
fn stored(map: &CollectionMap, stream: String, metric: Metric) -> Result<StoredMap> {
    let records = &map.records;
    let texts: usize = records.ids.iter().map(String::len).sum();
    if i32::try_from(texts).is_err() {
        return Err(Error::limit(format!("the ids of a map's records have {texts} bytes, more than 31 bits")));
    }
    let Projection { unit, mean, axes } = records.projection.clone();
    let header = MapHeader {
        stream,
        version: map.version,
        metric,
        dim: mean.len(),
        neighbours: NEIGHBOURS,
        seed: SEED,
        changes: records.changes as u64,
        faithfulness: records.faithfulness.map(|measured| [measured.trustworthiness, measured.continuity]),
        unit,
        mean,
        axes,
    };
    let columns = MapColumns {
        ids: StringArray::from_iter_values(&records.ids),
        x: records.points.iter().map(|[x, _]| *x).collect(),
        y: records.points.iter().map(|[_, y]| *y).collect(),
        embeddings: records.embeddings.iter().copied().collect(),
    };
    StoredMap::checked(header, columns).map_err(|cause| Error::internal(format!("a map cannot be stored: {cause}")))
}

/// The records of a stored map, if it is of this metric and dimension.
fn placed(map: StoredMap, (metric, dim): (Metric, Option<usize>)) -> std::result::Result<PlacedRecords, FormatError> {
    let (header, columns) = map.into_parts();
    if (header.metric, Some(header.dim)) != (metric, dim) {
        let what = format!("map of {} floats by {}, the collection of {dim:?} by {metric}", header.dim, header.metric);
        return Err(FormatError::Damaged(what));
    }
    Ok(PlacedRecords {
        ids: columns.ids.iter().flatten().map(str::to_owned).collect(),
        points: columns.x.iter().zip(&columns.y).map(|(x, y)| [*x, *y]).collect(),
        faithfulness: header
            .faithfulness
            .map(|[trustworthiness, continuity]| Faithfulness { trustworthiness, continuity }),
        embeddings: columns.embeddings.to_vec(),
        projection: Projection { unit: header.unit, mean: header.mean, axes: header.axes },
        changes: usize::try_from(header.changes).unwrap_or(usize::MAX),
    })
}
