//! HEAD and the retired lists: what comes back, what is refused, and what the seal detects.

use super::*;
use crate::format::inverted::InvertedKind;
use crate::format::{Checksum, StreamConfig};

fn entry(lo: u64, hi: u64) -> SegmentEntry {
    SegmentEntry {
        key: format!("c/x/seg/{}.parquet", Ulid(lo.into())),
        lo: Version(lo),
        hi: Version(hi),
        rows: 1,
        bytes: 10,
        xxh3: Checksum::of(b"seg"),
        level: 0,
        inverted: Vec::new(),
        other: Map::new(),
    }
}

fn head() -> Head {
    let mut head = Head::new("c/x".to_owned(), StreamConfig::default());
    head.segs = vec![entry(1, 4), entry(5, 9)];
    head.floor = Version(10);
    head.prev = Some(Chain { nonce: Nonce::random(), xxh3: Checksum::of(b"commit 9") });
    head
}

#[test]
fn a_head_comes_back_as_it_was_with_fields_it_does_not_know() {
    let mut head = head();
    head.other.insert("shard".to_owned(), 7.into());
    head.segs[0].other.insert("bloom".to_owned(), "x".into());
    let read = Head::decode(&head.encode().unwrap(), "c/x").unwrap();
    assert_eq!(read, head);
    assert_eq!(read.successor().other["shard"], 7);
}

