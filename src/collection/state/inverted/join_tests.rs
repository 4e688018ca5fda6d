//! Which indexes are joined, and how often a row is.

use super::*;

fn size(rows: u64) -> IndexSize {
    IndexSize { rows, bytes: rows as usize * 100, is_sparse: false }
}

fn due_of(rows: &[u64]) -> Option<Range<usize>> {
    due(&rows.iter().map(|rows| size(*rows)).collect::<Vec<_>>(), JOINED_BYTES)
}

#[test]
fn the_smallest_indexes_are_joined_up_to_one_of_twice_their_rows() {
    for (rows, expected) in [
        (&[][..], None),
        (&[5], None),
        (&[1, 3], None),
        (&[1, 2], Some(0..2)),
        (&[1, 3, 8], Some(0..3)),
        (&[1, 3, 9], None),
        (&[1, 1, 5, 20], Some(0..2)),
        (&[16_384; 13], Some(0..13)),
        (&[16_384; 100], Some(0..64)),
        (&[600_000, 600_000], None),
        (&[10, 20, 1 << 20], Some(0..2)),
    ] {
        assert_eq!(due_of(rows), expected, "{rows:?}");
    }
}

#[test]
fn indexes_of_too_many_bytes_are_not_joined() {
    let large = IndexSize { bytes: JOINED_BYTES / 2 + 1, ..size(1_000) };
    assert_eq!(due(&[size(900), large], JOINED_BYTES), Some(0..2));
    assert_eq!(due(&[large, large], JOINED_BYTES), None);
}

#[test]
fn an_index_that_lost_chunks_is_made_anew_where_it_is_not_joined() {
    let sparse = IndexSize { is_sparse: true, ..size(100) };
    assert_eq!(due(&[size(10), sparse, size(1_000)], JOINED_BYTES), Some(1..2));
    assert_eq!(due(&[size(10), size(20), sparse], JOINED_BYTES), Some(0..2), "the smallest first");
}

#[test]
fn where_room_is_short_fewer_are_joined_and_what_frees_memory_is_done() {
    // 100,000 bytes each.
    let equal = [size(1_000); 8];
    assert_eq!(due(&equal, 250_000), Some(0..2));
    assert_eq!(due(&equal, 150_000), None);
    let sparse = IndexSize { is_sparse: true, bytes: 10_000, ..size(1_000) };
    assert_eq!(due(&[size(1_000), sparse], 50_000), Some(1..2));
}

#[test]
fn a_row_is_joined_a_bounded_number_of_times_and_few_indexes_remain() {
    const CHUNK: u64 = 16_384;
    let mut sizes: Vec<u64> = Vec::new();
    let mut joined = 0;
    for chunks in 1..=64u64 {
        sizes.push(CHUNK);
        sizes.sort_unstable();
        while let Some(run) = due_of(&sizes) {
            let rows = sizes.drain(run).sum();
            joined += rows;
            sizes.push(rows);
            sizes.sort_unstable();
        }
        assert!(sizes.len() <= 4, "{chunks} chunks are in {sizes:?}");
        assert_eq!(sizes.iter().sum::<u64>(), chunks * CHUNK);
    }
    assert!(joined <= 10 * 64 * CHUNK, "a row is joined {} times", joined as f64 / (64 * CHUNK) as f64);
}
