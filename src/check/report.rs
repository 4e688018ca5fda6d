//! The result of a check of a bucket: plain values that serialise in the form of `--json`. Invariant: every finding
//! names an object, its fault, and what to do about it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::bucket::Place;
use crate::record::Version;

/// The weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Information; nothing is wrong.
    Note,
    /// The object may be sound: something unusual happened, or somebody changed it.
    Suspicious,
    /// The object is damaged.
    Damaged,
}

/// One result about one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its weight.
    pub severity: Severity,
    /// The object's key.
    pub key: String,
    /// The fault.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

/// Findings of one stream or of the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds a damaged object.
    pub fn damaged(&mut self, key: impl Into<String>, cause: impl ToString, remedy: &str) {
        self.push(Severity::Damaged, key.into(), cause.to_string(), remedy);
    }

    /// Adds an object that may have been changed.
    pub fn suspicious(&mut self, key: impl Into<String>, cause: impl ToString, remedy: &str) {
        self.push(Severity::Suspicious, key.into(), cause.to_string(), remedy);
    }

    /// Adds information.
    pub fn note(&mut self, key: impl Into<String>, cause: impl ToString, remedy: &str) {
        self.push(Severity::Note, key.into(), cause.to_string(), remedy);
    }

    fn push(&mut self, severity: Severity, key: String, cause: String, remedy: &str) {
        self.0.push(Finding { severity, key, cause, remedy: remedy.to_owned() });
    }

    /// Removes damage that `other`, the findings of another look, does not have: one of the two answers was wrong.
    pub fn keep_damage_of(&mut self, other: &Findings) {
        let damaged: BTreeSet<&str> = other.damaged_keys().collect();
        self.0.retain(|finding| finding.severity != Severity::Damaged || damaged.contains(finding.key.as_str()));
    }

    /// Whether an object is damaged.
    pub fn any_damage(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Damaged)
    }

    /// The keys of damaged objects.
    pub fn damaged_keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|f| f.severity == Severity::Damaged).map(|f| f.key.as_str())
    }
}

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    /// Adds one object.
    pub fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }

    /// The sum with `other`.
    pub fn plus(self, other: Amount) -> Amount {
        Amount { objects: self.objects + other.objects, bytes: self.bytes + other.bytes }
    }
}

impl FromIterator<u64> for Amount {
    fn from_iter<I: IntoIterator<Item = u64>>(sizes: I) -> Amount {
        let mut amount = Amount::default();
        sizes.into_iter().for_each(|bytes| amount.add(bytes));
        amount
    }
}

/// What a check of one stream found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StreamCheck {
    /// `catalog`, or `c/` and the collection's id.
    pub stream: String,
    /// Tenant, database and name of the collection, as the catalog has them.
    pub name: Option<String>,
    /// `live`, `dropped`, `orphaned` (unknown to the catalog) or `unreadable`.
    pub state: &'static str,
    /// The last commit that could be applied.
    pub version: Version,
    /// Live records at that version.
    pub records: u64,
    /// Objects that were read and checked.
    pub checked: Amount,
    /// Objects that HEAD has let go and that nobody has deleted yet.
    pub garbage: Amount,
    /// Objects that nothing names: left by failed uploads, or still being uploaded.
    pub orphans: Amount,
    /// Its findings.
    pub findings: Findings,
}

/// What a check of a bucket found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BucketCheck {
    /// The bucket.
    pub place: Place,
    /// Whether no object is damaged.
    pub sound: bool,
    /// Each stream that was checked, the catalog first.
    pub streams: Vec<StreamCheck>,
    /// Findings outside of all streams.
    pub findings: Findings,
    /// Objects that were read and checked.
    pub checked: Amount,
    /// Seconds that the check took.
    pub seconds: f64,
}

impl BucketCheck {
    /// Every finding, the bucket's own first.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.0.iter().chain(self.streams.iter().flat_map(|stream| &stream.findings.0))
    }
}
