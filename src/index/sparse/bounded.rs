//! Searches by bounds: of queries for any of several words or dimensions, nothing else being asked of a row. Where most
//! postings are of lists that have to be read, bounds of the scores of all rows are added up, by columns where there are
//! any, and only rows are scored whose bound reaches the k-th best of what scores are at least. Where few postings are,
//! these are added up, and their rows looked up in the other lists.
//! Invariant: that of all evaluations: rows that are not scored are strictly below the k-th best score.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::Collector;
use super::columns::ImpactColumn;
use super::evaluate::{ListQuery, ListTerm, Scores};
use super::window::{ScoreWindow, WINDOW_ROWS};
use crate::error::Result;
use crate::format::inverted::BLOCK_POSTINGS;
use crate::index::kernel::{kernels, prefetch};

/// Postings of a list that are looked at to know a threshold from the start.
const SAMPLE: usize = 128;
/// Lists of which that is done.
const SAMPLED_LISTS: usize = 2;
/// A query of more clauses has too many columns for it to pay.
const SAMPLED_CLAUSES: usize = 8;
/// Where lists that have to be read have one posting for fewer rows, the scores of all rows are bounded.
const ROWS_PER_POSTING: usize = 128;
/// Lists that need not be read are, if they have at most so many times the postings of those that have to be: that costs
/// less than looking rows up.
const READ_FACTOR: u64 = 16;
/// More rows to score than this are too many: their bounds are too far from their scores.
const MOST_CANDIDATES: usize = 1024;
/// Where less than one row in so many is allowed, those are gone through instead of the sums.
const FEW: u64 = 16;
/// How far ahead of the postings that are added up the next are fetched into the cache.
const AHEAD_POSTINGS: usize = 2 * BLOCK_POSTINGS;

/// Whether so few of the best rows are wanted that bounds may leave out most others.
pub(super) fn bounds_pay(limit: usize) -> bool {
    (1..=MOST_CANDIDATES / 2).contains(&limit)
}

/// A score, in the order of numbers.
#[derive(Debug, PartialEq)]
struct OrderedScore(f32);

impl Eq for OrderedScore {}

impl Ord for OrderedScore {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for OrderedScore {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The k largest of some scores.
struct Largest {
    limit: usize,
    kept: BinaryHeap<Reverse<OrderedScore>>,
}

impl Largest {
    fn new(limit: usize) -> Largest {
        Largest { limit, kept: BinaryHeap::new() }
    }

    /// Whether the score is one of them so far, and they are k.
    fn push(&mut self, score: f32) -> bool {
        if self.kept.len() < self.limit {
            self.kept.push(Reverse(OrderedScore(score)));
            return self.kept.len() == self.limit;
        }
        let lowest = self.kept.peek_mut().filter(|lowest| lowest.0.0 < score);
        lowest.map(|mut lowest| *lowest = Reverse(OrderedScore(score))).is_some()
    }

    /// The least of them, once they are k.
    fn kth(&self) -> Option<f32> {
        self.kept.peek().filter(|_| self.kept.len() == self.limit).map(|least| least.0.0)
    }
}

/// Where a window has come to in a list.
struct ListCursor {
    clause: usize,
    block: usize,
    posting: usize,
}

impl ListCursor {
    fn new<S: Scores>(query: &ListQuery<'_, S>, clause: usize) -> ListCursor {
        let block = query.clauses[clause].blocks.start;
        ListCursor { clause, block, posting: query.blocks.postings_of(block).start }
    }

