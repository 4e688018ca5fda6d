//! Searches by words, by sparse vectors and by several at once: a request out of a dict, and its answer as dicts.

use drumlin::http::{HitPart, RankReply, RankRequest, RankedHit};
use drumlin::{Error, MetaValue};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::convert;
use crate::errors::raised;
use crate::pending::{Made, made};
use crate::value::Value;

/// A search out of the options of `Collection.rank`.
pub fn request(collection: &drumlin::Collection, options: &Bound<'_, PyDict>) -> PyResult<RankRequest> {
    let value = || Value::new(options.as_any().clone());
    RankRequest::decode(collection, value).map_err(|error| raised(options.py(), &error))
}

/// The answer: the hits, or the groups with their hits, then facets as JSON, and the version.
pub fn answer(reply: RankReply) -> Result<Made, Error> {
    let facets = reply.facets_json()?;
    Ok(made(move |py| {
        let hits = reply.hits.iter().map(|hit| dict(py, hit)).collect::<PyResult<Vec<_>>>()?;
        let (hits, groups) = match &reply.groups {
            None => (hits, Vec::new()),
            Some(groups) => {
                let mut hits = hits.into_iter();
                let group = |(value, records): (&MetaValue, usize)| {
                    let dict = PyDict::new(py);
                    convert::set_meta_value(&dict, "value", value)?;
                    dict.set_item("results", PyList::new(py, hits.by_ref().take(records).collect::<Vec<_>>())?)?;
                    Ok(dict)
                };
                let groups = groups.iter().map(|group| (&group.value, group.records)).map(group);
                (Vec::new(), groups.collect::<PyResult<Vec<_>>>()?)
            }
        };
        Ok((hits, groups, facets, reply.version.0).into_pyobject(py)?.into_any().unbind())
    }))
}

/// A hit, with the fields that it has.
fn dict<'py>(py: Python<'py>, hit: &RankedHit) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("id", &hit.id)?;
    if let Some(distance) = hit.distance {
        dict.set_item("distance", shortest(distance))?;
    }
    if let Some(document) = &hit.document {
        dict.set_item("document", document)?;
    }
    if let Some(uri) = &hit.uri {
        dict.set_item("uri", uri)?;
    }
    if let Some(metadata) = &hit.metadata {
        dict.set_item("metadata", convert::dict(py, metadata)?)?;
    }
    if let Some(embedding) = &hit.embedding {
        dict.set_item("embedding", PyList::new(py, embedding)?)?;
    }
    if let Some(score) = hit.score {
        dict.set_item("score", shortest(score))?;
    }
    if let Some(score) = hit.rerank_score {
        dict.set_item("rerank_score", shortest(score))?;
    }
    if !hit.parts.is_empty() {
        dict.set_item("parts", parts(py, &hit.parts)?)?;
    }
    if let Some(highlights) = &hit.highlights {
        dict.set_item("highlights", highlights)?;
    }
    Ok(dict)
}

fn parts<'py>(py: Python<'py>, parts: &[HitPart]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for part in parts {
        let place = part.place.map(|place| {
            let dict = PyDict::new(py);
            dict.set_item("rank", place.rank)?;
            for (name, value) in [("distance", place.distance), ("score", place.score)] {
                if let Some(value) = value {
                    dict.set_item(name, shortest(value))?;
                }
            }
            PyResult::Ok(dict)
        });
        dict.set_item(part.search, place.transpose()?)?;
    }
    Ok(dict)
}

/// The shortest decimal that reads back as the same f32, as answers in JSON have it.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}
