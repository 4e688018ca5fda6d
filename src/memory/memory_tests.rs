//! What the memory budget grants and refuses.

use super::*;

fn budget(bytes: u64) -> Arc<Budget> {
    Budget::new(Some(MemoryLimit { bytes, whole_process: false }))
}

#[test]
fn what_is_held_owed_and_reserved_counts_until_it_is_dropped() {
    let budget = budget(800);
    let mut account = budget.account();
    account.set(500, 50);
    let reservation = budget.reserve(150, Purpose::Write).unwrap();
    assert_eq!((budget.used_bytes(), budget.held_bytes(), budget.reserved_bytes()), (700, 500, 150));
    assert!(budget.reserve(1, Purpose::Write).is_none(), "writes leave an eighth");
    let work = budget.reserve(100, Purpose::Work).unwrap();
    assert!(budget.reserve(1, Purpose::Work).is_none());
    assert!(budget.would_hold_soon(150, Purpose::Write) && !budget.would_hold_soon(151, Purpose::Write));
    drop((reservation, work));
    account.set(300, 0);
    assert_eq!((budget.used_bytes(), budget.room_bytes()), (300, 500));
    drop(account);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn work_that_cannot_be_put_off_gets_what_there_is_or_the_least() {
    let budget = budget(100);
    let first = budget.reserve_up_to(30, 10);
    let second = budget.reserve_up_to(90, 10);
    let third = budget.reserve_up_to(90, 10);
    let fourth = budget.reserve_up_to(4, 10);
    assert_eq!([&first, &second, &third, &fourth].map(Reservation::bytes), [30, 70, 10, 4]);
    assert_eq!((budget.reserved_bytes(), budget.is_over()), (114, true));
    drop((first, second, third, fourth));
    assert_eq!(budget.reserved_bytes(), 0);
}

#[test]
fn reads_cannot_take_what_writes_need_and_answers_have_a_share_of_a_full_server() {
    let budget = budget(800);
    let mut bodies = budget.reserve(150, Purpose::Read).unwrap();
    bodies.absorb(budget.reserve(50, Purpose::Read).unwrap());
    assert!(budget.reserve(1, Purpose::Read).is_none() && !budget.would_hold_soon(201, Purpose::Read));
    let write = budget.reserve(500, Purpose::Write).unwrap();
    bodies.shrink(100);
    assert_eq!((bodies.bytes(), budget.reserved_bytes()), (100, 600));
    let work = budget.reserve(200, Purpose::Work).unwrap();
    assert!(budget.reserve(1, Purpose::Read).is_none(), "there is nothing left, however small their share is");
    let answer = budget.reserve(100, Purpose::Answer).unwrap();
    assert!(budget.reserve(1, Purpose::Answer).is_none());
    drop((bodies, write, work, answer));
    assert_eq!(budget.reserved_bytes(), 0);
}

#[test]
fn what_cannot_be_refused_is_seen_as_too_much() {
    let budget = budget(100);
    let mut account = budget.account();
    account.set(100, 0);
    assert!(!budget.is_over());
    account.set(101, 0);
    assert!(budget.is_over() && budget.room_bytes() == 0);
    assert!(!budget.could_ever_hold(101) && budget.could_ever_hold(100));
}

#[test]
fn of_a_containers_limit_a_reserve_is_left() {
    for (container, limit) in [(512, 448), (4096, 3840), (64, 48)] {
        assert_eq!(MemoryLimit::within(container << 20).bytes, limit << 20);
    }
}

#[test]
fn without_a_limit_everything_fits() {
    let budget = Budget::new(None);
    let _all = budget.reserve(u64::MAX, Purpose::Write).unwrap();
    assert!(budget.reserve(u64::MAX, Purpose::Write).is_some() && !budget.is_over());
}

#[test]
fn a_full_server_still_takes_small_bodies_of_reads_and_deletes() {
    let budget = budget(160);
    let mut account = budget.account();
    account.set(170, 0);
    let small = budget.reserve(10, Purpose::Read).unwrap();
    assert!(budget.reserve(1, Purpose::Read).is_none(), "a sixteenth is theirs");
    drop(small);
    assert!(budget.reserve(10, Purpose::Read).is_some() && budget.reserve(1, Purpose::Write).is_none());
    assert!(budget.would_hold_soon(10, Purpose::Read) && !budget.would_hold_soon(11, Purpose::Read));
}

#[test]
fn a_refusal_names_need_use_limit_and_the_way_out_and_is_counted() {
    let budget = budget(3 << 20);
    let error = budget.refusal("this write", 1 << 20, Purpose::Write);
    assert_eq!((error.kind(), budget.refusals()), (ErrorKind::NoRoom, 1));
    for word in ["1.0 MiB", "0 bytes of 3.0 MiB", "delete", "(memory_limit)", "larger machine"] {
        assert!(error.message().contains(word), "{word}: {error}");
    }
}

#[test]
fn a_refusal_says_to_come_again_only_where_work_under_way_has_the_memory() {
    let budget = budget(64 << 20);
    let mut held = budget.account();
    let work = budget.reserve(40 << 20, Purpose::Work).unwrap();
    assert!(budget.reserve(30 << 20, Purpose::Write).is_none());
    assert!(budget.refusal("this write", 30 << 20, Purpose::Write).retry_after().is_some());
    assert_eq!(budget.refusal("this write", 70 << 20, Purpose::Write).retry_after(), None);
    drop(work);
    held.set(40 << 20, 0);
    assert_eq!(budget.refusal("this write", 30 << 20, Purpose::Write).retry_after(), None);
}

#[cfg(target_os = "linux")]
#[test]
fn the_resident_size_counts_where_the_process_is_ours() {
    let budget = Budget::new(Some(MemoryLimit { bytes: 1, whole_process: true }));
    budget.give_back();
    assert!(budget.used_bytes() > 1 << 20 && budget.is_over());
}
