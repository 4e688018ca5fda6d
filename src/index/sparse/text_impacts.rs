//! The columns of a text index. What a posting counts depends on the parameters of BM25 and on the mean length of the
//! collection's documents, both of which come with a query: the first query makes the columns, and a later one makes
//! them anew where its parameters are too far from theirs.

use std::sync::Arc;

use parking_lot::RwLock;

use super::columns::{ImpactColumns, STEPS};
use crate::format::inverted::TextLists;

/// How many times as much as another contribution one may have changed with the parameters, compared with what columns
/// were made for. Bounds are that much farther from scores.
const MOST_DRIFT: f32 = 1.03;

/// What a frequency is compared with in BM25: k1·(1 − b) + k1·b / average · length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LengthNorm {
    /// k1·(1 − b).
    pub(super) fixed: f32,
    /// k1·b / average.
    pub(super) per_token: f32,
}

/// How contributions by one norm may differ from those by another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Drift {
    /// The least factor.
    pub(super) least: f32,
    /// The largest factor.
    pub(super) most: f32,
}

impl LengthNorm {
    #[inline]
    pub(super) fn of(&self, length: u32) -> f32 {
        self.fixed + self.per_token * length as f32
    }

    /// How contributions by `other` may differ from those by this norm. tf / (tf + x) is at most max(1, y / x) times
    /// tf / (tf + y), and at least min(1, y / x) times; and y / x lies between the quotients of the parts.
    fn drift_to(&self, other: &LengthNorm) -> Drift {
        let quotient = |one: f32, other: f32| if one == other { 1.0 } else { one / other };
        let (fixed, per_token) = (quotient(self.fixed, other.fixed), quotient(self.per_token, other.per_token));
        Drift { least: fixed.min(per_token).min(1.0), most: fixed.max(per_token).max(1.0) }
    }
}

/// Columns with the norm that they were made for.
#[derive(Debug)]
pub(super) struct TextImpacts {
    norm: LengthNorm,
    columns: ImpactColumns,
}

impl TextImpacts {
    fn new(lists: &TextLists, norm: LengthNorm) -> TextImpacts {
        let units = |row: u32, posting: usize, _| {
            let frequency = lists.frequency(posting) as f32;
            let length = lists.lengths.get(row as usize).copied().unwrap_or(0);
            frequency / (frequency + norm.of(length)) * STEPS
        };
        let columns = ImpactColumns::new(&lists.blocks, lists.lengths.len(), |_| Some(1.0 / STEPS), units);
        TextImpacts { norm, columns }
    }

    pub(super) fn columns(&self) -> &ImpactColumns {
        &self.columns
    }

    /// How contributions by this norm differ from what the columns say.
    pub(super) fn drift_to(&self, norm: &LengthNorm) -> Drift {
        self.norm.drift_to(norm)
    }
}

/// The columns of an index, once a query made them.
#[derive(Debug, Default)]
pub(super) struct ImpactCache(RwLock<Option<Arc<TextImpacts>>>);

impl Clone for ImpactCache {
    fn clone(&self) -> ImpactCache {
        ImpactCache(RwLock::new(self.0.read().clone()))
    }
}

impl PartialEq for ImpactCache {
    /// Indexes are equal whether or not they were searched.
    fn eq(&self, _: &ImpactCache) -> bool {
        true
    }
}

impl ImpactCache {
    /// The columns for queries by a norm.
    pub(super) fn get(&self, lists: &TextLists, norm: LengthNorm) -> Arc<TextImpacts> {
        let kept = self.0.read().clone();
        let fits = |impacts: &Arc<TextImpacts>| {
            let Drift { least, most } = impacts.drift_to(&norm);
            most <= MOST_DRIFT * least
        };
        kept.filter(fits).unwrap_or_else(|| {
            // Not while the lock is held: of several queries that make them at once, the last one's are kept.
            let made = Arc::new(TextImpacts::new(lists, norm));
            *self.0.write() = Some(made.clone());
            made
        })
    }

    /// Bytes on the heap.
    pub(super) fn size_bytes(&self) -> usize {
        self.0.read().as_ref().map_or(0, |impacts| impacts.columns.size_bytes())
    }
}
