//! Estimates against what an allocator counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::estimate;
use super::replay::Replay;
use crate::index::{BUILDERS, GraphParams, GraphRange, LazyCodes, build_graph};
use crate::record::{Metadata, Metric, Record, Version};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending is not measured.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        PEAK.try_with(|peak| peak.set(peak.get().max(held.get())))
    });
}

// SAFETY: every call is the system's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The bytes that work leaves on the heap.
fn held<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = HELD.get();
    let done = work();
    (done, u64::try_from(HELD.get() - before).unwrap_or(0))
}

/// The most bytes that work has on the heap at once, beside those that were there before.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = HELD.get();
    PEAK.set(before);
    let done = work();
    (done, u64::try_from(PEAK.get() - before).unwrap_or(0))
}

/// Records of `dim` floats and about `text` bytes of text and metadata.
fn records(count: usize, dim: usize, text: usize) -> Vec<Record> {
    let record = |n: usize| {
        let embedding = (0..dim).map(|d| ((n * 31 + d * 17) % 101) as f32 - 50.0 + n as f32 / 1000.0).collect();
        let words = format!("{n} ").repeat(text / 2 / n.to_string().len().max(2));
        let metadata = Metadata::from([("words", words.as_str())]);
        Record::new(format!("record-{n}"), embedding).with_metadata(metadata).with_document(words)
    };
    (0..count).map(record).collect()
}

/// Asserts that an estimate covers what was measured and is at most `times` as much.
fn assert_covers(estimate: u64, measured: u64, times: u64, what: &str) {
    assert!(estimate >= measured, "{what}: {measured} bytes were measured, {estimate} were estimated");
    assert!(estimate <= measured * times, "{what}: {estimate} bytes were estimated, only {measured} measured");
}

#[test]
fn a_snapshot_takes_about_what_it_says() {
    for (count, dim, text) in [(20_000, 4, 0), (5_000, 128, 100), (1_000, 384, 2_000)] {
        let (replay, taken) = held(|| {
            let mut replay = Replay::new(Metric::Cosine);
            let all = records(count, dim, text);
            for some in all.chunks(100) {
                replay.add(some.to_vec());
            }
            drop(all);
            replay.commits.clear();
            replay
        });
        let counted = replay.snapshot().footprint().sum() + estimate::STANDING_BYTES;
        let what = format!("{count} records of {dim} floats and {text} bytes: {counted} counted, {} held", taken);
        assert!(counted * 4 >= taken * 3 && taken * 4 >= counted * 3, "{what}");
    }
}

#[test]
fn a_graph_takes_no_more_than_was_estimated() {
    let (count, dim) = (3_000, 16);
    let mut replay = Replay::new(Metric::L2);
    replay.add(records(count, dim, 0));
    let snapshot = replay.snapshot();
    let range = GraphRange { stream: "c/x".into(), lo: Version(1), hi: snapshot.version() };
    let (_graph, taken) = held(|| {
        let set = snapshot.graph_input(range.lo, range.hi);
        build_graph(&set, range.clone(), &GraphParams::default(), BUILDERS[0]).unwrap()
    });
    assert_covers(snapshot.graph_bytes_of(count as u64), taken, 3, "a graph");
}

#[test]
fn codes_of_rows_take_what_was_estimated() {
    let mut replay = Replay::new(Metric::Cosine);
    replay.add(records(2_000, 96, 0));
    let snapshot = replay.snapshot();
    let chunk = &snapshot.chunks[0].chunk;
    let (codes, taken) = held(|| {
        let codes = LazyCodes::default();
        while codes.wanted(chunk.vectors(), true).is_none() {}
        codes
    });
    assert_covers(estimate::codes(chunk.len() as u64, 96), codes.size_bytes() as u64, 2, "codes by their own count");
    assert_covers(estimate::codes(chunk.len() as u64, 96), taken, 2, "codes");
}

#[test]
fn a_loaded_collection_takes_no_more_than_its_head_lets_expect() {
    for (count, dim, text) in [(3_000, 4, 0), (1_000, 128, 100)] {
        let mut replay = Replay::new(Metric::L2);
        replay.add(records(count, dim, text));
        let segment = replay.segment(1, replay.snapshot().version().0);
        let loaded = replay.loaded(&[replay.snapshot().version().0]);
        let size = estimate::loaded(count as u64, segment.len() as u64, 0, dim as u64);
        let footprint = loaded.state.current().footprint().sum();
        let what = format!("{count} records of {dim} floats and {text} bytes");
        assert_covers(size.need, footprint, 4, &what);
        assert!(size.least <= footprint, "{what}: at least {}, but {footprint}", size.least);
    }
}
