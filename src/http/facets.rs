//! Facets over the native API: a route for all records that match, and a member of searches for their candidates.
//! Invariant: facets are answered in the order in which they were asked for.

use std::fmt;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::App;
use super::answer::{INLINE_RECORDS, json};
use super::body::{Json, Name, Parameters};
use super::bounded::{Ids, List, Tree};
use super::error::ApiError;
use super::wire::{JsonObject, ReadParameters, filter};
use crate::collection::request::{Facet, FacetAnswer, FacetNumbers, FacetSearch, FacetValues, FacetsAnswer};
use crate::compute::off_thread;
use crate::error::Error;
use crate::memory::Purpose;
use crate::record::{MetaValue, Version};

/// Facets of one request, at most.
const MOST_FACETS: usize = 20;
/// Values that a facet names where it asks for nothing else.
const VALUES: usize = 10;
/// Bytes of a value while it is counted and answered.
const VALUE_BYTES: usize = 256;

/// `POST …/facets`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FacetsRequestBody {
    ids: Option<List<String, Ids>>,
    r#where: Option<Tree>,
    where_document: Option<Tree>,
    facets: FacetsBody,
}

/// `facets`: an object of metadata keys.
#[derive(Debug)]
pub(crate) struct FacetsBody(pub(crate) Vec<Facet>);

/// What a facet asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FacetBody {
    values: Option<usize>,
    range: bool,
    quantiles: Option<Vec<f64>>,
}

impl<'de> Deserialize<'de> for FacetsBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FacetsBody, D::Error> {
        struct FacetsVisitor;

        impl<'de> Visitor<'de> for FacetsVisitor {
            type Value = FacetsBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of metadata keys, each with an object of values, range and quantiles")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FacetsBody, A::Error> {
                let mut facets: Vec<Facet> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if facets.len() >= MOST_FACETS {
                        return Err(A::Error::custom(format_args!("expected at most {MOST_FACETS} keys, got more")));
                    }
                    if facets.iter().any(|facet| facet.key == key) {
                        return Err(A::Error::custom(format_args!("key {key:?} is given twice")));
                    }
                    let JsonObject(FacetBody { values, range, quantiles }) = map.next_value()?;
                    let bare = values.is_none() && !range && quantiles.is_none();
                    let values = if bare { Some(VALUES) } else { values };
                    facets.push(Facet { key, values, range, quantiles: quantiles.unwrap_or_default() });
                }
                Ok(FacetsBody(facets))
            }
        }

        deserializer.deserialize_map(FacetsVisitor)
    }
}

/// The answer of the route.
#[derive(Serialize)]
struct FacetsAnswerBody<'a> {
    facets: FacetAnswers<'a>,
    count: u64,
    version: Version,
}

/// Facets as an object of their keys.
pub(super) struct FacetAnswers<'a>(pub(super) &'a [FacetAnswer]);

impl Serialize for FacetAnswers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for facet in self.0 {
            object.serialize_entry(&facet.key, &FacetAnswerBody::from(facet))?;
        }
        object.end()
    }
}

/// What a facet is.
#[derive(Serialize)]
struct FacetAnswerBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<ValueCount<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distinct: Option<usize>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    numbers: Option<NumbersBody<'a>>,
}

/// How many records have a value.
#[derive(Serialize)]
struct ValueCount<'a> {
    value: &'a MetaValue,
    count: u64,
}

/// Where numbers lie; null without numbers.
#[derive(Serialize)]
struct NumbersBody<'a> {
    numbers: u64,
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    #[serde(skip_serializing_if = "<[f64]>::is_empty")]
    quantiles: &'a [f64],
}

impl<'a> From<&'a FacetAnswer> for FacetAnswerBody<'a> {
    fn from(facet: &'a FacetAnswer) -> FacetAnswerBody<'a> {
        let counts = |values: &'a FacetValues| {
            values.commonest.iter().map(|(value, count)| ValueCount { value, count: *count }).collect()
        };
        let numbers = |numbers: &'a FacetNumbers| NumbersBody {
            numbers: numbers.count,
            min: numbers.range.map(|(low, _)| low),
            max: numbers.range.map(|(_, high)| high),
            mean: numbers.mean,
            quantiles: &numbers.quantiles,
        };
        FacetAnswerBody {
            values: facet.values.as_ref().map(counts),
            distinct: facet.values.as_ref().map(|values| values.distinct),
            numbers: facet.numbers.as_ref().map(numbers),
        }
    }
}

/// Answers the facets of all records that match.
pub(super) async fn facets(
    State(app): State<App>,
    Name(name): Name,
    Parameters(parameters): Parameters<ReadParameters>,
    Json(body): Json<FacetsRequestBody>,
) -> Result<Response, ApiError> {
    let (scope, consistency) = parameters.split();
    let facets = body.facets.0;
    if facets.is_empty() {
        return Err(ApiError::invalid("facets: expected at least one key, got none"));
    }
    Facet::check_all(&facets)?;
    let filter = filter(body.r#where.as_ref(), body.where_document.as_ref())?;
    let mut room = app.store.room(Purpose::Answer);
    let values: usize = facets.iter().filter_map(|facet| facet.values).sum();
    room.grow(((values * VALUE_BYTES) as u64).min(room.share())).await?;
    let collection = app.store.with_scope(&scope).collection_to_read(&name, consistency).await?;
    let found = collection.facets(FacetSearch { ids: body.ids.map(|ids| ids.0), filter, facets }).await?;
    let FacetsAnswer { facets, records, version } = found;
    let answer =
        move || json(StatusCode::OK, &FacetsAnswerBody { facets: FacetAnswers(&facets), count: records, version });
    match values > INLINE_RECORDS {
        true => off_thread(answer).await.map_err(Error::from)?,
        false => answer(),
    }
}