    /// Calls `add` with the place in the window, and the contribution, of each posting up to the row `end`.
    #[inline]
    fn each<S: Scores>(&mut self, query: &ListQuery<'_, S>, window: Range<u32>, mut add: impl FnMut(usize, f32)) {
        let (list, blocks) = (&query.clauses[self.clause], query.blocks);
        while self.block < list.blocks.end && blocks.block_rows[self.block] < window.end {
            let base = blocks.block_rows[self.block];
            let mut postings = self.posting..blocks.postings_of(self.block).end;
            let ahead = postings.start + AHEAD_POSTINGS..postings.end + AHEAD_POSTINGS;
            prefetch(blocks.rows.get(ahead.clone()).unwrap_or_default());
            query.scores.prefetch(ahead);
            let rows = &blocks.rows[postings.clone()];
            let goes_on = rows.last().is_some_and(|last| base + u32::from(*last) >= window.end);
            if goes_on {
                postings.end = postings.start + rows.partition_point(|row| base + u32::from(*row) < window.end);
            }
            self.posting = postings.end;
            let shift = base.wrapping_sub(window.start);
            query.scores.each(blocks, self.block, (list.weight, postings), |row, contribution| {
                add(shift.wrapping_add(u32::from(row)) as usize % WINDOW_ROWS, contribution);
            });
            if goes_on {
                return;
            }
            self.block += 1;
        }
    }
}

/// Rows that may be among the best.
struct BoundedRows {
    /// What scores are at least.
    least: Largest,
    /// With what their scores are at most.
    rows: Vec<(u32, f32)>,
    /// How much less than its sum a score may be.
    error: f32,
    /// The part of a sum that its score is at least, but for the error.
    keep: f32,
    /// How much more than its sum a score may be.
    rest: f32,
    /// Rows whose sum is below are not among the best.
    cut: f32,
}

impl BoundedRows {
    #[inline]
    fn take(&mut self, row: u32, sum: f32, slack: f32, collector: &dyn Collector) {
        self.rows.push((row, sum));
        if self.least.push(sum * self.keep - self.error)
            && let Some(least) = self.least.kth()
        {
            self.cut = self.cut.max(collector.threshold_at(least - slack) - slack - self.rest);
        }
    }

    /// Drops the rows that no longer may be among the best; whether few are left.
    fn are_few(&mut self) -> bool {
        if self.rows.len() > MOST_CANDIDATES {
            let cut = self.cut;
            self.rows.retain(|(_, sum)| *sum >= cut);
        }
        self.rows.len() <= MOST_CANDIDATES
    }
}

impl<S: Scores> ListQuery<'_, S> {
    /// Offers the best rows, of which there may be `limit`. `false`: this is no way to search for them, and none was
    /// offered.
    pub(super) fn run_bounded(
        &mut self,
        window: &mut ScoreWindow,
        limit: usize,
        collector: &mut dyn Collector,
    ) -> Result<bool> {
        let threshold = self.sampled_threshold(limit, collector).max(collector.threshold());
        let (mut essential, others) = self.essential(threshold);
        let mut postings: u64 = essential.iter().map(|clause| self.postings_in(&self.clauses[*clause])).sum();
        let mut looked_up = Vec::new();
        for clause in others {
            let list = &self.clauses[clause];
            let more = self.postings_in(list);
            if list.column.is_none() && more <= READ_FACTOR * postings {
                essential.push(clause);
                postings += more;
            } else {
                looked_up.push(clause);
            }
        }
        if postings as usize * ROWS_PER_POSTING > self.restrictions.rows as usize {
            return window.bound_all(self, limit, threshold, collector);
        }
        window.look_up(self, (&essential, &looked_up), (limit, threshold), collector)?;
        Ok(true)
    }

    /// A threshold that the best rows reach: the k-th best of what some rows of the rarest terms score at least.
    fn sampled_threshold(&self, limit: usize, collector: &dyn Collector) -> f32 {
        let columns: Vec<ImpactColumn<'_>> = self.clauses.iter().filter_map(|clause| clause.column).collect();
        if self.clauses.len() > SAMPLED_CLAUSES {
            return f32::NEG_INFINITY;
        }
        let lists = self.by_bound.iter().rev().map(|clause| &self.clauses[*clause]);
        let keep = self.columns.map_or(1.0, |columns| columns.keep);
        let of_list = |list: &ListTerm<'_>| {
            let mut best = Largest::new(limit);
            for (row, posting) in self.blocks.postings(list.blocks.clone()).take(SAMPLE) {
                if self.restrictions.allowed.is_none_or(|allowed| allowed.contains(row)) {
                    let own = self.scores.contribution(list.weight, posting, row);
                    best.push(own + keep * columns.iter().map(|column| column.least_of(row)).sum::<f32>());
                }
            }
            best.kth()
        };
        let lists = lists.filter(|list| list.column.is_none() && self.postings_in(list) >= limit as u64);
        let best = lists.take(SAMPLED_LISTS).filter_map(of_list).fold(f32::NEG_INFINITY, f32::max);
        collector.threshold_at(best - self.slack)
    }

