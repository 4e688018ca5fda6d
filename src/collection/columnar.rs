//! Batches as ML pipelines hold them: ndarray matrices and Arrow record batches, in and out.
//! Invariant: a batch that does not fit is refused whole, naming the column and the row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use ndarray::ArrayView2;

use super::handle::Collection;
use super::request::{Hit, Query, QueryAnswer, Write, WriteOutcome};
use crate::error::{Error, Result};
use crate::record::{Metadata, Record};

impl Collection {
    /// Inserts one record per row of `embeddings` (n × d, row-major or not), called `ids[i]`.
    ///
    /// # Errors
    /// `Invalid` if there are not as many ids as rows; otherwise as [`write`](Collection::write).
    pub async fn add_array(&self, ids: &[String], embeddings: ArrayView2<'_, f32>) -> Result<WriteOutcome> {
        if ids.len() != embeddings.nrows() {
            let (ids, rows) = (ids.len(), embeddings.nrows());
            return Err(Error::invalid(format!("ids: expected one per embedding, got {ids} ids for {rows} rows")));
        }
        let rows = ids.iter().zip(embeddings.rows());
        let records = rows.map(|(id, row)| Record::new(id.clone(), row.iter().copied().collect::<Vec<f32>>()));
        self.write(Write::Add(records.collect())).await
    }

    /// Inserts the rows of a record batch; see [`records_from_batch`] for its columns.
    pub async fn add_batch(&self, batch: &RecordBatch) -> Result<WriteOutcome> {
        self.write(Write::Add(records_from_batch(batch)?)).await
    }

