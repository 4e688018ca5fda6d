//! The evaluation that skips nothing: all postings of all groups are added up, and every row that has one is offered.
//! It is what tests compare the other with. Invariant: a row's sum is made in the same order as there, group by group
//! from −0, so that both give the same bits.

use super::Collector;
use super::evaluate::{ListQuery, Scores};
use crate::error::Result;

/// What is known of all rows.
struct RowSums {
    scores: Vec<f32>,
    matches: Vec<u32>,
    refused: Vec<bool>,
}

impl<S: Scores> ListQuery<'_, S> {
    /// Scores and offers every row that the restrictions allow.
    pub(super) fn run_exhaustively(mut self, collector: &mut dyn Collector) -> Result<()> {
        let rows = self.restrictions.rows as usize;
        let mut sums = RowSums { scores: vec![-0.0; rows], matches: vec![0; rows], refused: vec![false; rows] };
        for group in 0..self.groups.len() {
            self.restrictions.interrupt.check()?;
            self.add_up_group(group, &mut sums);
        }
        let minimum = self.restrictions.minimum_match.max(1);
        for row in 0..rows {
            let allowed = self.restrictions.allowed.is_none_or(|allowed| allowed.contains(row as u32));
            if allowed && sums.matches[row] as usize >= minimum && !sums.refused[row] {
                self.offer(row as u32, sums.scores[row], collector);
            }
        }
        collector.scored(self.scored);
        Ok(())
    }

    fn add_up_group(&self, group: usize, sums: &mut RowSums) {
        // NaN: the row has none of the group's terms. `max` takes the other value.
        let mut best = vec![f32::NAN; sums.scores.len()];
        for clause in &self.clauses[self.groups[group].clauses.clone()] {
            for (row, posting) in self.blocks.postings(clause.blocks.clone()) {
                let found = self.scores.contribution(clause.weight, posting, row);
                let best = &mut best[row as usize];
                *best = if *best >= found { *best } else { found };
            }
        }
        for (row, best) in best.into_iter().enumerate() {
            if best.is_nan() {
                sums.refused[row] |= self.groups[group].must;
            } else {
                sums.scores[row] += best;
                sums.matches[row] += 1;
            }
        }
    }
}