    /// The clauses of which a row at or above the threshold has one, and the others.
    fn essential(&self, threshold: f32) -> (Vec<usize>, Vec<usize>) {
        let mut rest = 0.0;
        let low = self.by_bound.iter().take_while(|clause| {
            rest += self.clauses[**clause].bound;
            rest + self.slack < threshold
        });
        let (low, high) = self.by_bound.split_at(low.count());
        (high.to_vec(), low.to_vec())
    }
}

impl ScoreWindow {
    /// Bounds the scores of all rows.
    fn bound_all<S: Scores>(
        &mut self,
        query: &mut ListQuery<'_, S>,
        limit: usize,
        threshold: f32,
        collector: &mut dyn Collector,
    ) -> Result<bool> {
        let with_column = |clause: &usize| query.clauses[*clause].column.is_some();
        let (columns, lists): (Vec<usize>, Vec<usize>) = (0..query.clauses.len()).partition(with_column);
        let columns: Vec<ImpactColumn<'_>> =
            columns.iter().filter_map(|clause| query.clauses[*clause].column).collect();
        let mut lists: Vec<ListCursor> = lists.into_iter().map(|clause| ListCursor::new(query, clause)).collect();
        let units: Vec<f32> = columns.iter().map(|column| column.unit).collect();
        let mut found = BoundedRows {
            least: Largest::new(limit),
            rows: Vec::new(),
            error: units.iter().sum::<f32>() + query.slack,
            keep: query.columns.map_or(1.0, |columns| columns.keep),
            rest: 0.0,
            // Rows without a term have the sum 0.
            cut: (threshold - query.slack).max(f32::MIN_POSITIVE),
        };
        let (rows, mut codes) = (query.restrictions.rows, Vec::new());
        let mut first = 0;
        while first < rows && found.are_few() {
            query.restrictions.interrupt.check()?;
            let end = rows.min(first + WINDOW_ROWS as u32);
            let count = (end - first) as usize;
            codes.clear();
            codes.extend(columns.iter().map(|column| &column.codes[first as usize..end as usize]));
            kernels().sum_codes(&codes, &units, &mut self.sums[..count]);
            self.sums[count..count.next_multiple_of(64)].fill(-0.0);
            for list in &mut lists {
                list.each(query, first..end, |at, contribution| self.sums[at] += contribution);
            }
            self.take_bounded(query, first..end, &mut found, collector);
            first = end;
        }
        self.sums[..(first as usize).min(WINDOW_ROWS).next_multiple_of(64)].fill(-0.0);
        if !found.are_few() || threshold.max(found.least.kth().unwrap_or(0.0)) <= 0.0 {
            return Ok(false);
        }
        let cut = found.cut;
        for (row, _) in found.rows.iter().filter(|(_, sum)| *sum >= cut) {
            query.consider(*row, f32::INFINITY, collector);
        }
        Ok(true)
    }

    /// Takes the rows of a window whose sums reach the cut.
    fn take_bounded<S: Scores>(
        &mut self,
        query: &ListQuery<'_, S>,
        window: Range<u32>,
        found: &mut BoundedRows,
        collector: &dyn Collector,
    ) {
        let (allowed, slack) = (query.restrictions.allowed, query.slack);
        if let Some(few) = allowed.filter(|allowed| allowed.len() * FEW < u64::from(query.restrictions.rows)) {
            for row in few.range(window.clone()) {
                let sum = self.sums[(row - window.start) as usize];
                if sum >= found.cut {
                    found.take(row, sum, slack, collector);
                }
            }
            return;
        }
        let words = ((window.end - window.start) as usize).div_ceil(64);
        kernels().mark_at_least(&self.sums[..words * 64], found.cut, &mut self.marks[..words]);
        self.each_mark(words, |at, sum| {
            let row = window.start + at as u32;
            if *sum >= found.cut && allowed.is_none_or(|allowed| allowed.contains(row)) {
                found.take(row, *sum, slack, collector);
            }
        });
    }

