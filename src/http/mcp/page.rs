//! What an answer holds: so many characters of a text, of the metadata of a record, and in all. What is cut or left out
//! is told in the notes of the answer, with the call that shows it.
//! Invariant: the first record of an answer is always there, so that reading on by `next_offset` comes to an end.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use crate::error::Error;
use crate::record::{MetaValue, Metadata};

/// Characters of all records of an answer, as JSON.
const ANSWER_CHARACTERS: usize = 40_000;
/// Characters of a record's metadata, as JSON.
const METADATA_CHARACTERS: usize = 4_000;

/// A record as an answer shows it.
#[derive(Debug, Default, Serialize)]
pub(super) struct ShownRecord {
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// Parts of a text that is too long to be shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) passages: Vec<String>,
    /// How long the text is, where not all of it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text_characters: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<Map<String, Value>>,
    /// Keys of metadata that are not shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) metadata_left_out: Vec<String>,
}

impl ShownRecord {
    /// Shows at most `most` characters of the text, behind the first `start`.
    pub(super) fn show_text(&mut self, text: &str, start: usize, most: usize) {
        let shown: String = text.chars().skip(start).take(most).collect();
        let whole = text.chars().count();
        self.text_characters = (shown.len() < text.len()).then_some(whole);
        self.text = Some(shown);
    }

    /// Shows metadata, but for sparse vectors, which no model reads, and what is too long.
    pub(super) fn show_metadata(&mut self, metadata: Metadata) {
        let (mut shown, mut left) = (Map::new(), METADATA_CHARACTERS);
        for (key, value) in metadata.0 {
            let json = json!(&value);
            let need = key.chars().count() + json.to_string().chars().count();
            match matches!(value, MetaValue::Sparse(_)) || need > left {
                // A key is shown even where its value is not, unless it is itself the reason.
                true => self.metadata_left_out.push(key.chars().take(100).collect()),
                false => {
                    left -= need;
                    shown.insert(key, json);
                }
            }
        }
        // The keys themselves are bounded as well.
        self.metadata_left_out.truncate(20);
        self.metadata = Some(shown);
    }
}

/// An answer while it is filled.
#[derive(Debug)]
pub(super) struct AnswerPage {
    records: Vec<Value>,
    left: usize,
    cut_text: bool,
    cut_metadata: bool,
    notes: Vec<String>,
}

impl AnswerPage {
    /// An answer without records.
    pub(super) fn new() -> AnswerPage {
        AnswerPage {
            records: Vec::new(),
            left: ANSWER_CHARACTERS,
            cut_text: false,
            cut_metadata: false,
            notes: Vec::new(),
        }
    }

    /// Takes a record in. Returns whether there was room.
    pub(super) fn take(&mut self, record: &ShownRecord) -> Result<bool, Error> {
        let failed = |e| Error::internal("writing the answer failed").with_source(e);
        let json = serde_json::to_value(record).map_err(failed)?;
        let need = json.to_string().chars().count();
        if need > self.left && !self.records.is_empty() {
            return Ok(false);
        }
        self.left = self.left.saturating_sub(need);
        self.cut_text |= record.text_characters.is_some();
        self.cut_metadata |= !record.metadata_left_out.is_empty();
        self.records.push(json);
        Ok(true)
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Tells the model something about the answer.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The answer: the records as `name`, and the notes. `beside` are further fields.
    pub(super) fn answer(mut self, name: &str, beside: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        if self.cut_text {
            self.note(
                "of a text with text_characters, only a part is shown: read with its id shows it, and with start as \
                 well it shows on",
            );
        }
        if self.cut_metadata {
            self.note("values of metadata_left_out are not shown: they are too long, or sparse vectors");
        }
        let mut answer = Map::from_iter([(name.to_owned(), Value::Array(self.records))]);
        answer.extend(beside.into_iter().map(|(key, value)| (key.to_owned(), value)));
        noted(Value::Object(answer), self.notes)
    }
}

/// An answer with notes, if there are any.
pub(super) fn noted(mut answer: Value, notes: impl IntoIterator<Item = String>) -> Value {
    let notes: Vec<String> = notes.into_iter().collect();
    if let Some(fields) = answer.as_object_mut().filter(|_| !notes.is_empty()) {
        fields.insert("notes".to_owned(), json!(notes));
    }
    answer
}

/// Makes an answer on a thread that may compute for long.
pub(super) async fn made<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, ApiError> {
    Ok(crate::compute::off_thread(work).await.map_err(Error::from)??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SparseVector;

    #[test]
    fn a_text_is_cut_between_characters_and_says_how_long_it_is() {
        let mut record = ShownRecord::default();
        record.show_text("äöüß", 1, 2);
        assert_eq!((record.text.as_deref(), record.text_characters), (Some("öü"), Some(4)));
        record.show_text("äöüß", 0, 4);
        assert_eq!((record.text.as_deref(), record.text_characters), (Some("äöüß"), None));
        record.show_text("äöüß", 9, 4);
        assert_eq!((record.text.as_deref(), record.text_characters), (Some(""), Some(4)));
    }

    #[test]
    fn metadata_that_is_too_long_or_a_sparse_vector_is_named_and_not_shown() {
        let mut metadata = Metadata::from([("long", "x".repeat(METADATA_CHARACTERS))]);
        metadata.0.insert("n".to_owned(), 1.into());
        metadata.0.insert("terms".to_owned(), SparseVector::new(vec![1], vec![1.0]).unwrap().into());
        let mut record = ShownRecord::default();
        record.show_metadata(metadata);
        assert_eq!(record.metadata, json!({"n": 1}).as_object().cloned());
        assert_eq!(record.metadata_left_out, ["long", "terms"]);
    }

    #[test]
    fn an_answer_has_its_first_record_however_long_and_no_more_than_its_characters() {
        let record = |characters: usize| ShownRecord { text: Some("x".repeat(characters)), ..ShownRecord::default() };
        let mut page = AnswerPage::new();
        assert!(page.take(&record(ANSWER_CHARACTERS + 1)).unwrap());
        assert!(!page.take(&record(0)).unwrap());
        let mut page = AnswerPage::new();
        while page.take(&record(1_000)).unwrap() {}
        assert_eq!(page.len(), ANSWER_CHARACTERS / 1_020);
        page.note("more");
        let answer = page.answer("records", [("next_offset", json!(39))]);
        assert_eq!((&answer["next_offset"], &answer["notes"]), (&json!(39), &json!(["more"])));
    }
}
