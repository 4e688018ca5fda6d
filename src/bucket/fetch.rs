//! Fetching objects of known size in pieces, several at once. Invariants: the pieces of an object cover each of its
//! bytes once; one [`Fetcher`] and its clones have at most [`PIECES_IN_FLIGHT`] requests under way; requests are
//! served in the order in which they came.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{Bucket, BucketError, Object, backoff};

/// Most bytes of one piece. Large enough that a request's latency is small beside its transfer.
pub const PIECE_BYTES: u64 = 8 << 20;
/// Most requests under way at once. On a line with 20 ms latency they keep 6 GB/s busy.
pub const PIECES_IN_FLIGHT: usize = 16;
/// Most pieces of one object that are under way or at hand, but not taken yet.
const PIECES_AHEAD: usize = 8;
/// How often a piece of the wrong size is requested again, and the longest pause before the first of these requests.
const PIECE_REREADS: u32 = 4;
const PIECE_PAUSE: Duration = Duration::from_millis(20);
/// Alignment of a whole object's first byte: Arrow uses its arrays where they lie only if aligned.
const ALIGNMENT: usize = 64;

/// The pieces in which an object of `size_bytes` bytes is fetched. They are as even as possible: the last one, where
/// formats keep their footers, is no small rest.
pub fn pieces(size_bytes: u64) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + Clone {
    let count = size_bytes.div_ceil(PIECE_BYTES).max(1);
    let step = size_bytes.div_ceil(count);
    // More pieces than a `usize` holds would exceed any memory.
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    (0..count).map(move |n| {
        let start = (n as u64).saturating_mul(step).min(size_bytes);
        start..start.saturating_add(step).min(size_bytes)
    })
}

/// Fetches pieces of a bucket's objects. Clones share the limit.
#[derive(Debug, Clone)]
pub struct Fetcher {
    bucket: Arc<dyn Bucket>,
    permits: Arc<Semaphore>,
    /// Whether every read is over a new connection.
    fresh: bool,
}

impl Fetcher {
    /// A fetcher with a limit of its own.
    pub fn new(bucket: Arc<dyn Bucket>) -> Fetcher {
        Fetcher { bucket, permits: Arc::new(Semaphore::new(PIECES_IN_FLIGHT)), fresh: false }
    }

    /// A fetcher over new connections, for bytes that did not check out. Shares the limit.
    pub fn fresh(&self) -> Fetcher {
        Fetcher { fresh: true, ..self.clone() }
    }

    /// One piece of the object `key`. An object of a single piece is read without a range. A piece of the wrong size
    /// is requested again a few times; the caller compares the last one.
    pub async fn piece(&self, key: &str, piece: Range<u64>, size_bytes: u64) -> Result<Object, BucketError> {
        let _permit = self.permits.acquire().await.map_err(|_| cut_short("the limit is gone"))?;
        let length = piece.end.saturating_sub(piece.start);
        let range = (piece != (0..size_bytes)).then_some(piece);
        let mut reads = 0;
        loop {
            let object = match self.fresh || reads > 0 {
                true => self.bucket.get_fresh(key, range.clone()).await?,
                false => self.bucket.get(key, range.clone()).await?,
            };
            if (object.size_bytes == size_bytes && object.bytes.len() as u64 == length) || reads >= PIECE_REREADS {
                return Ok(object);
            }
            backoff::pause(PIECE_PAUSE, PIECE_PAUSE * 16, reads).await;
            reads += 1;
        }
    }

    /// The pieces `pieces` of the object `key`, in order, fetched ahead by tasks of their own.
    pub fn pieces(
        &self,
        key: &str,
        size_bytes: u64,
        pieces: impl Iterator<Item = Range<u64>> + Send,
    ) -> impl Stream<Item = Result<Object, BucketError>> + Send {
        let (fetcher, key) = (self.clone(), key.to_owned());
        let tasks = pieces.map(move |piece| {
            let (fetcher, key) = (fetcher.clone(), key.clone());
            async move { Task::spawn(async move { fetcher.piece(&key, piece, size_bytes).await }).await? }
        });
        stream::iter(tasks).buffered(PIECES_AHEAD)
    }

    /// The whole object in one buffer whose start is aligned to 64 bytes, if it has `size_bytes` bytes. An object of
    /// another size is returned with the bytes that came.
    pub async fn whole(&self, key: &str, size_bytes: u64) -> Result<Bytes, BucketError> {
        let mut pieces = pieces(size_bytes);
        let Some(begin) = pieces.next().filter(|_| pieces.len() > 0) else {
            return self.piece(key, 0..size_bytes, size_bytes).await.map(|object| object.bytes);
        };
        // IMPORTANT: the first piece comes before memory is taken for the rest. An object's claimed size may be made
        // up.
        let first = self.piece(key, begin.clone(), size_bytes).await?;
        if first.size_bytes != size_bytes || first.bytes.len() as u64 != begin.end {
            return Ok(first.bytes);
        }
        let (mut rest, mut parts) = (aligned(size_bytes)?, Vec::with_capacity(pieces.len()));
        let mut whole = rest.split_to(first.bytes.len());
        whole.copy_from_slice(&first.bytes);
        drop(first);
        for piece in pieces {
            let part = rest.split_to((piece.end - piece.start) as usize);
            let (fetcher, key) = (self.clone(), key.to_owned());
            parts.push(async move { Task::spawn(fetcher.fill(key, piece, size_bytes, part)).await? });
        }
        let mut parts = stream::iter(parts).buffered(PIECES_IN_FLIGHT);
        while let Some(part) = parts.try_next().await? {
            match part {
                // Parts of one allocation are joined without a copy.
                Ok(part) => whole.unsplit(part),
                Err(other) => return Ok(other),
            }
        }
        Ok(whole.freeze())
    }

