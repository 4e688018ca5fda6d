//! Cutting a large object into the parts in which a store takes it. Invariant: parts hold the pieces' bytes in order,
//! and all but the last are full.

use bytes::{Bytes, BytesMut};

/// Cuts consecutive pieces into parts of `part_bytes`, the last one shorter. Copies only where a part
/// spans pieces.
pub(super) fn parts(pieces: Vec<Bytes>, part_bytes: usize) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut open = BytesMut::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            if open.is_empty() && piece.len() >= part_bytes {
                parts.push(piece.split_to(part_bytes));
                continue;
            }
            let taken = piece.split_to(piece.len().min(part_bytes - open.len()));
            open.extend_from_slice(&taken);
            if open.len() == part_bytes {
                parts.push(open.split().freeze());
            }
        }
    }
    if !open.is_empty() {
        parts.push(open.freeze());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_the_pieces_in_order_and_all_but_the_last_are_full() {
        let content: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for sizes in [vec![1_000], vec![1; 1_000], vec![300, 0, 700], vec![99, 101, 100, 700], vec![]] {
            let mut rest = Bytes::from(content.clone());
            let pieces: Vec<Bytes> = sizes.iter().map(|size| rest.split_to(*size)).collect();
            let whole = pieces.concat();
            for part_bytes in [1, 7, 100, 999, 1_000, 5_000] {
                let cut = parts(pieces.clone(), part_bytes);
                assert_eq!(cut.concat(), whole, "{sizes:?} in parts of {part_bytes}");
                assert_eq!(cut.len(), whole.len().div_ceil(part_bytes));
                assert!(cut.iter().rev().skip(1).all(|part| part.len() == part_bytes));
            }
        }
    }
}
