//! Checking HEAD by itself: the rules that every HEAD of Drumlin's keeps, beyond those that reading one checks.
//! Reading checks the seal. HEADs of older versions have no seal: there, `gen` above 32, older nonces, levels, sweeps
//! and times in the past cannot be checked.

use serde_json::{Map, Value};

use super::commits::HEAD_AGAIN;
use super::report::Findings;
use crate::bucket::StoreTime;
use crate::bucket::keys::{Role, StreamId};
use crate::format::head::{Head, Life};
use crate::head::HeadRead;

/// Number of nonces in HEAD.
const RECENT: u64 = 32;
/// How far the store's clock may go back, in milliseconds.
const CLOCK_MS: i64 = 3_600_000;

/// Checks `read`, the HEAD of `stream`.
pub fn judge(read: &HeadRead, stream: &StreamId, findings: &mut Findings) {
    let head = &read.head;
    let key = stream.head();
    let mut wrong = |cause: String| findings.damaged(key.clone(), cause, HEAD_AGAIN);
    if head.gone.0 == 0 {
        wrong("gone is 0, but the first slot is 1".to_owned());
    }
    if head.recent.last() != Some(&head.nonce) {
        wrong("its nonce is not the last of its recent ones".to_owned());
    }
    if head.recent.len() as u64 != head.r#gen.min(RECENT) {
        wrong(format!("generation {} with {} recent nonces", head.r#gen, head.recent.len()));
    }
    if head.aging.windows(2).any(|pair| matches!(pair, [a, b] if a.floor >= b.floor || a.seen > b.seen)) {
        wrong("its aging floors do not ascend".to_owned());
    }
    if head.aging.iter().any(|aging| aging.floor <= head.gone) {
        wrong("an aging floor is not above gone".to_owned());
    }
    for (at, expected) in head.segs.iter().map(|s| (&s.key, Role::Segment)) {
        check_role(stream, at, expected, &mut wrong);
    }
    for (at, expected) in head.segs.iter().flat_map(|s| &s.inverted).map(|i| (&i.key, Role::Inverted)) {
        check_role(stream, at, expected, &mut wrong);
    }
    for (at, expected) in head.graphs.iter().map(|g| (&g.key, Role::Graph)) {
        check_role(stream, at, expected, &mut wrong);
    }
    for (at, expected) in head.map.iter().map(|m| (&m.key, Role::Map)) {
        check_role(stream, at, expected, &mut wrong);
    }
    if (head.state == Life::Live && head.dropped_seen.is_some()) || (head.sweeps == 0) != head.swept.is_none() {
        wrong("dropped_seen or swept do not fit the rest".to_owned());
    }
    if let Some(date) = read.date
        && let Some(late) = times(head).into_iter().find(|time| time.since_ms(date) > CLOCK_MS)
    {
        wrong(format!("it says that something was seen at {} ms, which is yet to come", late.0));
    }
    for (place, fields) in unknown(head) {
        for name in fields.keys().filter(|name| *name != "copied_from") {
            let cause = format!("{place} has the field {name:?}, which this version does not know");
            findings.suspicious(key.clone(), cause, "if no newer Drumlin writes this bucket, HEAD was changed by hand");
        }
    }
}

fn check_role(stream: &StreamId, key: &str, expected: Role, wrong: &mut impl FnMut(String)) {
    if stream.role(key) != Some(expected) {
        wrong(format!("{key:?} cannot be the key of a {expected:?} of this stream"));
    }
}

fn times(head: &Head) -> Vec<StoreTime> {
    let aging = head.aging.iter().map(|aging| aging.seen);
    let retired = head.retired.iter().map(|retired| retired.seen);
    aging.chain(retired).chain(head.swept).chain(head.dropped_seen).collect()
}

fn unknown(head: &Head) -> Vec<(&'static str, &Map<String, Value>)> {
    let segs = head.segs.iter().map(|s| ("a segment's entry", &s.other));
    let inverted = head.segs.iter().flat_map(|s| &s.inverted).map(|i| ("an inverted index's entry", &i.other));
    let graphs = head.graphs.iter().map(|g| ("a graph's entry", &g.other));
    let map = head.map.iter().map(|m| ("the map's entry", &m.other));
    let aging = head.aging.iter().map(|a| ("an aging entry", &a.other));
    let retired = head.retired.iter().map(|r| ("a retired entry", &r.other));
    let caches = inverted.chain(graphs).chain(map);
    [("it", &head.other)].into_iter().chain(segs).chain(caches).chain(aging).chain(retired).collect()
}
