//! The commands `list`, `peek`, `search` and `drop`: they show what a store holds, and drop a collection, without a
//! server. Like the other tools they open the store as one more instance; a server on the same bucket sees their
//! writes as soon as it reads the log.

use clap::Args;
use serde_json::{Map, Value, json};

use super::place::{Chosen, OneCollection, StorePlace};
use super::restore;
use crate::answers::Found;
use crate::models::is_filler;
use crate::{Collection, Consistency, Error, ErrorKind, Get, Include, Query, Result, Scope, Store};

/// Characters of a document that are shown.
const SHOWN: usize = 200;

/// Flags of `list`.
#[derive(Debug, Args)]
pub struct ListFlags {
    #[command(flatten)]
    place: StorePlace,
    #[command(flatten)]
    chosen: Chosen,
    /// Print a line of JSON per collection.
    #[arg(long)]
    json: bool,
}

/// Flags of `peek`.
#[derive(Debug, Args)]
pub struct PeekFlags {
    #[command(flatten)]
    of: OneCollection,
    /// Only these ids; may be repeated.
    #[arg(long)]
    id: Vec<String>,
    /// Records to show.
    #[arg(long, default_value_t = 10)]
    limit: usize,
    /// Print whole records, embeddings included, as lines of JSON.
    #[arg(long)]
    json: bool,
}

/// Flags of `search`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("near").required(true).args(["embedding", "like"])))]
pub struct SearchFlags {
    #[command(flatten)]
    of: OneCollection,
    /// The query embedding, such as "[0.1, 0.2]".
    #[arg(long)]
    embedding: Option<String>,
    /// The id of a record whose embedding is the query; it is left out of the answer.
    #[arg(long)]
    like: Option<String>,
    /// Neighbours to show.
    #[arg(long, default_value_t = 10)]
    k: usize,
    /// Print whole records as lines of JSON.
    #[arg(long)]
    json: bool,
}

/// Flags of `drop`.
#[derive(Debug, Args)]
pub struct DropFlags {
    #[command(flatten)]
    of: OneCollection,
    /// Drop it. Without this flag the command only says what would be dropped.
    #[arg(long)]
    yes: bool,
}

/// Runs `list`.
pub fn list(flags: &ListFlags) -> Result<()> {
    restore::on_store(&flags.place, async |store| {
        let selector = flags.chosen.selector();
        let mut shown = 0;
        for info in store.admin().all_collections().await? {
            let (name, Scope { tenant, database }) = (&info.name, &info.scope);
            let wanted = [(&selector.tenant, tenant), (&selector.database, database)];
            let named = selector.collection.as_ref().is_none_or(|asked| asked == name || *asked == info.id.to_string());
            if !named
                || is_filler(name)
                || wanted.iter().any(|(asked, is)| asked.as_ref().is_some_and(|asked| asked != *is))
            {
                continue;
            }
            shown += 1;
            let count = count(store, &info.scope, name).await;
            // The dimension is known once the collection has records.
            let dimension =
                store.with_scope(&info.scope).collection(name).await.ok().and_then(|opened| opened.dimension());
            let records = count.as_ref().map_or_else(ToString::to_string, ToString::to_string);
            let dimensions = dimension.map_or_else(|| "?".to_owned(), |dimension| dimension.to_string());
            if flags.json {
                let (id, metric) = (info.id.to_string(), info.metric.name());
                let line = json!({"name": name, "id": id, "tenant": tenant, "database": database, "metric": metric,
                                  "dimension": dimension, "records": count.as_ref().ok(),
                                  "error": count.as_ref().err().map(ToString::to_string)});
                println!("{line}");
            } else {
                let place =
                    if info.scope == Scope::default() { String::new() } else { format!("{tenant}/{database}/") };
                println!("{place}{name}: {records} records of {dimensions} dimensions, {}", info.metric.name());
            }
        }
        if let (0, Some(asked)) = (shown, &selector.collection) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no collection {asked:?} here; `drumlin list` shows all"),
            ));
        }
        if shown == 0 && !flags.json {
            println!("no collections in {}", store.admin().place().location);
        }
        Ok(())
    })
}

async fn count(store: &Store, scope: &Scope, name: &str) -> Result<u64> {
    store.with_scope(scope).collection(name).await?.count(Consistency::Strong).await
}

