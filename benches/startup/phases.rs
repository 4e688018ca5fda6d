//! Where the time of an opening goes: sums of the spans that the library opens while it loads (target
//! `drumlin::load`). Invariant: a thread's CPU seconds count for the innermost span it is in, once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What the spans of one name came to.
#[derive(Debug, Clone, Copy)]
struct Phase {
    cpu_s: f64,
    first: Instant,
    last: Instant,
    spans: u64,
}

/// Phases by name, shared with the subscriber that fills them.
#[derive(Debug, Clone, Default)]
pub struct Phases(Arc<Mutex<BTreeMap<&'static str, Phase>>>);

thread_local! {
    /// CPU seconds of this thread at the last change of span, and the spans it is in.
    static INSIDE: RefCell<(f64, Vec<&'static str>)> = const { RefCell::new((0.0, Vec::new())) };
}

impl Phases {
    /// Begins to collect, for the rest of the process.
    pub fn collect() -> Phases {
        let phases = Phases::default();
        let only = Targets::new().with_target("drumlin::load", LevelFilter::DEBUG);
        let subscriber = tracing_subscriber::registry().with(phases.clone().with_filter(only));
        tracing::subscriber::set_global_default(subscriber).expect("no other subscriber is set");
        phases
    }

    /// Forgets what was collected.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// A line per phase, in the order in which they began.
    pub fn print(&self, started: Instant) {
        let mut phases: Vec<(&str, Phase)> = self.0.lock().iter().map(|(name, phase)| (*name, *phase)).collect();
        phases.sort_by_key(|(_, phase)| phase.first);
        for (name, phase) in phases {
            let at = |moment: Instant| moment.saturating_duration_since(started).as_secs_f64();
            let (from, to) = (at(phase.first), at(phase.last));
            println!("    {name:<14} {:6.3} CPU s, from {from:6.3} to {to:6.3} s, {} spans", phase.cpu_s, phase.spans);
        }
    }

    /// Counts the thread's CPU time since the last change for the span it was in.
    fn change(&self, then: impl FnOnce(&mut Vec<&'static str>)) {
        INSIDE.with_borrow_mut(|(since, inside)| {
            let now = thread_cpu_s();
            if let Some(name) = inside.last()
                && let Some(phase) = self.0.lock().get_mut(name)
            {
                phase.cpu_s += now - *since;
                phase.last = Instant::now();
            }
            *since = now;
            then(inside);
        });
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Phases {
    fn on_new_span(&self, attributes: &Attributes<'_>, _id: &Id, _context: Context<'_, S>) {
        let now = Instant::now();
        let new = Phase { cpu_s: 0.0, first: now, last: now, spans: 0 };
        self.0.lock().entry(attributes.metadata().name()).or_insert(new).spans += 1;
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let name = context.metadata(id).map_or("?", |metadata| metadata.name());
        self.change(|inside| inside.push(name));
    }

    fn on_exit(&self, _id: &Id, _context: Context<'_, S>) {
        self.change(|inside| {
            inside.pop();
        });
    }
}

/// CPU seconds of this thread so far.
fn thread_cpu_s() -> f64 {
    clock_s(ClockId::ThreadCPUTime)
}

/// CPU seconds of this process so far.
pub fn process_cpu_s() -> f64 {
    clock_s(ClockId::ProcessCPUTime)
}

fn clock_s(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
