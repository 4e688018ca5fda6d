//! The values of one key in a chunk, read from the columns that filters use: for facets and for groups.
//! Invariant: values are those that filters compare, so that a filter for a value selects the rows that are named
//! with it. Sparse vectors are no values here.

use roaring::RoaringBitmap;

use super::columns::{BLOCK_ROWS, Columns};
use super::scalar::{Number, ScalarRef};
use crate::error::Result;
use crate::record::MetaValue;

impl Columns {
    /// Visits each value that some of `rows` have under a key, with how many of them have it; in no order, and once
    /// for each block. Of a list, each element is a value of its row.
    ///
    /// # Errors
    /// The first that `visit` returns.
    pub fn each_value(
        &self,
        key: &str,
        rows: &RoaringBitmap,
        visit: &mut dyn FnMut(MetaValue, u64) -> Result<()>,
    ) -> Result<()> {
        for (first, block) in (0u32..).step_by(BLOCK_ROWS).zip(&self.blocks) {
            let Some(column) = block.keys.get(key) else { continue };
            for postings in [Some(&column.scalars), column.elements.as_deref()].into_iter().flatten() {
                postings.each(|value, having| {
                    let count = having.iter().filter(|row| rows.contains(first + u32::from(**row))).count();
                    match owned(value).filter(|_| count > 0) {
                        Some(value) => visit(value, count as u64),
                        None => Ok(()),
                    }
                })?;
            }
        }
        Ok(())
    }

    /// The rows that have a string, a number or a boolean under a key.
    pub fn with_scalar(&self, key: &str) -> RoaringBitmap {
        let mut rows = RoaringBitmap::new();
        for (first, block) in (0u32..).step_by(BLOCK_ROWS).zip(&self.blocks) {
            let Some(column) = block.keys.get(key) else { continue };
            rows.extend(column.scalars.rows().map(|row| first + u32::from(row)));
        }
        rows
    }
}

/// The value as metadata has it; `None` for dates, which only filters have.
fn owned(value: ScalarRef<'_>) -> Option<MetaValue> {
    Some(match value {
        ScalarRef::Bool(b) => MetaValue::Bool(b),
        ScalarRef::Number(Number::Int(i)) => MetaValue::Int(i),
        ScalarRef::Number(Number::Float(f)) => MetaValue::Float(f),
        ScalarRef::Str(s) => MetaValue::Str(s.to_owned()),
        ScalarRef::Date(_) => return None,
    })
}
