//! The `search` route, which Chroma's local server lacks: nearest neighbours or plain listing, with filter, limit and
//! select. A rank by more than the distance of one dense embedding is answered 501, with a sentence that names the
//! unsupported part.

use std::collections::HashSet;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::App;
use super::super::body::bodies;
use super::super::bounded::{Keys, List, Searches, Tree};
use super::super::error::too_many_records;
use super::super::records::room_for_rows;
use super::super::stream::{self, JsonPieces, append};
use super::answer::shown_metadata;
use super::body::{At, ChromaJson, ChromaParameters, InCollection};
use super::collections::no_id;
use super::error::ChromaError;
use super::filters::filter;
use super::reads::{ChromaReadParameters, ReadLevel, check_query, neighbours, open};
use super::schema::{DOCUMENT, EMBEDDING};
use crate::collection::answers::{Matches, Reading};
use crate::collection::handle::Collection;
use crate::collection::request::{Consistency, Found, Get, Include, Query};
use crate::error::Error;
use crate::filter::Filter;
use crate::record::Metadata;

/// Number of ranked neighbours where the request has none.
const DEFAULT_CANDIDATES: u32 = 16;

/// `POST …/search`.
#[derive(Deserialize)]
#[serde(expecting = "struct SearchRequestPayload")]
pub(super) struct SearchRequest {
    searches: List<ChromaSearchBody, Searches>,
    #[serde(default, rename = "read_level")]
    _read_level: ReadLevel,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "struct SearchBody")]
struct ChromaSearchBody {
    filter: Option<Tree>,
    rank: Option<Tree>,
    group_by: Option<Tree>,
    #[serde(default)]
    limit: LimitBody,
    #[serde(default)]
    select: SelectBody,
}

#[derive(Debug, Default, Deserialize)]
struct LimitBody {
    #[serde(default)]
    offset: u32,
    limit: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
struct SelectBody {
    #[serde(default)]
    keys: List<String, Keys>,
}

/// `$knn` of a rank.
#[derive(Deserialize)]
struct KnnBody {
    query: Value,
    #[serde(default = "embedding_key")]
    key: String,
    #[serde(default = "default_candidates")]
    limit: u32,
    default: Option<f32>,
    #[serde(default)]
    return_rank: bool,
}

fn embedding_key() -> String {
    EMBEDDING.to_owned()
}

fn default_candidates() -> u32 {
    DEFAULT_CANDIDATES
}

bodies! { Query: SearchRequest; }

fn missing(what: &str) -> ChromaError {
    ChromaError::unimplemented(format!("Search does not support {what} here; it ranks by one dense $knn or not at all"))
}

pub(super) async fn search(
    State(app): State<App>,
    At(place): At<InCollection>,
    ChromaParameters(parameters): ChromaParameters<ChromaReadParameters>,
    ChromaJson(body): ChromaJson<SearchRequest>,
) -> Result<Response, ChromaError> {
    let collection = open(&app, &place, &parameters).await?;
    let mut answers = Vec::with_capacity(body.searches.0.len());
    for search in body.searches.0 {
        let wanted = Wanted::of(&collection, search)?;
        let found = run(&app, &collection, &wanted).await?;
        answers.push((wanted.select, found));
    }
    let rows = answers.iter().map(|(_, found): &(_, SearchRecords)| found.len()).sum();
    let room = room_for_rows(&app, rows).await?;
    Ok(stream::respond(SearchAnswer::new(answers), room).await?)
}

/// A search that can be answered.
struct Wanted {
    ids: Option<Vec<String>>,
    filter: Option<Filter>,
    rank: Option<Knn>,
    offset: usize,
    limit: Option<u32>,
    select: Vec<String>,
}

struct Knn {
    embedding: Vec<f32>,
    candidates: u32,
    return_rank: bool,
}

impl Wanted {
    fn of(collection: &Collection, body: ChromaSearchBody) -> Result<Wanted, ChromaError> {
        if body.group_by.is_some_and(|group| group.as_object().is_none_or(|fields| !fields.is_empty())) {
            return Err(missing("group_by"));
        }
        let (ids, clause) = split_ids(body.filter.map(|tree| tree.0).filter(|clause| !clause.is_null()))?;
        let rank = body.rank.map(|tree| tree.0).filter(|rank| rank.as_object().is_none_or(|rank| !rank.is_empty()));
        Ok(Wanted {
            ids,
            filter: filter(collection, clause.as_ref(), None)?,
            rank: rank.filter(|rank| !rank.is_null()).map(Knn::of).transpose()?,
            offset: body.limit.offset as usize,
            limit: body.limit.limit,
            select: body.select.keys.0,
        })
    }

