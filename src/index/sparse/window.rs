//! The windows of an evaluation: which lists are essential in a window, their sums, and which rows can still enter.
//! A thread's searches share one: to make its sums takes as long as to search a small index.
//! Invariant: between windows every sum is −0, which says "no list has this row": contributions are never −0, and a
//! sum of others is not.

use super::Collector;
use super::evaluate::{ListQuery, NonEssential, Scores};
use crate::error::Result;
use crate::format::inverted::BLOCK_POSTINGS;
use crate::index::kernel::prefetch;

/// Most rows of a window: lists that are added up anyway are read in long runs, and the sums fit the second-level cache.
pub(super) const WINDOW_ROWS: usize = 32768;
/// Rows of a window elsewhere: few enough that blocks have bounds of their own, and sums fit the first-level cache.
const SMALL_WINDOW: u32 = 4096;
/// With fewer postings in a window than this, the rows that have any are marked, and the other sums not looked at.
const MARKED_POSTINGS: usize = 768;
/// What looking up a row in a list costs, in postings added up.
const POSTINGS_PER_LOOK_UP: usize = 16;
/// Windows that are added up in bulk before looking up is tried again, in a small one.
const BULK_WINDOWS: u32 = 4;
/// How far ahead of the postings that are added up the next are fetched into the cache.
const AHEAD_POSTINGS: usize = 2 * BLOCK_POSTINGS;
/// Where less than one row in so many is allowed, those are gone through instead of the sums.
const FEW: u64 = 16;
const UNTOUCHED: u32 = 1 << 31;
const LANES: usize = 16;

/// The sums of one window.
pub(super) struct ScoreWindow {
    pub(super) sums: Box<[f32; WINDOW_ROWS]>,
    /// One bit per row.
    pub(super) marks: Box<[u64; WINDOW_ROWS / 64]>,
    first: u32,
    /// Rows that the window has.
    rows: u32,
    /// Per clause: its bound in this window.
    bounds: Vec<f32>,
    /// Per clause: whether it may have postings here.
    present: Vec<bool>,
    essential: Vec<bool>,
    /// Per group: the largest bound of its non-essential clauses.
    rest_by_group: Vec<f32>,
    /// Clauses present, by rising bound.
    order: Vec<usize>,
    /// Windows to go in which all lists are added up, as looking rows up did not pay. Those of the next chunk too.
    in_bulk: u32,
}

impl Default for ScoreWindow {
    fn default() -> ScoreWindow {
        ScoreWindow {
            sums: Box::new([-0.0; WINDOW_ROWS]),
            marks: Box::new([0; WINDOW_ROWS / 64]),
            first: 0,
            rows: 0,
            bounds: Vec::new(),
            present: Vec::new(),
            essential: Vec::new(),
            rest_by_group: Vec::new(),
            order: Vec::new(),
            in_bulk: 0,
        }
    }
}

impl ScoreWindow {
    /// Goes over all windows that have rows of essential lists.
    pub(super) fn run<S: Scores>(&mut self, query: &mut ListQuery<'_, S>, collector: &mut dyn Collector) -> Result<()> {
        self.bounds.resize(query.clauses.len(), 0.0);
        self.present.resize(query.clauses.len(), false);
        self.essential.resize(query.clauses.len(), false);
        self.rest_by_group.resize(query.groups.len(), 0.0);
        if collector.threshold() == f32::NEG_INFINITY {
            // Another query's.
            self.in_bulk = 0;
        }
        let mut from = 0;
        while let Some(next) = self.next_essential(query, from, collector.threshold()) {
            query.restrictions.interrupt.check()?;
            self.first = next;
            let (size, threshold) = match self.in_bulk {
                0 => (SMALL_WINDOW, collector.threshold()),
                _ => (WINDOW_ROWS as u32, f32::NEG_INFINITY),
            };
            self.in_bulk = self.in_bulk.saturating_sub(1);
            self.rows = (query.restrictions.rows - self.first).min(size);
            from = self.first + self.rows;
            self.bound(query);
            if let Some(rest) = self.partition(query, threshold) {
                self.evaluate(query, rest, collector);
            }
            if from >= query.restrictions.rows {
                break;
            }
        }
        Ok(())
    }

