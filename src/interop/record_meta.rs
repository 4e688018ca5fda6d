//! One value of a table's column as a value of metadata: numbers, text, booleans, times as text, and lists of these.
//! A value that has no such form is refused with the column's name.

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::util::display::array_value_to_string;
use uuid::Uuid;

use super::record_values::{check_length, text_at};
use crate::error::{Error, Result};
use crate::record::{MetaValue, SparseVector};

/// The value at a place that is not null; `None` if it stands for a missing number.
pub(super) fn meta_value(name: &str, array: &ArrayRef, at: usize, most: usize) -> Result<Option<MetaValue>> {
    if let Some(text) = text_at(array, at) {
        check_length(name, text.len(), most, "limits.metadata_bytes")?;
        return Ok(Some(MetaValue::Str(text.to_owned())));
    }
    if let Some(number) = whole(array.as_ref(), at) {
        // Integers that do not fit 64 signed bits become floats, as in JSON.
        let value = i64::try_from(number).map_or(MetaValue::Float(number as f64), MetaValue::Int);
        return Ok(Some(value));
    }
    if let Some(number) = float(array, at) {
        return Ok((!number.is_nan()).then_some(MetaValue::Float(number)));
    }
    let shown = |array: &ArrayRef| {
        let text = array_value_to_string(array.as_ref(), at);
        text.map_err(|e| Error::invalid(format!("column {name:?}: a value cannot be shown as text: {e}")))
    };
    match array.data_type() {
        DataType::Boolean => Ok(Some(MetaValue::Bool(array.as_boolean().value(at)))),
        DataType::FixedSizeBinary(16) => {
            let uuid = array.as_fixed_size_binary_opt().and_then(|bytes| Uuid::from_slice(bytes.value(at)).ok());
            Ok(uuid.map(|uuid| MetaValue::Str(uuid.hyphenated().to_string())))
        }
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            Ok(shown(array)?.parse().ok().map(MetaValue::Float))
        }
        DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_)
        | DataType::Interval(_) => Ok(Some(MetaValue::Str(shown(array)?))),
        DataType::Struct(_) => sparse(name, array.as_struct(), at, most).map(Some),
        DataType::List(_) => list(name, &array.as_list::<i32>().value(at), most),
        DataType::LargeList(_) => list(name, &array.as_list::<i64>().value(at), most),
        DataType::FixedSizeList(..) => list(name, &array.as_fixed_size_list().value(at), most),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = whole(dictionary.keys(), at).and_then(|key| usize::try_from(key).ok());
            match key.filter(|key| *key < dictionary.values().len() && !dictionary.values().is_null(*key)) {
                Some(key) => meta_value(name, dictionary.values(), key, most),
                None => Ok(None),
            }
        }
        other => Err(unfit(name, other)),
    }
}

fn unfit(name: &str, got: &DataType) -> Error {
    Error::invalid(format!(
        "column {name:?}: expected text, numbers, booleans, times, lists of one of these or structs of indices and \
         values (sparse vectors) for metadata, got {got}; leave other columns out with ignore"
    ))
}

/// A sparse vector: a struct of two lists, `indices` and `values`, and perhaps a third one, `tokens`.
fn sparse(name: &str, fields: &StructArray, at: usize, most: usize) -> Result<MetaValue> {
    let wrong = || unfit(name, fields.data_type());
    let items = |field: &str| -> Result<Option<ArrayRef>> {
        let Some(column) = fields.column_by_name(field).filter(|column| !column.is_null(at)) else { return Ok(None) };
        let items = match column.data_type() {
            DataType::List(_) => column.as_list::<i32>().value(at),
            DataType::LargeList(_) => column.as_list::<i64>().value(at),
            DataType::FixedSizeList(..) => column.as_fixed_size_list().value(at),
            _ => return Err(wrong()),
        };
        check_length(name, items.len(), most, "limits.metadata_bytes")?;
        Ok(Some(items))
    };
    let (Some(indices), Some(values)) = (items("indices")?, items("values")?) else { return Err(wrong()) };
    let index = |at| whole(&indices, at).filter(|_| !indices.is_null(at)).and_then(|index| u32::try_from(index).ok());
    let number = |at| float(&values, at).filter(|_| !values.is_null(at)).map(|number| number as f32);
    let indices = (0..indices.len()).map(index).collect::<Option<_>>().ok_or_else(wrong)?;
    let values = (0..values.len()).map(number).collect::<Option<_>>().ok_or_else(wrong)?;
    let named = |e: Error| Error::invalid(format!("column {name:?}: {}", e.message()));
    let vector = SparseVector::new(indices, values).map_err(named)?;
    let Some(tokens) = items("tokens")? else { return Ok(MetaValue::Sparse(vector)) };
    let token = |at| text_at(&tokens, at).filter(|_| !tokens.is_null(at)).map(str::to_owned);
    let tokens = (0..tokens.len()).map(token).collect::<Option<_>>().ok_or_else(wrong)?;
    vector.with_tokens(tokens).map(MetaValue::Sparse).map_err(named)
}

/// A list; nulls in it are left out.
fn list(name: &str, items: &ArrayRef, most: usize) -> Result<Option<MetaValue>> {
    check_length(name, items.len(), most, "limits.metadata_bytes")?;
    let mut bytes = 0usize;
    let (mut texts, mut wholes, mut floats, mut flags) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for at in (0..items.len()).filter(|at| !items.is_null(*at)) {
        match meta_value(name, items, at, most)? {
            Some(MetaValue::Str(text)) => {
                bytes = bytes.saturating_add(text.len());
                check_length(name, bytes, most, "limits.metadata_bytes")?;
                texts.push(text);
            }
            Some(MetaValue::Int(number)) => wholes.push(number),
            Some(MetaValue::Float(number)) => floats.push(number),
            Some(MetaValue::Bool(flag)) => flags.push(flag),
            Some(_) => return Err(unfit(name, items.data_type())),
            None => {}
        }
    }
    Ok(Some(match (wholes.is_empty(), floats.is_empty(), flags.is_empty()) {
        (true, true, true) => MetaValue::Strs(texts),
        (false, true, _) => MetaValue::Ints(wholes),
        (true, true, false) => MetaValue::Bools(flags),
        (_, false, _) => {
            let wholes = wholes.into_iter().map(|number| number as f64);
            MetaValue::Floats(floats.into_iter().chain(wholes).collect())
        }
    }))
}

/// The integer at a place, if the array holds integers.
pub(super) fn whole(array: &dyn Array, at: usize) -> Option<i128> {
    Some(match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(at).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(at).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(at).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(at).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(at).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(at).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(at).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(at).into(),
        _ => return None,
    })
}

/// The float at a place, if the array holds floats.
fn float(array: &ArrayRef, at: usize) -> Option<f64> {
    Some(match array.data_type() {
        DataType::Float16 => array.as_primitive::<Float16Type>().value(at).to_f64(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(at).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(at),
        _ => return None,
    })
}
