//! How many records a search compares with what is searched for.

use std::cell::Cell;

/// Counts distances and scores that a search computes. The exact distance of a record that was already compared by its
/// codes is not counted again.
#[derive(Debug, Default)]
pub struct Compared(Cell<u64>);

impl Compared {
    /// Counts so many more.
    pub fn add(&self, records: u64) {
        self.0.set(self.0.get().saturating_add(records));
    }

    /// How many were counted.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}
