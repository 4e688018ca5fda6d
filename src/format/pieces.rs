//! The bytes of an object that are at hand: pieces at their offsets, read as one. A Parquet reader over them needs
//! only the pieces with the bytes that it reads. Invariants: pieces ascend and do not overlap; reading between pieces
//! is an error, never a guess.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// Some of the bytes of an object. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pieces {
    /// Bytes of the whole object.
    len: u64,
    pieces: Arc<[(u64, Bytes)]>,
}

impl Pieces {
    /// A whole object in one piece.
    pub fn whole(bytes: &Bytes) -> Pieces {
        Pieces { len: bytes.len() as u64, pieces: Arc::new([(0, bytes.clone())]) }
    }

    /// Pieces of an object of `len` bytes, each with its offset. Where pieces overlap, the later one counts.
    pub fn new(len: u64, pieces: impl IntoIterator<Item = (u64, Bytes)>) -> Pieces {
        let mut pieces: Vec<(u64, Bytes)> = pieces.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        pieces.sort_by_key(|(start, _)| *start);
        let starts: Vec<u64> = pieces.iter().skip(1).map(|(start, _)| *start).collect();
        for ((start, bytes), next) in pieces.iter_mut().zip(starts) {
            bytes.truncate(usize::try_from(next - *start).unwrap_or(usize::MAX));
        }
        Pieces { len, pieces: pieces.into() }
    }

    /// The offset from which all bytes up to the end are at hand.
    pub fn tail_start(&self) -> u64 {
        let mut start = self.len;
        for (at, bytes) in self.pieces.iter().rev() {
            if at + bytes.len() as u64 != start {
                break;
            }
            start = *at;
        }
        start
    }

    /// The rest, from `at` on, of the piece that holds `at`; empty where no piece does.
    fn rest(&self, at: u64) -> Bytes {
        let next = self.pieces.partition_point(|(start, _)| *start <= at);
        let Some((start, bytes)) = next.checked_sub(1).and_then(|n| self.pieces.get(n)) else { return Bytes::new() };
        match usize::try_from(at - start) {
            Ok(skipped) if skipped < bytes.len() => bytes.slice(skipped..),
            _ => Bytes::new(),
        }
    }
}

fn not_at_hand(at: u64) -> ParquetError {
    ParquetError::EOF(format!("byte {at} is not among those at hand"))
}

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Pieces {
    type T = PiecesReader;

    fn get_read(&self, start: u64) -> Result<PiecesReader> {
        Ok(PiecesReader { rest: self.rest(start), at: start, pieces: self.clone() })
    }

    /// A slice if one piece holds all the bytes, else a copy.
    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let first = self.rest(start);
        if first.len() >= length {
            return Ok(first.slice(..length));
        }
        // The check comes before memory is taken: the length comes from the object.
        let end = start.checked_add(length as u64).filter(|end| *end <= self.len).ok_or_else(|| not_at_hand(start))?;
        let mut joined = Vec::with_capacity(length);
        let mut part = first;
        loop {
            let at = start + joined.len() as u64;
            if part.is_empty() {
                return Err(not_at_hand(at));
            }
            let taken = part.slice(..part.len().min(length - joined.len()));
            joined.extend_from_slice(&taken);
            match start + joined.len() as u64 {
                at if at == end => return Ok(joined.into()),
                at => part = self.rest(at),
            }
        }
    }
}

/// Reads pieces in order.
#[derive(Debug)]
pub struct PiecesReader {
    pieces: Pieces,
    /// The rest of the current piece, and its offset.
    rest: Bytes,
    at: u64,
}

impl Read for PiecesReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.pieces.rest(self.at);
            if self.rest.is_empty() && self.at < self.pieces.len {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, not_at_hand(self.at)));
            }
        }
        let taken = out.len().min(self.rest.len());
        self.rest.copy_to_slice(out.get_mut(..taken).unwrap_or_default());
        self.at += taken as u64;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Bytes {
        (0..100).collect::<Vec<u8>>().into()
    }

    fn cut(ends: &[usize]) -> Pieces {
        let mut start = 0;
        let pieces = ends.iter().map(|end| {
            let piece = (start as u64, content().slice(start..*end));
            start = *end;
            piece
        });
        Pieces::new(100, pieces.collect::<Vec<_>>().into_iter().rev())
    }

    #[test]
    fn every_range_of_an_object_in_pieces_reads_as_in_one() {
        for ends in [&[100][..], &[1, 100], &[30, 31, 99, 100], &[10, 10, 50, 100]] {
            let pieces = cut(ends);
            assert_eq!(pieces.tail_start(), 0);
            for start in 0..100_usize {
                for length in 0..=100 - start {
                    let got = pieces.get_bytes(start as u64, length).unwrap();
                    assert_eq!(got, content().slice(start..start + length), "{ends:?} {start} {length}");
                }
                let mut read = Vec::new();
                pieces.get_read(start as u64).unwrap().read_to_end(&mut read).unwrap();
                assert_eq!(read, content()[start..], "{ends:?} {start}");
            }
        }
    }

    #[test]
    fn bytes_that_are_not_at_hand_are_an_error() {
        let pieces = Pieces::new(100, [(10, content().slice(10..20)), (80, content().slice(80..))]);
        assert_eq!(pieces.tail_start(), 80);
        assert_eq!(pieces.get_bytes(12, 8).unwrap(), content().slice(12..20));
        for (start, length) in [(0, 1), (9, 2), (15, 6), (15, 70), (79, 2), (90, 11), (100, 1), (u64::MAX, 1)] {
            let error = pieces.get_bytes(start, length).unwrap_err();
            assert!(error.to_string().contains("not among those at hand"), "{start} {length}: {error}");
        }
        let mut read = Vec::new();
        assert!(pieces.get_read(15).unwrap().read_to_end(&mut read).is_err());
        assert_eq!(read, content()[15..20]);
        assert_eq!(Pieces::new(100, []).tail_start(), 100);
    }

    #[test]
    fn of_pieces_that_overlap_the_later_counts() {
        let late = Bytes::from_static(&[7; 10]);
        let pieces = Pieces::new(40, [(0, content().slice(..30)), (20, late)]);
        assert_eq!(pieces.get_bytes(18, 12).unwrap()[..], [18, 19, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
    }
}
