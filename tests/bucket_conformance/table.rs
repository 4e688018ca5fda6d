//! The table of backends and promises: each test enters its result, and the last one to end prints it.

use std::collections::BTreeMap;
use std::sync::Mutex;

type Results = BTreeMap<&'static str, BTreeMap<&'static str, bool>>;

/// By promise, then by backend.
static RESULTS: Mutex<Results> = Mutex::new(BTreeMap::new());

/// One test's place in the table; a test that does not say that it passed has failed.
pub struct Cell {
    backend: &'static str,
    check: &'static str,
    backends: &'static [&'static str],
    checks: usize,
    passed: bool,
}

impl Cell {
    /// The cell of `check` on `backend`; the table is whole with `checks` of each of `backends`.
    pub fn new(backend: &'static str, check: &'static str, backends: &'static [&'static str], checks: usize) -> Cell {
        Cell { backend, check, backends, checks, passed: false }
    }

    /// Enters that the test passed.
    pub fn passed(mut self) {
        self.passed = true;
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if !self.backends.contains(&self.backend) {
            return;
        }
        let mut results = RESULTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        results.entry(self.check).or_default().insert(self.backend, self.passed);
        let entered: usize = results.values().map(BTreeMap::len).sum();
        if entered == self.checks * self.backends.len() {
            print(&results, self.backends);
        }
    }
}

fn print(results: &Results, backends: &[&'static str]) {
    let mut table = format!("\n{:<72}", "");
    for backend in backends {
        table.push_str(&format!("{:>9}", backend.trim_end_matches("_bucket")));
    }
    for (check, by_backend) in results {
        table.push_str(&format!("\n{:<72}", check.replace('_', " ")));
        for backend in backends {
            let word = by_backend.get(backend).map_or("-", |passed| if *passed { "pass" } else { "FAIL" });
            table.push_str(&format!("{word:>9}"));
        }
    }
    println!("{table}\n");
}
