//! Many vectors at once: an ndarray matrix and an Arrow record batch go in, a batch of queries comes out as Arrow.
//!
//!     cargo run --release --example bulk

use std::sync::Arc;

use arrow::array::{FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use drumlin::arrow::batch_from_hits;
use drumlin::{CollectionSpec, Metric, Query, Store};
use ndarray::Array2;

const DIM: usize = 32;

fn matrix(rows: usize, shift: f32) -> Array2<f32> {
    Array2::from_shape_fn((rows, DIM), |(row, column)| ((row * 31 + column * 17) as f32 * 0.37 + shift).sin())
}

fn batch(rows: usize) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let values = Float32Array::from_iter_values(matrix(rows, 1.0));
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let embeddings = FixedSizeListArray::try_new(item, DIM as i32, Arc::new(values), None)?;
    let ids = StringArray::from_iter_values((0..rows).map(|n| format!("arrow-{n}")));
    Ok(RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("embedding", Arc::new(embeddings) as _)])?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open("memory://").await?;
    let bulk = store.create_collection(CollectionSpec::new("bulk").metric(Metric::L2).dimension(DIM)).await?;
    bulk.add_array((0..1000).map(|n| format!("array-{n}")), matrix(1000, 0.0).view()).await?;
    bulk.add_batch(&batch(1000)?).await?;

    let queries = matrix(3, 1.0);
    let lists = bulk.search_batch(Query::batch(queries.rows().into_iter().map(|row| row.to_vec())).k(2)).await?;
    let answer = batch_from_hits(&lists)?;
    println!(
        "{} rows with the columns {:?}",
        answer.num_rows(),
        answer.schema().fields().iter().map(|f| f.name()).collect::<Vec<_>>()
    );
    store.close(std::time::Duration::from_secs(10)).await?;
    Ok(())
}
