//! Records out as a Parquet file, a row group at a time, so that a whole collection can be answered in bounded memory.
//! Invariant: what is held beside the records that come is one row group, at most [`GROUP_BYTES`] or one record, and
//! what each group adds to the footer.

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::records_out::RecordTable;
use crate::collection::request::{Found, Include};
use crate::error::{Error, Result};
use crate::record::Version;

/// Bytes of a row group at which it ends.
pub const GROUP_BYTES: usize = 4 << 20;

/// The file under way.
pub struct ParquetStream {
    table: RecordTable,
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetStream {
    /// Begins a file of records with these fields; its property `version` is the version that was read. Without
    /// dimensions there is no column of embeddings.
    ///
    /// # Errors
    /// `Internal` only: all data comes from the store.
    pub fn begin(include: Include, dimension: usize, version: Version) -> Result<ParquetStream> {
        let table = RecordTable::new(Include { embedding: include.embedding && dimension > 0, ..include }, dimension)?;
        let floats = ColumnPath::from(vec!["embedding".to_owned(), "list".to_owned(), "element".to_owned()]);
        let zstd = ZstdLevel::try_new(1).map_err(unwritable)?;
        let properties = WriterProperties::builder()
            .set_created_by(format!("drumlin {}", env!("CARGO_PKG_VERSION")))
            .set_compression(Compression::ZSTD(zstd))
            .set_column_dictionary_enabled(floats, false)
            .set_key_value_metadata(Some(vec![KeyValue::new("version".to_owned(), version.to_string())]))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), table.schema().clone(), Some(properties)).map_err(unwritable)?;
        Ok(ParquetStream { table, writer })
    }

    /// Appends records, and moves the bytes written so far to `into`.
    pub fn push(&mut self, records: &[Found], into: &mut Vec<u8>) -> Result<()> {
        let batch = self.table.batch(records)?;
        self.writer.write(&batch).map_err(unwritable)?;
        if self.writer.memory_size() >= GROUP_BYTES {
            self.writer.flush().map_err(unwritable)?;
        }
        into.append(self.writer.inner_mut());
        Ok(())
    }

    /// Ends the file.
    pub fn finish(&mut self, into: &mut Vec<u8>) -> Result<()> {
        self.writer.finish().map_err(unwritable)?;
        into.append(self.writer.inner_mut());
        Ok(())
    }
}

fn unwritable(cause: ParquetError) -> Error {
    Error::internal("the answer could not be written as parquet").with_source(cause)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn found(n: usize) -> Found {
        // Numbers that do not compress: a row group ends by what it takes.
        let mut rng = StdRng::seed_from_u64(n as u64);
        let embedding = Some((0..384).map(|_| rng.random_range(0.0f32..1.0)).collect());
        Found { id: format!("r{n}"), embedding, document: Some(format!("number {n}")), uri: None, metadata: None }
    }

    #[test]
    fn a_file_is_written_group_by_group_and_holds_no_more_than_one() {
        let include = Include { embedding: true, document: true, ..Include::NONE };
        let mut stream = ParquetStream::begin(include, 384, Version(7)).unwrap();
        let (mut file, mut held) = (Vec::new(), 0);
        for page in 0..200 {
            let records: Vec<Found> = (0..50).map(|n| found(page * 50 + n)).collect();
            stream.push(&records, &mut file).unwrap();
            held = held.max(stream.writer.memory_size());
        }
        stream.finish(&mut file).unwrap();
        assert!(held <= GROUP_BYTES, "{held} bytes were held");
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        let metadata = reader.metadata().clone();
        assert!(metadata.num_row_groups() > 2, "{} groups", metadata.num_row_groups());
        let properties = metadata.file_metadata().key_value_metadata().unwrap();
        assert!(properties.iter().any(|p| p.key == "version" && p.value.as_deref() == Some("7")));
        let rows: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 10_000);
    }

    #[test]
    fn records_without_embeddings_have_no_column_of_them() {
        let mut stream = ParquetStream::begin(Include { embedding: true, ..Include::NONE }, 0, Version(1)).unwrap();
        let mut file = Vec::new();
        stream.push(&[Found { embedding: None, document: None, ..found(1) }], &mut file).unwrap();
        stream.finish(&mut file).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        let names: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["id"]);
    }
}