    /// Calls `take` with the place and the sum of each marked row, and clears the marks.
    #[inline]
    fn each_mark(&mut self, words: usize, mut take: impl FnMut(usize, &mut f32)) {
        for (word, marks) in self.marks[..words].iter_mut().enumerate() {
            let mut bits = std::mem::take(marks);
            while bits != 0 {
                let at = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                take(at, &mut self.sums[at]);
            }
        }
    }

    /// Adds up the essential lists, and looks their rows up in the others.
    fn look_up<S: Scores>(
        &mut self,
        query: &mut ListQuery<'_, S>,
        (essential, others): (&[usize], &[usize]),
        (limit, threshold): (usize, f32),
        collector: &mut dyn Collector,
    ) -> Result<()> {
        let mut lists: Vec<ListCursor> = essential.iter().map(|clause| ListCursor::new(query, *clause)).collect();
        let (slack, rows, allowed) = (query.slack, query.restrictions.rows, query.restrictions.allowed);
        let rest: f32 = others.iter().map(|clause| query.clauses[*clause].bound).sum();
        let (least, cut) = (Largest::new(limit), threshold - rest - slack);
        let mut found = BoundedRows { least, rows: Vec::new(), error: slack, keep: 1.0, rest, cut };
        let mut first = 0;
        while first < rows {
            query.restrictions.interrupt.check()?;
            let end = rows.min(first + WINDOW_ROWS as u32);
            for list in &mut lists {
                list.each(query, first..end, |at, contribution| {
                    self.sums[at] += contribution;
                    self.marks[at / 64] |= 1 << (at % 64);
                });
            }
            self.each_mark(((end - first) as usize).div_ceil(64), |at, sum| {
                let (row, sum) = (first + at as u32, std::mem::replace(sum, -0.0));
                if sum >= found.cut && allowed.is_none_or(|allowed| allowed.contains(row)) {
                    found.take(row, sum, slack, collector);
                }
            });
            first = end;
        }
        query.take_looked_up(found, others, limit, collector);
        Ok(())
    }
}

impl<S: Scores> ListQuery<'_, S> {
    /// Looks rows up, whose sums lack these clauses: first in columns, then those that still may be among the best in
    /// lists.
    fn take_looked_up(&mut self, found: BoundedRows, others: &[usize], limit: usize, collector: &mut dyn Collector) {
        let columns: Vec<ImpactColumn<'_>> = others.iter().filter_map(|clause| self.clauses[*clause].column).collect();
        let lists: Vec<usize> =
            others.iter().copied().filter(|clause| self.clauses[*clause].column.is_none()).collect();
        let rest: f32 = lists.iter().map(|clause| self.clauses[*clause].bound).sum();
        let threshold = found.cut + found.rest;
        let mut next = BoundedRows {
            least: Largest::new(limit),
            rows: Vec::new(),
            error: columns.iter().map(|column| column.unit).sum::<f32>() + self.slack,
            keep: self.columns.map_or(1.0, |columns| columns.keep),
            rest,
            cut: threshold - rest,
        };
        for (row, sum) in found.rows.into_iter().filter(|(_, sum)| *sum >= found.cut) {
            let sum = columns.iter().fold(sum, |sum, column| sum + column.bound_of(row));
            if sum >= next.cut {
                next.take(row, sum, self.slack, collector);
            }
        }
        for (row, sum) in next.rows.into_iter().filter(|(_, sum)| *sum >= next.cut) {
            if self.may_reach(row, sum + rest, &lists, collector.threshold() - self.slack) {
                self.consider(row, f32::INFINITY, collector);
            }
        }
    }
}
