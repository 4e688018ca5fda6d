//! Decoders of other people's crates, run so that their panics become ordinary errors. arrow and parquet answer most
//! damage with an error, but assert or slice past the end on some. Invariant: such a panic is counted and logged in
//! one line, without the standard hook's message and without a trace. Every other panic is reported as before.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// How many decoders run on this thread, nested.
    static RUNNING: Cell<u32> = const { Cell::new(0) };
    /// Where the last of their panics was.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// How often a decoder panicked on what it was given.
#[cfg(any(test, feature = "server"))]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Puts a hook before the existing one. This happens once, when the first decoder runs. A hook that a program has set
/// before that keeps all other panics.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if RUNNING.try_with(Cell::get).unwrap_or(0) == 0 {
                before(panic);
                return;
            }
            let place = panic.location().map(ToString::to_string);
            let _ = PLACE.try_with(|last| last.replace(place));
        }));
    });
}

/// Counts a decoder as running until it is dropped.
struct Running;

impl Running {
    fn begin() -> Running {
        RUNNING.with(|running| running.set(running.get() + 1));
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with(|running| running.set(running.get().saturating_sub(1)));
    }
}

/// Runs `decode` on untrusted bytes of `what`; `None` if it panicked. Nothing half-decoded may outlive the call.
pub fn contained<T>(what: &str, decode: impl FnOnce() -> T) -> Option<T> {
    install();
    let running = Running::begin();
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    drop(running);
    decoded.map_err(|_| note(what)).ok()
}

fn note(what: &str) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let place = PLACE.with(RefCell::take).unwrap_or_else(|| "an unknown place".to_owned());
    // The path inside a crate's source, without the machine's folders before it.
    let place = place.rsplit_once("/src/").map_or(place.as_str(), |(crate_path, file)| {
        let start = crate_path.rfind('/').map_or(0, |slash| slash + 1);
        place.get(start..).unwrap_or(file)
    });
    tracing::warn!("{what} is damaged in a way that its decoder gives up on, at {place}: it was refused");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_decoder_is_an_answer_and_counted() {
        let before = panics();
        assert_eq!(contained("a test", || 7), Some(7));
        let nothing: Vec<u32> = Vec::new();
        let gone: Option<u32> = contained("a test", || contained("an inner test", || 1).map_or(0, |n| nothing[n]));
        assert_eq!(gone, None);
        assert!(panics() > before);
        assert_eq!(RUNNING.with(Cell::get), 0, "the next panic of this thread is told by the hook before");
    }
}