    /// The `k` nearest records to each row of `queries` (q × d).
    pub async fn search_array(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<QueryAnswer> {
        let rows = queries.rows().into_iter().map(|row| row.iter().copied().collect());
        self.search(Query::batch(rows.collect()).k(k)).await
    }
}

/// Reads records from a batch with the columns `id` (UTF-8), `embedding` (list or fixed-size list of
/// Float32) and, if present, `document`, `uri` and `metadata` (UTF-8; metadata as a JSON object).
///
/// # Errors
/// `Invalid`, naming the column that is missing, of another type, or null where it must not be; and any
/// column that is none of these, so that a misspelt name does not pass silently.
pub fn records_from_batch(batch: &RecordBatch) -> Result<Vec<Record>> {
    const COLUMNS: [&str; 5] = ["id", "embedding", "document", "uri", "metadata"];
    for field in batch.schema().fields() {
        if !COLUMNS.contains(&field.name().as_str()) {
            return Err(Error::invalid(format!("column {:?}: expected one of {COLUMNS:?}", field.name())));
        }
    }
    let ids = required(text(batch, "id")?, "id")?;
    let embeddings = embeddings(batch)?;
    let (documents, uris, metadatas) = (text(batch, "document")?, text(batch, "uri")?, text(batch, "metadata")?);
    let optional = |column: &Option<StringArray>, row: usize| {
        column.as_ref().filter(|c| !c.is_null(row)).map(|c| c.value(row).to_owned())
    };
    let record = |(row, embedding): (usize, Vec<f32>)| {
        let metadata = optional(&metadatas, row);
        let metadata = metadata.map(|text| Metadata::from_json_text(&text)).transpose();
        Ok(Record {
            id: optional(&Some(ids.clone()), row).ok_or_else(|| null("id", row))?,
            embedding,
            document: optional(&documents, row),
            uri: optional(&uris, row),
            metadata: metadata.map_err(|e| Error::invalid(format!("row {row}: {e}")))?,
        })
    };
    embeddings.into_iter().enumerate().map(record).collect()
}

/// The hits of all queries as one batch: `query` (which of the query embeddings, from 0), `id`,
/// `distance`, and the fields that were included (`embedding` only if every hit has one).
pub fn batch_from_hits(answer: &QueryAnswer) -> Result<RecordBatch> {
    let flat: Vec<(u32, &Hit)> =
        (0u32..).zip(&answer.results).flat_map(|(query, hits)| hits.iter().map(move |hit| (query, hit))).collect();
    let strings = |get: fn(&Hit) -> Option<String>| -> ArrayRef {
        Arc::new(flat.iter().map(|(_, hit)| get(hit)).collect::<StringArray>())
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("query", Arc::new(flat.iter().map(|(query, _)| *query).collect::<UInt32Array>())),
        ("id", strings(|hit| Some(hit.record.id.clone()))),
        ("distance", Arc::new(flat.iter().map(|(_, hit)| hit.distance).collect::<Float32Array>())),
        ("document", strings(|hit| hit.record.document.clone())),
        ("uri", strings(|hit| hit.record.uri.clone())),
        ("metadata", strings(|hit| hit.record.metadata.as_ref().map(Metadata::to_json_text))),
    ];
    let vectors: Option<Vec<&Vec<f32>>> = flat.iter().map(|(_, hit)| hit.record.embedding.as_ref()).collect();
    if let Some((first, vectors)) = vectors.and_then(|v| v.first().map(|first| (first.len(), v.clone()))) {
        let values: Float32Array = vectors.into_iter().flatten().copied().collect();
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        let width = i32::try_from(first).map_err(|_| Error::internal("an embedding is too long for Arrow"))?;
        let list = FixedSizeListArray::try_new(item, width, Arc::new(values), None);
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

fn null(column: &str, row: usize) -> Error {
    Error::invalid(format!("row {row}: {column} is null, expected a value"))
}

fn required(column: Option<StringArray>, name: &str) -> Result<StringArray> {
    column.ok_or_else(|| Error::invalid(format!("column {name:?} is missing")))
}

fn text(batch: &RecordBatch, name: &str) -> Result<Option<StringArray>> {
    let Some(column) = batch.column_by_name(name) else { return Ok(None) };
    match column.data_type() {
        DataType::Utf8 => Ok(Some(column.as_string::<i32>().clone())),
        DataType::LargeUtf8 => Ok(Some(column.as_string::<i64>().iter().collect())),
        DataType::Utf8View => Ok(Some(column.as_string_view().iter().collect())),
        other => Err(Error::invalid(format!("column {name:?}: expected UTF-8 text, got {other}"))),
    }
}

fn embeddings(batch: &RecordBatch) -> Result<Vec<Vec<f32>>> {
    let column = batch.column_by_name("embedding").ok_or_else(|| Error::invalid("column \"embedding\" is missing"))?;
    let wrong = || {
        let got = column.data_type();
        Error::invalid(format!("column \"embedding\": expected a list of Float32, got {got}"))
    };
    let floats = |row: usize, list: Option<ArrayRef>| {
        let list = list.ok_or_else(|| null("embedding", row))?;
        let values = list.as_primitive_opt::<Float32Type>().ok_or_else(wrong)?;
        match values.null_count() {
            0 => Ok(values.values().to_vec()),
            _ => Err(Error::invalid(format!("row {row}: embedding has a null, expected numbers"))),
        }
    };
    match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().iter().enumerate().map(|(row, list)| floats(row, list)).collect(),
        DataType::LargeList(_) => {
            column.as_list::<i64>().iter().enumerate().map(|(row, list)| floats(row, list)).collect()
        }
        DataType::FixedSizeList(..) => {
            column.as_fixed_size_list().iter().enumerate().map(|(row, list)| floats(row, list)).collect()
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, ListArray};

    use super::*;
    use crate::collection::request::Found;
    use crate::record::Version;

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
            (vec![id(), ("embedding", Arc::new(Int32Array::from(vec![1])))], "expected a list of Float32, got Int32"),
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
    fn hits_become_one_batch_with_a_row_each() {
        let hit = |id: &str, distance| Hit {
            distance,
            record: Found { id: id.to_owned(), embedding: Some(vec![1.0, 2.0]), ..Found::default() },
        };
        let results = vec![vec![hit("a", 0.5)], vec![hit("b", 0.25), hit("a", 0.75)]];
        let batch = batch_from_hits(&QueryAnswer { results, version: Version(3) }).unwrap();
        assert_eq!(batch.num_rows(), 3);
        assert_eq!(batch["query"].as_primitive::<arrow::datatypes::UInt32Type>().values().as_ref(), [0, 1, 1]);
        assert_eq!(batch["distance"].as_primitive::<Float32Type>().values().as_ref(), [0.5, 0.25, 0.75]);
        assert_eq!(batch["embedding"].as_fixed_size_list().value_length(), 2);
    }
}
