//! Sparse vectors as Chroma's requests write them: an object of `indices`, `values`, and perhaps `tokens` and `#type`.
//! Invariants: a value of another shape is a fault of the body (422) and found while it is decoded; entries are
//! metered before they are held. Lengths, order and finiteness are checked later: [`SparseBody::fault`].

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::super::bounded::{List, SparseEntries};
use super::super::meter;
use crate::record::SparseVector;

/// The value of `#type`.
const SPARSE_VECTOR: &str = "sparse_vector";

/// The indices, values or tokens of a vector.
type SparseList<T> = List<T, SparseEntries>;

/// A sparse vector whose shape is right.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct SparseBody {
    pub(super) indices: Vec<u32>,
    pub(super) values: Vec<f32>,
    pub(super) tokens: Option<Vec<String>>,
}

impl SparseBody {
    /// What is wrong with it, in Chroma's words.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let tokens = self.tokens.as_ref().map_or(self.indices.len(), Vec::len);
        if self.values.len() != self.indices.len() || tokens != self.indices.len() {
            return Some("Sparse vector indices, values, and tokens (when present) must have the same length");
        }
        if !self.indices.is_sorted_by(|a, b| a < b) {
            return Some("Sparse vector indices must be sorted in strictly ascending order (no duplicates)");
        }
        let finite = self.values.iter().all(|value| value.is_finite());
        (!finite).then_some("Sparse vector values must be finite as 32-bit floats")
    }

    /// The vector, if nothing is wrong with it.
    pub(super) fn into_vector(self) -> Option<SparseVector> {
        let vector = SparseVector::new(self.indices, self.values).ok()?;
        match self.tokens {
            Some(tokens) => vector.with_tokens(tokens).ok(),
            None => Some(vector),
        }
    }

    /// Reads the object's members; those of other names are ignored. `missing` is the refusal of an object without the
    /// member of a name.
    pub(super) fn read<'de, A: MapAccess<'de>>(
        mut members: A,
        missing: impl Fn(&'static str) -> A::Error,
    ) -> Result<SparseBody, A::Error> {
        let (mut indices, mut values, mut tokens, mut kind) = (None, None, None, None);
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "indices" => once(&mut indices, "indices", members.next_value::<SparseList<u32>>()?)?,
                "values" => once(&mut values, "values", members.next_value::<SparseList<f32>>()?)?,
                "tokens" => once(&mut tokens, "tokens", members.next_value::<Option<SparseList<EntryLabel>>>()?)?,
                "#type" => once(&mut kind, "#type", members.next_value::<String>()?)?,
                _ => _ = members.next_value::<IgnoredAny>()?,
            }
        }
        if let Some(other) = kind.filter(|kind| kind != SPARSE_VECTOR) {
            let other: String = other.chars().take(64).collect();
            return Err(Error::custom(format_args!("#type: expected {SPARSE_VECTOR:?}, got {other:?}")));
        }
        Ok(SparseBody {
            indices: indices.ok_or_else(|| missing("indices"))?.0,
            values: values.ok_or_else(|| missing("values"))?.0,
            tokens: tokens.flatten().map(|tokens| tokens.0.into_iter().map(|token| token.0).collect()),
        })
    }
}

/// Fills a member that may come once.
fn once<T, E: Error>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        Some(_) => Err(E::duplicate_field(name)),
        None => Ok(()),
    }
}

impl<'de> Deserialize<'de> for SparseBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SparseBody, D::Error> {
        struct SparseVisitor;

        impl<'de> Visitor<'de> for SparseVisitor {
            type Value = SparseBody;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a sparse vector {\"indices\": […], \"values\": […]}")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<SparseBody, A::Error> {
                SparseBody::read(members, Error::missing_field)
            }
        }

        deserializer.deserialize_map(SparseVisitor)
    }
}

/// The label of an entry, metered.
struct EntryLabel(String);

impl<'de> Deserialize<'de> for EntryLabel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EntryLabel, D::Error> {
        let token = String::deserialize(deserializer)?;
        meter::take(token.len())?;
        Ok(EntryLabel(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<SparseBody, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn a_vector_is_read_with_or_without_its_type_and_its_tokens() {
        let plain = SparseBody { indices: vec![1, 4_294_967_295], values: vec![2.0, -0.5], tokens: None };
        assert_eq!(
            read(r##"{"#type":"sparse_vector","indices":[1,4294967295],"values":[2,-0.5]}"##),
            Ok(plain.clone())
        );
        assert_eq!(read(r#"{"values":[2,-0.5],"more":{"a":[]},"tokens":null,"indices":[1,4294967295]}"#), Ok(plain));
        let labelled = read(r#"{"indices":[1],"values":[1],"tokens":["appl"]}"#).unwrap();
        assert_eq!((labelled.tokens.as_deref(), labelled.fault()), (Some(&["appl".to_owned()][..]), None));
        assert_eq!(read(r#"{"indices":[],"values":[]}"#), Ok(SparseBody::default()));
    }

    #[test]
    fn another_shape_is_refused_while_it_is_read() {
        for (bad, words) in [
            (r#"[1]"#, "expected a sparse vector"),
            (r#"{"indices":[1]}"#, "missing field `values`"),
            (r#"{"values":[1]}"#, "missing field `indices`"),
            (r#"{"indices":[-1],"values":[1]}"#, "integer `-1`"),
            (r#"{"indices":[1.0],"values":[1]}"#, "floating point `1.0`"),
            (r#"{"indices":[4294967296],"values":[1]}"#, "4294967296"),
            (r#"{"indices":[1],"values":[null]}"#, "null"),
            (r#"{"indices":null,"values":[]}"#, "null"),
            (r#"{"indices":[1],"values":["1"]}"#, "string"),
            (r#"{"indices":[1],"values":[1],"tokens":"a"}"#, "string"),
            (r##"{"#type":"dense","indices":[],"values":[]}"##, "got \"dense\""),
            (r##"{"#type":null,"indices":[],"values":[]}"##, "null"),
            (r#"{"indices":[1],"indices":[1],"values":[1]}"#, "duplicate field `indices`"),
        ] {
            let refused = read(bad).unwrap_err();
            assert!(refused.contains(words), "{bad}: {refused}");
        }
        let long = format!(r#"{{"indices":[{}0],"values":[]}}"#, "0,".repeat(65_536));
        assert!(
            read(&long).unwrap_err().contains("at most 65536 entries of a sparse vector (DRUMLIN_MAX_SPARSE_ENTRIES)")
        );
    }

    #[test]
    fn contents_are_judged_in_chromas_words() {
        let fault = |json: &str| read(json).unwrap().fault().unwrap_or("none");
        assert!(fault(r#"{"indices":[1,2],"values":[1]}"#).ends_with("must have the same length"));
        assert!(fault(r#"{"indices":[1],"values":[1],"tokens":[]}"#).ends_with("must have the same length"));
        assert!(fault(r#"{"indices":[1,1],"values":[1,1]}"#).contains("strictly ascending"));
        assert!(fault(r#"{"indices":[2,1],"values":[1,1]}"#).contains("strictly ascending"));
        let infinite = SparseBody { indices: vec![1], values: vec![f32::INFINITY], tokens: None };
        assert!(infinite.fault().is_some_and(|fault| fault.contains("finite")));
        assert_eq!(fault(r#"{"indices":[1,2],"values":[0,-1.5]}"#), "none");
    }
}