#[test]
fn a_successor_has_a_new_nonce_and_remembers_the_last_32() {
    let mut head = head();
    let first = head.nonce;
    for _ in 0..31 {
        head = head.successor();
    }
    assert!(head.recent.contains(&first));
    assert!(head.recent.contains(&head.nonce));
    assert!(!head.successor().recent.contains(&first));
    assert_eq!(head.r#gen, 32);
}

#[test]
fn segments_that_leave_a_gap_are_damage() {
    let mut gap = head();
    gap.segs[1].lo = Version(6);
    let error = Head::decode(&gap.encode().unwrap(), "c/x").unwrap_err();
    assert_eq!(error.to_string(), format!("HEAD: segment {} covers 6..=9, expected from 5", gap.segs[1].key));
    let mut short = head();
    short.floor = Version(12);
    assert!(Head::decode(&short.encode().unwrap(), "c/x").unwrap_err().to_string().contains("floor is 12"));
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let mut newer = head();
    newer.format = 2;
    let error = Head::decode(&newer.encode().unwrap(), "c/x").unwrap_err();
    assert_eq!(error, FormatError::Newer { found: 2, known: 1 });
}

#[test]
fn a_head_of_another_stream_is_damage() {
    let error = Head::decode(&head().encode().unwrap(), "c/y").unwrap_err();
    assert!(error.to_string().contains("HEAD is of stream \"c/x\""), "{error}");
}

/// Keys that are no names of segments of `c/x`.
fn foreign_keys() -> Vec<String> {
    // This ULID has a letter, which can be spelt in lower case.
    let ulid = Ulid(30);
    let keys =
        ["c/xy/seg/a", "c/x/log/a", "c/x/seg/a.parquet", "c/x/seg/../../y/HEAD", "drumlin.json", "catalog/HEAD", ""];
    let like = [
        format!("c/y/seg/{ulid}.parquet"),
        format!("c/x/graph/{ulid}.arrow"),
        format!("c/x/seg/{ulid}.arrow"),
        format!("c/x/seg/{}.parquet", ulid.to_string().to_lowercase()),
        format!("c/x/seg/{ulid}.parquet/../{ulid}.parquet"),
        format!("/c/x/seg/{ulid}.parquet"),
    ];
    keys.iter().map(|key| key.to_string()).chain(like).collect()
}

fn refusal(head: &Head) -> String {
    Head::decode(&head.encode().unwrap(), &head.stream).unwrap_err().to_string()
}

#[test]
fn a_head_cannot_name_objects_outside_its_stream_or_one_twice() {
    for key in foreign_keys() {
        let mut head = head();
        head.segs[1].key.clone_from(&key);
        assert!(refusal(&head).contains("cannot be the key"), "{key}: {}", refusal(&head));
    }
    let (lo, hi) = (Version(1), Version(9));
    let named =
        |key: String| GraphEntry { key, lo, hi, nodes: 1, bytes: 1, xxh3: Checksum::of(b"g"), other: Map::new() };
    for key in foreign_keys().into_iter().filter(|key| !key.starts_with("c/x/graph/")) {
        let head = Head { graphs: vec![named(key.clone())], ..head() };
        assert!(refusal(&head).contains("cannot be the key"), "{key}: {}", refusal(&head));
    }
    let mut twice = head();
    twice.segs[1].key = twice.segs[0].key.clone();
    assert!(refusal(&twice).contains("twice"), "{}", refusal(&twice));
}

#[test]
fn a_copied_segments_indexes_of_its_source_are_left_out() {
    let kind = InvertedKind::Sparse { metadata_key: "k".to_owned() };
    let of_source = InvertedEntry::new(format!("c/y/inverted/{}.arrow", Ulid(31)), &kind, (1, Checksum::of(b"i")));
    let mut head = head();
    head.segs[0].inverted = vec![of_source];
    assert!(refusal(&head).contains("cannot be the key"), "{}", refusal(&head));
    // A version that knows no inverted indexes made this fork.
    head.segs[0].other.insert("copied_from".to_owned(), "c/y".into());
    assert_eq!(Head::decode(&head.encode().unwrap(), "c/x").unwrap().segs[0].inverted, []);
    let list = Retired { segs: head.segs, ..list() };
    assert_eq!(Retired::decode(&list.encode().unwrap(), "c/x", ULID).unwrap().segs[0].inverted, []);
}

#[test]
fn a_copy_in_a_head_says_which_other_collection_it_was_copied_from() {
    let head_with = |from: Value| {
        let mut head = head();
        head.segs[0].other.insert("copied_from".to_owned(), from);
        head
    };
    let fork = head_with("c/y".into());
    assert_eq!(Head::decode(&fork.encode().unwrap(), "c/x").unwrap().segs[0].written_for("c/x"), "c/y");
    for from in [Value::from("c/x"), "catalog".into(), "".into(), "c/".into(), 7.into(), Value::Null] {
        let head = head_with(from.clone());
        assert!(refusal(&head).contains("was copied from"), "{from}: {}", refusal(&head));
    }
    let mut catalog = head_with("c/y".into());
    catalog.stream = "catalog".to_owned();
    catalog.segs.iter_mut().for_each(|seg| seg.key = seg.key.replace("c/x/", "catalog/"));
    assert!(refusal(&catalog).contains("was copied from"), "{}", refusal(&catalog));
}

#[test]
fn a_head_that_names_more_than_maintenance_ever_leaves_is_refused_at_once() {
    let mut head = head();
    let graph = |n: u64| GraphEntry {
        key: format!("c/x/graph/{}.arrow", Ulid(n.into())),
        lo: Version(n),
        hi: Version(n),
        nodes: 1,
        bytes: 1,
        xxh3: Checksum::of(b"g"),
        other: Map::new(),
    };
    head.graphs = (1..=ENTRIES as u64 + 1).map(graph).collect();
    assert!(refusal(&head).contains("at most 65536"), "{}", refusal(&head));
}

#[test]
fn a_retired_list_cannot_name_objects_of_another_stream() {
    let mut list = list();
    assert_eq!(Retired::decode(&list.encode().unwrap(), "c/x", ULID).unwrap(), list);
    for key in foreign_keys() {
        list.segs[0].key.clone_from(&key);
        let error = Retired::decode(&list.encode().unwrap(), "c/x", ULID).unwrap_err();
        assert!(error.to_string().contains("outside stream"), "{key}: {error}");
    }
}

const ULID: Ulid = Ulid(77);

fn list() -> Retired {
    let segs = vec![entry(1, 2)];
    Retired { format: 1, stream: "c/x".to_owned(), ulid: Some(ULID), segs, graphs: vec![], map: None }
}

#[test]
fn a_retired_list_under_the_key_of_another_is_refused_and_one_of_an_older_version_is_not() {
    let error = Retired::decode(&list().encode().unwrap(), "c/x", Ulid(78)).unwrap_err();
    assert!(error.to_string().contains("it is the retired list"), "{error}");
    let older = Retired { ulid: None, ..list() };
    let bytes = serde_json::to_vec(&older).unwrap();
    assert_eq!(Retired::decode(&bytes, "c/x", Ulid(78)).unwrap(), older);
}

fn refuse_every_change(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<(), FormatError>) {
    decode(bytes).unwrap();
    for at in 0..bytes.len() {
        for mask in [1, 2, 4, 8, 16, 32, 64, 128, 0x0f, 0xff] {
            let mut hurt = bytes.to_vec();
            hurt[at] ^= mask;
            assert!(decode(&hurt).is_err(), "byte {at} ^ {mask}: {}", String::from_utf8_lossy(&hurt));
        }
    }
    (0..bytes.len()).for_each(|length| assert!(decode(&bytes[..length]).is_err(), "{length} bytes"));
}

#[test]
fn whatever_byte_of_a_head_or_a_list_is_changed_it_is_refused() {
    let mut old = head();
    old.config.dimension = Some(3);
    old.aging.push(Aging { floor: Version(7), seen: StoreTime(9), other: Map::new() });
    // It holds after more swaps, too, than `recent` remembers.
    for swaps in [0, 1, 40] {
        let head = (0..swaps).fold(old.clone(), |head, _| head.successor());
        refuse_every_change(&head.encode().unwrap(), |bytes| Head::decode(bytes, "c/x").map(drop));
    }
    refuse_every_change(&list().encode().unwrap(), |bytes| Retired::decode(bytes, "c/x", ULID).map(drop));
}

/// What an older version writes after `head`: it copies fields that it does not know, the seal too.
fn swapped_by_an_older_version(head: &Head, bytes: &[u8]) -> (Head, Vec<u8>) {
    let mut next = head.successor();
    next.sweeps += 1;
    let mut json: Map<String, Value> = serde_json::from_slice(&serde_json::to_vec(&next).unwrap()).unwrap();
    let before: Map<String, Value> = serde_json::from_slice(bytes).unwrap();
    json.insert("seal".to_owned(), before["seal"].clone());
    (next, serde_json::to_vec(&json).unwrap())
}

#[test]
fn a_seal_that_an_older_version_copied_is_no_damage_and_is_not_written_back() {
    let mut head = head();
    let mut bytes = head.encode().unwrap();
    for swap in 0..40 {
        (head, bytes) = swapped_by_an_older_version(&head, &bytes);
        let read = Head::decode(&bytes, "c/x").unwrap_or_else(|e| panic!("swap {swap}: {e}"));
        assert_eq!(read, head, "swap {swap}");
    }
    let sealed = head.successor().encode().unwrap();
    let text = String::from_utf8(sealed.clone()).unwrap();
    assert_eq!(text.matches("\"seal\"").count(), 1, "{text}");
    let mut hurt = sealed;
    let at = text.find("\"sweeps\":").unwrap() + 9;
    hurt[at] = b'7';
    let error = Head::decode(&hurt, "c/x").unwrap_err();
    assert!(error.to_string().starts_with("HEAD: its seal does not fit"), "{error}");
}

#[test]
fn a_seal_of_no_head_before_this_one_is_damage() {
    let first = head();
    let bytes = first.encode().unwrap();
    let (next, copied) = swapped_by_an_older_version(&first, &bytes);
    let text = String::from_utf8(copied).unwrap();
    let mut foreign = Nonce::random().to_string();
    foreign.replace_range(..1, if first.nonce.to_string().starts_with('a') { "b" } else { "a" });
    let nonce = format!("\"seal\":{{\"gen\":1,\"nonce\":\"{}\"", first.nonce);
    assert!(text.contains(&nonce), "{text}");
    for (wrong, what) in [
        (format!("\"seal\":{{\"gen\":1,\"nonce\":\"{foreign}\""), "which is no HEAD before this one"),
        (format!("\"seal\":{{\"gen\":9,\"nonce\":\"{foreign}\""), "which is no HEAD before this one"),
        (format!("\"seal\":{{\"gen\":1,\"nonce\":\"{}\"", next.nonce), "its seal does not fit"),
        ("\"seal\":{\"gen\":1".to_owned(), "does not say of which HEAD"),
    ] {
        let error = Head::decode(text.replace(&nonce, &wrong).as_bytes(), "c/x").unwrap_err();
        assert!(error.to_string().contains(what), "{wrong}: {error}");
    }
}
