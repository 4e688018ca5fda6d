//! The nearest of the records that match: filters on metadata and documents, built by functions.
//!
//!     cargo run --example filters

use drumlin::{Filter, Get, Query, Record, Selection, Store};

#[tokio::main]
async fn main() -> drumlin::Result<()> {
    let store = Store::open("memory://").await?;
    let pages = store.create_collection("pages").await?;
    let page = |n: i64| {
        let document = if n % 3 == 0 { "a draft" } else { "the final text" };
        Record::new(format!("p{n}"), vec![n as f32, 1.0]).with_document(document).with_metadata([("page", n)])
    };
    pages.add((0..30).map(page)).await?;

    let final_ones = Filter::and([Filter::gte("page", 10), !Filter::document_contains("draft")]);
    let hits = pages.search(Query::new([0.0, 1.0]).k(3).filter(final_ones.clone())).await?;
    println!("nearest: {:?}", hits.iter().map(|hit| &hit.id).collect::<Vec<_>>());

    let listed = pages.get(Get::all().filter(final_ones).limit(2)).await?;
    println!("first of them: {:?}", listed.records.iter().map(|record| &record.id).collect::<Vec<_>>());

    let gone = pages.delete(Selection::matching(Filter::lt("page", 10))).await?;
    println!("deleted: {}", gone.applied);
    store.close(std::time::Duration::from_secs(10)).await
}