    /// Writes a piece into its part of the buffer. A piece of an object of another size is handed back as it came.
    async fn fill(
        self,
        key: String,
        piece: Range<u64>,
        size_bytes: u64,
        mut part: BytesMut,
    ) -> Result<Result<BytesMut, Bytes>, BucketError> {
        let object = self.piece(&key, piece, size_bytes).await?;
        if object.size_bytes != size_bytes || object.bytes.len() != part.len() {
            return Ok(Err(object.bytes));
        }
        part.copy_from_slice(&object.bytes);
        Ok(Ok(part))
    }
}

/// Zeroed memory of `size_bytes` bytes with an aligned start. The system hands out zeroes: nothing is written yet.
fn aligned(size_bytes: u64) -> Result<BytesMut, BucketError> {
    let size = usize::try_from(size_bytes).ok().and_then(|size| size.checked_add(ALIGNMENT));
    let size = size.ok_or_else(|| cut_short("the object is larger than memory can be"))?;
    let mut buffer = BytesMut::zeroed(size);
    let start = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    let mut buffer = buffer.split_off(start);
    buffer.truncate(size - ALIGNMENT);
    Ok(buffer)
}

fn cut_short(why: impl std::fmt::Display) -> BucketError {
    BucketError::unknown(format!("fetching was cut short: {why}"))
}

/// A task that ends with its waiter.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, BucketError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(cut_short)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::PutCondition;
    use crate::bucket::clock::StoreClock;
    use crate::bucket::memory::MemoryBucket;

    #[test]
    fn pieces_cover_an_object_and_the_last_is_no_small_rest() {
        for size in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES - 1, 100 * PIECE_BYTES + 17] {
            let all: Vec<Range<u64>> = pieces(size).collect();
            assert_eq!(all.len() as u64, size.div_ceil(PIECE_BYTES).max(1), "{size}");
            assert!(all.iter().all(|piece| piece.end - piece.start <= PIECE_BYTES), "{size}");
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start), "{size}");
            assert_eq!((all[0].start, all[all.len() - 1].end), (0, size));
            let last = &all[all.len() - 1];
            assert!(size <= PIECE_BYTES || last.end - last.start >= PIECE_BYTES / 2 - 100, "{size}: {last:?}");
        }
    }

    async fn bucket_of(size: u64) -> (Arc<dyn Bucket>, Bytes) {
        let content: Bytes = (0..size).map(|n| (n * n / 7) as u8).collect::<Vec<u8>>().into();
        let bucket = MemoryBucket::new(StoreClock::machine());
        bucket.put("k", content.clone(), PutCondition::Always).await.unwrap();
        (Arc::new(bucket), content)
    }

    #[tokio::test]
    async fn a_whole_object_comes_in_one_aligned_buffer() {
        for size in [0, 5, PIECE_BYTES, 2 * PIECE_BYTES + 3] {
            let (bucket, content) = bucket_of(size).await;
            let whole = Fetcher::new(bucket).whole("k", size).await.unwrap();
            assert_eq!(whole, content, "{size} bytes");
            assert!(size <= PIECE_BYTES || whole.as_ptr().addr().is_multiple_of(ALIGNMENT), "{size} bytes");
        }
    }

    #[tokio::test]
    async fn an_object_of_another_size_never_passes_for_the_expected_one() {
        let expected = 2 * PIECE_BYTES + 3;
        for size in [0, 7, PIECE_BYTES, expected - 1, expected + 1] {
            let (bucket, _) = bucket_of(size).await;
            let found = Fetcher::new(bucket).whole("k", expected).await.unwrap();
            assert_ne!(found.len() as u64, expected, "{size} bytes");
        }
        let absent = Fetcher::new(bucket_of(1).await.0).whole("absent", expected).await;
        assert!(matches!(absent, Err(BucketError::NotFound { .. })), "{absent:?}");
    }

    #[tokio::test]
    async fn pieces_come_in_the_order_asked_for() {
        let size = 3 * PIECE_BYTES;
        let (bucket, content) = bucket_of(size).await;
        let got: Vec<Object> = Fetcher::new(bucket).pieces("k", size, pieces(size)).try_collect().await.unwrap();
        let joined: Vec<u8> = got.iter().flat_map(|object| object.bytes.to_vec()).collect();
        assert_eq!(Bytes::from(joined), content);
        assert!(got.iter().all(|object| object.size_bytes == size));
    }
}
