//! `where` and `where_document`: the core's own language. Refusals have Chroma's words with the reason behind them,
//! and filters on what the collection's schema does not index are refused.

use serde_json::Value;

use super::describe::schema_of;
use super::error::ChromaError;
use crate::collection::handle::Collection;
use crate::filter::{Clause, Filter, FilterError};

/// One filter from both clauses; records must satisfy both. Null counts as absent.
pub(super) fn filter(
    collection: &Collection,
    metadata: Option<&Value>,
    document: Option<&Value>,
) -> Result<Option<Filter>, ChromaError> {
    let filter = parse(metadata, document)?;
    check_indexed(collection, metadata, document)?;
    Ok(filter)
}

/// One filter from both clauses, whether or not the collection indexes their keys.
pub(super) fn parse(metadata: Option<&Value>, document: Option<&Value>) -> Result<Option<Filter>, ChromaError> {
    Filter::parse(metadata, document).map_err(refused)
}

/// Refuses clauses on keys that the collection does not index. They must have been parsed before.
pub(super) fn check_indexed(
    collection: &Collection,
    metadata: Option<&Value>,
    document: Option<&Value>,
) -> Result<(), ChromaError> {
    let given = |clause: &&Value| !clause.is_null();
    let (metadata, document) = (metadata.filter(given), document.filter(given));
    if metadata.is_none() && document.is_none() {
        return Ok(());
    }
    let identity = collection.identity();
    schema_of(&identity.extension, identity.metric, &identity.index)?.check_filter(metadata, document)
}

fn refused(error: FilterError) -> ChromaError {
    match error.clause {
        Clause::Where => ChromaError::invalid(format!("Invalid where clause: {}", error.message)),
        Clause::WhereDocument => ChromaError::invalid(format!("Invalid where document clause: {}", error.message)),
        Clause::Regex => {
            // The regex's own sentence follows the place.
            let words = error.message.split_once(": ").map_or(error.message.as_str(), |(_, words)| words);
            ChromaError::invalid(format!("Regex syntax errror: {words}"))
        }
    }
}
