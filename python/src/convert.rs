//! Python values as the library's, and back. Invariant: what does not fit is refused with the place it stands at, and
//! nothing is converted silently that would change its value.

use std::collections::BTreeMap;

use drumlin::{CollectionId, Consistency, Error, Filter, Include, MetaValue, Metadata, MetadataPatch, SparseVector};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyString, PyTuple};

use crate::errors::{invalid, raised};

/// Ids: text, each.
pub fn ids(values: &Bound<'_, PyList>) -> PyResult<Vec<String>> {
    let one = |(place, value): (usize, Bound<'_, PyAny>)| {
        value
            .cast::<PyString>()
            .map_err(|_| ())
            .and_then(|text| text.extract::<String>().map_err(|_| ()))
            .map_err(|()| invalid(values.py(), format!("ids[{place}]: expected str, got {}", value.get_type())))
    };
    values.iter().enumerate().map(one).collect()
}

/// Texts, or `None` where there is none.
pub fn texts(field: &str, values: &Bound<'_, PyList>) -> PyResult<Vec<Option<String>>> {
    let one = |(place, value): (usize, Bound<'_, PyAny>)| {
        value.extract::<Option<String>>().map_err(|_| {
            invalid(values.py(), format!("{field}[{place}]: expected str or None, got {}", value.get_type()))
        })
    };
    values.iter().enumerate().map(one).collect()
}

/// Metadata of the record at `place`; `None` for `None` and an empty dict. Keys whose value is `None` are left out.
pub fn metadata_at(list: &Bound<'_, PyList>, place: usize) -> PyResult<Option<Metadata>> {
    let found = dict_at(list, place)?.map(|dict| metadata(&dict)).transpose()?;
    Ok(found.filter(|found| !found.0.is_empty()))
}

/// What an update does to metadata: keys whose value is `None` are removed.
pub fn patch_at(list: &Bound<'_, PyList>, place: usize) -> PyResult<Option<MetadataPatch>> {
    dict_at(list, place)?.as_ref().map(patch).transpose()
}

/// Values of metadata keys, and `None` for those to remove.
pub fn patch(dict: &Bound<'_, PyDict>) -> PyResult<MetadataPatch> {
    let mut patch = BTreeMap::new();
    for (key, value) in dict {
        let key = key_of(&key)?;
        let value = if value.is_none() { None } else { Some(meta_value(&key, &value)?) };
        patch.insert(key, value);
    }
    Ok(MetadataPatch(patch))
}

/// The identity of a collection.
pub fn collection_id(py: Python<'_>, id: &str) -> PyResult<CollectionId> {
    id.parse().map_err(|error: Error| raised(py, &error))
}

fn dict_at<'py>(list: &Bound<'py, PyList>, place: usize) -> PyResult<Option<Bound<'py, PyDict>>> {
    let value = list.get_item(place)?;
    if value.is_none() {
        return Ok(None);
    }
    let dict = value.cast_into::<PyDict>().map_err(|error| {
        let got = error.into_inner().get_type();
        invalid(list.py(), format!("metadatas[{place}]: expected a dict or None, got {got}"))
    })?;
    Ok(Some(dict))
}

/// Metadata out of a dict. Keys whose value is `None` are left out.
pub fn metadata(dict: &Bound<'_, PyDict>) -> PyResult<Metadata> {
    let mut pairs = BTreeMap::new();
    for (key, value) in dict {
        let key = key_of(&key)?;
        if !value.is_none() {
            let value = meta_value(&key, &value)?;
            pairs.insert(key, value);
        }
    }
    Ok(Metadata(pairs))
}

fn key_of(key: &Bound<'_, PyAny>) -> PyResult<String> {
    key.extract().map_err(|_| invalid(key.py(), format!("metadata: expected str as keys, got {}", key.get_type())))
}

fn meta_value(key: &str, value: &Bound<'_, PyAny>) -> PyResult<MetaValue> {
    let refused = || {
        let expected = "bool, int, float, str, a list of one of them, or a dict of indices and values (a sparse vector); floats \
                        finite, and ints of 64 bits";
        let got = value.get_type();
        invalid(value.py(), format!("metadata[{key:?}]: expected {expected}, got {value} ({got})"))
    };
    if value.cast::<PyList>().is_ok() || value.cast::<PyTuple>().is_ok() {
        let items = value.try_iter()?.map(|item| scalar(&item?).ok_or_else(refused)).collect::<PyResult<_>>()?;
        return MetaValue::from_json(&serde_json::Value::Array(items)).map_err(|_| refused());
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        return sparse(key, dict);
    }
    scalar(value).and_then(|json| MetaValue::from_json(&json).ok()).ok_or_else(refused)
}

