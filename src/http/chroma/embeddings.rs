//! A column of embeddings, decoded from JSON in one pass straight into f32: lists of numbers, or base64 of
//! little-endian floats. A wrong type is a fault of the body's shape (422), so decoding fails at once. A wrong float
//! or base64 text is only noted here, and refused later.
//! Invariant: all items are of one form, or null where the route allows that.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::{bounded, meter};

/// Base64 characters decoded at a time: 768 floats.
const STEP: usize = 4096;

/// One embedding per record, `None` for null; or the fault of the first one that cannot be read. `NULLS`: whether
/// null may stand for an embedding.
#[derive(Debug, PartialEq)]
pub(super) struct EmbeddingColumn<const NULLS: bool>(pub(super) Result<Vec<Option<Vec<f32>>>, String>);

impl<'de, const NULLS: bool> Deserialize<'de> for EmbeddingColumn<NULLS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ColumnVisitor::<NULLS>).map(EmbeddingColumn)
    }
}

struct ColumnVisitor<const NULLS: bool>;

impl<'de, const NULLS: bool> Visitor<'de> for ColumnVisitor<NULLS> {
    type Value = Result<Vec<Option<Vec<f32>>>, String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of embeddings")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Err(mismatch::<E, NULLS>())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut column = Ok(Vec::new());
        let (mut lists, mut texts, mut others, mut len) = (false, false, false, 0);
        let (most, mut count) = (meter::limit(|limits| limits.batch_records), 0);
        while let Some(item) = items.next_element_seed(ItemSeed { len })? {
            let floats = match item {
                Item::List(floats) => {
                    lists = true;
                    Ok(Some(floats))
                }
                Item::Text(decoded) => {
                    texts = true;
                    decoded.and_then(all_finite).map(Some)
                }
                Item::Null if NULLS => Ok(None),
                Item::Null | Item::Other => {
                    others = true;
                    Ok(None)
                }
            };
            len = floats.as_ref().ok().and_then(|f| f.as_ref().map(Vec::len)).unwrap_or(len);
            count += 1;
            if count > most {
                return Err(meter::passed(format!(
                    "expected at most {most} in one request (DRUMLIN_MAX_BATCH_RECORDS), got more; split it"
                )));
            }
            match (&mut column, floats) {
                (Ok(rows), Ok(floats)) => {
                    bounded::grow(rows)?;
                    rows.push(floats);
                }
                (Ok(_), Err(fault)) => column = Err(fault),
                (Err(_), _) => {}
            }
        }
        if others || (lists && texts) {
            return Err(mismatch::<A::Error, NULLS>());
        }
        Ok(column)
    }
}

fn mismatch<E: Error, const NULLS: bool>() -> E {
    let name = if NULLS { "UpdateEmbeddingsPayload" } else { "EmbeddingsPayload" };
    E::custom(format_args!("data did not match any variant of untagged enum {name}"))
}

fn all_finite(floats: Vec<f32>) -> Result<Vec<f32>, String> {
    match floats.iter().enumerate().find(|(_, x)| !x.is_finite()) {
        Some((index, odd)) => Err(format!("Non-finite float value at embedding index {index}: {odd}")),
        None => Ok(floats),
    }
}

/// An item of the column.
enum Item {
    List(Vec<f32>),
    Text(Result<Vec<f32>, String>),
    Null,
    Other,
}

/// Reads one item; `len` is the length of the previous one.
struct ItemSeed {
    len: usize,
}

impl<'de> DeserializeSeed<'de> for ItemSeed {
    type Value = Item;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of numbers or base64 text")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
        let most = meter::limit(|limits| limits.dimension);
        let expected = self.len.min(most);
        meter::take(expected * size_of::<f32>())?;
        let mut floats = Vec::with_capacity(expected);
        let mut numbers_only = true;
        while let Some(ParsedComponent(x)) = items.next_element()? {
            match x {
                Some(_) if floats.len() >= most => return Err(bounded::too_many_numbers(most)),
                Some(x) => {
                    bounded::grow_flat(&mut floats)?;
                    floats.push(x);
                }
                None => numbers_only = false,
            }
        }
        Ok(if numbers_only { Item::List(floats) } else { Item::Other })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        let most = meter::limit(|limits| limits.dimension);
        if text.len() / 16 * 3 > most {
            return Err(bounded::too_many_numbers(most));
        }
        meter::take(text.len())?;
        Ok(Item::Text(decode_base64(text)))
    }

    fn visit_unit<E: Error>(self) -> Result<Item, E> {
        Ok(Item::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Item::Other)
    }
}

/// One number of an embedding, `None` for another value. A number beyond f32 becomes an infinity.
struct ParsedComponent(Option<f32>);

impl<'de> Deserialize<'de> for ParsedComponent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ParsedComponent, D::Error> {
        deserializer.deserialize_any(ComponentVisitor).map(ParsedComponent)
    }
}

struct ComponentVisitor;

impl<'de> Visitor<'de> for ComponentVisitor {
    type Value = Option<f32>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<Option<f32>, E> {
        Ok(Some(x as f32))
    }

