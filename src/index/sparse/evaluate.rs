//! Evaluates a query over posting lists: MaxScore (Turtle & Flood 1995) with block maxima (Ding & Suel 2011), window by
//! window. In a window of rows, the lists whose bounds together stay below the threshold are non-essential; the others
//! are added up in bulk, and only rows that can still reach the threshold are looked up in the rest. Few candidates, of
//! a filter or of a required term, are looked up one by one instead ([`ListQuery::probe`]). Queries for any of several
//! terms, which are most, are evaluated by bounds of scores instead ([`super::bounded`]).
//! Invariant: a row that is offered has the sum of its groups' contributions in the order of groups, starting at −0, so
//! its bits do not depend on what was skipped.

use std::cell::Cell;
use std::ops::Range;

use super::Collector;
use super::blocks::gallop;
use super::bounded::bounds_pay;
use super::columns::{ImpactColumn, QueryColumns};
use super::rows::IndexRows;
use super::window::ScoreWindow;
use crate::error::Result;
use crate::format::inverted::Blocks;
use crate::index::kernel::prefetch;
use crate::interrupt::Interrupt;

thread_local! {
    /// The window of the thread's last search. One that panics takes it along: its sums are of no use.
    static WINDOW: Cell<Option<ScoreWindow>> = const { Cell::new(None) };
}

/// What looking up a row in a list costs, in postings added up in bulk. Of few lists, which differ, the first look-ups
/// refuse most rows.
const POSTINGS_PER_LOOK_UP: u64 = 12;
/// The same in a query of many lists, of which most have to be looked at, where bounds may be added up instead.
const POSTINGS_PER_BOUNDED_LOOK_UP: u64 = 40;
/// Lists of a query that are few.
const FEW_LISTS: usize = 8;
/// Rows of a column that are added up in the time of a posting.
const ROWS_PER_POSTING: u64 = 32;

/// What one posting adds to a row's score.
pub(super) trait Scores {
    /// The contribution of a posting. Never −0, which marks rows that no list has.
    fn contribution(&self, weight: f32, posting: usize, row: u32) -> f32;
    /// Calls `add` with the contribution of each of the `postings` of a block, and its row less the block's first.
    fn each(&self, blocks: &Blocks, block: usize, list: (f32, Range<usize>), add: impl FnMut(u16, f32));
    /// Fetches what postings carry into the cache.
    fn prefetch(&self, postings: Range<usize>);
    /// Fetches what bounds of blocks are made of into the cache.
    fn prefetch_bounds(&self, blocks: Range<usize>);
    /// The least and the largest contribution of a block's postings.
    fn bounds(&self, weight: f32, block: usize) -> (f32, f32);
}

/// One term's list in the query.
#[derive(Debug)]
pub(super) struct ListTerm<'a> {
    pub(super) group: usize,
    pub(super) weight: f32,
    pub(super) blocks: Range<usize>,
    /// Per block, the most it can add to a score: at least 0, as the row may be absent. Made where windows need them of
    /// lists that have a column.
    pub(super) block_bounds: Vec<f32>,
    /// The most that it adds to a score.
    pub(super) bound: f32,
    /// The least that it adds to a score; at most 0.
    least: f32,
    pub(super) column: Option<ImpactColumn<'a>>,
    /// The block that the windows have reached.
    pub(super) at: usize,
    /// The block that single look-ups have reached.
    probed: usize,
}

