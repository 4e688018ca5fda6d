//! The fold of a stream's rows, as far as checking needs it: the last row of each id. An id is identified by its
//! 128-bit hash, so a record of any size takes some 80 bytes here.
//! Invariant: rows are taken in ascending order of addresses.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::Array;
use xxhash_rust::xxh3::xxh3_128;

use crate::format::{FormatError, RowOp, Rows};
use crate::record::{Address, Version};

/// The last row of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Latest {
    address: u64,
    position: u64,
    embedded: u64,
    live: bool,
}

/// The last row of every id.
#[derive(Debug, Default)]
pub struct Fold {
    rows: HashMap<u128, Latest>,
    last: Option<u64>,
    /// The metadata of live records by id, if it is wanted: it holds the catalog's records.
    texts: Option<BTreeMap<String, String>>,
    /// Metadata and document of live records by id, if these are records of files.
    files: Option<BTreeMap<String, RecordTexts>>,
}

/// The texts of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordTexts {
    pub metadata: Option<String>,
    pub document: Option<String>,
}

fn damaged<T>(what: String) -> Result<T, FormatError> {
    Err(FormatError::Damaged(what))
}

impl Fold {
    /// A fold that also keeps the metadata of live records.
    pub fn with_texts() -> Fold {
        Fold { texts: Some(BTreeMap::new()), ..Fold::default() }
    }

    /// A fold that also keeps the texts of live records of files.
    pub fn with_files() -> Fold {
        Fold { files: Some(BTreeMap::new()), ..Fold::default() }
    }

    /// Takes in a row group of the segment that begins with version `lo`.
    pub fn take_segment(&mut self, rows: &Rows, lo: Version) -> Result<(), FormatError> {
        let Some(addresses) = rows.addresses.as_ref() else { return damaged("its rows have no addresses".to_owned()) };
        for (row, address) in addresses.iter().enumerate() {
            let own = Latest {
                address: address.unwrap_or(0),
                position: value(&rows.positions, row).unwrap_or(0),
                embedded: value(&rows.embedded, row).unwrap_or(0),
                live: rows.ops.get(row) == Some(&RowOp::Put),
            };
            if let Some(old) = self.rows.get(&hash(rows.id(row)))
                && Address(old.address).version() >= lo
            {
                return damaged(format!("the id {:?} is in it twice", rows.id(row)));
            }
            self.take_row(rows, row, own)?;
        }
        Ok(())
    }

    /// Takes in the rows of commit `version`. A row that carries on an older position or embedding must belong to a
    /// live record, and must name that record's own.
    pub fn take_commit(&mut self, rows: &Rows, version: Version) -> Result<(), FormatError> {
        let mut seen = HashSet::with_capacity(rows.len());
        for row in 0..rows.len() {
            let Some(Address(address)) = Address::new(version, row) else {
                return damaged(format!("commit {version} has more rows than addresses"));
            };
            let id = rows.id(row);
            if !seen.insert(id) {
                return damaged(format!("the id {id:?} is in it twice"));
            }
            let live = rows.ops.get(row) == Some(&RowOp::Put);
            let (position, embedded) = (value(&rows.positions, row), value(&rows.embedded, row));
            let old = self.rows.get(&hash(id)).filter(|old| old.live);
            for (name, named, real) in
                [("position", position, old.map(|o| o.position)), ("embedded", embedded, old.map(|o| o.embedded))]
            {
                // The catalog's records have no embeddings, so these fields have no meaning there.
                if live && self.texts.is_none() && named.is_some() && named != real {
                    return damaged(format!("row {row}: {name} names {named:?}, the record {id:?} has {real:?}"));
                }
            }
            let (position, embedded) = (position.unwrap_or(address), embedded.unwrap_or(address));
            self.take_row(rows, row, Latest { address, position, embedded, live })?;
        }
        Ok(())
    }

    fn take_row(&mut self, rows: &Rows, row: usize, own: Latest) -> Result<(), FormatError> {
        if self.last.is_some_and(|last| last >= own.address) {
            return damaged(format!("row {row}: its address {} does not follow the one before", own.address));
        }
        self.last = Some(own.address);
        let id = rows.id(row);
        if let Some(texts) = &mut self.texts {
            match (own.live, Rows::text(&rows.metadatas, row)) {
                (true, Some(text)) => drop(texts.insert(id.to_owned(), text.to_owned())),
                _ => drop(texts.remove(id)),
            }
        }
        if let Some(files) = &mut self.files {
            let text = |column| Rows::text(column, row).map(str::to_owned);
            let texts = RecordTexts { metadata: text(&rows.metadatas), document: text(&rows.documents) };
            match own.live {
                true => drop(files.insert(id.to_owned(), texts)),
                false => drop(files.remove(id)),
            }
        }
        self.rows.insert(hash(id), own);
        Ok(())
    }