    fn visit_i64<E: Error>(self, x: i64) -> Result<Option<f32>, E> {
        Ok(Some(x as f32))
    }

    fn visit_u64<E: Error>(self, x: u64) -> Result<Option<f32>, E> {
        Ok(Some(x as f32))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<f32>, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Option<f32>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Option<f32>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<f32>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<f32>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Decodes base64 of little-endian floats through a small buffer.
fn decode_base64(text: &str) -> Result<Vec<f32>, String> {
    let mut floats = Vec::with_capacity(text.len() / 4 * 3 / 4);
    let mut buffer = [0u8; STEP / 4 * 3];
    let mut bytes = 0;
    for (step, piece) in text.as_bytes().chunks(STEP).enumerate() {
        let decoded = STANDARD.decode_slice(piece, &mut buffer).map_err(|e| base64_fault(&e, step * STEP))?;
        // A piece of full length holds whole floats; only the last one may be shorter, or padded.
        if decoded != STEP / 4 * 3 && (step + 1) * STEP < text.len() {
            return Err("Invalid base64 string: Invalid padding".to_owned());
        }
        bytes += decoded;
        let whole = buffer.get(..decoded).unwrap_or_default().as_chunks::<4>().0;
        floats.extend(whole.iter().map(|b| f32::from_le_bytes(*b)));
    }
    if bytes % 4 != 0 {
        return Err(format!(
            "Invalid byte length: {bytes} bytes cannot be converted to f32 values (must be divisible by 4)"
        ));
    }
    Ok(floats)
}

/// The fault as a sentence; `start` is where the piece begins.
fn base64_fault(fault: &base64::DecodeSliceError, start: usize) -> String {
    use base64::{DecodeError, DecodeSliceError};
    match fault {
        DecodeSliceError::DecodeError(DecodeError::InvalidByte(at, symbol)) => {
            format!("Invalid base64 string: Invalid symbol {symbol}, offset {}.", start + at)
        }
        DecodeSliceError::DecodeError(fault) => format!("Invalid base64 string: {fault}"),
        DecodeSliceError::OutputSliceTooSmall => "Invalid base64 string: too long".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<Vec<Option<Vec<f32>>>, String>;

    fn add(json: &str) -> Result<Read, serde_json::Error> {
        serde_json::from_str::<EmbeddingColumn<false>>(json).map(|column| column.0)
    }

    #[test]
    fn lists_and_base64_come_to_the_same_floats() {
        let floats: Vec<f32> = (0..3000).map(|n| n as f32 / 7.0 - 100.0).collect();
        let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
        for len in [0, 1, 2, 3, 767, 768, 769, 1536, 3000] {
            let text = STANDARD.encode(&bytes[..len * 4]);
            assert_eq!(decode_base64(&text), Ok(floats[..len].to_vec()), "{len} floats");
            let lists = serde_json::to_string(&[&floats[..len]]).unwrap();
            assert_eq!(add(&lists).unwrap(), Ok(vec![Some(floats[..len].to_vec())]), "{len} floats");
        }
    }

    #[test]
    fn what_is_wrong_with_base64_is_told_with_its_place() {
        let long = format!("{}!", "A".repeat(STEP));
        let padded_within = format!("{}AA==AAAA", "A".repeat(STEP - 4));
        let cases = [
            ("!!", "Invalid base64 string: Invalid symbol 33, offset 0."),
            ("AAAAAA=", "Invalid base64 string: Invalid padding"),
            ("AAA=", "Invalid byte length: 2 bytes cannot be converted to f32 values (must be divisible by 4)"),
            ("AADAfw==", "Non-finite float value at embedding index 0: NaN"),
            ("AAAAAAAAgH8=", "Non-finite float value at embedding index 1: inf"),
            (&padded_within, "Invalid base64 string: Invalid padding"),
            (&long, "Invalid base64 string: Invalid symbol 33, offset 4096."),
        ];
        for (text, words) in cases {
            assert_eq!(add(&format!("[{text:?}]")).unwrap(), Err(words.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_column_is_all_lists_or_all_text_and_null_only_in_an_update() {
        for bad in
            ["null", "1", "\"AAAA\"", "{}", "[1]", "[null]", "[[1],\"AAAA\"]", "[[\"x\"]]", "[[[1]]]", "[[null]]"]
        {
            assert!(add(bad).unwrap_err().is_data(), "{bad}");
        }
        let update = |json| serde_json::from_str::<EmbeddingColumn<true>>(json).map(|column| column.0);
        assert_eq!(update("[null,[1,2.5]]").unwrap(), Ok(vec![None, Some(vec![1.0, 2.5])]));
        assert_eq!(update("[\"\",null]").unwrap(), Ok(vec![Some(vec![]), None]));
        assert!(update("[null,[1],\"AAAA\"]").unwrap_err().is_data());
        assert_eq!(add("[[1e40]]").unwrap(), Ok(vec![Some(vec![f32::INFINITY])]), "judged later");
    }
}