/// A bool, int, float or str as JSON; NumPy's scalars too.
fn scalar(value: &Bound<'_, PyAny>) -> Option<serde_json::Value> {
    // A bool is an int in Python: looked at first.
    if value.is_instance_of::<PyBool>() {
        return Some(value.extract::<bool>().ok()?.into());
    }
    if value.is_instance_of::<PyString>() {
        return Some(value.extract::<String>().ok()?.into());
    }
    // NumPy's bool is no int, and has no way to one but `item`.
    if value.get_type().name().is_ok_and(|name| name == "bool" || name == "bool_") {
        return Some(value.is_truthy().ok()?.into());
    }
    if let Ok(whole) = value.extract::<i64>() {
        return Some(whole.into());
    }
    // An int beyond 64 bits would lose digits as a float.
    if value.is_instance_of::<pyo3::types::PyInt>() {
        return None;
    }
    serde_json::Number::from_f64(value.extract::<f64>().ok()?).map(serde_json::Value::Number)
}

/// Metadata as a dict.
pub fn dict<'py>(py: Python<'py>, metadata: &Metadata) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in &metadata.0 {
        set_meta_value(&dict, key, value)?;
    }
    Ok(dict)
}

/// Puts a value of metadata into a dict.
pub fn set_meta_value(dict: &Bound<'_, PyDict>, key: &str, value: &MetaValue) -> PyResult<()> {
    match value {
        MetaValue::Bool(value) => dict.set_item(key, value),
        MetaValue::Int(value) => dict.set_item(key, value),
        MetaValue::Float(value) => dict.set_item(key, value),
        MetaValue::Str(value) => dict.set_item(key, value),
        MetaValue::Bools(values) => dict.set_item(key, values),
        MetaValue::Ints(values) => dict.set_item(key, values),
        MetaValue::Floats(values) => dict.set_item(key, values),
        MetaValue::Strs(values) => dict.set_item(key, values),
        MetaValue::Sparse(vector) => dict.set_item(key, sparse_dict(dict.py(), vector)?),
    }
}

/// A sparse vector as a dict, as Chroma's clients write it too.
fn sparse_dict<'py>(py: Python<'py>, vector: &SparseVector) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("#type", "sparse_vector")?;
    dict.set_item("indices", vector.indices())?;
    dict.set_item("values", vector.values())?;
    dict.set_item("tokens", vector.tokens())?;
    Ok(dict)
}

/// A sparse vector out of a dict: lists or NumPy arrays `indices` and `values`, and perhaps `tokens`.
fn sparse(key: &str, dict: &Bound<'_, PyDict>) -> PyResult<MetaValue> {
    let py = dict.py();
    let wrong = |message: String| invalid(py, format!("metadata[{key:?}]: {message}"));
    let member = |name: &str| {
        let missing = || wrong(format!("{name}: expected a list (a dict is a sparse vector), got none"));
        dict.get_item(name)?.ok_or_else(missing)
    };
    if let Some(kind) = dict.get_item("#type")?
        && !kind.extract::<String>().is_ok_and(|kind| kind == "sparse_vector")
    {
        return Err(wrong(format!("#type: expected \"sparse_vector\", got {kind}")));
    }
    let indices = member("indices")?;
    let indices = whole_numbers(&indices)
        .ok_or_else(|| wrong(format!("indices: expected integers from 0 to 4294967295, got {}", indices.get_type())))?;
    let values = member("values")?;
    let values = values.extract::<Vec<f32>>().or_else(|_| values.call_method0("tolist")?.extract());
    let values = values.map_err(|error| wrong(format!("values: expected numbers: {error}")))?;
    let vector = SparseVector::new(indices, values).map_err(|error| wrong(error.message().to_owned()))?;
    let vector = match dict.get_item("tokens")?.filter(|tokens| !tokens.is_none()) {
        Some(tokens) => {
            let tokens = tokens.extract().map_err(|error| wrong(format!("tokens: expected a list of str: {error}")))?;
            vector.with_tokens(tokens).map_err(|error| wrong(error.message().to_owned()))?
        }
        None => vector,
    };
    Ok(MetaValue::Sparse(vector))
}

fn whole_numbers(list: &Bound<'_, PyAny>) -> Option<Vec<u32>> {
    list.extract().ok().or_else(|| list.call_method0("tolist").ok()?.extract().ok())
}

/// A filter out of the JSON of `where` and `where_document`.
pub fn filter(py: Python<'_>, where_: Option<&str>, where_document: Option<&str>) -> PyResult<Option<Filter>> {
    let read = |name: &str, text: Option<&str>| {
        text.map(serde_json::from_str::<serde_json::Value>)
            .transpose()
            .map_err(|error| invalid(py, format!("{name}: {error}")))
    };
    let (where_, where_document) = (read("where", where_)?, read("where_document", where_document)?);
    Filter::parse(where_.as_ref(), where_document.as_ref()).map_err(|error| invalid(py, error.to_string()))
}

/// Which fields to return, by the names that Python uses.
pub fn included(fields: &[String]) -> Include {
    let has = |name: &str| fields.iter().any(|field| field == name);
    Include { embedding: has("embeddings"), document: has("documents"), uri: has("uris"), metadata: has("metadatas") }
}

pub fn freshness(strong: bool) -> Consistency {
    if strong { Consistency::Strong } else { Consistency::Local }
}
