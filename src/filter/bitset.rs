//! A set of row numbers of one block as plain bits, 64 rows a word. The leaves of a filter produce such sets, and its
//! inner nodes combine them.
//! Invariant: bits at `rows` and beyond are 0.

use roaring::RoaringBitmap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bitset {
    words: Vec<u64>,
    rows: usize,
}

impl Bitset {
    pub(super) fn empty(rows: usize) -> Bitset {
        Bitset { words: vec![0; rows.div_ceil(64)], rows }
    }

    pub(super) fn full(rows: usize) -> Bitset {
        let mut set = Bitset::empty(rows);
        set.complement();
        set
    }

    /// Adds a row; ignores one past the end.
    pub(super) fn insert(&mut self, row: usize) {
        debug_assert!(row < self.rows);
        if let Some(word) = self.words.get_mut(row / 64) {
            *word |= 1 << (row % 64);
        }
    }

    pub(super) fn complement(&mut self) {
        self.words.iter_mut().for_each(|w| *w = !*w);
        if let (Some(last), beyond @ 1..) = (self.words.last_mut(), self.rows % 64) {
            *last &= (1 << beyond) - 1;
        }
    }

    pub(super) fn intersect(&mut self, other: &Bitset) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    pub(super) fn unite(&mut self, other: &Bitset) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    pub(super) fn subtract(&mut self, other: &Bitset) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// The rows, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest.checked_sub(1)?;
                Some(i * 64 + bit)
            })
        })
    }

    /// The rows as a bitmap in which row 0 is number `offset`, a multiple of 8.
    pub(super) fn to_bitmap(&self, offset: u32) -> RoaringBitmap {
        let bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        RoaringBitmap::from_lsb0_bytes(offset, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complement_never_holds_rows_past_the_end() {
        for rows in [0, 1, 63, 64, 65, 130] {
            let full = Bitset::full(rows);
            assert_eq!(full.iter().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
            assert_eq!(full.to_bitmap(0).len(), rows as u64);
        }
    }

    #[test]
    fn a_bitmap_numbers_rows_from_its_offset() {
        let mut set = Bitset::empty(100);
        set.insert(0);
        set.insert(99);
        assert_eq!(set.to_bitmap(1 << 16).iter().collect::<Vec<_>>(), [65_536, 65_635]);
    }
}
