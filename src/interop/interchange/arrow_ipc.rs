//! A check of an Arrow IPC stream before it is decoded: the expanded size that its buffers state, the number of rows
//! in its batches, and whether its buffers lie inside the stream. Other damage is left to the decoder, which
//! describes it better.

use arrow::ipc::{MessageHeader, RecordBatch, root_as_message};

use super::Intake;
use crate::error::{Error, Result};

/// Marker before a message's length since the format's version 5.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Multiple of a batch's limit that its compressed buffers may expand to: their writer chose the width of the types.
const EXPANSION: u64 = 4;

/// The expanded size that the compressed buffers of a stream state.
///
/// # Errors
/// `Limit` if this size or the rows exceed the limits of one request; `Invalid` if buffers lie outside the stream.
pub(super) fn expanded_bytes(stream: &[u8], intake: &Intake) -> Result<u64> {
    let most = (intake.limits.batch_bytes as u64).saturating_mul(EXPANSION);
    let (mut rest, mut expanded) = (stream, 0u64);
    while let Some((message, body, after)) = split_message(rest) {
        let Ok(message) = root_as_message(message) else { break };
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
            _ => None,
        };
        if let Some(batch) = batch {
            intake.check_rows(usize::try_from(batch.length()).unwrap_or(usize::MAX))?;
            check_buffers(&batch, body)?;
            if batch.compression().is_some() {
                expanded = expanded.saturating_add(buffers_bytes(&batch, body));
            }
        }
        if expanded > most {
            return Err(Error::limit(format!(
                "body: expected an arrow ipc stream of at most {most} bytes once expanded, {EXPANSION} times the limit \
                 (limits.batch_bytes), got {expanded}; split it"
            ))
            .of_setting("limits.batch_bytes"));
        }
        rest = after;
    }
    Ok(expanded)
}

/// The metadata and the body of the first message, and the bytes after it; `None` at the end.
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let bytes = bytes.strip_prefix(&CONTINUATION).unwrap_or(bytes);
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_le_bytes(*length)).ok().filter(|length| *length > 0)?;
    let (metadata, rest) = rest.split_at_checked(length)?;
    let body = usize::try_from(root_as_message(metadata).ok()?.bodyLength()).ok()?;
    let (body, rest) = rest.split_at_checked(body)?;
    Some((metadata, body, rest))
}

/// Refuses buffers that lie outside their body: the decoder slices at the offsets that they state.
fn check_buffers(batch: &RecordBatch<'_>, body: &[u8]) -> Result<()> {
    for buffer in batch.buffers().into_iter().flatten() {
        let end = buffer.offset().checked_add(buffer.length());
        let fits = buffer.offset() >= 0 && buffer.length() >= 0;
        if !fits || end.and_then(|end| usize::try_from(end).ok()).is_none_or(|end| end > body.len()) {
            return Err(Error::invalid(
                "body: expected an arrow ipc stream, got a damaged one: a buffer lies outside of it",
            ));
        }
    }
    Ok(())
}

/// Expanded size of a batch's buffers. Each begins with its expanded length (i64, little-endian), or -1 if it is not
/// compressed.
fn buffers_bytes(batch: &RecordBatch<'_>, body: &[u8]) -> u64 {
    let mut sum = 0u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
        let said =
            body.get(start..).and_then(|rest| rest.split_first_chunk::<8>()).map(|(said, _)| i64::from_le_bytes(*said));
        let bytes = match said {
            Some(said) if buffer.length() > 0 => u64::try_from(said).unwrap_or(buffer.length().unsigned_abs()),
            _ => 0,
        };
        sum = sum.saturating_add(bytes);
    }
    sum
}