/// Runs `peek`.
pub fn peek(flags: &PeekFlags) -> Result<()> {
    restore::on_store(&flags.of.place, async |store| {
        let collection = opened(store, &flags.of).await?;
        let include = if flags.json { Include::ALL } else { Include { embedding: false, ..Include::ALL } };
        let ids = (!flags.id.is_empty()).then(|| flags.id.clone());
        let get = Get { ids, limit: Some(flags.limit), include, consistency: Consistency::Strong, ..Get::default() };
        let records = collection.get(get).await?.records;
        records.into_iter().for_each(|record| println!("{}", shown(record, None, flags.json)));
        if !flags.json {
            println!("{} records in all", collection.count(Consistency::Local).await?);
        }
        Ok(())
    })
}

/// Runs `search`.
pub fn search(flags: &SearchFlags) -> Result<()> {
    restore::on_store(&flags.of.place, async |store| {
        let collection = opened(store, &flags.of).await?;
        let embedding = match (&flags.embedding, &flags.like) {
            (Some(text), _) => numbers(text)?,
            (None, Some(id)) => embedding_of(&collection, id).await?,
            (None, None) => return Err(invalid("expected --embedding or --like")),
        };
        // One more, since the record itself is the nearest.
        let k = flags.k + usize::from(flags.like.is_some());
        let include = Include { embedding: flags.json, ..Include::ALL };
        let query = Query { include, consistency: Consistency::Strong, ..Query::new(embedding).k(k) };
        let hits = collection.search(query).await?.into_iter();
        let others = hits.filter(|hit| flags.like.as_ref() != Some(&hit.id)).take(flags.k);
        for hit in others {
            let distance = hit.distance;
            println!("{}", shown(hit.into(), Some(distance), flags.json));
        }
        Ok(())
    })
}

/// Runs `drop`.
pub fn drop(flags: &DropFlags) -> Result<()> {
    restore::on_store(&flags.of.place, async |store| {
        let records = match count(store, &flags.of.scope(), &flags.of.collection).await {
            // A collection that cannot be read can still be dropped.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            counted => counted.ok(),
        };
        let what = records.map_or_else(String::new, |records| format!(" with its {records} records"));
        if !flags.yes {
            let what = format!(
                "collection {:?}{what} of {} would be dropped: give --yes to drop it",
                flags.of.collection,
                store.admin().place().location
            );
            return Err(invalid(what));
        }
        store.with_scope(&flags.of.scope()).drop_collection(&flags.of.collection).await?;
        println!("{}: dropped{what}", flags.of.collection);
        Ok(())
    })
}

async fn opened(store: &Store, of: &OneCollection) -> Result<Collection> {
    store.with_scope(&of.scope()).collection(&of.collection).await
}

fn numbers(text: &str) -> Result<Vec<f32>> {
    serde_json::from_str(text)
        .map_err(|e| invalid(format!("--embedding: expected numbers such as \"[0.1, 0.2]\", got {text:?}: {e}")))
}

async fn embedding_of(collection: &Collection, id: &str) -> Result<Vec<f32>> {
    let include = Include { embedding: true, ..Include::NONE };
    let get = Get { ids: Some(vec![id.to_owned()]), include, consistency: Consistency::Strong, ..Get::default() };
    let found = collection.get(get).await?.records.pop().and_then(|record| record.embedding);
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no record {id:?}")))
}

/// A record as one line: for people, or as JSON.
fn shown(record: Found, distance: Option<f32>, as_json: bool) -> String {
    if as_json {
        let mut line = Map::from_iter([("id".to_owned(), json!(record.id))]);
        let parts = [
            ("distance", distance.map(|distance| json!(distance))),
            ("embedding", record.embedding.map(|embedding| json!(embedding))),
            ("document", record.document.map(Value::String)),
            ("uri", record.uri.map(Value::String)),
            ("metadata", record.metadata.map(|metadata| json!(metadata))),
        ];
        line.extend(parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        return Value::Object(line).to_string();
    }
    let mut parts = vec![record.id];
    parts.extend(distance.map(|distance| format!("{distance}")));
    parts.extend(record.document.map(|document| {
        let line = document.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
            None => line,
        }
    }));
    parts.extend(record.uri);
    parts.extend(record.metadata.map(|metadata| metadata.to_json_text()));
    parts.join("  ")
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, what)
}
