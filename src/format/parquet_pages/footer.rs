//! A check of a footer before the parquet crate parses it. The crate follows a schema to any depth, and allocates
//! memory by the number of children that a group claims.

use parquet::errors::Result;

use super::contradiction;
use super::thrift::{FieldNumbers, LIST, MOST_DEPTH, Read, STRUCT, Stop, Thrift};

/// Most elements of a schema: columns, and the groups that contain them.
const MOST_ELEMENTS: u64 = 20_000;
/// Most levels of nested groups.
const MOST_GROUPS: usize = 32;

/// Refuses a footer whose schema is deeper or larger than any in use.
pub(super) fn check_footer(footer: &[u8]) -> Result<()> {
    match check(&mut Thrift::new(footer)) {
        Ok(()) => Ok(()),
        Err(Stop::End) => Err(contradiction("its footer ends early")),
        Err(Stop::Wrong(what)) => Err(contradiction(format_args!("its footer: {what}"))),
    }
}

fn check(thrift: &mut Thrift<'_>) -> Read<()> {
    thrift.structure(|thrift, field, kind| match (field, kind) {
        (2, LIST) => schema(thrift),
        // Encrypted files say so in fields of their own, and the crate refuses these files.
        _ => thrift.skip(kind, MOST_DEPTH),
    })
}

fn schema(thrift: &mut Thrift<'_>) -> Read<()> {
    let (count, item) = thrift.list()?;
    if item != STRUCT || count > MOST_ELEMENTS {
        return Err(Stop::Wrong("a schema of more elements than can be"));
    }
    // Children still to come, of the groups from the root down.
    let mut open: Vec<i64> = Vec::new();
    for _ in 0..count {
        let mut numbers: FieldNumbers = [None; 12];
        thrift.structure(|thrift, field, kind| thrift.number_or_skip(field, kind, &mut numbers))?;
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        let children = numbers.get(5).copied().flatten().unwrap_or(0);
        if !(0..=MOST_ELEMENTS.cast_signed()).contains(&children) || open.len() > MOST_GROUPS {
            return Err(Stop::Wrong("a schema deeper or wider than can be"));
        }
        if children > 0 {
            open.push(children);
        }
    }
    Ok(())
}
