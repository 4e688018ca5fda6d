//! Batches in the forms of ML pipelines: ndarray matrices and Arrow record batches, in and out. Invariant: an invalid
//! batch is refused whole, with the name of the column and the row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};
use ndarray::ArrayView2;

use crate::collection::handle::Collection;
use crate::collection::request::{Hit, Query, Write, WriteOutcome};
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::interop::record_columns::ColumnChoice;
use crate::interop::record_values::records_within;
use crate::record::{Metadata, Record};

impl Collection {
    /// Inserts one record per row of `embeddings` (n × d, row-major or not); the id of row i is `ids[i]`.
    ///
    /// # Errors
    /// `Invalid` if there are not as many ids as rows; otherwise as [`write`](Collection::write).
    pub async fn add_array(
        &self,
        ids: impl IntoIterator<Item = impl Into<String>>,
        embeddings: ArrayView2<'_, f32>,
    ) -> Result<WriteOutcome> {
        let ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        if ids.len() != embeddings.nrows() {
            let (ids, rows) = (ids.len(), embeddings.nrows());
            return Err(Error::invalid(format!("ids: expected one per embedding, got {ids} ids for {rows} rows")));
        }
        let rows = ids.into_iter().zip(embeddings.rows());
        let records = rows.map(|(id, row)| Record::new(id, row.to_vec()));
        self.write(Write::Add(records.collect())).await
    }

    /// Inserts the rows of a record batch; see [`records_from_batch`] for its columns.
    pub async fn add_batch(&self, batch: &RecordBatch) -> Result<WriteOutcome> {
        self.write(Write::Add(records_from_batch(batch)?)).await
    }

