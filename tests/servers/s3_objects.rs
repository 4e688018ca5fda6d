//! What the S3 server keeps: objects, and uploads in parts that are under way. Its invariant: a write happens
//! under the conditions that came with it or not at all, and nobody reads an object without the customer's key
//! that it was written with.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use s3s::dto::{ETag, ETagCondition};
use s3s::{S3Result, s3_error};

#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) bytes: Bytes,
    pub(crate) etag: String,
    pub(crate) modified: SystemTime,
    /// MD5 of the customer's key that it was written with, as the header has it.
    pub(crate) customer_key: Option<String>,
}

impl Stored {
    /// Like S3's, the tag is a hash of the content and time comes in whole seconds.
    pub(crate) fn new(bytes: Bytes) -> Self {
        let etag = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes));
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Stored { bytes, etag, modified: UNIX_EPOCH + Duration::from_secs(seconds), customer_key: None }
    }

    pub(crate) fn tag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }
}

/// An upload in parts that is under way.
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) began: SystemTime,
    pub(crate) parts: BTreeMap<i32, Stored>,
    pub(crate) customer_key: Option<String>,
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) objects: BTreeMap<String, Stored>,
    pub(crate) uploads: HashMap<String, Upload>,
    pub(crate) uploads_begun: u64,
}

impl Store {
    pub(crate) fn find(&self, key: &str) -> S3Result<Stored> {
        self.objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey, "no such key"))
    }

    /// As S3 does: whoever does not come with the key that the object was written with does not read it.
    pub(crate) fn read(&self, key: &str, customer_key: Option<&String>) -> S3Result<Stored> {
        let found = self.find(key)?;
        same_key(found.customer_key.as_ref(), customer_key)?;
        Ok(found)
    }

    /// Checks the conditions and writes, all under the caller's lock.
    pub(crate) fn write(
        &mut self,
        key: String,
        (bytes, customer_key): (Bytes, Option<String>),
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
    ) -> S3Result<ETag> {
        let present = self.objects.get(&key);
        match (if_match, present) {
            (Some(_), None) => return Err(s3_error!(NoSuchKey, "no such key")),
            (Some(ETagCondition::ETag(tag)), Some(present)) if tag.value() != present.etag => {
                return Err(s3_error!(PreconditionFailed, "the tag is another"));
            }
            _ => {}
        }
        if if_none_match.is_some() && present.is_some() {
            return Err(s3_error!(PreconditionFailed, "the key exists"));
        }
        let stored = Stored { customer_key, ..Stored::new(bytes) };
        let tag = stored.tag();
        self.objects.insert(key, stored);
        Ok(tag)
    }
}

/// S3's answers to a read with another key than the object's, with none, and with one where there is none.
pub(crate) fn same_key(own: Option<&String>, asked: Option<&String>) -> S3Result<()> {
    match (own, asked) {
        (own, asked) if own == asked => Ok(()),
        (Some(_), Some(_)) => Err(s3_error!(AccessDenied, "the customer's key is another")),
        (Some(_), None) => Err(s3_error!(InvalidRequest, "the object was stored with a customer's key")),
        (None, _) => Err(s3_error!(InvalidRequest, "the encryption parameters are not applicable to this object")),
    }
}
