//! The table from id to row within one chunk: open addressing, four bytes a slot, at most half full. It holds no ids,
//! only the row and 16 bits of each hash, and compares with the chunk's id column.
//! Invariant: every row of the chunk is in the table once, and no two rows have one id.

use arrow::array::{Array, StringArray};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::chunk::CHUNK_ROWS;

/// Hashes ids with a seed of the collection's own, so that nobody can choose ids that collide.
#[derive(Debug, Clone, Copy)]
pub struct IdHasher {
    seed: u64,
}

impl IdHasher {
    pub fn new(seed: u64) -> IdHasher {
        IdHasher { seed }
    }

    pub fn hash(self, id: &str) -> u64 {
        xxh3_64_with_seed(id.as_bytes(), self.seed)
    }
}

/// No row number reaches this one's low half, as a chunk has at most 2¹⁴ rows.
const EMPTY: u32 = u32::MAX;
const _: () = assert!(CHUNK_ROWS < 0xffff);

/// Slots of `tag << 16 | row`, a power of two of them; linear probing from the hash's low bits.
#[derive(Debug)]
pub struct IdTable {
    slots: Box<[u32]>,
}

impl IdTable {
    /// Builds the table of a chunk's ids (at most [`CHUNK_ROWS`]). If two ids are equal, the error is the row of the
    /// second.
    pub fn build(ids: &StringArray, hasher: IdHasher) -> Result<IdTable, usize> {
        let mut table = IdTable { slots: vec![EMPTY; (ids.len() * 2).next_power_of_two()].into() };
        for row in 0..ids.len() {
            let id = ids.value(row);
            let hash = hasher.hash(id);
            let free = table.probe(hash, |other| ids.value(other as usize) == id).err().ok_or(row)?;
            table.slots[free] = tag(hash) << 16 | row as u32;
        }
        Ok(table)
    }

    /// The row with this hash for which `is_it` holds.
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.probe(hash, is_it).ok()
    }

    /// The row, or the free slot where it would be.
    fn probe(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return Err(at);
            }
            if slot >> 16 == tag(hash) && is_it(slot & 0xffff) {
                return Ok(slot & 0xffff);
            }
            at = (at + 1) & mask;
        }
    }

    pub fn size_bytes(&self) -> usize {
        self.slots.len() * 4
    }
}

/// The hash's high 16 bits; the slot comes from the low ones.
fn tag(hash: u64) -> u32 {
    (hash >> 48) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_a_full_chunk_is_found_and_no_other() {
        let ids: StringArray = (0..CHUNK_ROWS).map(|n| Some(format!("record {n}"))).collect();
        let hasher = IdHasher::new(5);
        let table = IdTable::build(&ids, hasher).unwrap();
        let find = |id: &str| table.find(hasher.hash(id), |row| ids.value(row as usize) == id);
        for row in 0..CHUNK_ROWS {
            assert_eq!(find(ids.value(row)), Some(row as u32));
        }
        for n in CHUNK_ROWS..2 * CHUNK_ROWS {
            assert_eq!(find(&format!("record {n}")), None);
        }
    }

    #[test]
    fn a_repeated_id_is_refused_with_its_row() {
        let ids: StringArray = ["a", "b", "a"].into_iter().map(Some).collect();
        assert_eq!(IdTable::build(&ids, IdHasher::new(0)).err(), Some(2));
    }

    #[test]
    fn an_empty_chunk_has_no_ids() {
        let ids = StringArray::from(Vec::<&str>::new());
        let table = IdTable::build(&ids, IdHasher::new(0)).unwrap();
        assert_eq!(table.find(7, |_| true), None);
    }
}