impl ListTerm<'_> {
    /// The posting of `row`. Rows must rise from call to call.
    #[inline]
    fn find(&mut self, blocks: &Blocks, row: u32) -> Option<usize> {
        if self.column.is_some_and(|column| !column.has(row)) {
            return None;
        }
        blocks.find(&self.blocks, &mut self.probed, row)
    }

    /// The first row at or after `from` that may have a posting; `None` past the last block.
    fn seek(&mut self, blocks: &Blocks, from: u32) -> Option<u32> {
        let firsts = &blocks.block_rows[self.at..self.blocks.end];
        if firsts.get(1).is_some_and(|first| *first <= from) {
            self.at += gallop(firsts, from);
        }
        let first = *blocks.block_rows.get(self.at).filter(|_| self.at < self.blocks.end)?;
        let last = blocks.postings_of(self.at).last().map_or(0, |posting| blocks.rows[posting]);
        if first + u32::from(last) < from {
            self.at += 1;
        }
        let first = *blocks.block_rows.get(self.at).filter(|_| self.at < self.blocks.end)?;
        Some(first.max(from))
    }
}

/// The clauses of one word or dimension: the best of them counts.
#[derive(Debug)]
pub(super) struct ListGroup {
    pub(super) clauses: Range<usize>,
    pub(super) must: bool,
    bound: f32,
}

/// The clauses that a window does not add up.
pub(super) struct NonEssential<'a> {
    pub(super) essential: &'a [bool],
    /// Per group: the most that its non-essential clauses add.
    pub(super) by_group: &'a [f32],
    /// Their sum.
    pub(super) total: f32,
}

/// What restricts the rows of a search.
pub(super) struct Restrictions<'a> {
    pub(super) rows: u32,
    pub(super) allowed: Option<IndexRows<'a>>,
    pub(super) minimum_match: usize,
    pub(super) verify: Option<&'a dyn Fn(u32) -> bool>,
    pub(super) interrupt: &'a Interrupt,
}

/// A query over one index.
pub(super) struct ListQuery<'a, S> {
    pub(super) blocks: &'a Blocks,
    pub(super) scores: S,
    pub(super) columns: Option<QueryColumns<'a>>,
    pub(super) restrictions: Restrictions<'a>,
    pub(super) clauses: Vec<ListTerm<'a>>,
    pub(super) groups: Vec<ListGroup>,
    excluded: Vec<ListTerm<'a>>,
    /// Whether every group has one term, so that adding up contributions gives the score itself.
    pub(super) single_terms: bool,
    /// What rounding may add to a sum of contributions and bounds.
    pub(super) slack: f32,
    /// Clauses by rising bound.
    pub(super) by_bound: Vec<usize>,
    /// Groups by falling bound.
    groups_by_bound: Vec<usize>,
    /// Of the row being scored, by group; NaN where it has none.
    contributions: Vec<f32>,
    /// Rows that were scored to the end.
    pub(super) scored: u64,
}