    /// Forgets everything: nothing remains after a `drop`.
    pub fn clear(&mut self) {
        self.rows.clear();
        if let Some(files) = &mut self.files {
            files.clear();
        }
    }

    /// The texts of live records of files, if they were wanted.
    pub fn files(&self) -> Option<&BTreeMap<String, RecordTexts>> {
        self.files.as_ref()
    }

    /// Live records.
    pub fn live(&self) -> u64 {
        self.rows.values().filter(|row| row.live).count() as u64
    }

    /// Addresses of the embeddings of live records.
    pub fn embedded(&self) -> HashSet<u64> {
        self.rows.values().filter(|row| row.live).map(|row| row.embedded).collect()
    }

    /// The metadata of live records by id, if it was wanted.
    pub fn into_texts(self) -> BTreeMap<String, String> {
        self.texts.unwrap_or_default()
    }

    /// Compares this fold, of segments, with `log`, the fold of some of the same commits up to the same version.
    /// Returns the difference, if there is one.
    pub fn disagrees(&self, log: &LogFold) -> Option<String> {
        log.0.iter().find_map(|(id, (address, live))| {
            let here = self.rows.get(id).map(|row| (row.address, row.live));
            let fits = match (live, here) {
                (_, Some(found)) => found == (*address, *live),
                // A segment from version 1 on leaves out deleted records.
                (false, None) => true,
                (true, None) => false,
            };
            let of = Address(*address);
            (!fits)
                .then(|| format!("the log's row {} of commit {} is not what the segments hold", of.row(), of.version()))
        })
    }
}

/// The last row of every id in commits that segments already hold.
#[derive(Debug, Default)]
pub struct LogFold(HashMap<u128, (u64, bool)>);

impl LogFold {
    /// Takes in the rows of commit `version`.
    pub fn take(&mut self, rows: &Rows, version: Version) {
        for row in 0..rows.len() {
            let Some(Address(address)) = Address::new(version, row) else { return };
            self.0.insert(hash(rows.id(row)), (address, rows.ops.get(row) == Some(&RowOp::Put)));
        }
    }
}

fn hash(id: &str) -> u128 {
    xxh3_128(id.as_bytes())
}

fn value(column: &arrow::array::UInt64Array, row: usize) -> Option<u64> {
    (!column.is_null(row)).then(|| column.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Row;

    fn put(id: &str, position: Option<u64>) -> Row {
        Row { op: RowOp::Put, position: position.map(Address), ..Row::delete(id) }
    }

    fn rows(rows: impl IntoIterator<Item = Row>) -> Rows {
        rows.into_iter().collect()
    }

    #[test]
    fn a_fold_counts_what_lives_and_refuses_rows_of_records_that_are_not_there() {
        let mut fold = Fold::default();
        fold.take_commit(&rows([put("a", None), put("b", None)]), Version(1)).unwrap();
        fold.take_commit(&rows([Row::delete("a"), put("b", Some(1 << 24 | 1))]), Version(2)).unwrap();
        assert_eq!(fold.live(), 1);
        assert_eq!(fold.embedded(), HashSet::from([2 << 24 | 1]));
        let dead = fold.take_commit(&rows([put("a", Some(1 << 24))]), Version(3)).unwrap_err();
        assert!(dead.to_string().contains("position names"), "{dead}");
        let twice = fold.take_commit(&rows([put("c", None), put("c", None)]), Version(4)).unwrap_err();
        assert!(twice.to_string().contains("twice"), "{twice}");
    }

    #[test]
    fn segments_that_lack_a_row_of_the_log_are_noticed() {
        let (first, second) = (rows([put("a", None), put("b", None)]), rows([Row::delete("a"), put("b", None)]));
        let mut log = LogFold::default();
        log.take(&first, Version(1));
        let mut segments = Fold::default();
        segments.take_segment(&first.resolve_addresses(Version(1)).unwrap(), Version(1)).unwrap();
        assert_eq!(segments.disagrees(&log), None);
        log.take(&second, Version(2));
        assert!(segments.disagrees(&log).unwrap().contains("of commit 2"));
        segments.take_segment(&second.resolve_addresses(Version(2)).unwrap(), Version(2)).unwrap();
        assert_eq!(segments.disagrees(&log), None);
    }
}
