//! `select` of a search: which columns its answer has. It never changes the rows.
//! Invariant: a selection is a set; it is shown sorted, the predefined keys first.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::super::bounded::{Keys, List};
use super::super::schema::{DOCUMENT, EMBEDDING};
use crate::collection::request::Include;
use crate::record::Metadata;

/// The key that stands for all metadata.
pub(super) const METADATA: &str = "#metadata";
/// The key of the score.
pub(super) const SCORE: &str = "#score";
/// The keys that are no fields of metadata, in the order in which they are shown. `#id` is not among them.
pub(super) const PREDEFINED: [&str; 4] = [DOCUMENT, EMBEDDING, METADATA, SCORE];
/// Prefix of the keys under which Chroma keeps fields of its own among the metadata.
const RESERVED: &str = "chroma:";
/// The field under which Chroma keeps a record's uri.
const URI_FIELD: &str = "chroma:uri";

/// `select` of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object with keys")]
pub(super) struct SelectBody {
    #[serde(default)]
    keys: List<String, Keys>,
}

/// The keys that were selected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SelectedKeys {
    predefined: BTreeSet<&'static str>,
    fields: BTreeSet<String>,
}

impl From<SelectBody> for SelectedKeys {
    fn from(body: SelectBody) -> SelectedKeys {
        let mut selection = SelectedKeys::default();
        for key in body.keys.0 {
            match PREDEFINED.into_iter().find(|predefined| *predefined == key) {
                Some(predefined) => _ = selection.predefined.insert(predefined),
                None => _ = selection.fields.insert(key),
            }
        }
        selection
    }
}

impl SelectedKeys {
    pub(super) fn document(&self) -> bool {
        self.predefined.contains(DOCUMENT)
    }

    pub(super) fn embedding(&self) -> bool {
        self.predefined.contains(EMBEDDING)
    }

    pub(super) fn score(&self) -> bool {
        self.predefined.contains(SCORE)
    }

    /// Whether there is a column of metadata: for all of it, or for some field.
    pub(super) fn metadata(&self) -> bool {
        self.predefined.contains(METADATA) || !self.fields.is_empty()
    }

    /// What the core has to read of each record.
    pub(super) fn include(&self) -> Include {
        Include {
            embedding: self.embedding(),
            document: self.document(),
            uri: self.fields.contains(URI_FIELD),
            metadata: self.metadata(),
        }
    }

    /// The keys as the answer repeats them.
    pub(super) fn shown(&self) -> Vec<&str> {
        self.predefined.iter().copied().chain(self.fields.iter().map(String::as_str)).collect()
    }

    /// A record's entry in the column of metadata: the selected fields, `None` where it has none of them. Chroma's own
    /// fields are left out, and the uri is shown only if its field was selected.
    pub(super) fn metadata_of(&self, metadata: Option<Metadata>, uri: Option<String>) -> Option<Metadata> {
        let (all, mut shown) = (self.predefined.contains(METADATA), metadata.unwrap_or_default().0);
        shown.retain(|key, _| self.fields.contains(key) || all && !key.starts_with(RESERVED));
        if let Some(uri) = uri.filter(|_| self.fields.contains(URI_FIELD)) {
            shown.insert(URI_FIELD.to_owned(), uri.into());
        }
        (!shown.is_empty()).then_some(Metadata(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(keys: &[&str]) -> SelectedKeys {
        serde_json::from_value::<SelectBody>(serde_json::json!({ "keys": keys })).unwrap().into()
    }

    #[test]
    fn a_selection_is_a_set_that_shows_its_predefined_keys_first() {
        let shown = selection(&["z", "#score", "a", "#document", "#id", "z", "#metadata", "#embedding", "Z"]);
        let expected = ["#document", "#embedding", "#metadata", "#score", "#id", "Z", "a", "z"];
        assert_eq!(shown.shown(), expected);
        assert_eq!(selection(&[]).shown(), [""; 0]);
        assert!(selection(&["#id"]).metadata() && !selection(&["#score"]).metadata());
    }

    #[test]
    fn a_row_of_metadata_has_the_selected_fields_and_is_never_empty() {
        let metadata = || Some(Metadata::from([("a", 1), ("b", 2), ("chroma:document", 3)]));
        let row = |keys: &[&str], metadata| selection(keys).metadata_of(metadata, Some("u".to_owned()));
        assert_eq!(row(&["b", "zz"], metadata()), Some(Metadata::from([("b", 2)])));
        assert_eq!(row(&["#metadata", "b"], metadata()), Some(Metadata::from([("a", 1), ("b", 2)])));
        assert_eq!(row(&["zz"], metadata()), None);
        assert_eq!(row(&["#metadata"], Some(Metadata::default())), None);
        assert_eq!(row(&["#metadata"], None), None);
        assert_eq!(row(&["chroma:uri"], metadata()), Some(Metadata::from([("chroma:uri", "u")])));
        assert_eq!(selection(&["chroma:uri"]).metadata_of(metadata(), None), None);
    }
}
