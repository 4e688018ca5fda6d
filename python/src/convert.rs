//! Python values as the library's, and back. Invariant: what does not fit is refused with the place it stands at, and
//! nothing is converted silently that would change its value.

use std::ptr::NonNull;

use arrow::array::RecordBatch;
use arrow::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use drumlin::{Filter, MetaValue, Metadata};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyCapsule, PyDict, PyList, PyString};

/// Metadata out of a dict. Keys whose value is `None` are left out.
pub fn metadata(dict: &Bound<'_, PyDict>) -> PyResult<Metadata> {
    let mut pairs = Vec::with_capacity(dict.len());
    for (key, value) in dict {
        let key: String =
            key.extract().map_err(|_| PyTypeError::new_err(format!("metadata: expected str keys, got {key}")))?;
        if !value.is_none() {
            pairs.push((key.clone(), meta_value(&key, &value)?));
        }
    }
    Ok(Metadata(pairs.into_iter().collect()))
}

fn meta_value(key: &str, value: &Bound<'_, PyAny>) -> PyResult<MetaValue> {
    let refused = || {
        PyTypeError::new_err(format!(
            "metadata[{key:?}]: expected bool, int, float, str, or a list of one of them, got {}",
            value.get_type()
        ))
    };
    // A bool is an int in Python: looked at first.
    if value.is_instance_of::<PyBool>() {
        return Ok(MetaValue::Bool(value.extract()?));
    }
    if value.is_instance_of::<PyString>() {
        return Ok(MetaValue::Str(value.extract()?));
    }
    if let Ok(list) = value.cast::<PyList>() {
        let json = serde_json::Value::Array(
            list.iter().map(|item| scalar(&item).ok_or_else(refused)).collect::<PyResult<_>>()?,
        );
        return MetaValue::from_json(&json).ok_or_else(refused);
    }
    scalar(value).and_then(|json| MetaValue::from_json(&json)).ok_or_else(refused)
}

/// A bool, int, float or str as JSON; NumPy's numbers too.
fn scalar(value: &Bound<'_, PyAny>) -> Option<serde_json::Value> {
    if value.is_instance_of::<PyBool>() {
        return Some(value.extract::<bool>().ok()?.into());
    }
    if let Ok(text) = value.extract::<String>() {
        return Some(text.into());
    }
    if let Ok(whole) = value.extract::<i64>() {
        return Some(whole.into());
    }
    serde_json::Number::from_f64(value.extract::<f64>().ok()?).map(serde_json::Value::Number)
}

/// Metadata as a dict.
pub fn dict<'py>(py: Python<'py>, metadata: &Metadata) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in &metadata.0 {
        match value {
            MetaValue::Bool(value) => dict.set_item(key, value)?,
            MetaValue::Int(value) => dict.set_item(key, value)?,
            MetaValue::Float(value) => dict.set_item(key, value)?,
            MetaValue::Str(value) => dict.set_item(key, value)?,
            MetaValue::Bools(values) => dict.set_item(key, values)?,
            MetaValue::Ints(values) => dict.set_item(key, values)?,
            MetaValue::Floats(values) => dict.set_item(key, values)?,
            MetaValue::Strs(values) => dict.set_item(key, values)?,
        }
    }
    Ok(dict)
}

/// A filter out of the JSON of `where` and `where_document`.
pub fn filter(where_: Option<&str>, where_document: Option<&str>) -> PyResult<Option<Filter>> {
    let read = |name: &str, text: Option<&str>| {
        text.map(serde_json::from_str::<serde_json::Value>)
            .transpose()
            .map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
    };
    let (where_, where_document) = (read("where", where_)?, read("where_document", where_document)?);
    Filter::parse(where_.as_ref(), where_document.as_ref()).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The batches of an object with `__arrow_c_stream__`: tables and readers of pyarrow, Polars, pandas, DuckDB and others.
/// Their memory is shared, not copied.
pub fn arrow_batches(table: &Bound<'_, PyAny>) -> PyResult<Vec<RecordBatch>> {
    let capsule = table.call_method0("__arrow_c_stream__")?;
    let capsule = capsule.cast::<PyCapsule>()?;
    let stream: NonNull<FFI_ArrowArrayStream> = capsule.pointer_checked(Some(c"arrow_array_stream"))?.cast();
    // SAFETY: the capsule's name says that it points to an ArrowArrayStream, as Arrow's PyCapsule interface has it;
    // the stream is moved out, and its place is left released, so that the capsule frees nothing twice.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(stream.as_ptr()) };
    let failed =
        |error: arrow::error::ArrowError| PyValueError::new_err(format!("the Arrow stream cannot be read: {error}"));
    RecordBatchStreamReader::try_new(stream).map_err(failed)?.map(|batch| batch.map_err(failed)).collect()
}
