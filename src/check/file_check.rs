//! Checking the contents of files: every part that a live record names exists, with its size and checksum. Invariant:
//! a part that no record names is counted, but is no finding: an upload may be under way, or a sweep is still to
//! come.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use super::fold::RecordTexts;
use super::inventory::StreamObjects;
use super::objects::{ObjectFault, Reader};
use super::report::StreamCheck;
use crate::bucket::keys::StreamId;
use crate::error::Result;
use crate::format::file_record::{ContentPart, FileRecord, SWEEP_ID, SweepRecord};
use crate::format::{Checksum, FormatError};
use crate::record::Metadata;

/// Parts read at once.
const PARALLEL_PARTS: usize = 4;
/// The remedy for a damaged part.
const UPLOAD: &str = "put it back from a backup, or upload the file again; other files are not touched";

/// A part that a record names.
struct NamedPart {
    file: String,
    key: String,
    part: ContentPart,
}

/// Checks the parts that the records of a stream name.
pub async fn check(
    reader: &Reader,
    id: &StreamId,
    records: &BTreeMap<String, RecordTexts>,
    objects: &StreamObjects,
    report: &mut StreamCheck,
) -> Result<()> {
    let named = named(id, records, report);
    let keys: BTreeSet<&str> = named.iter().map(|named| named.key.as_str()).collect();
    let unnamed = objects.file_parts.values().filter(|object| !keys.contains(object.key.as_str()));
    report.orphans = unnamed.map(|object| object.size_bytes).fold(report.orphans, |mut orphans, bytes| {
        orphans.add(bytes);
        orphans
    });
    let mut judged =
        stream::iter(&named).map(|named| async move { (named, judge(reader, named).await) }).buffered(PARALLEL_PARTS);
    while let Some((named, read)) = judged.next().await {
        let cause = match read {
            Ok(()) => {
                report.checked.add(named.part.bytes);
                continue;
            }
            Err(ObjectFault::Away(error)) => return Err(error.into()),
            Err(ObjectFault::Missing) => format!("file {:?} has it, but it is missing", named.file),
            Err(ObjectFault::Damaged(cause)) => format!("part of file {:?}: {cause}", named.file),
        };
        report.findings.damaged(named.key.clone(), cause, UPLOAD);
    }
    Ok(())
}

/// The parts that records name; records that cannot be read are reported.
fn named(id: &StreamId, records: &BTreeMap<String, RecordTexts>, report: &mut StreamCheck) -> Vec<NamedPart> {
    let mut named = Vec::new();
    for (name, texts) in records {
        match read(name, texts) {
            Ok(parts) => named.extend(parts.into_iter().map(|(content, number, part)| NamedPart {
                file: name.clone(),
                key: id.file_part(content, number),
                part,
            })),
            Err(cause) => {
                let key = format!("{id}, record {name:?}");
                report.findings.damaged(key, cause, "delete the file, or upload it again");
            }
        }
    }
    named
}

/// The parts of one record.
fn read(name: &str, texts: &RecordTexts) -> Result<Vec<(ulid::Ulid, u32, ContentPart)>, FormatError> {
    let damaged = |error: crate::error::Error| FormatError::Damaged(error.message().to_owned());
    let metadata = texts.metadata.as_deref().map(Metadata::from_json_text).transpose().map_err(damaged)?;
    if name == SWEEP_ID {
        return SweepRecord::decode(metadata.as_ref(), texts.document.as_deref()).map(|_| Vec::new());
    }
    let file = FileRecord::decode(metadata.as_ref(), texts.document.as_deref())?;
    let Some(content) = file.content else { return Ok(Vec::new()) };
    Ok((0u32..).zip(content.parts).map(|(number, part)| (content.content, number, part)).collect())
}

async fn judge(reader: &Reader, named: &NamedPart) -> Result<(), ObjectFault> {
    let held = reader.whole(&named.key, named.part.bytes).await?;
    let (size, found) = (held.bytes.len() as u64, Checksum::of(&held.bytes));
    match size == named.part.bytes && found == named.part.xxh3 {
        true => Ok(()),
        false => {
            let ContentPart { bytes, xxh3 } = named.part;
            let what =
                format!("the record names {bytes} bytes with checksum {xxh3}, the object has {size} with {found}");
            Err(ObjectFault::Damaged(FormatError::Damaged(what)))
        }
    }
}
