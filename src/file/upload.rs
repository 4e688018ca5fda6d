//! A body on its way into the bucket: it is cut into parts, and each part is put while the next one comes in.
//! Invariants: every part holds its share of the budget until it is in the bucket. Nothing here names the content, so
//! a failed upload leaves only orphans for the sweep.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use ulid::Ulid;

use super::budget::{Counted, FileBudget, Share};
use crate::bucket::keys::StreamId;
use crate::bucket::reread::Reread;
use crate::bucket::{Bucket, BucketError, Stamp, StoreTime};
use crate::config::FileSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::format::Checksum;
use crate::format::file_record::{Content, ContentPart, Sha256Sum};
use crate::stream::upload;

/// How many parts are being put at once, beside the one that is being filled.
const IN_FLIGHT: usize = 2;

/// Where the parts of a content are put.
#[derive(Debug, Clone)]
pub struct Target {
    pub bucket: Arc<dyn Bucket>,
    pub stream: StreamId,
    pub budget: Arc<FileBudget>,
    pub settings: FileSettings,
    /// How parts with a wrong checksum are read again.
    pub reread: Reread,
}

/// A content in the bucket that nothing names yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub size: u64,
    pub sha256: Sha256Sum,
    /// The content; `None` for an empty body.
    pub content: Option<Content>,
    /// Store time at which the first part was put; `None` for an empty body.
    pub began: Option<StoreTime>,
}

/// The part that is being filled.
struct Filling {
    bytes: BytesMut,
    room: usize,
    share: Share,
}

struct Upload {
    target: Target,
    content: Ulid,
    parts: Vec<ContentPart>,
    began: Option<StoreTime>,
    under_way: JoinSet<(usize, Result<Stamp, BucketError>)>,
    filling: Option<Filling>,
    size: u64,
    sha256: Sha256,
}

/// Puts a body as a new content. `length` is the announced length of the body.
///
/// # Errors
/// Any error of the body's stream; `Limit` if it is longer than files may be; `Unavailable` if the bucket does not
/// take it or no memory was free in time.
pub async fn upload(
    target: Target,
    length: Option<u64>,
    body: impl Stream<Item = Result<Bytes>> + Send,
) -> Result<Uploaded> {
    let (content, under_way) = (Ulid::generate(), JoinSet::new());
    let (parts, sha256) = (Vec::new(), Sha256::new());
    let mut upload = Upload { target, content, parts, began: None, under_way, filling: None, size: 0, sha256 };
    let mut body = std::pin::pin!(body);
    while let Some(piece) = body.try_next().await? {
        upload.take(piece, length).await?;
    }
    upload.finish().await
}

impl Upload {
    async fn take(&mut self, mut piece: Bytes, length: Option<u64>) -> Result<()> {
        self.target.budget.count(Counted::BytesIn, piece.len() as u64);
        self.size = self.size.saturating_add(piece.len() as u64);
        check_size(self.size, &self.target.settings)?;
        self.sha256.update(&piece);
        while !piece.is_empty() {
            let mut filling = match self.filling.take() {
                Some(filling) => filling,
                None => self.begin(piece.len(), length).await?,
            };
            let taken = piece.split_to(filling.room.min(piece.len()));
            filling.bytes.extend_from_slice(&taken);
            filling.room -= taken.len();
            match filling.room {
                0 => self.put(filling).await?,
                _ => self.filling = Some(filling),
            }
        }
        Ok(())
    }

    /// Begins the next part, with room for no more than is still to come, where that is known.
    async fn begin(&self, at_hand: usize, length: Option<u64>) -> Result<Filling> {
        let whole = self.target.settings.part_bytes.max(1);
        let put: u64 = self.parts.iter().map(|part| part.bytes).sum();
        let rest = length.and_then(|length| usize::try_from(length.saturating_sub(put)).ok());
        let room = rest.map_or(whole, |rest| rest.max(at_hand).min(whole));
        let share = self.target.budget.take(room, &self.target.settings).await?;
        Ok(Filling { bytes: BytesMut::with_capacity(room), room, share })
    }

    async fn put(&mut self, filling: Filling) -> Result<()> {
        while self.under_way.len() >= IN_FLIGHT {
            self.landed().await?;
        }
        let bytes = filling.bytes.freeze();
        let number = self.parts.len();
        let too_many = |_| Error::limit(format!("a file has at most {} parts", u32::MAX));
        let key = self.target.stream.file_part(self.content, u32::try_from(number).map_err(too_many)?);
        self.parts.push(ContentPart { bytes: bytes.len() as u64, xxh3: Checksum::of(&bytes) });
        let (bucket, reread) = (self.target.bucket.clone(), self.target.reread);
        let share = filling.share;
        self.under_way.spawn(async move {
            // IMPORTANT: the part is seen in the bucket before any record may name it.
            let put = upload::put(bucket.as_ref(), &key, vec![bytes], reread).await;
            drop(share);
            (number, put)
        });
        Ok(())
    }

    /// Waits until one of the parts that are being put has landed.
    async fn landed(&mut self) -> Result<()> {
        let Some(landed) = self.under_way.join_next().await else { return Ok(()) };
        let (number, put) = landed.map_err(|e| Error::internal("the put of a part ended early").with_source(e))?;
        let stamp = put.map_err(|e| Error::unavailable(format!("the file was not stored: {e}")))?;
        if number == 0 {
            self.began = stamp.date.or(stamp.last_modified);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Uploaded> {
        if let Some(filling) = self.filling.take() {
            self.put(filling).await?;
        }
        while !self.under_way.is_empty() {
            self.landed().await?;
        }
        let (content, parts) = (self.content, self.parts);
        if !parts.is_empty() && self.began.is_none() {
            return Err(Error::unavailable(
                "the bucket's answers carry no date: files cannot be swept safely and are not stored",
            ));
        }
        Ok(Uploaded {
            size: self.size,
            sha256: Sha256Sum(self.sha256.finalize().into()),
            content: (!parts.is_empty()).then_some(Content { content, parts }),
            began: self.began,
        })
    }
}

/// Refuses a file that is too large.
pub fn check_size(size: u64, settings: &FileSettings) -> Result<()> {
    let limit = settings.max_bytes;
    match size > limit {
        true => Err(Error::new(
            ErrorKind::Limit,
            format!("file: expected at most {limit} bytes (files.max_bytes), got more"),
        )
        .of_setting("files.max_bytes")),
        false => Ok(()),
    }
}
