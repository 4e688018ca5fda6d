//! The protocol's invariants as far as the objects of a bucket show them at one moment
//! (docs/protocol.md#invariants): every HEAD decodes and names only objects that are there and whole; the log has no
//! gap from `gone` on and each commit names the one before it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use drumlin::Version;
use drumlin::testing::bucket::{Bucket, StoreTime};
use drumlin::testing::format::head::{Head, Life, Retired};
use drumlin::testing::format::{Chain, Checksum, decode_commit};

/// All objects of a bucket, and its store time.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pub objects: BTreeMap<String, Bytes>,
    pub date: Option<StoreTime>,
}

impl Content {
    /// Reads everything.
    pub async fn read(bucket: &dyn Bucket) -> Content {
        let mut content = Content::default();
        let mut after = None::<String>;
        loop {
            let page = bucket.list("", after.as_deref()).await.unwrap();
            content.date = page.date;
            for listed in &page.objects {
                content.objects.insert(listed.key.clone(), bucket.get(&listed.key, None).await.unwrap().bytes);
            }
            after = page.objects.last().map(|o| o.key.clone());
            if !page.more {
                return content;
            }
        }
    }

    /// Writes everything into a bucket.
    pub async fn write(&self, bucket: &dyn Bucket) {
        for (key, bytes) in &self.objects {
            bucket.put(key, bytes.clone(), drumlin::testing::bucket::PutCondition::Always).await.unwrap();
        }
    }

    /// The names of all streams.
    pub fn streams(&self) -> BTreeSet<String> {
        let name = |key: &String| {
            let mut parts = key.split('/');
            match (parts.next(), parts.next()) {
                (Some("catalog"), Some(_)) => Some("catalog".to_owned()),
                (Some("c"), Some(id)) => Some(format!("c/{id}")),
                _ => None,
            }
        };
        self.objects.keys().filter_map(name).collect()
    }

    /// Checks every stream.
    pub fn check(&self) -> Result<(), String> {
        self.streams().iter().try_for_each(|stream| self.check_stream(stream).map_err(|why| format!("{stream}: {why}")))
    }

    /// Checks that there is nothing but what `live` streams and the catalog name, and tombstones.
    pub fn check_no_orphans(&self, live: &[String]) -> Result<(), String> {
        for stream in self.streams() {
            let head = self.objects.get(&format!("{stream}/HEAD")).ok_or(format!("{stream} has no HEAD"))?;
            let head = Head::decode(head, &stream).map_err(|e| e.to_string())?;
            if stream != "catalog" && !live.contains(&stream) {
                let keys: Vec<&String> = self.under(&stream).collect();
                if head.state == Life::Live || keys.len() > 1 {
                    return Err(format!("{stream} is no collection, but there are {keys:?}, {head:?}"));
                }
                continue;
            }
            let mut named: BTreeSet<String> = head.segs.iter().map(|s| s.key.clone()).collect();
            named.extend(head.graphs.iter().map(|g| g.key.clone()));
            named.extend(head.map.iter().map(|m| m.key.clone()));
            for entry in &head.retired {
                let key = format!("{stream}/retired/{}.json", entry.ulid);
                let list = self.objects.get(&key).ok_or(format!("{key} is missing"))?;
                named.extend(Retired::decode(list, &stream, entry.ulid).map_err(|e| e.to_string())?.keys());
                named.insert(key);
            }
            let other = |key: &&String| !key.ends_with("/HEAD") && !key.contains("/log/");
            if let Some(key) = self.under(&stream).filter(other).find(|key| !named.contains(*key)) {
                return Err(format!("{key} is an orphan"));
            }
        }
        Ok(())
    }

    fn under<'a>(&'a self, stream: &str) -> impl Iterator<Item = &'a String> {
        let prefix = format!("{stream}/");
        self.objects.keys().filter(move |key| key.starts_with(&prefix))
    }

    fn check_stream(&self, stream: &str) -> Result<(), String> {
        let Some(head) = self.objects.get(&format!("{stream}/HEAD")) else {
            // A fork that did not get as far as its HEAD.
            let log = self.under(stream).find(|key| !key.contains("/seg/") && !key.contains("/graph/"));
            return log.map_or(Ok(()), |key| Err(format!("{key}, but no HEAD")));
        };
        let head = Head::decode(head, stream).map_err(|e| e.to_string())?;
        if head.state == Life::Dropped {
            return Ok(());
        }
        let segs = head.segs.iter().map(|s| (&s.key, s.bytes, s.xxh3));
        let graphs = head.graphs.iter().map(|g| (&g.key, g.bytes, g.xxh3));
        let map = head.map.iter().map(|m| (&m.key, m.bytes, m.xxh3));
        for (key, size, xxh3) in segs.chain(graphs).chain(map) {
            let bytes = self.objects.get(key).ok_or(format!("HEAD names {key}, which is missing"))?;
            if bytes.len() as u64 != size || Checksum::of(bytes) != xxh3 {
                return Err(format!("{key} is not what HEAD names"));
            }
        }
        for entry in &head.retired {
            let key = format!("{stream}/retired/{}.json", entry.ulid);
            let list = self.objects.get(&key).ok_or(format!("HEAD names {key}, which is missing"))?;
            let list = Retired::decode(list, stream, entry.ulid).map_err(|e| format!("{key}: {e}"))?;
            if let Some(named) = head.segs.iter().find(|seg| list.keys().contains(&seg.key)) {
                return Err(format!("{key} would delete {}, which HEAD names", named.key));
            }
        }
        self.check_log(stream, &head)
    }

    fn check_log(&self, stream: &str, head: &Head) -> Result<(), String> {
        let prefix = format!("{stream}/log/");
        let version = |key: &str| key.strip_prefix(&prefix)?.strip_suffix(".parquet")?.parse().ok().map(Version);
        let slots = self.objects.iter().filter_map(|(key, bytes)| Some((version(key)?, bytes)));
        let slots: Vec<(Version, &Bytes)> = slots.filter(|(slot, _)| *slot >= head.gone).collect();
        let mut expected = head.gone;
        let mut link = None::<Chain>;
        for (slot, bytes) in slots {
            if slot != expected {
                return Err(format!("slot {expected} is missing below slot {slot}; gone is {}", head.gone));
            }
            let commit = decode_commit(bytes).map_err(|e| format!("slot {slot}: {e}"))?;
            let first = if slot == head.floor { head.prev } else { commit.header.prev };
            let prev = link.or(first);
            if commit.header.version != slot || commit.header.stream != stream || commit.header.prev != prev {
                return Err(format!("slot {slot} holds {:?}, expected to follow {prev:?}", commit.header));
            }
            link = Some(Chain { nonce: commit.header.nonce, xxh3: Checksum::of(bytes) });
            expected = slot.next();
            if expected == head.floor && link != head.prev {
                return Err(format!("HEAD says that {:?} stands before the floor, it is {link:?}", head.prev));
            }
        }
        match expected < head.floor {
            true => Err(format!("the log ends before slot {expected}, the floor is {}", head.floor)),
            false => Ok(()),
        }
    }
}