    /// The `k` nearest records to each row of `queries` (q × d).
    pub async fn search_array(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Hit>>> {
        let rows = queries.rows().into_iter().map(|row| row.to_vec());
        self.search_batch(Query::batch(rows).k(k)).await
    }
}

/// Reads records from a batch with the columns `id` and `embedding` and, if present, `document`, `uri` and
/// `metadata`. Ids are text, integers or UUIDs. An embedding is a list of numbers of any width, or text such as
/// `[0.1, 0.2]`. Documents and uris are text. Metadata is a JSON object as text, a struct, or a map with keys of
/// text. Columns may be dictionaries.
///
/// # Errors
/// `Invalid`, with the name of the column, if it is missing, of another type, or null where null is not allowed. Any
/// other column is also refused, so that no misspelt name passes silently.
pub fn records_from_batch(batch: &RecordBatch) -> Result<Vec<Record>> {
    records_from_batch_with(batch, &ColumnChoice::default(), 0)
}

/// Reads records as [`records_from_batch`] does, with columns of other names. `first` is the number of the first row,
/// for messages.
///
/// # Errors
/// As [`records_from_batch`].
pub fn records_from_batch_with(batch: &RecordBatch, columns: &ColumnChoice, first: u64) -> Result<Vec<Record>> {
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let plan = columns.plan(&names)?;
    // The caller holds this batch in memory already; the write checks its records against the limits.
    let unlimited =
        Limits { dimension: usize::MAX, id_bytes: usize::MAX, metadata_bytes: usize::MAX, ..Limits::default() };
    let unlimited = Limits { document_bytes: usize::MAX, ..unlimited };
    records_within(batch, &plan, &unlimited, first, &mut |_| Ok(()))
}

/// The hits of all queries as one batch: `query` (the number of the query embedding, from 0), `id`, `distance`, and
/// the included fields (`embedding` only if every hit has one).
pub fn batch_from_hits(results: &[Vec<Hit>]) -> Result<RecordBatch> {
    let flat: Vec<(u32, &Hit)> =
        (0u32..).zip(results).flat_map(|(query, hits)| hits.iter().map(move |hit| (query, hit))).collect();
    let strings = |get: fn(&Hit) -> Option<String>| -> ArrayRef {
        Arc::new(flat.iter().map(|(_, hit)| get(hit)).collect::<StringArray>())
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("query", Arc::new(flat.iter().map(|(query, _)| *query).collect::<UInt32Array>())),
        ("id", strings(|hit| Some(hit.id.clone()))),
        ("distance", Arc::new(flat.iter().map(|(_, hit)| hit.distance).collect::<Float32Array>())),
        ("document", strings(|hit| hit.document.clone())),
        ("uri", strings(|hit| hit.uri.clone())),
        ("metadata", strings(|hit| hit.metadata.as_ref().map(Metadata::to_json_text))),
    ];
    let vectors: Option<Vec<&Vec<f32>>> = flat.iter().map(|(_, hit)| hit.embedding.as_ref()).collect();
    if let Some((first, vectors)) = vectors.and_then(|v| v.first().map(|first| (first.len(), v.clone()))) {
        let values: Float32Array = vectors.into_iter().flatten().copied().collect();
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        let width = i32::try_from(first).map_err(|_| Error::internal("an embedding is too long for Arrow"))?;
        let list = FixedSizeListArray::try_new_with_length(item, width, Arc::new(values), None, flat.len());
        columns.push(("embedding", Arc::new(list.map_err(unbuildable)?)));
    }
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(unbuildable)
}

fn unbuildable(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("the answer does not fit into an Arrow batch: {error}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int32Array, ListArray};
    use arrow::datatypes::Float32Type;

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
    }

    fn lists(rows: Vec<Option<Vec<Option<f32>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
    }

    fn text_column(rows: &[Option<&str>]) -> ArrayRef {
        Arc::new(rows.iter().copied().collect::<StringArray>())
    }

    #[test]
    fn records_come_out_of_a_batch_as_they_went_in() {
        let columns = vec![
            ("id", text_column(&[Some("a"), Some("b")])),
            ("embedding", lists(vec![Some(vec![Some(1.0), Some(2.0)]), Some(vec![Some(3.0), Some(4.0)])])),
            ("document", text_column(&[Some("one"), None])),
            ("metadata", text_column(&[None, Some(r#"{"n":1.0}"#)])),
        ];
        let records = records_from_batch(&batch(columns)).unwrap();
        assert_eq!(records[0], Record::new("a", vec![1.0, 2.0]).with_document("one"));
        assert_eq!(records[1], Record::new("b", vec![3.0, 4.0]).with_metadata([("n", 1.0)]));
    }

    #[test]
    fn a_batch_that_does_not_fit_is_refused_naming_the_column_and_the_row() {
        let id = || ("id", text_column(&[Some("a")]));
        let embedding = || ("embedding", lists(vec![Some(vec![Some(1.0)])]));
        let cases: Vec<(Vec<(&str, ArrayRef)>, &str)> = vec![
            (vec![embedding()], "column \"id\" is missing"),
            (vec![id()], "column \"embedding\" is missing"),
            (vec![id(), ("embedding", Arc::new(Int32Array::from(vec![1])))], "expected a list of numbers"),
            (vec![id(), ("embedding", lists(vec![None]))], "row 0: embedding is null"),
            (vec![id(), ("embedding", lists(vec![Some(vec![None])]))], "row 0: embedding has a null"),
            (vec![("id", text_column(&[None])), embedding()], "row 0: id is null"),
            (vec![id(), embedding(), ("metadata", text_column(&[Some("[1]")]))], "row 0: metadata"),
            (vec![id(), embedding(), ("documnt", text_column(&[Some("x")]))], "column \"documnt\""),
        ];
        for (columns, expected) in cases {
            let error = records_from_batch(&batch(columns)).unwrap_err();
            assert!(error.message().contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn records_may_come_without_an_embedding_where_the_choice_says_so() {
        let id = || ("id", text_column(&[Some("a"), Some("b")]));
        let document = || ("document", text_column(&[Some("one"), Some("two")]));
        let texts = ColumnChoice::default().with_texts();
        let records = records_from_batch_with(&batch(vec![id(), document()]), &texts, 0).unwrap();
        let alone = |id: &str, document: &str| Record::new(id, Vec::new()).with_document(document);
        assert_eq!(records, [alone("a", "one"), alone("b", "two")]);
        let mixed = batch(vec![id(), document(), ("embedding", lists(vec![None, Some(vec![Some(1.0)])]))]);
        let records = records_from_batch_with(&mixed, &texts, 0).unwrap();
        assert_eq!(records, [alone("a", "one"), Record::new("b", vec![1.0]).with_document("two")]);
        let refused = records_from_batch_with(&mixed, &ColumnChoice::default(), 0).unwrap_err();
        assert!(refused.message().contains("row 0: embedding is null"), "{refused}");
        let named = texts.naming("embedding=v").unwrap();
        let refused = records_from_batch_with(&batch(vec![id(), document()]), &named, 0).unwrap_err();
        assert!(refused.message().contains("column \"v\" is missing"), "{refused}");
    }

    #[test]
    fn hits_become_one_batch_with_a_row_each() {
        let hit =
            |id: &str, distance| Hit { id: id.to_owned(), distance, embedding: Some(vec![1.0, 2.0]), ..Hit::default() };
        let results = vec![vec![hit("a", 0.5)], vec![hit("b", 0.25), hit("a", 0.75)]];
        let batch = batch_from_hits(&results).unwrap();
        assert_eq!(batch.num_rows(), 3);
        assert_eq!(batch["query"].as_primitive::<arrow::datatypes::UInt32Type>().values().as_ref(), [0, 1, 1]);
        assert_eq!(batch["distance"].as_primitive::<Float32Type>().values().as_ref(), [0.5, 0.25, 0.75]);
        assert_eq!(batch["embedding"].as_fixed_size_list().value_length(), 2);
    }
}