    /// The first row at or after `from` in a list that is essential by the bounds of whole lists.
    fn next_essential<S: Scores>(&mut self, query: &mut ListQuery<'_, S>, from: u32, threshold: f32) -> Option<u32> {
        let mut rest = 0.0;
        self.rest_by_group.fill(0.0);
        let mut next: Option<u32> = None;
        for at in 0..query.by_bound.len() {
            let clause = query.by_bound[at];
            let (group, bound) = (query.clauses[clause].group, query.clauses[clause].bound);
            rest += (bound - self.rest_by_group[group]).max(0.0);
            self.rest_by_group[group] = self.rest_by_group[group].max(bound);
            if rest + query.slack < threshold {
                continue;
            }
            if let Some(row) = query.next_row(clause, from) {
                next = Some(next.map_or(row, |next| next.min(row)));
            }
        }
        next
    }

    /// Sets the bounds of all clauses in this window.
    fn bound<S: Scores>(&mut self, query: &mut ListQuery<'_, S>) {
        let end = self.first + self.rows;
        for clause in 0..query.clauses.len() {
            let next = query.next_row(clause, self.first);
            self.present[clause] = next.is_some_and(|row| row < end);
            let list = &query.clauses[clause];
            let firsts = &query.blocks.block_rows[list.at..list.blocks.end];
            let bounds = &list.block_bounds[list.at - list.blocks.start..];
            let inside = firsts.iter().zip(bounds).take_while(|(first, _)| **first < end);
            self.bounds[clause] = inside.fold(0.0, |most: f32, (_, bound)| most.max(*bound));
        }
    }

    /// Says which clauses are essential here; returns the most that the others add to a score. `None`: no clause is.
    fn partition<S: Scores>(&mut self, query: &ListQuery<'_, S>, threshold: f32) -> Option<f32> {
        self.order.clear();
        self.order.extend((0..query.clauses.len()).filter(|clause| self.present[*clause]));
        self.order.sort_unstable_by(|a, b| self.bounds[*a].total_cmp(&self.bounds[*b]));
        self.rest_by_group.fill(0.0);
        self.essential.fill(false);
        let mut rest = 0.0;
        let mut any = false;
        for clause in &self.order {
            let group = query.clauses[*clause].group;
            let bound = self.bounds[*clause];
            let more = rest + (bound - self.rest_by_group[group]).max(0.0);
            if !any && more + query.slack < threshold {
                rest = more;
                self.rest_by_group[group] = self.rest_by_group[group].max(bound);
            } else {
                any = true;
                self.essential[*clause] = true;
            }
        }
        any.then_some(rest)
    }

    /// Adds up the essential clauses and considers the rows that can still enter. Where looking those up costs more than
    /// adding up the other clauses too, it does that.
    fn evaluate<S: Scores>(&mut self, query: &mut ListQuery<'_, S>, mut rest: f32, collector: &mut dyn Collector) {
        let marked = self.postings(query, true) < MARKED_POSTINGS;
        self.add_up(query, true, marked);
        let others = self.order.iter().filter(|clause| !self.essential[**clause]).count();
        let sums_final = others == 0 && query.sums_are_scores();
        if marked {
            self.take_marked(query, rest, sums_final, collector);
            return;
        }
        let cut = collector.threshold() - rest - query.slack;
        let candidates = self.sums[..self.rows as usize].iter().map(|sum| u32::from(*sum >= cut)).sum::<u32>() as usize;
        if others > 0 && candidates * others * POSTINGS_PER_LOOK_UP > self.postings(query, false) {
            self.add_up(query, false, false);
            self.rest_by_group.fill(0.0);
            rest = 0.0;
            self.in_bulk = BULK_WINDOWS;
        }
        self.take_dense(query, rest, sums_final, collector);
    }

    /// About how many postings the essential clauses have here, or the others.
    fn postings<S: Scores>(&self, query: &ListQuery<'_, S>, essential: bool) -> usize {
        let end = self.first + self.rows;
        let clauses = self.order.iter().filter(|clause| self.essential[**clause] == essential);
        let blocks = clauses.map(|clause| {
            let list = &query.clauses[*clause];
            let firsts = &query.blocks.block_rows[list.at..list.blocks.end];
            firsts.iter().take_while(|first| **first < end).count()
        });
        blocks.sum::<usize>() * BLOCK_POSTINGS
    }

    /// Adds up the essential clauses, or the others, in the order of groups.
    fn add_up<S: Scores>(&mut self, query: &ListQuery<'_, S>, essential: bool, marked: bool) {
        let ends = (self.first, self.first + self.rows);
        for clause in (0..query.clauses.len()).filter(|clause| self.present[*clause]) {
            match (self.essential[clause] == essential, marked) {
                (false, _) => {}
                (_, true) => add_up::<true, S>(query, clause, ends, &mut self.sums, &mut self.marks),
                (_, false) => add_up::<false, S>(query, clause, ends, &mut self.sums, &mut self.marks),
            }
        }
    }

