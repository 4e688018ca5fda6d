//! Checking the lists of what HEAD of a stream has let go, and what still exists of it. Invariant: a list that would
//! delete what HEAD names is damage; what a server may have deleted by now is not missed.

use ulid::Ulid;

use super::Check;
use crate::bucket::BucketError;
use crate::check::commits::HEAD_AGAIN;
use crate::check::objects::ObjectFault;
use crate::error::Result;
use crate::format::head::{GraphEntry, Head, MapEntry, Retired, RetiredEntry, SegmentEntry};
use crate::stream::context::StreamError;

/// The remedy for a damaged object of the past.
const PAST: &str = "the present is not touched; what is in it can no longer be restored";

impl Check<'_> {
    /// Checks the lists of what HEAD has let go, and those of the listed objects that still exist.
    pub(super) async fn lists(&mut self, head: &Head) -> Result<()> {
        for (ulid, object) in &self.objects.retired {
            let entry = head.retired.iter().find(|entry| entry.ulid == *ulid);
            let key = self.id.retired(*ulid);
            let list = match self.list(*ulid, object.size_bytes).await? {
                Some(list) => list,
                None => continue,
            };
            let both = list.keys().into_iter().find(|key| self.named.contains(key));
            match (both, entry) {
                (Some(named), Some(_)) => {
                    let cause = format!("it would delete {named}, which HEAD names");
                    self.report.findings.damaged(key, cause, HEAD_AGAIN);
                    continue;
                }
                (Some(named), None) => {
                    let cause = format!(
                        "HEAD names {named}, which {key} was to take off it: a merge of segments or graphs that came \
                         to nothing or is under way; or HEAD is an old one that was put back"
                    );
                    let remedy = "if HEAD was put back from a backup, put back the newest one";
                    self.report.findings.suspicious(self.id.head(), cause, remedy);
                }
                (None, Some(entry)) => {
                    self.named.insert(key);
                    self.report.garbage.add(object.size_bytes);
                    self.kept(&list, entry).await?;
                    self.past(&list, &self.id.retired(*ulid)).await?;
                }
                (None, None) => {}
            }
        }
        let lists = head.retired.iter().map(|entry| entry.ulid);
        for ulid in lists.filter(|ulid| !self.objects.retired.contains_key(ulid)) {
            let key = self.id.retired(ulid);
            let there = self.reader.whole(&key, 0).await.map(drop);
            self.judged(
                (&key, 0),
                &self.id.head(),
                there,
                "put it back from a backup; else the objects it named are swept as orphans",
            )?;
        }
        Ok(())
    }

    async fn list(&mut self, ulid: Ulid, size: u64) -> Result<Option<Retired>> {
        let key = self.id.retired(ulid);
        let held = self.reader.whole(&key, size).await;
        let list = held.and_then(|held| Ok(Retired::decode(&held.bytes, &self.name, ulid)?));
        match list {
            Ok(list) => {
                self.report.checked.add(size);
                Ok(Some(list))
            }
            // A server has just finished with this list.
            Err(ObjectFault::Missing) => Ok(None),
            Err(ObjectFault::Away(error)) => Err(error.into()),
            Err(ObjectFault::Damaged(cause)) => {
                self.named.insert(key.clone());
                let remedy =
                    "no data is lost; put it back from a backup, or delete it: what it named is swept as orphans";
                self.report.findings.damaged(key, cause, remedy);
                Ok(None)
            }
        }
    }

    /// Checks that the objects of a list exist, as long as no server may have deleted them.
    async fn kept(&mut self, list: &Retired, entry: &RetiredEntry) -> Result<()> {
        let age = self.date.map(|date| date.since_ms(entry.seen));
        if age.is_none_or(|age| i128::from(age) >= self.expected.kept.as_millis() as i128) {
            return Ok(());
        }
        let unlisted = list.keys().into_iter().filter(|key| self.objects.size_of(key).is_none());
        for key in unlisted {
            // The listing may be older than the object.
            match self.reader.get(&key, Some(0..1)).await {
                Err(BucketError::NotFound { .. }) => {
                    let cause = "it is missing, though it was replaced so lately that no server deletes it yet";
                    self.report.findings.suspicious(key, cause, PAST);
                }
                Err(error) => return Err(StreamError::from(error).into()),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Checks those objects of a list that still exist: restoring reads them.
    async fn past(&mut self, list: &Retired, witness: &str) -> Result<()> {
        let strange = list.keys().into_iter().find(|key| self.id.role(key).is_none());
        if let Some(key) = strange {
            self.report.findings.damaged(
                witness,
                format!("{key:?} cannot be the key of an object of this stream"),
                PAST,
            );
        }
        let there = |key: &String| self.objects.size_of(key);
        let segs: Vec<(SegmentEntry, u64)> =
            list.segs.iter().filter_map(|entry| Some((entry.clone(), there(&entry.key)?))).collect();
        let graphs: Vec<(GraphEntry, u64)> =
            list.graphs.iter().filter_map(|entry| Some((entry.clone(), there(&entry.key)?))).collect();
        let map = list.map.iter().filter_map(|entry| Some((entry.clone(), there(&entry.key)?)));
        let map: Vec<(MapEntry, u64)> = map.collect();
        self.named.extend(list.keys());
        for (entry, size) in segs {
            self.report.garbage.add(size);
            let read = self.reader.segment(&self.name, &entry, |_| Ok(())).await.map(drop);
            self.past_judged(&entry.key, size, witness, read)?;
            for index in &entry.inverted {
                let Some(size) = self.objects.size_of(&index.key) else { continue };
                self.report.garbage.add(size);
                let read = self.reader.inverted(&self.name, &entry, index).await;
                self.past_judged(&index.key, size, witness, read.map(drop))?;
            }
        }
        for (entry, size) in graphs {
            self.report.garbage.add(size);
            let read = self.reader.graph(&self.name, &entry).await.map(drop);
            self.past_judged(&entry.key, size, witness, read)?;
        }
        for (entry, size) in map {
            self.report.garbage.add(size);
            let read = self.reader.map(&self.name, &entry).await.map(drop);
            self.past_judged(&entry.key, size, witness, read)?;
        }
        Ok(())
    }

    fn past_judged(&mut self, key: &str, size: u64, witness: &str, read: Result<(), ObjectFault>) -> Result<()> {
        match read {
            // A server has just deleted it, as expected.
            Err(ObjectFault::Missing) => Ok(()),
            read => self.judged((key, size), witness, read, PAST).map(drop),
        }
    }
}
