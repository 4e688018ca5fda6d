//! Judges what clients were told. Reads are judged as they are answered: an answer of version v is the
//! fold of commits 1 to v. Writes are judged at the end: the commits of each collection, replayed
//! request by request, give the state that the log gives, every acknowledged request has its effect in
//! the commit of its version, once, and no refused one has any.

use std::collections::{BTreeMap, BTreeSet};

use drumlin::WriteOutcome;
use drumlin::testing::format::{Commit, Rows};
use drumlin_test_support::model::{Change, Model};

use super::ledger::{Ledger, StreamLedger};

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Acknowledged.
    Acked(WriteOutcome),
    /// Told that nothing was applied.
    Refused(String),
    /// Told that it is not known, or never told.
    Unknown,
}

/// One write as its client saw it. Calls are in the order in which they were made.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which store was asked; for people.
    #[expect(dead_code, reason = "shown when a call is reported")]
    pub node: usize,
    pub stream: String,
    pub change: Change,
    /// The document of its rows.
    pub token: String,
    /// The number of the last change of the bucket when it was made.
    pub began: u64,
    /// The newest version of the collection that anybody had been told of then.
    pub floor: u64,
    pub answer: Answer,
}

/// Candidates of one commit that are tried in all combinations at most.
const OPTIONAL: usize = 8;

/// Judges all writes; what is wrong with them.
pub fn writes(ledger: &Ledger, calls: &[Call]) -> Vec<String> {
    let mut by_stream: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        by_stream.entry(&call.stream).or_default().push(call);
    }
    let mut wrong = Vec::new();
    for (stream, calls) in by_stream {
        match ledger.streams.get(stream) {
            Some(history) => stream_writes(stream, history, &calls, &mut wrong),
            None => wrong.push(format!("{stream} was written to but has no history")),
        }
    }
    wrong
}

fn stream_writes(stream: &str, history: &StreamLedger, calls: &[&Call], wrong: &mut Vec<String>) {
    let mut acked: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, call) in calls.iter().enumerate() {
        let Answer::Acked(outcome) = call.answer else { continue };
        let version = outcome.version.0;
        acked.entry(version).or_default().push(at);
        if version < call.floor + u64::from(outcome.applied > 0) {
            wrong.push(format!("{stream}: answered from version {version}, {} was acknowledged: {call:?}", call.floor));
        }
        if version > history.commits.len() as u64 {
            wrong.push(format!("{stream}: acknowledged at {version}, the log ends before: {call:?}"));
        }
    }
    let mut used = BTreeSet::new();
    for (at, entry) in history.commits.iter().enumerate() {
        let version = at as u64 + 1;
        let (before, after) = (&history.states[at], &history.states[at + 1]);
        let sure = acked.remove(&version).unwrap_or_default();
        let case = Case { calls, before, after, sure: &sure, commit: &entry.commit };
        let candidates = case.candidates(&used, entry.event);
        match case.explain(&candidates) {
            Some(chosen) => used.extend(chosen),
            None => wrong.push(format!(
                "{stream}: commit {version} is not what its requests come to: {:?}\nrows {:?}\nacknowledged {:?}\nperhaps {:?}",
                entry.commit.header,
                row_texts(&entry.commit.rows),
                sure.iter().map(|i| calls[*i]).collect::<Vec<_>>(),
                candidates.iter().map(|i| calls[*i]).collect::<Vec<_>>(),
            )),
        }
    }
    // Version 0: what was answered before there was a commit.
    for at in acked.into_values().flatten() {
        let Answer::Acked(outcome) = calls[at].answer else { continue };
        if outcome.version.0 == 0 && Model::default().change(&calls[at].change, &mut 0).0 != outcome.applied {
            wrong.push(format!("{stream}: {:?}", calls[at]));
        }
    }
}

fn row_texts(rows: &Rows) -> Vec<String> {
    let text = |row: usize| format!("{:?} {} {:?}", rows.ops[row], rows.id(row), Rows::text(&rows.documents, row));
    (0..rows.len()).map(text).collect()
}

/// One commit and the requests that were acknowledged in it.
struct Case<'a> {
    calls: &'a [&'a Call],
    before: &'a Model,
    after: &'a Model,
    sure: &'a [usize],
    commit: &'a Commit,
}

impl Case<'_> {
    /// Requests of unknown outcome that may have been in the commit. Deletes leave no token, so they
    /// may be met twice; others only once.
    fn candidates(&self, used: &BTreeSet<usize>, event: u64) -> Vec<usize> {
        let rows = &self.commit.rows;
        let explains = |call: &Call, row: usize| {
            call.change.explains(rows.ops[row], rows.id(row), Rows::text(&rows.documents, row), &call.token)
        };
        let fits = |at: &usize| {
            let call = self.calls[*at];
            let perhaps = call.answer == Answer::Unknown && call.began <= event && !used.contains(at);
            perhaps && (0..rows.len()).any(|row| explains(call, row))
        };
        (0..self.calls.len()).filter(fits).take(OPTIONAL).collect()
    }

    /// The candidates that, with the acknowledged requests, come to what the commit did.
    fn explain(&self, candidates: &[usize]) -> Option<Vec<usize>> {
        let mut choices: Vec<u32> = (0..1u32 << candidates.len()).collect();
        choices.sort_by_key(|choice| choice.count_ones());
        choices.into_iter().find_map(|choice| {
            let chosen: Vec<usize> =
                candidates.iter().enumerate().filter(|(i, _)| choice >> i & 1 == 1).map(|c| *c.1).collect();
            self.replay(&chosen).then(|| chosen.into_iter().filter(|at| self.has_token(*at)).collect())
        })
    }

    fn has_token(&self, at: usize) -> bool {
        matches!(self.calls[at].change, Change::Add(_) | Change::Upsert(_) | Change::Update(_))
    }

    fn replay(&self, chosen: &[usize]) -> bool {
        let mut order: Vec<usize> = self.sure.iter().chain(chosen).copied().collect();
        order.sort_unstable();
        let mut model = self.before.clone();
        let mut position = u64::MAX / 2;
        for at in order {
            let call = self.calls[at];
            let mut here = model.clone();
            let (applied, skipped) = here.change(&call.change, &mut position);
            let Answer::Acked(outcome) = call.answer else {
                model = here;
                continue;
            };
            let told = (outcome.applied, outcome.skipped);
            if told == (applied, skipped) {
                model = here;
                continue;
            }
            // Nothing was applied and nothing written: the answer may be of the state after the commit.
            let mut later = self.after.clone();
            if outcome.applied > 0 || later.change(&call.change, &mut position) != told {
                return false;
            }
        }
        // Of a commit that ends the collection, only what was answered can be judged.
        self.after.dropped || model.listed() == self.after.listed()
    }
}