    fn take_marked<S: Scores>(
        &mut self,
        query: &mut ListQuery<'_, S>,
        rest: f32,
        sums_final: bool,
        to: &mut dyn Collector,
    ) {
        let rest = NonEssential { essential: &self.essential, by_group: &self.rest_by_group, total: rest };
        for (word, marks) in self.marks.iter_mut().enumerate() {
            let mut bits = std::mem::take(marks);
            while bits != 0 {
                let at = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let sum = std::mem::replace(&mut self.sums[at], -0.0);
                take(query, (self.first + at as u32, sum), (&rest, sums_final), to);
            }
        }
    }

    fn take_dense<S: Scores>(
        &mut self,
        query: &mut ListQuery<'_, S>,
        rest: f32,
        sums_final: bool,
        to: &mut dyn Collector,
    ) {
        let rest = NonEssential { essential: &self.essential, by_group: &self.rest_by_group, total: rest };
        if let Some(few) =
            query.restrictions.allowed.filter(|allowed| allowed.len() * FEW < u64::from(query.restrictions.rows))
        {
            for row in few.range(self.first..self.first + self.rows) {
                let sum = self.sums[(row - self.first) as usize];
                if sum.to_bits() != UNTOUCHED {
                    take(query, (row, sum), (&rest, sums_final), to);
                }
            }
            self.sums[..self.rows as usize].fill(-0.0);
            return;
        }
        let sums = &mut self.sums[..(self.rows as usize).next_multiple_of(LANES)];
        let mut cut = to.threshold() - rest.total - query.slack;
        for (group, sums) in sums.chunks_exact_mut(LANES).enumerate() {
            // NaN comes through: it is below nothing.
            let below = sums.iter().map(|sum| u32::from(*sum < cut)).sum::<u32>();
            if below < LANES as u32 {
                for (lane, sum) in sums.iter().enumerate().filter(|(_, sum)| sum.to_bits() != UNTOUCHED) {
                    let row = self.first + (group * LANES + lane) as u32;
                    take(query, (row, *sum), (&rest, sums_final), to);
                }
                cut = to.threshold() - rest.total - query.slack;
            }
            sums.fill(-0.0);
        }
    }
}

/// Adds a clause's contributions in the window `first..end` to the sums.
#[inline]
fn add_up<const MARK: bool, S: Scores>(
    query: &ListQuery<'_, S>,
    clause: usize,
    (first, end): (u32, u32),
    sums: &mut [f32; WINDOW_ROWS],
    marks: &mut [u64; WINDOW_ROWS / 64],
) {
    let list = &query.clauses[clause];
    for block in list.at..list.blocks.end {
        let base = query.blocks.block_rows[block];
        if base >= end {
            break;
        }
        let mut postings = query.blocks.postings_of(block);
        let ahead = postings.start + AHEAD_POSTINGS..postings.end + AHEAD_POSTINGS;
        prefetch(query.blocks.rows.get(ahead.clone()).unwrap_or_default());
        query.scores.prefetch(ahead);
        let rows = &query.blocks.rows[postings.clone()];
        let last = base + u32::from(rows.last().copied().unwrap_or(0));
        if last >= end {
            postings.end = postings.start + rows.partition_point(|row| base + u32::from(*row) < end);
        }
        if base < first {
            postings.start += rows.partition_point(|row| base + u32::from(*row) < first);
        }
        let shift = base.wrapping_sub(first);
        query.scores.each(query.blocks, block, (list.weight, postings), |row, contribution| {
            let at = shift.wrapping_add(u32::from(row)) as usize % WINDOW_ROWS;
            sums[at] += contribution;
            if MARK {
                marks[at / 64] |= 1 << (at % 64);
            }
        });
    }
}

/// Offers a row with its sum if that is its score; otherwise scores it if it can still enter.
#[inline]
fn take<S: Scores>(
    query: &mut ListQuery<'_, S>,
    (row, sum): (u32, f32),
    (rest, sum_final): (&NonEssential<'_>, bool),
    collector: &mut dyn Collector,
) {
    if sum + rest.total + query.slack < collector.threshold()
        || query.restrictions.allowed.is_some_and(|allowed| !allowed.contains(row))
    {
        return;
    }
    match sum_final {
        true => query.offer(row, sum, collector),
        false => query.refine(row, sum, rest, collector),
    }
}