impl<'a, S: Scores> ListQuery<'a, S> {
    /// A query without groups.
    pub(super) fn new(
        blocks: &'a Blocks,
        columns: Option<QueryColumns<'a>>,
        scores: S,
        restrictions: Restrictions<'a>,
    ) -> ListQuery<'a, S> {
        ListQuery {
            blocks,
            scores,
            columns,
            restrictions,
            clauses: Vec::new(),
            groups: Vec::new(),
            excluded: Vec::new(),
            single_terms: true,
            slack: 0.0,
            by_bound: Vec::new(),
            groups_by_bound: Vec::new(),
            contributions: Vec::new(),
            scored: 0,
        }
    }

    /// Fetches the lists of terms into the cache, those of all before any is read: the lists of a small index are so
    /// short that most of the time is waiting for their first lines.
    pub(super) fn prefetch(&self, terms: impl Iterator<Item = usize> + Clone) {
        for term in terms.clone() {
            prefetch(self.blocks.term_blocks.get(term..term + 2).unwrap_or_default());
        }
        for term in terms.clone() {
            let blocks = self.blocks.blocks_of(term);
            prefetch(self.blocks.block_rows.get(blocks.clone()).unwrap_or_default());
            prefetch(self.blocks.block_postings.get(blocks.start..blocks.end + 1).unwrap_or_default());
            self.scores.prefetch_bounds(blocks);
        }
        for term in terms {
            let blocks = self.blocks.blocks_of(term);
            let first = self.blocks.postings_of(blocks.start);
            prefetch(self.blocks.rows.get(first.clone()).unwrap_or_default());
            self.scores.prefetch(first);
        }
    }

    /// Adds a group of terms with their weights.
    pub(super) fn add_group(&mut self, terms: &[(usize, f32)], must: bool) {
        let start = self.clauses.len();
        let mut magnitude = 0.0f32;
        for (term, weight) in terms {
            let clause = self.clause(*term, *weight, &mut magnitude);
            self.clauses.push(clause);
        }
        self.single_terms &= terms.len() <= 1;
        let bound = self.clauses[start..].iter().fold(0.0, |most: f32, clause| most.max(clause.bound));
        self.slack += magnitude * terms.len() as f32;
        self.groups.push(ListGroup { clauses: start..self.clauses.len(), must, bound });
    }

    /// Rows with `term` are no candidates.
    pub(super) fn exclude(&mut self, term: usize) {
        let clause = self.clause(term, 0.0, &mut 0.0);
        self.excluded.push(clause);
    }

    fn clause(&self, term: usize, weight: f32, magnitude: &mut f32) -> ListTerm<'a> {
        let blocks = self.blocks.blocks_of(term);
        let column = self.columns.and_then(|columns| columns.of(term, weight));
        let (block_bounds, bound, least) = match column {
            // Those of its blocks are only made where they are used.
            Some(column) => (Vec::new(), column.bound(), 0.0),
            None => self.block_bounds(&blocks, weight),
        };
        *magnitude = magnitude.max(bound).max(-least);
        let (at, probed) = (blocks.start, blocks.start);
        ListTerm { group: self.groups.len(), weight, blocks, block_bounds, bound, least, column, at, probed }
    }

    /// The most that each block adds to a score, the largest of these, and the least that a posting does.
    fn block_bounds(&self, blocks: &Range<usize>, weight: f32) -> (Vec<f32>, f32, f32) {
        let mut least = 0.0f32;
        let bounds = blocks.clone().map(|block| {
            let (low, high) = self.scores.bounds(weight, block);
            least = least.min(low);
            high.max(0.0)
        });
        let block_bounds: Vec<f32> = bounds.collect();
        let bound = block_bounds.iter().fold(0.0, |most: f32, bound| most.max(*bound));
        (block_bounds, bound, least)
    }

    /// Offers the best rows.
    pub(super) fn run(mut self, collector: &mut dyn Collector) -> Result<()> {
        let done = self.offer_best(collector);
        collector.scored(self.scored);
        done
    }

    fn offer_best(&mut self, collector: &mut dyn Collector) -> Result<()> {
        let present = self.groups.iter().filter(|group| !group.clauses.is_empty()).count();
        let missing = self.groups.iter().any(|group| group.must && group.clauses.is_empty());
        if present == 0 || missing || present < self.restrictions.minimum_match {
            return Ok(());
        }
        // Each of the additions rounds by half a unit in the last place of a sum no larger than `slack` is here.
        self.slack *= 4.0 * f32::EPSILON * (self.groups.len() as f32 + 4.0);
        self.by_bound = (0..self.clauses.len()).collect();
        self.by_bound.sort_by(|a, b| self.clauses[*a].bound.total_cmp(&self.clauses[*b].bound));
        self.groups_by_bound = (0..self.groups.len()).collect();
        self.groups_by_bound.sort_by(|a, b| self.groups[*b].bound.total_cmp(&self.groups[*a].bound));
        self.contributions = vec![f32::NAN; self.groups.len()];
        let allowed = self.restrictions.allowed;
        if let Some(rows) = self.rows_of_rarest_must() {
            let rows = rows.into_iter().filter(|row| allowed.is_none_or(|allowed| allowed.contains(*row)));
            return self.probe(rows, collector);
        }
        let limit = collector.limit().filter(|limit| self.is_plain() && bounds_pay(*limit));
        if let Some(allowed) = allowed.filter(|allowed| self.probing_is_cheaper(allowed.len(), limit.is_some())) {
            return self.probe(allowed.iter(), collector);
        }
        let mut window = WINDOW.take().unwrap_or_default();
        if let Some(limit) = limit
            && self.run_bounded(&mut window, limit, collector)?
        {
            WINDOW.set(Some(window));
            return Ok(());
        }
        self.rewind();
        let done = window.run(self, collector);
        WINDOW.set(Some(window));
        done
    }

    /// Whether rows need no test but their score, which is a sum of contributions that are not below 0.
    fn is_plain(&self) -> bool {
        self.clauses.len() > 1
            && self.columns.is_some()
            && self.sums_are_scores()
            && self.clauses.iter().all(|clause| clause.least >= 0.0)
            && self.slack.is_finite()
            && self.excluded.is_empty()
            && self.restrictions.verify.is_none()
            && self.groups.iter().all(|group| !group.must)
    }

    /// Begins all lists anew, with bounds of all their blocks.
    fn rewind(&mut self) {
        for at in 0..self.clauses.len() {
            let list = &self.clauses[at];
            let bounds = list.block_bounds.is_empty().then(|| self.block_bounds(&list.blocks, list.weight).0);
            let list = &mut self.clauses[at];
            (list.at, list.probed) = (list.blocks.start, list.blocks.start);
            list.block_bounds = bounds.unwrap_or(std::mem::take(&mut list.block_bounds));
        }
    }

    /// Whether looking up so many rows costs less than reading the lists, or their columns where bounds are added up.
    fn probing_is_cheaper(&self, rows: u64, bounded: bool) -> bool {
        let look_up = match bounded && self.clauses.len() > FEW_LISTS {
            true => POSTINGS_PER_BOUNDED_LOOK_UP,
            false => POSTINGS_PER_LOOK_UP,
        };
        let to_read = |clause: &ListTerm| match bounded && clause.column.is_some() {
            true => u64::from(self.restrictions.rows) / ROWS_PER_POSTING,
            false => self.postings_in(clause),
        };
        rows * look_up * self.clauses.len() as u64 <= self.clauses.iter().map(to_read).sum()
    }

    pub(super) fn postings_in(&self, clause: &ListTerm) -> u64 {
        u64::from(self.blocks.postings_in(&clause.blocks))
    }

    /// The rows of the required group with the fewest postings, ascending.
    fn rows_of_rarest_must(&self) -> Option<Vec<u32>> {
        let postings = |group: &&ListGroup| -> u64 {
            self.clauses[group.clauses.clone()].iter().map(|clause| self.postings_in(clause)).sum()
        };
        let rarest = self.groups.iter().filter(|group| group.must).min_by_key(postings)?;
        let clauses = &self.clauses[rarest.clauses.clone()];
        let postings = clauses.iter().flat_map(|clause| self.blocks.postings(clause.blocks.clone()));
        let mut rows: Vec<u32> = postings.map(|(row, _)| row).collect();
        rows.sort_unstable();
        rows.dedup();
        Some(rows)
    }

    /// Looks up each of the ascending `rows` in the lists, those with the largest bounds first, until the rest cannot
    /// lift it to the threshold.
    fn probe(&mut self, rows: impl Iterator<Item = u32>, collector: &mut dyn Collector) -> Result<()> {
        /// Rows between two looks at the interrupt.
        const STEP: usize = 1024;
        let total: f32 = self.groups.iter().map(|group| group.bound).sum();
        for (i, row) in rows.enumerate() {
            if i % STEP == 0 {
                self.restrictions.interrupt.check()?;
            }
            self.consider(row, total, collector);
        }
        Ok(())
    }

    /// Scores a row of a window if it can still enter: `sum` has its essential clauses, `rest` per group is the most
    /// that the non-essential ones add.
    pub(super) fn refine(&mut self, row: u32, sum: f32, rest: &NonEssential<'_>, collector: &mut dyn Collector) {
        let mut ceiling = sum + rest.total;
        for at in 0..self.groups_by_bound.len() {
            let group = self.groups_by_bound[at];
            if rest.by_group[group] > 0.0 {
                let mut found = 0.0f32;
                for clause in self.groups[group].clauses.clone().filter(|clause| !rest.essential[*clause]) {
                    let list = &mut self.clauses[clause];
                    if let Some(posting) = list.find(self.blocks, row) {
                        found = found.max(self.scores.contribution(list.weight, posting, row));
                    }
                }
                ceiling += found - rest.by_group[group];
                if ceiling + self.slack < collector.threshold() {
                    return;
                }
            }
        }
        self.consider(row, f32::INFINITY, collector);
    }

    /// Scores one row and offers it. `ceiling` is the most that its score can be.
    pub(super) fn consider(&mut self, row: u32, mut ceiling: f32, collector: &mut dyn Collector) {
        let threshold = collector.threshold();
        let mut matches = 0;
        for at in 0..self.groups_by_bound.len() {
            let group = self.groups_by_bound[at];
            let found = self.contribution_of(group, row);
            self.contributions[group] = found.unwrap_or(f32::NAN);
            matches += usize::from(found.is_some());
            if found.is_none() && self.groups[group].must {
                return;
            }
            ceiling += found.unwrap_or(0.0) - self.groups[group].bound;
            if ceiling + self.slack < threshold {
                return;
            }
        }
        let found = self.contributions.iter().filter(|contribution| !contribution.is_nan());
        let score = found.fold(-0.0, |sum, contribution| sum + contribution);
        if matches >= self.restrictions.minimum_match.max(1) {
            self.offer(row, score, collector);
        }
    }

    /// Whether a row can reach `cut`: `ceiling` is the most that its score can be if it has these clauses.
    pub(super) fn may_reach(&mut self, row: u32, mut ceiling: f32, clauses: &[usize], cut: f32) -> bool {
        for clause in clauses {
            let list = &mut self.clauses[*clause];
            let posting = list.find(self.blocks, row);
            let most = posting.map_or(0.0, |posting| self.scores.contribution(list.weight, posting, row));
            ceiling += most - list.bound;
            if ceiling < cut {
                return false;
            }
        }
        true
    }

    /// What a group adds to a row's score; `None` if the row has none of its terms.
    #[inline]
    fn contribution_of(&mut self, group: usize, row: u32) -> Option<f32> {
        let mut best: Option<f32> = None;
        for clause in &mut self.clauses[self.groups[group].clauses.clone()] {
            if let Some(posting) = clause.find(self.blocks, row) {
                let found = self.scores.contribution(clause.weight, posting, row);
                best = Some(best.map_or(found, |best| best.max(found)));
            }
        }
        best
    }

    /// The last tests of a row whose score is known.
    pub(super) fn offer(&mut self, row: u32, score: f32, collector: &mut dyn Collector) {
        self.scored += 1;
        // NaN is the sum of infinities, of values near the end of f32: as bad as can be.
        let score = if score.is_nan() { f32::NEG_INFINITY } else { score };
        if score < collector.threshold() || self.excluded.iter_mut().any(|c| c.find(self.blocks, row).is_some()) {
            return;
        }
        if self.restrictions.verify.is_none_or(|verify| verify(row)) {
            collector.offer(row, score);
        }
    }

    /// Whether rows may be offered with their sum alone, no group being required.
    pub(super) fn sums_are_scores(&self) -> bool {
        self.single_terms && self.restrictions.minimum_match <= 1
    }

    /// The first row at or after `from` that a clause may have.
    pub(super) fn next_row(&mut self, clause: usize, from: u32) -> Option<u32> {
        self.clauses[clause].seek(self.blocks, from)
    }
}
