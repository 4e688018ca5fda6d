//! Compares a copy with its original: the counts, and some records from all over it, field by field.

use rand::Rng;

use super::source::{Chroma, Theirs};
use crate::{Collection, Consistency, Get, Include, Record, Result, Scope};

/// Places that are compared.
const PLACES: usize = 20;
/// Records compared at each.
const RECORDS: usize = 10;

/// What a comparison found.
#[derive(Debug)]
pub enum Comparison {
    /// Both sides have as many records, and all compared ones are equal.
    Same { records: usize, sampled: usize },
    /// What differs.
    Differs(String),
}

/// Compares the collection with its copy; `skipped` records were left out on purpose.
pub async fn compare(
    chroma: &Chroma,
    scope: &Scope,
    theirs: &Theirs,
    ours: &Collection,
    skipped: &[(String, String)],
) -> Result<Comparison> {
    let there = chroma.count(scope, theirs).await?;
    let here = ours.count(Consistency::Strong).await?;
    if here != there.saturating_sub(skipped.len()) as u64 {
        return Ok(Comparison::Differs(format!("{here} records, {there} on the server")));
    }
    let mut offsets: Vec<usize> = match there <= PLACES * RECORDS {
        true => (0..there).step_by(RECORDS).collect(),
        false => (0..PLACES).map(|_| rand::rng().random_range(0..=there - RECORDS)).collect(),
    };
    offsets.sort_unstable();
    let mut sampled = 0;
    for offset in offsets {
        let expected = chroma.records(scope, theirs, offset, RECORDS).await?;
        let found = same_ids(ours, &expected).await?;
        let left_out = |record: &&Record| skipped.iter().any(|(id, _)| *id == record.id);
        for record in expected.iter().filter(|record| !left_out(record)) {
            match found.iter().find(|found| found.id == record.id) {
                None => return Ok(Comparison::Differs(format!("record {:?} is missing", record.id))),
                Some(found) if found != record => {
                    return Ok(Comparison::Differs(format!("record {:?} is not as on the server", record.id)));
                }
                Some(_) => sampled += 1,
            }
        }
    }
    Ok(Comparison::Same { records: there, sampled })
}

async fn same_ids(ours: &Collection, expected: &[Record]) -> Result<Vec<Record>> {
    let ids = expected.iter().map(|record| record.id.clone()).collect();
    let answer = ours.get(Get { ids: Some(ids), include: Include::ALL, ..Get::default() }).await?;
    let records = answer.records.into_iter().map(|found| Record {
        id: found.id,
        embedding: found.embedding.unwrap_or_default(),
        document: found.document,
        uri: found.uri,
        metadata: found.metadata,
    });
    Ok(records.collect())
}
