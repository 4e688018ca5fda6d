//! Python values as what serde decodes, so that a request out of a dict is read by the rules of the library.
//! Invariant: what JSON cannot say is refused, and nothing is nested deeper than JSON may be.

use std::fmt;

use pyo3::prelude::*;
use pyo3::types::dict::BoundDictIterator;
use pyo3::types::{PyBool, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Lists and dicts within each other, at most; as in JSON.
const MOST_NESTED: u8 = 127;

/// Why a value does not fit.
#[derive(Debug)]
pub struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl serde::de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Refusal {
        Refusal(message.to_string())
    }
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Refusal {
        Refusal(error.to_string())
    }
}

/// A value to decode.
#[derive(Debug, Clone)]
pub struct Value<'py> {
    value: Bound<'py, PyAny>,
    /// How deep it lies.
    depth: u8,
}

impl<'py> Value<'py> {
    pub fn new(value: Bound<'py, PyAny>) -> Value<'py> {
        Value { value, depth: 0 }
    }

    /// The depth of what lies within it.
    fn deeper(&self) -> Result<u8, Refusal> {
        match self.depth < MOST_NESTED {
            true => Ok(self.depth + 1),
            false => {
                Err(Refusal(format!("expected at most {MOST_NESTED} lists and dicts within each other, got more")))
            }
        }
    }

    fn items(&self) -> Result<Option<Items<'py>>, Refusal> {
        let value = &self.value;
        let list = if let Ok(list) = value.cast::<PyList>() {
            list.clone()
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            tuple.to_list()
        } else if value.is_instance_of::<PySet>() || value.is_instance_of::<PyFrozenSet>() || is_range(value) {
            PyList::new(value.py(), value.try_iter()?.collect::<PyResult<Vec<_>>>()?)?
        } else {
            return Ok(None);
        };
        Ok(Some(Items { list, next: 0, depth: self.deeper()? }))
    }

    fn entries(&self, dict: &Bound<'py, PyDict>) -> Result<Entries<'py>, Refusal> {
        // A copy: another thread may change the dict while a part of it makes a list of itself.
        Ok(Entries { entries: dict.copy()?.iter(), value: None, depth: self.deeper()? })
    }

    /// The value of an array or a number of NumPy.
    fn plain(self) -> Result<Value<'py>, Refusal> {
        let (kind, depth) = (self.value.get_type(), self.deeper()?);
        match self.value.getattr("tolist") {
            Ok(to_list) => Ok(Value { value: to_list.call0()?, depth }),
            Err(_) => Err(Refusal(format!("expected what JSON can say, got {}", kind.name()?))),
        }
    }
}

fn is_range(value: &Bound<'_, PyAny>) -> bool {
    value.get_type().name().is_ok_and(|name| name == "range")
}

fn number<'de, V: Visitor<'de>>(value: &Bound<'_, PyAny>, visitor: V) -> Result<V::Value, Refusal> {
    if value.is_instance_of::<PyInt>() {
        if let Ok(whole) = value.extract::<i64>() {
            return visitor.visit_i64(whole);
        }
        if let Ok(whole) = value.extract::<u64>() {
            return visitor.visit_u64(whole);
        }
    }
    match value.extract::<f64>()? {
        number if number.is_finite() => visitor.visit_f64(number),
        number => Err(Refusal::custom(format_args!("expected a finite number, got {number}"))),
    }
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let value = &self.value;
        if let Ok(text) = value.cast::<PyString>() {
            return visitor.visit_str(&text.to_cow()?);
        }
        // A bool is an int in Python: looked at first.
        if let Ok(flag) = value.cast::<PyBool>() {
            return visitor.visit_bool(flag.is_true());
        }
        if value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>() {
            return number(value, visitor);
        }
        if value.is_none() {
            return visitor.visit_unit();
        }
        if let Ok(dict) = value.cast::<PyDict>() {
            return visitor.visit_map(self.entries(dict)?);
        }
        match self.items()? {
            Some(items) => visitor.visit_seq(items),
            None => self.plain()?.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.value.is_none() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if let Ok(text) = self.value.cast::<PyString>() {
            let text = text.to_cow()?;
            let variant: StrDeserializer<'_, Refusal> = text.as_ref().into_deserializer();
            return variant.deserialize_enum(name, variants, visitor);
        }
        match self.value.cast::<PyDict>() {
            Ok(dict) => MapAccessDeserializer::new(self.entries(dict)?).deserialize_enum(name, variants, visitor),
            Err(_) => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The items of a list.
struct Items<'py> {
    list: Bound<'py, PyList>,
    next: usize,
    depth: u8,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        // The list may have become shorter: it is Python's.
        if self.next >= self.list.len() {
            return Ok(None);
        }
        let value = self.list.get_item(self.next)?;
        self.next += 1;
        seed.deserialize(Value { value, depth: self.depth }).map(Some)
    }
}

/// The entries of a dict.
struct Entries<'py> {
    entries: BoundDictIterator<'py>,
    /// That of the key which was read last.
    value: Option<Bound<'py, PyAny>>,
    depth: u8,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        let Ok(text) = key.cast::<PyString>() else {
            return Err(Refusal(format!("expected str as keys, got {}", key.get_type().name()?)));
        };
        let text = text.to_cow()?;
        let key: StrDeserializer<'_, Refusal> = text.as_ref().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let value = self.value.take().ok_or_else(|| Refusal::custom("a value was read before its key"))?;
        seed.deserialize(Value { value, depth: self.depth })
    }
}