    fn include(&self) -> Include {
        let has = |key: &str| self.select.iter().any(|selected| selected == key);
        Include {
            embedding: has(EMBEDDING),
            document: has(DOCUMENT),
            uri: self.selects_metadata(),
            metadata: self.selects_metadata(),
        }
    }

    fn selects_metadata(&self) -> bool {
        self.select.iter().any(|key| key == METADATA || !key.starts_with('#'))
    }
}

/// The keys of a select that stand for all metadata and for the score.
const METADATA: &str = "#metadata";
const SCORE: &str = "#score";
const ID: &str = "#id";

impl Knn {
    fn of(rank: Value) -> Result<Knn, ChromaError> {
        let Value::Object(mut rank) = rank else {
            return Err(ChromaError::shape("rank: expected an object"));
        };
        let Some(knn) = rank.remove("$knn").filter(|_| rank.is_empty()) else {
            return Err(missing("rank expressions other than $knn"));
        };
        let knn = KnnBody::deserialize(knn).map_err(|e| ChromaError::shape(format!("rank.$knn: {e}")))?;
        if knn.key != EMBEDDING {
            return Err(missing("$knn on other keys than #embedding"));
        }
        if knn.default.is_some() {
            return Err(missing("a default score in $knn"));
        }
        if !knn.query.is_array() {
            return Err(missing("sparse vectors and texts in $knn"));
        }
        let embedding =
            Vec::<f32>::deserialize(knn.query).map_err(|e| ChromaError::shape(format!("rank.$knn.query: {e}")))?;
        Ok(Knn { embedding, candidates: knn.limit, return_rank: knn.return_rank })
    }
}

/// Takes conditions on `#id` out of a filter: alone, or as members of its outermost `$and`.
fn split_ids(clause: Option<Value>) -> Result<(Option<Vec<String>>, Option<Value>), ChromaError> {
    let Some(clause) = clause else { return Ok((None, None)) };
    let members = match clause.get("$and").filter(|_| clause.as_object().is_some_and(|object| object.len() == 1)) {
        Some(Value::Array(members)) => members.clone(),
        _ => vec![clause],
    };
    let mut ids: Option<Vec<String>> = None;
    let mut rest = Vec::new();
    for member in members {
        match ids_of(&member) {
            Some(named) => ids = Some(ids.map_or_else(|| named.clone(), |ids| both(ids, &named))),
            None if names_ids(&member) => return Err(missing("this condition on #id")),
            None => rest.push(member),
        }
    }
    let clause = match rest.len() {
        0 => None,
        1 => rest.pop(),
        _ => Some(Value::Object(Map::from_iter([("$and".to_owned(), Value::Array(rest))]))),
    };
    Ok((ids, clause))
}

fn both(ids: Vec<String>, others: &[String]) -> Vec<String> {
    let others: HashSet<&String> = others.iter().collect();
    ids.into_iter().filter(|id| others.contains(id)).collect()
}

/// The ids of `{"#id": …}`, if it lists some.
fn ids_of(clause: &Value) -> Option<Vec<String>> {
    let test = clause.as_object().filter(|object| object.len() == 1)?.get(ID)?;
    match test.get("$in").or_else(|| test.get("$eq")).unwrap_or(test) {
        Value::String(id) => Some(vec![id.clone()]),
        Value::Array(ids) => ids.iter().map(|id| id.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Whether the clause has a condition on `#id` at any depth.
fn names_ids(clause: &Value) -> bool {
    match clause {
        Value::Object(object) => object.iter().any(|(key, value)| key == ID || names_ids(value)),
        Value::Array(items) => items.iter().any(names_ids),
        _ => false,
    }
}

/// The records of one search, each with its score if it was ranked.
async fn run(app: &App, collection: &Collection, wanted: &Wanted) -> Result<SearchRecords, ChromaError> {
    let gone = |e| no_id(e, collection.identity().id);
    let Some(knn) = &wanted.rank else {
        let most = app.settings.max_answer_records;
        let limit = wanted.limit.map_or(usize::MAX, |limit| limit as usize);
        let (ids, filter) = (wanted.ids.clone(), wanted.filter.clone());
        let get = Get {
            ids,
            filter,
            // One more than allowed distinguishes an answer that is too large from one that just fits.
            limit: Some(limit.min(most.saturating_add(1))),
            offset: wanted.offset,
            include: wanted.include(),
            consistency: Consistency::Local,
        };
        let reading = collection.read(get).await.map_err(gone)?;
        if reading.len() > most {
            return Err(too_many_records("limit", most).into());
        }
        return Ok(SearchRecords::Listed(reading));
    };
    check_query(std::slice::from_ref(&knn.embedding), collection.dimension())?;
    if collection.dimension().is_none() || knn.candidates == 0 {
        return Ok(SearchRecords::None);
    }
    let count = collection.count(Consistency::Local).await.map_err(gone)?;
    let query = Query {
        k: neighbours(app, knn.candidates, count, 1)?,
        ids: wanted.ids.clone(),
        filter: wanted.filter.clone(),
        include: wanted.include(),
        ..Query::new(knn.embedding.clone())
    };
    let matches = collection.find(query).await.map_err(gone)?;
    let limit = wanted.limit.map_or(usize::MAX, |limit| limit as usize);
    Ok(SearchRecords::Ranked { matches, offset: wanted.offset, limit, return_rank: knn.return_rank })
}

/// The records of one search, each made when its turn comes.
enum SearchRecords {
    None,
    Listed(Reading),
    Ranked { matches: Matches, offset: usize, limit: usize, return_rank: bool },
}

impl SearchRecords {
    fn len(&self) -> usize {
        match self {
            SearchRecords::None => 0,
            SearchRecords::Listed(reading) => reading.len(),
            SearchRecords::Ranked { matches, offset, limit, .. } => {
                matches.counts().next().unwrap_or(0).saturating_sub(*offset).min(*limit)
            }
        }
    }

    fn part(&self, place: usize, include: Include) -> Result<Option<Found>, Error> {
        match self {
            SearchRecords::None => Ok(None),
            SearchRecords::Listed(reading) => reading.part(place, include),
            SearchRecords::Ranked { matches, offset, .. } => matches.part(0, offset.saturating_add(place), include),
        }
    }

    fn weight(&self, place: usize, include: Include) -> usize {
        match self {
            SearchRecords::None => 0,
            SearchRecords::Listed(reading) => reading.weight(place, include),
            SearchRecords::Ranked { matches, offset, .. } => {
                matches.weight_of(0, offset.saturating_add(place), include)
            }
        }
    }

    /// The score of the record, if it was ranked.
    fn score(&self, place: usize) -> Option<f32> {
        let SearchRecords::Ranked { matches, offset, return_rank, .. } = self else { return None };
        let place = offset.saturating_add(place);
        if *return_rank { Some(place as f32) } else { matches.distance(0, place) }
    }
}

/// One list per field for each search; a field that was not selected is null. Written one record at a time.
struct SearchAnswer {
    answers: Vec<(Vec<String>, SearchRecords)>,
    /// Place in [`LISTS`], the search in that list, and the search's next record.
    list: usize,
    search: usize,
    next: usize,
}

/// The lists of an answer, with the key that selects each.
const LISTS: [(&str, Option<&str>); 5] = [
    ("ids", None),
    ("documents", Some(DOCUMENT)),
    ("embeddings", Some(EMBEDDING)),
    ("metadatas", Some(METADATA)),
    ("scores", Some(SCORE)),
];

impl SearchAnswer {
    fn new(answers: Vec<(Vec<String>, SearchRecords)>) -> SearchAnswer {
        SearchAnswer { answers, list: 0, search: 0, next: 0 }
    }

    /// The fields of a record that a list needs.
    fn include(key: Option<&str>) -> Include {
        Include {
            embedding: key == Some(EMBEDDING),
            document: key == Some(DOCUMENT),
            uri: key == Some(METADATA),
            metadata: key == Some(METADATA),
        }
    }

    /// Appends a record's entry in a list.
    fn element(&self, key: Option<&str>, into: &mut Vec<u8>) -> Result<(), Error> {
        let Some((select, records)) = self.answers.get(self.search) else { return Ok(()) };
        if key == Some(SCORE) {
            return append(into, &records.score(self.next));
        }
        let Some(found) = records.part(self.next, Self::include(key))? else { return Ok(()) };
        match key {
            Some(DOCUMENT) => append(into, &found.document),
            Some(EMBEDDING) => append(into, &found.embedding),
            Some(METADATA) => append(into, &shown_metadata(&found).map(|metadata| selected(metadata.clone(), select))),
            _ => append(into, &found.id),
        }
    }

    fn write_select(&self, into: &mut Vec<u8>) -> Result<(), Error> {
        into.extend_from_slice(br#","select":"#);
        append(into, &self.answers.iter().map(|(select, _)| select).collect::<Vec<_>>())?;
        into.push(b'}');
        Ok(())
    }
}

/// Whether these keys select a list.
fn selects(select: &[String], key: Option<&str>) -> bool {
    let fields = key == Some(METADATA) && select.iter().any(|selected| !selected.starts_with('#'));
    fields || key.is_none_or(|key| select.iter().any(|selected| selected == key))
}

impl JsonPieces for SearchAnswer {
    fn records(&self) -> usize {
        self.answers.iter().map(|(_, records)| records.len()).sum()
    }

    fn weight(&self) -> usize {
        const AROUND_BYTES: usize = 128;
        let key = LISTS.get(self.list).and_then(|(_, key)| *key);
        let records = self.answers.get(self.search).map(|(_, records)| records);
        AROUND_BYTES + records.map_or(0, |records| records.weight(self.next, Self::include(key)))
    }

    fn write(&mut self, into: &mut Vec<u8>) -> Result<bool, Error> {
        let Some((name, key)) = LISTS.get(self.list) else {
            self.write_select(into)?;
            return Ok(false);
        };
        if (self.search, self.next) == (0, 0) {
            into.push(if self.list == 0 { b'{' } else { b',' });
            append(into, name)?;
            into.extend_from_slice(b":[");
        }
        let Some((select, records)) = self.answers.get(self.search) else {
            into.push(b']');
            (self.list, self.search, self.next) = (self.list + 1, 0, 0);
            return Ok(true);
        };
        let is_selected = selects(select, *key);
        if self.next == 0 {
            into.extend_from_slice(if self.search == 0 { b"" } else { b"," });
            into.extend_from_slice(if is_selected { b"[" } else { b"null" });
        }
        if is_selected && self.next < records.len() {
            if self.next > 0 {
                into.push(b',');
            }
            self.element(*key, into)?;
            self.next += 1;
            return Ok(true);
        }
        if is_selected {
            into.push(b']');
        }
        (self.search, self.next) = (self.search + 1, 0);
        Ok(true)
    }
}

/// The selected keys of a record's metadata; all of them where `#metadata` is selected.
fn selected(metadata: Metadata, select: &[String]) -> Metadata {
    if select.iter().any(|key| key == METADATA) {
        return metadata;
    }
    Metadata(metadata.0.into_iter().filter(|(key, _)| select.contains(key)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn split(clause: Value) -> Result<(Option<Vec<String>>, Option<Value>), String> {
        split_ids(Some(clause)).map_err(|e| format!("{e:?}"))
    }

    #[test]
    fn conditions_on_ids_are_taken_out_of_the_outermost_and() {
        let ids = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(split(json!({"#id": {"$in": ["a", "b"]}})), Ok((ids(&["a", "b"]), None)));
        assert_eq!(split(json!({"#id": "a"})), Ok((ids(&["a"]), None)));
        assert_eq!(split(json!({"k": 1})), Ok((None, Some(json!({"k": 1})))));
        let several = json!({"$and": [{"#id": {"$in": ["a", "b"]}}, {"k": 1}, {"#id": "b"}]});
        assert_eq!(split(several), Ok((ids(&["b"]), Some(json!({"k": 1})))));
        for bad in [json!({"#id": {"$ne": "a"}}), json!({"$or": [{"#id": "a"}, {"k": 1}]})] {
            assert!(split(bad.clone()).unwrap_err().contains("501"), "{bad}");
        }
    }

    #[test]
    fn a_rank_that_is_not_one_dense_knn_is_not_there() {
        for bad in [
            json!({"$sum": [{"$val": 1}]}),
            json!({"$knn": {"query": [1], "default": 1.0}}),
            json!({"$knn": {"query": [1], "key": "sparse"}}),
            json!({"$knn": {"query": {"indices": [1], "values": [1]}}}),
            json!({"$knn": {"query": "text"}}),
        ] {
            assert!(Knn::of(bad.clone()).is_err_and(|e| format!("{e:?}").contains("501")), "{bad}");
        }
        let knn = Knn::of(json!({"$knn": {"query": [1, 2.5], "key": "#embedding", "limit": 3, "return_rank": true}}));
        let knn = knn.map_err(|e| format!("{e:?}")).unwrap();
        assert_eq!((knn.embedding, knn.candidates, knn.return_rank), (vec![1.0, 2.5], 3, true));
    }
}
