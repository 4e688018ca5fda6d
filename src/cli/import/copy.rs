//! Copies one collection: creates it with the original's configuration, then adds its records page by page. The next
//! page is fetched while one is written. Invariant: an existing collection is continued only if it says that an
//! import of the same collection began it.

use serde_json::{Map, Value, json};

use super::source::{Chroma, Theirs};
use crate::cli::bulk_load::{self, How, Skipped, Tally};
use crate::settings::with_variables;
use crate::{Collection, CollectionSpec, Error, ErrorKind, Result, Scope, Store};

/// Key in a collection's extension that names the imported original.
const ORIGIN: &str = "imported_from_chroma";

/// How records are copied, and which were left out.
#[derive(Debug)]
pub struct Copying {
    /// Records per request to the server.
    pub page: usize,
    /// Records of this collection that cannot be written.
    pub skipped: Skipped,
}

/// Copies the missing records of a collection; returns the copy.
pub async fn collection(
    chroma: &Chroma,
    store: &Store,
    scope: &Scope,
    theirs: &Theirs,
    how: &mut Copying,
) -> Result<Collection> {
    let page = how.page;
    let ours = begun(store, scope, theirs).await?;
    let total = chroma.count(scope, theirs).await?;
    let bar = bulk_load::bar(&theirs.name, Some(total as u64))?;
    // Every record is offered again: a count does not say which records are here, since others may add and delete.
    let (mut offset, mut tally) = (0, Tally::default());
    let mut records = chroma.records(scope, theirs, offset, page).await?;
    while !records.is_empty() {
        bar.set_position(offset as u64);
        offset += records.len();
        let (added, next) = tokio::join!(
            bulk_load::write(&ours, &records, How::Add, &mut how.skipped),
            chroma.records(scope, theirs, offset, page)
        );
        tally += added.map_err(|e| in_collection(scope, theirs, e))?;
        records = next?;
    }
    bar.finish_and_clear();
    let (Tally { added, there }, name) = (tally, &theirs.name);
    eprintln!("{}/{}/{name}: {added} records added, {there} were there already", scope.tenant, scope.database);
    bulk_load::build_graphs(&ours).await?;
    Ok(ours)
}

/// Adds the collection's name to an error.
fn in_collection(scope: &Scope, theirs: &Theirs, error: Error) -> Error {
    let place = format!("{}/{}/{}", scope.tenant, scope.database, theirs.name);
    let hint = if error.kind() == ErrorKind::NoRoom { "" } else { "; --skip-errors leaves such records out" };
    let error = with_variables(error);
    let what = format!("collection {place}: {error}{hint}");
    Error::new(error.kind(), what).with_source(error)
}

/// The collection to copy into: a new one, or the one that an earlier run began.
async fn begun(store: &Store, scope: &Scope, theirs: &Theirs) -> Result<Collection> {
    made_sure(store.namespaces().create_tenant(&scope.tenant).await)?;
    made_sure(store.namespaces().create_database(&scope.tenant, &scope.database).await)?;
    match store.with_scope(scope).create_collection(spec(theirs)?).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => return created,
    }
    let ours = store.with_scope(scope).collection(&theirs.name).await?;
    if ours.identity().extension.get(ORIGIN) != Some(&json!(theirs.id)) {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!(
                "collection {:?} of {}/{} exists and is not an import of {}: rename or drop it, or name what to import \
                 with --only",
                theirs.name, scope.tenant, scope.database, theirs.id
            ),
        ));
    }
    Ok(ours)
}

/// Makes sure that something exists: `AlreadyExists` counts as success.
fn made_sure<T>(made: Result<T>) -> Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// The first form of the collection's description that our API accepts: newer servers describe more than older ones.
fn spec(theirs: &Theirs) -> Result<CollectionSpec> {
    let body = |schema: &Value, configuration: &Value| {
        let (name, metadata) = (&theirs.name, &theirs.metadata);
        json!({"name": name, "metadata": metadata, "schema": schema, "configuration": configuration})
    };
    let by_schema = match &theirs.schema {
        Value::Null => None,
        schema => crate::http::chroma_collection(body(schema, &Value::Null)).ok(),
    };
    let mut spec = match by_schema {
        Some(spec) => spec,
        None => crate::http::chroma_collection(body(&Value::Null, &stated(&theirs.configuration_json)))?,
    };
    // An emptied collection still has its dimension, and refuses others.
    spec.dimension = spec.dimension.or(theirs.dimension.filter(|dimension| *dimension > 0));
    spec.extension.insert(ORIGIN.to_owned(), json!(theirs.id));
    Ok(spec)
}

/// A configuration in the form of a create: only the settings that are given.
fn stated(configuration: &Value) -> Value {
    let Some(fields) = configuration.as_object() else { return Value::Null };
    let known = ["hnsw", "spann", "embedding_function"];
    let said = fields.iter().filter(|(key, value)| known.contains(&key.as_str()) && !value.is_null());
    Value::Object(said.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metric;

    fn theirs(metadata: Value, configuration: Value, schema: Value) -> Theirs {
        let body = json!({"id": "i", "name": "notes", "metadata": metadata, "configuration_json": configuration,
                          "schema": schema});
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn the_metric_is_found_wherever_a_server_tells_it() {
        let hnsw = json!({"hnsw": {"space": "cosine"}, "spann": null, "embedding_function": null});
        let index = json!({"enabled": true, "config": {"space": "ip"}});
        let schema = json!({"defaults": {}, "keys": {"#embedding": {"float_list": {"vector_index": index}}}});
        for (theirs, metric) in [
            (theirs(Value::Null, Value::Null, Value::Null), Metric::L2),
            (theirs(json!({"hnsw:space": "ip"}), Value::Null, Value::Null), Metric::Ip),
            (theirs(Value::Null, hnsw.clone(), Value::Null), Metric::Cosine),
            (theirs(Value::Null, Value::Null, schema.clone()), Metric::Ip),
            (theirs(json!({"hnsw:space": "cosine"}), hnsw, schema), Metric::Cosine),
        ] {
            let spec = spec(&theirs).unwrap();
            assert_eq!((spec.metric, spec.name.as_str()), (metric, "notes"), "{theirs:?}");
            assert_eq!(spec.extension[ORIGIN], json!("i"));
        }
    }

    #[test]
    fn an_emptied_collection_keeps_its_dimension() {
        let mut emptied = theirs(Value::Null, Value::Null, Value::Null);
        assert_eq!(spec(&emptied).unwrap().dimension, None);
        emptied.dimension = Some(384);
        assert_eq!(spec(&emptied).unwrap().dimension, Some(384));
    }
}
