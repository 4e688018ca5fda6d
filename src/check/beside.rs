//! A check beside a server: the threads and the memory that it may use, and how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::report::{Finding, Findings, Severity};
use crate::compute::Compute;
use crate::memory::{Budget, Purpose, Reservation};
use crate::stream::context::StreamError;

/// How often memory is asked for, and the pause between.
const ASKED: (u32, Duration) = (30, Duration::from_secs(1));
/// Findings that are kept, the worst first.
const KEPT_FINDINGS: usize = 1_000;

/// A server's threads and memory, as far as a check has them.
#[derive(Debug)]
pub struct ServerShare {
    pub compute: Arc<Compute>,
    pub budget: Arc<Budget>,
    pub progress: Arc<CheckProgress>,
}

impl ServerShare {
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StreamError> {
        self.compute.later(work).await.map_err(|error| StreamError::Unavailable(error.to_string()))
    }

    pub(super) fn reserve(&self, bytes: u64) -> Option<Reservation> {
        self.budget.reserve(bytes, Purpose::Work)
    }

    /// Reserves memory; waits while others hold it.
    pub(super) async fn room(&self, bytes: u64) -> Result<Reservation, StreamError> {
        for _ in 0..ASKED.0 {
            if let Some(room) = self.reserve(bytes) {
                return Ok(room);
            }
            if !self.budget.could_ever_hold(bytes) {
                break;
            }
            tokio::time::sleep(ASKED.1).await;
        }
        let refusal = self.budget.refusal("the check of the bucket", bytes, Purpose::Work);
        Err(StreamError::NoRoom(refusal.message().to_owned()))
    }
}

/// How far a check is, and what it has found. Read while it runs.
#[derive(Debug, Default)]
pub struct CheckProgress {
    known: AtomicU64,
    checked: AtomicU64,
    found: Mutex<FoundSoFar>,
}

/// Objects of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CheckedObjects {
    /// Looked at.
    pub checked: u64,
    /// Listed.
    pub known: u64,
}

/// What a check has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FoundSoFar {
    /// Damaged objects.
    pub damaged: u64,
    /// Objects that may have been changed.
    pub suspicious: u64,
    /// Information.
    pub notes: u64,
    /// The findings, the worst first, at most a thousand.
    pub findings: Vec<Finding>,
}

impl CheckProgress {
    /// Objects looked at, and those that there are.
    pub fn objects(&self) -> CheckedObjects {
        let known = self.known.load(Ordering::Relaxed);
        CheckedObjects { checked: self.checked.load(Ordering::Relaxed).min(known), known }
    }

    /// What it has found.
    pub fn found(&self) -> FoundSoFar {
        self.found.lock().clone()
    }

    pub(super) fn know(&self, objects: u64) {
        self.known.fetch_add(objects, Ordering::Relaxed);
    }

    pub(super) fn check(&self, objects: u64) {
        self.checked.fetch_add(objects, Ordering::Relaxed);
    }

    pub(super) fn find(&self, findings: &Findings) {
        let mut found = self.found.lock();
        for finding in &findings.0 {
            match finding.severity {
                Severity::Damaged => found.damaged += 1,
                Severity::Suspicious => found.suspicious += 1,
                Severity::Note => found.notes += 1,
            }
        }
        found.findings.extend(findings.0.iter().cloned());
        // Stable: of equal weight, the order of the check.
        found.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        found.findings.truncate(KEPT_FINDINGS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_findings_are_kept_and_all_are_counted() {
        let progress = CheckProgress::default();
        let mut notes = Findings::default();
        (0..KEPT_FINDINGS).for_each(|n| notes.note(format!("n{n}"), "a cause", "a remedy"));
        progress.find(&notes);
        let mut others = Findings::default();
        others.suspicious("s", "a cause", "a remedy");
        others.damaged("d", "a cause", "a remedy");
        progress.find(&others);
        let found = progress.found();
        assert_eq!((found.damaged, found.suspicious, found.notes), (1, 1, KEPT_FINDINGS as u64));
        let keys: Vec<&str> = found.findings.iter().map(|finding| finding.key.as_str()).take(3).collect();
        assert_eq!((found.findings.len(), keys), (KEPT_FINDINGS, vec!["d", "s", "n0"]));
    }

    #[test]
    fn no_more_objects_are_checked_than_known() {
        let progress = CheckProgress::default();
        progress.check(3);
        progress.know(2);
        assert_eq!(progress.objects(), CheckedObjects { checked: 2, known: 2 });
    }
}
